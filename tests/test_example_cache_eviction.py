"""The cache-eviction target: honest policies pass and are measured, dishonest ones are named."""

from __future__ import annotations

import importlib.util
import itertools
import json
import platform
import random
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutators import tunables
from mutators.variation import Variation

TARGET = Path(__file__).resolve().parents[1] / "examples" / "cache-eviction"
SMALL = ("--requests", "400", "--draws", "1")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp and per-process CPU clocks are Linux")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"cache_eviction_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(script: str, candidate: Path, result: Path, *more: str, seed: int = 7) -> subprocess.CompletedProcess[str]:
    words = [script, "--candidate", str(candidate), "--reference", "reference", "--seed", str(seed)]
    return subprocess.run(
        [sys.executable, "-B", *words, "--result", str(result), *more],
        cwd=TARGET,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def checked(folder: Path, source: str, *more: str) -> dict[str, Any]:
    """The verdict on a policy."""
    (folder / "policy.py").write_text(source)
    result = folder / "verdict.json"
    done = call("accuracy_checker/checker.py", folder, result, *SMALL, *more)
    assert done.returncode == 0, done.stderr
    verdict: dict[str, Any] = json.loads(result.read_text())
    return verdict


def measured(folder: Path, source: str, *more: str, seed: int = 7) -> dict[str, Any]:
    (folder / "policy.py").write_text(source)
    result = folder / "metrics.json"
    done = call("benchmark/benchmark.py", folder, result, "--draws", "1", *more, seed=seed)
    assert done.returncode == 0, done.stderr
    metrics: dict[str, Any] = json.loads(result.read_text())
    return metrics


def samples(metrics: dict[str, Any], name: str) -> list[float]:
    return next(metric["samples"] for metric in metrics["metrics"] if metric["name"] == name)


HONEST = {
    "fifo": TARGET / "anchors" / "fifo.py",
    "lru": TARGET / "reference" / "lru.py",
    "sieve": TARGET / "anchors" / "sieve.py",
    "arc": TARGET / "anchors" / "arc.py",
    "s3fifo": TARGET / "anchors" / "s3fifo.py",
    "seed": TARGET / "seed" / "policy.py",
    "nothing": TARGET / "benchmark" / "nothing.py",
}

LRU = HONEST["lru"].read_text()
LISTENS = """
class Policy:
    def __init__(self, capacity):
        self.capacity, self.keys = capacity, {}
    def access(self, key):
        %s
        if key in self.keys:
            return None
        self.keys[key] = None
        if len(self.keys) > self.capacity:
            oldest = next(iter(self.keys))
            del self.keys[oldest]
            return oldest
        return None
"""
"""FIFO, with a place for something else to happen at each access."""

FLOOD = """
        import os
        for fd in range(3, 20):
            try: os.write(fd, b'x' * 999)
            except OSError: pass
"""

CHEATS = {
    "never evicts": (
        "class Policy:\n def __init__(self, c): pass\n def access(self, key): return None",
        "over capacity",
    ),
    "evicts what is not there": (LISTENS % "return key + 1", "not resident"),
    "evicts twice": (LISTENS.replace("del self.keys[oldest]", "pass") % "pass", "not resident"),
    "claims a hit": (LISTENS % "return True", "not resident"),
    "negative key": (LISTENS % "return -5", "not resident"),
    "answers with text": (LISTENS % "return 'hit'", "answer"),
    "answers with a list": (LISTENS % "return [key]", "answer"),
    "answers beyond 64 bits": (LISTENS % "return 2**70", "answer"),
    "raises": (LISTENS % "raise KeyError(key)", "raised"),
    "exits": (LISTENS % "raise SystemExit(0)", "raised"),
    "exits at once": (LISTENS % "import os; os._exit(0)", "died"),
    "eats memory": (LISTENS % "self.hoard = bytearray(2**40)", "raised"),
    "recurses": (LISTENS % "return self.access(key)", "raised"),
    "does not parse": ("class Policy(:", "raised"),
    "has no Policy": ("x = 1", "raised"),
    "imports what is not allowed": ("import socket", "import"),
    "sleeps": (LISTENS % "import time; time.sleep(60)", "timed out"),
    "loops while loading": ("while True: pass", "timed out"),
    "is slow": (LISTENS % "self.capacity >= 100 and sum(range(5000))", "too slow"),
    "floods the pipes": (LISTENS % FLOOD, "protocol"),
    "answers in advance": (
        LISTENS % "import os, sys\n        os.write(int(sys.argv[2]), bytes(8))",
        "protocol",
    ),
}

REACHES = {
    "reads the command line of its parent": "open('/proc/%d/cmdline' % __import__('os').getppid()).read()",
    "reads its own folder": "open(__import__('sys').argv[4]).read()",
    "lists a folder": "__import__('os').listdir('/')",
    "forks": "__import__('os').fork()",
    "starts a program": "__import__('os').execv('/bin/true', ['true'])",
    "kills its parent": "__import__('os').kill(__import__('os').getppid(), 9)",
    "reads the memory of its parent": "reach(310)",
    "traces its parent": "reach(101)",
    "opens a socket": "reach(41)",
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_policies_pass(tmp_path: Path, name: str) -> None:
    verdict = checked(tmp_path, HONEST[name].read_text())
    assert verdict["passed"], verdict["feedback"]
    assert verdict["schema"] == "raysearch.verdict/1"
    assert [case["passed"] for case in verdict["cases"]] == [True, True]
    assert verdict["conditions"]["isolation"] == "seccomp"


@pytest.mark.parametrize("name", CHEATS)
def test_dishonest_policies_are_named(tmp_path: Path, name: str) -> None:
    source, rule = CHEATS[name]
    verdict = checked(tmp_path, source, "--patience-s", "2" if rule == "timed out" else "20")
    assert not verdict["passed"]
    assert verdict["feedback"].startswith(f"{rule}: ")
    assert "class Policy" in verdict["feedback"]
    assert verdict["cases"][-1] == {"name": rule, "passed": False, "detail": verdict["cases"][-1]["detail"]}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system calls are spelt as x86-64 numbers them")
@pytest.mark.parametrize("name", REACHES)
def test_a_policy_reaches_nothing_outside_itself(tmp_path: Path, name: str) -> None:
    reach = """
def reach(number):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, 0, 0, 0, 0, 0, 0) == -1 and ctypes.get_errno() == 1:
        raise PermissionError(1, 'not permitted')
"""
    verdict = checked(tmp_path, reach + LISTENS % REACHES[name])
    assert not verdict["passed"]
    assert verdict["feedback"].startswith("out of bounds: a policy may open no file, socket, process or thread")
    assert "(policy.py line" in verdict["feedback"]


def test_a_policy_that_hides_its_failure_to_peek_gains_nothing(tmp_path: Path) -> None:
    peek = """
        try:
            open("/proc/%d/cmdline" % __import__("os").getppid()).read()
        except OSError:
            pass
        else:
            return "I know the seed"
"""
    assert checked(tmp_path, LISTENS % peek)["passed"]


def test_what_a_policy_prints_is_nobodys_business(tmp_path: Path) -> None:
    verdict = checked(tmp_path, LISTENS % "print('garbage' * 1000)")
    assert verdict["passed"], verdict["feedback"]


def test_a_folder_without_a_policy_is_refused(tmp_path: Path) -> None:
    for link in (False, True):
        if link:
            (tmp_path / "policy.py").symlink_to(HONEST["lru"])
        call("accuracy_checker/checker.py", tmp_path, tmp_path / "verdict.json", *SMALL)
        verdict = json.loads((tmp_path / "verdict.json").read_text())
        assert verdict["feedback"].startswith("missing: there is no plain file policy.py")


def test_a_feedback_says_where_a_rule_was_broken(tmp_path: Path) -> None:
    verdict = checked(tmp_path, LISTENS.replace("> self", "- (self.capacity == 100) > self") % "pass")
    assert [case["passed"] for case in verdict["cases"]] == [True, False]
    assert re.match(
        r"case [a-z-]+/100/0 \(capacity 100\), request \d+: nothing left although 101 keys would be held",
        verdict["cases"][-1]["detail"],
    )


def test_metrics_agree_with_the_objectives(tmp_path: Path) -> None:
    declared = {one["name"]: one for one in tomllib.loads((TARGET / "objectives.toml").read_text())["objective"]}
    metrics = measured(tmp_path, LRU, "--requests", "2000")
    assert metrics["schema"] == "raysearch.metrics/1"
    assert {metric["name"] for metric in metrics["metrics"]} == set(declared)
    for metric in metrics["metrics"]:
        assert metric["direction"] == declared[metric["name"]]["direction"]
        assert metric["unit"] == declared[metric["name"]]["unit"]
    assert [name for name, one in declared.items() if one.get("primary")] == ["gap_closed"]
    assert samples(metrics, "gap_closed") == [0.0]
    assert len(samples(metrics, "cpu_us_per_access")) >= 10
    assert all(0.01 <= sample < 1000 for sample in samples(metrics, "cpu_us_per_access"))
    assert all(isinstance(value, str) for value in metrics["conditions"].values())


def test_the_gap_is_exact_for_a_seed_and_ranks_known_policies(tmp_path: Path) -> None:
    def gap(name: str, seed: int) -> float:
        return samples(measured(tmp_path, HONEST[name].read_text(), "--requests", "4000", seed=seed), "gap_closed")[0]

    assert gap("sieve", 1) == gap("sieve", 1)
    assert gap("sieve", 1) != gap("sieve", 2)
    assert gap("fifo", 1) < 0.0 < gap("seed", 1) < gap("arc", 1) < 1.0


def test_a_policy_that_breaks_a_rule_while_measured_gets_no_number(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(CHEATS["never evicts"][0])
    done = call("benchmark/benchmark.py", tmp_path, tmp_path / "metrics.json", *SMALL)
    assert done.returncode == 1
    assert "broke a rule while it was measured; over capacity: case " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "metrics.json").exists()


def fewest_misses(requests: Sequence[int], capacity: int) -> int:
    """By trying everything that a cache could hold."""
    states = {frozenset[int](): 0}
    for key in requests:
        after: dict[frozenset[int], int] = {}
        for held, missed in states.items():
            cost = missed + (key not in held)
            for size in range(capacity + 1):
                for kept in itertools.combinations(sorted(held | {key}), size):
                    after[frozenset(kept)] = min(after.get(frozenset(kept), cost), cost)
        states = after
    return min(states.values())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5), max_size=9), st.integers(1, 3))
