"""The judge that looks for news: what counts as the same program, and what was deleted before."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.likeness import normal
from evaluators.novelty import REINTRODUCED, Novelty
from population.policies.breeder import NOTED
from raysearch.plugins import load
from raysearch.testing.conformance import JudgeConformance
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import Brief, Verdict

BEFORE = '''
"""Sums."""
import math

SHARE = 0.5

def total(values, start=0):
    """All of them."""
    result = start  # so far
    for value in values:
        result += value * SHARE
    return [one for one in range(result)]
'''
SAME = {
    "comments": BEFORE.replace("  # so far", "").replace("SHARE = 0.5", "# a half\nSHARE = 0.5  # tune: float 0..1"),
    "white space": BEFORE.replace("value * SHARE", "(value*SHARE)").replace("\n\n", "\n\n\n\n"),
    "docstrings": BEFORE.replace('"""Sums."""', '"""Adds up."""').replace('    """All of them."""\n', ""),
    "local names": BEFORE.replace("result", "sum_").replace("value ", "v ").replace("one", "n"),
}
OTHER = {
    "a number": BEFORE.replace("0.5", "0.25"),
    "a global's name": BEFORE.replace("SHARE", "PART"),
    "a parameter's name": BEFORE.replace("start", "begin"),
    "a function's name": BEFORE.replace("total", "sums"),
    "what is imported": BEFORE.replace("import math", "import cmath"),
    "the operands' order": BEFORE.replace("value * SHARE", "SHARE * value"),
    "which variable": BEFORE.replace("range(result)", "range(value)"),
    "a built-in": BEFORE.replace("range(", "sorted("),
    "a text": BEFORE.replace("return [", "'a b'; return ["),
}


@pytest.mark.parametrize("what", SAME)
def test_python_that_does_the_same_is_the_same(what: str) -> None:
    assert SAME[what] != BEFORE
    assert normal("a.py", SAME[what]) == normal("a.py", BEFORE)


@pytest.mark.parametrize("what", OTHER)
def test_python_that_does_something_else_is_not(what: str) -> None:
    assert normal("a.py", OTHER[what]) != normal("a.py", BEFORE)


NESTED = """
def outer(xs):
    best = 0
    def inner(y):
        nonlocal best
        twice = y + y
        best = max(best, twice)
        return lambda best: best + twice
    class Kept:
        best = 3
        other = twice = 4
    try:
        pass
    except ValueError as error:
        print(error, best)
    return inner, Kept.best, (best := 5)
"""


def test_variables_of_functions_around_keep_together() -> None:
    renamed = NESTED.replace("error", "e").replace("twice = y", "double = y")
    renamed = renamed.replace("(best, twice)", "(best, double)").replace("best + twice", "best + double")
    assert normal("a.py", renamed) == normal("a.py", NESTED)
    for old, new in (
        ("nonlocal best", "global best"),
        ("        best = 3", "        beast = 3"),
        ("lambda best: best", "lambda best: twice"),
        ("print(error, best)", "print(best, error)"),
        ("best = max(best, twice)", "best = max(twice, best)"),
    ):
        assert old in NESTED
        assert normal("a.py", NESTED.replace(old, new)) != normal("a.py", NESTED)


def test_a_program_that_asks_for_its_names_keeps_them() -> None:
    one = "def f():\n    a = 1\n    return locals()\n"
    assert normal("a.py", one) != normal("a.py", one.replace("a =", "b ="))
    assert normal("a.py", one + "# more\n") == normal("a.py", one)


C = """
#include <math.h>
#define TWICE(x) ((x) + (x)) /* both */
// adds up
float total(const float *v, int n) {
    float sum = 0.f;
    for (int i = 0; i < n; ++i) { sum += v[i]; }  // one by one
    printf("a // b  %f\\n", sum);
    return sum - -1;
}
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("// adds up\n", "", True),
        ("for (int i = 0;", "for(int i=0 ;", True),
        (" /* both */", "", True),
        ("; ++i) { sum", ";\n ++i)\n{\n\tsum", True),
        ("#define TWICE(x) ((x)", "#define TWICE(x) \\\n ((x)", True),
        ("sum", "acc", False),
        ("a // b  %f", "a // b %f", False),
        ("(x))", "(x))\n", True),
        ("((x) + (x))", "((x)\n + (x))", False),
        ("- -1", "--1", False),
        ("0.f", "0.5f", False),
        ("for (int", "for (long int", False),
    ],
)
def test_c_is_told_apart_by_its_tokens(old: str, new: str, same: bool) -> None:
    assert old in C
    for name in ("a.c", "kernels/a.cu"):
        assert (normal(name, C.replace(old, new)) == normal(name, C)) is same


def test_of_other_files_lines_count() -> None:
    assert normal("a.toml", "x = 1  \n\n\ny = 2\n") == normal("a.toml", "x = 1\ny = 2")
    assert normal("a.toml", "x = 1 # one\n") != normal("a.toml", "x = 1\n")
    assert normal("Makefile", "a:\n\tb\n") != normal("Makefile", "a:\n b\n")
    assert normal("a.py", "def f(:\n") != normal("a.py", "def  f(:\n"), "what cannot be parsed"


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60), st.sampled_from(["a.py", "b.cu", "c.txt", "none"]))
def test_any_text_has_one_normal_form(text: str, path: str) -> None:
    assert normal(path, text) == normal(path, text)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32))
