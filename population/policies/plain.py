"""Plain: works off a board of issues one by one, and asks for new ones when none is left."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from population.frontier import Vector, primary, vector
from population.policies import assignments
from population.policies.backlog import (
    ME,
    REASON_CHARS,
    act,
    attempt_of,
    blocked,
    cut,
    failed,
    failures,
    hopeless,
    in_hand,
    stale,
    surplus,
    undone,
)
from population.policies.breeder import LESSON_CHARS, Breeder
from population.policies.options import check_choice, check_whole
from raysearch.board import Action, Filing, Issue, Kind, Status
from raysearch.consultation import PERFORMANCE_EVALUATOR, Consultation
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    ConsultationOpened,
    Consulted,
    Fact,
    Filed,
    JobFailed,
    Mutated,
    RunStarted,
    SessionOpened,
    Unanswered,
)
from raysearch.loads import LADDER, LoadLevel
from raysearch.protocols import Ask, View
from raysearch.types import SEED, AttemptId, Brief, Candidate, CandidateId, Outcome, Proposal

LINEAGE = "plain"
IDLE = ("stop", "improve")


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt at an issue, of which the board does not know yet what came."""

    attempt: AttemptId
    issue: int
    outcome: Outcome
    reason: str
    point: Vector | None
    """Of its candidate, more being better."""


