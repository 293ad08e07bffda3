"""What a live view needs to know of a run: a light fold, whose size does not grow with the run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from raysearch.board.board import Board
from raysearch.board.types import Status
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
from raysearch.jobs import Job
from raysearch.types import SEED, AttemptId, Candidate, CandidateId, Limits, Measurement, Outcome, Stage

RECENT_MAX = 50
MEMBERS_MAX = 50
"""Members of the frontier that are kept for showing."""


class Frontier(Protocol):
    """The non-dominated candidates, as `raysearch.views.Skyline` keeps them."""

    def __len__(self) -> int: ...
    def __contains__(self, candidate: CandidateId, /) -> bool: ...
    def top(self, count: int) -> list[Candidate]:
        """The first ``count``, best first."""
        ...


@dataclass(frozen=True, slots=True)
class Lane:
    """An attempt under way; ``since_s`` is when its present job began, on the clock of `Progress`."""

    attempt: AttemptId
    parents: tuple[CandidateId, ...]
    mutator: str
    since_s: float
    stage: Stage | None = None
    plugin: str = ""
    try_number: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """An attempt that is over. ``took_s`` counts from its opening."""

    attempt: AttemptId
    outcome: Outcome
    reason: str
    parents: tuple[CandidateId, ...]
    mutator: str
    measurements: tuple[Measurement, ...]
    run_s: float
    took_s: float
    entered: bool
    """Whether it entered the frontier."""


@dataclass(slots=True)
class Progress:
    """Counts, lanes, costs and what closed last. The seed program is in no count."""

    frontier: Callable[[], Frontier]
    """Asked when a candidate has been admitted; it knows of that candidate by then."""
    clock: Callable[[], float] = time.monotonic
    started: RunStarted | None = None
    session: int = 0
    helm: Helm = field(default_factory=Helm)
    """What people have told the run."""
    board: Board = field(default_factory=Board)
    attempts: int = 0
    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    faults: int = 0
    last_fault: str = ""
    cost_usd: float = 0.0
    over: str = ""
    lanes: dict[AttemptId, Lane] = field(default_factory=dict)
    recent: deque[Closed] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))
    members: tuple[Candidate, ...] = ()
    """The best of the frontier."""
    frontier_size: int = 0
    _opened: dict[AttemptId, float] = field(default_factory=dict)
    _run_s: float = 0.0
    _heard_s: float = 0.0
    _session_from: tuple[float, int] = (0.0, 0)

    @property
    def limits(self) -> Limits:
        """In force."""
        return self.helm.limits

    @property
    def paused(self) -> bool:
        """Whether a driver is at work, and hands nothing out."""
        return self.helm.paused and not self.over

    @property
    def issues(self) -> int:
        """Open ones, and those in somebody's hands."""
        return sum(1 for _ in self.board.having(Status.OPEN, Status.IN_PROGRESS))

    @property
    def closed(self) -> int:
        return sum(self.counts.values())

    def elapsed_s(self) -> float:
        """Time that drivers have spent on the run, up to now."""
        return self._run_s if self.over or not self.session else self._run_s + self.clock() - self._heard_s

    def per_minute(self) -> float:
        """Attempts closed a minute in this session."""
        began_s, closed = self._session_from
        seconds = self.elapsed_s() - began_s
        return 60.0 * (self.closed - closed) / seconds if seconds >= 1.0 else 0.0

    def left_s(self) -> float | None:
        """Seconds until a limit is reached, as it looks now; None where there is no telling."""
        limits, rate = self.limits, self.per_minute()
        guesses = []
        if limits.run_s is not None:
            guesses.append(limits.run_s - self.elapsed_s())
        if limits.attempts_max is not None and rate:
            guesses.append(60.0 * (limits.attempts_max - self.closed) / rate)
        return max(min(guesses), 0.0) if guesses else None

    def told(self, entry: Entry) -> None:
        fact = entry.fact
        self._run_s, self._heard_s = max(self._run_s, entry.run_s), self.clock()
        heard(entry, self.helm, self.board)
        match fact:
            case RunStarted():
                self.started = fact
            case SessionOpened(session):
                self.session, self.over = session, ""
                self._session_from = (self._run_s, self.closed)
                self.lanes = {n: replace(lane, since_s=self._heard_s, stage=None) for n, lane in self.lanes.items()}
            case AttemptOpened(attempt, proposal):
                self.attempts = max(self.attempts, attempt)
                self._opened[attempt] = entry.run_s
                self.lanes[attempt] = Lane(attempt, proposal.parents, proposal.mutator, self._heard_s)
            case Mutated(_, change):
                self.cost_usd += change.mutation.usage.cost_usd
            case JobFailed(attempt, _, plugin, fault, message):
                self.cost_usd += fact.usage.cost_usd
                self.faults += 1
                self.last_fault = f"#{attempt} {plugin}: {fault}: {message}"
            case AttemptClosed():
                self._closed(fact, entry.run_s)
            case SessionClosed(reason) | RunEnded(reason):
                self.over = reason
            case Judged(_, _, verdict, reused_from):
                if verdict.usage is not None and reused_from is None:
                    self.cost_usd += verdict.usage.cost_usd
            case Consulted(_, reply):
                self.cost_usd += reply.usage.cost_usd
            case Measured() | Compared() | ConsultationOpened() | Unanswered() | Filed() | Steered():
                pass

    def handed_out(self, job: Job) -> None:
        """A job has been given to the pool."""
        lane = self.lanes.get(job.attempt)
        if lane is not None and job.consultation is None:
            self.lanes[job.attempt] = replace(
                lane, since_s=self.clock(), stage=job.stage, plugin=job.plugin, try_number=job.try_number
            )

    def _closed(self, fact: AttemptClosed, run_s: float) -> None:
        lane = self.lanes.pop(fact.attempt)
        if fact.attempt != SEED:
            self.counts[fact.outcome] += 1
        measured = fact.candidate.measurements if fact.candidate else ()
        took_s = run_s - self._opened.pop(fact.attempt)
        entered = fact.candidate is not None and self._entered(fact.attempt)
        self.recent.append(
            Closed(
                fact.attempt, fact.outcome, fact.reason, lane.parents, lane.mutator, measured, run_s, took_s, entered
            )
        )

    def _entered(self, candidate: CandidateId) -> bool:
        frontier = self.frontier()
        if candidate not in frontier:
            return False
        self.members, self.frontier_size = tuple(frontier.top(MEMBERS_MAX)), len(frontier)
        return True
