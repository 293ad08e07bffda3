"""Whether a few samples of a candidate already rule a worthwhile gain out, so that no more are spent on it.

The incumbent has been measured in several runs at various times. A run of the candidate is one more: how far its
median may fall by chance, and by the hour at which it was taken, is seen in how the incumbent's own medians differ.
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
    miss: float = 0.02,
    noise: float | None = None,
) -> Race:
    """Compare one run of the candidate (``samples``) with the incumbent's runs (``record``, one sequence each).

    Runs longer than the candidate's are cut into runs of its length. The rule is the first that applies:

    ``rank``, from ``1 / miss - 1`` runs on: what falls below all of so many runs of the same program (or below the
    lowest few of more) is worse with confidence ``1 - miss``, whatever the distribution, if a run of the candidate may
    be exchanged for one of the incumbent: the record covers the same moods of the machine.
    ``student``, from 3 runs on: prediction interval for one more normal median.
    ``declared``, from 1 run on: the same with ``noise``, the standard deviation between medians of runs on the scale of
    `Claim.gap` (for ratios: relative), known from other programs (`run_noise`) or declared. Where there are 3 runs,
    the larger of it and theirs counts. These two keep to ``miss`` if medians of runs are normal. If they are not, for
    bursts say, then to one in the number of runs and one, for the gap to the incumbent's poorest run counts too: no
    rule can promise more from so few runs.
    ``unknown``: nothing can be said, and the candidate goes on.

    Raises `Incomparable` without samples, or if one is not finite; ValueError for an impossible ``miss``.
    """
    if not 0 < miss < 0.5:
        raise ValueError(f"a worthwhile gain is to be missed with probability {miss}; it must lie between 0 and 0.5")
    values = finite(samples, f"the candidate's {claim.name!r}")
    middle = median(values)
    gaps = sorted(claim.gap(middle, run) for run in run_medians(claim, record, len(values)))
    bound, rule = bound_of(gaps, miss, noise)
    hopeless = not claim.deterministic and rule != "unknown" and bound < claim.threshold
    if claim.deterministic and gaps:  # no noise to allow for
        bound, rule, hopeless = gaps[-1], "declared", gaps[-1] <= 0 or gaps[-1] < claim.threshold
    gain = claim.effect(bound)
    return Race(hopeless, gain if math.isfinite(gain) else None, len(gaps), rule, miss)


def bound_of(gaps: Sequence[float], miss: float, noise: float | None) -> tuple[float, Rule]:
    """Above which the true gap lies with probability ``miss`` at most, from sorted gaps to the incumbent's runs."""
    count = len(gaps)
    beyond = math.floor(miss * (count + 1) + 1e-9)
    if beyond >= 1:
        return gaps[-beyond], "rank"
    if not count or not all(math.isfinite(gap) for gap in gaps):
        return math.inf, "unknown"
    mean = math.fsum(gaps) / count
    if count >= 3:
        deviation = math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / (count - 1))
        reach = student_quantile(1 - miss, count - 1) * max(deviation, noise or 0.0)
        rule: Rule = "student"
    elif noise is not None:
        reach, rule = NormalDist().inv_cdf(1 - miss) * noise, "declared"
    else:
        return math.inf, "unknown"
    return max(mean + reach * math.sqrt(1 + 1 / count), gaps[-1]), rule


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
