"""Tune and scripted: what they may change, what they must leave alone, and what they say when they cannot."""

from __future__ import annotations

import ast
import difflib
import math
import random
import statistics
import string
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mutators import tunables
from mutators.scripted import Scripted
from mutators.tune import Tune
from mutators.variation import can_vary
from raysearch.errors import ConfigError, MutatorFault
from raysearch.protocols import Completed
from raysearch.target import EvaluatorCommand, Target, Tunable
from raysearch.testing.conformance import MutatorConformance
from raysearch.types import AttemptId, Brief, Commit, Inspiration

PROGRAM = '''"""A docstring that mentions SHARE = 0.9 and `tune`."""
import math

SHARE = 0.1  # tune: float 0.01..0.5
RATE: float = 1e-3  # tune: log 1e-5..1
K = 4  # tune: int 1..16
MODE = 'lru'  # tune: one of "lru", "fifo", "clock"
EXACT = True  # tune: one of True, False
ORDER = (
    "scan",  # first
    "sort",
    "merge",
)  # tune: permutation
FIXED = 0.5  # how much is fixed

def f(x):
    return "# tune: int 1..2", x * SHARE, math.e, "ünïcödé"
'''


@dataclass
class Folder:
    """A workspace with nothing behind it but a folder and a few other versions of the program."""

    path: Path
    target: Target
    commits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    commit: Commit = Commit("")
    scratch: Path = Path()
    evaluation_seed: int = 0

    def show(self, commit: Commit, path: str) -> str:
        try:
            return self.commits[commit][path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def diff(self, old: Commit, new: Commit) -> str:
        raise NotImplementedError

    def changed(self, old: Commit, new: Commit) -> Sequence[str]:
        raise NotImplementedError

    def merge_base(self, one: Commit, other: Commit) -> Commit | None:
        raise NotImplementedError

    def restore(self, commit: Commit, path: str) -> None:
        raise NotImplementedError

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        cwd: str = "{candidate}",
        writable: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        raise NotImplementedError


def a_target(*declared: Tunable, editable: tuple[str, ...] = ("**",)) -> Target:
    nothing = EvaluatorCommand(("true",), Path("/"))
    return Target(
        name="t",
        root=Path("/"),
        objective="",
        objectives=(),
        reference=Path("/"),
        checker=nothing,
        benchmark=nothing,
        editable=editable,
        tunables=declared,
    )


def workspace(folder: Path, files: Mapping[str, str], *declared: Tunable, **others: str) -> Folder:
    """``files`` in ``folder``; each of ``others`` is another version of the first file."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    commits = {commit: {next(iter(files)): text} for commit, text in others.items()}
    return Folder(folder, a_target(*declared), commits)


def inspired(*commits: str) -> Brief:
    return Brief(inspirations=tuple(Inspiration(AttemptId(i), Commit(c)) for i, c in enumerate(commits)))


ALONE = Brief()


def tuned(place: Folder, seed: int, brief: Brief = ALONE, **options: float) -> tuple[str, str]:
    """The first file after a mutation, and the summary."""
    file = next(path for path in sorted(place.path.rglob("*")) if path.is_file())
    summary = Tune(**options).mutate(place, brief, random.Random(seed)).summary
    return file.read_bytes().decode(), summary


def constants(text: str) -> dict[str, object]:
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.literal_eval(node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found[node.target.id] = ast.literal_eval(node.value)
    return found


# Tune


def test_every_kind_varies_within_its_bounds_and_nothing_else_changes(tmp_path: Path) -> None:
    seen: dict[str, set[object]] = {}
    before = constants(PROGRAM)
    for seed in range(120):
        text, summary = tuned(workspace(tmp_path, {"p.py": PROGRAM}), seed)
        after = constants(text)
        for name, value in after.items():
            seen.setdefault(name, set()).add(value)
        changed = [name for name in after if after[name] != before[name]]
        assert changed
        assert summary.split()[0] in changed
        assert text.splitlines()[0] == PROGRAM.splitlines()[0]
        assert text.splitlines()[-4:] == PROGRAM.splitlines()[-4:]
        assert text.count("# tune:") == PROGRAM.count("# tune:")
        assert '"scan"' in text
    assert seen["FIXED"] == {0.5}
    assert all(isinstance(v, float) and 0.01 <= v <= 0.5 for v in seen["SHARE"])
    assert all(isinstance(v, float) and 1e-5 <= v <= 1 for v in seen["RATE"])
    assert all(isinstance(v, int) and 1 <= v <= 16 for v in seen["K"])
    assert seen["MODE"] == {"lru", "fifo", "clock"}
    assert seen["EXACT"] == {True, False}
    assert all(sorted(order) == ["merge", "scan", "sort"] for order in seen["ORDER"])  # type: ignore[call-overload]
    assert all(len(seen[name]) > 2 for name in ("SHARE", "RATE", "K", "ORDER"))


def test_a_summary_says_what_changed(tmp_path: Path) -> None:
    text, summary = tuned(workspace(tmp_path, {"p.py": "K = 4  # tune: int 4..5\n"}), 1)
    assert (text, summary) == ("K = 5  # tune: int 4..5\n", "K 4 -> 5")


def test_equal_random_streams_give_equal_children(tmp_path: Path) -> None:
    others = {"a": PROGRAM.replace("0.1  #", "0.4  #"), "b": PROGRAM.replace("K = 4", "K = 11")}
    runs = [[tuned(workspace(tmp_path, {"p.py": PROGRAM}, **others), s, inspired("a", "b")) for s in range(8)]] * 2
    assert runs[0] == runs[1]
    assert len({text for text, _ in runs[0]}) > 4


def test_nothing_global_is_drawn_from(tmp_path: Path) -> None:
    import numpy as np

    before = random.getstate(), repr(np.random.get_state())
    tuned(workspace(tmp_path, {"p.py": PROGRAM}), 3)
    assert (random.getstate(), repr(np.random.get_state())) == before


def test_a_mate_lends_its_settings(tmp_path: Path) -> None:
    mate = PROGRAM.replace("'lru'", "'clock'").replace("K = 4", "K = 16")
    place = workspace(tmp_path, {"p.py": PROGRAM}, m=mate)
    modes, ks = [], []
    for seed in range(40):
        (tmp_path / "p.py").write_text(PROGRAM)
        after = constants(tuned(place, seed, inspired("m"), mating=1.0)[0])
        modes.append(after["MODE"])
        ks.append(after["K"])
    assert modes.count("clock") > 10
    assert modes.count("lru") > 5
    assert sum(k >= 12 for k in ks) > 5  # type: ignore[operator]


def test_fresh_settings_are_drawn_evenly_whatever_the_parent_is(tmp_path: Path) -> None:
    place, found = workspace(tmp_path, {"p.py": PROGRAM}, m=PROGRAM), []
    for seed in range(240):
        (tmp_path / "p.py").write_text(PROGRAM)
        found.append(constants(tuned(place, seed, inspired("m"), fresh=1.0)[0]))
    for name, low, high in (("SHARE", 0.01, 0.5), ("K", 1, 16)):
        values = [float(one[name]) for one in found]  # type: ignore[arg-type]
        assert abs(statistics.mean(values) - (low + high) / 2) < (high - low) / 15
        assert min(values) < low + (high - low) / 15
        assert max(values) > high - (high - low) / 15
    rates = [math.log10(one["RATE"]) for one in found]  # type: ignore[arg-type]
    assert abs(statistics.mean(rates) + 2.5) < 0.3, "from 1e-5 to 1, evenly by the logarithm"
    assert all(55 < sum(one["MODE"] == mode for one in found) < 105 for mode in ("lru", "fifo", "clock"))
    assert len({one["ORDER"] for one in found}) == 6
    assert all(one["FIXED"] == 0.5 for one in found)


def test_only_a_share_of_children_is_fresh(tmp_path: Path) -> None:
    place, before = workspace(tmp_path, {"p.py": PROGRAM}), constants(PROGRAM)
    changed = {}
    for fresh in (0.0, 0.3):
        changed[fresh] = 0
        for seed in range(100):
            (tmp_path / "p.py").write_text(PROGRAM)
            after = constants(tuned(place, seed, fresh=fresh)[0])
            changed[fresh] += sum(after[name] != before[name] for name in before) > 3
    assert changed[0.0] < 10
    assert 20 < changed[0.3] < 45


def test_a_fresh_child_is_not_its_parent(tmp_path: Path) -> None:
    place = workspace(tmp_path, {"p.py": "K = 4  # tune: int 4..5\n"})
    for seed in range(20):
        (tmp_path / "p.py").write_text("K = 4  # tune: int 4..5\n")
        assert tuned(place, seed, fresh=1.0)[1] == "K 4 -> 5"


def test_bounds_as_far_apart_as_numbers_go_can_be_drawn_between(tmp_path: Path) -> None:
    source = "A = 0.0  # tune: float -1e308..1e308\nB = 1  # tune: int 0..1e30\nC = 1.0  # tune: log 1e-300..1e300\n"
    after = constants(tuned(workspace(tmp_path, {"p.py": source}), 1, fresh=1.0)[0])
    assert isinstance(after["A"], float)
    assert abs(after["A"]) <= 1e308
    assert isinstance(after["B"], int)
    assert 0 <= after["B"] <= 10**30
    assert isinstance(after["C"], float)
    assert 1e-300 <= after["C"] <= 1e300


@pytest.mark.parametrize(
    "mate",
    [
        "MODE = 'gone'  # tune: one of 'gone'\nK = 99\nORDER = (1, 2)\nSHARE = f()\n",
        "this is not python",
        "",
        PROGRAM,
    ],
)
def test_a_mate_with_other_settings_or_none_is_no_trouble(tmp_path: Path, mate: str) -> None:
    place = workspace(tmp_path, {"p.py": PROGRAM}, m=mate)
    text, _ = tuned(place, 1, inspired("m", "no such commit"), mating=1.0)
    after = constants(text)
    assert after != constants(PROGRAM)
    assert after["MODE"] in ("lru", "fifo", "clock")
    assert 1 <= after["K"] <= 16  # type: ignore[operator]


def test_declared_tunables_need_no_comment(tmp_path: Path) -> None:
    source = "SIZE = 8\nKIND = 'a'\nPLAN = [3, 1, 2]\nUSE = False\n"
    declared = (
        Tunable("SIZE", "lib/p.py", "int", 1, 64),
        Tunable("KIND", "lib/p.py", "categorical", choices=("a", "b'c")),
        Tunable("PLAN", "lib/p.py", "permutation", choices=(1, 2, 3)),
        Tunable("USE", "lib/p.py", "categorical", choices=(True, False)),
    )
    seen = [constants(tuned(workspace(tmp_path, {"lib/p.py": source}, *declared), seed)[0]) for seed in range(40)]
    assert {str(one["KIND"]) for one in seen} == {"a", "b'c"}
    assert {bool(one["USE"]) for one in seen} == {True, False}
    assert all(sorted(one["PLAN"]) == [1, 2, 3] for one in seen)  # type: ignore[call-overload]
    assert len({str(one["PLAN"]) for one in seen}) > 1
    assert len({str(one["SIZE"]) for one in seen}) > 3


LINES = {
    "a.c": ("static const double SHARE = ", "0.1", "f; // tune: float 0.01..0.5"),
    "b.h": ("#define SHARE ", "4", " /* tune: int 1..16 */"),
    "c.cpp": ("constexpr std::array<int, 3> SHARE = ", "{3, 1, 2}", ";  // tune: permutation"),
    "d.rs": ("pub const SHARE: f64 = ", "1e-3", "_f64; // tune: log 1e-5..1"),
    "e.js": ("  share: ", '"lru"', ', // tune: one of "lru", "fifo"'),
    "f.toml": ("share = ", "true", " # tune: one of true, false"),
    "g.yaml": ("share: ", "0.25", "  # tune: float 0..1"),
    "h.lua": ("local SHARE = ", "3", " -- tune: int 1..4"),
    "i.go": ("\tshare := ", "0.5", " // tune: float 0..1"),
    "j.cpp": ("inline Mode SHARE = ", "Mode::kLru", ";  // tune: one of Mode::kLru, Mode::kFifo"),
    "k.ts": ("export const SHARE: number[] = ", "[0, 1, 2]", " // tune: permutation"),
    "l.cc": ("int *SHARE[] = ", "{4, 5}", "; // tune: permutation"),
}


@pytest.mark.parametrize("file", LINES)
def test_any_language_with_lines_and_comments_will_do(tmp_path: Path, file: str) -> None:
    lead, value, tail = LINES[file]
    head, foot = f"first = 1 // one\r\n{lead}", f"{tail}\r\nlast, e = f(2)\r\n"
    for seed in range(6):
        text, _ = tuned(workspace(tmp_path, {file: head + value + foot}), seed)
        assert text != head + value + foot
        assert text.startswith(head)
        assert text.endswith(foot)
        new = text[len(head) : -len(foot)]
        assert "\n" not in new
        assert sorted(new) == sorted(value) if "perm" in tail else new.startswith(value[0]) or new[0].isalnum()


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("p.c", "float x = 1.0f; // tune: one of 1.0, 2.0\n", "float x = 2.0f; // tune: one of 1.0, 2.0\n"),
        ("p.py", "X = (1)  # tune: int 1..2\n", "X = (2)  # tune: int 1..2\n"),
        ("p.py", "X = -1  # tune: one of -1, 'a'\n", "X = \"a\"  # tune: one of -1, 'a'\n"),
        ("p.py", "ä = 'ß'; X = 1  # tune: int 1..2\n", "ä = 'ß'; X = 2  # tune: int 1..2\n"),
        ("p.py", "X = 'a'  # tune: one of a, b\n", "X = 'b'  # tune: one of a, b\n"),
        (
            "p.rs",
            "const A: bool = true; // tune: one of true, false",
            "const A: bool = false; // tune: one of true, false",
        ),
        ("p.py", "O = [1,  2,]  # tune: permutation", "O = [2,  1,]  # tune: permutation"),
        ("p.toml", 'x = 4 # tune: one of 4, "auto"', 'x = "auto" # tune: one of 4, "auto"'),
    ],
)
def test_the_only_other_value_is_written_as_the_source_writes(
    tmp_path: Path, file: str, before: str, after: str
) -> None:
    assert tuned(workspace(tmp_path, {file: before}), 0)[0] == after


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("X = 0.1  # tune: float 0.5..0.01", "low 0.5 is above high 0.01"),
        ("X = 3  # tune: int 5..9", "its value 3 is outside 5..9"),
        ("X = 3  # tune: itn 1..9", "Did you mean 'int'?"),
        ("X = 3  # tune: int 1.5..9", "must be whole numbers"),
        ("X = 3.0  # tune: int 1..9", "its value 3.0 is not a whole number"),
        ("X = 3  # tune: int one..9", "one and 9 must be numbers"),
        ("X = 1.0  # tune: log 0..1", "must be above 0 on a logarithmic scale"),
        ("X = 1.0  # tune: float 0..inf", "must be finite"),
        ("X = 1.0  # tune: float nan..1", "must be finite"),
        ("X = 'c'  # tune: one of 'a', 'b'", "its value 'c' is none of 'a', 'b'"),
        ("X = 'a'  # tune: one of 'a', 'a'", "all different"),
        ("X = 'a'  # tune: one of f(x), 'a'", "must list numbers"),
        ("X = (1, 1)  # tune: permutation", "must all be different"),
        ("X = 1  # tune: permutation", "a permutation needs a list"),
        ("X = f(1)  # tune: int 1..3", "its value is not a literal"),
        ("X = True  # tune: int 0..3", "its value True is not a whole number"),
        ("X = 1  # tune:", "cannot read `tune: `"),
        ("X = 1  # tune: int 1..2\nX = 2  # tune: int 1..2", "annotated twice"),
        ("def f():\n    x = 1  # tune: int 1..2", "must follow a constant at the top level"),
        ("X = 1  # tune: int 1..2\nx = (", "this is not Python"),
    ],
)
def test_a_bad_annotation_is_one_clear_error(tmp_path: Path, source: str, complaint: str) -> None:
    with pytest.raises(MutatorFault) as caught:
        tuned(workspace(tmp_path, {"p.py": source + "\n"}), 0)
    assert complaint in str(caught.value)
    assert "p.py:" in str(caught.value)
    assert (tmp_path / "p.py").read_text() == source + "\n"


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    files = {
        "a.py": "X = 3  # tune: int 5..9\nY = 3  # tune: integer\n",
        "b.c": "foo(3) // tune: int 1..2\n",
    }
    declared = (
        Tunable("Q", "a.py", "int", 1, 2),
        Tunable("Z", "gone.py", "int", 1, 2),
        Tunable("X", "a.py", "sometimes"),
    )
    with pytest.raises(MutatorFault) as caught:
        tuned(workspace(tmp_path, files, *declared), 0)
    said = str(caught.value)
    for part in (
        "a.py: Q: no line assigns it",
        "gone.py: there is no such file",
        "a.py:1: X: unknown kind 'sometimes'",
    ):
        assert part in said
    assert "a.py:2: Y: cannot read" in said
    assert "b.c:1: a `tune:` comment must follow" in said


@pytest.mark.parametrize("source", ["X = 1\n", "X = 1  # tune: int 1..1\n", "X = 'a'  # tune: one of 'a'\n", ""])
def test_without_tunables_it_says_how_to_declare_some(tmp_path: Path, source: str) -> None:
    with pytest.raises(MutatorFault, match=r"SHARE = 0.1  # tune: float 0.01..0.5.*\[\[tunables\]\]"):
        tuned(workspace(tmp_path, {"p.py": source}), 0)


def test_only_editable_source_files_are_looked_at(tmp_path: Path) -> None:
    files = {
        "p.py": "X = 1  # tune: int 1..2\n",
        "other.py": "Y = 5  # tune: int 1..2\n",
        "notes.md": "# tune: whatever\n",
        ".hidden.py": "Y = 5  # tune: int 1..2\n",
        "data.bin": "\x00\x01",
    }
    place = workspace(tmp_path, files)
    place.target = a_target(editable=("p.py", "*.md", "*.bin", ".*"))
    (tmp_path / "data.bin").write_bytes(b"\xff\xfe tune: \x00")
    (tmp_path / "link.py").symlink_to(tmp_path / "other.py")
    assert Tune().mutate(place, Brief(), random.Random(0)).summary == "X 1 -> 2"


@pytest.mark.parametrize(
    "options", [{"mating": -0.1}, {"mating": 1.1}, {"fresh": -0.1}, {"fresh": 1.1}, {"eta": 0.5}, {"eta": 101.0}]
)
def test_options_have_bounds(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be from"):
        Tune(**options)


NAMES = st.sampled_from(string.ascii_uppercase)
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: float(f"{x:.6g}"))


@st.composite
def annotated(draw: st.DrawFn) -> tuple[str, str]:
    """A line of Python with an annotation, and its kind."""
    kind = draw(st.sampled_from(["int", "float", "log", "one of", "permutation"]))
    if kind == "one of":
        choices = draw(
            st.lists(st.text("ab\"'\\, é#", max_size=4) | st.integers(-3, 3), min_size=1, max_size=4, unique_by=repr)
        )
        return f"{draw(st.sampled_from(choices))!r}  # tune: one of {', '.join(map(repr, choices))}", kind
    if kind == "permutation":
        return f"{draw(st.lists(st.integers(0, 99), max_size=7, unique=True))!r}  # tune: permutation", kind
    low, high = sorted(draw(st.tuples(NUMBERS, NUMBERS)))
    if kind == "int":
        low, high = float(int(low)), float(int(high))
        value: float = draw(st.integers(int(low), int(high)))
    elif kind == "log":
        low, high = abs(low) + 1e-9, abs(low) + 1e-9 + abs(high)
        value = draw(st.floats(low, high))
    else:
        value = draw(st.floats(low, high))
    return f"{value!r}  # tune: {kind} {low!r}..{high!r}", kind


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(NAMES, annotated(), min_size=1, max_size=5), st.integers(0, 2**32), st.sampled_from(["\n", "\r\n"])
)
def test_children_are_always_valid_parents(
    tmp_path: Path, lines: dict[str, tuple[str, str]], seed: int, newline: str
) -> None:
    source = newline.join(f"{name} = {line}" for name, (line, _) in lines.items()) + newline + "# the end"
    place = workspace(tmp_path, {"p.py": source}, m=source)
    found = tunables.find(tmp_path, ("**",), ())
    if not any(can_vary(setting.tunable) for setting in found):
        with pytest.raises(MutatorFault, match="nothing to tune"):
            tuned(place, seed)
        return
    text, summary = tuned(place, seed, inspired("m"))
    assert summary
    again = tunables.find(tmp_path, ("**",), ())  # every value within its bounds, every permutation one
    assert [setting.tunable for setting in again if setting.tunable.kind != "permutation"] == [
        setting.tunable for setting in found if setting.tunable.kind != "permutation"
    ]
    assert any(not tunables.same(a.value, b.value) for a, b in zip(found, again, strict=True))
    for old, new in zip(found, again, strict=True):
        if isinstance(old.value, tuple) and isinstance(new.value, tuple):
            assert sorted(map(repr, old.value)) == sorted(map(repr, new.value))
    back = tunables.written(text, again, {setting.key: setting.value for setting in found})
    assert constants(back) == constants(source)
    assert back.count(newline) == source.count(newline)
    assert [line.partition("# tune:")[2] for line in text.split(newline)] == [
        line.partition("# tune:")[2] for line in source.split(newline)
    ]


@settings(max_examples=60, deadline=None)
@given(st.text("ab =:#/\"'[](){},.\n\r\\-_0123456789x", max_size=120))
def test_reading_never_fails_on_other_text(text: str) -> None:
    problems: list[str] = []
    for file in ("p.py", "p.c"):
        for setting in tunables.settings(file, text, (), problems):
            assert setting.constant.spec is not None


def test_pymoo_is_loaded_only_when_a_mutation_is_asked_for() -> None:
    code = "import mutators.tune, mutators.scripted, sys; mutators.tune.Tune(); sys.exit('pymoo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# Scripted

BASE = "one\ntwo\nthree\n"
EDITS = (
    {"name": "b", "file": "a.txt", "search": "two", "replace": "2"},
    {"name": "c", "file": "new/deep.txt", "content": "hello\n"},
)


def a_diff(old: str, new: str, file: str = "a.txt") -> str:
    before = BASE.splitlines(keepends=True)
    after = [f"{new}\n" if line == f"{old}\n" else line for line in before]
    return "".join(difflib.unified_diff(before, after, f"a/{file}", f"b/{file}", n=1))


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    folder = tmp_path / "patches"
    folder.mkdir()
    (folder / "01-first.patch").write_text(a_diff("one", "1"))
    (folder / "02-second.patch").write_text(a_diff("three", "3"))
    (folder / "notes.txt").write_text("not a patch")
    return folder


@pytest.fixture
def program(tmp_path: Path) -> Folder:
    (tmp_path / "program").mkdir()
    return workspace(tmp_path / "program", {"a.txt": BASE})


def test_a_script_is_played_in_order_and_ends(program: Folder, patches: Path) -> None:
    script = Scripted(patches=patches, edits=EDITS)
    played = [script.mutate(program, Brief(), random.Random(0)).summary for _ in range(4)]
    assert played == ["01-first", "02-second", "b", "c"]
    assert (program.path / "a.txt").read_text() == "1\n2\n3\n"
    assert (program.path / "new/deep.txt").read_text() == "hello\n"
    with pytest.raises(MutatorFault, match=r"the script is over.*\n.*01-first: error: patch failed: a.txt:1"):
        script.mutate(program, Brief(), random.Random(0))


def test_after_a_refusal_comes_the_next_patch(program: Folder, patches: Path) -> None:
    brief = Brief(lessons=("first was wrong", "second too"))
    script = Scripted(patches=patches, edits=EDITS[:1])
    assert script.mutate(program, brief, random.Random(0)).summary == "b"
    (program.path / "a.txt").write_text(BASE)
    script = Scripted(patches=patches)
    with pytest.raises(MutatorFault, match=r"all that applies .*\(01-first, 02-second\) has been refused"):
        script.mutate(program, brief, random.Random(0))


def test_a_task_may_name_a_patch(program: Folder, patches: Path) -> None:
    script = Scripted(patches=patches)
    task = "Make it faster.\npatch: 02-second.patch\n"
    assert script.mutate(program, Brief(task=task), random.Random(0)).summary == "02-second"
    assert (program.path / "a.txt").read_text() == "one\ntwo\n3\n"
    with pytest.raises(MutatorFault, match="02-second does not apply: error: patch failed"):
        script.mutate(program, Brief(task=task), random.Random(0))
    with pytest.raises(MutatorFault, match=r"no patch '02-secnd'. Did you mean '02-second'\?"):
        script.mutate(program, Brief(task="patch: 02-secnd"), random.Random(0))


def test_a_random_order_is_drawn_from_the_stream_alone(program: Folder, patches: Path) -> None:
    script = Scripted(patches=patches, edits=EDITS, order="random")
    seen = []
    for seed in range(16):
        (program.path / "a.txt").write_text(BASE)
        (program.path / "new/deep.txt").unlink(missing_ok=True)
        seen.append(script.mutate(program, Brief(), random.Random(seed % 8)).summary)
    assert seen[:8] == seen[8:]
    assert len(set(seen)) > 1


def test_a_patch_applies_as_a_whole_or_not_at_all(program: Folder, patches: Path) -> None:
    (patches / "03-both.patch").write_text(a_diff("one", "1") + a_diff("two", "2", "gone.txt"))
    with pytest.raises(MutatorFault, match=r"03-both does not apply: error: gone\.txt: No such file"):
        Scripted(patches=patches).mutate(program, Brief(task="patch: 03-both"), random.Random(0))
    assert (program.path / "a.txt").read_text() == BASE


@pytest.mark.parametrize("inside_a_repository", [False, True])
def test_a_repository_around_the_program_plays_no_part(
    program: Folder, patches: Path, inside_a_repository: bool
) -> None:
    if inside_a_repository:
        subprocess.run(["git", "init", "-q", str(program.path.parent)], check=True)
    assert Scripted(patches=patches).mutate(program, Brief(), random.Random(0)).summary == "01-first"
    assert (program.path / "a.txt").read_text().startswith("1\n")


def test_nothing_outside_the_program_is_written(program: Folder, patches: Path) -> None:
    outside = program.path.parent / "victim.txt"
    outside.write_text(BASE)
    (patches / "04-out.patch").write_text(a_diff("one", "1", "../victim.txt"))
    (program.path / "link").symlink_to(program.path.parent)
    edits = [
        {"name": "up", "file": "../victim.txt", "search": "one", "replace": "1"},
        {"name": "link", "file": "link/victim.txt", "content": "x"},
    ]
    for name in ("04-out", "up", "link"):
        with pytest.raises(MutatorFault, match=f"{name} does not apply"):
            Scripted(patches=patches, edits=edits).mutate(program, Brief(task=f"patch: {name}"), random.Random(0))
    assert outside.read_text() == BASE


@pytest.mark.parametrize(
    ("file", "search", "reason"),
    [
        ("a.txt", "four", "holds the text to replace 0 times"),
        ("a.txt", "e\n", "holds the text to replace 2 times"),
        ("b.txt", "one", "there is no file b.txt"),
    ],
)
def test_an_edit_that_does_not_fit_says_why(program: Folder, file: str, search: str, reason: str) -> None:
    script = Scripted(edits=[{"file": file, "search": search, "replace": "x"}])
    with pytest.raises(MutatorFault, match=reason):
        script.mutate(program, Brief(), random.Random(0))


@pytest.mark.parametrize(
    ("edits", "complaint"),
    [
        ([], "nothing to play"),
        ([{"file": "a", "search": "x"}], "edit 1 needs `file`"),
        ([{"file": "a", "content": "x", "search": "y"}], "edit 1 needs `file`"),
        ([{"search": "a", "replace": "x"}], "edit 1 needs `file`"),
        ([{"file": "a", "find": "x", "replace": "y"}], "edit 1 has an unknown key 'find'"),
        ([{"file": "a", "search": "", "replace": "y"}], "an empty `search`"),
        ([{"file": "a", "content": "x", "name": "n"}] * 2, "two changes are called 'n'"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused_at_once(edits: list[dict[str, str]], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Scripted(edits=edits)


def test_a_folder_without_patches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.patch"):
        Scripted(patches=tmp_path)
    with pytest.raises(ConfigError, match="there is no folder"):
        Scripted(patches=tmp_path / "gone")


# What every mutator owes, with every kind of tunable at once


class TestTuneConformsOnEveryKind(MutatorConformance):
    def make(self) -> Tune:
        return Tune(mating=1.0)

    def program(self) -> Mapping[str, str]:
        return {"answer.py": PROGRAM}

    def other_program(self) -> Mapping[str, str]:
        return {"answer.py": PROGRAM.replace("K = 4", "K = 9").replace("'lru'", "'fifo'")}
