"""The frontier by comparing all with all: slow, and hard to get wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raysearch.types import Candidate, CandidateId, Objective


def brute_frontier(candidates: Mapping[CandidateId, Candidate], objectives: Sequence[Objective]) -> set[CandidateId]:
    """Confirmed candidates that no other such beats, by comparing all with all. Of equals the first counts."""
    points = {
        number: tuple(objective.sign * candidate.scores[objective.name] for objective in objectives)
        for number, candidate in candidates.items()
        if candidate.confirmed
    }

    def beats(one: CandidateId, other: CandidateId) -> bool:
        if points[one] == points[other]:
            return one < other
        return all(x >= y for x, y in zip(points[one], points[other], strict=True))

    return {number for number in points if not any(beats(other, number) for other in points if other != number)}
