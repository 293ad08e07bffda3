"""One line of descent, one attempt at a time, in rounds of a few tries."""

from __future__ import annotations

import random
from abc import abstractmethod
from dataclasses import dataclass, field

from population.frontier import Vector, improves, primary
from population.policies.breeder import Breeder
from population.policies.options import check_whole
from raysearch.facts import AttemptClosed
from raysearch.protocols import View
from raysearch.types import AttemptId, Brief, CandidateId, Outcome, Proposal


@dataclass(kw_only=True, eq=False)
class Rounds(Breeder):
    """A round ends with an admitted child, or when its tries are used up; only refusals use up tries.

    The head moves to a child that is better on the primary objective, or equal there and worse on no other.
    A child that is not becomes a lesson.

    Options
        max_rounds: rounds after which the run is done; None: no limit.
    """

    max_rounds: int | None = None

    _head: CandidateId | None = field(init=False, repr=False, default=None)
    _standing: Vector = field(init=False, repr=False, default=())
    """Vector of the head."""
    _rounds: int = field(init=False, repr=False, default=0)
    _tries: int = field(init=False, repr=False, default=0)
    """Refusals in this round."""
    _refused_last: AttemptId | None = field(init=False, repr=False, default=None)
    """This round's latest refused attempt with a commit."""
    _feedback: str = field(init=False, repr=False, default="")
    """Why this round's latest attempt was refused."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_rounds is not None:
            check_whole(self.name, "max_rounds", self.max_rounds, 1)

    @abstractmethod
    def _tries_max(self) -> int:
        """Refusals that end a round."""

    def _label(self) -> str:
        return ""

    def _repair(self) -> AttemptId | None:
        """The attempt whose commit the next try starts from; None: the head's."""
        return None

    def _labels(self, _view: View, slots: int, /) -> list[str]:
        done = self.max_rounds is not None and self._rounds >= self.max_rounds
        return [] if self._open or done or slots < 1 else [self._label()]

    def _child(self, view: View, label: str, rng: random.Random, /) -> Proposal:
        parents = () if self._head is None else (self._head,)
        brief = Brief(
            feedback=self._feedback,
            lessons=self._lessons_of(self._head, without=self._feedback),
            parents=self._parents_of(view, parents),
            frontier=self._beside(parents),
        )
        return Proposal(parents, self._mutator(rng), brief, self._repair(), label)

    def _closed(self, fact: AttemptClosed, proposal: Proposal, point: Vector | None, /) -> None:
        super()._closed(fact, proposal, point)
        if self._head is None:
            if point is not None:
                self._head, self._standing = fact.attempt, point
        elif fact.outcome is Outcome.ADMITTED:
            if point is not None and improves(point, self._standing, primary(self._objectives)):
                self._head, self._standing = fact.attempt, point
            else:
                self._learn(self._head, self._comparison(fact.attempt, point))
            self._end_round()
        elif fact.outcome is Outcome.REJECTED:
            self._tries += 1
            self._feedback = fact.reason
            if fact.attempt in self._committed:
                self._refused_last = fact.attempt
            if self._tries >= self._tries_max():
                self._end_round()

    def _end_round(self) -> None:
        self._rounds += 1
        self._tries = 0
        self._refused_last, self._feedback = None, ""

    def _comparison(self, attempt: AttemptId, point: Vector | None) -> str:
        """What to tell of an admitted child that the head did not move to."""
        if point is None:
            return f"attempt {attempt} passed every gate, but an objective was not measured."
        parts = [
            f"{objective.name} {objective.sign * new:g} against {objective.sign * old:g} {objective.unit}".rstrip()
            for objective, new, old in zip(self._objectives, point, self._standing, strict=True)
        ]
        return f"attempt {attempt} passed every gate, but is no better: {', '.join(parts)}."
