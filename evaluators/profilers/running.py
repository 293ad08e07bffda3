"""A target's benchmark, run in the workspace's sandbox: plain, and under a tool."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from evaluators.call import VOID_STATUS
from evaluators.profilers.findings import TOP, Reading, findings, summed_up
from evaluators.profilers.reading import json_of, number
from evaluators.results import MetricsResult, clean, read_metrics
from raysearch.errors import EvaluatorFault, Refused, Void
from raysearch.profile import Profile
from raysearch.protocols import Completed, Workspace
from raysearch.sandbox import describe, read_untrusted
from raysearch.target import Target

OBSERVE = Path(__file__).resolve().parent / "observe.py"
OBSERVED = "observed.json"
RESULT = "result.json"
CAPTURE_KB_MAX = 64 * 1024
"""Largest capture that is read; larger ones are a fault that says so."""
PROBE_S = 60.0
PATIENCE = 5.0
"""How many times the benchmark's time limit a profiled run may take."""
CONVERT_S = 600.0
"""For a tool to make text of its capture."""


class Place(Protocol):
    """What a profiler needs of a `raysearch.protocols.Workspace`."""

    @property
    def path(self) -> Path: ...
    @property
    def target(self) -> Target: ...
    @property
    def scratch(self) -> Path: ...
    @property
    def artifacts(self) -> Path: ...
    @property
    def evaluation_seed(self) -> int: ...
    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        cwd: str = "{candidate}",
        writable: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Completed: ...


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A command under a tool, as data. Words may hold ``{candidate}``, ``{scratch}`` and so on, as in a workspace."""

    command: tuple[str, ...]
    captures: tuple[str, ...]
    """Names of the files in the scratch folder that the parser reads, in its order."""
    convert: tuple[tuple[str, ...], ...] = ()
    """Commands that make them from what the tool wrote, run after it in the same sandbox."""
    env: Mapping[str, str] = field(default_factory=dict)
    raw: tuple[str, ...] = ()
    """Files of the tool's own format, kept with the run beside the captures."""
    stacks: bool = False
    """Whether the processes of the command sample their Python stacks."""
    poll_ms: float = 0.0
    """How often ``/proc`` is read meanwhile; 0: never."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A run of the benchmark."""

    took_s: float
    """Wall clock of the command itself, the sandbox's own set-up not counted."""
    observed: bytes
    result: MetricsResult | None = None


class ToolProfiler(ABC):
    """What profilers have in common: `profile` runs the benchmark plain, then under the tool, and has that read.

    Options: ``top`` (findings kept), ``plain_runs`` (runs without the tool; their median is what the slow-down is
    relative to; 0: the slow-down is not measured).
    """

    name: str = ""
    needs: str = ""
    """What the tool asks of the kernel that a sandbox may refuse."""

    def __init__(self, top: int = TOP, plain_runs: int = 1) -> None:
        if top < 1 or plain_runs < 0:
            raise ValueError("top is from 1, plain_runs from 0")
        self.top, self.plain_runs = top, plain_runs

    @abstractmethod
    def available(self) -> str:
        """Empty where the tool is installed and made for this machine; else why not, and what to install."""

    @abstractmethod
    def wrap(self, words: Sequence[str]) -> Wrapped:
        """The command ``words`` under the tool."""

    @abstractmethod
    def read(self, captures: Sequence[bytes], took_s: float) -> Reading:
        """What the captures of a run of ``took_s`` seconds say. Pure. Raises EvaluatorFault where they are broken."""

    def probe(self) -> tuple[str, ...]:
        """A tiny program under the tool, to be run in the sandbox; empty: nothing there can be in its way."""
        return ()

    def obstacle(self, place: Place) -> str:
        """Why it cannot run here, in this sandbox; empty if it can. Runs a tiny program under the tool to know."""
        reason = self.available()
        if reason or not self.probe():
            return reason
        done = place.run(list(self.probe()), timeout_s=PROBE_S, cwd="{scratch}", env=environment(place))
        if done.status == 0 and not done.ended_by:
            return ""
        told = clean((done.stderr.strip() or done.stdout.strip()), 300) or describe(done)
        mend = (
            "use the profiler `linux`, which needs nothing of the kind, or, for programs that you trust, --sandbox none"
        )
        return f"{self.name} does not work in this sandbox, which refuses {self.needs} ({told}): {mend}"

    def profile(self, workspace: Workspace, focus: str, rng: random.Random) -> Profile:  # noqa: ARG002
        return self.examine(workspace, focus)

    def examine(self, place: Place, focus: str = "") -> Profile:
        """Raises Refused where the program cannot be run, EvaluatorFault where the tool cannot."""
        if reason := self.obstacle(place):
            raise EvaluatorFault(reason)
        plain = [run_plain(place) for _ in range(self.plain_runs)]
        wrapped = self.wrap(benchmark_words(place))
        ran = run_under(place, wrapped, self.name)
        captures = collect(place, wrapped, self.name)
        try:
            reading = self.read(
                [ran.observed if name == OBSERVED else captures[name] for name in wrapped.captures], ran.took_s
            )
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            raise EvaluatorFault(
                f"{self.name}: its output is not what it writes ({type(error).__name__}: {clean(str(error), 200)})"
            ) from error
        found = Profile(
            self.name,
            findings(reading, focus, self.top),
            ran.took_s,
            ran.took_s / statistics.median(run.took_s for run in plain) if plain else None,
            conditions={**reading.conditions, "plain runs": str(len(plain))},
        )
        return replace(found, summary=f"{summed_up(found, focus)} {reading.summary}".strip())


