"""A target whose benchmark runs ``program.main()``, for tests of profilers."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from raysearch.config.targets import load_target
from raysearch.profile import Finding, Profile
from raysearch.protocols import Profiler, Workspace
from raysearch.sandbox import open_sandbox, rulesets
from raysearch.testing.workspace import FolderWorkspace, write_files
from raysearch.workspace import Checkout

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="what Linux tells")
needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
needs_landlock = pytest.mark.skipif(rulesets.abi() < rulesets.SCOPED, reason="this kernel's Landlock is too old")
SANDBOXES = [pytest.param("bubblewrap", marks=needs_bubblewrap), pytest.param("landlock", marks=needs_landlock), "none"]

BENCHMARK = """
    import argparse, json, pathlib, sys
    parser = argparse.ArgumentParser()
    for name in ("candidate", "reference", "seed", "result"):
        parser.add_argument("--" + name, required=True)
    given = parser.parse_args()
    sys.path.insert(0, given.candidate)
    import program
    program.main()
    metrics = [{"name": "time", "samples": [1.0], "unit": "s", "direction": "min"},
               {"name": "rate", "samples": [3.0, 2.0, 9.0], "unit": "GFLOP/s", "direction": "max"}]
    pathlib.Path(given.result).write_text(json.dumps({"schema": "raysearch.metrics/1", "metrics": metrics}))
"""
PROGRAM = """
    import time

    def crunch(seconds):
        until, total = time.process_time() + seconds, 0
        while time.process_time() < until:
            for i in range(2000):
                total += i * i
        return total

    def tidy(seconds):
        crunch_end = time.process_time() + seconds
        while time.process_time() < crunch_end:
            sum(range(3000))

    def nap():
        time.sleep(0.2)

    def main():
        crunch(0.3)
        tidy(0.1)
        nap()
"""


class World:
    """A target whose benchmark runs ``program.main()``, and a program for it, in a sandbox of a kind."""

    def __init__(self, root: Path, kind: str, program: str = PROGRAM, benchmark: str = BENCHMARK) -> None:
        root.chmod(0o755)
        objective = '[[objective]]\nname = "time"\ndirection = "min"\nunit = "s"\nprimary = true\n'
        rules = '[checker]\ncommand = ["python", "accuracy_checker/check.py"]\n'
        rules += '[benchmark]\ncommand = ["python", "benchmark/bench.py"]\ntimeout_s = 60\n'
        files = {
            "benchmark/bench.py": dedent(benchmark),
            "accuracy_checker/check.py": "",
            "OBJECTIVE.md": "Be quick.\n",
        }
        files |= {"objectives.toml": objective, "target.toml": rules, "README.md": "A toy.\n"}
        files |= {"reference/program.py": dedent(PROGRAM)}
        target = load_target(write_files(root / "target", files))
        folder = FolderWorkspace.make(root / "job", {"program.py": dedent(program)}, target, 7)
        self.workspace: Workspace = folder
        if kind != "none":
            sandbox = open_sandbox(kind)
            self.workspace = Checkout(
                folder.path, folder.commit, folder.scratch, target, folder.repository, sandbox, 7, kept=root / "kept"
            )

    def profile(self, profiler: Profiler, focus: str = "") -> Profile:
        return profiler.profile(self.workspace, focus, random.Random(1))


def by_name(profile: Profile) -> Mapping[str, Finding]:
    return {finding.component: finding for finding in profile.findings}