def test_renaming_is_never_noticed_and_other_changes_always(seed: int) -> None:
    """Python of random statements over local variables; a fresh set of names for them, or one statement changed."""
    rng = random.Random(seed)
    names, fresh = ["a", "b", "c"], rng.sample(["p", "q", "r", "s", "a1"], 3)
    statements = [
        f"    {rng.choice(names)} = {rng.choice(names)} {rng.choice('+-*')} {rng.randrange(9)}" for _ in range(6)
    ]
    head = [f"    {name} = {place}" for place, name in enumerate(names)]
    source = "\n".join(["def f():", *head, *statements, "    return a"]) + "\n"
    table = str.maketrans(dict(zip(names, fresh, strict=True)))
    renamed = "def f():\n" + "\n".join(
        line.replace("return", "\0").translate(table).replace("\0", "return") for line in source.splitlines()[1:]
    )
    assert normal("x.py", renamed) == normal("x.py", source)
    at = rng.randrange(6)
    statements[at] += " + 1"
    changed = "\n".join(["def f():", *head, *statements, "    return a"]) + "\n"
    assert normal("x.py", changed) != normal("x.py", source)


# -- the judge ----------------------------------------------------------------------------------------------


class TestNovelty(JudgeConformance):
    def make(self) -> Novelty:
        return Novelty()

    def bad_programs(self) -> Mapping[str, Mapping[str, str]]:
        return {}  # without parents everything is new


def judged(root: Path, now: Mapping[str, str], *parents: Mapping[str, str], seed: str = "VALUE = 3\n") -> Verdict:
    workspace = FolderWorkspace.make(root, now)
    assert workspace.target.seed is not None
    (workspace.target.seed / "answer.py").write_text(seed)
    commits = tuple(workspace.add(files) for files in parents)
    return Novelty().judge(replace(workspace, parents=commits), Brief(), random.Random(1))


@pytest.mark.parametrize("what", SAME)
def test_a_parents_program_written_differently_is_refused(what: str, tmp_path: Path) -> None:
    said = judged(tmp_path, {"answer.py": SAME[what]}, {"answer.py": BEFORE})
    assert not said.passed
    assert said.feedback.startswith("nothing new: in answer.py only white space, comments or names differ")


def test_either_parents_program_is_known(tmp_path: Path) -> None:
    now = {"answer.py": SAME["comments"]}
    assert not judged(tmp_path / "1", now, {"answer.py": "VALUE = 1\n"}, {"answer.py": BEFORE}).passed
    assert judged(tmp_path / "2", now, {"answer.py": "VALUE = 1\n"}, {"answer.py": "VALUE = 2\n"}).passed


@pytest.mark.parametrize(
    ("now", "parent"),
    [
        ({"answer.py": OTHER["a number"]}, {"answer.py": BEFORE}),
        ({"answer.py": BEFORE + "# more\n", "b.py": "X = 1\n"}, {"answer.py": BEFORE}),
        ({"answer.py": BEFORE + "# more\n"}, {"answer.py": BEFORE, "b.py": "X = 1\n"}),
        ({"answer.py": BEFORE + "# more\n", "b.txt": "1"}, {"answer.py": BEFORE, "b.txt": "2"}),
    ],
)
def test_what_is_new_passes(now: dict[str, str], parent: dict[str, str], tmp_path: Path) -> None:
    said = judged(tmp_path, now, parent)
    assert (said.passed, said.feedback, said.conditions) == (True, "", {})


def test_binary_files_and_links_are_always_new(tmp_path: Path) -> None:
    workspace = FolderWorkspace.make(tmp_path, {"answer.py": "X = 1\n", "data": "a\0b"})
    parent = workspace.add({"answer.py": "X = 1\n", "data": "a\0c"})
    assert Novelty().judge(replace(workspace, parents=(parent,)), Brief(), random.Random(1)).passed


def test_deleted_lines_that_come_back_are_noted(tmp_path: Path) -> None:
    seed = "x = 1\nfor item in sorted(values):\n    handle(item, slowly=True)\n"
    parent = "for item in values:\n    handle(item, slowly=True)\n"
    now = "for item in values:\n    pass\nfor item in sorted(values):\n    handle(item, slowly=True)\nx = 1\n"
    said = judged(tmp_path, {"answer.py": now}, {"answer.py": parent}, seed=seed)
    assert said.passed
    assert said.conditions == {REINTRODUCED: "1"}
    assert said.feedback == (
        "it brings back a line that was deleted on the way to its parent:\nanswer.py: for item in sorted(values):"
    )
    assert REINTRODUCED == NOTED, "policies tell the next children of it"


def test_of_two_parents_the_common_ancestor_counts(tmp_path: Path) -> None:
    old, rest = "window = rolling(values, 16)\nlimit = quantile(values, 0.9)\n", "answer = window + limit\n"
    workspace = FolderWorkspace.make(tmp_path, {"answer.py": old + rest + "more = True\n"})
    base = workspace.add({"answer.py": old + rest})
    one = workspace.add({"answer.py": rest}, (base,))
    other = workspace.add({"answer.py": "window = rolling(values, 16)\n" + rest + "y = 1\n"}, (base,))
    said = Novelty().judge(replace(workspace, parents=(one, other)), Brief(), random.Random(1))
    assert said.conditions == {REINTRODUCED: "1"}
    assert said.feedback.endswith("answer.py: limit = quantile(values, 0.9)")


def test_it_comes_in_by_name() -> None:
    assert isinstance(load("judges", "novelty", {}), Novelty)
