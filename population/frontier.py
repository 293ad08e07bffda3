"""Pareto dominance, and a frontier that is told one candidate at a time."""

from __future__ import annotations

import math
import random
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import compress

import numpy as np
import numpy.typing as npt

from raysearch.facts import Compared
from raysearch.types import Candidate, CandidateId, Objective

Vector = tuple[float, ...]
"""One value per objective, in the objectives' order, each turned so that more is better."""


def vector(candidate: Candidate, objectives: Sequence[Objective]) -> Vector | None:
    """Medians of ``candidate`` as a `Vector`; None where an objective has no finite value."""
    measured = {m.name: m for m in candidate.measurements}
    values: list[float] = []
    for objective in objectives:
        measurement = measured.get(objective.name)
        if measurement is None or not math.isfinite(value := measurement.value):
            return None
        values.append(objective.sign * value)
    return tuple(values) or None


def primary(objectives: Sequence[Objective]) -> int:
    """Index of the objective that names a single best candidate: the one marked primary, else the first."""
    return next((index for index, objective in enumerate(objectives) if objective.primary), 0)


def dominates(one: Vector, other: Vector) -> bool:
    """Whether ``one`` is nowhere worse than ``other`` and somewhere better."""
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def improves(new: Vector, old: Vector, axis: int) -> bool:
    """Whether a single lineage should go on from ``new``: better on ``axis``, or equal there and nowhere worse.

    Equal vectors count as an improvement, so that a lineage may drift across a plateau.
    """
    if new[axis] != old[axis]:
        return new[axis] > old[axis]
    return all(a >= b for a, b in zip(new, old, strict=True))


