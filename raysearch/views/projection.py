"""What there is to see of a run: a fold over its journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from raysearch.board.board import Board
from raysearch.errors import Invariant
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Compared,
    ConsultationOpened,
    Consulted,
    Entry,
    Filed,
    JobFailed,
    Judged,
    Measured,
    Mutated,
    RunEnded,
    RunStarted,
    SessionClosed,
    SessionOpened,
    Steered,
    Unanswered,
)
from raysearch.helm import Helm, heard
from raysearch.types import SEED, AttemptId, Limits, Outcome, Usage
from raysearch.views.beside import Beside
from raysearch.views.rounds import Book
from raysearch.views.rows import Row, milestone_row, opened, population_row, round_row, usage_row
from raysearch.views.skyline import Skyline
from raysearch.views.spending import Spending, improvement, primary_of, used, whose
from raysearch.views.staleness import Staleness

MILESTONES_MAX = 200
SEED_NAME = "seed program"
"""Stands where others have the name of their mutator."""


@dataclass(slots=True)
class Tally:
    """How the attempts of one mutator ended, what they cost, and what they brought."""

    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    cost_usd: float = 0.0
    gain: float = 0.0
    """By how much its candidates moved the best value of the primary objective."""


@dataclass(slots=True)
class Projection:
    """What there is to see of a run, kept entry by entry.

    Rows of closed attempts are kept encoded: a hundred thousand of them take some tens of megabytes, and writing
    them out is a copy. Attempts under way keep their entries. The seed program is attempt 0, and is in no count.
    """

    started: RunStarted | None = None
    seq: int = 0
    began_at_s: float = 0.0
    at_s: float = 0.0
    run_s: float = 0.0
    session: int = 0
    helm: Helm = field(default_factory=Helm)
    """What people have told the run."""
    board: Board = field(default_factory=Board)
    book: Book = field(default_factory=Book)
    """Rounds, where the search works in them."""
    stopped_by: str = ""
    ended: bool = False
    attempts: int = 0
    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    cost_usd: float = 0.0
    mutators: dict[str, Tally] = field(default_factory=dict)
    spending: Spending = field(default_factory=Spending)
    asked: dict[int, str] = field(default_factory=dict)
    """Questions under way, and the role that is asked."""
    traces: dict[AttemptId, list[Entry]] = field(default_factory=dict)
    """The entries of each attempt under way."""
    skyline: Skyline = field(default_factory=lambda: Skyline(()))
    beside: Beside = field(default_factory=Beside)
    """Candidates and the seed or baselines that they met."""
    staleness: Staleness = field(default_factory=Staleness)
    """What children missed."""
    recent: deque[Row] = field(default_factory=lambda: deque(maxlen=20))
    """`round_row` of the attempts that closed last, newest last."""
    milestones: deque[Row] = field(default_factory=lambda: deque(maxlen=MILESTONES_MAX))
    """`milestone_row` of those that entered the frontier, newest last."""
    usage_rows: list[bytes] = field(default_factory=list)
    population_rows: list[bytes] = field(default_factory=list)
    round_rows: list[bytes] = field(default_factory=list)

    @property
    def limits(self) -> Limits:
        """In force."""
        return self.helm.limits

    @property
    def paused(self) -> bool:
        """Whether a driver is at work, and hands nothing out."""
        return self.helm.paused and not self.stopped_by

    @property
    def over(self) -> str:
        """Why the run ended; empty if it has not."""
        return self.stopped_by if self.ended else ""

    def told(self, entry: Entry) -> None:
        """Fold one entry in."""
        fact = entry.fact
        self.seq, self.at_s, self.run_s = entry.seq, entry.at_s, max(self.run_s, entry.run_s)
        heard(entry, self.helm, self.board)
        self.beside.told(fact)
        self.staleness.told(fact)
        self.book.told(fact)
        match fact:
            case RunStarted():
                self.started, self.began_at_s = fact, entry.at_s
                self.skyline = Skyline(fact.objectives)
            case SessionOpened():
                self.session, self.stopped_by, self.ended = fact.session, "", False
            case SessionClosed(reason):
                self.stopped_by = reason
            case RunEnded(reason):
                self.stopped_by, self.ended = reason, True
            case AttemptOpened(attempt):
                self.attempts = max(self.attempts, attempt)
                self.traces[attempt] = [entry]
            case AttemptClosed():
                self._closed(entry, fact)
            case ConsultationOpened() | Consulted() | Unanswered() | Filed() | Steered():
                self._spoken(entry)
            case JobFailed() if fact.consultation is not None:
                self._spoken(entry)
            case Mutated() | Judged() | Measured() | Compared() | JobFailed():
                trace = self._trace(fact.attempt)
                trace.append(entry)
                usage = self.spending.told(fact, opened(trace).proposal.mutator)
                self._asked(entry, trace, usage)
                if isinstance(fact, Compared):
                    self.skyline.remeasured(fact.rival, fact.of_member)
                self.cost_usd += usage.cost_usd
                self._tally(trace).cost_usd += usage.cost_usd

    def _spoken(self, entry: Entry) -> None:
        """A question or its answer; filings and commands were heard already."""
        match entry.fact:
            case ConsultationOpened(number, question):
                self.asked[number] = question.role
            case Consulted(number, reply):
                self._answered(entry, number, self.asked.pop(number), reply.usage, entry.fact.took_s)
            case JobFailed(consultation=int(number)):
                self._answered(entry, number, self.asked[number], entry.fact.usage, entry.fact.took_s)
            case Unanswered(number):
                self.asked.pop(number, None)
            case _:
                pass

    def _answered(self, entry: Entry, number: int, role: str, usage: Usage, took_s: float) -> None:
        if used(usage):
            self.cost_usd += usage.cost_usd
            self.spending.asked(role, usage)
            row = usage_row(entry, None, role, role, usage, took_s) | {"consultation": number}
            self.usage_rows.append(msgspec.json.encode(row))

    def _asked(self, entry: Entry, trace: Sequence[Entry], usage: Usage) -> None:
        fact = entry.fact
        if used(usage) and isinstance(fact, Mutated | Judged | Measured | Compared | JobFailed):
            role, plugin = whose(fact, opened(trace).proposal.mutator)
            row = usage_row(entry, fact.attempt, role, plugin, usage, fact.took_s)
            self.usage_rows.append(msgspec.json.encode(row))

    def _trace(self, attempt: AttemptId) -> list[Entry]:
        trace = self.traces.get(attempt)
        if trace is None:
            raise Invariant(f"attempt {attempt} is open")
        return trace

    def _tally(self, trace: Sequence[Entry]) -> Tally:
        name = SEED_NAME if opened(trace).attempt == SEED else opened(trace).proposal.mutator
        return self.mutators.setdefault(name, Tally())

    def _closed(self, entry: Entry, fact: AttemptClosed) -> None:
        trace = self._trace(fact.attempt)
        del self.traces[fact.attempt]
        trace.append(entry)
        self._tally(trace).outcomes[fact.outcome] += 1
        if fact.attempt != SEED:
            self.counts[fact.outcome] += 1
        row = round_row(trace) | {"entered_frontier": False}
        if fact.candidate is not None:
            best = self.skyline.best
            row["entered_frontier"] = self.skyline.add(fact.candidate)
            axis = primary_of(self.started.objectives) if self.started else None
            if axis is not None and row["entered_frontier"]:
                gain = improvement(axis, best.scores if best else None, fact.candidate.scores)
                self._tally(trace).gain += gain
            self.population_rows.append(msgspec.json.encode(population_row(fact.candidate, entry)))
        if row["entered_frontier"]:
            self.milestones.append(milestone_row(row, trace))
        self.recent.append(row)
        self.round_rows.append(msgspec.json.encode(row))


def fold(entries: Iterable[Entry]) -> Projection:
    """The projection of a whole journal."""
    projection = Projection()
    for entry in entries:
        projection.told(entry)
    return projection
