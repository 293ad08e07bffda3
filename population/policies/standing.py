"""Where a program stands, for briefs: what its parents scored, and which trade-offs the frontier offers.

Such scores go into the journal with every attempt, so there are few of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from population.frontier import Frontier, Vector
from raysearch.types import Candidate, CandidateId, Commit, Inspiration, Objective

MEMBERS_MAX = 5
"""Members of the frontier that a brief shows."""
SMALL = 64
"""Members of a frontier that is looked through at every change."""
METRICS_MAX = 4
"""Scores of a parent beside the objectives."""
SUMMARY_CHARS = 300
"""Length at which a parent's summary is cut."""
UNNAMED = Commit("")


def as_parent(candidate: Candidate, objectives: Sequence[Objective]) -> Inspiration:
    """``candidate`` as the brief of its child tells of it."""
    axes = {objective.name for objective in objectives}
    others = [m.name for m in candidate.measurements if m.name not in axes]
    shown = axes.union(others[:METRICS_MAX])
    scores = {m.name: m.value for m in candidate.measurements if m.name in shown}
    summary = candidate.summary.strip()
    if len(summary) > SUMMARY_CHARS:
        summary = summary[: SUMMARY_CHARS - 1] + "…"
    return Inspiration(candidate.id, UNNAMED, scores, summary)


def as_inspiration(candidate: Candidate) -> Inspiration:
    """``candidate`` as the brief of another one's child tells of it."""
    return Inspiration(candidate.id, candidate.commit, candidate.scores, candidate.summary)


def after(shown: tuple[Inspiration, ...], frontier: Frontier, newcomer: CandidateId) -> tuple[Inspiration, ...]:
    """What to show of ``frontier`` once ``newcomer`` has entered it, ``shown`` being what was shown before.

    In a large frontier one change hardly moves what is far from each other: another choice is made only when one of
    those shown was pushed out, or the newcomer stands at an end.
    """
    if len(frontier) > SMALL:
        members = frontier.members
        gone = set(frontier.removed).intersection(member.id for member in shown)
        if shown and not gone and newcomer not in (members[0], members[-1]):
            return shown
    return spread(frontier)


def spread(frontier: Frontier, count: int = MEMBERS_MAX) -> tuple[Inspiration, ...]:
    """Up to ``count`` members that are far from each other, best on the primary objective first, with their scores."""
    members = frontier.top(len(frontier))
    chosen = _apart([point for _, point in members], count) if len(members) > count else range(len(members))
    found = []
    for number, point in (members[index] for index in chosen):
        axes = zip(frontier.objectives, point, strict=True)
        found.append(Inspiration(number, UNNAMED, {axis.name: axis.sign * value for axis, value in axes}))
    return tuple(found)


def _apart(points: Sequence[Vector], count: int) -> list[int]:
    """Indices, ascending: the first, then again and again whoever is farthest from the nearest of those chosen.

    Greedy k-centre (Gonzalez 1985), by the sum of the differences, each as a share of its objective's span.
    """
    places: npt.NDArray[np.float64] = np.array(points) / 2  # halves: no difference is too large for a float
    lowest = places.min(axis=0)
    spans = places.max(axis=0) - lowest
    places = (places - lowest) / np.where(spans > 0, spans, 1.0)
    chosen = [0]
    away = np.abs(places - places[0]).sum(axis=1)
    while len(chosen) < count:
        away[chosen[-1]] = -1.0  # never again
        farthest = int(away.argmax())
        chosen.append(farthest)
        away = np.minimum(away, np.abs(places - places[farthest]).sum(axis=1))
    return sorted(chosen)