@dataclass(kw_only=True, eq=False)
class Plain(Breeder):
    """One lineage, one issue at a time: bugs first, then features, then performance; the more urgent, then the older.

    An attempt at an issue starts from the head. If it is admitted the issue is done and the head moves on, except that
    work on performance must not have made it slower; otherwise the next attempt repairs it. A round ends when no issue
    is open: then a performance evaluator looks at the head, and may file new ones. If none comes of it, that was all.

    Among the loops of a portfolio it keeps to its line all the same: what the board calls done is in the head, and a
    program of another line may lack it. Only where it has no program of its own yet it goes on from theirs.

    Options
        max_rounds: evaluations after which the run is done.
        max_attempts_per_issue: attempts in vain after which an issue is blocked.
        max_issues_per_perf_eval: new issues that one evaluation may bring; what is beyond that is closed, the least
            urgent first.
        load_levels: the loads under which the performance evaluator looks at the program.
        when_idle: where an evaluation brings no new issue, or there is nobody to evaluate: ``stop``: the run is done;
            ``improve``: the loop files an issue of its own, to better the primary objective, one each round.
    """

    name: ClassVar[str] = "plain"

    bootstrap_max_attempts: int | None = None
    max_rounds: int = 5
    max_attempts_per_issue: int = 3
    max_issues_per_perf_eval: int = 3
    load_levels: tuple[LoadLevel, ...] = LADDER
    when_idle: str = "stop"

    _target: str = field(init=False, repr=False, default="")
    _head: CandidateId | None = field(init=False, repr=False, default=None)
    _standing: Vector = field(init=False, repr=False, default=())
    """Vector of the head."""
    _claimed: int | None = field(init=False, repr=False, default=None)
    """The issue that this driver has taken in hand just now."""
    _ended: Ended | None = field(init=False, repr=False, default=None)
    _drafts: dict[int, tuple[AttemptId, CandidateId | None]] = field(init=False, repr=False, default_factory=dict)
    """By issue: the latest attempt that has a commit to be repaired, and the head that it came of."""
    _agents_closed: set[int] = field(init=False, repr=False, default_factory=set)
    """Issues that agents closed in the latest attempt, as long as nothing was made of it."""
    _asking: set[int] = field(init=False, repr=False, default_factory=set)
    """Consultations under way."""
    _rounds: int = field(init=False, repr=False, default=0)
    _evaluated: bool = field(init=False, repr=False, default=False)
    """Whether the program was evaluated since the latest attempt."""
    _own: bool = field(init=False, repr=False, default=False)
    """Whether the loop has filed an issue of its own since."""
    _unanswered: str = field(init=False, repr=False, default="")
    """Why the latest evaluation of this session came to nothing."""
    _settled: tuple[int, ...] = field(init=False, repr=False, default=())
    """Issues done or blocked since the latest evaluation."""
    _report: str = field(init=False, repr=False, default="")
    """The latest evaluation."""
    _about: CandidateId = field(init=False, repr=False, default=SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self.name, "max_rounds", self.max_rounds, 1)
        check_whole(self.name, "max_attempts_per_issue", self.max_attempts_per_issue, 1)
        check_whole(self.name, "max_issues_per_perf_eval", self.max_issues_per_perf_eval, 0)
        check_choice(self.name, "when_idle", self.when_idle, IDLE)

    # -- Policy -------------------------------------------------------------------------------------------

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Ask]:
        stopped = self._stopped() or bool(super().over(view))
        if slots < 1 or self._open or self._asking or (stopped and self._ended is None):
            return []
        due = self._due(view, rng)
        return [] if due is None else [due]

    def tell(self, fact: Fact) -> None:
        super().tell(fact)
        match fact:
            case Filed(filing):
                self._filed(filing)
            case Mutated() | JobFailed():
                numbers = (f.issue for f in fact.filings if f.action is Action.CLOSE and not f.refused)
                self._agents_closed.update(numbers)
            case AttemptOpened():
                self._claimed, self._ended = None, None
                self._agents_closed.clear()
                self._evaluated, self._own, self._unanswered = False, False, ""
            case ConsultationOpened(number, question) if question.lineage == LINEAGE:
                self._asking.add(number)
                self._about = question.about
            case Consulted(number, reply) if number in self._asking:
                self._asking.remove(number)
                self._round_over()
                self._report = assignments.report(self._about, reply.text, reply.levels)
            case Unanswered(number, reason) if number in self._asking:
                self._asking.remove(number)
                self._evaluated, self._unanswered = True, reason
            case SessionOpened():
                self._claimed = None  # whoever took it in hand is gone
                if self._unanswered:
                    self._evaluated, self._unanswered = False, ""
            case RunStarted():
                self._target = fact.target
            case _:
                pass

    def meet(self, candidate: Candidate) -> None:
        super().meet(candidate)
        point = vector(candidate, self._objectives)
        if self._head is None and point is not None:
            self._head, self._standing = candidate.id, point

    def over(self, view: View | None = None) -> str:
        """Why there is nothing more to ask for, in words; empty as long as there is, or may be."""
        if reason := super().over(view):
            return reason
        if view is None or self._open or self._asking or self._due(view, random.Random(0)) is not None:
            return ""
        if self._unanswered:
            return (
                f"no issue is open, and the performance evaluator did not answer: {cut(self._unanswered, LESSON_CHARS)}"
            )
        given_up = ", ".join(map(str, blocked(view.board)[:10]))
        if self._head is None:
            return f"no issue is open, and no program passed every gate; blocked: {given_up or 'none'}"
        rounds = f"{self.max_rounds} rounds are over, as many as there may be"
        if self._rounds >= self.max_rounds:
            return rounds
        if not self._evaluated:
            alone = "there is no performance evaluator to ask for more"
            return f"no issue is open, and {rounds if self.when_idle == 'improve' else alone}"
        return f"no issue is open, and the performance evaluation of round {self._rounds} brought no new one"

    # -- what is due --------------------------------------------------------------------------------------

    def _due(self, view: View, rng: random.Random) -> Ask | None:
        """What to ask for now that nothing is under way; None: there is no more to do."""
        board = view.board
        if not board.issues:
            return assignments.first_issue(self._target, self._objectives, self._scores(view), self._draft_reason)
        if self._ended is not None:
            return self._settlement(view, self._ended)
        if false := undone(board, self._agents_closed):
            return self._reopened(false)
        if held := in_hand(board):
            if held.number == self._claimed:
                return self._child(view, LINEAGE, rng)
            return act(Action.RELEASE, held.number, "nothing came of it: taken up anew")
        if left := None if view.open else stale(board):
            return act(Action.RELEASE, left.number, f"{left.holder} is gone")
        if lost := hopeless(board, self.max_attempts_per_issue):
            return act(Action.BLOCK, lost.number, f"{self.max_attempts_per_issue} attempts came to nothing")
        if extra := surplus(board, self.max_issues_per_perf_eval):
            most = self.max_issues_per_perf_eval
            return act(
                Action.CLOSE, extra.number, f"not wanted: an evaluation may bring {most} issues, the most urgent"
            )
        if self._rounds >= self.max_rounds:
            return None
        if found := board.next_open():
            return act(Action.CLAIM, found.number, "")
        return self._evaluation(view)

    def _evaluation(self, view: View) -> Ask | None:
        """What ends a round, no issue being open: an evaluation, or else an issue of the loop's own."""
        if self._head is None or self._unanswered:
            return None
        if not self._evaluated and PERFORMANCE_EVALUATOR in (step.plugin for step in view.plan.consultants):
            return self._question(view, self._head)
        last = not self._evaluated and self._rounds + 1 >= self.max_rounds
        if self.when_idle == "stop" or self._own or last:
            return None
        axis = self._objectives[primary(self._objectives)]
        return assignments.next_gain(axis, self._objectives, self._head, self._scores(view))

    def _question(self, view: View, head: CandidateId) -> Consultation:
        done = assignments.settled(view.board, self._settled)
        task = assignments.evaluate(head, self.load_levels, self.max_issues_per_perf_eval, done, self._report)
        parents = self._parents_of(view, (head,))
        return Consultation(PERFORMANCE_EVALUATOR, head, Brief(task=task, parents=parents), LINEAGE)

    def _labels(self, view: View, slots: int, /) -> list[str]:
        held = in_hand(view.board) if slots else None
        return [LINEAGE] if held is not None and held.number == self._claimed else []

    def _child(self, view: View, label: str, rng: random.Random, /) -> Proposal:
        """The next attempt at the issue in hand: from the head, or from what was refused if that came of the same."""
        issue = in_hand(view.board)
        assert issue is not None, "claimed before it is worked on"
        parents = () if self._head is None else (self._head,)
        earlier = failures(issue)
        *reasons, latest = [cut(failure.text, LESSON_CHARS) for failure in earlier] or [""]
        lessons = tuple(dict.fromkeys(reason for reason in reasons if reason != latest))
        brief = Brief(
            task=assignments.work_on(issue),
            feedback=cut(earlier[-1].text, REASON_CHARS) if earlier else "",
            lessons=lessons[max(0, len(lessons) - self.lessons_max) :],
            parents=self._parents_of(view, parents),
            frontier=self._beside(parents),
        )
        draft, start = self._drafts.get(issue.number, (None, None))
        repairable = draft in [attempt_of(failure) for failure in earlier] and start == self._head
        repair = draft if repairable else None
        return Proposal(parents, self._mutator(rng), brief, repair, label, issue.number)

    # -- what came of an attempt --------------------------------------------------------------------------

    def _settlement(self, view: View, ended: Ended) -> Filing:
        """What the board is told of an attempt. What others made of the issue meanwhile stands, but for an agent's
        word that it is done.
        """
        issue = view.board.issues[ended.issue]
        if ended.outcome is Outcome.ADMITTED and (reason := self._loss(view, issue.kind, ended)) is None:
            return self._success(issue, ended)
        reason = ended.reason if ended.outcome is not Outcome.ADMITTED else self._loss(view, issue.kind, ended) or ""
        if false := undone(view.board, self._agents_closed - {issue.number}):
            return self._reopened(false)
        evidence = failed(ended.attempt, ended.outcome)
        text = reason.strip() or f"attempt {ended.attempt} was {ended.outcome}"
        if undone(view.board, self._agents_closed & {issue.number}):
            return act(Action.REOPEN, issue.number, text, evidence)
        if issue.status is Status.IN_PROGRESS and issue.holder == ME:
            if len(failures(issue)) + 1 >= self.max_attempts_per_issue:
                return act(Action.BLOCK, issue.number, text, evidence)
            return act(Action.RELEASE, issue.number, text, evidence, "failed")
        return act(Action.COMMENT, issue.number, text, evidence)

    def _success(self, issue: Issue, ended: Ended) -> Filing:
        text, evidence = f"candidate {ended.attempt} passed every gate", f"candidate {ended.attempt}"
        mine = issue.status is Status.OPEN or (issue.status is Status.IN_PROGRESS and _nobodys(issue))
        if mine:
            return act(Action.CLOSE, issue.number, text, evidence, "done")
        if issue.status in (Status.BLOCKED, Status.CLOSED):
            return act(Action.COMMENT, issue.number, f"{text}; the issue being {issue.status}, it is not gone on from")
        return act(Action.COMMENT, issue.number, text, evidence)

    def _loss(self, view: View, kind: Kind, ended: Ended) -> str | None:
        """Why an admitted candidate is not gone on from; None: it is. Of bugs and features, correctness is enough."""
        if kind is not Kind.PERF or not self._standing:
            return None
        confirmation = view.plan.confirmation
        floor = 0.0 if confirmation is None else confirmation.min_effect
        noise = [axis.noise if axis.deterministic else max(axis.noise, floor) for axis in self._objectives]
        if ended.point is not None and holds(ended.point, self._standing, noise, primary(self._objectives)):
            return None
        new = view.candidates[ended.attempt].scores
        return assignments.no_gain(ended.attempt, new, self._scores(view), self._objectives)

    def _reopened(self, issue: Issue) -> Filing:
        return act(Action.REOPEN, issue.number, "an agent closed it in an attempt of which nothing came")

    # -- inside -------------------------------------------------------------------------------------------

    def _closed(self, fact: AttemptClosed, proposal: Proposal, point: Vector | None, /) -> None:
        super()._closed(fact, proposal, point)
        if self._head is None and point is not None:
            self._head, self._standing = fact.attempt, point
        if proposal.issue is None or fact.outcome is Outcome.ABANDONED:
            return
        self._ended = Ended(fact.attempt, proposal.issue, fact.outcome, fact.reason, point)
        if fact.outcome is Outcome.ADMITTED:
            self._drafts.pop(proposal.issue, None)
        elif fact.attempt in self._committed:
            self._drafts[proposal.issue] = (fact.attempt, proposal.parents[0] if proposal.parents else None)

    def _filed(self, filing: Filing) -> None:
        if filing.author != ME:
            return
        number = filing.issue
        if filing.action is Action.CREATE and filing.kind is Kind.PERF:
            self._own = True
            if not self._evaluated:  # nobody could be asked
                self._round_over()
        self._claimed = number if filing.action is Action.CLAIM else None
        ended = self._ended
        if ended is not None and ended.issue == number:
            self._ended = None
            if filing.evidence == f"candidate {ended.attempt}":
                self._agents_closed.clear()
                if ended.point is not None:
                    self._head, self._standing = ended.attempt, ended.point
        if (filing.action is Action.CLOSE and filing.outcome) or filing.action is Action.BLOCK:
            self._settled = (*(n for n in self._settled if n != number), number)

    def _round_over(self) -> None:
        self._rounds += 1
        self._evaluated, self._unanswered, self._settled = True, "", ()

    def _scores(self, view: View) -> Mapping[str, float]:
        """Of the head."""
        return {} if self._head is None else view.candidates[self._head].scores


def holds(new: Vector, old: Vector, noise: Sequence[float], axis: int) -> bool:
    """Whether ``new`` is better than ``old`` on ``axis`` by more than the noise, or nowhere worse by more than that.

    ``noise``: of each objective, as a share of the old value.
    """
    gains = [(a - b, share * abs(b)) for a, b, share in zip(new, old, noise, strict=True)]
    gain, span = gains[axis]
    return gain > span or all(gain >= -span for gain, span in gains)


def _nobodys(issue: Issue) -> bool:
    """Whether an issue in progress is the loop's, or an agent's whose attempt has ended."""
    return issue.holder is None or issue.holder == ME or issue.holder.role not in ("person", "driver")
