"""Agent: one line of work in rounds, each a planned task that measurements can prove or disprove."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from population.frontier import Vector, primary, vector
from population.policies import tasks
from population.policies.breeder import LESSON_CHARS, Breeder
from population.policies.options import check_choice, check_flag, check_whole
from raysearch.consultation import PLANNER, PROFILER, TRIAGE, Consultation, Task
from raysearch.errors import ConfigError
from raysearch.facts import AttemptClosed, Fact, Mutated, RunStarted, SessionOpened
from raysearch.protocols import Ask, View
from raysearch.types import SEED, AttemptId, Brief, Candidate, CandidateId, Outcome, Proposal
from raysearch.views.round_texts import figures, profiled, remembered
from raysearch.views.rounds import Book, Round, label, number_of, one_line

ALONE, TOGETHER = "single-agent", "multi-agent"
MEMORY_CHARS, COUNSEL_CHARS = 5_500, 16_000
"""Of the memory that an implementer is told, and whoever is consulted."""
PLANS_MAX = 2
"""Times that a planner is asked in one round: once more where it wants to go back to what there is not."""
FAILED_ROUNDS_MAX = 3
"""Rounds in a row that failures end, after which the run is done: whoever does the tasks cannot do any."""


@dataclass(kw_only=True, eq=False)
class Agent(Breeder):
    """In each round somebody decides whether a profile is worth it, a profiler looks, a planner sets one task, and an
    implementer does it. What is refused is repaired from its own commit, until a child passes or the tries are used up.

    Whom the run lacks, or who does not answer, is left out; without any of them the task is the target's objective.
    Nobody is consulted before there is a program. Work goes on from a child that is better than what it was made from
    on the primary objective, or equal there and nowhere worse; the planner may go back to any earlier round. Among the
    loops of a portfolio it goes over, between rounds, to what another one has found if that is ahead of its own on the
    primary objective, beyond the noise; the planner is told.

    Options
        max_rounds: rounds after which the run is done; None: no limit.
        max_retries_per_round: refusals that end a round.
        max_failures_per_round: attempts that broke for reasons not their own, such as an agent that crashes, that end a
            round; they are no refusals. The run is done after `FAILED_ROUNDS_MAX` rounds in a row that ended so.
        judge_every: 1: every program passes every gate, in every round; no other number is possible.
        official_eval_every: 1: every program that passes is measured, and wins its place in pairs; no other number is
            possible.
        inner_loop: ``multi-agent``, or ``single-agent``: nobody is consulted, the implementer plans for itself.
        skills: whether implementers are told which skills the planner recommends.
        plateau_after: rounds without a gain after which the planner is told what was tried in vain; 0: never.
    """

    name: ClassVar[str] = "agent"

    max_rounds: int | None = 24
    max_retries_per_round: int = 3
    max_failures_per_round: int = 3
    judge_every: int = 1
    official_eval_every: int = 1
    inner_loop: str = TOGETHER
    skills: bool = True
    plateau_after: int = 3

    _book: Book = field(init=False, repr=False, default_factory=Book)
    _roles: frozenset[str] = field(init=False, repr=False, default=frozenset())
    """Whom the run has to be consulted."""
    _round: int = field(init=False, repr=False, default=1)
    """The one under way, or to come."""
    _tries: int = field(init=False, repr=False, default=0)
    """Refusals in this round."""
    _failures: int = field(init=False, repr=False, default=0)
    """Attempts of this round that broke for reasons not their own."""
    _failed_rounds: int = field(init=False, repr=False, default=0)
    """The latest rounds of this session that failures ended."""
    _failure: str = field(init=False, repr=False, default="")
    """Why the latest attempt that broke did."""
    _refused_last: AttemptId | None = field(init=False, repr=False, default=None)
    """This round's latest refused attempt with a commit."""
    _feedback: str = field(init=False, repr=False, default="")
    """Why this round's latest attempt was refused."""
    _noted: str = field(init=False, repr=False, default="")
    """What the latest mutation wished to remember."""
    _offered: tuple[float, CandidateId] | None = field(init=False, repr=False, default=None)
    """The best that other loops have found since this round began, by the primary objective's value."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_rounds is not None:
            check_whole(self.name, "max_rounds", self.max_rounds, 1)
        check_whole(self.name, "max_retries_per_round", self.max_retries_per_round, 1)
        check_whole(self.name, "max_failures_per_round", self.max_failures_per_round, 1)
        check_whole(self.name, "plateau_after", self.plateau_after, 0)
        check_choice(self.name, "inner_loop", self.inner_loop, (TOGETHER, ALONE))
        check_flag(self.name, "skills", self.skills)
        for option, why in (
            ("judge_every", "every program must pass every gate before it is measured"),
            ("official_eval_every", "only what was measured counts, so that every program that passes is measured"),
        ):
            check_whole(self.name, option, getattr(self, option), 1)
            if getattr(self, option) != 1:
                raise ConfigError(
                    f"policy {self.name}: {option} can only be 1; it is {getattr(self, option)}: {why}. Leave it out."
                )

    # -- Policy -------------------------------------------------------------------------------------------

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Ask]:
        if self._stopped() or slots < 1 or self._open or self._book.asking:
            return []
        if self._founder is not None and not self._done():
            question = self._question(view)
            if question is not None:
                return [question]
        return self._bred(view, slots, rng)

    def tell(self, fact: Fact) -> None:
        self._book.told(fact)
        super().tell(fact)
        match fact:
            case RunStarted():
                self._roles = frozenset(step.plugin for step in fact.plan.consultants)
            case Mutated():
                self._noted = fact.change.mutation.memory
            case SessionOpened():
                self._failed_rounds = 0  # somebody wants it tried again
            case _:
                pass

    def meet(self, candidate: Candidate) -> None:
        super().meet(candidate)
        self._book.programs.setdefault(candidate.id, candidate)
        point = vector(candidate, self._objectives)
        if point is None:
            return
        self._offered = max(self._offered or (-math.inf, SEED), (point[primary(self._objectives)], candidate.id))
        begun = self._book.rounds.get(self._round)
        if begun is None or not (begun.asked or begun.tries):
            self._go_over()

    def over(self, view: View | None = None) -> str:  # noqa: ARG002 - what was told is enough
        """Why there is nothing more to ask for, in words; empty as long as there is, or may be."""
        if reason := super().over():
            return reason
        if self._broken():
            latest = one_line(self._failure, LESSON_CHARS)
            return f"no attempt of the latest {self._failed_rounds} rounds got through; the latest failure: {latest}"
        return f"all of its {self.max_rounds} rounds are over" if self._done() else ""

    # -- what is next -------------------------------------------------------------------------------------

    def _done(self) -> bool:
        return self._broken() or (self.max_rounds is not None and self._round > self.max_rounds)

    def _broken(self) -> bool:
        return self._failed_rounds >= FAILED_ROUNDS_MAX

    def _labels(self, _view: View, _slots: int, /) -> list[str]:
        if self._founder is None:
            return [label(0)]
        return [] if self._done() else [label(self._round)]

    def _question(self, view: View) -> Consultation | None:
        """Whom to ask before the next attempt; None: nobody."""
        known = self._book.rounds.get(self._round) or Round(self._round)
        if self.inner_loop == ALONE or known.tries:
            return None
        head = self._head()
        when = f"Round {self._round}" + (f" of {self.max_rounds}" if self.max_rounds is not None else "")
        plans = known.asked.count(PLANNER)
        complaint = tasks.unreachable(self._book, known.task, self._round)
        if TRIAGE in self._roles and not known.asked:
            return self._consult(view, TRIAGE, tasks.triage(self._book, head, when))
        if PROFILER in self._roles and PROFILER not in known.asked and not plans and self._worth_it(known, head):
            return Consultation(PROFILER, head, Brief(task=tasks.focus(known.decision)), label(self._round))
        if PLANNER in self._roles and (plans == 0 or (complaint and plans < PLANS_MAX)):
            question = tasks.plan(self._book, head, when, self._round, self.plateau_after, complaint)
            return self._consult(view, PLANNER, question)
        return None

    def _worth_it(self, known: Round, head: CandidateId) -> bool:
        """Whether to profile: as was decided. Where nobody decides, a planner is shown each new program's profile."""
        if TRIAGE in self._roles:
            return known.decision is not None and known.decision.profile
        return PLANNER in self._roles and self._book.profiled != head

    def _consult(self, view: View, role: str, question: str) -> Consultation:
        head = self._head()
        brief = Brief(
            task=question,
            lessons=self._lessons_of(head),
            memory=remembered(self._book, self._noted, current=self._round, chars=COUNSEL_CHARS),
            parents=self._parents_of(view, (head,)),
            frontier=self._beside((head,)),
            profile=self._profile(head),
        )
        return Consultation(role, head, brief, label(self._round))

    def _child(self, view: View, label: str, rng: random.Random, /) -> Proposal:
        task, base = self._task(), self._base()
        brief = Brief(
            task="" if task is None else tasks.told(task, self._round, self.skills),
            feedback=self._feedback,
            lessons=self._lessons_of(base, without=self._feedback),
            memory=remembered(self._book, self._noted, current=self._round, chars=MEMORY_CHARS),
            parents=self._parents_of(view, (base,)),
            frontier=self._beside((base,)),
            profile=self._profile(base),
        )
        return Proposal((base,), self._mutator(rng), brief, self._refused_last, label)

    def _from_nothing(self, label: str, rng: random.Random) -> Proposal:
        proposal = super()._from_nothing(label, rng)
        memory = remembered(self._book, self._noted, current=self._round, chars=MEMORY_CHARS)
        return replace(proposal, brief=replace(proposal.brief, memory=memory))

    def _task(self) -> Task | None:
        known = self._book.rounds.get(self._round)
        return None if known is None else known.task

    def _head(self) -> CandidateId:
        head = self._founder if self._book.head is None else self._book.head
        return SEED if head is None else head

    def _base(self) -> CandidateId:
        """Whose child this round makes."""
        task = self._task()
        if task is None or task.revert_to_round is None or tasks.unreachable(self._book, task, self._round):
            return self._head()
        program = self._book.program(task.revert_to_round)
        return self._head() if program is None else program.id

    def _profile(self, candidate: CandidateId) -> str:
        book = self._book
        return "" if book.profile is None or book.profiled != candidate else profiled(book.profile, book.said)

    # -- what came of it ----------------------------------------------------------------------------------

    def _closed(self, fact: AttemptClosed, proposal: Proposal, point: Vector | None, /) -> None:
        before = self._founder
        super()._closed(fact, proposal, point)
        if before is None or number_of(proposal.lineage) != self._round:
            return
        if fact.outcome is Outcome.ADMITTED:
            this = self._book.rounds[self._round]
            if not this.kept:
                said = ", ".join(figures(self._book.beside(this, axis.name)) for axis in self._objectives)
                self._learn(this.base, f"attempt {fact.attempt} passed every gate, but is no better: {said}.")
            self._end_round()
        elif fact.outcome is Outcome.REJECTED:
            self._tries += 1
            self._feedback = fact.reason
            if fact.attempt in self._committed:
                self._refused_last = fact.attempt
            if self._tries >= self.max_retries_per_round:
                self._end_round()
        elif fact.outcome is Outcome.FAILED:
            self._failures += 1
            self._failure = fact.reason
            if self._failures >= self.max_failures_per_round:
                self._end_round(failed=True)

    def _end_round(self, failed: bool = False) -> None:
        self._round += 1
        self._tries = self._failures = 0
        self._failed_rounds = self._failed_rounds + 1 if failed else 0
        self._refused_last, self._feedback = None, ""
        self._go_over()

    def _go_over(self) -> None:
        """To what another loop has found, if it is ahead: no task is set yet that is about another program."""
        offered, self._offered = self._offered, None
        head = self._book.programs.get(self._head())
        old = None if head is None else vector(head, self._objectives)
        if offered is None or old is None:
            return
        index, confirmation = primary(self._objectives), self._book.confirmation
        axis, value = self._objectives[index], old[index]
        floor = 0.0 if confirmation is None or axis.deterministic else confirmation.min_effect
        if offered[0] - value > max(axis.noise, floor) * abs(value):
            self._book.head = offered[1]
