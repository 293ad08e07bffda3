"""Quantiles and means with intervals, and batches of a series whose neighbours depend on one another."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

CONFIDENCE = 0.95
BEYOND_MIN = 5
"""A quantile of a batch is worth its name where at least so many values lie beyond it."""
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t, two-sided 95 %, for 1 to 10 degrees of freedom; beyond, `_t`."""
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and bounds that hold the truth in 95 of 100 cases. ``math.inf``: too few values for a bound."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] of {self.count}"


def quantile(values: Sequence[float], p: float) -> float:
    """The ``p``-quantile (0 to 1) of at least one value: linear between order statistics (Hyndman & Fan's type 7)."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * p
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def quantile_interval(values: Sequence[float], p: float) -> Interval:
    """A quantile between two order statistics whose ranks hold it with 95 %, whatever the distribution.

    The number of values below the quantile is binomial (n, p). Where no order statistic is far enough out, the bound
    is infinite. The values are taken to be independent; those of one queue are not, so the truth is wider.
    """
    ordered = sorted(values)
    count = len(ordered)
    value = quantile(ordered, p)
    low, high = _ranks(count, p)
    return Interval(
        value,
        min(value, ordered[low - 1]) if low else -math.inf,
        max(value, ordered[high - 1]) if high <= count else math.inf,
        count,
    )


def _ranks(count: int, p: float) -> tuple[int, int]:
    """Ranks, counted from 1, of the bounds: 0 or ``count`` + 1 where there is no such value.

    With B values below the quantile, the i-th is above it if B < i, and below it if B >= i.
    """
    if p in (0.0, 1.0):
        return (0, 1) if p == 0.0 else (count, count + 1)
    tail = (1 - CONFIDENCE) / 2
    spread = 8 * math.sqrt(count * p * (1 - p)) + 8
    low, high, total = 0, count + 1, 0.0
    for k in range(max(0, int(count * p - spread)), count):
        total += math.exp(_log_choose(count, k) + k * math.log(p) + (count - k) * math.log1p(-p))
        if total <= tail:
            low = k + 1
        if total >= 1 - tail:
            high = k + 1
            break
    return low, high


def _log_choose(count: int, k: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)


def mean_interval(values: Sequence[float], batches: int = 20) -> Interval:
    """A mean with a t interval over the means of consecutive batches, which heeds that neighbours are alike.

    (Batch means: Law & Kelton.) With fewer than two values the bounds are infinite.
    """
    count = len(values)
    parts = batched(values, min(batches, count))
    mean = math.fsum(values) / count
    if len(parts) < 2:
        return Interval(mean, -math.inf, math.inf, count)
    means = [math.fsum(part) / len(part) for part in parts]
    half = _t(len(means) - 1) * statistics.stdev(means) / math.sqrt(len(means))
    return Interval(mean, mean - half, mean + half, count)


def _t(freedom: int) -> float:
    """Student's 97.5 % quantile; beyond ten degrees of freedom by Fisher and Cornish's expansion, within 0.01 %."""
    if freedom <= len(T_975):
        return T_975[freedom - 1]
    z = statistics.NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))


def batched(values: Sequence[Item], batches: int) -> list[Sequence[Item]]:
    """``values`` cut into so many consecutive parts, as equal as can be; none is empty if there are enough values."""
    edges = [len(values) * number // batches for number in range(batches + 1)]
    return [values[start:end] for start, end in itertools.pairwise(edges)]


def batches_for(count: int, p: float, wanted: int) -> int:
    """Into how many of ``wanted`` batches so many values may be cut so that each still shows its ``p``-quantile."""
    needed = BEYOND_MIN / min(p, 1 - p) if 0 < p < 1 else count
    return max(1, min(wanted, int(count / needed)))


def values_needed(p: float) -> int:
    """How many values one ``p``-quantile wants: 10, 50, 500 for the 50th, 90th, 99th percentile."""
    return math.ceil(round(BEYOND_MIN / min(p, 1 - p), 6))
