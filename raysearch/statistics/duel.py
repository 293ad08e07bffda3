"""A candidate against an incumbent on all objectives, run in turns on one device."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence

from raysearch.errors import nearest
from raysearch.statistics.claims import Claim, Incomparable
from raysearch.statistics.paired import MISS, ExactTest, PairedTest, Verdict
from raysearch.types import Comparison


def orders(rng: random.Random) -> Iterator[bool]:
    """For each turn whether the candidate is run first (or alone): a coin, without end."""
    while True:
        yield rng.random() < 0.5


class Duel:
    """A candidate (a) and an incumbent (b), run in turns in the order that `orders` says.

    Go on until `settled`, asking after every turn if one likes: the error stays what it is said to be.
    """

    __slots__ = ("_tests", "pairs_max", "runs")

    def __init__(self, claims: Sequence[Claim], *, pairs_max: int = 2000) -> None:
        names = [claim.name for claim in claims]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a duel needs one or more claims, each with a name of its own, not {names}")
        self._tests: dict[str, PairedTest | ExactTest] = {
            claim.name: ExactTest(claim) if claim.deterministic else PairedTest(claim) for claim in claims
        }
        self.pairs_max = pairs_max
        self.runs = 0

    @property
    def pairs(self) -> int:
        """Half the runs, rounded up."""
        return (self.runs + 1) // 2

    @property
    def tests(self) -> Mapping[str, PairedTest | ExactTest]:
        """The evidence on each objective."""
        return self._tests

    def add(self, a: Mapping[str, float], b: Mapping[str, float], first: bool = True) -> None:
        """One pair: the metrics of the candidate and of the incumbent, and whether the candidate was ``first``.

        Those without a claim are ignored. Raises `Incomparable` where one is missing or not finite; nothing of the
        pair is then taken.
        """
        for metrics, whose in ((a, "candidate"), (b, "incumbent")):
            self._checked(metrics, whose)
        for name, test in self._tests.items():
            test.add(a[name], b[name], first)
        self.runs += 2

    def add_alone(self, metrics: Mapping[str, float], own: bool) -> None:
        """One run, of the candidate (``own``) or the incumbent, where `apart` was so. Raises as `add`."""
        self._checked(metrics, "candidate" if own else "incumbent")
        for name, test in self._tests.items():
            test.add_alone(metrics[name], own)
        self.runs += 1

    def apart(self, alpha: float = 0.01, miss: float = MISS) -> bool:
        """Whether the next turn needs one run only, for what is not settled shows which program it is of."""
        share = alpha / len(self._tests)
        return any(test.apart and test.verdict(share, miss) == "unsettled" for test in self._tests.values())

    def _checked(self, metrics: Mapping[str, float], whose: str) -> None:
        for name in self._tests:
            if name not in metrics:
                raise Incomparable(
                    f"pair {self.pairs + 1}: the {whose} has no {name!r}.{nearest(name, metrics)} "
                    "A benchmark must report every objective each time"
                )
            if not math.isfinite(metrics[name]):
                raise Incomparable(
                    f"pair {self.pairs + 1}: the {whose}'s {name!r} is {metrics[name]}; only finite numbers compare"
                )

    def verdict(self, alpha: float = 0.01, miss: float = MISS) -> Verdict:
        """On all objectives together.

        ``better``: on at least one, whatever the others say (which is what a place on a frontier needs); wrongly with
        probability ``alpha`` at most, shared equally by the objectives. ``worse``, ``no_worthwhile_gain``: on none is
        there a gain worth claiming, wrongly with probability ``miss`` at most where there is one; ``worse`` if on at
        least one it is worse.
        """
        share = alpha / len(self._tests)
        found = [test.verdict(share, miss) for test in self._tests.values()]
        if "better" in found:
            return "better"
        if "unsettled" in found:
            return "unsettled"
        return "worse" if "worse" in found else "no_worthwhile_gain"

    def settled(self, alpha: float = 0.01, miss: float = MISS) -> bool:
        """Whether to stop: there is a verdict, or none to be had with as many pairs as there may be."""
        return self.pairs >= self.pairs_max or self.verdict(alpha, miss) != "unsettled" or self._vain(alpha, miss)

    def _vain(self, alpha: float, miss: float) -> bool:
        share, left = alpha / len(self._tests), self.pairs_max - self.pairs
        open_ones = [test for test in self._tests.values() if test.verdict(share, miss) == "unsettled"]
        return all(test.vain(share, miss, left) for test in open_ones)

    def evidence(self) -> float:
        """That it is better somewhere: the mean of the objectives' e-values, itself one."""
        return math.fsum(test.e_better / len(self._tests) for test in self._tests.values())

    def comparisons(
        self, alpha: float = 0.01, miss: float = MISS, *, confidence: float = 0.95
    ) -> tuple[Comparison, ...]:
        """One for each objective, in the order of the claims; verdicts as in `verdict`."""
        share = alpha / len(self._tests)
        return tuple(compared(test, test.verdict(share, miss), confidence) for test in self._tests.values())


def compared(test: PairedTest | ExactTest, verdict: Verdict, confidence: float) -> Comparison:
    """``test`` as plain data."""
    low, high = test.interval(1 - confidence)
    return Comparison(
        metric=test.claim.name,
        goal=test.claim.goal,
        unit=test.claim.unit,
        relative=test.claim.relative,
        effect=bounded(max(low, min(high, test.effect))) if test.pairs else None,
        low=bounded(low),
        high=bounded(high),
        confidence=confidence,
        pairs=test.pairs,
        evidence=test.e_better,
        verdict=verdict,
    )


def bounded(value: float) -> float | None:
    """``value`` where it is finite."""
    return value if math.isfinite(value) else None
