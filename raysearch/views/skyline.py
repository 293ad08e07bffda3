"""The non-dominated candidates, kept as they come."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from raysearch.types import Candidate, CandidateId, Objective


class Skyline:
    """The non-dominated candidates, best on the primary objective first; of equal ones the earliest stays.

    A newcomer is compared with members only. They are sorted by the primary objective, so that those before it
    may dominate it and those behind it may be dominated: with one or two objectives a binary search and what
    falls out, with more a scan of the members. One that lacks a finite value for an objective never enters.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        first = next((o for o in objectives if o.primary), objectives[0] if objectives else None)
        self._axes = [o for o in objectives if o is first] + [o for o in objectives if o is not first]
        self._points: list[tuple[tuple[float, ...], CandidateId]] = []  # negated: less is better, ascending
        self._members: dict[CandidateId, Candidate] = {}

    def __len__(self) -> int:
        return len(self._points)

    def __contains__(self, candidate: CandidateId) -> bool:
        return candidate in self._members

    @property
    def members(self) -> list[Candidate]:
        return [self._members[number] for _, number in self._points]

    def top(self, count: int) -> list[Candidate]:
        """The first ``count`` members."""
        return [self._members[number] for _, number in self._points[:count]]

    @property
    def best(self) -> Candidate | None:
        return self._members[self._points[0][1]] if self._points else None

    def add(self, candidate: Candidate) -> bool:
        """Whether ``candidate`` is a member now."""
        scores = candidate.scores
        point = tuple(-axis.sign * scores.get(axis.name, math.nan) for axis in self._axes)
        if not point or not all(map(math.isfinite, point)):
            return False
        first, behind = self._around(point[0])
        above = self._points[max(behind - 1, 0) : behind] if len(point) <= 2 else self._points[:behind]
        if any(_covers(other, point) for other, _ in above):
            return False
        last = self._end_of_covered(point, first)
        out = [pair for pair in self._points[first:last] if _covers(point, pair[0])]
        if out:
            gone = {number for _, number in out}
            self._points[first:last] = [pair for pair in self._points[first:last] if pair[1] not in gone]
            for number in gone:
                del self._members[number]
        insort(self._points, (point, candidate.id))
        self._members[candidate.id] = candidate
        return True

    def _around(self, primary: float) -> tuple[int, int]:
        """Indices of the first member that is not better on the primary objective, and of the first worse one."""
        first = bisect_left(self._points, primary, key=lambda pair: pair[0][0])
        return first, bisect_right(self._points, primary, key=lambda pair: pair[0][0])

    def _end_of_covered(self, point: tuple[float, ...], first: int) -> int:
        """Where members that ``point`` may dominate end: with two objectives the staircase says it."""
        if len(point) != 2:
            return len(self._points)
        last = first
        while last < len(self._points) and self._points[last][0][1] >= point[1]:
            last += 1
        return last


def _covers(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))
