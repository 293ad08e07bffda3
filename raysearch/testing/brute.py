"""The frontier by comparing all with all, fact by fact: slow, and hard to get wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from raysearch.facts import AttemptClosed, Compared, Fact, RunStarted
from raysearch.types import SEED, CandidateId, Objective


@dataclass(slots=True)
class BruteFrontier:
    """Confirmed candidates that no member was nowhere worse than when they came, and none has pushed out since."""

    objectives: tuple[Objective, ...] = ()
    points: dict[CandidateId, tuple[float, ...]] = field(default_factory=dict)
    """Of the members, more being better."""

    def told(self, fact: Fact) -> None:
        """Fold one fact in."""
        match fact:
            case RunStarted():
                self.objectives = fact.objectives
            case AttemptClosed(candidate=candidate) if candidate is not None and candidate.confirmed:
                point = self._point(candidate.scores)
                if not any(_covers(old, point) for old in self.points.values()):
                    self.points = {n: old for n, old in self.points.items() if not _covers(point, old)}
                    self.points[candidate.id] = point
            case Compared() if fact.rival in self.points and not fact.reference and fact.attempt != SEED:
                fresh = {m.name: m.value for m in fact.contest.rival_measurements}
                point = self._point(fresh) if fresh else self.points[fact.rival]
                others = [old for number, old in self.points.items() if number != fact.rival]
                if not any(_covers(old, point) or _covers(point, old) for old in others):
                    self.points[fact.rival] = point  # what would make somebody leave is for contests to decide
            case _:
                pass

    def _point(self, scores: Mapping[str, float]) -> tuple[float, ...]:
        return tuple(axis.sign * scores[axis.name] for axis in self.objectives)


def _covers(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(x >= y for x, y in zip(one, other, strict=True))
