"""The auditor's own record of an attempt."""

from __future__ import annotations

from dataclasses import dataclass, field

from raysearch.facts import AttemptOpened, RunStarted
from raysearch.jobs import SHORT
from raysearch.types import Change, Contest, Measurement, Outcome, Stage, Verdict


@dataclass(slots=True)
class Dossier:
    """What the journal says of one attempt."""

    opened: AttemptOpened
    opened_at_s: float
    change: Change | None = None
    results: dict[str, Verdict | tuple[Measurement, ...]] = field(default_factory=dict)
    """By judge or benchmark, in the order in which they came."""
    contests: dict[int, Contest] = field(default_factory=dict)
    """By rival."""
    references: set[int] = field(default_factory=set)
    """The seed and the baselines that it met."""
    confirmed: bool = False
    tries: dict[tuple[Stage, str], int] = field(default_factory=dict)
    fatal: bool = False
    outcome: Outcome | None = None

    @property
    def refused(self) -> bool:
        """Whether a gate said no."""
        return any(isinstance(result, Verdict) and not result.passed for result in self.results.values())

    @property
    def looks(self) -> dict[str, Measurement]:
        """What a short benchmark said, by metric."""
        found = self.results.get(SHORT, ())
        return {} if isinstance(found, Verdict) else {m.name: m for m in found}

    def behind(self, rival: Dossier, start: RunStarted) -> bool:
        """Whether the rival's short look was better by as much as it takes, in every objective."""
        share = next((step.hopeless for step in start.plan.steps if step.plugin == SHORT), None)
        names = {axis.name for axis in start.objectives}
        if share is None or not (names <= self.looks.keys() and names <= rival.looks.keys()):
            return False
        pairs = [
            (axis.sign * rival.looks[axis.name].value, axis.sign * self.looks[axis.name].value)
            for axis in start.objectives
        ]
        return all(theirs - own >= share * max(abs(own), abs(theirs)) > 0 for theirs, own in pairs)

    @property
    def measured(self) -> list[Measurement]:
        found = (result for name, result in self.results.items() if name != SHORT)
        return [m for result in found if not isinstance(result, Verdict) for m in result]

    @property
    def latest(self) -> list[Measurement]:
        """What was measured, or, where it was measured again beside others, the last of that."""
        again = {m.name: m for held in self.contests.values() for m in held.measurements}
        return [again.get(m.name, m) for m in self.measured]
