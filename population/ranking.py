"""Rankings of whole populations, by pymoo. It is imported on first use: loading it takes half a second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from population.frontier import Vector


def fronts(points: Sequence[Vector]) -> list[list[int]]:
    """Indices of ``points`` by non-domination rank, the frontier first; equal points share a rank.

    Fast non-dominated sorting of NSGA-II (Deb et al. 2002).
    """
    if not points:
        return []
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    return [sorted(front.tolist()) for front in NonDominatedSorting().do(_losses(points))]


def crowding(points: Sequence[Vector]) -> list[float]:
    """Crowding distance of each of ``points``, all of one rank: more is lonelier, infinite at the ends.

    Deb et al. 2002, averaged over the objectives.
    """
    if not points:
        return []
    from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

    distances: list[float] = calc_crowding_distance(_losses(points)).tolist()
    return distances


def hypervolume(points: Sequence[Vector], reference: Vector) -> float:
    """Volume that ``points`` dominate above ``reference``, in the product of the objectives' units; from 0 on.

    Points that are not above ``reference`` in every objective add nothing.
    """
    if not points:
        return 0.0
    from pymoo.indicators.hv import HV

    return float(HV(ref_point=-np.array(reference, dtype=float)).do(_losses(points)))


def _losses(points: Sequence[Vector]) -> npt.NDArray[np.float64]:
    """Shape (points, objectives), less being better, as pymoo expects."""
    return -np.array(points, dtype=np.float64)
