"""Portfolio: several loops over one population and one budget; who earns more for what it costs gets more to do."""

from __future__ import annotations

import inspect
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

from population.frontier import Frontier, Vector, vector
from population.policies.options import check_names, check_number, check_values, check_whole
from population.portfolio import Portfolio
from population.stopping import Progress, StopRules, check_known
from raysearch.board.board import Board
from raysearch.board.types import Filing
from raysearch.consultation import Consultation
from raysearch.errors import ConfigError, nearest
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Compared,
    ConsultationOpened,
    Consulted,
    Fact,
    JobFailed,
    Judged,
    Measured,
    Mutated,
    RunStarted,
    Unanswered,
)
from raysearch.loads import LADDER, LoadLevel
from raysearch.plugins import find, load
from raysearch.protocols import Ask, OpenAttempt, OpenConsultation, Policy, View
from raysearch.seeds import stream
from raysearch.types import (
    SEED,
    AttemptId,
    Candidate,
    CandidateId,
    Commit,
    Limits,
    Objective,
    Outcome,
    Plan,
    Proposal,
)

BETWEEN = "/"
"""Between a loop's name and its own lineage."""
PLUGIN = "use"
"""Key of a loop's table that says which policy it is, where its name does not."""


@dataclass(frozen=True, slots=True)
class Own:
    """An attempt of a loop, under way, as the loop itself calls it."""

    id: AttemptId
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class OwnQuestion:
    """A question of a loop, likewise."""

    question: Consultation


@dataclass(frozen=True, slots=True)
class Share:
    """What a loop sees of the run: everything, but of what is under way only its own."""

    whole: View
    open: Mapping[AttemptId, OpenAttempt]
    consulting: Mapping[int, OpenConsultation]

    @property
    def seq(self) -> int:
        return self.whole.seq

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.whole.objectives

    @property
    def limits(self) -> Limits:
        return self.whole.limits

    @property
    def candidates(self) -> Mapping[CandidateId, Candidate]:
        return self.whole.candidates

    @property
    def closed(self) -> Mapping[AttemptId, Outcome]:
        return self.whole.closed

    @property
    def commits(self) -> Mapping[AttemptId, Commit]:
        return self.whole.commits

    @property
    def plan(self) -> Plan:
        return self.whole.plan

    @property
    def board(self) -> Board:
        return self.whole.board


