"""Distribution tests: right samples fail as rarely as stated, wrong ones as often."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from evaluators.accuracy import (
    BadAnswer,
    Check,
    CheckerError,
    check_categories,
    check_values,
    detectable,
    samples_needed,
    sampling_probabilities,
)
from evaluators.accuracy.sampling import chi_squared, fit_p_value, pooled, rough_p_value

Array = NDArray[np.float64]


def draw(rng: np.random.Generator, chances: Array, samples: int) -> list[int]:
    """Samples in order, which no test of a distribution heeds."""
    found: list[int] = np.repeat(np.arange(len(chances)), rng.multinomial(samples, chances)).tolist()
    return found


def categories(reference: Sequence[ArrayLike], answers: Sequence[Sequence[object]], **settings_: Any) -> Check:
    """With as many samples as the first prompt has."""
    return check_categories(reference, answers, **{"samples": len(answers[0])} | settings_)


def values_of(reference: Sequence[Any], answers: Sequence[ArrayLike], **settings_: Any) -> Check:
    return check_values(reference, answers, **{"samples": len(np.asarray(answers[0]))} | settings_)


def within(found: int, of: int, at_most: float) -> bool:
    """Whether so many of so many may be, if each has at most this probability: but for one in 10,000."""
    return found <= stats.binom.ppf(1 - 1e-4, of, at_most)


def test_mendels_peas() -> None:
    """The textbook example: 315, 108, 101 and 32 peas, expected 9:3:3:1; chi-squared is 0.470, p is 0.925."""
    chances = np.array([9, 3, 3, 1]) / 16
    peas = np.array([315, 108, 101, 32])
    assert chi_squared(chances, peas) == pytest.approx(0.470, abs=5e-4)
    assert fit_p_value(chances, peas, 0.001) == pytest.approx(0.925, abs=5e-4)
    samples = np.repeat(np.arange(4), peas).tolist()
    assert categories([chances], [samples]).passed
    assert categories([chances], [samples]).statistics["smallest p-value, by Holm"] == pytest.approx(0.925, abs=5e-4)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 300), min_size=2, max_size=12), st.integers(0, 2**31))
def test_the_statistic_is_that_of_scipy(counts: list[int], seed: int) -> None:
    observed = np.array(counts)
    if not observed.sum():
        return
    chances = np.random.default_rng(seed).dirichlet(np.ones(len(counts))) * 0.9 + 0.1 / len(counts)
    theirs = stats.chisquare(observed, chances * observed.sum())
    assert chi_squared(chances, observed) == pytest.approx(theirs.statistic)
    assert rough_p_value(chances, observed) == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.integers(1, 500), st.integers(0, 2**31))
def test_pooling_keeps_everything_that_is_possible(weights: list[float], total: int, seed: int) -> None:
    if sum(weights) < 1e-3:
        return
    chances = np.array(weights) / sum(weights)
    counts = np.random.default_rng(seed).multinomial(total, chances)
    p, n = pooled(chances, counts)
    assert p.sum() == pytest.approx(1)
    assert n.sum() == counts[chances > 0].sum()
    assert len(p) == 1 or (p * total).min() >= 5 - 1e-9
    assert len(p) <= len(weights)


def test_small_p_values_are_the_true_ones() -> None:
    """Two categories, by the binomial distribution, where the chi-squared tail is several times too light."""
    chances = np.array([0.9975, 0.0025])
    for count in (13, 14, 15):
        truth = stats.binom.sf(count - 1, 2000, 0.0025)
        found = np.array([2000 - count, count])
        assert 0.5 * truth < fit_p_value(chances, found, 1e-4) < 2 * truth, count
    assert rough_p_value(chances, found) < truth / 2.5


ALTERNATING = np.array([1, -1] * 4)


@pytest.mark.parametrize(
    ("chances", "samples"),
    [
        (np.full(8, 1 / 8), 200),
        (np.array([0.9, 0.05, 0.02, 0.01, 0.01, 0.005, 0.005]), 400),
        (np.array([0.99, 0.01]), 500),
    ],
    ids=["equal", "skewed", "rare"],
)
def test_right_samplers_fail_as_rarely_as_stated(chances: Array, samples: int) -> None:
    rng = np.random.default_rng(11)
    counts = {0.05: 0, 0.005: 0}
    runs = 1200
    for _ in range(runs):
        observed = rng.multinomial(samples, chances)
        p = fit_p_value(*pooled(chances, observed), level=0.001)
        for alpha in counts:
            counts[alpha] += p < alpha
    assert all(within(count, runs, alpha) for alpha, count in counts.items()), counts
    assert counts[0.05] > 0.005 * runs  # it is a test, after all


@pytest.mark.slow
def test_many_prompts_together_fail_as_rarely_as_one() -> None:
    rng = np.random.default_rng(12)
    reference = [rng.dirichlet(np.ones(20)) for _ in range(12)]
    failed = sum(
        not categories(reference, [draw(rng, p, 150) for p in reference], alpha=0.05).passed for _ in range(150)
    )
    assert within(failed, 150, 0.05)


@pytest.mark.parametrize(("cells", "prompts"), [(2, 1), (8, 1), pytest.param(8, 5, marks=pytest.mark.slow)])
def test_wrong_samplers_fail_as_often_as_stated(cells: int, prompts: int) -> None:
    """The hardest difference of its size: every probability shifted by the same share, on one prompt only."""
    effect, alpha = 0.08, 0.01
    samples = samples_needed(effect, alpha, 0.9, cells=cells, prompts=prompts)
    right = np.full(cells, 1 / cells)
    wrong = right * (1 + 2 * effect * ALTERNATING[:cells])
    assert np.abs(wrong - right).sum() / 2 == pytest.approx(effect)
    rng = np.random.default_rng(13)
    runs = 300 if prompts == 1 else 100
    failed = 0
    for _ in range(runs):
        drawn = [draw(rng, p, samples) for p in [wrong, *[right] * (prompts - 1)]]
        failed += not categories([right] * prompts, drawn, alpha=alpha).passed
    assert within(runs - failed, runs, 0.1)
    assert failed < 0.97 * runs  # and not by much more: no sample is asked for in vain
    assert detectable(samples, alpha, 0.9, cells=cells, prompts=prompts) == pytest.approx(effect, rel=0.01)


def test_the_power_stated_is_that_of_the_samples() -> None:
    rng = np.random.default_rng(1)
    chances = np.full(8, 1 / 8)
    found = categories([chances] * 3, [draw(rng, chances, 300) for _ in range(3)])
    assert found.power
    assert found.power.effect == pytest.approx(detectable(300, 0.001, 0.9, cells=8, prompts=3))
    assert found.power.alpha == 0.001


@settings(deadline=None, max_examples=40)
@given(st.floats(0.01, 0.9), st.floats(1e-5, 0.2), st.floats(0.5, 0.99), st.one_of(st.none(), st.integers(2, 50)))
def test_more_is_needed_for_less(effect: float, alpha: float, power: float, cells: int | None) -> None:
    needed = samples_needed(effect, alpha, power, cells=cells)
    assert detectable(needed, alpha, power, cells=cells) <= effect * (1 + 1e-6)
    assert needed == 1 or detectable(needed - 1, alpha, power, cells=cells) >= effect * (1 - 1e-6)
    assert samples_needed(effect, alpha, (1 + power) / 2, cells=cells) >= needed
    assert samples_needed(effect, alpha / 2, power, cells=cells) >= needed
    assert samples_needed(effect / 2, alpha, power, cells=cells) >= needed
    assert samples_needed(effect, alpha, power, cells=cells, prompts=3) >= needed


def test_samples_needed_by_the_books() -> None:
    """Cohen (1988): w = 0.3 at alpha 0.05 and power 0.8 takes 87 samples for 1 degree of freedom, 121 for 3."""
    assert samples_needed(0.15, 0.05, 0.8, cells=2) == pytest.approx(87, abs=1)
    assert samples_needed(0.15, 0.05, 0.8, cells=4) == pytest.approx(121, abs=1)
    for bad in ({"effect": 0}, {"effect": 1.2}, {"alpha": 0}, {"power": 1}, {"cells": 1}, {"prompts": 0}):
        with pytest.raises(CheckerError):
            samples_needed(**{"effect": 0.1, "alpha": 0.01, "power": 0.9} | bad)  # type: ignore[arg-type]


def test_what_is_only_a_little_off_may_be_allowed() -> None:
    """At the divergence that is allowed a sampler passes, at three times that it does not."""
    rng = np.random.default_rng(21)
    logits = 2 * rng.normal(size=12)
    right = sampling_probabilities(logits)

    def at(kl: float) -> Array:
        direction = rng.normal(size=12)
        low, high = 0.0, 10.0
        for _ in range(60):
            middle = (low + high) / 2
            found = sampling_probabilities(logits + middle * direction)
            low, high = (middle, high) if float((right * np.log(right / found)).sum()) < kl else (low, middle)
        return sampling_probabilities(logits + low * direction)

    def failures(kl: float, runs: int = 60) -> int:
        return sum(
            not categories([right], [draw(rng, at(kl), 4000)], alpha=0.01, kl_allowed=0.005).passed for _ in range(runs)
        )

    assert within(failures(0.0), 60, 0.01)
    assert within(failures(0.005), 60, 0.01)
    assert failures(0.03) > 55
    assert not categories([right], [draw(rng, at(0.03), 4000)]).passed


def test_impossible_samples() -> None:
    chances = np.array([0.5, 0.5, 0.0])
    one = [0, 1] * 50 + [2]
    found = categories([chances], [one])
    assert not found.passed
    assert "1 samples are tokens that the settings rule out" in found.feedback
    assert categories([chances], [one], impossible_max=0.02).passed
    assert not categories([chances], [[2] * 100]).passed


def test_samplers_that_are_wrong() -> None:
    rng = np.random.default_rng(3)
    logits = [2.5 * rng.normal(size=50) for _ in range(8)]
    right = [sampling_probabilities(each, top_p=0.95) for each in logits]

    def drawn(**settings: float) -> list[list[int]]:
        return [draw(rng, sampling_probabilities(each, **settings), 1500) for each in logits]  # type: ignore[arg-type]

    assert categories(right, drawn(top_p=0.95)).passed
    for wrong in (drawn(top_p=1.0), drawn(top_p=0.95, temperature=1.2), drawn(top_p=0.9), drawn(top_p=0.95, top_k=5)):
        assert not categories(right, wrong).passed
    always = categories(right, [[int(each.argmax())] * 1500 for each in logits])
    assert not always.passed
    assert "8 of 8 prompts" in always.feedback


def test_so_few_samples_are_no_check() -> None:
    with pytest.raises(CheckerError, match="always takes the likeliest token would pass"):
        categories([[0.5, 0.5]], [[0, 1, 1, 0]])
    with pytest.raises(CheckerError, match="always takes the likeliest token would pass"):
        categories([[1.0, 0.0]], [[0] * 1000])
    with pytest.raises(CheckerError, match="so few values show nothing"):
        values_of([stats.norm.cdf], [[0.1, 0.2]])


@pytest.mark.parametrize(
    ("reference", "answers", "kind", "told"),
    [
        ([[0.5, 0.4]], [[0, 1]], CheckerError, r"sum to 0\.9, not 1"),
        ([[1.5, -0.5]], [[0, 1]], CheckerError, "negative"),
        ([[math.nan, 1]], [[0, 1]], CheckerError, "NaN"),
        ([], [], CheckerError, "nothing to check"),
        ([[0.5, 0.5]], [[]], BadAnswer, "prompt 1 has 0 samples: 2 were asked for"),
        ([[0.5, 0.5]], [[0, 1, 1]], BadAnswer, "prompt 1 has 3 samples: 2 were asked for"),
        ([[0.5, 0.5]], [[0, 2]], BadAnswer, "prompt 1 holds token 2, of a vocabulary of 2"),
        ([[0.5, 0.5]], [[0, 0.5]], BadAnswer, "whole numbers"),
        ([[0.5, 0.5]], [], BadAnswer, "not answered"),
    ],
)
def test_samples_that_are_none(reference: object, answers: object, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        check_categories(reference, answers, samples=2)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(30, 200), st.integers(30, 200))
def test_distances_are_those_of_scipy(seed: int, many: int, others: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=many), rng.normal(size=others)
    one = values_of([stats.norm.cdf], [a])
    theirs = stats.kstest(a, "norm")
    assert one.statistics["largest distance seen"] == pytest.approx(theirs.statistic)
    assert one.statistics["smallest p-value, by Holm"] == pytest.approx(theirs.pvalue)
    two, other = values_of([a], [b], alpha=0.1), values_of([b], [a], alpha=0.1)
    assert two.statistics == pytest.approx(other.statistics)
    assert two.statistics["smallest p-value, by Holm"] == pytest.approx(stats.ks_2samp(a, b, method="exact").pvalue)


def test_the_same_values_pass() -> None:
    values = np.random.default_rng(0).normal(size=300)
    assert values_of([values, values], [values, values]).statistics["largest distance seen"] == 0


def test_right_values_fail_as_rarely_as_stated() -> None:
    rng = np.random.default_rng(31)
    runs = 400
    one = sum(not values_of([stats.norm.cdf] * 3, rng.normal(size=(3, 200)), alpha=0.05).passed for _ in range(runs))
    two = sum(
        not values_of(rng.normal(size=(2, 150)), rng.normal(size=(2, 100)), alpha=0.05).passed for _ in range(runs)
    )
    assert within(one, runs, 0.05)
    assert within(two, runs, 0.05)
    assert one > 0


@pytest.mark.parametrize("two", [False, True])
def test_wrong_values_fail_as_often_as_stated(two: bool) -> None:
    """Uniform values of which a share was moved to the lower half: as far off as the share, at one half."""
    effect, alpha = 0.15, 0.01
    samples = samples_needed(effect, alpha, 0.9)
    rng = np.random.default_rng(32)
    failed = 0
    for _ in range(200):
        values = rng.random(samples * 2 if two else samples)
        values = np.where(
            values < 0.5 + effect, values / (0.5 + effect) / 2, 0.5 + (values - 0.5 - effect) / (1 - 2 * effect)
        )
        reference = rng.random(samples * 3) if two else (lambda x: x)
        failed += not values_of([reference], [values], alpha=alpha).passed
    assert within(200 - failed, 200, 0.1)


def test_values_of_an_allowed_distance() -> None:
    rng = np.random.default_rng(33)
    near = rng.normal(0.12, size=5000)  # a distance of 0.048
    assert not values_of([stats.norm.cdf], [near]).passed
    assert values_of([stats.norm.cdf], [near], distance_allowed=0.05).passed
    assert values_of([rng.normal(size=5000)], [near], distance_allowed=0.06).passed
    far = rng.normal(0.5, size=5000)
    assert not values_of([stats.norm.cdf], [far], distance_allowed=0.03).passed
    assert not values_of([rng.normal(size=5000)], [far], distance_allowed=0.03).passed


def test_values_that_are_all_the_same_are_told() -> None:
    found = values_of([stats.norm.cdf], [[0.0] * 100])
    assert not found.passed
    assert "All values are equal." in found.feedback


@pytest.mark.parametrize(
    ("reference", "answers", "kind", "told"),
    [
        ([stats.norm.cdf], [[1.0, math.nan]], BadAnswer, "NaN"),
        ([stats.norm.cdf], [[1.0, math.inf]], BadAnswer, "infinity"),
        ([stats.norm.cdf], [[]], BadAnswer, "empty"),
        ([stats.norm.cdf], [[1.0]], BadAnswer, "group 1 has 1 values: 2 were asked for"),
        ([stats.norm.pdf], [[0.0, 1.0]], CheckerError, "no distribution function"),
        ([lambda x: x * 3], [[0.1, 0.9]], CheckerError, "no distribution function"),
        ([lambda x: x[:1]], [[0.1, 0.9]], CheckerError, "1 heights for 2 values"),
        ([[math.inf, 1.0]], [[0.1, 0.9]], CheckerError, "infinity"),
        ([], [], CheckerError, "nothing to check"),
    ],
)
def test_values_that_are_none(reference: object, answers: object, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        check_values(reference, answers, samples=2)  # type: ignore[arg-type]
