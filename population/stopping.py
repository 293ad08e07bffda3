"""When a search has had enough: a plateau, a value that was wanted, or too little for the money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from population.frontier import Vector, primary
from raysearch.errors import ConfigError, nearest
from raysearch.types import AttemptId, CandidateId, Objective

HORIZON = 50
"""Attempts after which a gain and a cost count for 1/e of new ones: what is expected of the next is what they bring."""
ATTEMPTS_MIN = 25
"""Before so many nothing is expected."""


@dataclass(frozen=True, slots=True)
class StopRules:
    """The options; each is off where it is 0 or empty."""

    after: int = 0
    """Attempts without an improvement of the frontier, beyond the objectives' noise."""
    at: Mapping[str, float] = field(default_factory=dict)
    """Values of objectives that one candidate must reach, all of them."""
    below_per_usd: float = 0.0
    """Expected improvement of the primary objective's best value for a dollar, in that objective's unit."""


@dataclass(slots=True)
class Progress:
    """What the rules are about, told attempt by attempt. What failed or was abandoned says nothing but what it cost.

    The improvement that a dollar is expected to bring is that of the latest attempts over what they cost, both
    discounted alike: before there are `ATTEMPTS_MIN`, and where nothing costs money, it is not known.
    """

    rules: StopRules
    objectives: tuple[Objective, ...] = ()
    stale: int = 0
    """Attempts since the frontier last improved."""
    reached_by: CandidateId | None = None
    """The first candidate that has every wanted value."""
    _best: float | None = None
    """Of the primary objective, more being better."""
    _attempts: int = 0
    _gain: float = 0.0
    _cost_usd: float = 0.0
    _bills_usd: dict[AttemptId, float] = field(default_factory=dict)

    def spent(self, attempt: AttemptId, cost_usd: float) -> None:
        """An attempt under way has cost so much more."""
        if cost_usd and self.rules.below_per_usd:
            self._bills_usd[attempt] = self._bills_usd.get(attempt, 0.0) + cost_usd

    def closed(self, attempt: AttemptId, point: Vector | None, improved: bool, counts: bool) -> None:
        """An attempt came to its end; ``point`` is that of a candidate which may stand on the frontier.

        ``improved`` says whether it did better than every member, beyond the noise; ``counts`` whether its end says
        anything about the search: the seed's does not, nor does a failure.
        """
        bill_usd, gained = self._bills_usd.pop(attempt, 0.0), 0.0
        if point is not None:
            value = point[primary(self.objectives)]
            gained = 0.0 if self._best is None else max(0.0, value - self._best)
            self._best = value if self._best is None else max(value, self._best)
            if self.reached_by is None and self.rules.at and self._reaches(point):
                self.reached_by = attempt
        if improved:
            self.stale = 0
        elif counts:
            self.stale += 1
        keep = 1.0 - 1.0 / HORIZON if counts else 1.0
        self._attempts += counts
        self._gain = self._gain * keep + gained
        self._cost_usd = self._cost_usd * keep + bill_usd

    def _reaches(self, point: Vector) -> bool:
        axes = zip(self.objectives, point, strict=True)
        return all(value >= o.sign * self.rules.at[o.name] for o, value in axes if o.name in self.rules.at)

    def expected_per_usd(self) -> float | None:
        """See the class; None where it is not known."""
        if self._attempts < ATTEMPTS_MIN or self._cost_usd <= 0.0:
            return None
        return self._gain / self._cost_usd

    def reason(self) -> str:
        """The rule that ends the search, in words; empty if none does."""
        rules = self.rules
        if self.reached_by is not None:
            values = ", ".join(f"{name} {value:g}" for name, value in rules.at.items())
            return f"candidate {self.reached_by} reaches what was wanted: {values}"
        if rules.after and self.stale >= rules.after:
            return f"no improvement of the frontier in {self.stale} attempts"
        expected = self.expected_per_usd() if rules.below_per_usd else None
        if expected is not None and expected < rules.below_per_usd:
            axis = self.objectives[primary(self.objectives)]
            unit = f" {axis.unit}" if axis.unit not in ("", "1") else ""
            least = f"less than {rules.below_per_usd:g}"
            return f"a dollar is expected to improve {axis.name} by {expected:.3g}{unit}, {least}"
        return ""


def check_known(policy: str, at: Mapping[str, float], objectives: Sequence[Objective]) -> None:
    """Raise ConfigError for the name of a wanted value that is no objective's."""
    names = [objective.name for objective in objectives]
    for name in sorted(set(at) - set(names)):
        raise ConfigError(f"policy {policy}: stop_at: no objective is called {name!r}.{nearest(name, names)}")
