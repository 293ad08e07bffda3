"""Quantiles, intervals and batches."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from evaluators.load.quantiles import (
    _t,
    batched,
    batches_for,
    mean_interval,
    quantile,
    quantile_interval,
    values_needed,
)

numbers = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200)
shares = st.floats(0, 1)


@given(numbers, shares)
def test_a_quantile_lies_within_its_interval_and_its_values(values: list[float], p: float) -> None:
    found = quantile_interval(values, p)
    assert min(values) <= found.value <= max(values)
    assert found.low <= found.value <= found.high
    assert found.count == len(values)


@given(numbers, shares, shares)
def test_quantiles_ascend(values: list[float], p: float, q: float) -> None:
    low, high = sorted([p, q])
    assert quantile(values, low) <= quantile(values, high) or quantile(values, low) == pytest.approx(
        quantile(values, high)
    )


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=100))
def test_quantiles_agree_with_the_standard_library(values: list[float]) -> None:
    theirs = statistics.quantiles(values, n=10, method="inclusive")
    assert [quantile(values, tenth / 10) for tenth in range(1, 10)] == pytest.approx(theirs, abs=1e-6)
    assert quantile(values, 0.5) == pytest.approx(statistics.median(values), abs=1e-6)


@given(st.integers(1, 3000), st.floats(0.001, 0.999))
def test_intervals_of_quantiles_miss_the_truth_as_rarely_as_they_say(count: int, p: float) -> None:
    """Exactly, by the binomial distribution of how many values lie below: at most 2.5 % on either side, and no bound
    could be nearer."""
    found = quantile_interval([float(number) for number in range(1, count + 1)], p)
    below = binom(count, p)
    if found.low > 0 and found.low != found.value:  # the value's own rank is one of those that hold
        assert below.cdf(found.low - 1) <= 0.025 + 1e-9 < below.cdf(found.low) + 2e-9
    if found.high <= count and found.high != found.value:
        assert below.sf(found.high - 1) <= 0.025 + 1e-9 < below.sf(found.high - 2) + 2e-9


def test_intervals_of_quantiles_hold_the_truth_as_often_as_they_say() -> None:
    rng = random.Random(1)
    held = 0
    for _ in range(1000):
        found = quantile_interval([rng.expovariate(1.0) for _ in range(100)], 0.9)
        held += found.low <= math.log(10) <= found.high
    assert 0.94 <= held / 1000 <= 0.975


def test_too_few_values_have_no_bound() -> None:
    found = quantile_interval([1.0, 2.0, 3.0], 0.99)
    assert found.high == math.inf
    assert quantile_interval([5.0], 0.5).low == -math.inf
    assert mean_interval([5.0]).high == math.inf


def test_the_ranks_of_a_textbook_case() -> None:
    """Of 100 values the median's 95 % interval is the 40th to the 61st (Conover)."""
    found = quantile_interval([float(number) for number in range(1, 101)], 0.5)
    assert (found.low, found.high) == (40.0, 61.0)


def test_intervals_of_means_hold_the_truth_though_neighbours_are_alike() -> None:
    """An autoregressive series, as waiting times are; the plain formula would hold it in far fewer cases."""
    rng = random.Random(7)
    held = plain = 0
    for _ in range(100):
        values, at = [], 0.0
        for _ in range(2000):
            at = 0.9 * at + rng.gauss(0, 1)
            values.append(at)
        found = mean_interval(values, 20)
        held += found.low <= 0 <= found.high
        half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
        plain += abs(statistics.fmean(values)) <= half
    assert held / 100 >= 0.88
    assert plain / 100 <= 0.6


@pytest.mark.parametrize(("freedom", "truth"), [(1, 12.706), (10, 2.228), (11, 2.201), (19, 2.093), (60, 2.000)])
def test_student_s_t(freedom: int, truth: float) -> None:
    assert _t(freedom) == pytest.approx(truth, abs=2e-3)


@given(st.lists(st.integers(), max_size=100), st.integers(1, 20))
def test_batches_are_all_values_in_order_and_alike_in_size(values: list[int], batches: int) -> None:
    parts = batched(values, batches)
    assert [value for part in parts for value in part] == values
    assert len(parts) == batches
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(st.integers(1, 100_000), st.floats(0.01, 0.99), st.integers(1, 50))
def test_batches_hold_enough_for_their_quantile_or_are_one(count: int, p: float, wanted: int) -> None:
    batches = batches_for(count, p, wanted)
    assert 1 <= batches <= wanted
    assert batches == 1 or count / batches * min(p, 1 - p) >= 5 - 1e-6


def test_how_many_values_a_percentile_wants() -> None:
    assert [values_needed(p) for p in (0.5, 0.9, 0.99)] == [10, 50, 500]