class Frontier:
    """The non-dominated candidates, best on the primary objective first.

    Of candidates with equal vectors the first stays. One that lacks a finite value for an objective never
    enters. Adding costs O(log n) comparisons in Python and one vectorised comparison with the members that
    could matter: being sorted by the primary objective, only members before a newcomer can dominate it, and
    only those behind it can be dominated by it.
    """

    __slots__ = ("_axis", "_ids", "_keys", "_noise", "_points", "objectives", "removed")

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = tuple(objectives)
        self.removed: tuple[CandidateId, ...] = ()
        """Whom the latest newcomer pushed out."""
        self._axis = primary(self.objectives)
        self._noise = np.array([o.noise for o in self.objectives])
        self._ids: list[CandidateId] = []
        self._keys: list[float] = []  # minus the primary value: ascending, for bisect
        self._points: npt.NDArray[np.float64] = np.zeros((len(self.objectives), 16))  # one column per member

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def members(self) -> tuple[CandidateId, ...]:
        """Best on the primary objective first; equals there in the order in which they came."""
        return tuple(self._ids)

    def top(self, count: int) -> list[tuple[CandidateId, Vector]]:
        """The first ``count`` members with their vectors."""
        columns = self._points[:, : min(count, len(self._ids))].T.tolist()
        return [(number, tuple(column)) for number, column in zip(self._ids, columns, strict=False)]

    def draw(self, rng: random.Random) -> CandidateId:
        """One member, each as likely as any other."""
        return self._ids[rng.randrange(len(self._ids))]

    def draw_lonely(self, rng: random.Random) -> CandidateId:
        """Of two members drawn, the one with the wider gap between its neighbours."""
        one, other = rng.randrange(len(self._ids)), rng.randrange(len(self._ids))
        return self._ids[one if one == other or self._gap(one) >= self._gap(other) else other]

    def _gap(self, index: int) -> float:
        """Crowding distance of a member (Deb et al. 2002): infinite at the ends."""
        points, size = self._points[:, : len(self._ids)], len(self._ids)
        if len(points) <= 2:  # a staircase: neighbours in one objective are neighbours in the other
            if not 0 < index < size - 1:
                return math.inf
            steps = points[:, [index - 1, index + 1, 0, size - 1]] / 2  # halves: no difference is too large for a float
            return float(np.abs((steps[:, 1] - steps[:, 0]) / (steps[:, 3] - steps[:, 2])).sum())
        points = points / 2
        point, others = points[:, index, None], np.delete(points, index, axis=1)
        below = np.where(others <= point, others, -np.inf).max(axis=1)
        above = np.where(others >= point, others, np.inf).min(axis=1)
        spans = points.max(axis=1) - points.min(axis=1)
        return float(((above - below) / np.where(spans > 0, spans, 1.0)).sum())

    def add(self, candidate: Candidate) -> bool:
        """Whether ``candidate`` entered; `removed` then names those that it pushed out."""
        point = vector(candidate, self.objectives)
        return point is not None and self.insert(candidate.id, point)

    def covers(self, point: Vector) -> bool:
        """Whether some member is, within the objectives' noise, nowhere worse than ``point``.

        Additive epsilon-dominance (Laumanns et al. 2002), epsilon being the noise's share of each value.
        """
        bar = np.array(point)
        bar -= self._noise * np.abs(bar)
        return bool((self._points[:, : len(self._ids)] >= bar[:, None]).all(axis=0).any())

    def lead(self, point: Vector, spans: Sequence[float]) -> float:
        """How far all members would have to move towards better for one of them to be nowhere worse than ``point``.

        In ``spans``, one for each objective, of which 0 counts as 1; infinite without members. Additive epsilon
        indicator (Zitzler et al. 2003).
        """
        if not self._ids:
            return math.inf
        units = np.array([min(span, sys.float_info.max) or 1.0 for span in spans])[:, None]
        with np.errstate(over="ignore"):
            gaps = (np.array(point)[:, None] - self._points[:, : len(self._ids)]) / units
        return float(gaps.max(axis=0).min())

    def insert(self, number: CandidateId, point: Vector) -> bool:
        """`add` for a vector that is already known."""
        key, size = -point[self._axis], len(self._ids)
        first, behind = bisect_left(self._keys, key), bisect_right(self._keys, key)
        # With two objectives the members form a staircase: only the nearest step can be above the newcomer.
        start = max(behind - 1, 0) if len(point) <= 2 else 0
        column = np.array(point)[:, None]
        if bool((self._points[:, start:behind] >= column).all(axis=0).any()):
            return False
        kept: npt.NDArray[np.bool_] = np.any(self._points[:, first:size] > column, axis=0)
        at = first + int(kept[: behind - first].sum())
        self._drop(first, kept)
        self._put(at, number, key, point)
        return True

    def move(self, number: CandidateId, point: Vector) -> None:
        """A member was measured again. It stays where it was if it would have to leave for another, or one for it."""
        if number not in self._ids:
            return
        at, column = self._ids.index(number), np.array(point)[:, None]
        others = np.delete(self._points[:, : len(self._ids)], at, axis=1)
        if (others >= column).all(axis=0).any() or (others <= column).all(axis=0).any():
            return
        kept = np.ones(len(self._ids), dtype=np.bool_)
        kept[at] = False
        self._drop(0, kept)
        self.insert(number, point)

    def remeasured(self, fact: Compared) -> None:
        """What is believed of a member is what it had in its last contest; one with a reference says nothing of it."""
        named = {m.name: m.value for m in fact.of_member}
        if named and all(o.name in named for o in self.objectives):
            self.move(fact.rival, tuple(o.sign * named[o.name] for o in self.objectives))

    def _drop(self, first: int, kept: npt.NDArray[np.bool_]) -> None:
        """Of the members from index ``first`` on, leave those marked in ``kept``."""
        self.removed = ()
        if kept.all():
            return
        size = len(self._ids)
        self.removed = tuple(compress(self._ids[first:], ~kept))
        left = self._points[:, first:size][:, kept]
        self._points[:, first : first + left.shape[1]] = left
        self._ids[first:] = compress(self._ids[first:], kept)
        self._keys[first:] = compress(self._keys[first:], kept)

    def _put(self, at: int, number: CandidateId, key: float, point: Vector) -> None:
        size = len(self._ids)
        if size == self._points.shape[1]:
            self._points = np.concatenate([self._points, np.zeros_like(self._points)], axis=1)
        self._points[:, at + 1 : size + 1] = self._points[:, at:size]
        self._points[:, at] = point
        self._ids.insert(at, number)
        self._keys.insert(at, key)
