"""Genetic: whatever it makes is a program, another one, and nothing else has changed."""

from __future__ import annotations

import ast
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mutators.genetic import Genetic, languages
from mutators.syntax.edits import KINDS
from mutators.syntax.growth import perturbed
from mutators.syntax.outline import Kind, Outline, Place
from mutators.tune import Tune
from raysearch.errors import ConfigError, MutatorFault
from raysearch.plugins import load
from raysearch.target import Target, Tunable
from raysearch.testing.conformance import MutatorConformance
from raysearch.testing.workspace import FolderWorkspace, tiny_target
from raysearch.types import AttemptId, Brief, Commit, Inspiration

ROOT = Path(__file__).parents[1]
PYTHON, C, CPP = languages()

STRANGE = '''\
#!/usr/bin/env python
"""Ünïcödé; all that the grammar has."""
from __future__ import annotations
import math, os as _os
from dataclasses import dataclass, field

LIMIT: int = 0x10; RATE = 1_000.5e-3; NAMES = ("a", 'b"', f"{LIMIT!r:>{4}}")

@dataclass(frozen=True)
class Box:
    """A box."""
    width: float = 1.0
    parts: list = field(default_factory=lambda: [1, 2,  # trailing
        3])

    @property
    def area(self): return self.width ** 2 if self.width > 0 else -1

    async def later(self, *args, key=None, **others):
        async with self.lock as held, other():
            return [await x for x in args if x is not None and (y := x) not in others]

def walk(items, depth: int = 0, /, *, deep=True):
\ttotal, n = 0, len(items)
\tfor i, item in enumerate(items):
\t\tif not deep and i >= depth: continue
\t\telif isinstance(item, list): total += walk(item, depth + 1, deep=deep)
\t\telse:
\t\t\ttry:
\t\t\t\ttotal -= math.sqrt(abs(item)) * RATE // (n or 1)
\t\t\texcept (TypeError, ValueError) as error:
\t\t\t\tdel error; raise
\t\t\tfinally:
\t\t\t\tn -= 1
\twhile n > LIMIT: n >>= 1
\telse: pass
\ttext = """lines
      that keep
\ttheir place"""
\treturn {k: v for k, v in zip(NAMES, range(n, 0, -1)) if v % 2 == 0}, total, text[1:-1:2], not n

def shape(value):
    match value:
        case {"x": x, **rest} if x > 3 and rest: return x << 2
        case [first, *_] | (first, _): yield first
        case _: yield from ()
    global LIMIT
    LIMIT = lambda *a: a[0] & ~1 | 4
'''

SOURCES: Mapping[str, str] = {
    "strange": STRANGE,
    "packing": (ROOT / "examples/circle-packing/seed/solution.py").read_text(),
    "cache": (ROOT / "examples/cache-eviction/seed/policy.py").read_text(),
    "short": "def priority(item, remaining):\n    return -(remaining - item)",
    "script": "x = 3\r\nfor i in range(x):\r\n    print(i, x * 2)\r\n",
}

KERNEL = """\
#include <math.h>
#include <stddef.h>
#define BLOCK 32
#define EACH(i, n) for (int i = 0; i < (n); i++)

enum { FIRST = 1, SECOND };

static double dot(const double *restrict a, const double *b, int n) {
    double total = 0.0;
    for (int k = 0; k < n; k++)
        total += a[k] * b[k];
    return total;
}

/* ünïcödé */
void matmul(const float *a, const float *b, float *c, int n, int m, int p) {
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < m; j++) {
            float sum = 0.0f;  // of products
            for (int k = 0; k < p; ++k) {
                sum += a[i * p + k] * b[k * m + j];
                if (sum > 1e30f && k != 3) break; else continue;
            }
            c[i * m + j] = sum < 0 ? -sum : fabsf(sum);
        }
    }
    EACH(i, n) c[i] *= 2;
    switch (n) { case 1: c[0] = BLOCK; break; default: do { n--; } while (n > 0x10); }
}
"""

WITH_CLASSES = """\
#include <cmath>
#include <vector>
namespace sums {
template <class T>
struct Sum {
    T total{};
    void add(const std::vector<T>& values, bool twice = false) {
        for (const auto& value : values) total += value * (twice ? 2 : 1);
        auto larger = [&](T other) { return other > total; };
        if (larger(T(3)) && !values.empty()) total -= values[values.size() - 1];
    }
};
}
extern "C" int run(int n) { sums::Sum<double> s; while (n-- > 0) s.add({1.5, 2.0, double(n)}); return (int)s.total; }
"""


