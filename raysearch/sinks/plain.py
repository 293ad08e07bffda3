"""Plain lines for logs and pipes: one for each attempt that closed, and now and then where the run stands."""

from __future__ import annotations

import contextlib
from typing import TextIO

from raysearch.facts import AttemptClosed, Entry, RunEnded, SessionClosed, SessionOpened, Steered
from raysearch.jobs import Job
from raysearch.sinks.lines import budget, describe, duration, metrics, name_of, number, one_line, origin
from raysearch.sinks.progress import Closed, Progress
from raysearch.types import Candidate, Outcome

SUMMARY_EVERY_S = 30.0
LINES_MAX = 20
"""Attempt lines a second; more are counted instead. What enters the frontier is always shown."""


class PlainLines:
    """Writes to ``stream``, without colours or cursor movements. A reader who goes away is no reason to stop."""

    def __init__(self, stream: TextIO, progress: Progress, summary_every_s: float = SUMMARY_EVERY_S) -> None:
        self._stream = stream
        self._progress = progress
        self._summary_every_s = summary_every_s
        self._summary_due_s = progress.clock() + summary_every_s
        self._second = -1
        self._lines = 0
        self._hidden = 0

    def told(self, entry: Entry) -> None:
        progress = self._progress
        progress.told(entry)
        fact = entry.fact
        if isinstance(fact, SessionOpened):
            limits = progress.limits
            self._say(f"{self._title()}; budget {budget(limits)}; lanes {limits.open_max}")
        elif isinstance(fact, AttemptClosed):
            self._closed(progress.recent[-1])
        elif isinstance(fact, Steered):
            self._say(f"------ {describe(fact)}: {one_line(progress.helm.receipts[fact.command.id].text)}")
        elif isinstance(fact, SessionClosed | RunEnded):
            self._summary()
            self._say(f"{'over' if isinstance(fact, RunEnded) else 'stopped'}: {one_line(fact.reason)}")

    def started(self, job: Job) -> None:
        self._progress.handed_out(job)

    def tick(self) -> None:
        if self._progress.clock() >= self._summary_due_s:
            self._summary()

    def note(self, text: str) -> None:
        """A line that is no fact."""
        self._say(text)

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def _title(self) -> str:
        start = self._progress.started
        again = f", session {self._progress.session}" if self._progress.session > 1 else ""
        return f"raysearch {start.run}: target {start.target}, seed {start.seed}{again}" if start else "raysearch"

    def _closed(self, closed: Closed) -> None:
        second = int(self._progress.clock())
        if second != self._second:
            self._second, self._lines = second, 0
        if self._lines >= LINES_MAX and not closed.entered:
            self._hidden += 1
            return
        self._lines += 1
        what = metrics(closed.measurements) if closed.outcome is Outcome.ADMITTED else one_line(closed.reason, 160)
        how = " ".join(part for part in (closed.mutator, origin(closed.parents)) if part and closed.attempt)
        tail = f" ({how}, {closed.took_s:.1f} s)" if how else ""
        star = "*" if closed.entered else " "
        self._say(f"{name_of(closed.attempt):>6} {closed.outcome:<9}{star} {what}{tail}")

    def _summary(self) -> None:
        progress = self._progress
        self._summary_due_s = progress.clock() + self._summary_every_s
        counts = ", ".join(f"{count} {outcome}" for outcome, count in progress.counts.items() if count)
        parts = [f"{progress.closed} closed" + (f": {counts}" if counts else ""), f"{len(progress.lanes)} under way"]
        if progress.faults:
            parts.append(f"{progress.faults} faults, last {one_line(progress.last_fault, 120)}")
        if progress.cost_usd:
            parts.append(f"${progress.cost_usd:.2f}")
        if progress.members:
            parts.append(f"frontier {progress.frontier_size}, best {self._best(progress.members[0])}")
        if progress.issues:
            parts.append(f"{progress.issues} {'issues' if progress.issues > 1 else 'issue'} open")
        if progress.paused:
            parts.append("paused")
        if self._hidden:
            parts.append(f"{self._hidden} lines left out")
            self._hidden = 0
        self._say(f"------ {'; '.join(parts)}; {number(progress.per_minute(), 3)} a minute")

    def _best(self, candidate: Candidate) -> str:
        return f"{name_of(candidate.id)} {metrics(candidate.measurements)}"

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{duration(self._progress.elapsed_s()):>8} {text}\n")
            self._stream.flush()
