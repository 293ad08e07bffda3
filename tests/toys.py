"""A small real target and plug-ins around it: programs are one number in a file, evaluated by real commands."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from textwrap import dedent

from raysearch.errors import MutatorFault
from raysearch.protocols import Workspace
from raysearch.types import Brief, Mutation

CHECKER = """
import argparse, json, pathlib
p = argparse.ArgumentParser()
for name in ("candidate", "reference", "seed", "result"):
    p.add_argument("--" + name)
a = p.parse_args()
text = (pathlib.Path(a.candidate) / "x.txt").read_text()
try:
    value = float(text)
    passed, feedback = value >= 0, "" if value >= 0 else f"{value} is below zero"
except ValueError:
    passed, feedback = False, f"x.txt holds {text!r}, not a number"
pathlib.Path(a.result).write_text(json.dumps(
    {"schema": "raysearch.verdict/1", "passed": passed, "feedback": feedback}))
"""

BENCHMARK = """
import argparse, json, pathlib
p = argparse.ArgumentParser()
for name in ("candidate", "reference", "seed", "result"):
    p.add_argument("--" + name)
a = p.parse_args()
x = float((pathlib.Path(a.candidate) / "x.txt").read_text())
pathlib.Path(a.result).write_text(json.dumps({"schema": "raysearch.metrics/1", "metrics": [
    {"name": "near", "unit": "1", "direction": "max", "samples": [-abs(x - 10)]},
    {"name": "small", "unit": "1", "direction": "min", "samples": [x]}]}))
"""

OBJECTIVES = """
[[objective]]
name = "near"
direction = "max"
unit = "1"
primary = true
deterministic = true

[[objective]]
name = "small"
direction = "min"
unit = "1"
deterministic = true
"""


def make_target(
    folder: Path, *, seed: str | None = "5", target_toml: str = "", checker: str = CHECKER, benchmark: str = BENCHMARK
) -> Path:
    """Write a target: ``x.txt`` should hold a number near 10, and small."""
    files = {
        "OBJECTIVE.md": "Make the number in x.txt near 10, yet small.\n",
        "README.md": "A toy.\n",
        "reference/x.txt": "10\n",
        "accuracy_checker/checker.py": dedent(checker),
        "benchmark/benchmark.py": dedent(benchmark),
        "objectives.toml": OBJECTIVES,
        "target.toml": target_toml or '[candidate]\neditable = ["x.txt"]\n[audit]\ntraced = false\n',
    }
    if seed is not None:
        files["seed/x.txt"] = seed + "\n"
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


class Step:
    """Moves the number a little; ``sleep_s`` stands for thinking."""

    def __init__(self, sleep_s: float = 0.0) -> None:
        self.sleep_s = sleep_s

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        time.sleep(self.sleep_s)
        file = workspace.path / "x.txt"
        value = float(file.read_text()) if file.exists() else 1.0
        file.write_text(f"{value + rng.gauss(0, 1):.6f}\n")
        return Mutation(summary="a step")


class Trespasser:
    """Changes what it must not."""

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        (workspace.path / "other.txt").write_text("mine\n")
        return Mutation(summary="one more file")


class Raises:
    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        raise KeyError("no such model")


class SpendsAndFails:
    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        from raysearch.types import Usage

        raise MutatorFault("the reply could not be read", Usage(cost_usd=0.25, calls=1))


class KillsItsWorker(Step):
    """Takes its own worker down at the first try of some attempts, as a crash in native code would."""

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        if rng.random() < 0.3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().mutate(workspace, brief, rng)


class Hangs:
    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        while True:
            time.sleep(1)


class Together(Step):
    """Waits until its process has two jobs in hand."""

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        own = workspace.path.parents[1]
        process = own.name.rpartition("-")[0]
        while len(list(own.parent.glob(f"{process}-*/*/program"))) < 2:
            time.sleep(0.02)
        time.sleep(0.3)  # the other one must see it too
        return super().mutate(workspace, brief, rng)


class LeavesAgents(Step):
    """Starts a process that calls setsid and ignores SIGTERM, through the sandbox, and waits for it."""

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        script = "import os, signal, time; os.setsid() if os.getpid() != os.getsid(0) else 0;" + (
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1.0)"
        )
        workspace.run(["python", "-c", script], timeout_s=30, writable=True)
        return super().mutate(workspace, brief, rng)
