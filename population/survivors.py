"""The few best of a growing population, to breed from: survival as in NSGA-II, one newcomer at a time."""

from __future__ import annotations

import math
import random

import numpy as np
import numpy.typing as npt

from population.frontier import Vector
from population.selection import softmax
from raysearch.types import CandidateId

FEWEST = 2
"""Survivors, however few came."""


class Survivors:
    """Of n candidates the square root of n, ``size_max`` at most. One too many, and the one that most others dominate
    has to go; of several such, the one in the thickest crowd. Of candidates with equal vectors the first stays.

    The square root, so that there is something to survive when candidates are few: from 40 six, from 400 twenty.

    A. Durillo et al., "On the effect of the steady-state selection scheme in multi-objective genetic algorithms",
    EMO 2009; ranks are counts of those that dominate (C. Fonseca, P. Fleming 1993), which a newcomer changes in
    O(size_max).
    """

    __slots__ = ("_axis", "_came", "_ids", "_points", "_ranks", "size_max")

    def __init__(self, objectives: int, axis: int, size_max: int) -> None:
        """For so many ``objectives``, of which ``axis`` is the primary one's index."""
        self.size_max = size_max
        self._axis = axis
        self._came = 0
        self._ids: list[CandidateId] = []
        self._points: npt.NDArray[np.float64] = np.zeros((0, objectives))
        self._ranks: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def members(self) -> tuple[CandidateId, ...]:
        """In the order in which they came."""
        return tuple(self._ids)

    def add(self, number: CandidateId, point: Vector) -> None:
        """Take in ``number``, which must be new; it may be the one that has to go."""
        self._came += 1
        new = np.array(point)
        above, below = (self._points >= new).all(axis=1), (self._points <= new).all(axis=1)
        if bool((above & below).any()):
            return
        self._ids.append(number)
        self._points = np.concatenate([self._points, new[None]])
        self._ranks = np.append(self._ranks + below, above.sum())
        if len(self._ids) > min(self.size_max, max(FEWEST, math.isqrt(self._came))):
            self._remove(self._worst())

    def draw(self, rng: random.Random, temperature: float) -> CandidateId:
        """One of them, by softmax of the primary objective."""
        sums = np.cumsum(softmax(self._points[:, self._axis], temperature))
        index = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
        return self._ids[min(index, len(self._ids) - 1)]

    def _worst(self) -> int:
        last = np.flatnonzero(self._ranks == self._ranks.max())
        return int(last[int(np.argmin(crowding(self._points[last])))])

    def _remove(self, index: int) -> None:
        gone = self._points[index]
        self._ranks -= (self._points <= gone).all(axis=1) & (self._points < gone).any(axis=1)
        self._points = np.delete(self._points, index, axis=0)
        self._ranks = np.delete(self._ranks, index)
        del self._ids[index]


def crowding(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Crowding distance (n,) of ``points`` (n, objectives): more is lonelier, infinite at the ends.

    Deb et al. 2002. `population.ranking` has pymoo's, for whole populations; this one is for a few points at a time.
    """
    distances = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        values = column[order] / 2  # halves, so that no difference is too large for a float
        gaps = np.full(len(points), np.inf)
        gaps[1:-1] = (values[2:] - values[:-2]) / (values[-1] - values[0] or 1.0)
        distances[order] += gaps
    return distances
