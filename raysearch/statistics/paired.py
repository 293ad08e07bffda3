"""A sequential test of interleaved pairs that may be looked at, and stopped, after every one of them.

If candidate and incumbent are the same program, and a coin decides which of them is measured first, then the gap
between them is as likely ``d`` as ``-d``, whatever the noise: bursts, drift and heavy tails included. For any odd
function ``f`` chosen before the gap is known, ``exp(f(d)) / cosh(f(d)) = 1 + tanh(f(d))`` is then 1 on average, and the
running product of such factors an e-process: the chance that it ever reaches ``1 / alpha`` is at most ``alpha`` (Ville
1939; de la Peña 1999; Ramdas, Ruf, Larsson and Koolen 2020). Here ``f`` is linear in the gap, in units of a robust
spread of the gaps seen before, and flat beyond `CLIP` of them (Huber 1964), so that a burst costs little. Products for
several slopes are averaged (a mixture), from half to 64 times the slope that suits the smallest gain worth claiming.

If the candidate is faster by a constant factor, gaps are symmetric about its logarithm. The same test with the gaps
shifted by ``theta`` therefore refutes ``theta``, and since ``f`` never falls, what it does not refute is an interval: a
confidence sequence, which holds at all times at once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from raysearch.statistics.claims import Claim, Incomparable, finite, spread

Verdict = Literal["better", "worse", "no_worthwhile_gain", "unsettled"]

BETS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0)
"""Slopes of the mixture, in units of the smallest gain over the spread."""
WEIGHTS = (0.1, 0.5, 0.2, 0.1, 0.05, 0.025, 0.025)
LOG_WEIGHTS = tuple(math.log(weight) for weight in WEIGHTS)
BET_MAX = 1.0
CLIP = 1.5
"""Beyond so many spreads a gap counts no more."""
LEARN = 4
"""Gaps that only teach the spread: nothing is bet on them."""
TINY = 0.1
"""The smallest gain over the spread where any gain is worth claiming."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How much gaps vary, and the mixture's slopes for it."""

    size: float
    slopes: tuple[float, ...]
    """Per ``size``. None is steeper than `BET_MAX`, so that a factor stays above 0.09."""

    @classmethod
    def of(cls, size: float, threshold: float) -> Spread:
        """For gaps that vary by ``size`` where a gain of ``threshold`` is worth claiming."""
        unit = BET_MAX if size == 0 else (threshold / size if threshold > 0 else TINY)
        return cls(size, tuple(min(bet * unit, BET_MAX) for bet in BETS))


