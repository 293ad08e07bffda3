"""Whether samples come from the distribution that they should come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluators.accuracy.check import Bound, Check, Power
from evaluators.accuracy.given import (
    ROUNDING,
    Array,
    BadAnswer,
    CheckerError,
    expect,
    inside,
    number,
    pairs,
    reals,
    require,
    tokens,
    whole,
)
from evaluators.accuracy.holm import holm
from evaluators.accuracy.power import POWER, category_effect, value_effect

ALPHA = 0.001
EXPECTED_MIN = 5.0
"""Categories expected less often than this are pooled (Cochran 1954)."""
_EXCEEDING = 50
_CLEAR = 10
_SUSPECT = 0.05
_CERTAIN = 1e-30
_DRAWS = 2**22


@dataclass(frozen=True, slots=True)
class _Fit:
    """One prompt: its categories after pooling, and what stood out. ``rough`` is the chi-squared p-value."""

    chances: Array
    counts: NDArray[np.int64]
    rough: float
    blind: bool
    impossible: int
    distance: float
    worst: str


def check_categories(
    reference: Iterable[ArrayLike],
    answers: Iterable[object],
    *,
    samples: int,
    alpha: float = ALPHA,
    kl_allowed: float = 0.0,
    impossible_max: float = 0.0,
    name: str = "sampling",
) -> Check:
    """Sampled tokens against their probabilities: a distribution over all tokens a prompt, and a list of exactly as
    many ``samples`` as were asked for, since fewer would hide more.

    Pearson's chi-squared test a prompt, categories expected fewer than 5 times pooled, Holm's correction over the
    prompts: a right sampler fails with a probability of at most ``alpha``. As the chi-squared tail is too light where
    counts are small (several times, at 0.001), small p-values are drawn from the multinomial distribution itself
    (Besag & Clifford 1991), from a fixed seed. The samples must be independent.

    ``kl_allowed`` (nats): how far the candidate's probabilities themselves may be off; an implementation in bfloat16
    is, by 0.002 or more, and enough samples would show it. ``impossible_max``: share of samples that may have
    probability 0. Raises CheckerError where no prompt could tell a sampler that always takes the likeliest token.
    """
    whole("samples", samples)
    inside("alpha", alpha)
    number("kl_allowed", kl_allowed, 0)
    number("impossible_max", impossible_max, 0, 1)
    given: list[tuple[Array, NDArray[np.int64]]] = []
    for place, wanted, answer in pairs(reference, answers, "prompt"):
        chances = _chances(wanted, f"the probabilities of {place}")
        drawn = tokens(answer, place, BadAnswer)
        expect(len(drawn) == samples, f"{place} has {len(drawn)} samples: {samples} were asked for")
        strange = max(drawn)
        expect(strange < len(chances), f"{place} holds token {strange}, of a vocabulary of {len(chances)}")
        given.append((chances, np.bincount(drawn, minlength=len(chances))))
    level = alpha / len(given)
    fits = [_fit(chances, counts, level, kl_allowed) for chances, counts in given]
    require(
        not all(fit.blind for fit in fits),
        f"{name}: even a sampler that always takes the likeliest token would pass: more samples, or prompts whose "
        "next token is less certain",
    )
    p_values = _p_values(fits, level, kl_allowed)
    adjusted = holm(p_values)
    total = samples * len(fits)
    impossible = sum(fit.impossible for fit in fits)
    bounds = (
        Bound("smallest p-value, by Holm", min(adjusted), alpha, least=True),
        Bound("share of impossible samples", impossible / total, impossible_max),
    )
    seeing = [fit for fit in fits if not fit.blind]
    effect = max(category_effect(samples, level, POWER, len(fit.chances), kl_allowed) for fit in seeing)
    power = Power(effect, "a total variation distance", POWER, alpha)
    feedback = f"{total} samples of {len(fits)} prompts fit their distributions."
    if not all(bound.kept for bound in bounds):
        feedback = _blame(fits, p_values, adjusted, alpha, impossible)
    figures = {"largest distance seen": max(fit.distance for fit in fits)}
    return Check(name, bounds, total, f"samples of {len(fits)} prompts", feedback, figures, power)


def _chances(value: ArrayLike, who: str) -> Array:
    found = reals(value, who, CheckerError, 1)
    require(bool(np.isfinite(found).all()) and bool((found >= 0).all()), f"{who} hold a negative number or infinity")
    total = float(found.sum())
    require(abs(total - 1) <= ROUNDING, f"{who} sum to {total:.8g}, not 1")
    result: Array = found / total
    return result


def pooled(chances: Array, counts: NDArray[np.int64], least: float = EXPECTED_MIN) -> tuple[Array, NDArray[np.int64]]:
    """Categories with all that are expected less than ``least`` times put together, rarest first, until the pool is
    large enough; those of probability 0 left out."""
    possible = chances > 0
    order = np.argsort(chances[possible], kind="stable")
    p, n = chances[possible][order], counts[possible][order]
    small = int((p * int(counts.sum()) < least).sum())
    if not small:
        return p, n
    enough = np.cumsum(p) * int(counts.sum()) >= least
    cut = max(small, int(np.argmax(enough)) + 1 if enough.any() else len(p))
    return np.append(p[cut:], p[:cut].sum()), np.append(n[cut:], n[:cut].sum())


def _fit(chances: Array, counts: NDArray[np.int64], level: float, kl_allowed: float) -> _Fit:
    total = int(counts.sum())
    impossible = int(counts[chances == 0].sum())
    p, n = pooled(chances, counts)
    constant = np.where(np.arange(len(p)) == int(p.argmax()), total, 0)
    blind = len(p) < 2 or rough_p_value(p, constant, kl_allowed) > level
    if len(p) < 2 or n.sum() == 0:
        return _Fit(p, n, 1.0, blind, impossible, 0.0, "")
    residual = (counts - total * chances) / np.sqrt(np.maximum(total * chances, EXPECTED_MIN))
    worst = int(np.abs(residual).argmax())
    told = f"token {worst} comes too {'often' if residual[worst] > 0 else 'rarely'}"
    distance = float(np.abs(n / n.sum() - p).sum()) / 2
    return _Fit(p, n, rough_p_value(p, n, kl_allowed), blind, impossible, distance, told)


def _p_values(fits: Sequence[_Fit], level: float, kl_allowed: float) -> list[float]:
    """Of each prompt. Once one fails for certain, the rough ones of the rest do: they change nothing any more."""
    p_values = [fit.rough for fit in fits]
    for index in sorted(range(len(fits)), key=lambda index: fits[index].rough):
        if fits[index].rough < 1.0:
            p_values[index] = fit_p_value(fits[index].chances, fits[index].counts, level, kl_allowed)
            if p_values[index] < level:
                break
    return p_values


def chi_squared(chances: Array, counts: NDArray[np.int64]) -> float:
    """Pearson's statistic of ``counts`` over categories with probabilities ``chances``, all above 0."""
    expected = chances * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


