"""Whom NSGA-II and NSGA-III let live: their survival, by pymoo, over a population that newcomers join one by one.

K. Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Trans. Evol. Comput. 6(2), 2002;
K. Deb, H. Jain, "An evolutionary many-objective optimization algorithm using reference-point-based nondominated
sorting approach", IEEE Trans. Evol. Comput. 18(4), 2014; reference directions of I. Das, J. Dennis, 1998.
pymoo is imported on first use: loading it takes half a second.
"""

from __future__ import annotations

import math
import random
import warnings
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from population.frontier import Vector
from population.selection import softmax
from raysearch.types import CandidateId

Method = Literal["nsga2", "nsga3"]


class Culled:
    """A population that is cut back to ``size`` whenever as many have joined it.

    So ``size`` newcomers are a generation's children, as in the papers, but each breeds as soon as it has come. Of
    candidates with equal vectors the first stays. Where pymoo draws lots, it is by how many came.
    """

    __slots__ = ("_axis", "_came", "_ids", "_points", "_survival", "size")

    def __init__(self, objectives: int, axis: int, size: int, method: Method) -> None:
        """For so many ``objectives``, of which ``axis`` is the primary one's index."""
        self.size = size
        self._axis = axis
        self._came = 0
        self._ids: list[CandidateId] = []
        self._points: list[Vector] = []
        self._survival = _survival(objectives, size, method)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def members(self) -> tuple[CandidateId, ...]:
        """In the order in which they came."""
        return tuple(self._ids)

    def add(self, number: CandidateId, point: Vector) -> None:
        """Take in ``number``, which must be new."""
        self._came += 1
        if point in self._points:
            return
        self._ids.append(number)
        self._points.append(point)
        if len(self._ids) >= 2 * self.size:
            self._cull()

    def draw(self, rng: random.Random, temperature: float) -> CandidateId:
        """One of them, by softmax of the primary objective."""
        shares = np.cumsum(softmax(np.array([point[self._axis] for point in self._points]), temperature))
        index = int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))
        return self._ids[min(index, len(self._ids) - 1)]

    def _cull(self) -> None:
        left = chosen(self._survival, self._points, self.size, seed=self._came)
        self._ids = [self._ids[index] for index in left]
        self._points = [self._points[index] for index in left]


def directions(objectives: int, count: int) -> npt.NDArray[np.float64]:
    """Reference directions (n, objectives), as many as ``count`` allows; one for each objective at least."""
    from pymoo.util.ref_dirs import get_reference_directions

    if objectives == 1:
        return np.ones((1, 1))
    partitions = 1
    while math.comb(objectives + partitions, partitions + 1) <= count:
        partitions += 1
    found: npt.NDArray[np.float64] = get_reference_directions("das-dennis", objectives, n_partitions=partitions)
    return found


def chosen(survival: Any, points: list[Vector], count: int, seed: int) -> list[int]:
    """Indices of ``count`` of ``points``, ascending; ``survival`` is one of pymoo's, and may remember what it saw."""
    from pymoo.core.population import Population
    from pymoo.core.problem import Problem

    losses = -np.array(points)
    problem, everyone = Problem(n_var=1, n_obj=losses.shape[1]), Population.new("F", losses)
    with warnings.catch_warnings(), np.errstate(all="ignore"):  # spans may be too large for a float
        left = survival.do(
            problem, everyone, n_survive=count, random_state=np.random.default_rng(seed), return_indices=True
        )
    survival.opt = None  # what it found best is kept here
    return sorted(left)


def _survival(objectives: int, size: int, method: Method) -> Any:
    if method == "nsga2":
        from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

        return RankAndCrowding()
    from pymoo.algorithms.moo.nsga3 import ReferenceDirectionSurvival

    return ReferenceDirectionSurvival(directions(objectives, size))
