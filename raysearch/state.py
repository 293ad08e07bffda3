"""State is a fold over facts. Nothing else changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from raysearch.board.board import Board
from raysearch.confirming import Members
from raysearch.counsel import Asked, Counsel
from raysearch.errors import Invariant, require
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Compared,
    ConsultationOpened,
    Consulted,
    Entry,
    Filed,
    JobFailed,
    Judged,
    Measured,
    Mutated,
    RunEnded,
    RunStarted,
    SessionClosed,
    SessionOpened,
    Steered,
    Unanswered,
)
from raysearch.helm import Helm, heard
from raysearch.types import (
    SEED,
    AttemptId,
    Candidate,
    CandidateId,
    Change,
    Commit,
    Contest,
    Declared,
    Limits,
    Measurement,
    Objective,
    Outcome,
    Plan,
    Proposal,
    Stage,
    Tree,
    Usage,
    Verdict,
)

NOTHING = Usage()


@dataclass(slots=True)
class Attempt:
    """A proposal under way, and what is known of it."""

    id: AttemptId
    proposal: Proposal
    opened_at_s: float
    change: Change | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    measurements: dict[str, tuple[Measurement, ...]] = field(default_factory=dict)
    contests: dict[CandidateId, Contest] = field(default_factory=dict)
    """By rival, in the order in which they were held."""
    references: dict[CandidateId, Contest] = field(default_factory=dict)
    """With the seed and the baselines, which decide about no place."""
    tries: dict[tuple[Stage, str], int] = field(default_factory=dict)
    fatal: str = ""
    spent: Usage = Usage()


@dataclass(slots=True)
class State:
    """All that a run is; equal journals give equal states."""

    seq: int = 0
    run_s: float = 0.0
    started: RunStarted | None = None
    session: int = 0
    ended: str = ""
    open: dict[AttemptId, Attempt] = field(default_factory=dict)
    candidates: dict[CandidateId, Candidate] = field(default_factory=dict)
    closed: dict[AttemptId, Outcome] = field(default_factory=dict)
    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    commits: dict[AttemptId, Commit] = field(default_factory=dict)
    """Of every attempt that got as far as a commit, admitted or not."""
    known: dict[Tree, AttemptId] = field(default_factory=dict)
    """The attempt that answers for a tree: under way, admitted or rejected."""
    members: Members = field(default_factory=Members)
    """Who stands on the frontier, where places are confirmed."""
    unfinished: dict[Tree, Attempt] = field(default_factory=dict)
    """Failed or abandoned attempts, whose finished evaluations are reused if their tree comes again."""
    baselines: dict[str, AttemptId] = field(default_factory=dict)
    """Those that were opened."""
    attempts_total: int = 0
    """Attempts opened, the seed not counted; also the highest number."""
    spent: Usage = Usage()
    """On models, by all attempts."""
    gpu_s: float = 0.0
    """Seconds of GPUs that jobs held."""
    failed_in_row: int = 0
    known_in_row: int = 0
    """Attempts, the latest without a break, that made a program that was known already."""
    last_failure: str = ""
    counsel: Counsel = field(default_factory=Counsel)
    board: Board = field(default_factory=Board)
    """Issues, as they were filed."""
    helm: Helm = field(default_factory=Helm)

    @property
    def limits(self) -> Limits:
        """In force now."""
        return self.helm.limits

    @property
    def consulting(self) -> Mapping[int, Asked]:
        """Questions under way."""
        return self.counsel.open

    @property
    def opening(self) -> Declared | None:
        """The baseline that is to be evaluated next, once the seed is."""
        return next((b for b in self.start.baselines if b.name not in self.baselines), None)

    @property
    def busy(self) -> int:
        """Lanes in use."""
        return len(self.open) + len(self.counsel.open)

    @property
    def cost_usd(self) -> float:
        return self.spent.cost_usd

    @property
    def plan(self) -> Plan:
        return self.start.plan

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.start.objectives

    @property
    def start(self) -> RunStarted:
        if self.started is None:
            raise Invariant("the run has started")
        return self.started

    def apply(self, entry: Entry) -> None:
        """Fold one entry in. Raises Invariant for what cannot follow what is known."""
        fact = entry.fact
        require(entry.seq == self.seq + 1, "the journal has no gaps")
        self.seq = entry.seq
        self.run_s = max(self.run_s, entry.run_s)
        require(not self.ended or isinstance(fact, SessionOpened), "nothing happens after the end but a new session")
        match fact:
            case AttemptOpened():
                self._opened(fact, entry.at_s)
            case Mutated():
                self._mutated(fact)
            case Judged() | Measured() | Compared():
                self._evaluated(fact)
            case AttemptClosed():
                self._closed(fact)
            case JobFailed():
                self._failed(fact)
            case RunStarted():
                require(self.seq == 1, "a run starts once, first")
                self.started = fact
            case SessionOpened(session):
                require(self.started is not None, "a session follows the start")
                require(session == self.session + 1, "sessions are numbered in order")
                self.session, self.ended = session, ""
                self.failed_in_row = self.known_in_row = 0
            case SessionClosed() | Filed() | Steered():
                pass
            case RunEnded(reason):
                require(not self.busy, "a run ends with nothing open")
                self.ended = reason
            case ConsultationOpened() | Consulted() | Unanswered():
                self._consulted(fact, entry.at_s)
            case _:
                assert_never(fact)
        heard(entry, self.helm, self.board)

    def _consulted(self, fact: ConsultationOpened | Consulted | Unanswered, at_s: float) -> None:
        match fact:
            case ConsultationOpened(_, question):
                known = question.about == SEED or question.about in self.candidates
                require(known, "what is asked about is a candidate, or the seed")
                self.counsel.opened(fact, at_s)
            case Consulted():
                self.counsel.closed(fact)
                self.spent += fact.reply.usage
                self.gpu_s += fact.gpu_s
                self.failed_in_row = 0
            case Unanswered():
                self.counsel.closed(fact)

    def _open(self, attempt: AttemptId) -> Attempt:
        record = self.open.get(attempt)
        if record is None:
            raise Invariant(f"attempt {attempt} is open")
        return record

    def _opened(self, fact: AttemptOpened, at_s: float) -> None:
        attempt, proposal = fact.attempt, fact.proposal
        if attempt == SEED:
            require(
                self.start.seeded and self.attempts_total == 0 and SEED not in self.closed, "the seed comes first, once"
            )
        else:
            require(attempt == self.attempts_total + 1, "attempts are numbered in order")
            self.attempts_total = attempt
        require(all(parent in self.candidates for parent in proposal.parents), "a parent is a candidate")
        if proposal.baseline:
            require(proposal.baseline in {b.name for b in self.start.baselines}, "a baseline is declared")
            require(proposal.baseline not in self.baselines, "a baseline opens once")
            self.baselines[proposal.baseline] = attempt
        require(proposal.repair is None or proposal.repair in self.commits, "what is repaired has a commit")
        require(attempt not in self.open and attempt not in self.closed, "an attempt opens once")
        self.open[attempt] = Attempt(attempt, proposal, at_s)
        self.counsel.in_row = 0

    def _pay(self, record: Attempt, usage: Usage) -> None:
        if usage is not NOTHING and usage != NOTHING:
            record.spent += usage
            self.spent += usage

    def _mutated(self, fact: Mutated) -> None:
        record = self._open(fact.attempt)
        require(record.change is None, "an attempt mutates once")
        record.change = fact.change
        self._pay(record, fact.change.mutation.usage)
        self.gpu_s += fact.gpu_s
        self.commits[fact.attempt] = fact.change.commit
        self.known.setdefault(fact.change.tree, fact.attempt)

    def _evaluated(self, fact: Judged | Measured | Compared) -> None:
        record = self._open(fact.attempt)
        self.gpu_s += fact.gpu_s
        match fact:
            case Judged(_, judge, verdict):
                require(record.change is not None, "judged after mutated")
                require(judge not in record.verdicts, "each judge speaks once")
                record.verdicts[judge] = verdict
                if verdict.usage is not None and fact.reused_from is None:
                    self._pay(record, verdict.usage)
            case Measured(_, benchmark, measurements):
                require(record.change is not None, "measured after mutated")
                require(all(v.passed for v in record.verdicts.values()), "measured only if passed")
                require(benchmark not in record.measurements, "each benchmark runs once")
                record.measurements[benchmark] = measurements
            case Compared():
                self._compared(record, fact)

    def _compared(self, record: Attempt, fact: Compared) -> None:
        require(self.plan.confirmation is not None, "compared only where places are confirmed")
        require(self.measured(record), "compared after every gate and benchmark")
        if fact.reference:
            require(fact.rival not in record.references, "each reference is met once")
            record.references[fact.rival] = fact.contest
            return
        require(fact.rival not in record.contests, "each rival is met once")
        record.contests[fact.rival] = fact.contest
        if fact.attempt != SEED:
            self.members.contests += 1
            self.members.won += fact.contest.verdict == "better"
            again = self.members.remeasured(fact.rival, fact.of_member, self.objectives)
            if again is not None:
                self.candidates[fact.rival] = again

    def measured(self, record: Attempt) -> bool:
        """Whether an attempt has been through every step."""
        return all(
            step.plugin in (record.verdicts if step.stage is Stage.JUDGE else record.measurements)
            for step in self.plan.steps
        )

    def _failed(self, fact: JobFailed) -> None:
        if fact.consultation is not None:
            self.counsel.failed(fact, self.plan.retries_max)
            self.spent += fact.usage
            self.gpu_s += fact.gpu_s
            return
        record = self._open(fact.attempt)
        key = (fact.stage, fact.plugin)
        record.tries[key] = record.tries.get(key, 0) + 1
        self._pay(record, fact.usage)
        self.gpu_s += fact.gpu_s
        if not fact.retry or record.tries[key] > self.plan.retries_max:
            record.fatal = f"{fact.fault}: {fact.message}"

    def _closed(self, fact: AttemptClosed) -> None:
        record = self._open(fact.attempt)
        del self.open[fact.attempt]
        self.closed[fact.attempt] = fact.outcome
        self.counts[fact.outcome] += 1
        if fact.outcome is Outcome.FAILED:
            self.failed_in_row += 1
            self.last_failure = fact.reason
        elif fact.outcome is not Outcome.ABANDONED:
            self.failed_in_row = 0
        judged = record.verdicts or record.measurements or record.change is None or record.change.refusal
        self.known_in_row = 0 if judged or fact.outcome is not Outcome.REJECTED else self.known_in_row + 1
        if fact.outcome is Outcome.ADMITTED:
            self._admitted(record, fact.candidate)
        elif fact.outcome in {Outcome.FAILED, Outcome.ABANDONED} and record.change is not None:
            tree = record.change.tree
            if self.known.get(tree) == fact.attempt:  # nobody answers for the tree any more
                del self.known[tree]
            if record.verdicts or record.measurements:
                self.unfinished[tree] = record

    def _admitted(self, record: Attempt, candidate: Candidate | None) -> None:
        if candidate is None or record.change is None:
            raise Invariant("admitted with its candidate")
        require(not record.fatal, "admitted without a fatal fault")
        require(candidate.id == record.id and candidate.commit == record.change.commit, "admitted as itself")
        require(self.measured(record), "admitted after every gate and benchmark")
        require(all(v.passed for v in record.verdicts.values()), "admitted only if every gate said yes")
        self.candidates[record.id] = candidate
        self.members.newcomers += 1
        looks = {step.plugin for step in self.plan.steps if step.hopeless is not None}
        if candidate.confirmed and (self.plan.confirmation is not None or self.plan.final or looks):
            seen = {name: found for name, found in record.measurements.items() if name in looks}
            self.members.join(candidate, self.objectives, seen)
