"""Two sets of measurements: which is better, as far as noise lets one tell.

For what was measured apart. Two programs that matter are better compared in interleaved pairs
(`raysearch.statistics.duel`), for samples taken at different times differ by the machine's mood as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from raysearch.errors import nearest
from raysearch.statistics.claims import Incomparable, finite, median
from raysearch.statistics.intervals import Interval, nothing_known, shift_interval
from raysearch.types import Measurement, Objective

Relation = Literal["better", "worse", "equal", "unknown"]
"""``equal``: no difference beyond the declared noise. ``unknown``: the samples cannot tell."""
Dominance = Literal["better", "worse", "equal", "unknown", "mixed"]
"""``mixed``: better in one objective, worse in another."""

MIRRORED: Mapping[Relation, Relation] = {"better": "worse", "worse": "better", "equal": "equal", "unknown": "unknown"}


def compare(
    one: Sequence[float],
    other: Sequence[float],
    objective: Objective,
    *,
    confidence: float = 0.95,
) -> Relation:
    """How ``one`` stands to ``other``, samples of ``objective`` each.

    Both the declared noise (a share: `Objective.noise`) and the samples have a say. ``better`` and ``worse``: the
    medians differ by more than the noise, and the interval of the shift (`shift_interval`, on the logarithms if all
    are positive) lies on that side of 0. ``equal``: the medians differ by no more than the noise; without declared
    noise, the interval leaves no difference. Where there are too few samples for an interval, declared noise alone
    decides; without it nothing does. A deterministic objective is compared exactly, one value with the other.

    ``compare(b, a)`` is the mirror image of ``compare(a, b)``, and so is the other goal. Raises `Incomparable` without
    samples, if one is not finite, or if samples of a deterministic objective differ.
    """
    a, b = finite(one, f"first {objective.name!r}"), finite(other, f"second {objective.name!r}")
    if objective.deterministic:
        gap = objective.sign * (single(a, objective) - single(b, objective))
        return relation(gap)
    ratio = min(*a, *b) > 0
    if ratio:
        a, b = tuple(map(math.log, a)), tuple(map(math.log, b))
    gap, tolerance = median(a) - median(b), math.log1p(objective.noise)
    if not ratio:
        tolerance = objective.noise * max(abs(median(a)), abs(median(b)))
    found = shift(a, b, confidence)
    if abs(gap) <= tolerance and (objective.noise > 0 or found.low == found.high):
        return "equal"
    if found.method == "unknown":
        return relation(objective.sign * gap) if objective.noise > 0 else "unknown"
    return relation(objective.sign * gap) if (found.low > 0 if gap > 0 else found.high < 0) else "unknown"


def shift(a: tuple[float, ...], b: tuple[float, ...], confidence: float) -> Interval:
    """`shift_interval`, for single samples too, and the same whichever comes first but for its sign."""
    if a > b:
        return shift_interval(a, b, confidence)
    turned = shift_interval(b, a, confidence)
    return (
        nothing_known(-turned.value)
        if turned.method == "unknown"
        else Interval(-turned.value, -turned.high, -turned.low, turned.confidence, turned.method)
    )


def single(samples: tuple[float, ...], objective: Objective) -> float:
    """The one value that all samples have."""
    if min(samples) != max(samples):
        raise Incomparable(
            f"{objective.name!r} is declared deterministic, but one program had {min(samples)} and {max(samples)}; "
            "declare its noise instead"
        )
    return samples[0]


def relation(gap: float) -> Relation:
    """By sign."""
    return "better" if gap > 0 else "worse" if gap < 0 else "equal"


def relations(
    one: Iterable[Measurement],
    other: Iterable[Measurement],
    objectives: Sequence[Objective],
    *,
    confidence: float = 0.95,
) -> dict[str, Relation]:
    """`compare` for each of ``objectives``.

    ``confidence`` is of all objectives together: each has an equal share of the error (Bonferroni). Raises
    `Incomparable` as `compare` does, and where an objective has no measurement.
    """
    first, second = {m.name: m for m in one}, {m.name: m for m in other}
    each = 1 - (1 - confidence) / max(len(objectives), 1)
    found: dict[str, Relation] = {}
    for objective in objectives:
        name = objective.name
        for measured, which in ((first, "first"), (second, "second")):
            if name not in measured:
                raise Incomparable(
                    f"the {which} program has no measurement of {name!r}.{nearest(name, measured)} Measure it again, "
                    "with a benchmark that reports every objective"
                )
        found[name] = compare(first[name].samples, second[name].samples, objective, confidence=each)
    return found


def dominance(found: Iterable[Relation]) -> Dominance:
    """Pareto dominance from the relations of all objectives.

    ``better``: somewhere better, and equal elsewhere. Any ``unknown`` leaves it unknown, but for what is ``mixed``
    already. ``equal`` without objectives.
    """
    seen = set(found)
    if {"better", "worse"} <= seen:
        return "mixed"
    for answer in ("unknown", "better", "worse"):
        if answer in seen:
            return answer
    return "equal"
