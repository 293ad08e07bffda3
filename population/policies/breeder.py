"""What all policies share: the frontier, the attempts under way, the lessons, and the way out of nothing."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from population.frontier import Frontier, Vector, vector
from population.policies.options import check_choice, check_names, check_number, check_values, check_whole
from population.policies.standing import after, as_parent
from population.portfolio import Portfolio
from population.stopping import Progress, StopRules, check_known
from raysearch.errors import ConfigError
from raysearch.facts import AttemptClosed, AttemptOpened, Compared, Fact, JobFailed, Judged, Mutated, RunStarted
from raysearch.protocols import Ask, View
from raysearch.types import (
    SEED,
    AttemptId,
    Brief,
    Candidate,
    CandidateId,
    Inspiration,
    Objective,
    Outcome,
    Proposal,
    Usage,
)

PORTFOLIOS = ("credit", "uniform")
LESSON_CHARS = 700
"""Length at which a lesson is cut."""
LESSON_PARENTS = 1000
"""Parents whose lessons are remembered, the latest ones."""
NOTED = "reintroduced"
"""A judge that says yes, with this among its verdict's conditions, has something to tell whoever comes next."""


@dataclass(kw_only=True, eq=False)
class Breeder(ABC):
    """A policy that breeds one child for each label that `_labels` names, and otherwise remembers.

    As long as nothing was admitted (a target without a seed, or one whose seed was refused) every proposal
    has no parents, and repairs the latest refused attempt.

    Options
        mutators: names to choose from for each child.
        portfolio: ``credit``: those that improve more for what they cost are chosen more often, see
            `population.portfolio`; ``uniform``: each is as likely.
        exploration: with this probability a mutator is drawn evenly all the same, so that none is ever given up.
        attempt_usd: what an attempt costs beside its mutator's bill, in dollars; with it, bills are compared to
            what is earned. Where no mutator costs money it changes nothing.
        mergers: those of the mutators that need two parents. They are chosen only by a policy that has two to offer.
        bootstrap_max_attempts: refusals without a first candidate after which the run is done; None: no limit.
            An attempt that failed or was abandoned says nothing about the program, and is not counted. Half of what is
            left are under way at once at most, so that the others have something to repair.
        lessons_max: reasons for refusal told to the next child of the same parent.
        stop_after: the run is done after so many attempts without an improvement of the frontier, beyond the
            objectives' noise; 0: never.
        stop_at: the run is done once one candidate that may stand on the frontier has all of these values of
            objectives, or better ones.
        stop_below_per_usd: the run is done once a dollar is expected to improve the primary objective's best value by
            less than this, in that objective's unit, as far as the latest attempts tell; 0: never.
    """

    name: ClassVar[str]

    mutators: tuple[str, ...] = ("default",)
    portfolio: str = "credit"
    exploration: float = 0.1
    attempt_usd: float = 0.01
    mergers: tuple[str, ...] = ("merge",)
    bootstrap_max_attempts: int | None = 5
    lessons_max: int = 3
    stop_after: int = 0
    stop_at: dict[str, float] = field(default_factory=dict)
    stop_below_per_usd: float = 0.0

    _objectives: tuple[Objective, ...] = field(init=False, repr=False, default=())
    _frontier: Frontier = field(init=False, repr=False, default_factory=lambda: Frontier(()))
    _tradeoffs: tuple[Inspiration, ...] = field(init=False, repr=False, default=())
    """Members of the frontier that briefs show; drawn up when it changes, so that asking stays cheap."""
    _founder: CandidateId | None = field(init=False, repr=False, default=None)
    """The seed, or without one the first candidate: what everything descends from."""
    _open: dict[AttemptId, Proposal] = field(init=False, repr=False, default_factory=dict)
    _committed: set[AttemptId] = field(init=False, repr=False, default_factory=set)
    """Open attempts that have a commit: once refused, they can be repaired."""
    _portfolio: Portfolio = field(init=False, repr=False)
    _progress: Progress = field(init=False, repr=False)
    _notes: dict[AttemptId, str] = field(init=False, repr=False, default_factory=dict)
    """What a judge noted of attempts under way that it said yes to."""
    _lessons: dict[CandidateId | None, tuple[str, ...]] = field(init=False, repr=False, default_factory=dict)
    """By parent, None for children of nothing; latest parent last."""
    _refusals: int = field(init=False, repr=False, default=0)
    """Refusals before there was a candidate."""
    _draft: AttemptId | None = field(init=False, repr=False, default=None)
    """The latest refused attempt with a commit, before there was a candidate."""
    _draft_reason: str = field(init=False, repr=False, default="")
    """Why the latest attempt was refused, before there was a candidate."""

    def __post_init__(self) -> None:
        check_names(self.name, "mutators", self.mutators)
        check_choice(self.name, "portfolio", self.portfolio, PORTFOLIOS)
        check_number(self.name, "exploration", self.exploration, 0.01, 1.0)
        check_number(self.name, "attempt_usd", self.attempt_usd, 1e-6)
        check_names(self.name, "mergers", self.mergers, least=0)
        if not set(self.mutators) - set(self.mergers):
            raise ConfigError(
                f"policy {self.name}: {', '.join(self.mutators)} can only merge two candidates, and nothing makes a"
                " second one: add a mutator, such as tune."
            )
        self._portfolio = Portfolio(self.attempt_usd)
        if self.bootstrap_max_attempts is not None:
            check_whole(self.name, "bootstrap_max_attempts", self.bootstrap_max_attempts, 1)
        check_whole(self.name, "lessons_max", self.lessons_max, 0)
        check_whole(self.name, "stop_after", self.stop_after, 0)
        check_values(self.name, "stop_at", self.stop_at)
        check_number(self.name, "stop_below_per_usd", self.stop_below_per_usd, 0.0)
        self._progress = Progress(StopRules(self.stop_after, self.stop_at, self.stop_below_per_usd))

    # -- what a policy adds -------------------------------------------------------------------------------

    @abstractmethod
    def _labels(self, view: View, slots: int, /) -> list[str]:
        """Lineage labels of the next proposals, ``slots`` at most; none: wait, or done."""

    @abstractmethod
    def _child(self, view: View, label: str, rng: random.Random, /) -> Proposal:
        """A proposal for ``label``, once there is a candidate."""

    def _closed(self, fact: AttemptClosed, proposal: Proposal, point: Vector | None, /) -> None:
        """An attempt was closed; ``point`` is its candidate's vector, if it has a whole one."""
        if point is not None:
            self._founded(fact.attempt, point, fact.candidate is not None and fact.candidate.confirmed)
        if fact.outcome is Outcome.REJECTED:
            self._refused(fact, proposal)

    # -- Policy -------------------------------------------------------------------------------------------

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Ask]:
        return [] if self._stopped() else self._bred(view, slots, rng)

    def tell(self, fact: Fact) -> None:
        match fact:
            case AttemptOpened():
                self._open[fact.attempt] = fact.proposal
            case Mutated():
                self._committed.add(fact.attempt)
                self._spent(fact.attempt, fact.change.mutation.usage)
            case JobFailed(consultation=None):
                self._spent(fact.attempt, fact.usage)
            case Judged():
                self._judged(fact)
            case Compared():
                self._remeasured(fact)
            case AttemptClosed():
                self._close(fact)
            case RunStarted():
                self._objectives = fact.objectives
                self._frontier, self._tradeoffs = Frontier(fact.objectives), ()
                self._progress.objectives = fact.objectives
            case _:
                pass  # progress within an attempt, or of the run: its end will tell

    def best(self, view: View) -> Sequence[CandidateId]:  # noqa: ARG002 - what was told is enough
        return self._frontier.members

    def suits(self, objectives: Sequence[Objective]) -> None:
        """Raise ConfigError where an option names an objective that there is not; asked before a run is begun."""
        check_known(self.name, self.stop_at, objectives)

    def meet(self, candidate: Candidate) -> None:
        """Another policy, which shares the run with this one, found ``candidate``: one may go on from it."""
        point = vector(candidate, self._objectives)
        if point is None:
            return
        standing = point if candidate.confirmed else None
        improved = standing is not None and not self._frontier.covers(standing)
        self._progress.closed(candidate.id, standing, improved, counts=False)
        self._founded(candidate.id, point, candidate.confirmed)

    def over(self, view: View | None = None) -> str:  # noqa: ARG002 - what was told is enough
        """Why there is nothing more to ask for, in words; empty as long as there is, or may be."""
        if reason := self._progress.reason():
            return reason
        limit = self.bootstrap_max_attempts
        if self._founder is None and limit is not None and self._refusals >= limit:
            latest = f"; the latest: {_shortened(self._draft_reason)}" if self._draft_reason else ""
            return f"no program passed every gate in {self._refusals} attempts to make a first one{latest}"
        return ""

    # -- shared with policies -----------------------------------------------------------------------------

    def _stopped(self) -> bool:
        """Whether a stop rule says that it is enough. Raises as `suits` does."""
        if self._objectives:
            self.suits(self._objectives)
        return bool(self._progress.reason())

    def _bred(self, view: View, slots: int, rng: random.Random) -> list[Proposal]:
        """Children to make now, ``slots`` at most."""
        labels = self._labels(view, slots)
        if self._founder is not None:
            return [self._child(view, label, rng) for label in labels]
        if self.bootstrap_max_attempts is not None:
            left = self.bootstrap_max_attempts - self._refusals
            labels = labels[: max(0, (left + 1) // 2 - len(self._open))]
        return [self._from_nothing(label, rng) for label in labels]

    def _mutator(self, rng: random.Random, merging: bool = False, exploration: float | None = None) -> str:
        """Who makes the next child: with ``merging`` perhaps one of the `mergers`."""
        names = [name for name in self.mutators if merging or name not in self.mergers]
        if self.portfolio == "credit":
            return self._portfolio.choose(names, rng, self.exploration if exploration is None else exploration)
        return names[0] if len(names) == 1 else rng.choice(names)

    def _parents_of(self, view: View, parents: Sequence[CandidateId]) -> tuple[Inspiration, ...]:
        """What a child of ``parents`` is told of them."""
        return tuple(as_parent(view.candidates[number], self._objectives) for number in parents)

    def _beside(self, parents: Sequence[CandidateId]) -> tuple[Inspiration, ...]:
        """The frontier's trade-offs beside ``parents``: with one objective none for a child of the best."""
        return tuple(member for member in self._tradeoffs if member.id not in parents)

    def _lessons_of(self, parent: CandidateId | None, without: str = "") -> tuple[str, ...]:
        """Why children of ``parent`` were refused, newest last; ``without`` is told in another place."""
        told = _shortened(without)
        lessons = [text for text in self._lessons.get(parent, ()) if text != told]
        return tuple(lessons[max(0, len(lessons) - self.lessons_max) :])

    def _learn(self, parent: CandidateId | None, reason: str) -> None:
        """Remember a lesson for the next children of ``parent``."""
        text = _shortened(reason)
        known = self._lessons.pop(parent, ())
        if text:
            known = (*(old for old in known if old != text), text)
        self._lessons[parent] = known[-(self.lessons_max + 1) :]  # one more: the newest may be told as feedback
        if len(self._lessons) > LESSON_PARENTS:
            del self._lessons[next(iter(self._lessons))]

    # -- inside -------------------------------------------------------------------------------------------

    def _founded(self, number: CandidateId, point: Vector, confirmed: bool) -> None:
        """There is one more candidate; only a ``confirmed`` one may stand on the frontier."""
        if confirmed and self._frontier.insert(number, point):
            self._tradeoffs = after(self._tradeoffs, self._frontier, number)
        if self._founder is None:
            self._founder = number

    def _credits(self) -> bool:
        """Whether mutators earn credit: there must be a choice."""
        return self.portfolio == "credit" and len(self.mutators) > 1

    def _spent(self, attempt: AttemptId, usage: Usage) -> None:
        self._progress.spent(attempt, usage.cost_usd)
        if self._credits():
            self._portfolio.spent(attempt, usage.cost_usd)

    def _judged(self, fact: Judged) -> None:
        if fact.verdict.usage is not None and fact.reused_from is None:
            self._progress.spent(fact.attempt, fact.verdict.usage.cost_usd)
        if fact.verdict.passed and NOTED in fact.verdict.conditions:
            self._notes[fact.attempt] = fact.verdict.feedback

    def _remeasured(self, fact: Compared) -> None:
        self._frontier.remeasured(fact)

    def _from_nothing(self, label: str, rng: random.Random) -> Proposal:
        brief = Brief(feedback=self._draft_reason, lessons=self._lessons_of(None, without=self._draft_reason))
        return Proposal(mutator=self._mutator(rng), brief=brief, repair=self._draft, lineage=label)

    def _close(self, fact: AttemptClosed) -> None:
        point: Vector | None = None
        if fact.candidate is not None and fact.outcome is Outcome.ADMITTED:
            point = vector(fact.candidate, self._objectives)
        proposal = self._open.pop(fact.attempt, Proposal())
        if self._credits():
            self._portfolio.closed(fact, proposal, point, self._frontier)
        standing = point if fact.candidate is not None and fact.candidate.confirmed else None
        improved = standing is not None and not self._frontier.covers(standing)
        counts = fact.attempt != SEED and fact.outcome in (Outcome.ADMITTED, Outcome.REJECTED)
        self._progress.closed(fact.attempt, standing, improved, counts)
        note = self._notes.pop(fact.attempt, "")
        if note and proposal.parents and fact.outcome is Outcome.ADMITTED:
            self._learn(proposal.parents[0], f"attempt {fact.attempt} passed every gate, but {note}")
        self._closed(fact, proposal, point)
        self._committed.discard(fact.attempt)

    def _refused(self, fact: AttemptClosed, proposal: Proposal) -> None:
        self._learn(proposal.parents[0] if proposal.parents else None, fact.reason)
        if self._founder is not None:
            return
        self._draft_reason = fact.reason
        if fact.attempt != SEED:  # without parents a proposal starts from the seed's files anyway
            self._refusals += 1
            self._draft = fact.attempt if fact.attempt in self._committed else self._draft


def _shortened(reason: str) -> str:
    text = reason.strip()
    return text if len(text) <= LESSON_CHARS else text[: LESSON_CHARS - 1] + "…"
