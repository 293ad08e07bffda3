"""Intervals that hold as often as they say, and say so where there is none.

Samples are taken to be independent draws at one time on one machine; what changes between runs is not in them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from raysearch.statistics.claims import finite, median

Method = Literal["exact", "range", "bootstrap", "degenerate", "unknown"]
BOOTSTRAP_LEAST = 8
"""Fewer samples than this resample into too few different sets for their quantiles to mean anything."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value, and where the truth lies."""

    value: float
    low: float
    high: float
    confidence: float
    """What the interval attains (0 to 1): at least what was asked where ``method`` is ``exact``; less where it is
    ``range``; 1 where nothing is excluded."""
    method: Method


def nothing_known(value: float) -> Interval:
    """Everything is possible."""
    return Interval(value, -math.inf, math.inf, 1.0, "unknown")


def median_interval(samples: Sequence[float], confidence: float = 0.95, *, deterministic: bool = False) -> Interval:
    """The median with an exact interval between two order statistics, whatever the distribution.

    The number of samples below the true median is binomial (Thompson 1936), so that the interval from the k-th smallest
    to the k-th largest of n holds it with probability ``1 - 2 P(Bin(n, 1/2) < k)``. Where even smallest and largest are
    not enough (5 samples and 95 %), they are given with the confidence that they have, which no resampling can better.
    A single sample says nothing about its error, unless the objective is ``deterministic``.

    Raises `Incomparable` without samples, or if one is not finite.
    """
    values = sorted(finite(samples, "median"))
    count, middle = len(values), median(values)
    if deterministic and values[0] == values[-1]:
        return Interval(middle, middle, middle, 1.0, "degenerate")
    if count == 1:
        return nothing_known(middle)
    rank, outside = order_rank(count, 1 - confidence)
    if rank == 0:
        return Interval(middle, values[0], values[-1], 1 - 2.0 ** (1 - count), "range")
    return Interval(middle, values[rank - 1], values[-rank], 1 - outside, "exact")


def order_rank(count: int, alpha: float) -> tuple[int, float]:
    """The largest k with ``2 P(Bin(count, 1/2) < k) <= alpha``, and that probability; 0 where there is none."""
    total, rank, outside = 0.0, 0, 0.0
    for below in range((count + 1) // 2):
        total += 2 * math.exp(
            math.lgamma(count + 1) - math.lgamma(below + 1) - math.lgamma(count - below + 1) - count * math.log(2)
        )
        if total > alpha * (1 + 1e-9):
            break
        rank, outside = below + 1, total
    return rank, outside


def shift_interval(one: Sequence[float], other: Sequence[float], confidence: float = 0.95) -> Interval:
    """By how much ``one`` lies above ``other``, where they differ by a shift: the median difference of all pairs.

    The interval is the one that the Mann-Whitney test inverts to (Hodges and Lehmann 1963, Moses 1965): exact up to 50
    samples a side, with the normal approximation above, and from at most 200 evenly spaced quantiles of each side
    (which makes it wider). Unknown where so few samples cannot attain ``confidence``: 4 against 4 attain 95 %, 3
    against 3 do not.

    Raises `Incomparable` without samples, or if one is not finite.
    """
    a, b = thinned(sorted(finite(one, "first"))), thinned(sorted(finite(other, "second")))
    gaps = sorted(x - y for x in a for y in b)
    rank, outside = rank_sum_rank(len(a), len(b), 1 - confidence)
    if rank == 0:
        return nothing_known(median(gaps))
    return Interval(median(gaps), gaps[rank - 1], gaps[-rank], 1 - outside, "exact")


def thinned(values: Sequence[float], most: int = 200) -> Sequence[float]:
    """At most ``most`` of sorted ``values``, evenly spaced, both ends among them."""
    if len(values) <= most:
        return values
    return [values[round(index * (len(values) - 1) / (most - 1))] for index in range(most)]


def rank_sum_rank(n: int, m: int, alpha: float) -> tuple[int, float]:
    """The largest k with ``2 P(U < k) <= alpha`` for the Mann-Whitney statistic U of ``n`` and ``m`` samples."""
    if max(n, m) > 50:
        deviation = math.sqrt(n * m * (n + m + 1) / 12)
        rank = math.floor(n * m / 2 - 0.5 - NormalDist().inv_cdf(1 - alpha / 2) * deviation)
        return max(rank, 0), alpha
    counts = rank_sum_counts(n, m)
    total, ways, rank, outside = math.comb(n + m, n), 0, 0, 0.0
    for below, count in enumerate(counts[: n * m // 2]):
        ways += count
        if 2 * ways / total > alpha * (1 + 1e-9):
            break
        rank, outside = below + 1, 2 * ways / total
    return rank, outside


def rank_sum_counts(n: int, m: int) -> list[int]:
    """In how many orders of ``n`` and ``m`` samples U is 0, 1, ..., n m: coefficients of the Gaussian binomial."""
    size = n * m + 1
    counts = [1] + [0] * (size - 1)
    for step in range(1, n + 1):
        for index in range(size - 1, m + step - 1, -1):  # times 1 - q^(m + step)
            counts[index] -= counts[index - m - step]
        for index in range(step, size):  # divided by 1 - q^step
            counts[index] += counts[index - step]
    return counts


def bootstrap_interval(
    samples: Sequence[float],
    statistic: Callable[[Sequence[float]], float],
    rng: random.Random,
    confidence: float = 0.95,
    *,
    draws: int = 2000,
    deterministic: bool = False,
) -> Interval:
    """Any other statistic with its bias-corrected and accelerated bootstrap interval (Efron 1987).

    Approximate: it holds for smooth statistics of a few dozen samples and more. Resampling cannot show what samples
    do not: fewer than `BOOTSTRAP_LEAST` of them, or all equal, leave the interval unknown unless the objective is
    ``deterministic``. Raises `Incomparable` without samples, or if one is not finite.
    """
    values = finite(samples, "bootstrap")
    point = statistic(values)
    if min(values) == max(values):
        return Interval(point, point, point, 1.0, "degenerate") if deterministic else nothing_known(point)
    if len(values) < BOOTSTRAP_LEAST:
        return nothing_known(point)
    drawn = sorted(statistic(rng.choices(values, k=len(values))) for _ in range(draws))
    if drawn[0] == drawn[-1]:
        return nothing_known(point)
    normal = NormalDist()
    below = sum(value < point for value in drawn) + sum(value == point for value in drawn) / 2
    bias = normal.inv_cdf(min(max(below / draws, 0.5 / draws), 1 - 0.5 / draws))
    bend = acceleration([statistic(values[:index] + values[index + 1 :]) for index in range(len(values))])

    def quantile(share: float) -> float:
        z = bias + normal.inv_cdf(share)
        return drawn[min(int(normal.cdf(bias + z / (1 - bend * z)) * draws), draws - 1)]

    low, high = quantile((1 - confidence) / 2), quantile((1 + confidence) / 2)
    return Interval(point, min(low, high), max(low, high), confidence, "bootstrap")


def acceleration(left_out: Sequence[float]) -> float:
    """How fast a statistic's error changes with its value, from its values with one sample left out each time."""
    mean = math.fsum(left_out) / len(left_out)
    squares = math.fsum((mean - value) ** 2 for value in left_out)
    return math.fsum((mean - value) ** 3 for value in left_out) / (6 * squares**1.5) if squares > 0 else 0.0
