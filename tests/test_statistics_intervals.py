"""Intervals hold as often as they say, and say so where there is none."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from raysearch.statistics.claims import Incomparable, median, spread
from raysearch.statistics.intervals import (
    bootstrap_interval,
    median_interval,
    order_rank,
    rank_sum_counts,
    rank_sum_rank,
    shift_interval,
)

numbers = st.floats(-1e6, 1e6)
samples = st.lists(numbers, min_size=1, max_size=30)


@pytest.mark.parametrize("count", [6, 7, 10, 25, 100, 999, 5000])
def test_order_statistics_are_those_of_the_binomial(count: int) -> None:
    rank, outside = order_rank(count, 0.05)
    assert outside == pytest.approx(2 * stats.binom.cdf(rank - 1, count, 0.5), rel=1e-6)
    assert outside <= 0.05 < 2 * stats.binom.cdf(rank, count, 0.5)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_too_few_samples_attain_what_they_can(count: int) -> None:
    found = median_interval(range(count), 0.95)
    if count == 1:
        assert (found.low, found.high, found.method) == (-math.inf, math.inf, "unknown")
    else:
        assert (found.low, found.high, found.method) == (0, count - 1, "range")
        assert found.confidence == 1 - 2 ** (1 - count)


def test_deterministic_and_constant() -> None:
    assert median_interval([3.0], deterministic=True).method == "degenerate"
    still = median_interval([3.0] * 3)
    assert (still.low, still.high, still.confidence) == (3, 3, 0.75)
    assert median_interval([3.0, 4.0] * 10, deterministic=True).method == "exact"


@pytest.mark.parametrize("count", [6, 15, 40])
def test_the_exact_interval_covers(count: int) -> None:
    rng = random.Random(count)
    hits = 0
    for _ in range(2000):
        found = median_interval([rng.lognormvariate(0, 0.5) for _ in range(count)], 0.9)
        assert found.confidence >= 0.9
        hits += found.low <= 1.0 <= found.high
    assert hits / 2000 > 0.88


@given(samples)
def test_the_value_is_inside(values: list[float]) -> None:
    found = median_interval(values)
    assert found.low <= found.value <= found.high
    assert min(values) <= found.value <= max(values)


@given(samples, st.integers(-8, 8))
def test_scale_and_mirror(values: list[float], power: int) -> None:
    plain, scaled = median_interval(values), median_interval([v * 2.0**power for v in values])
    mirrored = median_interval([-v for v in values])
    assert (scaled.low, scaled.high) == pytest.approx((plain.low * 2.0**power, plain.high * 2.0**power), abs=1e-300)
    assert (mirrored.low, mirrored.high) == (-plain.high, -plain.low)


@pytest.mark.parametrize("bad", [[], [math.nan], [1.0, math.inf], [1.0, 2.0, -math.inf]])
def test_what_cannot_be_compared_is_said(bad: list[float]) -> None:
    for call in (
        lambda: median_interval(bad),
        lambda: shift_interval(bad, [1.0]),
        lambda: shift_interval([1.0], bad),
        lambda: bootstrap_interval(bad, fmean, random.Random(1)),
    ):
        with pytest.raises(Incomparable, match=r"samples where at least 1|only finite numbers"):
            call()


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 4), (5, 5), (8, 3)])
def test_rank_sums_are_counted(n: int, m: int) -> None:
    counts = rank_sum_counts(n, m)
    assert sum(counts) == math.comb(n + m, n)
    assert counts == counts[::-1]
    below = stats.mannwhitneyu(range(n), range(100, 100 + m), alternative="less", method="exact").pvalue
    assert counts[0] / sum(counts) == pytest.approx(below)


def test_rank_sum_limits() -> None:
    assert rank_sum_rank(3, 3, 0.05)[0] == 0
    assert rank_sum_rank(4, 4, 0.05) == (1, pytest.approx(2 / 70))
    exact, near = rank_sum_rank(50, 50, 0.05)[0], rank_sum_rank(51, 51, 0.05)[0]
    assert 0 < near - exact < 60  # published: 962 + 1 at 50 and 50 by the normal approximation


@pytest.mark.parametrize(("n", "m", "drawn"), [(5, 7, random.Random.gauss), (20, 60, random.Random.gauss)])
def test_the_shift_interval_covers(n: int, m: int, drawn: object) -> None:
    rng, hits = random.Random(n), 0
    for _ in range(600):
        a, b = [rng.gauss(0.7, 1) for _ in range(n)], [rng.gauss(0, 1) for _ in range(m)]
        found = shift_interval(a, b, 0.9)
        hits += found.low <= 0.7 <= found.high
    assert hits / 600 > 0.87


def test_many_samples_are_thinned() -> None:
    rng = random.Random(3)
    a = [rng.gauss(1, 1) for _ in range(3000)]
    found = shift_interval(a, [rng.gauss(0, 1) for _ in range(3000)])
    assert 0.7 < found.low < 1 < found.high < 1.3


def test_the_bootstrap_covers_a_mean() -> None:
    rng, hits = random.Random(5), 0
    for _ in range(150):
        values = [rng.expovariate(1) for _ in range(30)]
        found = bootstrap_interval(values, fmean, rng, 0.9, draws=300)
        assert found.method == "bootstrap"
        hits += found.low <= 1 <= found.high
    assert 0.8 <= hits / 150 <= 0.97


def test_the_bootstrap_is_seeded_and_near_scipys() -> None:
    values = [random.Random(7).expovariate(1) for _ in range(1)] + [random.Random(i).expovariate(1) for i in range(40)]
    one = bootstrap_interval(values, fmean, random.Random(1))
    assert one == bootstrap_interval(values, fmean, random.Random(1))
    theirs = stats.bootstrap((values,), stats.tmean, method="BCa", n_resamples=2000, rng=1).confidence_interval
    assert (one.low, one.high) == pytest.approx((theirs.low, theirs.high), rel=0.05)


def test_the_bootstrap_knows_what_it_cannot_know() -> None:
    rng = random.Random(1)
    for values in ([1.0], [1.0, 2.0, 3.0], [5.0] * 40, [*range(40)]):
        statistic = (lambda v: 1.0) if len(values) == 40 and values[0] == 0 else fmean
        assert bootstrap_interval(values, statistic, rng).method == "unknown"
    assert bootstrap_interval([5.0] * 40, fmean, rng, deterministic=True).method == "degenerate"


@given(st.lists(st.one_of(numbers, st.sampled_from([math.inf, -math.inf])), min_size=1))
def test_spread_is_finite_and_mirrored(values: list[float]) -> None:
    found = spread(values)
    assert found == spread([-v for v in values])
    assert found >= 0 or math.isinf(median(values))