def a_target(root: Path, *editable: str, tunables: tuple[Tunable, ...] = ()) -> Target:
    return replace(tiny_target(root / "target"), editable=editable or ("**",), tunables=tunables)


def a_workspace(root: Path, files: Mapping[str, str], target: Target | None = None) -> FolderWorkspace:
    made = FolderWorkspace.make(root, {}, target or a_target(root))
    for name, text in files.items():
        (made.path / name).parent.mkdir(parents=True, exist_ok=True)
        (made.path / name).write_bytes(text.encode())
    return made


def only(*kinds: str) -> dict[str, float]:
    return {kind: 1.0 if kind in kinds else 0.0 for kind in KINDS}


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[str, str]]:
    """Mutates one text, in a folder that is used again."""
    place = a_workspace(tmp_path_factory.mktemp("playground"), {})
    mutator: dict[str, Genetic] = {}

    def mutated(name: str, text: str, seed: int, *others: str, **options: object) -> tuple[str, str]:
        """The file and the summary afterwards; ``others`` are what inspirations have."""
        genetic = mutator.setdefault(repr(options), Genetic(**options))  # type: ignore[arg-type]
        for path in place.path.iterdir():
            path.unlink()
        (place.path / name).write_bytes(text.encode())
        shown = [Inspiration(AttemptId(i), place.add({name: other})) for i, other in enumerate(others)]
        summary = genetic.mutate(place, Brief(inspirations=tuple(shown)), random.Random(seed)).summary
        return (place.path / name).read_bytes().decode(), summary

    return mutated


def same_program(one: str, other: str) -> bool:
    return ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))


# What is always so


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(SOURCES)), st.integers(0, 2**64), st.integers(0, 2), st.integers(1, 6))
def test_a_child_in_python_compiles_and_is_another_program(
    playground: Callable[..., tuple[str, str]], name: str, seed: int, generations: int, edits: int
) -> None:
    text = SOURCES[name]
    for generation in range(generations + 1):
        child, summary = playground("p.py", text, seed + generation, SOURCES[name], edits_mean=edits)
        compile(child, "p.py", "exec")
        assert not same_program(child, text)
        assert summary.startswith("p.py: ")
        text = child


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([("k.c", KERNEL), ("k.cpp", WITH_CLASSES), ("k.h", KERNEL)]), st.integers(0, 2**64))
def test_a_child_in_c_parses_as_well_as_its_parent_and_is_another_program(
    playground: Callable[..., tuple[str, str]], source: tuple[str, str], seed: int
) -> None:
    name, text = source
    language = C if name == "k.c" else CPP
    for generation in range(3):
        child, _ = playground(name, text, seed + generation, text, edits_mean=3)
        before, after = language.check(text.encode()), language.check(child.encode())
        assert before is not None
        assert after is not None
        assert after.errors <= before.errors
        assert after.tokens != before.tokens
        text = child


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_equal_randomness_gives_equal_children(playground: Callable[..., tuple[str, str]], name: str) -> None:
    for seed in range(5):
        first = playground("p.py", SOURCES[name], seed, SOURCES["packing"])
        playground("p.py", SOURCES["short"], seed)
        assert playground("p.py", SOURCES[name], seed, SOURCES["packing"]) == first
    assert len({playground("p.py", SOURCES[name], seed)[0] for seed in range(10)}) > 3


