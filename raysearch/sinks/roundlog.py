"""``logs/run-<timestamp>-round<n>.log``: all of one attempt for which a model was asked, written when it closes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Compared,
    Entry,
    JobFailed,
    Judged,
    Measured,
    Mutated,
    RunStarted,
)
from raysearch.sinks.files import write
from raysearch.sinks.lines import describe, name_of
from raysearch.types import AttemptId, Proposal, Usage

FILES_MAX = 100
"""Names of files that a log lists."""


class RoundLogs:
    """One file for each attempt that asked a model; programs and searches that ask none leave none.

    Told a journal from its start, it writes what is missing. ``attempts`` is where jobs leave their files.
    """

    def __init__(self, logs: Path, attempts: Path) -> None:
        self._logs = logs
        self._attempts = attempts
        self._traces: dict[AttemptId, list[Entry]] = {}
        self._stamp = ""

    def told(self, entry: Entry) -> None:
        match entry.fact:
            case RunStarted():
                self._stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(entry.at_s))
            case AttemptOpened(attempt):
                self._traces[attempt] = [entry]
            case Mutated() | Judged() | Measured() | Compared() | JobFailed():
                self._traces[entry.fact.attempt].append(entry)
            case AttemptClosed(attempt):
                trace = [*self._traces.pop(attempt), entry]
                if any(map(_asked, trace)):
                    self._write(attempt, trace)
            case _:
                pass

    def started(self, job: object) -> None:
        pass

    def close(self) -> None:
        pass

    def _write(self, attempt: AttemptId, trace: Sequence[Entry]) -> None:
        path = self._logs / f"run-{self._stamp}-round{attempt:03}.log"
        if not path.exists():
            self._logs.mkdir(exist_ok=True)
            kept = self._attempts / str(attempt)
            write(path, (f"{line}\n".encode(errors="backslashreplace") for line in _lines(trace, kept)))


def _asked(entry: Entry) -> bool:
    """Whether a model was asked for this."""
    match entry.fact:
        case Mutated(change=change):
            usage: Usage | None = change.mutation.usage
        case Judged(verdict=verdict):
            usage = verdict.usage
        case JobFailed():
            usage = entry.fact.usage
        case _:
            return False
    return usage is not None and bool(usage.calls or usage.tokens_in or usage.tokens_out or usage.cost_usd)


def _lines(trace: Sequence[Entry], kept: Path) -> Iterator[str]:
    """Each fact in a line with its time (UTC), and below it its texts in full."""
    for entry in trace:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(entry.at_s))
        yield f"{stamp}.{int(entry.at_s % 1 * 1000):03}Z {entry.run_s:11.3f}  {describe(entry.fact)}"
        for name, text in _texts(entry):
            yield from _block(name, text)
    files = sorted(path for path in kept.rglob("*") if path.is_file()) if kept.is_dir() else []
    if files:
        yield "files:"
        yield from (f"    {path.relative_to(kept.parent.parent)}" for path in files[:FILES_MAX])
        if len(files) > FILES_MAX:
            yield f"    … and {len(files) - FILES_MAX} more"


def _texts(entry: Entry) -> Iterator[tuple[str, str]]:
    match entry.fact:
        case AttemptOpened(_, proposal):
            yield from _told(proposal)
        case Mutated(_, change):
            yield "refused", change.refusal
            yield "summary", change.mutation.summary
            yield "memory", change.mutation.memory
            yield "usage", _spent(change.mutation.usage)
        case Judged(_, _, said):
            yield "feedback", said.feedback
            yield "failed", "\n".join(f"{case.name}: {case.detail}" for case in said.cases if not case.passed)
            yield "usage", _spent(said.usage or Usage())
        case JobFailed():
            yield "message", entry.fact.message
            yield "usage", _spent(entry.fact.usage)
        case AttemptClosed(_, _, reason):
            yield "reason", reason
        case _:
            pass


def _told(proposal: Proposal) -> Iterator[tuple[str, str]]:
    brief = proposal.brief
    yield "task", brief.task
    yield "feedback", brief.feedback
    yield "profile", brief.profile
    yield "inspirations", ", ".join(name_of(other.id) for other in brief.inspirations)
    yield from ((f"lesson {number}", lesson) for number, lesson in enumerate(brief.lessons, 1))
    yield "memory", brief.memory


def _spent(usage: Usage) -> str:
    if not usage.calls and not usage.cost_usd:
        return ""
    tokens = f"{usage.tokens_in} tokens in ({usage.tokens_cached} cached), {usage.tokens_out} out"
    return f"{usage.model or 'a model'}: {usage.calls} calls, {usage.turns} turns, {tokens}, ${usage.cost_usd:.4f}"


def _block(name: str, text: str) -> Iterator[str]:
    """``text`` below its name, without what would move the cursor of whoever looks."""
    if text.strip():
        yield f"    {name}:"
        for line in text.strip().splitlines():
            yield "        " + "".join(c if c.isprintable() or c == "\t" else "�" for c in line)
