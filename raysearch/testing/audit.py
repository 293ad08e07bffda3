"""What must hold of every journal, read by someone who shares no code with the fold that drives the run.

`audit` reads facts alone, so it serves for a simulated run and for a real one that was killed and resumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

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
from raysearch.jobs import CONFIRMATION, Job
from raysearch.testing.dossier import Dossier
from raysearch.testing.orders import Orders
from raysearch.testing.questions import Questions
from raysearch.types import Candidate, Limits, Measurement, Outcome, Stage, Verdict


def audit(entries: Sequence[Entry], submitted: Sequence[tuple[int, Job]] = (), slack_s: float = 1.0) -> list[str]:
    """Everything that is wrong with a journal, each as a sentence that begins with the line's number.

    ``submitted`` are the jobs that were handed to a pool, each with the number of lines known at that time; they
    must be what their attempts needed just then. ``slack_s`` is how long a driver may take to notice that a limit
    on time was reached: half a second with most pools, the length of a job with one that does jobs in the
    driver's own process.
    """
    auditor, known = Auditor(slack_s), 0
    for seq, job in sorted(submitted, key=lambda pair: pair[0]):
        for entry in entries[known:seq]:
            auditor.read(entry)
        known = max(known, seq)
        auditor.submitted(job)
    for entry in entries[known:]:
        auditor.read(entry)
    return auditor.problems


@dataclass(slots=True)
class Auditor:
    """Reads entries in order and notes what cannot be right."""

    slack_s: float = 1.0
    problems: list[str] = field(default_factory=list)
    seq: int = 0
    run_s: float = 0.0
    start: RunStarted | None = None
    session: int = 0
    orders: Orders = field(default_factory=Orders)
    between: str = "the run has not started"
    """Why nothing but a session may come next; empty while a driver is at work."""
    attempts: dict[int, Dossier] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    questions: Questions = field(default_factory=Questions)
    answers: dict[str, int] = field(default_factory=dict)
    """The attempt that answers for a tree: the first that came to it, unless that one broke or was given up."""
    admitted: set[str] = field(default_factory=set)
    """Trees of the candidates."""
    cost_usd: float = 0.0
    failed_in_row: int = 0
    paid: dict[tuple[str, str], int] = field(default_factory=dict)
    """(tree, judge or benchmark) to the attempt for which it was paid."""

    def read(self, entry: Entry) -> None:
        self._check(entry.seq == self.seq + 1, entry, f"numbers have a gap: {self.seq} is followed by {entry.seq}")
        self._check(entry.run_s >= self.run_s, entry, "the run's time went backwards")
        self.seq, self.run_s = entry.seq, max(self.run_s, entry.run_s)
        fact = entry.fact
        if not isinstance(fact, RunStarted | SessionOpened):
            self._check(not self.between, entry, f"{type(fact).__name__}, but {self.between}")
        match fact:
            case RunStarted():
                self._check(self.start is None, entry, "the run starts twice")
                self.start, self.between = fact, "no session is open"
            case SessionOpened():
                self._check(fact.session == self.session + 1, entry, f"session {fact.session} follows {self.session}")
                self.session, self.failed_in_row, self.between = fact.session, 0, ""
                self.orders.session(fact, entry.run_s)
            case AttemptOpened():
                self._check(not self.orders.paused, entry, "an attempt is opened, though the run is paused")
                self._opened(entry, fact)
            case JobFailed() if fact.consultation is not None:
                self._check(
                    fact.consultation in self.questions.asked, entry, f"?{fact.consultation} broke, which is not open"
                )
                self.cost_usd += fact.usage.cost_usd
            case Mutated() | Judged() | Measured() | Compared() | JobFailed():
                self._progress(entry, fact)
            case ConsultationOpened() | Consulted() | Unanswered():
                asked = isinstance(fact, ConsultationOpened) and self.orders.paused
                self._check(not asked, entry, "somebody is asked, though the run is paused")
                self._check(not (wrong := self.questions.read(fact, self.attempts, self.open)), entry, wrong)
                if isinstance(fact, Consulted):
                    self.cost_usd, self.failed_in_row = self.cost_usd + fact.reply.usage.cost_usd, 0
            case Steered() | Filed():
                wrong = self.orders.read(fact, entry.run_s) if isinstance(fact, Steered) else ""
                self._check(not wrong, entry, wrong)
            case AttemptClosed():
                self._closed(entry, fact)
            case SessionClosed():
                self.between = "the session was closed"
            case RunEnded():
                self._ended(entry)
                self.between = "the run had ended"

    @property
    def limits(self) -> Limits:
        """In force."""
        return self.orders.limits

    def due(self, number: int) -> tuple[Stage, str] | None:
        """What an attempt needs next, by its own record: stage and plug-in; None if only its end."""
        dossier = self.attempts[number]
        if dossier.fatal or dossier.refused:
            return None
        if dossier.change is None:
            return Stage.MUTATE, dossier.opened.proposal.mutator
        if dossier.change.refusal or self._owner(number) is not None or self.start is None:
            return None
        waiting = [step for step in self.start.plan.steps if step.plugin not in dossier.results]
        return (waiting[0].stage, waiting[0].plugin) if waiting else None

    def _may_be(self, number: int, stage: Stage, plugin: str) -> bool:
        """Whether that is a gate of newcomers to the frontier, and its turn."""
        dossier = self.attempts[number]
        final = self.start.plan.final if self.start is not None else ()
        waiting = [step for step in final if step.plugin not in dossier.results]
        lost = any(held.verdict != "better" for held in dossier.contests.values())
        turn = bool(waiting) and (waiting[0].stage, waiting[0].plugin) == (stage, plugin)
        return turn and number != 0 and not lost and self.due(number) is None and not dossier.refused

    def submitted(self, job: Job) -> None:
        """A job was handed to a pool just now."""
        number = int(job.attempt)
        if self.orders.paused:
            self.problems.append(f"{self.seq}: a job for attempt {number}, though the run is paused")
        if job.consultation in self.questions.asked:
            return
        if number not in self.open:
            self.problems.append(f"{self.seq}: a job for attempt {number}, which is not open")
            return
        dossier, due = self.attempts[number], self.due(number)
        if self._may_be(number, job.stage, job.plugin):
            due = (job.stage, job.plugin)
        if job.challenge is not None and due is None:
            due = (Stage.BENCHMARK, CONFIRMATION)
            if problem := self._unmeetable(number, int(job.challenge.rival), job.challenge.reference):
                self.problems.append(f"{self.seq}: attempt {number}: {problem}")
        tries = dossier.tries.get((job.stage, job.plugin), 0)
        for holds, problem in (
            (due == (job.stage, job.plugin), f"asked for {job.stage} {job.plugin}; due: {due}"),
            (job.try_number == tries, f"try {job.try_number} after {tries} failures"),
            (job.base == self._base(dossier), f"{job.stage} starts from the wrong commit"),
            (job.opened_at_s == dossier.opened_at_s, f"opened at {dossier.opened_at_s}, not {job.opened_at_s}"),
        ):
            if not holds:
                self.problems.append(f"{self.seq}: attempt {number}: {problem}")

    def _unmeetable(self, number: int, rival: int, reference: bool) -> str:
        """Why an attempt must not meet that rival now; nothing if it may."""
        dossier, other = self.attempts[number], self.attempts.get(rival)
        plan = self.start.plan if self.start is not None else None
        if plan is None or plan.confirmation is None:
            return "compared where nothing is confirmed"
        if dossier.refused or dossier.fatal or any(step.plugin not in dossier.results for step in plan.steps):
            return "compared before it was through every gate and benchmark"
        if rival in dossier.contests or rival in dossier.references:
            return f"meets {rival} twice"
        if reference and (other is None or (rival and not other.opened.proposal.baseline)):
            return f"is compared with {rival}, which is neither the seed nor a baseline"
        if number == 0 and rival == 0:
            return ""
        if any(held.verdict != "better" for held in dossier.contests.values()):
            return "goes on after it was not better"
        if other is None or other.outcome is not Outcome.ADMITTED or not (other.confirmed or reference):
            return f"meets {rival}, which stands on no frontier"
        return ""

    def _base(self, dossier: Dossier) -> str:
        """Where the work on an attempt must start."""
        if dossier.change is not None:
            return dossier.change.commit
        proposal = dossier.opened.proposal
        first = proposal.repair if proposal.repair is not None else next(iter(proposal.parents), -1)
        start = self.attempts.get(first)
        if start is not None and start.change is not None:
            return start.change.commit
        return self.start.origin if self.start is not None else ""

    def _check(self, holds: bool, entry: Entry, problem: str) -> None:
        if not holds:
            self.problems.append(f"{entry.seq}: {problem}")

    def _owner(self, number: int) -> int | None:
        """The other attempt that answers for this one's tree."""
        change = self.attempts[number].change
        owner = self.answers.get(change.tree, number) if change is not None else number
        return None if owner == number else owner

    def _opened(self, entry: Entry, fact: AttemptOpened) -> None:
        number, proposal, limits = int(fact.attempt), fact.proposal, self.limits
        highest = max(self.attempts, default=0)
        if number == 0:
            seeded = self.start is not None and self.start.seeded
            self._check(seeded and not self.attempts, entry, "attempt 0 is no seed, or not the first")
        else:
            self._check(
                number == highest + 1, entry, f"attempt {number} opened after {highest}: a number skipped or reused"
            )
            self._check(len(self.open) < limits.open_max, entry, f"more than {limits.open_max} attempts under way")
            for limit, reached, what in (
                (limits.attempts_max, float(highest), "attempts"),
                (limits.cost_usd, self.cost_usd, "cost"),
                (limits.run_s, entry.run_s - self.slack_s, "time"),
                (limits.failed_in_row_max, float(self.failed_in_row), "failures in a row"),
            ):
                self._check(limit is None or reached < limit, entry, f"opened beyond the limit on {what}: {limit}")
        for parent in proposal.parents:
            admitted = parent in self.attempts and self.attempts[parent].outcome is Outcome.ADMITTED
            self._check(admitted, entry, f"parent {parent} is no candidate")
        if proposal.repair is not None:
            broken = self.attempts.get(proposal.repair)
            self._check(broken is not None and broken.change is not None, entry, f"{proposal.repair} has no commit")
        self.attempts[number] = Dossier(fact, entry.at_s)
        self.open.add(number)

    def _progress(self, entry: Entry, fact: Mutated | Judged | Measured | Compared | JobFailed) -> None:
        number = int(fact.attempt)
        dossier = self.attempts.get(number)
        if dossier is None or dossier.outcome is not None:
            self._check(False, entry, f"{type(fact).__name__} of attempt {number}, which is not open")
            return
        due = self.due(number)
        match fact:
            case Mutated():
                self._check(due is not None and due[0] is Stage.MUTATE, entry, f"attempt {number} mutated; due: {due}")
                dossier.change = fact.change
                self.answers.setdefault(fact.change.tree, number)
                self.cost_usd += fact.change.mutation.usage.cost_usd
            case Judged():
                self._evaluated(entry, number, fact.judge, fact.verdict, fact.reused_from)
                if fact.verdict.usage is not None and fact.reused_from is None:
                    self.cost_usd += fact.verdict.usage.cost_usd
            case Measured():
                self._evaluated(entry, number, fact.benchmark, fact.measurements, fact.reused_from)
            case Compared():
                problem = self._unmeetable(number, int(fact.rival), fact.reference)
                self._check(not problem, entry, problem)
                if fact.reference:
                    dossier.references.add(int(fact.rival))
                else:
                    dossier.contests[int(fact.rival)] = fact.contest
            case JobFailed():
                if self._may_be(number, fact.stage, fact.plugin):
                    due = (fact.stage, fact.plugin)
                if fact.plugin == CONFIRMATION and due is None:
                    due = (Stage.BENCHMARK, CONFIRMATION)
                self._check(due == (fact.stage, fact.plugin), entry, f"{fact.plugin} failed for {number}; due: {due}")
                key, retries_max = (fact.stage, fact.plugin), self.start.plan.retries_max if self.start else 0
                dossier.tries[key] = dossier.tries.get(key, 0) + 1
                self.cost_usd += fact.usage.cost_usd
                self._check(dossier.tries[key] <= retries_max + 1, entry, f"attempt {number}: retried without end")
                dossier.fatal = not fact.retry or dossier.tries[key] > retries_max

    def _evaluated(
        self, entry: Entry, number: int, plugin: str, result: Verdict | tuple[Measurement, ...], source: int | None
    ) -> None:
        dossier, due = self.attempts[number], self.due(number)
        if self._may_be(number, Stage.JUDGE, plugin):
            due = (Stage.JUDGE, plugin)
        if plugin == CONFIRMATION and due is None:  # it would not run beside another
            due = (Stage.BENCHMARK, CONFIRMATION)
        self._check(due is not None and due[1] == plugin, entry, f"attempt {number}: {plugin} spoke; due: {due}")
        tree = dossier.change.tree if dossier.change is not None else ""
        if source is None:
            first = self.paid.setdefault((tree, plugin), number)
            self._check(first == number, entry, f"{plugin} was paid twice for one program: for {first} and {number}")
        else:
            earlier = self.attempts.get(source)
            sound = earlier is not None and earlier.change is not None and earlier.change.tree == tree
            self._check(sound, entry, f"attempt {number}: reused from {source}, which is another program")
            if earlier is not None:
                self._check(earlier.results.get(plugin) == result, entry, f"{plugin} never said that of {source}")
                over = earlier.outcome in {Outcome.FAILED, Outcome.ABANDONED}
                self._check(over, entry, f"reused from {source}, which is {earlier.outcome or 'open'}")
        dossier.results[plugin] = result

    def _closed(self, entry: Entry, fact: AttemptClosed) -> None:
        number = int(fact.attempt)
        dossier = self.attempts.get(number)
        if dossier is None or dossier.outcome is not None:
            self._check(False, entry, f"attempt {number} closed twice, or never opened")
            return
        match fact.outcome:
            case Outcome.ADMITTED:
                problem = self._admissible(number, fact.candidate)
            case Outcome.REJECTED:
                problem = self._rejected(number)
            case Outcome.FAILED:
                unsteady = number == 0 and dossier.contests
                problem = "" if dossier.fatal or unsteady or self._missing(dossier) else "nothing had broken"
            case Outcome.ABANDONED:
                problem = self._abandoned(entry)
            case _:
                assert_never(fact.outcome)
        self._check(not problem, entry, f"attempt {number} {fact.outcome}: {problem}")
        self._check(
            (fact.candidate is not None) == (fact.outcome is Outcome.ADMITTED), entry, "a candidate, and only then"
        )
        dossier.outcome = fact.outcome
        self.open.discard(number)
        if fact.outcome is not Outcome.ABANDONED:
            self.failed_in_row = self.failed_in_row + 1 if fact.outcome is Outcome.FAILED else 0
        tree = dossier.change.tree if dossier.change is not None else ""
        if fact.outcome is Outcome.ADMITTED:
            self._check(tree not in self.admitted, entry, f"attempt {number}: this program is a candidate already")
            self.admitted.add(tree)
        elif fact.outcome is not Outcome.REJECTED and self.answers.get(tree) == number:
            del self.answers[tree]

    def _admissible(self, number: int, candidate: Candidate | None) -> str:
        """Why an attempt must not become a candidate; empty if it may."""
        dossier = self.attempts[number]
        change, proposal = dossier.change, dossier.opened.proposal
        if candidate is None or change is None or self.start is None:
            return "there is no program"
        if change.refusal or dossier.refused or dossier.fatal:
            return "a gate said no, or broke"
        silent = [step.plugin for step in self.start.plan.steps if step.plugin not in dossier.results]
        if silent:
            return f"{', '.join(silent)} never spoke"
        if self._owner(number) is not None:
            return f"the same program as {self._owner(number)}"
        if self._missing(dossier):
            return f"nothing finite measured for {', '.join(self._missing(dossier))}"
        lost = [rival for rival, held in dossier.contests.items() if held.verdict != "better"]
        if candidate.confirmed and lost and number:
            return f"confirmed, though it was not better than {lost[0]}"
        skipped = [step.plugin for step in self.start.plan.final if step.plugin not in dossier.results]
        if candidate.confirmed and skipped and number and self.start.plan.confirmation is not None:
            return f"confirmed, though {skipped[0]} never spoke"
        dossier.confirmed = candidate.confirmed
        told = (candidate.id, candidate.commit, candidate.tree, candidate.parents, candidate.measurements)
        known = (
            number,
            change.commit,
            change.tree,
            proposal.parents,
            tuple(dossier.latest if number else dossier.measured),
        )
        return "" if told == known else "its candidate is not what was recorded"

    def _missing(self, dossier: Dossier) -> list[str]:
        """Objectives without a finite sample, once all steps have been taken."""
        if self.start is None or any(step.plugin not in dossier.results for step in self.start.plan.steps):
            return []
        finite = {m.name for m in dossier.measured if m.samples and all(map(math.isfinite, m.samples))}
        return [o.name for o in self.start.objectives if o.name not in finite]

    def _rejected(self, number: int) -> str:
        dossier = self.attempts[number]
        refused = dossier.refused or (dossier.change is not None and dossier.change.refusal)
        if self.start is not None:
            rivals = (other for other in self.attempts.values() if other.outcome is Outcome.ADMITTED)
            refused = refused or any(dossier.behind(rival, self.start) for rival in rivals)
        return "" if not dossier.fatal and (refused or self._owner(number) is not None) else "nobody said no"

    def _abandoned(self, entry: Entry) -> str:
        limits = self.limits
        if limits.run_s is None:
            return "there is no limit on time"
        over_s = self.orders.over_from_s + limits.drain_s
        return "" if entry.run_s >= over_s - 0.001 else f"its extra time was not up: {entry.run_s} of {over_s} s"

    def _ended(self, entry: Entry) -> None:
        self._check(not self.open, entry, f"the run ended with {sorted(self.open)} open")
        if self.limits.run_s is not None:
            over_s = self.orders.over_from_s + self.limits.drain_s + self.slack_s
            self._check(entry.run_s <= over_s, entry, f"ended at {entry.run_s} s, limits allow {over_s} s")
