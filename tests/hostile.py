"""Programs that mean harm, a target whose checker runs them, and plug-ins that play each one once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from toys import OBJECTIVES, make_target

from raysearch.facts import AttemptOpened, Fact
from raysearch.protocols import View, Workspace
from raysearch.types import SEED, Brief, CandidateId, Mutation, Proposal

CHECKER = """
import argparse, json, pathlib, subprocess, sys
p = argparse.ArgumentParser()
for name in ("candidate", "reference", "seed", "result"):
    p.add_argument("--" + name)
a = p.parse_args()
done = subprocess.run([sys.executable, "solution.py"], cwd=a.candidate, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
said = done.stderr.decode(errors="replace").strip().splitlines()
passed = done.returncode == 0 and done.stdout.strip() == b"42"
why = "" if passed else f"solution.py: exit status {done.returncode}; {said[-1] if said else done.stdout[:50]!r}"
pathlib.Path(a.result).write_text(json.dumps({"schema": "raysearch.verdict/1", "passed": passed, "feedback": why}))
"""

LIMITS = """
[candidate]
editable = ["**"]
[checker]
timeout_s = 4
[limits]
memory_mb = 256
processes = 64
file_mb = 16
output_kb = 256
"""

PROGRAMS = {
    "honest": "print(42)",
    "writes_outside": "open('/etc/raysearch-was-here', 'w').write('x')",
    "edits_checker": """
import glob
path = glob.glob('/target/accuracy_checker/checker.py')[0]
open(path, 'a').write('passed = True')
""",
    "opens_a_socket": "import socket; socket.create_connection(('127.0.0.1', PORT), timeout=2)",
    "forks_10000": """
import os, time
for _ in range(10_000):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
""",
    "eats_memory": "held = bytearray(2_000_000_000)\nheld[::4096] = b'x' * len(held[::4096])",
    "sleeps_for_ever": "import time\nwhile True: time.sleep(60)",
    "prints_10_gb": """
import os
block = b'x' * 1_000_000
for _ in range(10_000):
    os.write(1, block); os.write(2, block)
""",
    "leaves_a_daemon": """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        null = os.open('/dev/null', os.O_RDWR)
        for fd in (0, 1, 2): os.dup2(null, fd)
        time.sleep(600)
    os._exit(0)
print(42)
""",
    "fills_the_disk": """
import os
with open(os.path.join(os.environ['TMPDIR'], 'big'), 'wb') as file:
    for _ in range(4_000): file.write(b'x' * 1_000_000)
""",
}
"""Every one prints 42 or nothing; what is wrong with it is what it does besides."""

EXPECTED = {
    "honest": "",
    "writes_outside": "Read-only file system|Permission denied",
    "edits_checker": "Read-only file system|Permission denied",
    "opens_a_socket": "refused|unreachable|not permitted",
    "forks_10000": "process|BlockingIOError",
    "eats_memory": "memory|MemoryError",
    "sleeps_for_ever": "time limit",
    "prints_10_gb": "output|memory",
    "leaves_a_daemon": "left processes running",
    "fills_the_disk": "No space left|File too large|files|memory",
}
"""Name of the program to what its verdict must name."""


def make_hostile_target(folder: Path) -> Path:
    make_target(folder, seed=None, target_toml=LIMITS, checker=CHECKER)
    benchmark = folder / "benchmark" / "benchmark.py"
    measured = '(pathlib.Path(a.candidate) / "x.txt").read_text()'
    benchmark.write_text(benchmark.read_text().replace(measured, "'9'"))
    (folder / "objectives.toml").write_text(OBJECTIVES)
    return folder


class Writes:
    """Writes one of the programs."""

    def __init__(self, name: str, port: int = 1) -> None:
        self.name, self.port = name, port

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        source = PROGRAMS[self.name].replace("PORT", str(self.port))
        (workspace.path / "solution.py").write_text(source + "\n")
        return Mutation(summary=self.name)


class EachOnce:
    """A policy that plays each mutator once, in order, each from nothing."""

    def __init__(self, mutators: Sequence[str]) -> None:
        self.mutators = mutators
        self.played = 0

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Proposal]:
        return [Proposal((), name) for name in self.mutators[self.played : self.played + slots]]

    def tell(self, fact: Fact) -> None:
        if isinstance(fact, AttemptOpened) and fact.attempt != SEED:
            self.played += 1

    def best(self, view: View) -> Sequence[CandidateId]:
        return list(view.candidates)