def test_the_order_of_hashes_plays_no_part(tmp_path: Path) -> None:
    script = (
        "import random, sys; from pathlib import Path; from test_mutators_genetic import *\n"
        "for name, text in [('p.py', STRANGE), ('k.c', KERNEL)]:\n"
        "    place = a_workspace(Path(sys.argv[1]) / name, {name: text})\n"
        "    print(Genetic(edits_mean=5).mutate(place, Brief(), random.Random(3)).summary)\n"
    )
    told = set()
    for salt in ("1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / salt)],
            env={**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            check=True,
        )
        told.add(done.stdout)
    assert len(told) == 1


def test_other_files_stay_as_they_are(tmp_path: Path) -> None:
    files = {
        "a.py": SOURCES["short"],
        "lib/b.py": SOURCES["cache"],
        "lib/locked.py": SOURCES["packing"],
        "notes.txt": "x = 1\n",
        "kernel.c": KERNEL,
    }
    touched = set()
    for seed in range(40):
        place = a_workspace(tmp_path / str(seed), files, a_target(tmp_path, "a.py", "lib/b.py", "*.c", "notes.txt"))
        (place.path / "linked.c").symlink_to("kernel.c")
        Genetic().mutate(place, Brief(), random.Random(seed))
        after = {name: (place.path / name).read_bytes().decode() for name in files}
        changed = {name for name in files if after[name] != files[name]}
        assert len(changed) == 1
        touched |= changed
    assert touched == {"a.py", "lib/b.py", "kernel.c"}


def test_the_program_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    place = a_workspace(tmp_path / "w", {"p.py": f"open({str(mark)!r}, 'w').close()\nx = 1 + 2\nraise SystemExit(x)\n"})
    for seed in range(20):
        Genetic().mutate(place, Brief(), random.Random(seed))
    assert not mark.exists()


def test_what_is_not_edited_keeps_its_layout(playground: Callable[..., tuple[str, str]]) -> None:
    for name, text in (("p.py", STRANGE), ("k.c", KERNEL)):
        for seed in range(20):
            child, _ = playground(name, text, seed, edits_max=1)
            before, after = text.split("\n"), child.split("\n")
            start = next(i for i, line in enumerate(before) if i >= len(after) or line != after[i])
            back = next(i for i in range(1, len(after) + 1) if i > len(before) or before[-i] != after[-i])
            assert start + back > min(len(before), len(after)) - 30  # one place, or two in one function


@pytest.mark.parametrize(("name", "text"), [("p.py", SOURCES["cache"]), ("k.c", KERNEL)])
def test_programs_grow_to_a_bound(tmp_path: Path, name: str, text: str) -> None:
    target = a_target(tmp_path)
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / name).write_text(text)
    language = PYTHON if name == "p.py" else C
    size = language.check(text.encode())
    assert size is not None
    place = a_workspace(tmp_path / "w", {name: text}, replace(target, seed=seed))
    bold = Genetic(edits_mean=8, growth_max=1.0, weights=only("grow", "copy", "guard"))
    sizes = []
    for number in range(25):
        with suppress(MutatorFault):  # at the bound, hardly anything fits
            bold.mutate(place, Brief(), random.Random(number))
        now = language.check((place.path / name).read_bytes())
        assert now is not None
        sizes.append(now.size)
    assert max(sizes) <= size.size + 200
    assert max(sizes) > size.size + 100


def test_a_program_beyond_the_bound_may_shrink(playground: Callable[..., tuple[str, str]]) -> None:
    for seed in range(20):
        child, _ = playground("p.py", STRANGE, seed, nodes_max=10)
        assert len(list(ast.walk(ast.parse(child)))) <= len(list(ast.walk(ast.parse(STRANGE))))


# What is known of a file


@pytest.mark.parametrize("path", ["mutators/tunables.py", "mutators/syntax/growth.py", "raysearch/process/guard.py"])
def test_an_outline_of_real_code_is_true(path: str) -> None:
    text = (ROOT / path).read_bytes()
    outline = PYTHON.read(text)
    assert len(outline.expressions) > 100
    for expression in outline.expressions:
        ast.parse(f"({outline.at(expression.place)}\n)", mode="eval")
    for operator in outline.operators:
        assert outline.at(operator.place) in operator.choices
    for literal in outline.literals:
        float(outline.at(literal.place))
    for offset, name in outline.reads:
        assert text[offset:].startswith(name.encode())
    for statement in outline.statements:
        first, *lines = outline.at(statement.place).split("\n")
        body = "\n".join([f"  {first}", *("  " + line.removeprefix(statement.indent) for line in lines)])
        ast.parse(f"async def f():\n while True:\n{body}")


def kinds_of(outline: Outline, *texts: str) -> list[str]:
    by_text = {outline.at(e.place): e.kind.value for e in outline.expressions}
    return [by_text[text] for text in texts]


def test_kinds_of_python_come_from_use() -> None:
    outline = PYTHON.read(
        b"def f(items, rate, n: int, flag: bool, name: str):\n"
        b"    total = 0.5\n"
        b"    for i in range(n):\n"
        b"        if flag and items[i] > rate:\n"
        b"            total += items[i] * len(name)\n"
        b"    return {name: total}\n"
    )
    found = kinds_of(outline, "n", "i", "items[i]", "rate", "flag", "flag and items[i] > rate", "name", "total")
    assert found == ["whole", "whole", "number", "number", "truth", "truth", "other", "number"]


