"""A target whose evaluators do to the program numbered N what was drawn for N, and the mutator that counts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz import json_of
from fuzz_results import METRICS, VERDICT, content_of
from toys import make_target

PLAYS = """
from raysearch import Mutation
class Plays:
    def __init__(self):
        self.number = 0
    def mutate(self, workspace, brief, rng):
        self.number += 1
        (workspace.path / "x.txt").write_text(f"{self.number}\\n")
        return Mutation(f"number {self.number}")
"""
RUN_SH = """#!/bin/sh
n=$(cat "$2/x.txt")
. "$4/$n/%s.sh"
"""
GOOD = 'cp "$4/$n/{name}.json" "$8"'
DEEDS = (
    "exit 3",
    "kill -9 $$",
    "kill -11 $$",
    'mkdir "$8"',
    'mkfifo "$8"',
    'ln -s /etc/passwd "$8"',
    "true",
    'head -c 2000000 /dev/zero > "$8"',
    f"{GOOD}; exit 1",
    f"{GOOD}; exec sh -c 'printf \"\\033[2J\\377\\000\" >&2; exit 2'",
    f"{GOOD}; sleep 60 & exit 0",
    f'{GOOD}; chmod 000 "$8"; printf x > "$8.more"; rm "$8"',
)
EXTREME = ("1.7e308, 1.7e308", "-1.7e308", "5e-324, 0, -5e-324", "1e160, -1e160, 1e-300")


@dataclass(frozen=True)
class Oddity:
    """What the evaluators of one program do; ``broken`` if no answer can come of it."""

    judge: str
    bench: str
    verdict: bytes
    metrics: bytes
    broken: bool = False


def oddities(rng: random.Random, count: int) -> list[Oddity]:
    """The first one is for the seed, and sound."""
    passes = json_of({**VERDICT, "passed": True, "cases": []}).encode()
    metrics = json_of(METRICS).encode()
    judge, bench = GOOD.format(name="judge"), GOOD.format(name="bench")
    found = [Oddity(judge, bench, passes, metrics)]
    for number in range(1, count):
        drawn: dict[str, Any] = {"judge": judge, "bench": bench, "verdict": passes, "metrics": metrics}
        role = rng.choice(["judge", "bench"])
        match number % 4:
            case 0 | 1:
                drawn |= {role: DEEDS[number // 2 % len(DEEDS)].format(name=role), "broken": True}
            case 2 if role == "judge":
                drawn["verdict"] = content_of(rng, VERDICT)[1]
            case 2:
                drawn["metrics"] = content_of(rng, METRICS)[1]
            case _:
                samples = EXTREME[number // 4 % len(EXTREME)]
                drawn["metrics"] = metrics.replace(b"-5.0, -5, -5.5", samples.encode())
        found.append(Oddity(**drawn))
    return found


def odd_target(folder: Path, chosen: Sequence[Oddity]) -> Path:
    """The target, in the new ``folder``, and beside it ``plays.py``."""
    limits = "[limits]\noutput_kb = 16\nprocesses = 64\n"
    make_target(folder, seed="0", target_toml=f'[candidate]\neditable = ["x.txt"]\n{limits}')
    for name, role in (("accuracy_checker", "judge"), ("benchmark", "bench")):
        for script in (folder / name).iterdir():
            script.unlink()
        (folder / name / "run.sh").write_text(RUN_SH % role)
        (folder / name / "run.sh").chmod(0o755)
    for number, oddity in enumerate(chosen):
        place = folder / "reference" / f"{number}"
        place.mkdir()
        (place / "judge.sh").write_text(oddity.judge + "\n")
        (place / "bench.sh").write_text(oddity.bench + "\n")
        (place / "judge.json").write_bytes(oddity.verdict)
        (place / "bench.json").write_bytes(oddity.metrics)
    (folder.parent / "plays.py").write_text(PLAYS)
    return folder
