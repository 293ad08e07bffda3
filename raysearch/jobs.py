"""Effects as data: what workers are asked to do, and what may come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from raysearch.board.board import Snapshot
from raysearch.consultation import Reply
from raysearch.types import (
    Allowance,
    AttemptId,
    Brief,
    Challenge,
    Change,
    Commit,
    Contest,
    Measurement,
    Stage,
    Verdict,
)

SHORT = "short"
"""Name of the step that is the target's short benchmark."""


@dataclass(frozen=True, slots=True)
class Job:
    """One effect, described as data; a worker needs nothing else to do it."""

    attempt: AttemptId
    stage: Stage
    plugin: str
    base: Commit
    """Mutate: where the workspace starts. Judge, benchmark: the commit to look at."""
    parents: tuple[Commit, ...] = ()
    """Mutate: git parents of the commit that it makes. Judge, benchmark: those of the commit; the seed has none."""
    brief: Brief = Brief()
    timeout_s: float = 3600.0
    try_number: int = 0
    lineage: str = ""
    opened_at_s: float = 0.0
    """Wall clock at which the attempt was opened (seconds since 1970): the date of its commit."""
    allowance: Allowance = Allowance()
    challenge: Challenge | None = None
    """Benchmark: measure in turns with a rival; ``plugin`` is then `CONFIRMATION`."""
    consultation: int | None = None
    """The question that this job is to answer, ``plugin`` being the role; ``attempt`` is then whose program it is
    about, ``base`` that program."""
    board: Snapshot | None = None
    """The issues, where those who do the job may file."""

    @property
    def ticket(self) -> Ticket:
        """What is under way: one job at a time for each."""
        if self.consultation is None:
            return "attempt", self.attempt
        return "consultation", self.consultation


Ticket = tuple[Literal["attempt", "consultation"], int]


CONFIRMATION = "confirmation"
"""Stands in a job, and in its facts, where others have the name of their plug-in."""
Result = Change | Verdict | tuple[Measurement, ...] | Contest | Reply
"""What a job yields: mutate, judge and benchmark in this order; a benchmark's contest where it was to be one; a reply
where something was asked."""
