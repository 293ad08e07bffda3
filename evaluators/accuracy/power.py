"""How small a difference a check sees, and how many samples it takes to see one."""

from __future__ import annotations

import math
from functools import lru_cache

from evaluators.accuracy.check import Power
from evaluators.accuracy.given import inside, whole

POWER = 0.9
"""The probability for which checks state what they see."""


def share_power(items: int, least: float, unit: str) -> Power | None:
    """For the bound "at least ``least`` of the items": the true share of the others that fails with `POWER`.

    Exact (Clopper and Pearson's argument), for items that are drawn independently. None where nothing can fail.
    """
    from scipy.stats import beta

    needed = math.ceil(least * items - 1e-9)
    if needed <= 0:
        return None
    return Power(1 - float(beta.ppf(1 - POWER, needed, items - needed + 1)), f"a share of {unit}", POWER)


def samples_needed(effect: float, alpha: float, power: float, *, cells: int | None = None, prompts: int = 1) -> int:
    """Samples a prompt that a distribution test needs.

    A sampler that is off by ``effect`` on one of ``prompts`` prompts fails with a probability of at least ``power``;
    one that is right fails on any with at most ``alpha``.

    With ``cells`` the outcomes are that many categories (after pooling), and the effect is the total variation
    distance: the share of samples that would have to come out otherwise, 0 to 1. The noncentral chi-squared
    distribution is used (Cohen 1988), with the least favourable effect size, w = 2 x distance; it holds for expected
    counts of 5 and more. Without, values are continuous, and the effect is the largest distance between the two
    distribution functions; by Massart's and Hoeffding's inequalities, which hold for any number of samples.
    """
    inside("effect", effect)
    at_one = detectable(1, alpha, power, cells=cells, prompts=prompts)
    return math.ceil((at_one / effect) ** 2 - 1e-9)


def detectable(samples: int, alpha: float, power: float, *, cells: int | None = None, prompts: int = 1) -> float:
    """The smallest effect that so many samples see, as in `samples_needed`. Above 1: they see nothing."""
    whole("samples", samples)
    inside("alpha", alpha)
    inside("power", power)
    level = alpha / whole("prompts", prompts)
    if cells is None:
        return value_effect(samples, level, power)
    return category_effect(samples, level, power, whole("cells", cells, 2))


def value_effect(weight: float, level: float, power: float, two: bool = False) -> float:
    """The distance between distribution functions that a Kolmogorov-Smirnov test at ``level`` sees with ``power``.

    The empirical function is beyond sqrt(ln(2/level) / 2n) from a right one with at most ``level`` (Massart 1990), and
    at the point where a wrong one is off by d it is short of d by sqrt(ln(1/(1-power)) / 2n) with at most 1 - power
    (Hoeffding 1963). ``weight``: n, or nm / (n + m) of ``two`` samples, where e takes the place of 2 (Wei & Dudley
    2012).
    """
    critical = math.sqrt(math.log((math.e if two else 2) / level) / 2)
    return (critical + math.sqrt(math.log(1 / (1 - power)) / 2)) / math.sqrt(weight)


def category_effect(samples: int, level: float, power: float, cells: int, kl_allowed: float = 0.0) -> float:
    """The total variation distance that a chi-squared test over ``cells`` at ``level`` sees with ``power``.

    Among all differences of one distance, that which shifts every probability by the same share is the hardest to
    see: its w is twice the distance.
    """
    return math.sqrt(_noncentrality(cells - 1, level, power, 2 * samples * kl_allowed) / samples) / 2


@lru_cache(maxsize=256)
def _noncentrality(freedom: int, level: float, power: float, allowed: float) -> float:
    """That of the chi-squared distribution of which ``power`` lies beyond the ``level`` quantile of the one with
    ``allowed``."""
    from scipy.optimize import brentq
    from scipy.stats import ncx2

    critical = float(ncx2.isf(level, freedom, allowed))

    def short(noncentrality: float) -> float:
        return float(ncx2.sf(critical, freedom, noncentrality)) - power

    high = 1.0 + allowed
    while short(high) < 0:
        high *= 2
    return float(brentq(short, 0.0, high, xtol=1e-9)) if short(0.0) < 0 else 0.0
