"""The online-bin-packing example: what it counts, what it refuses, and what a heuristic can see."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutators import tunables
from raysearch.config.targets import load_target

TARGET = Path(__file__).parents[1] / "examples" / "online-bin-packing"
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
BEST_FIT = "def priority(item, remaining):\n    return item - remaining\n"
SECRET = 20_11_58


def ask(folder: Path, source: str | None, script: str, *options: str) -> dict[str, Any]:
    """What ``script`` of the target writes about a candidate with this ``heuristic.py``."""
    candidate, result = folder / "candidate", folder / "result.json"
    candidate.mkdir(exist_ok=True)
    if source is not None:
        (candidate / "heuristic.py").write_text(source)
    words = ["--candidate", candidate, "--reference", TARGET / "reference", "--seed", str(SECRET), "--result", result]
    command = [sys.executable, str(TARGET / script), *map(str, words), *options]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    answer: dict[str, Any] = json.loads(result.read_text())
    return answer


def check(folder: Path, source: str | None, *options: str) -> dict[str, Any]:
    return ask(folder, source, "accuracy_checker/checker.py", *options)


def broken_rule(verdict: dict[str, Any]) -> str:
    """The rule that a candidate broke."""
    failed = [case["name"] for case in verdict["cases"] if not case["passed"]]
    assert not verdict["passed"]
    assert len(failed) == 1
    return str(failed[0])


@pytest.fixture(scope="module")
def arena() -> Iterator[ModuleType]:
    """The module that packs, with its siblings; other examples have modules of the same names."""
    before = dict(sys.modules)
    sys.path.insert(0, str(TARGET / "accuracy_checker"))
    for name in ("arena", "instances", "jail"):
        sys.modules.pop(name, None)
    try:
        yield importlib.import_module("arena")
    finally:
        sys.path.remove(str(TARGET / "accuracy_checker"))
        for name in ("arena", "instances", "jail"):
            sys.modules.pop(name, None)
            if name in before:
                sys.modules[name] = before[name]


# -- honest heuristics ------------------------------------------------------------------------------------


def test_target_loads() -> None:
    target = load_target(TARGET)
    found = [(o.name, o.goal, o.unit, o.noise, o.primary) for o in target.objectives]
    assert found == [("excess_weibull", "min", "%", 0.0, True), ("excess_or3", "min", "%", 0.0, False)]
    settings = tunables.find(TARGET / "seed", target.editable, target.tunables)
    assert [setting.tunable.name for setting in settings] == ["TIGHT", "ROOMY", "SHUN", "NEW"]


@pytest.mark.parametrize("path", sorted(TARGET.glob("anchors/*.py")) + sorted(TARGET.glob("reference/*.py")))
def test_known_heuristics_keep_the_rules(tmp_path: Path, path: Path) -> None:
    verdict = check(tmp_path, path.read_text())
    assert verdict["passed"], verdict["feedback"]
    assert [case["name"] for case in verdict["cases"]] == ["awkward items", "measured families"]


def measured(folder: Path, source: str) -> dict[str, list[float]]:
    found = ask(folder, source, "benchmark/benchmark.py")
    return {metric["name"]: metric["samples"] for metric in found["metrics"]}


def test_seed_is_best_fit(tmp_path: Path) -> None:
    seed = measured(tmp_path, (TARGET / "seed" / "heuristic.py").read_text())
    assert seed == measured(tmp_path, BEST_FIT)
    assert 3.8 < seed["excess_weibull"][0] < 4.5
    assert 4.7 < seed["excess_or3"][0] < 5.7


def test_published_heuristics_do_what_was_published(tmp_path: Path) -> None:
    weibull = measured(tmp_path, (TARGET / "anchors" / "funsearch_weibull.py").read_text())
    assert 0.4 < weibull["excess_weibull"][0] < 1.1
    either = measured(tmp_path, (TARGET / "anchors" / "funsearch_or.py").read_text())
    assert 2.7 < either["excess_or3"][0] < 3.5


# -- arithmetic -------------------------------------------------------------------------------------------


@given(st.integers(1, 30).flatmap(lambda most: st.tuples(st.just(most), st.lists(st.integers(1, most), max_size=40))))
def test_bins_against_plain_lists(arena: ModuleType, instance: tuple[int, list[int]]) -> None:
    capacity, items = instance
    bins, plain = arena.Bins(capacity, len(items)), [capacity] * len(items)
    draw = random.Random(len(items))
    reach = 0
    for item in items:
        fitting = [place for place in range(min(reach + 8, len(items))) if plain[place] >= item]
        assert bins.fitting(item).tolist() == fitting
        assert bins.remaining(bins.fitting(item)).tolist() == [plain[place] for place in fitting]
        place = draw.choice(fitting)
        bins.place(item, place)
        plain[place] -= item
        reach = max(reach, place + 1)
    assert bins.used == sum(left < capacity for left in plain)
    assert min(plain, default=0) >= 0


def fewest(items: Sequence[int], capacity: int) -> int:
    """The best packing of a few items, by trying all."""
    best = len(items)
    for choice in itertools.product(range(len(items)), repeat=len(items)):
        loads = [0] * len(items)
        for item, place in zip(items, choice, strict=True):
            loads[place] += item
        if max(loads) <= capacity:
            best = min(best, len(set(choice)))
    return best


def greedy(items: Sequence[int], capacity: int, first: bool) -> int:
    """Bins that first fit or best fit takes."""
    left: list[int] = []
    for item in items:
        fitting = [place for place, room in enumerate(left) if room >= item]
        if fitting:
            place = fitting[0] if first else min(fitting, key=lambda place: left[place])
            left[place] -= item
        else:
            left.append(capacity - item)
    return len(left)


def test_packing_against_brute_force(arena: ModuleType) -> None:
    np, instances = importlib.import_module("numpy"), importlib.import_module("instances")
    draw = random.Random(3)
    given, tiny = [], []
    for _ in range(40):
        capacity = draw.randint(1, 12)
        items = [draw.randint(1, capacity) for _ in range(draw.randint(1, 6))]
        tiny.append((items, capacity))
        given.append(instances.Instance("tiny", capacity, np.array(items, np.float64)))
    for name, first in (("first_fit.py", True), ("heuristic.py", False)):
        used = arena.judged(TARGET / "reference" / name, given, 1, 60.0)
        for (items, capacity), instance, taken in zip(tiny, given, used, strict=True):
            assert taken == greedy(items, capacity, first)
            assert instance.bound <= fewest(items, capacity) <= taken


def test_bound_rounds_up(arena: ModuleType) -> None:
    np, instances = importlib.import_module("numpy"), importlib.import_module("instances")
    bounds = [instances.Instance("", 100, np.array(items, float)).bound for items in ([100.0], [51.0] * 4, [50.0] * 4)]
    assert bounds == [1, 3, 2]


def test_items_belong_to_the_seed(arena: ModuleType) -> None:
    instances = importlib.import_module("instances")
    for family, low, high, shape in (("weibull", 1, 100, (5, 5000)), ("or3", 20, 100, (20, 500))):
        first, again, other = (getattr(instances, family)(seed) for seed in (7, 7, 8))
        assert (len(first), len(first[0].items)) == shape
        assert all((one.items == two.items).all() for one, two in zip(first, again, strict=True))
        assert len({one.items.tobytes() for one in first + other}) == 2 * len(first)
        for one in first:
            assert low <= one.items.min() <= one.items.max() <= high
            assert (one.items == one.items.round()).all()
    mean = sum(one.items.mean() for one in instances.weibull(7)) / 5
    assert mean == pytest.approx(45 * 0.892979, rel=0.01)  # scale times gamma(1 + 1/3)


# -- what is refused --------------------------------------------------------------------------------------

CHEATS = {
    "writes to its input": ("changes its input", "    remaining -= item\n    return -remaining\n"),
    "makes its input writable": (
        "changes its input",
        "    remaining.setflags(write=True)\n    remaining[:] = 0\n    return remaining\n",
    ),
    "not a number": ("finite", "    return np.full(len(remaining), np.nan)\n"),
    "infinite": ("finite", "    return np.where(remaining == item, np.inf, -remaining)\n"),
    "too many scores": ("shape", "    return np.zeros(len(remaining) + 1)\n"),
    "too few scores": ("shape", "    return -remaining[1:]\n"),
    "one score": ("shape", "    return 1.0\n"),
    "a column": ("shape", "    return -remaining[:, None]\n"),
    "nothing": ("shape", "    return None\n"),
    "complex": ("numbers", "    return remaining * 1j\n"),
    "text": ("numbers", "    return np.array(['a'] * len(remaining))\n"),
    "raises": ("raised", "    return remaining[item]\n"),
    "exits": ("raised", "    raise SystemExit(0)\n"),
    "dies": ("died", "    ctypes.string_at(0)\n"),
    "remembers": (
        "not a function",
        "    global calls\n    calls += 1\n    return -remaining + calls % 7\n",
    ),
    "draws lots": ("not a function", "    return -remaining * os.urandom(1)[0]\n"),
    "looks at the clock": (
        "not a function",
        "    import time\n    return -remaining + time.perf_counter_ns() % 1009\n",
    ),
    "imports": ("import", "    import socket\n    return -remaining\n"),
    "reads the seed": ("out of bounds", "    open(f'/proc/{os.getppid()}/cmdline')\n    return -remaining\n"),
    "starts a process": ("out of bounds", "    os.fork()\n    return -remaining\n"),
    "reads the judge's memory": (
        "out of bounds",
        "    libc = ctypes.CDLL(None, use_errno=True)\n"
        "    buffer = ctypes.create_string_buffer(8)\n"
        "    piece = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)\n"
        "    if libc.process_vm_readv(os.getppid(), piece, 1, piece, 1, 0) < 0:\n"
        "        raise PermissionError(ctypes.get_errno())\n"
        "    return -remaining\n",
    ),
    "answers for its process": (
        "protocol",
        "    for number in range(3, 20):\n"
        "        try:\n            os.write(number, b'\\xff' * 64)\n"
        "        except OSError:\n            pass\n"
        "    return -remaining\n",
    ),
}
HEAD = "import ctypes, os\nimport numpy as np\n\ncalls = 0\n\n\ndef priority(item, remaining):\n"


@pytest.mark.parametrize("name", CHEATS)
def test_cheats_fail_by_name(tmp_path: Path, name: str) -> None:
    rule, body = CHEATS[name]
    verdict = check(tmp_path, HEAD + body)
    assert broken_rule(verdict) == rule, verdict["feedback"]
    assert "priority(item, remaining)" in verdict["feedback"]


def test_sleeping(tmp_path: Path) -> None:
    verdict = check(tmp_path, "import time\n" + BEST_FIT + "\ntime.sleep(600)\n", "--limit-s", "3")
    assert broken_rule(verdict) == "timed out"


@pytest.mark.parametrize(("source", "rule"), [(None, "missing"), ("def priority(:\n", "raised"), ("x = 1\n", "raised")])
def test_what_is_no_heuristic(tmp_path: Path, source: str | None, rule: str) -> None:
    assert broken_rule(check(tmp_path, source)) == rule


def test_lines_are_named(tmp_path: Path) -> None:
    assert "heuristic.py line 8" in check(tmp_path, HEAD + "    return remaining / None\n")["feedback"]


def test_the_benchmark_refuses_too(tmp_path: Path) -> None:
    """A program that behaves for as many calls as the checker makes."""
    body = "    global calls\n    calls += 1\n    return -remaining if calls < 8000 else remaining * np.nan\n"
    assert check(tmp_path, HEAD + body)["passed"]
    refused = ask(tmp_path, HEAD + body, "benchmark/benchmark.py")
    assert "metrics" not in refused
    assert "finite" in refused["refused"]


def test_the_future_is_nowhere_to_be_found(tmp_path: Path, arena: ModuleType) -> None:
    """The items that are to come lie in no object and no frame of the process, and not in the shared memory."""
    instances = importlib.import_module("instances")
    families = instances.weibull(SECRET, draws=2, count=500) + instances.or3(SECRET, draws=2)
    futures = [one.items[100:108].tolist() for one in families]
    source = f"""
import gc, sys
import numpy as np

FUTURES = {futures!r}
PATTERNS = [np.array(future).tobytes() for future in FUTURES]
FUTURES = None


def holds(thing):
    if isinstance(thing, np.ndarray):
        thing = thing.tobytes()
    elif isinstance(thing, (list, tuple)) and thing is not PATTERNS:
        if not all(isinstance(number, (int, float)) for number in thing):
            return False
        thing = np.array(thing, np.float64).tobytes()
    if not isinstance(thing, (bytes, bytearray)):
        return False
    return any(pattern in thing and thing != pattern for pattern in PATTERNS)


calls = 0


def priority(item, remaining):
    global calls
    calls += 1
    if calls == 40:
        seen = list(gc.get_objects()) + [thing for thing in gc.get_objects() for thing in gc.get_referents(thing)]
        frame = sys._getframe()
        while frame is not None:
            seen += list(frame.f_locals.values()) + list(frame.f_globals.values())
            frame = frame.f_back
        assert any(isinstance(thing, np.ndarray) for thing in seen)
        if any(holds(thing) for thing in seen):
            raise LookupError("found it")
    return item - remaining
"""
    verdict = check(tmp_path, source)
    assert verdict["passed"], verdict["feedback"]
