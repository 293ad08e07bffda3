"""A sequential test of runs in turns that may be looked at, and stopped, after every one of them.

In each turn a coin decides which of two programs is run first. If they are the same program, then what the turn shows
says nothing of how the coin fell, whatever the noise: bursts, drift and heavy tails included. So a bet on the coin that
is made before it is known, ``1 + tanh(f)`` where it fell as ``f`` says and ``1 - tanh(f)`` where not, is 1 on average,
and the running product of such factors an e-process: the chance that it ever reaches ``1 / alpha`` is at most ``alpha``
(Ville 1939; de la Peña 1999; Ramdas, Ruf, Larsson and Koolen 2020). A turn is one of two kinds, and which is known
before it begins:

- a *pair*: both programs are run, and the bet is on the gap between them, less what running first was seen to do;
- one run *alone*, of whichever the coin says. Where all values of the two lie apart, a single one tells which program
  it is of, and the second run would add nothing. The gap is then twice the distance from the middle between the two.

No test that holds for all noise can more than double its evidence with a coin. A pair has one, and so has a run alone:
what is obvious costs about as many runs as the binary logarithm of one over ``alpha``.

``f`` is linear in the gap, in units of a robust spread of the gaps seen before, and flat beyond `CLIP` of them (Huber
1964), so that a burst costs little. Products for several slopes are averaged (a mixture): from half to 16 times the
slope that suits the smallest gain worth claiming, and the steepest, which is all that bets until a spread is known.

If the candidate is faster by a constant factor, gaps are symmetric about its logarithm. The same test with the gaps
shifted by ``theta`` therefore refutes ``theta``, and since ``f`` never falls, what it does not refute is an interval: a
confidence sequence, which holds at all times at once.
"""

from __future__ import annotations

import math
import sys
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from raysearch.statistics.claims import Claim, Incomparable, finite, median, spread

Verdict = Literal["better", "worse", "no_worthwhile_gain", "unsettled"]

BETS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Slopes of the mixture, in units of the smallest gain over the spread."""
WEIGHTS = (0.05, 0.45, 0.15, 0.1, 0.06, 0.06, 0.13)
"""Of `BETS`, and last of `STEEPEST`."""
LOG_WEIGHTS = tuple(math.log(weight) for weight in WEIGHTS)
BET_MAX = 1.0
STEEPEST = 2.0
CLIP = 1.5
"""Beyond so many spreads a gap counts no more."""
LEARN = 3
"""Pairs from which a spread is first taken."""
TINY = 0.1
"""The smallest gain over the spread where any gain is worth claiming."""
MISS = 0.03
"""Chance that a gain just worth claiming is given up."""
TINIEST = sys.float_info.min
VAIN_AFTER = 20
"""Bets before what is to come is foretold."""
ALONE_AFTER = 2
"""So many values of both programs before one run alone may tell which it is of."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How much gaps vary, and the mixture's slopes for it."""

    size: float
    slopes: tuple[float, ...]
    """Per ``size``. None is steeper than `STEEPEST`, so that a factor stays above 0.004."""

    @classmethod
    def of(cls, size: float, threshold: float) -> Spread:
        """For gaps that vary by ``size`` where a gain of ``threshold`` is worth claiming."""
        unit = BET_MAX if size == 0 else (threshold / size if threshold > 0 else TINY)
        return cls(size, (*(min(bet * unit, BET_MAX) for bet in BETS), STEEPEST))


UNKNOWN = Spread(0.0, (*(0.0 for _ in BETS), STEEPEST))
"""Only the sign of a gap counts, for the steepest."""


