"""The judge that watches: the target's own checker and benchmark run once more, while the program is looked at."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from evaluators.audit.ground import Ground, ground_of
from evaluators.audit.judge import allowed, verdict_on
from evaluators.audit.record import Places, is_complete, record_signs
from evaluators.audit.rerun import Rerun, is_python
from evaluators.audit.signs import Sign, beyond
from evaluators.audit.static import read_tree
from evaluators.command import CommandBenchmark, CommandJudge
from raysearch.errors import EvaluatorFault, Refused, Void
from raysearch.protocols import Workspace
from raysearch.target import EvaluatorCommand, Target
from raysearch.types import Brief, Verdict

FOLDER, SETTINGS, SCRIPT, RECORD = "lib", "settings.json", "sitecustomize.py", "record"
RECORD_BYTES_MAX = 50_000_000
Part = Literal["checker", "benchmark"]
_INSIDE = {SCRIPT: Path(__file__).with_name("watch_start.py"), "watch.py": Path(__file__).with_name("watch.py")}
"""Files that the sandbox is to hold: their names there, and where they are."""


class Traced:
    """Runs ``parts`` of the target again, with a seed of this attempt's own, and sees what the program's code does.

    Sees Python: files, processes, connections, frames, code made on the way, parts of Python replaced, arguments read;
    in the process that evaluates and in every Python below it. What a program does in another language is not seen.
    A run under the watch is never a measurement: how it ends counts only where it ends so without the watch too.
    """

    def __init__(self, *, parts: Sequence[Part] = ("checker", "benchmark"), allow: Sequence[str] = ()) -> None:
        self.parts = tuple(parts)
        self.allow = tuple(allow)
        self._seed_signs: dict[tuple[str, str], list[Sign]] = {}

    def judge(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Verdict:
        target = workspace.target
        if not target.audit.traced:
            return Verdict(True, conditions={"traced": "switched off by the target"})
        ground, allow = ground_of(target), allowed(target, self.allow)
        found: list[Sign] = []
        conditions: dict[str, str] = {}
        for part, evaluator in self._chosen(target):
            if not is_python(evaluator.command):
                conditions[part] = "not traced: its command is no Python script"
                continue
            seed = rng.getrandbits(63)
            record, ended = self._watched(workspace, part, seed, "{candidate}")
            signs = self._signs(workspace, record, ground, part)
            if any(sign.severity == "refuse" for sign in signs):
                signs = beyond(signs, self._of_seed(workspace, part, seed, ground), allow)
            found += beyond(signs, (), allow)
            conditions[part] = "traced" if is_complete(record) else "traced in part"
            if any(sign.severity == "refuse" for sign in found):
                break
            if ended:
                no = asked(Rerun(workspace, seed), part, brief, rng)
                if no:
                    return Verdict(False, f"With inputs drawn afresh the {part} says no: {no}", conditions=conditions)
                conditions[part] = "traced in part: it works, but not under the watch"
        verdict = verdict_on(found, "by what it did when it ran")
        return Verdict(verdict.passed, verdict.feedback, verdict.cases, {**verdict.conditions, **conditions})

    def _chosen(self, target: Target) -> Iterator[tuple[Part, EvaluatorCommand]]:
        for part in self.parts:
            yield part, target.checker if part == "checker" else target.benchmark

    def _watched(self, workspace: Workspace, part: Part, seed: int, program: str) -> tuple[str, str]:
        """The record of a watched run, and why the evaluator said no, or broke; empty if it did not."""
        lay(workspace, sorted(read_tree(workspace.path)), sorted(ground_of(workspace.target).modules))
        again = Rerun(workspace, seed, program, _words())
        try:
            ended = asked(again, part, Brief(), random.Random(seed))
        except Void:
            raise
        except EvaluatorFault as fault:  # the watch may be why
            ended = str(fault)
        return _read(workspace.scratch / FOLDER / RECORD), ended

    def _signs(self, workspace: Workspace, record: str, ground: Ground, part: Part) -> list[Sign]:
        try:
            told = json.loads((workspace.scratch / FOLDER / SETTINGS).read_text())
            places = Places(told["candidate"], told["target"], told["result"], told["log"].rpartition("/")[0])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise EvaluatorFault(f"the {part} could not be watched: it did not start as a Python script") from None
        return record_signs(record, places, ground, f"the {part}")

    def _of_seed(self, workspace: Workspace, part: Part, seed: int, ground: Ground) -> list[Sign]:
        """What the target's seed does, which is allowed; watched once."""
        target = workspace.target
        key = (target.digest, part)
        if key not in self._seed_signs:
            found: list[Sign] = []
            if target.seed is not None:
                program = f"{{target}}/{target.seed.relative_to(target.root).as_posix()}"
                record, _ = self._watched(workspace, part, seed, program)
                found = self._signs(workspace, record, ground, part)
            self._seed_signs[key] = found
        return self._seed_signs[key]


def lay(workspace: Workspace, files: Sequence[str], modules: Sequence[str]) -> None:
    """Put the watch where the sandbox sees it, with an empty record."""
    folder = workspace.scratch / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    for name, source in _INSIDE.items():
        (folder / name).write_bytes(source.read_bytes())
        (folder / name).chmod(0o644)
    (folder / SETTINGS).write_text(json.dumps({"files": list(files), "modules": list(modules)}))
    folder.chmod(0o777)
    (folder / SETTINGS).chmod(0o666)


def _words() -> tuple[str, ...]:
    inside = f"{{scratch}}/{FOLDER}"
    return (f"{inside}/{SCRIPT}", f"{inside}/{SETTINGS}", "--begin", "{candidate}", "{target}", "{scratch}/result.json")


def asked(workspace: Workspace, part: Part, brief: Brief, rng: random.Random) -> str:
    """Why the target's own evaluator says no; empty if it says yes. Raises EvaluatorFault."""
    try:
        if part == "checker":
            verdict = CommandJudge().judge(workspace, brief, rng)
            return "" if verdict.passed else verdict.feedback or "it says no"
        CommandBenchmark().measure(workspace, rng)
    except Refused as no:
        return str(no)
    return ""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(RECORD_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
