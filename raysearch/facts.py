"""Facts: what the journal holds, and the only thing that changes state.

``worker`` names the process that did the work and ``took_s`` how long it took: observations, never read by
`State` or by a policy. ``gpu_s`` is the time of GPUs that it held, for the budget. ``filings`` are what those who
did the work filed on the board of issues, in one fact with the work, so that neither is lost without the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from raysearch.board.types import Filing
from raysearch.consultation import Consultation, Reply
from raysearch.steering import Command
from raysearch.types import (
    SEED,
    AttemptId,
    Candidate,
    CandidateId,
    Change,
    Commit,
    Contest,
    Declared,
    Limits,
    Measurement,
    Objective,
    Outcome,
    Plan,
    Proposal,
    Stage,
    Tree,
    Usage,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class RunStarted:
    """First fact of every journal: everything that must not change while the run lives."""

    run: str
    seed: int
    target: str
    """Name of the target."""
    target_digest: str
    objectives: tuple[Objective, ...]
    plan: Plan
    origin: Commit
    """The commit that a proposal without parents starts from: the target's seed, or an empty tree."""
    origin_tree: Tree
    seeded: bool
    """Whether ``origin`` is a program, to be evaluated as attempt 0."""
    baselines: tuple[Declared, ...] = ()
    """Programs to compare with, evaluated before the policy is asked for anything."""


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A driver took the run up, for the first time or again, under these limits."""

    session: int
    limits: Limits
    host: str
    pid: int
    version: str


@dataclass(frozen=True, slots=True)
class AttemptOpened:
    attempt: AttemptId
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class Mutated:
    attempt: AttemptId
    change: Change
    worker: str = ""
    took_s: float = 0.0
    gpu_s: float = 0.0
    filings: tuple[Filing, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    attempt: AttemptId
    judge: str
    verdict: Verdict
    reused_from: AttemptId | None = None
    worker: str = ""
    took_s: float = 0.0
    gpu_s: float = 0.0
    filings: tuple[Filing, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    attempt: AttemptId
    benchmark: str
    measurements: tuple[Measurement, ...]
    reused_from: AttemptId | None = None
    worker: str = ""
    took_s: float = 0.0
    gpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Compared:
    """A candidate-to-be met one that stands on the frontier, at this ``level`` of error."""

    attempt: AttemptId
    rival: CandidateId
    level: float
    contest: Contest
    worker: str = ""
    took_s: float = 0.0
    gpu_s: float = 0.0
    reference: bool = False
    """The rival is the seed or a baseline, and no place depends on it."""

    @property
    def of_member(self) -> tuple[Measurement, ...]:
        """What is believed from now on of the rival, a member of the frontier; nothing where it was met for other
        reasons: as a reference, or as the seed that is measured twice.
        """
        return () if self.reference or self.attempt == SEED else self.contest.rival_measurements


@dataclass(frozen=True, slots=True)
class JobFailed:
    """A plug-in or the infrastructure broke. ``retry`` is advice to `advance`, which bounds it."""

    attempt: AttemptId
    stage: Stage
    plugin: str
    fault: str
    message: str
    retry: bool
    usage: Usage = Usage()
    worker: str = ""
    took_s: float = 0.0
    gpu_s: float = 0.0
    filings: tuple[Filing, ...] = ()
    consultation: int | None = None
    """What was asked, if it was no attempt's job; ``attempt`` is then whom it is about."""


@dataclass(frozen=True, slots=True)
class ConsultationOpened:
    """A policy's question; they count from 1."""

    consultation: int
    question: Consultation


@dataclass(frozen=True, slots=True)
class Consulted:
    """The reply, which ends the consultation."""

    consultation: int
    reply: Reply
    worker: str = ""
    took_s: float = 0.0
    gpu_s: float = 0.0
    filings: tuple[Filing, ...] = ()


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A consultation ended without a reply: whoever was asked broke, or the budget ran out."""

    consultation: int
    reason: str


@dataclass(frozen=True, slots=True)
class Filed:
    """The policy acted on the board of issues."""

    filing: Filing


@dataclass(frozen=True, slots=True)
class Steered:
    """A person told the run something. What came of it is `raysearch.helm.Helm`'s to say."""

    command: Command


@dataclass(frozen=True, slots=True)
class AttemptClosed:
    """The end of an attempt; carries its whole candidate, so that a policy needs no other fact."""

    attempt: AttemptId
    outcome: Outcome
    reason: str = ""
    candidate: Candidate | None = None


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The driver let go on purpose, with the run unfinished; a driver that died leaves no such fact."""

    reason: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """Nothing is left to do under these limits. A later session may raise them and go on."""

    reason: str


Fact = (
    RunStarted
    | SessionOpened
    | AttemptOpened
    | Mutated
    | Judged
    | Measured
    | Compared
    | JobFailed
    | ConsultationOpened
    | Consulted
    | Unanswered
    | Filed
    | Steered
    | AttemptClosed
    | SessionClosed
    | RunEnded
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal.

    ``seq`` counts from 1 without gaps. ``at_s`` is the wall clock (seconds since 1970), for people;
    ``run_s`` is the time that drivers have spent on the run, which no clock step can move.
    """

    seq: int
    at_s: float
    run_s: float
    fact: Fact