def benchmark_words(place: Place) -> list[str]:
    """The target's benchmark as it is called, with this interpreter in place of ``python``."""
    evaluator = place.target.benchmark
    first = [sys.executable] if evaluator.command[:1] == ("python",) else list(evaluator.command[:1])
    arguments = {
        "--candidate": "{candidate}",
        "--reference": "{reference}",
        "--seed": str(place.evaluation_seed),
        "--result": f"{{scratch}}/{RESULT}",
    }
    return [*first, *evaluator.command[1:], *(word for pair in arguments.items() for word in pair)]


def environment(place: Place) -> dict[str, str]:
    return {**place.target.environment, "PYTHONDONTWRITEBYTECODE": "1"}


def run_plain(place: Place) -> Ran:
    """The benchmark without a tool. Raises Refused where the program is why it fails, EvaluatorFault else."""
    done, observed = _run(place, Wrapped(tuple(benchmark_words(place)), ()), place.target.benchmark.timeout_s)
    if done.ended_by == "cancelled":
        raise EvaluatorFault("it was cancelled before it ended")
    if done.ended_by or done.leftovers:
        raise Refused(f"there is nothing to profile: {describe(done, place.target.limits)}")
    _check_status(done)
    result = read_metrics(place.scratch / RESULT)
    if result.refused:
        raise Refused(f"the benchmark refused it: {result.refused}")
    return Ran(_took_s(observed), observed, result)


def run_under(place: Place, wrapped: Wrapped, name: str) -> Ran:
    """The benchmark under a tool. What goes wrong here and not in a plain run is the tool's doing."""
    done, observed = _run(place, wrapped, place.target.benchmark.timeout_s * PATIENCE)
    if done.ended_by:
        raise EvaluatorFault(f"under {name} it went over a limit of the target: {describe(done, place.target.limits)}")
    try:
        _check_status(done)
    except EvaluatorFault as fault:
        raise EvaluatorFault(f"under {name}: {fault}") from fault
    for words in wrapped.convert:
        converted = place.run(list(words), timeout_s=CONVERT_S, cwd="{scratch}", env=environment(place))
        if converted.status or converted.ended_by:
            raise EvaluatorFault(f"{name} made no report of its capture: {_said(converted)}")
    return Ran(_took_s(observed), observed)


def _run(place: Place, wrapped: Wrapped, timeout_s: float) -> tuple[Completed, bytes]:
    for name in (RESULT, OBSERVED, *wrapped.captures, *wrapped.raw):
        _clear(place.scratch / name)
    words = ["python", "-I", "-S", str(OBSERVE), "--report", f"{{scratch}}/{OBSERVED}"]
    if wrapped.stacks:
        _clear(place.scratch / "stacks")
        words += ["--stacks", "{scratch}/stacks"]
    words += ["--poll-ms", f"{wrapped.poll_ms:g}"]
    words += [word for root in ("{candidate}", "{target}", "{scratch}") for word in ("--root", root)]
    root, folder = place.target.root, place.target.benchmark.folder
    cwd = f"{{target}}/{folder.relative_to(root).as_posix()}" if folder.is_relative_to(root) else str(folder)
    done = place.run(
        [*words, "--", *wrapped.command], timeout_s=timeout_s, cwd=cwd, env={**environment(place), **wrapped.env}
    )
    try:
        return done, read_untrusted(place.scratch, OBSERVED, limit_kb=CAPTURE_KB_MAX)
    except FileNotFoundError:
        return done, b""


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _check_status(done: Completed) -> None:
    if done.status == VOID_STATUS:
        raise Void(f"the benchmark declared its own work void: {_said(done)}")
    if done.status:
        raise EvaluatorFault(f"the benchmark did not come to its end: {_said(done)}")


def _said(done: Completed) -> str:
    text = clean(done.stderr.strip() or done.stdout.strip())[-1000:]
    return f"{describe(done)}{f'; it printed last: {text}' if text else ''}"


def _took_s(observed: bytes) -> float:
    if not observed:
        raise EvaluatorFault("the command left no report of how long it took: was the scratch folder emptied?")
    return number(json_of(observed, OBSERVED), "wall_s")


def collect(place: Place, wrapped: Wrapped, tool: str) -> dict[str, bytes]:
    """The captures by name, each also kept with the run. Raises EvaluatorFault where one is missing or too large."""
    found = {}
    for name in wrapped.captures:
        try:
            found[name] = read_untrusted(place.scratch, name, limit_kb=CAPTURE_KB_MAX)
        except FileNotFoundError:
            raise EvaluatorFault(
                f"{tool} wrote no {name}: did the benchmark end before anything was recorded?"
            ) from None
    for name in {*wrapped.captures, *wrapped.raw}:
        try:
            content = found.get(name) or read_untrusted(place.scratch, name, limit_kb=4 * CAPTURE_KB_MAX)
        except (FileNotFoundError, EvaluatorFault):
            continue  # the raw capture is kept for people, who can do without
        (place.artifacts / f"profile-{tool}-{PurePosixPath(name).name}").write_bytes(content)
    return found


def executable(name: str) -> str:
    """The path of an installed program, one beside this interpreter first; empty if there is none."""
    beside = Path(sys.executable).parent / name
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(name) or ""
