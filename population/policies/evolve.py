"""Evolve: a steady-state search on one or several islands that keeps every slot busy."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from typing import ClassVar

from population.frontier import Vector
from population.islands import TRIES, Breeding, Island
from population.policies.breeder import Breeder
from population.policies.options import check_number, check_whole
from raysearch.facts import AttemptClosed, AttemptOpened, Fact, RunStarted
from raysearch.protocols import View
from raysearch.types import SEED, AttemptId, Brief, CandidateId, Inspiration, Outcome, Proposal

ISLANDS_MAX = 10_000
LINE_MAX = 1000
"""Ancestors that are looked at to find out whether two candidates are kin."""

BIAS, BIAS_OF_SEVERAL = 0.7, 0.4
"""Share of parents from the frontier where there is one objective, and where there are several."""
SURVIVORS = 20
"""Where there are several objectives."""


@dataclass(kw_only=True, eq=False)
class Evolve(Breeder):
    """Breed from the frontier, sometimes from the rest; tell each child of the best, of others, of failures.

    A proposal's lineage names its island, and its candidate is born there; the seed (without one, the first
    candidate) belongs to all. A mutator that merges gets a second parent from the same island, which is the first
    of its inspirations. An island that stops improving hands its best to the next one and starts again
    from the seed; what it found stays on the run's frontier. Attempts opened before a restart no longer count
    for the island.

    Options
        frontier_bias: probability that a parent is drawn from its island's frontier. None: 0.7 where there is one
            objective, 0.4 where there are several.
        temperature: of the softmax over the primary objective, scaled to 0..1, that draws the other parents.
        survivors: 0: the other parents are drawn from all of the island's members, and those from the frontier
            evenly. Above: from the best of them, by non-domination and crowding, the square root of their number and
            so many at most; so are random inspirations; and of two drawn from the frontier the lonelier is taken.
            None: 0 where there is one objective, 20 where there are several.
        k_top, k_random: inspirations from the island's best and from all its members. With ``survivors`` the best
            are members of the frontier that are drawn, otherwise those that lead on the primary objective.
        islands: lines of descent that breed apart; open attempts are spread evenly.
        migration_every: candidates born on an island between visits of its best to the next one; 0: none.
        migrants: how many visit.
        stuck_after: attempts without an improvement of the island's frontier, beyond the objectives' noise,
            after which it restarts; 0: never. A lone island never does: nobody else would carry its work on.
    """

    name: ClassVar[str] = "evolve"

    frontier_bias: float | None = None
    temperature: float = 0.5
    survivors: int | None = None
    k_top: int = 2
    k_random: int = 2
    islands: int = 1
    migration_every: int = 50
    migrants: int = 1
    stuck_after: int = 100

    _islands: tuple[Island, ...] = field(init=False, repr=False, default=())
    _index: dict[str, int] = field(init=False, repr=False, default_factory=dict)
    """Where `_islands` has the one of a label."""
    _founding: Vector = field(init=False, repr=False, default=())
    """Vector of the founder."""
    _births: dict[AttemptId, int] = field(init=False, repr=False, default_factory=dict)
    """Open attempts, with the number of restarts that their island had behind it when they were opened."""

    _descent: dict[CandidateId, tuple[CandidateId, ...]] = field(init=False, repr=False, default_factory=dict)
    """Parents of each candidate, kept where candidates are merged."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frontier_bias is not None:
            check_number(self.name, "frontier_bias", self.frontier_bias, 0.0, 1.0)
        check_number(self.name, "temperature", self.temperature, 0.0)
        check_whole(self.name, "islands", self.islands, 1, ISLANDS_MAX)
        if self.survivors is not None:
            check_whole(self.name, "survivors", self.survivors, 0)
        for option, value, least in (
            ("k_top", self.k_top, 0),
            ("k_random", self.k_random, 0),
            ("migration_every", self.migration_every, 0),
            ("migrants", self.migrants, 1),
            ("stuck_after", self.stuck_after, 0),
        ):
            check_whole(self.name, option, value, least)
        self._index = {f"island-{number}": number for number in range(self.islands)}

    def tell(self, fact: Fact) -> None:
        super().tell(fact)
        match fact:
            case RunStarted():
                leaders_max = max(self.k_top + 1, self.migrants)
                breeding = self._breeding(len(fact.objectives))
                self._islands = tuple(Island(label, fact.objectives, leaders_max, breeding) for label in self._index)
            case AttemptOpened() if fact.attempt != SEED:
                self._opened(fact.attempt, fact.proposal)
            case _:
                pass

    def _breeding(self, objectives: int) -> Breeding:
        """The options, with what they are where nothing is said and there are so many objectives."""
        bias, survivors = (BIAS, 0) if objectives == 1 else (BIAS_OF_SEVERAL, SURVIVORS)
        return Breeding(
            bias if self.frontier_bias is None else self.frontier_bias,
            self.temperature,
            survivors if self.survivors is None else self.survivors,
        )

    def _labels(self, _view: View, slots: int, /) -> list[str]:
        """The islands with the fewest open attempts, then with the fewest ever."""
        load = [(island.under_way, island.opened, index) for index, island in enumerate(self._islands)]
        heapq.heapify(load)
        labels: list[str] = []
        while load and len(labels) < slots:
            under_way, opened, index = load[0]
            labels.append(self._islands[index].label)
            heapq.heapreplace(load, (under_way + 1, opened + 1, index))
        return labels

    def _child(self, view: View, label: str, rng: random.Random, /) -> Proposal:
        island = self._islands[self._index[label]]
        parent = island.parent(rng)
        mutator, parents = self._mutator(rng, merging=len(island) > 1), [parent]
        if mutator in self.mergers:
            parents += self._mate(island, parent, rng)
            mutator = mutator if len(parents) > 1 else self._mutator(rng)
        company = [*parents[1:], *island.company(rng, self.k_top, self.k_random, parents)]
        brief = Brief(
            inspirations=tuple(_inspiration(view, number) for number in company),
            lessons=self._lessons_of(parent),
            parents=self._parents_of(view, parents),
            frontier=self._beside(parents),
        )
        return Proposal(tuple(parents), mutator, brief, lineage=label)

    def _mate(self, island: Island, parent: CandidateId, rng: random.Random) -> list[CandidateId]:
        """A member to merge ``parent`` with, neither its ancestor nor its descendant; none if luck fails."""
        known = [parent]
        for _ in range(TRIES):
            found = island.mates(rng, 1, known)
            if not found or not self._related(parent, found[0]):
                return found
            known += found
        return []

    def _related(self, one: CandidateId, other: CandidateId) -> bool:
        """Whether one descends from the other, or has more than `LINE_MAX` ancestors that are younger than it.

        A child's number is above its parents', so that the search ends where the older one was born.
        """
        old, young = min(one, other), max(one, other)
        line, seen = [young], {young}
        while line and len(seen) <= LINE_MAX:
            for parent in self._descent.get(line.pop(), ()):
                if parent == old:
                    return True
                if parent > old and parent not in seen:
                    seen.add(parent)
                    line.append(parent)
        return bool(line)

    def _home(self, attempt: AttemptId, label: str) -> int:
        """Index of the island called ``label``; other labels, left by another policy, are dealt out by number."""
        return self._index.get(label, attempt % len(self._islands))

    def _opened(self, attempt: AttemptId, proposal: Proposal) -> None:
        island = self._islands[self._home(attempt, proposal.lineage)]
        island.under_way += 1
        island.opened += 1
        self._births[attempt] = island.restarts

    def _closed(self, fact: AttemptClosed, proposal: Proposal, point: Vector | None, /) -> None:
        super()._closed(fact, proposal, point)
        if fact.candidate is not None and not set(self.mergers).isdisjoint(self.mutators):
            self._descent[fact.attempt] = fact.candidate.parents
        founding = point is not None and fact.attempt == self._founder
        if point is not None and founding:
            self._founding = point
            for island in self._islands:
                island.welcome(fact.attempt, point)
        restarts = self._births.pop(fact.attempt, None)
        if restarts is None:
            return
        index = self._home(fact.attempt, proposal.lineage)
        island = self._islands[index]
        island.under_way -= 1
        if restarts != island.restarts or fact.outcome not in (Outcome.ADMITTED, Outcome.REJECTED):
            return
        improved = founding
        if point is not None:
            improved |= island.welcome(fact.attempt, point)
            island.admitted += 1
            if self.migration_every and island.admitted % self.migration_every == 0:
                self._migrate(index)
        island.stale = 0 if improved else island.stale + 1
        if self.stuck_after and island.stale >= self.stuck_after:
            self._restart(index)

    def _migrate(self, index: int) -> None:
        """Show the island's best to the next one."""
        neighbour = self._islands[(index + 1) % len(self._islands)]
        for number, point in self._islands[index].best(self.migrants):
            if neighbour.welcome(number, point):
                neighbour.stale = 0

    def _restart(self, index: int) -> None:
        if len(self._islands) > 1 and self._founder is not None:
            self._migrate(index)  # so that the best line of all goes on somewhere
            self._islands[index].restart(self._founder, self._founding)


def _inspiration(view: View, number: CandidateId) -> Inspiration:
    candidate = view.candidates[number]
    return Inspiration(number, candidate.commit, candidate.scores, candidate.summary)
