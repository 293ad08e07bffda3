"""The non-dominated candidates, kept as they come."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from raysearch.types import Candidate, CandidateId, Measurement, Objective

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Point = tuple[float, ...]
"""One value per objective, the primary one first, each turned so that less is better."""


class Skyline:
    """The non-dominated candidates, best on the primary objective first; of equal ones the earliest stays.

    A newcomer is compared with members only. They are sorted by the primary objective, so that those before it
    may dominate it and those behind it may be dominated. With one or two objectives they form a staircase: a
    binary search finds the one step that may be above, and those below follow each other. With more, all of them
    are compared at once, as the rows of an array. One that lacks a finite value for an objective never enters.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        first = next((o for o in objectives if o.primary), objectives[0] if objectives else None)
        self._axes = [o for o in objectives if o is first] + [o for o in objectives if o is not first]
        self._points: list[tuple[Point, CandidateId]] = []
        self._members: dict[CandidateId, Candidate] = {}
        self._array: npt.NDArray[np.float64] | None = None  # the points again, for more than two objectives

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
        """Whether ``candidate`` is a member now; one whose place is not confirmed never is."""
        if not candidate.confirmed:
            return False
        point = self._point(candidate)
        if point is None:
            return False
        first = bisect_left(self._points, point[0], key=_primary)
        behind = bisect_right(self._points, point[0], lo=first, key=_primary)
        out = self._compared(point, first, behind) if len(point) > 2 else self._stepped(point, first, behind)
        if out is None:
            return False
        self._replace(out, (point, candidate.id))
        self._members[candidate.id] = candidate
        return True

    def remeasured(self, number: CandidateId, fresh: Sequence[Measurement]) -> None:
        """Show ``fresh`` of a member, unless that makes it leave for another, or one for it (docs/measurement.md)."""
        member = self._members.get(number)
        if member is None or not fresh:
            return
        named = {m.name: m for m in fresh}
        again = replace(member, measurements=tuple(named.get(m.name, m) for m in member.measurements))
        point = self._point(again)
        others = [other for other, whose in self._points if whose != number]
        if point is None or any(_covers(other, point) or _covers(point, other) for other in others):
            return
        at = next(index for index, (_, whose) in enumerate(self._points) if whose == number)
        self._replace([at], (point, number))
        self._members[number] = again

    def _point(self, candidate: Candidate) -> Point | None:
        """None where an objective has no finite value, or there is none."""
        scores = candidate.scores
        point = tuple(-axis.sign * scores.get(axis.name, math.nan) for axis in self._axes)
        return point if point and all(map(math.isfinite, point)) else None

    def _stepped(self, point: Point, first: int, behind: int) -> Sequence[int] | None:
        """Indices of the members that ``point`` dominates; None if one covers it."""
        if behind and all(a <= b for a, b in zip(self._points[behind - 1][0], point, strict=True)):
            return None
        last = first
        while last < len(self._points) and self._points[last][0][-1] >= point[-1]:
            last += 1
        return range(first, last)

    def _compared(self, point: Point, first: int, behind: int) -> Sequence[int] | None:
        """The same for any number of objectives."""
        import numpy as np

        if self._array is None:
            self._array = np.empty((0, len(point)))
        row = np.array(point)
        if (self._array[:behind] <= row).all(axis=1).any():
            return None
        below = (self._array[first:] >= row).all(axis=1)
        return [first + int(index) for index in np.flatnonzero(below)]

    def _replace(self, out: Sequence[int], pair: tuple[Point, CandidateId]) -> None:
        for index in reversed(out):
            del self._members[self._points.pop(index)[1]]
        at = bisect_right(self._points, pair)
        self._points.insert(at, pair)
        if self._array is not None:
            import numpy as np

            self._array = np.insert(np.delete(self._array, out, axis=0), at, pair[0], axis=0)


def _covers(one: Point, other: Point) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))


def _primary(pair: tuple[Point, CandidateId]) -> float:
    return pair[0][0]