def rough_p_value(chances: Array, counts: NDArray[np.int64], kl_allowed: float = 0.0) -> float:
    """The tail of the chi-squared distribution beyond `chi_squared`; noncentral, with what ``kl_allowed`` explains."""
    from scipy.stats import ncx2

    found = chi_squared(chances, counts)
    return float(ncx2.sf(found, len(chances) - 1, 2 * int(counts.sum()) * kl_allowed))


def fit_p_value(chances: Array, counts: NDArray[np.int64], level: float, kl_allowed: float = 0.0) -> float:
    """The probability of a chi-squared statistic at least as large, if the categories have these ``chances``.

    With ``kl_allowed``, if they have the probabilities on the way from ``chances`` to the observed shares at which the
    divergence reaches it. Above 0.05 the chi-squared distribution is used, which is good enough there; below 1e-30
    too, where nothing depends on it. In between, samples are drawn until 50 are at least as extreme, or until it is
    clear that the p-value is below ``level``: 10 were to be expected, and there was 1 at most.
    """
    total = int(counts.sum())
    found = chi_squared(chances, counts)
    rough = rough_p_value(chances, counts, kl_allowed)
    if rough > max(_SUSPECT, 2 * level) or rough < _CERTAIN:
        return rough
    null = _towards(chances, counts / total, kl_allowed)
    rng = np.random.default_rng(0)
    expected = chances * total
    drawn = exceeding = 0
    while drawn < _EXCEEDING / level and not (exceeding <= 1 and drawn >= _CLEAR / level):
        size = min(max(1000, drawn), max(1, _DRAWS // len(chances)))
        samples = rng.multinomial(total, null, size=size)
        extreme = ((samples - expected) ** 2 / expected).sum(axis=1) >= found * (1 - 1e-12)
        late = np.flatnonzero(extreme.cumsum() + exceeding >= _EXCEEDING)
        if len(late):
            return _EXCEEDING / (drawn + int(late[0]) + 1)
        drawn, exceeding = drawn + size, exceeding + int(extreme.sum())
    return (exceeding + 1) / (drawn + 1)


def _towards(chances: Array, shares: Array, kl_allowed: float) -> Array:
    """From ``chances`` towards ``shares`` until KL(chances || there) is ``kl_allowed``."""
    from scipy.optimize import brentq

    def beyond(part: float) -> float:
        return float((chances * np.log(chances / (chances + part * (shares - chances)))).sum()) - kl_allowed

    if kl_allowed == 0:
        return chances
    near = 1 - 1e-12
    part = near if beyond(near) <= 0 else float(brentq(beyond, 0.0, near, xtol=1e-12))
    mixed: Array = chances + part * (shares - chances)
    mixed /= mixed.sum()
    return mixed


def _blame(
    fits: Sequence[_Fit], p_values: Sequence[float], adjusted: Sequence[float], alpha: float, impossible: int
) -> str:
    told = []
    wrong = [index for index, p in enumerate(adjusted) if p < alpha]
    if wrong:
        worst = min(wrong, key=lambda index: (p_values[index], -fits[index].distance))
        told.append(
            f"The samples of {len(wrong)} of {len(fits)} prompts do not come from the right distribution (p = "
            f"{p_values[worst]:.2g} for prompt {worst + 1}, where {fits[worst].worst}). Look at temperature, "
            "truncation (top-k, top-p) and seeds that repeat."
        )
    if impossible:
        told.append(f"{impossible} samples are tokens that the settings rule out: the truncation is not applied.")
    return " ".join(told)


def check_values(
    reference: Iterable[Callable[[Array], ArrayLike] | ArrayLike],
    answers: Iterable[ArrayLike],
    *,
    samples: int,
    alpha: float = ALPHA,
    distance_allowed: float = 0.0,
    name: str = "distribution",
) -> Check:
    """Continuous values against a distribution: of each group either its cumulative distribution function (given an
    array, returns one), or values drawn from the reference; and as many ``samples`` of the candidate as were asked for.

    The Kolmogorov-Smirnov test, exact up to 1,000 values, with Holm's correction over the groups: right values fail
    with a probability of at most ``alpha``. ``distance_allowed`` (0 to 1) is taken off the largest distance between the
    distribution functions first. Values must be independent; equal ones make the test err towards passing.
    """
    whole("samples", samples)
    inside("alpha", alpha)
    number("distance_allowed", distance_allowed, 0, 1)
    p_values: list[float] = []
    distances: list[float] = []
    effects: list[tuple[float, bool]] = []
    constant = True
    for place, wanted, answer in pairs(reference, answers, "group"):
        values = reals(answer, place, BadAnswer, 1)
        expect(bool(np.isfinite(values).all()), f"{place} holds an infinity")
        expect(len(values) == samples, f"{place} has {len(values)} values: {samples} were asked for")
        distance, p, weight = _ks(wanted, values, distance_allowed, f"the reference of {place}")
        constant = constant and bool((values == values[0]).all())
        distances.append(distance)
        p_values.append(p)
        effects.append((weight, not callable(wanted)))
    adjusted = holm(p_values)
    level = alpha / len(p_values)
    seen = max(value_effect(weight, level, POWER, two) for weight, two in effects) + distance_allowed
    require(
        seen < 1,
        f"{name}: so few values show nothing (only a distance of {seen:.2g}, and none is above 1): take more, see "
        "samples_needed",
    )
    bounds = (Bound("smallest p-value, by Holm", min(adjusted), alpha, least=True),)
    feedback = f"{samples} values of each of {len(p_values)} groups fit their distributions."
    if not bounds[0].kept:
        worst = min(range(len(p_values)), key=lambda index: (p_values[index], -distances[index]))
        feedback = (
            f"The values of {sum(p < alpha for p in adjusted)} of {len(p_values)} groups do not come from the right "
            f"distribution: that of group {worst + 1} is off by {distances[worst]:.3g} at its worst point (p = "
            f"{p_values[worst]:.2g}, {samples} values).{' All values are equal.' if constant else ''}"
        )
    power = Power(seen, "a distance between distribution functions", POWER, alpha)
    figures = {"largest distance seen": max(distances)}
    return Check(name, bounds, samples * len(p_values), f"values of {len(p_values)} groups", feedback, figures, power)


_EXACT = 1000


def _ks(
    wanted: Callable[[Array], ArrayLike] | ArrayLike, values: Array, allowed: float, who: str
) -> tuple[float, float, float]:
    """The distance, its p-value, and how many values of one sample these are worth."""
    from scipy import stats

    if callable(wanted):
        ordered = np.sort(values)
        heights = reals(wanted(ordered), who, CheckerError, 1)
        require(len(heights) == len(values), f"{who} gives {len(heights)} heights for {len(values)} values")
        require(
            bool(((heights >= 0) & (heights <= 1)).all()) and bool((np.diff(heights) >= 0).all()),
            f"{who} is no distribution function: it must rise, from 0 to 1",
        )
        steps = np.arange(len(values) + 1) / len(values)
        distance = float(max((steps[1:] - heights).max(), (heights - steps[:-1]).max()))
        return distance, float(stats.kstwo.sf(max(0.0, distance - allowed), len(values))), float(len(values))
    others = reals(wanted, who, CheckerError, 1)
    require(bool(np.isfinite(others).all()), f"{who} holds an infinity")
    few = max(len(others), len(values)) <= _EXACT
    found = stats.ks_2samp(values, others, method="exact" if few else "asymp")
    weight = len(values) * len(others) / (len(values) + len(others))
    distance, p = float(found.statistic), float(found.pvalue)
    if allowed:
        p = min(1.0, math.e * math.exp(-2 * weight * max(0.0, distance - allowed) ** 2))
    return distance, p, weight