class PortfolioOfLoops:
    """Each free lane goes to a loop that is drawn by its credit for what it costs; see `population.portfolio`.

    A loop asks as if it were alone, and is told what became of its own attempts and questions; the board of issues,
    sessions and people's commands are everybody's. Of another loop's attempts it is told of contests, and of those
    candidates that entered the run's frontier, from which it may go on. A lane that a loop has no use for goes to
    another one. In lineages the loop's name comes first: ``evolve/island-1``. What a loop pays for questions counts
    against it as well.

    Options that are not below are given to every loop that has them.

    Options
        loops: policies, by name or reference, or names of tables below that say which policy they ``use``.
        loop: a table of options for each loop, such as ``{ evolve = { islands = 3 } }``.
        max_rounds, children_per_generation: of those loops that have rounds, or generations.
        exploration: with this probability a lane's loop is drawn evenly, so that none is ever given up.
        attempt_usd: what an attempt costs beside its bill, in dollars; see `population.policies.breeder`.
        stop_after, stop_at, stop_below_per_usd: when the whole run is done, in the words of each loop's own rules.
    """

    name: ClassVar[str] = "portfolio"

    def __init__(
        self,
        *,
        loops: Sequence[str] = ("evolve", "plain", "profile-guided"),
        loop: Mapping[str, Mapping[str, object]] | None = None,
        mutators: Sequence[str] = ("default",),
        load_levels: Sequence[LoadLevel] = LADDER,
        max_rounds: int | None = None,
        children_per_generation: int | None = None,
        exploration: float = 0.1,
        attempt_usd: float = 0.01,
        stop_after: int = 0,
        stop_at: Mapping[str, float] | None = None,
        stop_below_per_usd: float = 0.0,
        **shared: object,
    ) -> None:
        check_names(self.name, "loops", loops)
        check_number(self.name, "exploration", exploration, 0.01, 1.0)
        check_number(self.name, "attempt_usd", attempt_usd, 1e-6)
        check_whole(self.name, "stop_after", stop_after, 0)
        check_values(self.name, "stop_at", stop_at or {})
        check_number(self.name, "stop_below_per_usd", stop_below_per_usd, 0.0)
        self.exploration = exploration
        given: dict[str, object] = {"mutators": tuple(mutators), "load_levels": tuple(load_levels)}
        counts = {"max_rounds": max_rounds, "children_per_generation": children_per_generation}
        given |= {"attempt_usd": attempt_usd}
        given |= {option: count for option, count in counts.items() if count is not None}
        self._loops = _loaded(loops, loop or {}, given, shared)
        self._portfolio = Portfolio(attempt_usd)
        self._progress = Progress(StopRules(stop_after, dict(stop_at or {}), stop_below_per_usd))
        self._objectives: tuple[Objective, ...] = ()
        self._frontier = Frontier(())
        self._proposals: dict[AttemptId, Proposal] = {}
        """Attempts under way."""
        self._askers: dict[int, str] = {}
        """Whose question is under way."""

    # -- Policy -------------------------------------------------------------------------------------------

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Ask]:
        if self._objectives:
            check_known(self.name, self._progress.rules.at, self._objectives)
        if slots < 1 or self._progress.reason():
            return []
        names, asked = list(self._loops), list[Ask]()
        while names and not asked:
            drawn = [self._portfolio.choose(names, rng, self.exploration) for _ in range(slots)]
            for name in dict.fromkeys(drawn):
                own = stream(rng.getrandbits(63), name)  # how much one draws is no matter of the others
                wants = self._loops[name].ask(self._share(view, name), drawn.count(name), own)
                asked += [_signed(name, one) for one in wants]
            names = [name for name in names if name not in drawn]
        return asked

    def tell(self, fact: Fact) -> None:
        if isinstance(fact, RunStarted):
            self._objectives = self._progress.objectives = fact.objectives
            self._frontier = Frontier(fact.objectives)
        for name in self._concerned(fact):
            self._loops[name].tell(_unsigned(name, fact))
        match fact:
            case AttemptOpened():
                self._proposals[fact.attempt] = fact.proposal
            case ConsultationOpened():
                self._askers[fact.consultation] = self._owner(fact.question.lineage)
            case Consulted():
                self._paid(self._askers.pop(fact.consultation, ""), fact.reply.usage.cost_usd)
            case Unanswered():
                self._askers.pop(fact.consultation, None)
            case Mutated():
                self._spent(fact.attempt, fact.change.mutation.usage.cost_usd)
            case JobFailed() if fact.consultation is not None:
                self._paid(self._askers.get(fact.consultation, ""), fact.usage.cost_usd)
            case JobFailed():
                self._spent(fact.attempt, fact.usage.cost_usd)
            case AttemptClosed():
                self._closed(fact)
            case Compared():
                self._frontier.remeasured(fact)
            case _:
                pass

    def best(self, view: View) -> Sequence[CandidateId]:  # noqa: ARG002 - what was told is enough
        return self._frontier.members

    def suits(self, objectives: Sequence[Objective]) -> None:
        """Raise ConfigError where an option of it, or of one of its loops, names an objective that there is not."""
        check_known(self.name, self._progress.rules.at, objectives)
        for loop in self._loops.values():
            suits = getattr(loop, "suits", None)
            if suits is not None:
                suits(objectives)

    def over(self, view: View) -> str:
        """Why no loop has more to ask for, in words; empty as long as one has, or may have."""
        if reason := self._progress.reason():
            return reason
        said = {}
        for name, loop in self._loops.items():
            over = getattr(loop, "over", None)
            said[name] = "" if over is None else str(over(self._share(view, name)))
        return "; ".join(f"{name}: {reason or 'has no more to ask'}" for name, reason in said.items())

    # -- whose is what ------------------------------------------------------------------------------------

    def _owner(self, lineage: str) -> str:
        """The loop whose lineage that is; empty: none's."""
        name = lineage.partition(BETWEEN)[0]
        return name if name in self._loops else ""

    def _concerned(self, fact: Fact) -> Sequence[str]:
        """The loops that are told of a fact: its owner, or everybody where nobody can own it."""
        match fact:
            case AttemptOpened():
                owner, everybody = self._owner(fact.proposal.lineage), fact.attempt == SEED
            case ConsultationOpened():
                owner, everybody = self._owner(fact.question.lineage), False
            case Consulted() | Unanswered():
                owner, everybody = self._askers.get(fact.consultation, ""), False
            case JobFailed() if fact.consultation is not None:
                owner, everybody = self._askers.get(fact.consultation, ""), False
            case Compared():  # says something of the rival, too, which others may know
                owner = self._owner(self._proposals.get(fact.attempt, Proposal()).lineage)
                return [name for name, loop in self._loops.items() if name == owner or hasattr(loop, "meet")]
            case Mutated() | Judged() | Measured() | JobFailed() | AttemptClosed():
                proposal = self._proposals.get(fact.attempt, Proposal())
                owner, everybody = self._owner(proposal.lineage), fact.attempt == SEED
            case _:
                owner, everybody = "", True
        return list(self._loops) if everybody else [owner] if owner else []

    def _share(self, view: View, name: str) -> Share:
        attempts = {
            number: Own(number, replace(attempt.proposal, lineage=_bare(name, attempt.proposal.lineage)))
            for number, attempt in view.open.items()
            if self._owner(attempt.proposal.lineage) == name
        }
        questions = {
            number: OwnQuestion(replace(asked.question, lineage=_bare(name, asked.question.lineage)))
            for number, asked in view.consulting.items()
            if self._owner(asked.question.lineage) == name
        }
        return Share(view, attempts, questions)

    # -- what came of it ----------------------------------------------------------------------------------

    def _spent(self, attempt: AttemptId, cost_usd: float) -> None:
        self._progress.spent(attempt, cost_usd)
        self._portfolio.spent(attempt, cost_usd)

    def _paid(self, name: str, cost_usd: float) -> None:
        """For a question."""
        if name:
            self._portfolio.paid(name, cost_usd)

    def _closed(self, fact: AttemptClosed) -> None:
        proposal = self._proposals.pop(fact.attempt, Proposal())
        owner = self._owner(proposal.lineage)
        admitted = fact.candidate if fact.outcome is Outcome.ADMITTED else None
        point: Vector | None = None if admitted is None else vector(admitted, self._objectives)
        self._portfolio.closed(fact, replace(proposal, mutator=owner), point, self._frontier)
        standing = point if admitted is not None and admitted.confirmed else None
        improved = standing is not None and not self._frontier.covers(standing)
        counts = fact.attempt != SEED and fact.outcome in (Outcome.ADMITTED, Outcome.REJECTED)
        self._progress.closed(fact.attempt, standing, improved, counts)
        if admitted is None or standing is None or not self._frontier.insert(admitted.id, standing):
            return
        for name, loop in self._loops.items():
            meet = getattr(loop, "meet", None)
            if meet is not None and name != owner and fact.attempt != SEED:
                meet(admitted)


