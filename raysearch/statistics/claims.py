"""What may be claimed of one objective, and how far apart two values of it are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from raysearch.errors import RaysearchError
from raysearch.types import Goal, Objective


class Incomparable(RaysearchError):
    """Measurements that no comparison can be made of: none, not finite, missing, or against what was declared."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One objective, and the smallest gain in it that is worth claiming.

    A gain is positive where the candidate is better, whatever the goal. Where ``relative``, it is the ratio of the two
    values less one: 0.03 is 3 % more of what should be more, or 1.03 times as fast where time should be less. Else it
    is their difference, in the objective's unit.
    """

    name: str
    goal: Goal = "max"
    unit: str = ""
    min_effect: float = 0.01
    """0 or more; a ratio less one where ``relative``, else in ``unit``. With 0, any gain counts."""
    relative: bool = True
    """Compare by ratio; for values that are positive."""
    deterministic: bool = False
    """Equal programs give equal values: one pair says it all, and a second one must agree."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.min_effect) and self.min_effect >= 0):
            raise ValueError(
                f"the smallest gain of {self.name!r} is {self.min_effect}; it must be 0 or more, and finite"
            )

    @property
    def threshold(self) -> float:
        """The smallest gain on the scale of `gap`."""
        return math.log1p(self.min_effect) if self.relative else self.min_effect

    def gap(self, a: float, b: float) -> float:
        """How much better ``a`` is than ``b``: log-ratio or difference, positive where ``a`` is better.

        Antisymmetric: ``gap(a, b) == -gap(b, a)``, and the goal turns the sign. Values without a ratio (one is not
        positive) are infinitely far apart, or equal.
        """
        sign = 1.0 if self.goal == "max" else -1.0
        if a == b:
            return 0.0
        if not self.relative:
            return sign * (a - b)
        if a > 0 and b > 0:
            return sign * (math.log(a) - math.log(b))
        return math.copysign(math.inf, sign * (a - b))

    def effect(self, gap: float) -> float:
        """The gain that ``gap`` stands for; infinite where that is, or too large for a float."""
        if not self.relative or math.isinf(gap):
            return gap
        try:
            return math.expm1(gap)
        except OverflowError:
            return math.inf


def claim(
    objective: Objective, record: Iterable[float] = (), *, min_effect: float = 0.01, deterministic: bool = False
) -> Claim:
    """The claim for ``objective`` where values like those of ``record`` are expected.

    By ratio if all of them are positive. Else by difference, and ``min_effect`` (a share, as in 0.03) is taken of the
    median magnitude in ``record``. Raises `Incomparable` where ``record`` has a value that is not finite.
    """
    known = finite(record, f"the record of {objective.name!r}", least=0)
    relative = all(value > 0 for value in known)
    smallest = min_effect if relative else min_effect * median([abs(value) for value in known])
    return Claim(objective.name, objective.goal, objective.unit, smallest, relative, deterministic)


def finite(samples: Iterable[float], where: str, *, least: int = 1) -> tuple[float, ...]:
    """``samples`` as floats. Raises `Incomparable` if there are fewer than ``least``, or one is not finite."""
    values = tuple(float(sample) for sample in samples)
    if len(values) < least:
        raise Incomparable(f"{where}: {len(values)} samples where at least {least} are needed; measure more")
    for index, value in enumerate(values):
        if not math.isfinite(value):
            raise Incomparable(f"{where}: sample {index + 1} of {len(values)} is {value}; only finite numbers compare")
    return values


def median(values: Sequence[float]) -> float:
    """The median of one or more values in any order; never larger or smaller than all of them."""
    ordered, half = sorted(values), len(values) // 2
    if len(ordered) % 2 or ordered[half - 1] == ordered[half]:
        return ordered[half]
    return ordered[half - 1] / 2 + ordered[half] / 2  # halves first: the sum may be too large for a float


def spread(values: Sequence[float]) -> float:
    """A standard deviation that outliers hardly move: 1.4826 times the median distance to the median.

    Where more than half are equal, so that this is 0: 1.2533 times the mean distance. Both are the standard deviation
    if values are normal. Infinite values count as far away as the farthest finite one.
    """
    middle = median(values)
    distances = [abs(value - middle) for value in values if math.isfinite(value)]
    far = max(distances, default=0.0)
    distances += [far] * (len(values) - len(distances))
    return 1.4826 * median(distances) or 1.2533 * math.fsum(d / len(distances) for d in distances)
