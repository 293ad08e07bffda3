"""What every check returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from evaluators.accuracy.given import CheckerError


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure and the limit that it must keep: at most ``limit``, or with ``least`` at least. NaN keeps none."""

    statistic: str
    value: float
    limit: float
    least: bool = False

    @property
    def kept(self) -> bool:
        return self.value >= self.limit if self.least else self.value <= self.limit

    def __str__(self) -> str:
        told = f"{self.value:.4g}"
        if not self.kept and told == f"{self.limit:.4g}":
            told = f"{self.value:.12g}"
        return f"{self.statistic} {told} ({'at least' if self.least else 'at most'} {self.limit:.4g})"


@dataclass(frozen=True, slots=True)
class Power:
    """What a statistical check sees: a true ``effect`` fails with a probability of at least ``power``.

    ``unit`` says what the effect is. ``alpha``: the probability with which a right program fails; NaN where the check
    is about the given items themselves, so that there is none.
    """

    effect: float
    unit: str
    power: float
    alpha: float = math.nan

    def __str__(self) -> str:
        false = "" if math.isnan(self.alpha) else f"; a right program fails with {self.alpha:.3g}"
        return f"sees {self.unit} of {self.effect:.3g} with probability {self.power:.2g}{false}"


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check over ``items`` (in words: ``unit``): passed if every bound is kept.

    ``feedback`` is a sentence for whoever makes the next attempt. It says where the candidate is off and by how much,
    and never quotes the reference: what it says reaches those who write candidates. ``figures`` are statistics
    that bound nothing.
    """

    name: str
    bounds: tuple[Bound, ...]
    items: int
    unit: str
    feedback: str
    figures: Mapping[str, float] = field(default_factory=dict)
    power: Power | None = None

    def __post_init__(self) -> None:
        if not self.name or not self.bounds or self.items < 1 or not self.feedback:
            raise CheckerError(f"check {self.name!r} looked at nothing: give it a name, bounds, items and feedback")

    @property
    def passed(self) -> bool:
        return all(bound.kept for bound in self.bounds)

    @property
    def statistics(self) -> dict[str, float]:
        """All figures by name, those with a limit first."""
        return {bound.statistic: bound.value for bound in self.bounds} | dict(self.figures)

    @property
    def thresholds(self) -> dict[str, float]:
        """The limits, by the name of what they bound."""
        return {bound.statistic: bound.limit for bound in self.bounds}

    def to_case(self) -> dict[str, object]:
        """An entry of ``cases`` of a ``raysearch.verdict/1``."""
        told = [str(bound) for bound in sorted(self.bounds, key=lambda bound: bound.kept)]
        told += [f"{name} {value:.4g}" for name, value in self.figures.items()]
        told.append(f"{self.items} {self.unit}")
        if self.power:
            told.append(str(self.power))
        return {"name": self.name, "passed": self.passed, "detail": "; ".join(told)}