def test_kinds_of_c_come_from_declarations() -> None:
    outline = C.read(KERNEL.encode())
    found = kinds_of(outline, "a[i * p + k]", "i * p + k", "sum", "k != 3", "fabsf(sum)", "n", "a[k] * b[k]")
    assert found == ["number", "whole", "number", "truth", "number", "whole", "number"]


def test_names_mean_what_they_mean_where_they_are() -> None:
    outline = PYTHON.read(b"K = 1\ndef f(x):\n    y = x\n    return [z for z in y]\ndef g(w):\n    return w\n")
    at = {name: outline.text.index(name) for name in (b"return [", b"z for", b"return w")}
    assert set(outline.visible(at[b"return ["])) == {"K", "f", "g", "x", "y"}
    assert set(outline.visible(at[b"z for"])) == {"K", "f", "g", "x", "y", "z"}
    assert set(outline.visible(at[b"return w"])) == {"K", "f", "g", "w"}
    comprehension = outline.text.index(b"[z")
    assert [name for _, name in outline.names(Place(comprehension, comprehension + 14))] == ["y"]


def test_places_that_meet() -> None:
    assert Place(1, 3).meets(Place(2, 5))
    assert not Place(1, 3).meets(Place(3, 5))
    assert Place(2, 2).meets(Place(2, 2))
    assert Place(2, 2).meets(Place(1, 3))
    assert not Place(1, 1).meets(Place(1, 3))
    assert Kind.WHOLE.serves(Kind.NUMBER)
    assert not Kind.NUMBER.serves(Kind.WHOLE)


@given(st.integers(0, 2**64), st.sampled_from(["0", "1", "7", "0.5", "1e-9", "3e300", "1_000", "0.0"]), st.booleans())
def test_a_perturbed_number_is_another_finite_one(seed: int, text: str, whole: bool) -> None:
    if whole and not text.isdigit():
        return
    new = perturbed(text, random.Random(seed), whole=whole)
    assert new != text
    assert abs(float(new)) < float("inf")
    assert not whole or new.isdigit()


# Each kind of edit


EDITED = """\
import numpy as np

SCALE = 2.0


def area(width, height, deep=True):
    side = width * 3
    rest = height - 1.5
    if deep and side > rest:
        side = rest + SCALE
    for row in range(3):
        for column in range(4):
            side += row * column
    return side / rest
"""


def statements(text: str) -> int:
    return sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(text)))


@pytest.mark.parametrize(
    ("kind", "holds"),
    [
        ("constant", lambda old, new: statements(old) == statements(new)),
        ("operator", lambda old, new: statements(old) == statements(new)),
        ("term", lambda old, new: statements(old) == statements(new)),
        ("grow", lambda old, new: statements(old) == statements(new)),
        ("hoist", lambda old, new: len(new) < len(old)),
        ("exchange", lambda old, new: statements(old) == statements(new)),
        ("bound", lambda old, new: new.replace("range(3)", "").count("range") >= 1),
        ("interchange", lambda old, new: new.index("for column") < new.index("for row")),
        ("delete", lambda old, new: statements(new) <= statements(old)),
        ("swap", lambda old, new: sorted(old.split()) == sorted(new.split()) or statements(old) == statements(new)),
        ("copy", lambda old, new: statements(new) > statements(old)),
        ("replace", lambda old, new: new != old),
        ("wrap", lambda old, new: new.count("if np.") == old.count("if np.") + 1),
        ("guard", lambda old, new: statements(new) == statements(old) + 2),
        ("assign", lambda old, new: statements(new) == statements(old) + 1),
    ],
)
def test_a_kind_of_edit_does_what_it_says(
    playground: Callable[..., tuple[str, str]], kind: str, holds: Callable[[str, str], bool]
) -> None:
    children = {
        playground("p.py", EDITED, seed, edits_max=1, transplanting=0.0, weights=only(kind))[0] for seed in range(12)
    }
    assert len(children) > (3 if kind != "interchange" else 0)
    for child in children:
        assert holds(EDITED, child), child


@pytest.mark.parametrize("kind", ["interchange", "tile", "hint", "wrap", "guard", "assign", "bound", "delete", "copy"])
def test_a_kind_of_edit_in_c(playground: Callable[..., tuple[str, str]], kind: str) -> None:
    children = {
        playground("k.c", KERNEL, seed, edits_max=1, transplanting=0.0, weights=only(kind))[0] for seed in range(12)
    }
    mark = {"tile": "_0 += ", "hint": "#pragma GCC", "interchange": "int j = 0; j < m; j++) {\n        for (int i"}
    assert all(mark.get(kind, "") in child for child in children)
    if kind in ("wrap", "guard", "assign", "copy"):
        assert all(len(child) > len(KERNEL) for child in children)


