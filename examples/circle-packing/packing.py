"""Layouts of circles in the unit square, and the nearest packing that is locally best.

A layout is an array of centers, shape (n, 2), and one of radii, shape (n,), in units of the square's side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csc_array

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

COUNT = 26
REACH = 0.36
"""Pairs whose centers are farther apart than this are left out of a step; were they to overlap, the next one sees."""
STEP = 0.1
"""How far a center may move along an axis within one step."""
CLOSE = 1e-9
"""A gap wider than this cannot be an overlap that rounding hides."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Centers (n, 2) and radii (n,) of circles."""

    centers: Array
    radii: Array

    @property
    def total(self) -> float:
        """Sum of the radii, rounded once."""
        return math.fsum(self.radii)


def pairs(count: int) -> tuple[Indices, Indices]:
    """The indices of every pair of ``count`` circles, each pair once."""
    first, second = np.triu_indices(count, 1)
    return first, second


def distances(points: Array, others: Array) -> Array:
    """Distance from each of ``points`` (m, 2) to each of ``others`` (n, 2): shape (m, n)."""
    return np.hypot(points[:, None, 0] - others[None, :, 0], points[:, None, 1] - others[None, :, 1])


def polish(centers: Array, *, tolerance: float = 1e-12, worth: float = -math.inf, steps_max: int = 40) -> Layout:
    """The locally best layout that ``centers`` lead to, by a sequence of linear programs.

    The distance of two centers is convex, so its tangent never exceeds it: whatever satisfies the constraints
    linearised at the current centers is a packing too. Each program moves the centers and picks the radii for the
    largest sum under these; at an optimum that the contacts hold rigid, convergence is quadratic (5 to 10 programs
    from anywhere). This is the convex-concave procedure (Yuille and Rangarajan, 2003; Lipp and Boyd, 2016).

    Stops once the sum changes by less than ``tolerance``, or as soon as one more gain like the latest would not bring
    it to ``worth``: such a layout need not be locally best. The constraints hold up to the solver's rounding, but for
    a pair that came into reach in the last step; `settle` makes them exact.
    """
    layout = Layout(centers, np.zeros(len(centers)))
    total = -math.inf
    for _ in range(steps_max):
        layout = _improve(layout.centers)
        before, total = total, layout.total
        gain = total - before
        if abs(gain) < tolerance or 0.0 <= gain < worth - total:
            break
    return layout


def _improve(centers: Array) -> Layout:
    """The best layout under the constraints linearised at ``centers``.

    Variables are x, y and the radii, in this order. Raises ArithmeticError if the solver gives up.
    """
    count = len(centers)
    flat = centers.T.ravel()
    low = np.concatenate([np.maximum(flat - STEP, 0.0), np.zeros(count)])
    high = np.concatenate([np.minimum(flat + STEP, 1.0), np.full(count, 0.5)])
    cost = np.concatenate([np.zeros(2 * count), -np.ones(count)])
    # milp without integers is the same simplex as linprog's, a fifth faster to call.
    answer = milp(cost, constraints=_constraints(centers), bounds=Bounds(low, high), options={"presolve": False})
    if answer.x is None:
        raise ArithmeticError(f"the linear program was not solved: {answer.message}")
    return Layout(answer.x[: 2 * count].reshape(2, count).T.copy(), np.maximum(answer.x[2 * count :], 0.0))


def _constraints(centers: Array) -> LinearConstraint:
    """Walls, and pairs within reach linearised: ``r_i + r_j <= u . (c_i - c_j)``, u the unit vector from j to i."""
    count = len(centers)
    first, second = pairs(count)
    gap = centers[first] - centers[second]
    distance = np.hypot(gap[:, 0], gap[:, 1])
    near = distance < REACH
    first, second = first[near], second[near]
    ux, uy = (gap[near] / np.maximum(distance[near], 1e-12)[:, None]).T
    row, circle = np.arange(len(first)), np.arange(count)
    one, ones = np.ones(len(first)), np.ones(count)
    wall = len(first) + circle
    x, y, r = 0, count, 2 * count
    entries = [
        *((row, x + first, -ux), (row, x + second, ux), (row, y + first, -uy), (row, y + second, uy)),
        *((row, r + first, one), (row, r + second, one)),
        *((wall, x + circle, -ones), (wall, r + circle, ones)),
        *((wall + count, x + circle, ones), (wall + count, r + circle, ones)),
        *((wall + 2 * count, y + circle, -ones), (wall + 2 * count, r + circle, ones)),
        *((wall + 3 * count, y + circle, ones), (wall + 3 * count, r + circle, ones)),
    ]
    rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    matrix = csc_array((values, (rows, columns)), shape=(len(first) + 4 * count, 3 * count))
    zeros = np.zeros(count)
    return LinearConstraint(matrix, -np.inf, np.concatenate([0.0 * one, zeros, ones, zeros, ones]))


def violation(layout: Layout) -> float:
    """How far the worst wall or pair is broken, in floating point; not positive for a packing."""
    first, second = pairs(len(layout.radii))
    walls = layout.radii[:, None] - np.minimum(layout.centers, 1.0 - layout.centers)
    gap = layout.centers[first] - layout.centers[second]
    overlap = layout.radii[first] + layout.radii[second] - np.hypot(gap[:, 0], gap[:, 1])
    return float(max(walls.max(), overlap.max(initial=-math.inf)))


def is_packing(layout: Layout) -> bool:
    """Whether the doubles, as the rational numbers that they are, form a packing: tolerance zero.

    Only what is close is computed exactly: rounding cannot hide an overlap behind a gap of `CLOSE`.
    """
    centers, radii = layout.centers, layout.radii
    if not (np.isfinite(centers).all() and np.isfinite(radii).all()) or (radii < 0.0).any():
        return False
    if (radii[:, None] > centers).any() or (centers > 1.0).any():
        return False
    size = [Fraction(r) for r in radii.tolist()]
    point = [(Fraction(x), Fraction(y)) for x, y in centers.tolist()]
    if any(max(p) + r > 1 for p, r in zip(point, size, strict=True)):
        return False
    first, second = pairs(len(radii))
    gap = centers[first] - centers[second]
    close = np.hypot(gap[:, 0], gap[:, 1]) - radii[first] - radii[second] < CLOSE
    for i, j in zip(first[close].tolist(), second[close].tolist(), strict=True):
        squared = (point[i][0] - point[j][0]) ** 2 + (point[i][1] - point[j][1]) ** 2
        if (size[i] + size[j]) ** 2 > squared:
            return False
    return True


def settle(layout: Layout) -> Layout:
    """The same centers with radii smaller by just enough that `is_packing` holds."""
    centers = np.clip(layout.centers, 0.0, 1.0)
    margin = max(violation(Layout(centers, layout.radii)) / 2, 0.0)
    while True:
        settled = Layout(centers, np.maximum(layout.radii - margin, 0.0))
        if is_packing(settled):
            return settled
        margin = max(2 * margin, 2.0**-55)
