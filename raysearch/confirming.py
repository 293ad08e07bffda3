"""Who must meet whom before it may stand on the frontier: pure functions of what is known.

The members are candidates whose claims were settled, and of which none is dominated by another. A newcomer that may be
better than all of them somewhere meets the nearest in a contest of interleaved pairs (`raysearch.statistics`), then
others that it leads by little. What is worse beyond its noise meets nobody, unless that noise is of long ago or of
another machine: a contest measures both sides anew. A lead in an objective that is deterministic is certain, and needs
no contest.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from raysearch.statistics.claims import spread as robust_spread
from raysearch.statistics.discovery import level
from raysearch.types import (
    SEED,
    Candidate,
    CandidateId,
    Challenge,
    Commit,
    Confirmation,
    Contest,
    Measurement,
    Objective,
    Step,
)

AGED = 20
"""A member that so many newcomers came after has old measurements, by which..."""
AGED_MARGIN = 2.0
"""...only those are dismissed that seem worse by so many standard deviations more."""
OF_MEDIAN = math.sqrt(math.pi / 2)
"""Standard deviation of a median over that of a mean, where samples are normal."""
MACHINE = ("machine", "cpu", "gpu")
"""Conditions that must be the same for measurements to be compared."""


@dataclass(slots=True)
class Members:
    """Who stands on the frontier, and how many contests there were: what `State` keeps for confirmations."""

    candidates: dict[CandidateId, Candidate] = field(default_factory=dict)
    contests: int = 0
    won: int = 0
    newcomers: int = 0
    """Candidates that asked for a place, won or not."""
    measured_at: dict[CandidateId, int] = field(default_factory=dict)
    """How many newcomers there had been when a member was measured last."""
    looks: dict[CandidateId, Mapping[str, Sequence[Measurement]]] = field(default_factory=dict)
    """What short benchmarks said of a member, by benchmark."""

    def join(
        self,
        candidate: Candidate,
        objectives: Sequence[Objective],
        looks: Mapping[str, Sequence[Measurement]] = MappingProxyType({}),
    ) -> None:
        """Take in a candidate unless a member is nowhere worse; members that are nowhere better leave."""
        new = candidate.scores
        held = {number: member.scores for number, member in self.candidates.items()}
        if any(objective.name not in new for objective in objectives):
            return
        if any(_covers(old, new, objectives) for old in held.values()):
            return
        for number, old in held.items():
            if _covers(new, old, objectives):
                del self.candidates[number], self.measured_at[number]
                self.looks.pop(number, None)
        self.candidates[candidate.id] = candidate
        if looks:
            self.looks[candidate.id] = looks
        self.measured_at[candidate.id] = self.newcomers

    def aged(self, number: CandidateId) -> bool:
        """Whether a member was measured long ago."""
        return self.newcomers - self.measured_at[number] >= AGED

    def remeasured(
        self, number: CandidateId, fresh: Sequence[Measurement], objectives: Sequence[Objective]
    ) -> Candidate | None:
        """Believe ``fresh`` of a member, and return it as it is now.

        None, and nothing changes, where it is no member, or one of the others would leave or throw it out: what was
        measured at different times differs by the machine's mood as well, and that is for contests to decide.
        """
        member = self.candidates.get(number)
        if member is None or not fresh:
            return None
        named = {m.name: m for m in fresh}
        again = replace(member, measurements=tuple(named.get(m.name, m) for m in member.measurements))
        others = [other.scores for other in self.candidates.values() if other.id != number]
        if any(_covers(o, again.scores, objectives) or _covers(again.scores, o, objectives) for o in others):
            return None
        self.candidates[number] = again
        self.measured_at[number] = self.newcomers
        return again


def _covers(one: Mapping[str, float], other: Mapping[str, float], objectives: Sequence[Objective]) -> bool:
    return all(o.sign * one[o.name] >= o.sign * other[o.name] for o in objectives)


def challenge(
    plan: Confirmation,
    members: Members,
    objectives: Sequence[Objective],
    measurements: Sequence[Measurement],
    contests: Mapping[CandidateId, Contest],
    waiting: int = 0,
) -> Challenge | None:
    """The next contest of a newcomer with these ``measurements``, which has had ``contests``; None if no more is due.

    ``waiting``: other newcomers that are in a contest now.
    """
    if any(contest.verdict != "better" for contest in contests.values()) or len(contests) >= plan.rivals_max:
        return None
    own = latest(measurements, contests)
    for number, member in members.candidates.items():
        aged = AGED_MARGIN * members.aged(number)
        if not elsewhere(own, member.measurements) and _hopeless(own, member, objectives, plan.margin + aged, aged):
            return None
    leads = {
        number: _lead(own, member, objectives)
        for number, member in members.candidates.items()
        if number not in contests
    }
    rival = min(leads, key=lambda number: (leads[number], number), default=None)
    if rival is None or leads[rival] == math.inf or (contests and leads[rival] >= plan.doubt):
        return None
    chance = level(plan.control, plan.alpha, members.contests + waiting, members.won)
    return Challenge(rival, members.candidates[rival].commit, chance, plan.pairs_max, plan.time_s)


def outclassed(members: Members, objectives: Sequence[Objective], own: Sequence[Measurement], step: Step) -> str:
    """Why what the short benchmark ``step`` said of a newcomer makes the steps after it vain; nothing if it does not.

    Some member was better by `Step.hopeless` in every objective when it was looked at in the same way.
    """
    for number, looks in members.looks.items():
        theirs = looks.get(step.plugin)
        if step.hopeless is None or theirs is None or elsewhere(own, theirs):
            continue
        if any(o.name not in {m.name for m in side} for o in objectives for side in (own, theirs)):
            continue
        if all(_gap(own, theirs, objective) <= -step.hopeless for objective in objectives):
            told = (
                f"{o.name} {_value(own, o.name):.4g}, of #{number} {_value(theirs, o.name):.4g}" for o in objectives
            )
            return f"far behind in a short look: {'; '.join(told)}"
    return ""


def settled(
    members: Members,
    objectives: Sequence[Objective],
    measurements: Sequence[Measurement],
    contests: Mapping[CandidateId, Contest],
) -> bool:
    """Whether a newcomer that has no more contests to come may stand among the members."""
    if any(contest.verdict != "better" for contest in contests.values()):
        return False
    own = latest(measurements, contests)
    for number, member in members.candidates.items():
        if number not in contests and _lead(own, member, objectives) <= 0:
            return False
    return True


def leads(members: Members, objectives: Sequence[Objective], measurements: Sequence[Measurement]) -> bool:
    """Whether these would be the best on the primary objective."""
    primary = _primary(objectives)
    value = primary.sign * _value(measurements, primary.name)
    return all(value >= primary.sign * _value(m.measurements, primary.name) for m in members.candidates.values())


def rehearsed(seed: Commit, objectives: Sequence[Objective], plan: Confirmation) -> Challenge | None:
    """The seed program against itself, where an objective is declared deterministic: two runs must agree."""
    if not any(objective.deterministic for objective in objectives):
        return None
    return Challenge(SEED, seed, plan.alpha, 1, plan.time_s)


def disagreement(contest: Contest, objectives: Sequence[Objective]) -> str:
    """What is declared deterministic and is not; nothing if all is well."""
    exact = {objective.name for objective in objectives if objective.deterministic}
    moved = [c for c in contest.comparisons if c.metric in exact and c.effect != 0]
    return ", ".join(comparison.metric for comparison in moved)


def latest(measurements: Sequence[Measurement], contests: Mapping[CandidateId, Contest]) -> tuple[Measurement, ...]:
    """The measurements, or, for what was measured again in contests, those of the last."""
    fresh = {m.name: m for contest in contests.values() for m in contest.measurements}
    return tuple(fresh.get(m.name, m) for m in measurements)


def _primary(objectives: Sequence[Objective]) -> Objective:
    return next((o for o in objectives if o.primary), objectives[0])


def _value(measurements: Sequence[Measurement], name: str) -> float:
    return next(m.value for m in measurements if m.name == name)


def _lead(own: Sequence[Measurement], member: Candidate, objectives: Sequence[Objective]) -> float:
    """By how much of the member's value the newcomer is better where it is so the most; 0 or less: nowhere."""
    return max(_gap(own, member.measurements, objective) for objective in objectives)