class PairedTest:
    """The evidence about one claim, turn by turn; turns as `raysearch.statistics.duel.orders` draws them."""

    __slots__ = (
        "_bets", "_better", "_first", "_futile", "_learn", "_pairs", "_spread", "_values", "_worse",
        "claim", "runs",
    )  # fmt: skip

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.runs = 0
        self._pairs: list[tuple[float, bool]] = []
        """Gaps as they were, and whether the candidate was first."""

        self._first = 0.0  # what running first adds to the gap
        self._learn = LEARN  # pairs at which the spread is next taken
        self._spread = UNKNOWN
        self._values: tuple[list[float], list[float]] = ([], [])
        """The candidate's and the incumbent's, each in order of size."""
        self._bets: list[tuple[float, Spread]] = []
        """Each gap, with the spread of those before it."""
        self._better = [0.0] * len(WEIGHTS)  # logarithms of the products
        self._worse = [0.0] * len(WEIGHTS)
        self._futile = [0.0] * len(WEIGHTS)

    def add(self, a: float, b: float, first: bool = True) -> None:
        """One pair: what the candidate and what the incumbent had, and whether the candidate was ``first``.

        Raises `Incomparable` if one is not finite.
        """
        finite((a, b), f"pair {self.pairs + 1} of {self.claim.name!r}")
        gap = self.claim.gap(a, b)
        self._bet(gap - self._first if first else gap + self._first, self._spread)
        self._pairs.append((gap, first))
        insort(self._values[0], a)
        insort(self._values[1], b)
        self.runs += 2
        if len(self._pairs) == self._learn:
            self._learn = max(self._learn + 1, self._learn * 5 // 4)
            self._first, size = position(self._pairs)
            self._spread = Spread.of(size, self.claim.threshold)

    def add_alone(self, value: float, own: bool) -> None:
        """One run, of the candidate (``own``) or the incumbent, after `apart` said that it is enough.

        Raises `Incomparable` if it is not finite; ValueError before both have values.
        """
        finite((value,), f"pair {self.pairs + 1} of {self.claim.name!r}")
        if not all(self._values):
            raise ValueError("a run alone comes after a pair")
        twice = math.fsum(self.claim.gap(value, values[(len(values) - 1) // 2]) for values in self._values)
        known = self._spread is not UNKNOWN
        before = Spread.of(self._spread.size * math.sqrt(2), self.claim.threshold) if known else UNKNOWN
        self._bet(twice if own else -twice, before)
        insort(self._values[0 if own else 1], value)
        self.runs += 1

    @property
    def apart(self) -> bool:
        """Whether the values of the two programs lie farther from each other than any from its own program's."""
        a, b = self._values
        if min(len(a), len(b)) < ALONE_AFTER or (a[0] <= b[-1] and b[0] <= a[-1]):
            return False
        between = abs(self.claim.gap(a[0], b[-1]) if a[0] > b[-1] else self.claim.gap(b[0], a[-1]))
        return math.isfinite(between) and between >= max(abs(self.claim.gap(own[-1], own[0])) for own in (a, b))

    def _bet(self, gap: float, before: Spread) -> None:

        self._bets.append((gap, before))
        above = score(gap, before.size)
        below = score(self.claim.threshold - gap, before.size)
        for index, slope in enumerate(before.slopes):
            tilt = math.tanh(slope * above)
            self._better[index] += math.log1p(tilt)
            self._worse[index] += math.log1p(-tilt)
            self._futile[index] += math.log1p(math.tanh(slope * below))

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
    def pairs(self) -> int:
        """Half the runs, rounded up."""
        return (self.runs + 1) // 2

    @property
    def effect(self) -> float:
        """The gain as it looks: from the mean of the gaps without the upper and lower fifth. 0 without pairs.

        Where the test stopped early, it looks larger than it is: the interval holds all the same.
        """
        if not self._bets:
            return 0.0
        gaps = sorted(gap for gap, _ in self._bets)
        cut = len(gaps) // 5
        return self.claim.effect(mean_gap(gaps[cut : len(gaps) - cut]))

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Where the gain lies: with probability ``1 - alpha`` it is in all intervals of one test, at whatever time.

        Infinite ends where the pairs exclude nothing. Does not become narrower than about the smallest gain. Takes
        milliseconds for hundreds of pairs, for it goes through all of them.
        """
        low = refuted(self._bets, alpha / 2)
        high = -refuted([(-gap, before) for gap, before in self._bets], alpha / 2)
        return self.claim.effect(low), self.claim.effect(high)

    def verdict(self, alpha: float = 0.01, miss: float = MISS) -> Verdict:
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

    def vain(self, alpha: float, miss: float, left: int) -> bool:
        """Whether ``left`` more pairs will hardly settle it, as far as those before tell.

        A bet of the right slope gains half the squared ratio of gap and spread at best, in logarithms. The gap is taken
        to be as large, and then as small, as two of its standard errors allow. Stopping early adds no error of the
        first kind (stochastic curtailment: Lan, Simon and Halperin 1982).
        """
        if len(self._bets) < VAIN_AFTER or self._spread.size <= 0 or not self.claim.threshold > 0:
            return False
        gaps = sorted(gap for gap, _ in self._bets)
        cut, size = len(gaps) // 5, self._spread.size
        middle, doubt = mean_gap(gaps[cut : len(gaps) - cut]), 2 * size / math.sqrt(len(gaps))
        ways = (
            (middle + doubt, math.log(1 / alpha) - math.log(max(self.e_better, TINIEST))),
            (self.claim.threshold - (middle - doubt), math.log(1 / miss) - math.log(max(self.e_futile, TINIEST))),
        )
        return all(gap <= 0 or left * (gap / size) ** 2 / 2 < needed for gap, needed in ways)


class ExactTest:
    """`PairedTest` for a claim that is declared deterministic: the first pair settles it, any further must agree."""

    __slots__ = ("_pair", "claim", "runs")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.runs = 0
        self._pair: tuple[float, float] | None = None

    apart = False
    """One pair settles it."""

    def add_alone(self, value: float, own: bool) -> None:
        """One run, of the candidate (``own``) or the incumbent. Raises as `add`; ValueError before a pair."""
        if self._pair is None:
            raise ValueError("a run alone comes after a pair")
        self._agree((value, self._pair[1]) if own else (self._pair[0], value))
        self.runs += 1

    def add(self, a: float, b: float, first: bool = True) -> None:  # noqa: ARG002 - as `PairedTest`
        """One pair. Raises `Incomparable` if a value is not finite, or not what it was in the pair before."""
        self._agree((a, b))
        self.runs += 2

    @property
    def pairs(self) -> int:
        """Half the runs, rounded up."""
        return (self.runs + 1) // 2

    def _agree(self, pair: tuple[float, float]) -> None:
        a, b = pair
        finite(pair, f"pair {self.pairs + 1} of {self.claim.name!r}")
        if self._pair is not None and self._pair != (a, b):
            raise Incomparable(
                f"{self.claim.name!r} is declared deterministic, but one program had {self._pair[0]} and then {a}, the "
                f"other {self._pair[1]} and then {b}; declare it as measured with noise"
            )
        self._pair = (a, b)

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

    def vain(self, alpha: float, miss: float, left: int) -> bool:  # noqa: ARG002 - as `PairedTest`
        """Never."""
        return False

    @property
    def effect(self) -> float:
        """The gain."""
        return self.claim.effect(self._gap)

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:  # noqa: ARG002 - as `PairedTest`
        """The gain, twice; infinite ends without pairs. ``alpha`` changes nothing."""
        return (self.effect, self.effect) if self.pairs else (-math.inf, math.inf)

    def verdict(self, alpha: float = 0.01, miss: float = MISS) -> Verdict:  # noqa: ARG002 - as `PairedTest`
        """What is so, without error: ``alpha`` and ``miss`` change nothing."""
        if self._pair is None:
            return "unsettled"
        if self._gap < 0:
            return "worse"
        return "no_worthwhile_gain" if self.e_futile > 1 else "better"


def position(pairs: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """What running first adds to a gap, 0 where that is within its own doubt; and the spread of gaps beside it."""
    firsts, seconds = ([gap for gap, first in pairs if first is which] for which in (True, False))
    gaps = [gap for gap, _ in pairs]
    if min(len(firsts), len(seconds)) < 2 or not all(map(math.isfinite, gaps)):
        return 0.0, spread(gaps)
    added = (median(firsts) - median(seconds)) / 2
    size = spread([gap - added if first else gap + added for gap, first in pairs])
    return (added, size) if abs(added) > 2 * size / math.sqrt(len(pairs)) else (0.0, spread(gaps))


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
        logs = [0.0] * len(WEIGHTS)
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
