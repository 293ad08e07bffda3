"""Evolve: a steady-state search on one or several islands that keeps every slot busy."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from population.archive import CELLS_MAX, Behaviour, behaviour
from population.directions import Course, tried
from population.frontier import Frontier, Vector, vector
from population.generation import Generation
from population.islands import SURVIVALS, TRIES, Breeding, Island
from population.kinship import related
from population.policies.breeder import Breeder
from population.policies.options import check_choice, check_flag, check_names, check_number, check_whole
from population.policies.standing import as_inspiration
from population.recombination import task
from raysearch.consultation import LESSONS_WRITER, Consultation
from raysearch.errors import ConfigError, nearest
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Compared,
    ConsultationOpened,
    Consulted,
    Fact,
    Mutated,
    RunStarted,
    Unanswered,
)
from raysearch.protocols import Ask, View
from raysearch.types import SEED, AttemptId, Brief, Candidate, CandidateId, Outcome, Proposal

ISLANDS_MAX = 10_000
BIAS, BIAS_OF_SEVERAL = 0.7, 0.4
"""Share of parents from the frontier where there is one objective, and where there are several."""
SURVIVORS = 20
"""Where there are several objectives."""


@dataclass(kw_only=True, eq=False)
class Evolve(Breeder):
    """Breed from the frontier, sometimes from the rest; tell each child of the best, of others, of failures.

    A proposal's lineage names its island, and its candidate is born there; the seed (without one, the first
    candidate) belongs to all. A mutator that merges gets a second parent from the same island, which is the first
    of its inspirations; one that asks a model sometimes does, with a task that says what it is for. An island that
    stops improving explores more, until it improves again; if that does not help, it hands its best to the next one
    and starts again from the seed. What it found stays on the run's frontier. Attempts opened before a restart no
    longer count for the island.

    Options
        frontier_bias: probability that a parent is drawn from its island's frontier. None: 0.7 where there is one
            objective, 0.4 where there are several.
        temperature: of the softmax over the primary objective, scaled to 0..1, that draws the other parents.
        survivors: 0: the other parents are drawn from all of the island's members, and those from the frontier
            evenly. Above: from the best of them, by non-domination and crowding, the square root of their number and
            so many at most; so are random inspirations; and of two drawn from the frontier the lonelier is taken.
            None: 0 where there is one objective, 20 where there are several.
        survival: ``steady``: survivors are as above, and one has to go for each that comes. ``nsga2``, ``nsga3``: they
            are so many, and as many newcomers join them before one of these algorithms' survivals cuts them back. Of
            NSGA-III's reference directions there are as many as that allows.
        k_top, k_random: inspirations from the island's best and from all its members. With ``survivors`` the best
            are members of the frontier that are drawn, otherwise those that lead on the primary objective.
        islands: lines of descent that breed apart; open attempts are spread evenly.
        migration_every: candidates born on an island between visits of its best to the next one; 0: none.
        migrants: how many visit.
        stuck_after: attempts without an improvement of the island's frontier, beyond the objectives' noise,
            after which it restarts; 0: never. A lone island never does: nobody else would carry its work on.
        restless_after: such attempts after which an island explores more, and again after so many: its temperature
            doubles, its frontier bias is halved, and so is the share of children whose mutator is not drawn evenly;
            three times at most. An improvement ends it. 0: never.
        directions: whether a lessons writer, if the run has one and a mutator that asks a model, is asked for a new
            direction whenever an island explores more or restarts. Its children are told, until the next improvement.
        recombine: probability that a mutator which has asked a model gets a second parent. 0: never.
        descriptors: metrics, objectives or not, that say what a program is like. Each island then keeps the best of
            each kind, see `population.archive`, and breeds from those, too.
        bins: parts of each descriptor's values; all descriptors' together make 1,000,000 cells at most.
        cell_share: probability that a parent is drawn from the cells, each as likely, before the frontier is asked.
        generational: all children of a generation are bred from the population as it stood, and the next generation
            waits for the last of them. To compare with: lanes wait, too.
        children_per_generation: how many these are.
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
    restless_after: int = 50
    survival: str = "steady"
    directions: bool = True
    recombine: float = 0.1
    descriptors: tuple[str, ...] = ()
    bins: int = 10
    cell_share: float = 0.3
    generational: bool = False
    children_per_generation: int = 2

    _islands: tuple[Island, ...] = field(init=False, repr=False, default=())
    _index: dict[str, int] = field(init=False, repr=False, default_factory=dict)
    """Where `_islands` has the one of a label."""
    _founding: Vector = field(init=False, repr=False, default=())
    """Vector of the founder."""
    _births: dict[AttemptId, int] = field(init=False, repr=False, default_factory=dict)
    """Open attempts, with the number of restarts that their island had behind it when they were opened."""
    _talkers: set[str] = field(init=False, repr=False, default_factory=set)
    """Mutators that have asked a model."""
    _places: dict[CandidateId, Behaviour] = field(init=False, repr=False, default_factory=dict)
    """What candidates are like, where that is described."""
    _measured: tuple[str, ...] = field(init=False, repr=False, default=())
    """Metrics of the founder."""
    _generation: Generation | None = field(init=False, repr=False, default=None)
    _courses: dict[str, Course] = field(init=False, repr=False, default_factory=dict)
    """By the label of an island."""
    _advised: bool = field(init=False, repr=False, default=False)
    """Whether there is a lessons writer to be asked."""
    _asking: tuple[int, str] | None = field(init=False, repr=False, default=None)
    """The question under way, and the island that it is about; empty once that has improved."""

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
            ("restless_after", self.restless_after, 0),
            ("bins", self.bins, 2),
            ("children_per_generation", self.children_per_generation, 1),
        ):
            check_whole(self.name, option, value, least)
        self._check_choices()
        self._index = {f"island-{number}": number for number in range(self.islands)}
        self._generation = Generation(self.children_per_generation) if self.generational else None

    def _check_choices(self) -> None:
        check_flag(self.name, "directions", self.directions)
        check_choice(self.name, "survival", self.survival, SURVIVALS)
        if self.survival != "steady" and self.survivors in (0, 1):
            raise ConfigError(f"policy {self.name}: survival {self.survival!r} needs survivors, 2 or more.")
        check_number(self.name, "recombine", self.recombine, 0.0, 1.0)
        check_number(self.name, "cell_share", self.cell_share, 0.0, 1.0)
        check_names(self.name, "descriptors", self.descriptors, least=0)
        if self.descriptors and self.bins ** len(self.descriptors) > CELLS_MAX:
            raise ConfigError(
                f"policy {self.name}: {len(self.descriptors)} descriptors of {self.bins} bins each make more than"
                f" {CELLS_MAX:,} cells: take fewer of either."
            )

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Ask]:
        if self._founder is not None:
            for name in self.descriptors:
                if name not in self._measured:
                    known = nearest(name, self._measured)
                    raise ConfigError(f"policy {self.name}: descriptors: no benchmark measures {name!r}.{known}")
        question = None if slots < 1 or self._stopped() else self._question(view)
        if question is None:
            return super().ask(view, slots, rng)
        return [question, *super().ask(view, slots - 1, rng)]

    def best(self, view: View) -> Sequence[CandidateId]:
        if self._generation is None or not self._generation.held:
            return super().best(view)
        frontier = Frontier(self._objectives)
        for number, point in self._frontier.top(len(self._frontier)):
            frontier.insert(number, point)
        for fact in self._generation.held:
            if isinstance(fact, Compared):
                frontier.remeasured(fact)
            elif fact.candidate is not None and fact.candidate.confirmed:
                frontier.add(fact.candidate)
        return frontier.members

    def stagnant(self) -> tuple[str, ...]:
        """Labels of the islands that have not improved for `restless_after` attempts: the time for a new direction."""
        return tuple(island.label for island in self._islands if island.stage)

    def tell(self, fact: Fact) -> None:
        super().tell(fact)
        match fact:
            case Mutated() if fact.attempt in self._open:
                usage = fact.change.mutation.usage
                if usage.calls or usage.tokens_out:
                    self._talkers.add(self._open[fact.attempt].mutator)
            case ConsultationOpened(number, question) if question.role == LESSONS_WRITER:
                if question.lineage in self._index:
                    self._asking = number, question.lineage
                    island = self._islands[self._index[question.lineage]]
                    self._courses[question.lineage].asked = island.plateaus
            case Consulted(number, reply) if self._asking is not None and number == self._asking[0]:
                if self._asking[1]:
                    self._courses[self._asking[1]].heard(reply)
                self._asking = None
            case Unanswered(number) if self._asking is not None and number == self._asking[0]:
                self._asking = None
            case RunStarted():
                self._advised = any(step.plugin == LESSONS_WRITER for step in fact.plan.consultants)
                self._courses = {label: Course() for label in self._index}
                leaders_max = max(self.k_top + 1, self.migrants)
                breeding = self._breeding(len(fact.objectives))
                self._islands = tuple(Island(label, fact.objectives, leaders_max, breeding) for label in self._index)
            case AttemptOpened() if fact.attempt != SEED:
                self._opened(fact.attempt, fact.proposal)
            case _:
                pass

    def meet(self, candidate: Candidate) -> None:
        """See `Breeder`; it comes to an island as a visitor does."""
        super().meet(candidate)
        point = vector(candidate, self._objectives)
        if point is None:
            return
        place = self._placed(candidate, point)
        if candidate.id == self._founder:
            self._found(candidate, point, place)
            return
        island = self._islands[candidate.id % len(self._islands)]
        if island.welcome(candidate.id, point, place):
            self._improved(island)

    def _breeding(self, objectives: int) -> Breeding:
        """The options, with what they are where nothing is said and there are so many objectives."""
        several = objectives > 1 or self.survival != "steady"
        bias, survivors = (BIAS_OF_SEVERAL if objectives > 1 else BIAS), (SURVIVORS if several else 0)
        return Breeding(
            bias if self.frontier_bias is None else self.frontier_bias,
            self.temperature,
            survivors if self.survivors is None else self.survivors,
            self.survival,
            len(self.descriptors),
            self.bins,
            self.cell_share,
            self.restless_after,
        )

    def _labels(self, _view: View, slots: int, /) -> list[str]:
        """The islands with the fewest open attempts, then with the fewest ever."""
        if self._generation is not None and self._founder is not None:
            slots = min(slots, self._generation.room())
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
        several = len(island) > 1
        exploration = 1.0 - (1.0 - self.exploration) / 2**island.stage
        course = self._courses[label]
        mutator, parents, wanted = self._mutator(rng, several, exploration), [parent], course.task()
        if mutator in self.mergers:
            parents += self._mate(view, island, parent, rng)
            mutator = mutator if len(parents) > 1 else self._mutator(rng, exploration=exploration)
        elif self.recombine and several and mutator in self._talkers and rng.random() < self.recombine:
            parents += self._mate(view, island, parent, rng)
            if len(parents) > 1:
                wanted = task(self._objectives, *(view.candidates[number] for number in parents))
        company = [*parents[1:], *island.company(rng, self.k_top, self.k_random, parents)]
        brief = Brief(
            task=wanted,
            inspirations=tuple(as_inspiration(view.candidates[number]) for number in company),
            lessons=self._lessons_of(parent),
            memory=course.memory(),
            parents=self._parents_of(view, parents),
            frontier=self._beside(parents),
        )
        return Proposal(tuple(parents), mutator, brief, lineage=label)

    def _mate(self, view: View, island: Island, parent: CandidateId, rng: random.Random) -> list[CandidateId]:
        """A member to combine ``parent`` with, neither its ancestor nor its descendant; none if luck fails."""
        known = [parent]
        for _ in range(TRIES):
            found = island.mates(rng, 1, known)
            if not found or not related(view.candidates, parent, found[0]):
                return found
            known += found
        return []

    def _home(self, attempt: AttemptId, label: str) -> int:
        """Index of the island called ``label``; other labels, left by another policy, are dealt out by number."""
        return self._index.get(label, attempt % len(self._islands))

    def _opened(self, attempt: AttemptId, proposal: Proposal) -> None:
        if self._generation is not None and self._founder is not None and proposal.lineage in self._index:
            self._generation.opened(attempt)
        island = self._islands[self._home(attempt, proposal.lineage)]
        island.under_way += 1
        island.opened += 1
        self._births[attempt] = island.restarts

    def _close(self, fact: AttemptClosed) -> None:
        for told in [fact] if self._generation is None else self._generation.closed(fact):
            super()._remeasured(told) if isinstance(told, Compared) else super()._close(told)

    def _remeasured(self, fact: Compared) -> None:
        for told in [fact] if self._generation is None else self._generation.compared(fact):
            super()._remeasured(told)

    def _closed(self, fact: AttemptClosed, proposal: Proposal, point: Vector | None, /) -> None:
        super()._closed(fact, proposal, point)
        place = None if fact.candidate is None else self._placed(fact.candidate, point)
        founding = point is not None and fact.attempt == self._founder
        if point is not None and fact.candidate is not None and founding:
            self._found(fact.candidate, point, place)
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
            improved |= island.welcome(fact.attempt, point, place)
            island.admitted += 1
            if self.migration_every and island.admitted % self.migration_every == 0:
                self._migrate(index)
        if improved:
            self._improved(island)
        else:
            island.stale += 1
            refusal = fact.reason if fact.outcome is Outcome.REJECTED else None
            self._courses[island.label].closed(tried(fact.attempt, proposal.parents, refusal))
        if self.stuck_after and island.stale >= self.stuck_after:
            self._restart(index)

    def _placed(self, candidate: Candidate, point: Vector | None) -> Behaviour | None:
        """What a candidate is like; remembered if it has a ``point``."""
        place = behaviour(candidate, self.descriptors)
        if point is not None and place is not None:
            self._places[candidate.id] = place
        return place

    def _found(self, founder: Candidate, point: Vector, place: Behaviour | None) -> None:
        self._founding = point
        self._measured = tuple(m.name for m in founder.measurements)
        for island in self._islands:
            island.welcome(founder.id, point, place)

    def _migrate(self, index: int) -> None:
        """Show the island's best to the next one."""
        neighbour = self._islands[(index + 1) % len(self._islands)]
        for number, point in self._islands[index].best(self.migrants):
            if neighbour.welcome(number, point, self._places.get(number)):
                self._improved(neighbour)

    def _restart(self, index: int) -> None:
        if len(self._islands) > 1 and self._founder is not None:
            self._migrate(index)  # so that the best line of all goes on somewhere
            self._islands[index].restart(self._founder, self._founding, self._places.get(self._founder))
            self._courses[self._islands[index].label].restarted()

    def _improved(self, island: Island) -> None:
        island.stale = 0
        self._courses[island.label].improved()
        if self._asking is not None and self._asking[1] == island.label:
            self._asking = self._asking[0], ""  # what will be answered is about what was

    # -- directions ---------------------------------------------------------------------------------------

    def _question(self, view: View) -> Consultation | None:
        """Where else to look, of the island that has waited longest for an improvement; one question at a time."""
        if not (self.directions and self._advised and self._talkers and self._founder is not None) or self._asking:
            return None
        due = [island for island in self._islands if self._courses[island.label].due(island.plateaus)]
        if not due:
            return None
        island = max(due, key=lambda island: island.stale)
        course, ((head, _), *_) = self._courses[island.label], island.best(1)
        brief = Brief(
            task=course.question(island.label, island.stale, head),
            memory=course.notes(view.candidates, self._objectives),
            parents=self._parents_of(view, (head,)),
            frontier=self._beside((head,)),
        )
        return Consultation(LESSONS_WRITER, head, brief, island.label)
