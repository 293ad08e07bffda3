"""What evaluators leave, drawn from a seed: sound results with a few changes, odd files, odd endings."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz import document, json_of, misplaced

from raysearch.protocols import Completed
from raysearch.target import EvaluatorCommand, Target
from raysearch.types import Commit, Objective, Stage

OBJECTIVES = (Objective("near", "max", "1", primary=True), Objective("small", "min", "1"))
VERDICT: Mapping[str, Any] = {
    "schema": "raysearch.verdict/1",
    "passed": False,
    "feedback": "for [3, 1, 3] it returned [1, 3]",
    "cases": [
        {"name": "empty", "passed": True},
        {"name": "equal keys", "passed": False, "detail": "expected [1, 3, 3], got [1, 3]"},
    ],
    "conditions": {"inputs": 200, "exact": True, "python": "3.11.7"},
}
METRICS: Mapping[str, Any] = {
    "schema": "raysearch.metrics/1",
    "metrics": [
        {"name": "near", "samples": [-5.0, -5, -5.5], "unit": "1", "direction": "max"},
        {"name": "small", "samples": [5, 6.5], "unit": "1", "direction": "min", "conditions": {"load": 4}},
        {"name": "side.p50", "samples": [0.25], "direction": "min", "unit": "ms"},
    ],
    "conditions": {"device": "cpu", "warm_up_s": 2.0},
}
SOUND = {Stage.JUDGE: VERDICT, Stage.BENCHMARK: METRICS}
_LITERALS = (b"NaN", b"-Infinity", b"1e999", b"-1e999", b"9" * 5_000, b"1" + b"0" * 400, b"1.7e308", b"5e-324", b"true")
_LITERALS += (
    b'"5"',
    b"null",
    b"[]",
    b'"\\ud800"',
    b'"\\u0000"',
    b"1.7e308, 1.7e308",
    b"-0",
    b"0x5",
    b".5",
    b"+5",
    b"5.",
)
PRINTED = (
    "",
    "",
    "done\n",
    "\x1b[2J\x1b[31m",
    "Traceback (most recent call last):\n",
    "\0\ufffd\n" * 20,
    "no end " * 20_000,
)


@dataclass(frozen=True)
class Left:
    """What an evaluator left behind: a result, or something else in its place, and how it ended."""

    stage: Stage
    completed: Completed
    content: bytes | None
    place: int | None = None
    """Seed of what is put where the result should be."""
    told: str = ""

    def put(self, path: Path) -> None:
        if self.content is not None:
            path.write_bytes(self.content)
        if self.place is not None:
            misplaced(random.Random(self.place), path)


def left(rng: random.Random) -> Left:
    """An evaluator that is not quite sound."""
    stage = rng.choice([Stage.JUDGE, Stage.BENCHMARK])
    told, content = content_of(rng, SOUND[stage])
    out, err = rng.choice(PRINTED), rng.choice(PRINTED)
    match rng.randrange(12):
        case 0:
            status = rng.choice([1, 2, 126, 127, 255, -9, -11, -31])
            return Left(stage, Completed(status, out, err, 0.1), rng.choice([None, content]), None, f"status {status}")
        case 1:
            ended = rng.choice(["time", "memory", "cpu", "processes", "output", "files", "something new", "cancelled"])
            return Left(stage, Completed(0, out, err, 0.1, ended), content, None, f"ended by {ended}")
        case 2:
            names = tuple(rng.choice(["sleep", "", "\x1b[31m", "ü" * 300, "a b"]) for _ in range(rng.randrange(1, 8)))
            return Left(stage, Completed(0, out, err, 0.1, leftovers=names), content, None, f"left {names}")
        case 3:
            return Left(stage, Completed(0, out, err, 0.1), content, rng.randrange(10**6), "something else instead")
    return Left(stage, Completed(0, out, err, 0.1), content, None, told)


def content_of(rng: random.Random, sound: Mapping[str, Any]) -> tuple[str, bytes]:
    """A result that is not quite ``sound``, and what was done to it."""
    if rng.random() < 0.5:
        return document(rng, sound, json_of)
    text = json.dumps(sound).encode()
    old = rng.choice([b"5.0", b"-5", b"200", b"false", b'"max"', b'"1"', b'"near"', b'"empty"', b'"cpu"', b'"passed"'])
    new = rng.choice(_LITERALS)
    ways: list[Callable[[], bytes]] = [
        lambda: text.replace(old, new, rng.choice([1, 9])),
        lambda: text.replace(b'"unit"', b'"name"'),
        lambda: text.replace(b"{", b'{"name": "again", "name": "again", ', 1),
        lambda: re.sub(rb"\[[^][]*]", lambda _: b"[" + b", ".join([new] * rng.choice([2, 2, 10_001])) + b"]", text),
        lambda: text.replace(b'"equal keys"', json.dumps("\x1b]0;" + "x" * 300_000).encode()),
        lambda: text + rng.choice([b"\n\n", b"{}", b"\0", b"x", text]),
        lambda: rng.choice([b"null", b"[]", b"1", b'"x"', b"{}", b"NaN", text[:-1], b"yes", b"\xef\xbb\xbf" + text]),
    ]
    content = rng.choice(ways)()
    return f"{len(content)} bytes, {content[:80]!r}", content


@dataclass
class Scene:
    """The `raysearch.protocols.Workspace` of an evaluator whose end is known beforehand."""

    path: Path
    target: Target
    scratch: Path
    ending: Left
    commit: Commit = Commit("0" * 40)
    evaluation_seed: int = 7
    asked: list[Sequence[str]] = field(default_factory=list)

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        cwd: str = "{candidate}",
        writable: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        self.asked.append(command)
        self.ending.put(self.scratch / "result.json")
        return self.ending.completed


def scene(folder: Path, ending: Left) -> Scene:
    """A workspace in the new ``folder``."""
    for name in ("program", "scratch", "target"):
        (folder / name).mkdir(parents=True)
    root = folder / "target"
    evaluators = [EvaluatorCommand(("python", "it.py"), root, 30.0) for _ in range(2)]
    return Scene(folder / "program", Target("toy", root, "", OBJECTIVES, root, *evaluators), folder / "scratch", ending)
