"""Whether circles overlap or leave the unit square, in exact rational arithmetic.

Doubles are rational numbers, so nothing here rounds: the tolerance is zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

Point = tuple[float, float]


@dataclass(frozen=True)
class Violation:
    """A broken rule. ``amount`` is how far beyond it the circles are, in units of the square's side."""

    rule: str
    amount: float
    detail: str


def radius_violations(radii: Sequence[float]) -> list[Violation]:
    """Every radius below zero."""
    return [Violation("radii", -r, f"circle {i}: radius {r!r} is negative") for i, r in enumerate(radii) if r < 0]


def wall_violations(centers: Sequence[Point], radii: Sequence[float]) -> list[Violation]:
    """Every circle that reaches beyond a wall, once a wall."""
    found = []
    for i, ((x, y), r) in enumerate(zip(centers, radii, strict=True)):
        reach = {
            "x = 0": Fraction(r) - Fraction(x),
            "y = 0": Fraction(r) - Fraction(y),
            "x = 1": Fraction(x) + Fraction(r) - 1,
            "y = 1": Fraction(y) + Fraction(r) - 1,
        }
        for wall, excess in reach.items():
            if excess > 0:
                amount = _rounded(excess)
                found.append(Violation("walls", amount, f"circle {i} reaches {amount:.3g} beyond {wall}"))
    return found


def overlaps(centers: Sequence[Point], radii: Sequence[float]) -> list[Violation]:
    """Every pair of circles that share more than a point."""
    points = [(Fraction(x), Fraction(y)) for x, y in centers]
    sizes = [Fraction(r) for r in radii]
    found = []
    for i in range(len(points)):
        for j in range(i + 1, len(points)):
            squared = (points[i][0] - points[j][0]) ** 2 + (points[i][1] - points[j][1]) ** 2
            excess = (sizes[i] + sizes[j]) ** 2 - squared
            if excess > 0:
                amount = _overlap(sizes[i] + sizes[j], squared, excess)
                found.append(Violation("overlaps", amount, f"circles {i} and {j} overlap by {amount:.3g}"))
    return found


def _overlap(reach: Fraction, squared: Fraction, excess: Fraction) -> float:
    """``reach - sqrt(squared)`` without cancellation: ``excess`` over the sum of the two."""
    try:
        return float(excess) / (abs(float(reach)) + math.sqrt(float(squared)))
    except OverflowError:
        return math.inf


def _rounded(length: Fraction) -> float:
    try:
        return float(length)
    except OverflowError:
        return math.inf
