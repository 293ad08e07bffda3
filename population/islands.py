"""An island: one line of descent that breeds by itself, and hears of others only by migration."""

from __future__ import annotations

import random
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from population.archive import Archive, Behaviour
from population.frontier import Frontier, Vector, primary
from population.nsga import Culled
from population.selection import Members
from population.survivors import Survivors
from raysearch.types import CandidateId, Objective

TRIES = 16
"""Draws in which somebody else must be found."""
STAGES_MAX = 3
"""How often exploration is doubled at most."""
SURVIVALS = ("steady", "nsga2", "nsga3")


@dataclass(frozen=True, slots=True)
class Breeding:
    """How an island draws its parents."""

    frontier_bias: float
    """Probability of one from the frontier."""
    temperature: float
    """Of the softmax over the primary objective that draws the others."""
    survivors: int
    """With a number above 0 the others are drawn from so many best members at most; 0: from all."""
    survival: str = "steady"
    """Who those are, one of `SURVIVALS`: `population.survivors` or `population.nsga`."""
    descriptors: int = 0
    """How many values say what a candidate is like; 0: there is no archive."""
    bins: int = 10
    """Parts of each descriptor's values."""
    cell_share: float = 0.0
    """Probability of a parent from the archive, before anything else."""
    restless_after: int = 0
    """Attempts without an improvement after which exploration doubles, and doubles again; 0: never."""


class Island:
    """Members, their frontier and the best on the primary objective, with what decides on a restart."""

    __slots__ = (
        "_archive",
        "_axis",
        "_leaders",
        "_leaders_max",
        "_members",
        "_survivors",
        "admitted",
        "breeding",
        "frontier",
        "label",
        "objectives",
        "opened",
        "restarts",
        "stale",
        "under_way",
    )

    def __init__(self, label: str, objectives: Sequence[Objective], leaders_max: int, breeding: Breeding) -> None:
        self.label = label
        self.objectives = tuple(objectives)
        self.breeding = breeding
        self.under_way = 0
        """Attempts open now."""
        self.opened = 0
        """Attempts ever opened."""
        self.admitted = 0
        """Candidates born here, ever."""
        self.stale = 0
        """Attempts closed since the last improvement."""
        self.restarts = 0
        self._axis = primary(objectives)
        self._leaders_max = leaders_max
        self._clear()

    def _clear(self) -> None:
        self.frontier = Frontier(self.objectives)
        self._members = Members()
        self._archive = Archive(self.breeding.descriptors, self.breeding.bins)
        self._survivors = _survivors(len(self.objectives), self._axis, self.breeding)
        self._leaders: list[tuple[float, CandidateId, Vector]] = []  # minus the primary value: best first

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, number: CandidateId) -> bool:
        return number in self._members

    @property
    def plateaus(self) -> int:
        """How often `Breeding.restless_after` attempts have improved nothing since something did."""
        after = self.breeding.restless_after
        return self.stale // after if after else 0

    @property
    def stage(self) -> int:
        """How often exploration is doubled now, since nothing has improved for so long."""
        return min(self.plateaus, STAGES_MAX)

    def welcome(self, number: CandidateId, point: Vector, place: Behaviour | None = None) -> bool:
        """Take a candidate in; whether the island's frontier moved by more than the objectives' noise.

        ``place`` says what it is like; without one it is in no cell of the archive.
        """
        if number in self._members:
            return False
        self._members.add(number, point[self._axis])
        insort(self._leaders, (-point[self._axis], number, point))
        del self._leaders[self._leaders_max :]
        improved = not self.frontier.covers(point)
        self.frontier.insert(number, point)
        if self.breeding.survivors:
            self._survivors.add(number, point)
        if place is not None:
            self._archive.add(number, place, point[self._axis])
        return improved

    def restart(self, founder: CandidateId, point: Vector, place: Behaviour | None = None) -> None:
        """Forget every member but the founder."""
        self._clear()
        self.welcome(founder, point, place)
        self.restarts += 1
        self.stale = 0

    def parent(self, rng: random.Random) -> CandidateId:
        """From a cell of the archive with probability ``cell_share``; otherwise from the frontier with probability
        ``frontier_bias``, halved at each `stage`, and else by softmax of the primary objective.
        """
        if len(self._archive) and rng.random() < self.breeding.cell_share:
            return self._archive.draw(rng)
        return self._drawn(rng, self.breeding.frontier_bias / 2**self.stage)

    def mates(self, rng: random.Random, count: int, without: Sequence[CandidateId]) -> list[CandidateId]:
        """``count`` different members drawn as parents are, none in ``without``; fewer where luck or members fail."""
        bias = self.breeding.frontier_bias if len(self.frontier) > 1 else 0.0  # a lone member is a parent mostly
        return _different(lambda: self._drawn(rng, bias), count, without)

    def _drawn(self, rng: random.Random, bias: float) -> CandidateId:
        breeding = self.breeding
        if rng.random() < bias:
            return self.frontier.draw_lonely(rng) if breeding.survivors else self.frontier.draw(rng)
        others = self._survivors if breeding.survivors else self._members
        return others.draw(rng, breeding.temperature * 2**self.stage)

    def best(self, count: int, without: Sequence[CandidateId] = ()) -> list[tuple[CandidateId, Vector]]:
        """Up to ``count`` of the best: the frontier by primary objective, then whoever leads on that objective."""
        wanted = count + len(without)
        ranked = self.frontier.top(wanted) + [(number, point) for _, number, point in self._leaders[:wanted]]
        chosen = {number: point for number, point in ranked if number not in without}
        return list(chosen.items())[:count]

    def company(self, rng: random.Random, top: int, others: int, without: Sequence[CandidateId]) -> list[CandidateId]:
        """``top`` of the best and ``others``, all different, none in ``without``.

        Others are drawn evenly from all members. Where only survivors breed they are drawn as parents are, and the
        best from the whole frontier, lonelier ones more often: no objective comes before the others.
        """
        survivors = bool(self.breeding.survivors)
        best = _different(lambda: self.frontier.draw_lonely(rng), top, without) if survivors else []
        best += [number for number, _ in self.best(top - len(best), (*without, *best))]
        known = (*without, *best)
        return best + (self.mates(rng, others, known) if survivors else self._members.sample(rng, others, known))


def _survivors(objectives: int, axis: int, breeding: Breeding) -> Survivors | Culled:
    match breeding.survival:
        case "nsga2" | "nsga3" as method if breeding.survivors:
            return Culled(objectives, axis, breeding.survivors, method)
        case _:
            return Survivors(objectives, axis, breeding.survivors)


def _different(draw: Callable[[], CandidateId], count: int, without: Sequence[CandidateId]) -> list[CandidateId]:
    """``count`` different draws, none in ``without``; fewer where `TRIES` for each are not enough."""
    chosen: list[CandidateId] = []
    for _ in range(TRIES * count):
        if len(chosen) == count:
            break
        number = draw()
        if number not in without and number not in chosen:
            chosen.append(number)
    return chosen
