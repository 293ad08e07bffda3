"""Teacher-forced agreement: log-probabilities, whole rows, the best few tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax, rel_entr

from evaluators.accuracy import (
    BadAnswer,
    CheckerError,
    check_logits,
    check_logprobs,
    check_topk,
    sampling_probabilities,
)

Array = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def rows(seed: int, prompts: int = 3, positions: int = 40, words: int = 30) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [3 * rng.normal(size=(positions, words)) for _ in range(prompts)]


def chosen(seed: int) -> list[Array]:
    """Log-probabilities of one token a position."""
    return [log_softmax(row, axis=1)[:, 0] for row in rows(seed)]


def moved(given: list[Array], by: float, seed: int = 5) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [part + by * rng.normal(size=part.shape) for part in given]


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_what_is_the_same_passes(seed: int) -> None:
    logprobs, logits = chosen(seed), rows(seed)
    assert check_logprobs(logprobs, logprobs, mean_max=0.0, max_max=0.0).passed
    found = check_logits(logits, [part + 5.0 for part in logits])  # a constant changes no probability
    assert found.passed
    assert found.statistics["mean KL"] == pytest.approx(0, abs=1e-12)
    few = [[dict(enumerate(log_softmax(row).tolist())) for row in part] for part in logits]
    assert check_topk(few, few, k=5, overlap_min=0.999, difference_max=0.0).passed
    assert check_topk(logits, few, k=5, overlap_min=0.999, difference_max=1e-9).passed


@settings(deadline=None, max_examples=40)
@given(seeds, st.floats(0.0, 2.0), st.floats(1.01, 3.0))
def test_further_off_is_never_better(seed: int, by: float, times: float) -> None:
    right = chosen(seed)
    near = [-abs(part) for part in moved(right, 0.0)]
    a = [np.minimum(r - by, 0) for r in near]
    b = [np.minimum(r - by * times, 0) for r in near]
    one, two = (check_logprobs(near, found, mean_max=0.1, max_max=0.5) for found in (a, b))
    for bound in ("mean difference", "largest difference", "worst prompt's mean difference"):
        assert one.statistics[bound] <= two.statistics[bound] + 1e-12
    assert one.passed or not two.passed


def test_divergence_grows_with_the_noise() -> None:
    right = rows(1)
    found = [check_logits(right, moved(right, by)).statistics for by in (0.0, 0.05, 0.2, 0.8, 3.0)]
    for name, sign in (("mean KL", 1), ("largest gap", 1), ("agreement of the best token", -1)):
        values = [sign * each[name] for each in found]
        assert values == sorted(values)


@settings(deadline=None, max_examples=40)
@given(seeds, st.floats(0.0, 1.0))
def test_differences_are_symmetric(seed: int, by: float) -> None:
    a = chosen(seed)
    b = [np.minimum(part, 0) for part in moved(a, by)]
    one, two = (check_logprobs(x, y, mean_max=0.01, max_max=0.01) for x, y in ((a, b), (b, a)))
    assert {n: v for n, v in one.statistics.items() if "constant" not in n} == {
        n: v for n, v in two.statistics.items() if "constant" not in n
    }


def test_divergence_is_that_of_scipy() -> None:
    right = rows(3)
    found = moved(right, 0.7)
    expected = [
        rel_entr(np.exp(log_softmax(p, axis=1)), np.exp(log_softmax(q, axis=1))).sum(axis=1)
        for p, q in zip(right, found, strict=True)
    ]
    told = check_logits(right, found).statistics
    assert told["mean KL"] == pytest.approx(np.concatenate(expected).mean(), rel=1e-9)
    assert told["worst prompt's mean KL"] == pytest.approx(max(part.mean() for part in expected), rel=1e-9)
    best = np.concatenate([p.argmax(1) == q.argmax(1) for p, q in zip(right, found, strict=True)])
    assert told["agreement of the best token"] == pytest.approx(best.mean())


def test_divergence_by_hand() -> None:
    """KL((1/2, 1/2) || (1/4, 3/4)) = ln 2 / 2 + ln(2/3) / 2."""
    told = check_logits([[[0.0, 0.0]], [[0.0, math.log(9)]]], [[[0.0, math.log(3)]], [[0.0, math.log(9)]]]).statistics
    assert told["worst prompt's mean KL"] == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert told["largest gap"] == 0.0


def test_large_vocabularies_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    right = rows(4)
    found = moved(right, 0.3)
    whole = check_logits(right, found)
    spoilt = [part.copy() for part in found]
    spoilt[2][39, 29] = np.nan
    monkeypatch.setattr("evaluators.accuracy.rows._BLOCK", 100)
    assert check_logits(right, found).statistics == pytest.approx(whole.statistics)
    with pytest.raises(BadAnswer, match="prompt 3 holds NaN"):
        check_logits(right, spoilt)


def test_ruled_out_tokens() -> None:
    mask = [[[0.0, 1.0, -math.inf], [2.0, 0.0, -math.inf]]]
    assert check_logits(mask, mask).passed
    assert check_logits(mask, [[[0.0, 1.0, -30.0], [2.0, 0.0, -30.0]]]).passed
    leaks = check_logits(mask, [[[0.0, 1.0, 5.0], [2.0, 0.0, -math.inf]]])
    assert leaks.statistics["largest gap"] == math.inf
    forgets = check_logits([[[0.0, 1.0, 0.0]]], [[[0.0, 1.0, -math.inf]]])
    assert (leaks.passed, forgets.passed) == (False, False)
    assert forgets.statistics["mean KL"] == math.inf
    assert "inf" in forgets.to_case()["detail"]  # type: ignore[operator]


def test_implementations_of_known_quality() -> None:
    """Noise that gives the divergence and the agreement measured of bfloat16 passes, that of a skipped layer not."""
    rng = np.random.default_rng(2)
    right = [np.sort(2.5 * rng.normal(size=(500, 200)), axis=1) for _ in range(2)]
    good, broken = check_logits(right, moved(right, 0.06)), check_logits(right, moved(right, 0.7))
    assert good.passed
    assert 0.001 < good.statistics["mean KL"] < 0.01
    assert not broken.passed
    assert 0.1 < broken.statistics["mean KL"] < 0.4
    assert good.power
    assert 0.08 < good.power.effect < 0.1


def test_a_bad_prompt_does_not_hide_among_many() -> None:
    right = rows(8, prompts=40)
    found = [*right[:-1], moved(right[-1:], 0.9)[0]]
    told = check_logits(right, found, best_min=0.5, gap_max=9)
    assert [bound.statistic for bound in told.bounds if not bound.kept] == ["worst prompt's mean KL"]
    assert "of prompt 40" in told.feedback


def test_a_bad_prompt_does_not_hide_among_many_scores() -> None:
    right = chosen(8) * 10
    found = [part.copy() for part in right]
    found[7] -= 0.4
    told = check_logprobs(right, found, mean_max=0.05, max_max=0.5)
    assert [bound.statistic for bound in told.bounds if not bound.kept] == ["worst prompt's mean difference"]
    assert "of prompt 8" in told.feedback


def test_a_nucleus_is_full_when_it_holds_its_share() -> None:
    assert sampling_probabilities([0.0, 0.0], top_p=0.5).tolist() == [1.0, 0.0]


def test_a_check_that_a_constant_passes_is_none() -> None:
    with pytest.raises(CheckerError, match="the same answer for every token would pass"):
        check_logprobs([[-1.0, -1.1, -0.9]], [[-1.0, -1.1, -0.9]], mean_max=0.2, max_max=0.2)
    with pytest.raises(CheckerError, match="equal logits for all tokens would pass"):
        check_logits([[[0.0, 0.1]]], [[[0.0, 0.1]]])


def test_feedback_says_where() -> None:
    right = [np.linspace(-5, -0.1, 50), np.linspace(-3, -1, 50)]
    found = [part.copy() for part in right]
    found[1][32:] -= 4
    told = check_logprobs(right, found, mean_max=0.05, max_max=0.5)
    assert "The worst is token 33 of prompt 2. In no prompt is one of the first 32 tokens beyond" in told.feedback
    same = check_logprobs(right, [np.full(50, -2.0)] * 2, mean_max=0.05, max_max=0.5)
    assert "the same number for every token" in same.feedback


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([[-1.0, -2.0]], "prompt 1 has 2 log-probabilities, for 3 tokens"),
        ([[-1.0, math.nan, -2.0]], "prompt 1 holds NaN 1 times, first at 1"),
        ([[-1.0, 0.5, -2.0]], "prompt 1 holds 0.5: no log-probability is above 0"),
        ([[]], "prompt 1 is empty"),
        ([], "prompt 1 was not answered"),
        ([["-1", "-2", "-3"]], "no array of numbers"),
        ([[-1, -2, -3], [-1]], "more answers"),
        ("none", "not a list"),
    ],
)
def test_log_probabilities_that_are_none(answers: object, told: str) -> None:
    with pytest.raises(BadAnswer, match=told):
        check_logprobs([[-1.0, -2.0, -7.0]], answers, mean_max=0.1, max_max=0.1)  # type: ignore[arg-type]


def test_infinitely_unlikely_fails() -> None:
    assert not check_logprobs([[-1.0, -2.0]], [[-1.0, -math.inf]], mean_max=0.1, max_max=0.1).passed


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ([[-1.0, -math.inf]], "holds an infinity"),
        ([[-1.0, 2.0]], "these are no log-probabilities"),
        ([[-1.0, math.nan]], "holds NaN"),
        ([], "nothing to check"),
    ],
)
def test_references_that_are_none(reference: list[list[float]], told: str) -> None:
    with pytest.raises(CheckerError, match=told):
        check_logprobs(reference, [[-1.0, -2.0]] * len(reference), mean_max=0.1, max_max=0.1)


def test_thresholds_that_are_none() -> None:
    right = rows(0)
    for change in ({"kl_mean_max": -1}, {"best_min": 2}, {"gap_max": math.nan}, {"prompt_factor": 0.5}):
        with pytest.raises(CheckerError):
            check_logits(right, right, **change)
    with pytest.raises(CheckerError):
        check_logprobs([[-1.0, -3.0]], [[-1.0, -3.0]], mean_max=math.inf, max_max=0.1)
    with pytest.raises(BadAnswer, match=r"logits of shape \(40, 29\): \(40, 30\)"):
        check_logits(right, [part[:, :-1] for part in right])
    with pytest.raises(BadAnswer, match="rules every token out, at row 0"):
        check_logits([[[0.0, 9.0]]], [[[-math.inf, -math.inf]]])
    with pytest.raises(BadAnswer, match="infinity"):
        check_logits([[[0.0, 9.0]]], [[[0.0, math.inf]]])


def test_best_few_by_hand() -> None:
    right = [[{"a": -0.5, "b": -1.5, "c": -2.0, "d": -2.05}, {"x": -0.1, "y": -4.0, "z": -5.0}]]
    found = [[{"a": -0.6, "b": -1.4, "d": -2.0}, {"y": -0.7, "x": -0.8, "q": -3.0}]]
    strict = check_topk(right, found, k=3, overlap_min=0.9, difference_max=10)
    assert strict.statistics["overlap of the best 3"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert strict.statistics["agreement of the best token"] == 0.5
    assert strict.statistics["largest difference"] == pytest.approx(3.3)
    assert "Prompt 1 is the worst" in strict.feedback
    lenient = check_topk(right, found, k=3, overlap_min=0.8, difference_max=10, tie_width=0.1, best_min=0.5)
    assert lenient.passed
    assert lenient.statistics["overlap of the best 3"] == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"a": -1.0}, "lists fewer than 2 tokens"),
        ({"a": -1.0, "b": math.nan}, "must be a number"),
        ({"a": -1.0, "b": "-2"}, "must be a number"),
        ({"a": -1.0, "b": 0.1}, "none is above 0"),
        ({"a": -math.inf, "b": -math.inf}, "rules every token out"),
        ({}, "lists no token"),
        (None, "no array of numbers"),
    ],
)
def test_rows_that_are_none(row: object, told: str) -> None:
    with pytest.raises(BadAnswer, match=f"prompt 1, position 1.*{told}"):
        check_topk([[{"a": -1.0, "b": -2.0}]], [[row]], k=2, overlap_min=0.5, difference_max=1)  # type: ignore[list-item]


@settings(deadline=None, max_examples=40)
@given(seeds, st.floats(0.2, 3), st.integers(0, 12), st.floats(0.05, 1))
def test_sampling_probabilities(seed: int, temperature: float, top_k: int, top_p: float) -> None:
    logits = np.random.default_rng(seed).normal(size=10)
    found = sampling_probabilities(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    plain = np.exp(log_softmax(logits / temperature))
    assert found.sum() == pytest.approx(1)
    kept = found > 0
    assert kept.sum() <= (top_k or 10)
    assert plain[kept].min() >= plain[~kept].max(initial=0)
    assert found[kept] == pytest.approx(plain[kept] / plain[kept].sum())
    within = np.sort(plain)[::-1][: top_k or 10]
    within /= within.sum()
    assert within[: kept.sum()].sum() >= top_p - 1e-9
    assert within[: kept.sum() - 1].sum() < top_p + 1e-9


@pytest.mark.parametrize(
    "change", [{"temperature": 0}, {"temperature": -1}, {"top_k": -1}, {"top_p": 0}, {"top_p": 1.5}]
)
def test_sampling_settings_that_are_none(change: dict[str, float]) -> None:
    with pytest.raises(CheckerError):
        sampling_probabilities([1.0, 2.0], **change)  # type: ignore[arg-type]