def _loaded(
    loops: Sequence[str],
    tables: Mapping[str, Mapping[str, object]],
    given: Mapping[str, object],
    shared: Mapping[str, object],
) -> dict[str, Policy]:
    """The policies by name. Raises ConfigError or PluginError for what cannot be meant."""
    title = f"policy {PortfolioOfLoops.name}"
    if len(set(loops)) < len(loops):
        twice = max(loops, key=loops.count)
        raise ConfigError(f"{title}: loops has {twice!r} twice: give one another name, and say what it uses in a table")
    for name, table in tables.items():
        if name not in loops:
            raise ConfigError(f"{title}: loop.{name} is none of its loops.{nearest(name, loops)}")
        if not isinstance(table, Mapping):
            raise ConfigError(f"{title}: loop.{name} must be a table of options; it is {table!r}.")
    found, taken = {}, set[str]()
    for name in loops:
        options = dict(tables.get(name, {}))
        reference = str(options.pop(PLUGIN, name))
        if BETWEEN in name and reference == name:
            raise ConfigError(f"{title}: a loop of your own needs a name: loop.mine.{PLUGIN} = {name!r}")
        policy = find("policies", reference)
        if issubclass(policy, PortfolioOfLoops):
            raise ConfigError(f"{title}: loop {name} is a portfolio itself: list its loops here")
        parameters = inspect.signature(policy).parameters
        fitting = {key: value for key, value in shared.items() if key in parameters}
        taken |= set(fitting)
        found[name] = cast(Policy, load("policies", reference, {**fitting, **options}, offers=given))
    for key in shared:
        if key not in taken:
            raise ConfigError(f"{title}: none of its loops ({', '.join(loops)}) has the option {key!r}.")
    return found


def _signed(name: str, one: Ask) -> Ask:
    """With the loop's name before its lineage."""
    if isinstance(one, Filing):
        return one
    return replace(one, lineage=f"{name}{BETWEEN}{one.lineage}" if one.lineage else name)


def _bare(name: str, lineage: str) -> str:
    """A lineage as the loop calls it."""
    return lineage.removeprefix(name).removeprefix(BETWEEN)


def _unsigned(name: str, fact: Fact) -> Fact:
    """As the loop itself would have had it."""
    match fact:
        case AttemptOpened(_, proposal) if fact.attempt != SEED:
            return replace(fact, proposal=replace(proposal, lineage=_bare(name, proposal.lineage)))
        case ConsultationOpened(_, question):
            return replace(fact, question=replace(question, lineage=_bare(name, question.lineage)))
        case AttemptClosed(candidate=Candidate() as candidate) if fact.attempt != SEED:
            return replace(fact, candidate=replace(candidate, lineage=_bare(name, candidate.lineage)))
        case _:
            return fact