def test_loops_in_tiles_do_the_same(tmp_path: Path, playground: Callable[..., tuple[str, str]]) -> None:
    main = "#include <stdio.h>\nint main(void) { double a[9], b[9]; for (int i = 0; i < 9; i++) a[i] = b[i] = i;\n"
    text = KERNEL.split("/*", maxsplit=1)[0] + main + '    printf("%g", dot(a, b, 9)); return 0; }\n'
    child, _ = playground("k.c", text, 2, edits_max=1, transplanting=0.0, weights=only("tile"))
    for number, source in enumerate((text, child)):
        (tmp_path / f"{number}.c").write_text(source)
        subprocess.run(["cc", "-o", str(tmp_path / str(number)), str(tmp_path / f"{number}.c")], check=True)
    said = [subprocess.run([tmp_path / name], capture_output=True, check=True).stdout for name in ("0", "1")]
    assert said == [b"204", b"204"]


def test_transplants_come_from_the_same_function_of_another(playground: Callable[..., tuple[str, str]]) -> None:
    ours = "def f(x, y):\n    return x + y\n\ndef g(z):\n    return z - 1\n"
    theirs = "def f(x, y):\n    hidden = x * 777\n    return hidden ** y\n\ndef g(z):\n    return z - 1\n"
    found = {playground("p.py", ours, seed, theirs, transplanting=1.0, edits_max=1)[0] for seed in range(30)}
    assert "def f(x, y):\n    hidden = x * 777\n    return hidden ** y\n\ndef g(z):\n    return z - 1\n" in found
    assert "def f(x, y):\n    return x * 777\n\ndef g(z):\n    return z - 1\n" in found
    assert any("    hidden = x * 777\n    return x + y" in child for child in found)


def test_a_broken_or_missing_inspiration_is_left_out(tmp_path: Path) -> None:
    place = a_workspace(tmp_path, {"p.py": SOURCES["short"]})
    shown = [place.add({"p.py": "def ("}), place.add({"q.py": "x = 1\n"}), place.add({"p.py": "\ufffd"})]
    brief = Brief(inspirations=tuple(Inspiration(AttemptId(i), commit) for i, commit in enumerate(shown)))
    Genetic(transplanting=1.0).mutate(place, brief, random.Random(0))
    assert (place.path / "p.py").read_text() != SOURCES["short"]


# Settings of tune


TUNED = """\
SHARE = 0.5  # tune: float 0.1..0.9
MODE = 'a'  # tune: one of 'a', 'b'
LOUD = 3

def f(x):
    return x * SHARE
"""


def test_settings_stay_settings_within_their_bounds(tmp_path: Path) -> None:
    declared = (Tunable("LOUD", "p.py", "int", 1, 8),)
    place = a_workspace(tmp_path, {"p.py": TUNED}, a_target(tmp_path, tunables=declared))
    seen = set()
    for seed in range(60):
        Genetic(edits_mean=3).mutate(place, Brief(), random.Random(seed))
        share, mode, loud, *_ = (place.path / "p.py").read_text().splitlines()
        assert 0.1 <= float(share.removeprefix("SHARE = ").removesuffix("  # tune: float 0.1..0.9")) <= 0.9
        assert mode in ("MODE = 'a'  # tune: one of 'a', 'b'", "MODE = 'b'  # tune: one of 'a', 'b'")
        assert 1 <= int(loud.removeprefix("LOUD = ")) <= 8
        seen |= {share, mode, loud}
    assert len(seen) > 10
    Tune().mutate(place, Brief(), random.Random(0))


# The search that it makes possible


def test_it_finds_a_formula(tmp_path: Path) -> None:
    """From x towards x * x - 3 * y, by keeping what is better."""
    place = a_workspace(tmp_path, {"p.py": "def f(x, y):\n    return x\n"})
    points = [(x, y) for x in (-3.0, -1.0, 0.5, 2.0, 4.0) for y in (-2.0, 0.0, 1.0, 3.0)]

    def error(text: str) -> float:
        names: dict[str, Callable[[float, float], float]] = {}
        try:
            exec(compile(text, "p.py", "exec"), names)
            return sum(abs(names["f"](x, y) - (x * x - 3 * y)) for x, y in points)
        except (ArithmeticError, TypeError, ValueError, NameError):
            return float("inf")

    genetic, best = Genetic(nodes_max=150), (place.path / "p.py").read_text()
    first = error(best)
    for number in range(600):
        (place.path / "p.py").write_text(best)
        genetic.mutate(place, Brief(), random.Random(number))
        child = (place.path / "p.py").read_text()
        best = min(best, child, key=lambda text: (error(text), len(text)))
    assert error(best) < first / 3