class PairedTest:
    """The evidence about one claim, pair by pair.

    ``block`` pairs make one gap, their mean: with 2, and orders from `raysearch.statistics.duel.orders`, a block is
    measured ABBA or BAAB, so that a drift cancels. Evidence moves when a block is full.
    """

    __slots__ = ("_bets", "_better", "_block", "_futile", "_gaps", "_learn", "_open", "_spread", "_worse", "claim")

    def __init__(self, claim: Claim, *, block: int = 2) -> None:
        if block < 1:
            raise ValueError(f"a block of {block} pairs; it must have 1 or more")
        self.claim = claim
        self._block = block
        self._open: list[float] = []
        self._gaps: list[float] = []
        self._learn = LEARN  # gaps at which the spread is next taken
        self._spread: Spread | None = None
        self._bets: list[tuple[float, Spread]] = []
        """Each gap on which something was bet, with the spread of those before it."""
        self._better = [0.0] * len(BETS)  # logarithms of the products
        self._worse = [0.0] * len(BETS)
        self._futile = [0.0] * len(BETS)

    def add(self, a: float, b: float) -> None:
        """One pair: what the candidate and what the incumbent had. Raises `Incomparable` if one is not finite."""
        finite((a, b), f"pair {self.pairs + len(self._open) + 1} of {self.claim.name!r}")
        self._open.append(self.claim.gap(a, b))
        if len(self._open) == self._block:
            self._close()

    def _close(self) -> None:
        gap = mean_gap(self._open)
        self._open.clear()
        if self._spread is not None:
            self._bets.append((gap, self._spread))
            above = score(gap, self._spread.size)
            below = score(self.claim.threshold - gap, self._spread.size)
            for index, slope in enumerate(self._spread.slopes):
                tilt = math.tanh(slope * above)
                self._better[index] += math.log1p(tilt)
                self._worse[index] += math.log1p(-tilt)
                self._futile[index] += math.log1p(math.tanh(slope * below))
        self._gaps.append(gap)
        if len(self._gaps) == self._learn:
            self._learn = max(self._learn + 1, self._learn * 5 // 4)
            self._spread = Spread.of(spread(self._gaps), self.claim.threshold)

    @property
    def pairs(self) -> int:
        """Pairs that count: those in full blocks."""
        return len(self._gaps) * self._block

    @property
    def e_better(self) -> float:
        """Evidence (1: none) against "not better"."""
        return mixed(self._better)

    @property
    def e_worse(self) -> float:
        """Evidence (1: none) against "not worse"."""
        return mixed(self._worse)

    @property
    def e_futile(self) -> float:
        """Evidence (1: none) against "better by the smallest gain worth claiming, or more"."""
        return mixed(self._futile)

    @property
    def effect(self) -> float:
        """The gain as it looks: from the mean of the gaps without the upper and lower fifth. 0 without pairs.

        Where the test stopped early, it looks larger than it is: the interval holds all the same.
        """
        if not self._gaps:
            return 0.0
        cut = len(self._gaps) // 5
        return self.claim.effect(mean_gap(sorted(self._gaps)[cut : len(self._gaps) - cut]))

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Where the gain lies: with probability ``1 - alpha`` it is in all intervals of one test, at whatever time.

        Infinite ends where the pairs exclude nothing. Does not become narrower than about the smallest gain. Takes
        milliseconds for hundreds of pairs, for it goes through all of them.
        """
        low = refuted(self._bets, alpha / 2)
        high = -refuted([(-gap, before) for gap, before in self._bets], alpha / 2)
        return self.claim.effect(low), self.claim.effect(high)

    def verdict(self, alpha: float = 0.01, miss: float = 0.03) -> Verdict:
        """What is settled.

        ``better``, ``worse``: a program that is not so is called so with probability ``alpha`` at most, however often
        one looks. ``no_worthwhile_gain``: a gain of `Claim.min_effect` or more is excluded, wrongly with probability
        ``miss`` at most; comes before ``better``, for a gain may be real and too small.
        """
        if self.e_worse >= 1 / alpha:
            return "worse"
        if self.e_futile >= 1 / miss:
            return "no_worthwhile_gain"
        return "better" if self.e_better >= 1 / alpha else "unsettled"


class ExactTest:
    """`PairedTest` for a claim that is declared deterministic: the first pair settles it, any further must agree."""

    __slots__ = ("_pair", "claim", "pairs")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.pairs = 0
        self._pair: tuple[float, float] | None = None

    def add(self, a: float, b: float) -> None:
        """One pair. Raises `Incomparable` if a value is not finite, or not what it was in the pair before."""
        finite((a, b), f"pair {self.pairs + 1} of {self.claim.name!r}")
        if self._pair is not None and self._pair != (a, b):
            raise Incomparable(
                f"{self.claim.name!r} is declared deterministic, but one program had {self._pair[0]} and then {a}, the "
                f"other {self._pair[1]} and then {b}; declare it as measured with noise"
            )
        self._pair = (a, b)
        self.pairs += 1

    @property
    def _gap(self) -> float:
        return 0.0 if self._pair is None else self.claim.gap(*self._pair)

    @property
    def e_better(self) -> float:
        """The largest float where it is better, 0 where it is not, 1 without pairs."""
        return certain(self._gap > 0, self.pairs)

    @property
    def e_worse(self) -> float:
        """The largest float where it is worse, 0 where it is not, 1 without pairs."""
        return certain(self._gap < 0, self.pairs)

    @property
    def e_futile(self) -> float:
        """The largest float where there is no gain, or one too small; 0 where it is large enough, 1 without pairs."""
        return certain(self._gap <= 0 or self._gap < self.claim.threshold, self.pairs)

    @property
    def effect(self) -> float:
        """The gain."""
        return self.claim.effect(self._gap)

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:  # noqa: ARG002 - as `PairedTest`
        """The gain, twice; infinite ends without pairs. ``alpha`` changes nothing."""
        return (self.effect, self.effect) if self.pairs else (-math.inf, math.inf)

    def verdict(self, alpha: float = 0.01, miss: float = 0.03) -> Verdict:  # noqa: ARG002 - as `PairedTest`
        """What is so, without error: ``alpha`` and ``miss`` change nothing."""
        if self._pair is None:
            return "unsettled"
        if self._gap < 0:
            return "worse"
        return "no_worthwhile_gain" if self.e_futile > 1 else "better"


def refuted(bets: Sequence[tuple[float, Spread]], alpha: float) -> float:
    """The largest shift for which the gaps are too high to be symmetric about it; minus infinity without one."""
    known = [gap for gap, _ in bets if math.isfinite(gap)]
    if not known:
        return -math.inf
    reach = CLIP * max(before.size for _, before in bets)
    # A step further out, for spreads of 0, with which a gap that is the shift itself says nothing.
    low = math.nextafter(min(known) - reach, -math.inf)
    high = math.nextafter(max(known) + reach, math.inf)

    def evidence(shift: float) -> float:
        logs = [0.0] * len(BETS)
        for gap, before in bets:
            away = score(gap - shift, before.size)
            for index, slope in enumerate(before.slopes):
                logs[index] += math.log1p(math.tanh(slope * away))
        return mixed(logs)

    if evidence(low) < 1 / alpha:
        return -math.inf
    if evidence(high) >= 1 / alpha:  # so many gaps without a ratio that no shift explains them
        return high
    while high - low > 1e-6 * reach and low < (middle := low + (high - low) / 2) < high:
        low, high = (middle, high) if evidence(middle) >= 1 / alpha else (low, middle)
    return low


def score(gap: float, spread: float) -> float:
    """``gap`` in units of ``spread``, at most `CLIP` of them; odd, and never falling."""
    if gap == 0:
        return 0.0
    return max(-CLIP, min(CLIP, gap / spread)) if spread > 0 else math.copysign(CLIP, gap)


def mixed(logs: Sequence[float]) -> float:
    """The weighted mean of products whose logarithms are given, at most the largest float."""
    highest = max(logs)
    total = highest + math.log(
        sum(math.exp(log - highest + weight) for log, weight in zip(logs, LOG_WEIGHTS, strict=True))
    )
    return math.exp(total) if total < 709 else sys.float_info.max


def mean_gap(gaps: Sequence[float]) -> float:
    """The mean; where some are infinite, the sign of most of those, 0 if they balance."""
    if any(math.isinf(gap) for gap in gaps):
        balance = sum(math.copysign(1.0, gap) for gap in gaps if math.isinf(gap))
        return math.copysign(math.inf, balance) if balance else 0.0
    return math.fsum(gap / len(gaps) for gap in gaps)


def certain(true: bool, pairs: int) -> float:
    """An e-value without doubt."""
    return (sys.float_info.max if true else 0.0) if pairs else 1.0
