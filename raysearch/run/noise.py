"""How far a measurement can be trusted: the same program, measured again and again."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from raysearch.types import Measurement, Objective

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """``low`` to ``high`` holds the median with probability ``coverage``, whatever the distribution."""

    low: float
    high: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Noise:
    """One objective of one program in several evaluations.

    ``values`` are what a run would select by, one an evaluation: the median of its samples. Spreads and gains are
    relative to the size of the value (0.01 is 1 %), or absolute where that is zero (``relative`` is False then).
    """

    objective: Objective
    values: tuple[float, ...]
    samples: int
    """In each evaluation; the fewest."""
    spread_within: float
    """Between samples of one evaluation: the median of the evaluations' standard deviations."""
    same: bool
    """Every evaluation gave the same samples."""

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def relative(self) -> bool:
        return self.value != 0.0

    @property
    def spread(self) -> float:
        """Between evaluations: the standard deviation of ``values``."""
        return _deviation(self.values) / self._size if len(self.values) > 1 else 0.0

    @property
    def interval(self) -> Interval:
        return median_interval(self.values)

    @property
    def gain(self) -> float | None:
        """The smallest gain that one evaluation against another resolves at 95 % confidence; see `smallest_gain`."""
        found = smallest_gain(self.values)
        return None if found is None else found / self._size

    @property
    def understated(self) -> bool:
        """Whether the objective declares less noise than there is."""
        return self.relative and self.objective.noise < self.spread

    @property
    def _size(self) -> float:
        return abs(self.value) or 1.0


def noise_of(objective: Objective, evaluations: Sequence[Sequence[Measurement]]) -> Noise:
    """From every evaluation's measurements; each must hold the objective."""
    found = [next(m for m in measured if m.name == objective.name) for measured in evaluations]
    size = abs(statistics.median(m.value for m in found)) or 1.0
    within = [_deviation(m.samples) for m in found if len(m.samples) > 1]
    return Noise(
        objective=objective,
        values=tuple(m.value for m in found),
        samples=min(len(m.samples) for m in found),
        spread_within=statistics.median(within) / size if within else 0.0,
        same=all(m.samples == found[0].samples for m in found),
    )


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The narrowest interval between order statistics that holds the median with at least ``confidence``.

    With fewer than six values none does so at 95 %: then it is the whole range, and ``coverage`` says what that is
    worth. See Conover, Practical Nonparametric Statistics (1999), section 3.2.
    """
    ordered, n = sorted(values), len(values)
    below = 0.0  # that the k-th value from either end lies beyond the median
    best = Interval(ordered[0], ordered[-1], 1.0 - 2.0 * 0.5**n)
    for k in range(n // 2):
        below += math.comb(n, k) * 0.5**n
        if 1.0 - 2.0 * below < confidence:
            break
        best = Interval(ordered[k], ordered[n - 1 - k], 1.0 - 2.0 * below)
    return best


def smallest_gain(values: Sequence[float], confidence: float = CONFIDENCE) -> float | None:
    """How much better one evaluation must come out than another for "better" to hold at ``confidence``.

    Two evaluations of equal programs differ by a Student t with n - 1 degrees of freedom times the standard
    deviation of ``values`` times the root of two; one-sided, as only gains are claimed. In the unit of ``values``;
    None for fewer than two, which say nothing.
    """
    n = len(values)
    if n < 2:
        return None
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, confidence)) * math.sqrt(2.0) * _deviation(values)


def _deviation(values: Sequence[float]) -> float:
    """Standard deviation of two or more values; infinite where that is too large for a float."""
    try:
        return statistics.stdev(values)
    except OverflowError:
        return math.inf