# What is refused


@pytest.mark.parametrize(
    ("files", "editable", "said"),
    [
        ({}, "**", "no file among ** holds code in Python (.py), C (.c), C++ (.cpp"),
        ({"p.rs": "fn main() {}"}, "**", "nothing to edit"),
        ({"p.py": SOURCES["short"]}, "q.py", "no file among q.py"),
        ({"p.py": "def f(:\n"}, "**", "p.py:1: cannot be read as Python: "),
        ({"p.py": "x = 1\n    y = 2\n"}, "**", "p.py:2: cannot be read as Python: unexpected indent"),
        ({"p.py": "# nothing\n"}, "**", "nothing to edit"),
        ({"p.c": "int f( { ] ] }"}, "**", "p.c:1: cannot be read as C: "),
        ({"p.py": f"x = {'-' * 150}1\n"}, "**", "p.py:1: cannot be read as Python: it is nested too deeply"),
        ({"p.py": f"x = {' + '.join('1' * 500)}\n"}, "**", "it is nested too deeply"),
        ({"p.c": f"int f(int x) {{ return {'-' * 500}x; }}\n"}, "**", "it is nested too deeply"),
    ],
)
def test_nothing_to_edit_is_said(tmp_path: Path, files: dict[str, str], editable: str, said: str) -> None:
    place = a_workspace(tmp_path, files, a_target(tmp_path, editable))
    with pytest.raises(MutatorFault) as caught:
        Genetic().mutate(place, Brief(), random.Random(0))
    assert said in str(caught.value)


def test_one_broken_file_does_not_keep_the_others_from_being_edited(tmp_path: Path) -> None:
    place = a_workspace(tmp_path, {"a.py": "def (", "b.py": SOURCES["short"]})
    (place.path / "c.py").write_bytes(b"x = '\xff'\n")
    Genetic().mutate(place, Brief(), random.Random(0))
    assert (place.path / "b.py").read_text() != SOURCES["short"]


def test_a_program_that_only_formatting_could_change_is_a_fault(tmp_path: Path) -> None:
    place = a_workspace(tmp_path, {"p.py": "import os\n"})
    with pytest.raises(MutatorFault, match="gave another program that parses"):
        Genetic().mutate(place, Brief(), random.Random(0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"edits_mean": 0.5}, "edits_mean must be from 1 to 100, not 0.5"),
        ({"transplanting": 1.5}, "transplanting must be from 0 to 1"),
        ({"growth_max": 0.0}, "growth_max must be from 1"),
        ({"weights": {"gruw": 1.0}}, "no kind of edit 'gruw' to weigh. Did you mean 'grow'?"),
        ({"weights": {"grow": -1.0}}, "must be a number from 0"),
        ({"weights": dict.fromkeys(KINDS, 0.0)}, "at least must have a weight above 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises((ValueError, ConfigError), match=said.replace("(", r"\(").replace("?", r"\?")):
        Genetic(**options)  # type: ignore[arg-type]


def test_it_comes_by_its_name_and_loads_its_parsers_late() -> None:
    script = (
        "import sys; from raysearch.plugins import load; load('mutators', 'genetic', {'weights': {'grow': 2.0}});"
        "print([m for m in ('libcst', 'tree_sitter', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
    assert isinstance(load("mutators", "genetic", {}), Genetic)


class TestConformance(MutatorConformance):
    def make(self) -> Genetic:
        return Genetic()


class TestConformanceInC(MutatorConformance):
    def make(self) -> Genetic:
        return Genetic()

    def target(self, root: Path) -> Target:
        return replace(tiny_target(root), editable=("*.c",))

    def program(self) -> Mapping[str, str]:
        return {"answer.c": KERNEL}

    def other_program(self) -> Mapping[str, str]:
        return {"answer.c": KERNEL.replace("total += a[k] * b[k]", "total -= a[k]")}

    def briefs(self, other: Commit) -> tuple[Brief, ...]:
        return Brief(), Brief(inspirations=(Inspiration(AttemptId(1), other),))