def _gap(own: Sequence[Measurement], theirs: Sequence[Measurement], objective: Objective) -> float:
    value, other = _value(own, objective.name), _value(theirs, objective.name)
    gap = objective.sign * (value / 2 - other / 2)  # halves: no difference is too large for a float
    if objective.deterministic and gap > 0:
        return math.inf  # certain, however small
    scale = max(abs(value), abs(other)) / 2
    return gap / scale if scale else 0.0


def elsewhere(own: Sequence[Measurement], others: Sequence[Measurement]) -> bool:
    """Whether the two were measured on different machines, as far as they say on which."""
    theirs = {m.name: m.conditions for m in others}
    both = [(m.conditions, theirs.get(m.name, {})) for m in own]
    return any(one[key] != other[key] for one, other in both for key in MACHINE if key in one and key in other)


def _hopeless(
    own: Sequence[Measurement], member: Candidate, objectives: Sequence[Objective], margin: float, others: float
) -> bool:
    """Whether a member seems nowhere worse, by some standard deviations of the difference or more.

    By ``margin`` of them in the primary objective, which is what the search is for, by ``others`` in the others.
    """
    primary = _primary(objectives)
    return all(
        _gap(own, member.measurements, o) <= -(margin if o is primary else others) * _noise(own, member, o)
        for o in objectives
    )


def _noise(own: Sequence[Measurement], member: Candidate, objective: Objective) -> float:
    """Relative standard deviation of the difference of the two medians: the declared noise, or the samples' own."""
    if objective.deterministic:
        return 0.0
    found = 0.0
    for measurements in (own, member.measurements):
        samples = next(m.samples for m in measurements if m.name == objective.name)
        middle = abs(statistics.median(samples))
        relative = objective.noise
        if len(samples) > 1 and middle and math.isfinite(middle):
            own_spread = robust_spread([sample / middle for sample in samples])
            relative = max(relative, own_spread if math.isfinite(own_spread) else 0.0)
        found = math.hypot(found, OF_MEDIAN * relative / math.sqrt(len(samples)))
    return found