def test_belady_is_the_optimum(requests: list[int], capacity: int) -> None:
    assert load(TARGET / "reference" / "belady.py").misses(requests, capacity) == fewest_misses(requests, capacity)


def test_traces_keep_their_promises() -> None:
    traces = load(TARGET / "accuracy_checker" / "traces.py")
    one, same, other = (traces.cases(seed, requests=3_000, draws=1) for seed in (1, 1, 2))
    assert [case.requests for case in one] == [case.requests for case in same]
    assert [case.name for case in one] == [case.name for case in other]
    assert {case.capacity for case in one} == {100, 1000}
    for case, elsewhere in zip(one, other, strict=True):
        assert len(case.requests) == 3_000
        assert min(case.requests) > 0
        assert not set(case.requests) & set(elsewhere.requests)  # keys are new for every seed
    ids = traces.FAMILIES["scans"](np.random.default_rng(1), 10_000)
    keys = traces.salted(np.random.default_rng(1), ids)
    assert len(set(zip(ids.tolist(), keys, strict=True))) == len(set(keys)) == len(set(ids.tolist()))


def test_the_seed_program_can_be_tuned_and_its_children_pass(tmp_path: Path) -> None:
    shutil.copy(TARGET / "seed" / "policy.py", tmp_path)
    editable = tuple(tomllib.loads((TARGET / "target.toml").read_text())["candidate"]["editable"])
    found = tunables.find(tmp_path, editable, ())
    assert [setting.tunable.kind for setting in found] == ["log", "int", "categorical", "int", "float"]
    variation = Variation({setting.key: setting.tunable for setting in found}, 1.0)
    draws, values = np.random.default_rng(random.Random(3).getrandbits(64)), {s.key: s.value for s in found}
    source = (tmp_path / "policy.py").read_text()
    for _ in range(4):
        values = variation.child(values, None, draws)
        verdict = checked(tmp_path, tunables.written(source, found, values))
        assert verdict["passed"], verdict["feedback"]


def test_the_comparison_prints_a_table() -> None:
    done = subprocess.run(
        [sys.executable, "-B", "compare.py", "--requests", "1500", "--draws", "1"],
        cwd=TARGET,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["FIFO", "LRU", "SIEVE", "ARC", "S3-FIFO", "seed"]
    assert rows[3].split("|")[2].strip() == "0.000"
