"""Whether a few samples of a candidate already rule a worthwhile gain out, so that no more are spent on it.

The incumbent has been measured in several runs at various times. How far the median of one more run may fall by chance,
and by the hour at which it is taken, is seen in how the incumbent's own medians differ. Better still, a run of the
incumbent is interleaved with the candidate's: then the hour does not matter, and neighbouring runs of the incumbent
show how far two medians differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from raysearch.statistics.claims import Claim, finite, median

Rule = Literal["rank", "student", "declared", "unknown"]


@dataclass(frozen=True, slots=True)
class Race:
    """What a candidate's first samples say about a worthwhile gain."""

    hopeless: bool
    """Not worth more: a program with a gain of `Claim.min_effect` or more is called so with probability ``miss`` at
    most, under what `race` says of its rules."""
    gain_max: float | None
    """The largest gain still possible; None where nothing is excluded."""
    runs: int
    """Of the incumbent, compared with."""
    rule: Rule
    miss: float


def race(
    claim: Claim,
    samples: Sequence[float],
    record: Iterable[Sequence[float]],
    *,
    beside: Sequence[float] = (),
    miss: float = 0.02,
    noise: float | None = None,
) -> Race:
    """Compare one run of the candidate (``samples``) with the incumbent's runs (``record``, in the order of time).

    ``beside``: a run of the incumbent of the same length, interleaved with the candidate's. Without it, whoever races
    on a machine that is slower than it was drops good candidates. Runs longer than the candidate's are cut into runs of
    its length. With ``beside``, two neighbouring runs count as one comparison, which fell either way. The rule is the
    first that applies:

    ``rank``, from ``1 / miss - 1`` comparisons on: what falls below all of so many of the incumbent with itself (or
    below the lowest few of more) is worse with confidence ``1 - miss``, whatever the distribution, if one with the
    candidate may be exchanged for one of them: the record covers the same moods of the machine.
    ``student``, from 3 runs on: prediction interval for one more normal median.
    ``declared``, from 1 run on: the same with ``noise``, the standard deviation between medians of runs on the scale of
    `Claim.gap` (for ratios: relative), known from other programs (`run_noise`) or declared. Where there are 3 runs,
    the larger of it and theirs counts. These two keep to ``miss`` if medians of runs are normal. If they are not, for
    bursts say, then to one in the number of comparisons and one, for the poorest of them counts too: no rule can
    promise more from so few.
    ``unknown``: nothing can be said, and the candidate goes on.

    Raises `Incomparable` without samples, or if one is not finite; ValueError for an impossible ``miss``.
    """
    if not 0 < miss < 0.5:
        raise ValueError(f"a worthwhile gain is to be missed with probability {miss}; it must lie between 0 and 0.5")
    middle = median(finite(samples, f"the candidate's {claim.name!r}"))
    medians = run_medians(claim, record, len(samples))
    if beside:
        own = claim.gap(middle, median(finite(beside, f"{claim.name!r} of the incumbent beside the candidate")))
        chances = [claim.gap(*two) for two in zip(medians[::2], medians[1::2], strict=False)]
        gaps = sorted(own + way * chance for chance in chances for way in (1, -1))
    else:
        own = None
        gaps = sorted(claim.gap(middle, run) for run in medians)
    if claim.deterministic and (own is not None or gaps):  # no noise to allow for
        bound = gaps[-1] if own is None else own
        rule: Rule = "declared"
        hopeless = bound <= 0 or bound < claim.threshold
    else:
        bound, rule = bound_of(gaps, own, miss, noise)
        hopeless = rule != "unknown" and bound < claim.threshold
    gain = claim.effect(bound)
    return Race(hopeless, gain if math.isfinite(gain) else None, len(medians), rule, miss)


def bound_of(gaps: Sequence[float], own: float | None, miss: float, noise: float | None) -> tuple[float, Rule]:
    """Above which the true gap lies with probability ``miss`` at most.

    ``gaps`` is sorted: the candidate's gap to the incumbent's runs; or with ``own``, to a run beside it, what that
    could have been by chance, both ways.
    """
    count = len(gaps)
    beyond = math.floor(miss * (count + 1) + 1e-9)
    if beyond >= 1:
        return gaps[-beyond], "rank"
    if not all(math.isfinite(gap) for gap in (*gaps, own or 0.0)):
        return math.inf, "unknown"
    if own is None:
        centre, degrees, widen = math.fsum(gaps) / max(count, 1), count - 1, math.sqrt(1 + 1 / max(count, 1))
        squares = math.fsum((gap - centre) ** 2 for gap in gaps) * widen**2
    else:  # between two medians; each gap is there both ways
        centre, degrees, widen = own, count // 2, math.sqrt(2)
        squares = math.fsum((gap - centre) ** 2 for gap in gaps) / 2
    declared = (noise or 0.0) * widen
    if degrees >= 2:
        rule: Rule = "student"
        reach = student_quantile(1 - miss, degrees) * max(math.sqrt(squares / degrees), declared)
    elif noise is not None and (count or own is not None):
        reach, rule = NormalDist().inv_cdf(1 - miss) * declared, "declared"
    else:
        return math.inf, "unknown"
    return max([centre + reach, *gaps]), rule


def run_medians(claim: Claim, runs: Iterable[Sequence[float]], length: int) -> list[float]:
    """The median of each run, longer ones cut into pieces of ``length``; what is left over at their end is not used."""
    medians: list[float] = []
    for number, run in enumerate(runs):
        values = finite(run, f"run {number + 1} of the incumbent's {claim.name!r}")
        starts = range(0, max(len(values) - length, 0) + 1, length)
        medians.extend(median(values[start : start + length]) for start in starts)
    return medians


def run_noise(claim: Claim, programs: Iterable[Iterable[Sequence[float]]], length: int) -> float | None:
    """The standard deviation between medians of runs of one program, pooled over ``programs``; None if it is unknown.

    On the scale of `Claim.gap`, for runs of ``length`` samples. Programs with one run add nothing.
    """
    squares, degrees = 0.0, 0
    for runs in programs:
        medians = run_medians(claim, runs, length)
        if len(medians) < 2:
            continue
        gaps = [gap for value in medians if math.isfinite(gap := claim.gap(value, medians[0]))]
        mean = math.fsum(gaps) / len(gaps)
        squares += math.fsum((gap - mean) ** 2 for gap in gaps)
        degrees += len(gaps) - 1
    return math.sqrt(squares / degrees) if degrees else None


def student_quantile(share: float, degrees: int) -> float:
    """The quantile of Student's t, for ``share`` from 0.5 up to 1 and whole degrees of freedom."""
    low, high = 0.0, 1.0
    while student_below(high, degrees) < share:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_below(middle, degrees) < share else (low, middle)
    return high


def student_below(t: float, degrees: int) -> float:
    """P(T <= t) for ``t >= 0``: Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, squared = math.sin(angle), math.cos(angle) ** 2
    odd = degrees % 2 == 1
    term = math.cos(angle) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for step in range(3 if odd else 2, degrees - 1, 2):
        term *= squared * (step - 1) / step
        total += term
    within = (angle + sine * total) * 2 / math.pi if odd else sine * total
    return (1 + within) / 2
