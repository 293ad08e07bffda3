"""The loop: ask, submit, wait for one thing, record it, tell."""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from raysearch import budget
from raysearch.answers import as_fact
from raysearch.asked import require_possible
from raysearch.board.types import Filing
from raysearch.codec import CodecError, check
from raysearch.consultation import Consultation
from raysearch.errors import Invariant, LedgerError, OutOfSpace, PluginError, RunError, boundary
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    ConsultationOpened,
    Entry,
    Fact,
    Filed,
    Mutated,
    RunEnded,
    RunStarted,
    SessionClosed,
    SessionOpened,
    Steered,
    Unanswered,
)
from raysearch.jobs import Job, Ticket
from raysearch.lifecycle import advance, consult
from raysearch.protocols import Answer, Clock, Ledger, Policy, Pool, Sink, Steering
from raysearch.seeds import stream
from raysearch.state import Attempt, State
from raysearch.steering import Receipt
from raysearch.types import SEED, Allowance, AttemptId, Brief, Commit, Declared, Outcome, Proposal

log = logging.getLogger(__name__)

POLL_S = 0.5
"""How often a silent pool lets the driver look at stop requests and limits."""
INSTANT_S = 0.001
"""What the journal's clock tells apart."""
HEED_S = 0.2
"""How often people's commands are looked for."""
FILED_MAX, ASKED_MAX = 10_000, 100
"""So much may a policy file at one time, and ask in a row, before it proposes something."""
NOTHING_MORE = "the policy has no more to ask"


def never() -> str:
    """No reason to stop."""
    return ""


def keep_nothing(attempt: AttemptId, commit: Commit) -> None:
    """For pools whose commits need no keeping."""


@contextmanager
def garbage_left_alone() -> Iterator[None]:
    """A replay makes millions of objects that stay: looking for garbage among them takes a fifth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(slots=True)
class Engine:
    """One synchronous driver. Written down first, believed second, told third."""

    policy: Policy
    pool: Pool
    ledger: Ledger
    clock: Clock
    sink: Sink
    stop: Callable[[], str] = never
    """Asked at every step; a reason makes the driver let go, with the run left resumable."""
    keep: Callable[[AttemptId, Commit], None] = keep_nothing
    """Makes an attempt's commit permanent (its ref) before the fact that names it is written."""
    steering: Steering | None = None
    """What people tell the run while it is driven."""
    state: State = field(default_factory=State)
    running: dict[Ticket, Job] = field(default_factory=dict)
    _epoch_s: float = 0.0
    _heard_s: float = 0.0
    _heeded_s: float = -math.inf
    _drain_until_s: float | None = None

    def run(self, start: RunStarted, session: SessionOpened) -> State:
        """Drive the run until it ends or ``stop`` gives a reason. Raises LedgerError."""
        self.recover(start, session)
        while not self.state.ended:
            self._heed()
            reason = self.stop() or self.state.helm.stop
            if reason:
                self._record(SessionClosed(reason))
                break
            self.step()
        return self.state

    def recover(self, start: RunStarted, session: SessionOpened) -> None:
        """Fold the journal; then every open attempt is simply asked what is next.

        ``start`` is recorded only if the journal is empty; ``session.session`` is set to the next number.
        """
        with garbage_left_alone():
            for entry in self.ledger.replay():
                self.state.apply(entry)
                self._tell(entry.fact)
        started = self.state.started
        if started is not None and started.target_digest != start.target_digest:
            raise RunError(f"the target of {started.run} is not the one that the run started with: restore its files")
        self._epoch_s = self.clock.monotonic() - self.state.run_s
        self._heard_s = self.clock.monotonic()
        if self.state.started is None:
            self._record(start)
        self._record(SessionOpened(self.state.session + 1, session.limits, session.host, session.pid, session.version))
        self._go_on()
        if self.state.start.seeded and SEED not in self.state.open and SEED not in self.state.closed:
            self._open(SEED, Proposal())

    def step(self) -> None:
        """Ask for what there is room for, then take one answer."""
        limit, paused = self._limit(), self.state.helm.paused
        if not limit:
            self._drain_until_s = None  # one that had been reached may have been raised
        if not limit and not paused and not self._seed_pending():
            self._fill() if self.state.opening is None else self._open_baseline(self.state.opening)
        elif limit and self._drained():
            self._abandon(limit)
        if not self.state.busy and (limit or not paused):
            self._record(RunEnded(limit or self._limit() or self._over()))
            return
        answer = self.pool.next(self._patience_s())
        if answer is not None:
            self._heard_s = self.clock.monotonic()
            self._take(answer)
        elif not self.running:
            self._heard_s = self.clock.monotonic()
            self.clock.sleep(POLL_S)
        elif self.clock.monotonic() - self._heard_s > self.state.limits.silence_s:
            raise Invariant(f"the pool answered nothing for {self.state.limits.silence_s:.0f} s")

    def _over(self) -> str:
        """Why the policy asks nothing more."""
        over = getattr(self.policy, "over", None)
        if over is None:
            return NOTHING_MORE
        with boundary(PluginError, f"policy {type(self.policy).__name__}: over()"):
            return str(over(self.state)) or NOTHING_MORE

    def _limit(self) -> str:
        """The limit that has been reached, in words; empty if none has."""
        state, limits = self.state, self.state.limits
        if state.failed_in_row >= limits.failed_in_row_max:
            return (
                f"{state.failed_in_row} attempts in a row failed for reasons not their own; last: {state.last_failure}"
            )
        if state.known_in_row >= limits.known_in_row_max:
            return f"{state.known_in_row} attempts in a row made programs that were known already"
        if state.closed.get(SEED) is Outcome.FAILED and not state.attempts_total:
            return f"the seed program could not be evaluated: {state.last_failure}"
        if limits.run_s is not None and self._run_s() >= limits.run_s:
            return f"time budget of {limits.run_s:g} s"
        if spent := budget.exhausted(state):
            return spent
        if limits.attempts_max is not None and state.attempts_total >= limits.attempts_max:
            return f"{limits.attempts_max} candidates"
        return ""

    def _patience_s(self) -> float:
        """How long to wait for an answer: not beyond the next moment at which time is up."""
        ends_s = []
        if self._drain_until_s is not None:
            ends_s.append(self._drain_until_s - self.clock.monotonic())
        elif self.state.limits.run_s is not None:
            ends_s.append(self.state.limits.run_s - self._run_s())
        return min([POLL_S, *(max(left_s, INSTANT_S) for left_s in ends_s)])

    def _drained(self) -> bool:
        """Whether attempts under way have had their extra time; a limit on attempts lets all of them finish."""
        limits = self.state.limits
        if limits.run_s is None or self._run_s() < limits.run_s:
            return False
        if self._drain_until_s is None:
            self._drain_until_s = self.clock.monotonic() + limits.drain_s
        return self.clock.monotonic() >= self._drain_until_s

    def _abandon(self, reason: str) -> None:
        for consultation in list(self.state.consulting):
            self.running.pop(("consultation", consultation), None)
            self._record(Unanswered(consultation, reason))
        for attempt in list(self.state.open):
            self.running.pop(("attempt", attempt), None)
            self._record(AttemptClosed(attempt, Outcome.ABANDONED, reason))

    def _seed_pending(self) -> bool:
        """Whether the seed, or a baseline, is under way: they come first, one after the other."""
        return any(n == SEED or attempt.proposal.baseline for n, attempt in self.state.open.items())

    def _open_baseline(self, baseline: Declared) -> None:
        task = Brief(task=f"the baseline {baseline.name}")
        self._open(
            AttemptId(self.state.attempts_total + 1),
            Proposal(mutator="baseline", brief=task, lineage="baseline", baseline=baseline.name),
        )

    def _fill(self) -> None:
        filed = 0
        while (slots := self._slots()) > 0:
            rng = stream(self.state.start.seed, "ask", self.state.attempts_total)
            with boundary(PluginError, f"policy {type(self.policy).__name__}: ask()"):
                asked = self.policy.ask(self.state, slots, rng)
            require_possible(type(self.policy).__name__, self.state, asked, slots)
            if not asked:
                return
            for one in asked:
                match one:
                    case Proposal():
                        self._open(AttemptId(self.state.attempts_total + 1), one)
                    case Consultation():
                        self._consult(one)
                    case Filing():
                        filed += 1
                        self._record(Filed(one))
            if filed > FILED_MAX or self.state.counsel.in_row > ASKED_MAX:
                raise PluginError(f"policy {type(self.policy).__name__} files and asks, and proposes nothing")

    def _slots(self) -> int:
        """Lanes that may be used now."""
        limits = self.state.limits
        slots = limits.open_max - self.state.busy
        if limits.attempts_max is not None:
            slots = min(slots, limits.attempts_max - self.state.attempts_total)
        affordable = budget.room(self.state)
        return slots if affordable is None else min(slots, affordable)

    def _open(self, attempt: AttemptId, proposal: Proposal) -> None:
        told = self.state.helm.said_to("implementer", proposal.lineage) if attempt != SEED else ()
        brief = replace(proposal.brief, messages=told) if told else proposal.brief
        self._record(AttemptOpened(attempt, replace(proposal, brief=brief)))
        self._push(attempt)

    def _consult(self, question: Consultation) -> None:
        told = self.state.helm.said_to(question.role, question.lineage)
        brief = replace(question.brief, messages=told) if told else question.brief
        number = self.state.counsel.total + 1
        self._record(ConsultationOpened(number, replace(question, brief=brief)))
        self._ask(number)

    def _go_on(self) -> None:
        """Hand out what is next of everything that is open and not under way."""
        for number in list(self.state.consulting):
            if ("consultation", number) not in self.running:
                self._ask(number)
        for attempt in list(self.state.open):
            if ("attempt", attempt) not in self.running:
                self._push(attempt)

    def _ask(self, consultation: int) -> None:
        match consult(self.state, self.state.consulting[consultation]):
            case Job() as job:
                self._submit(job, self._granted(None))
            case fact:
                self._record(fact)

    def _push(self, attempt: AttemptId) -> None:
        """Record what is known already until there is work to submit, or the attempt has closed."""
        while attempt in self.state.open:
            match advance(self.state, self.state.open[attempt]):
                case Job() as job:
                    self._submit(job, self._granted(self.state.open[attempt]))
                    return
                case fact:
                    self._record(fact)

    def _granted(self, attempt: Attempt | None) -> Allowance:
        return budget.allowance(self.state, attempt, [running.allowance for running in self.running.values()])

    def _submit(self, job: Job, allowance: Allowance) -> None:
        if self.state.helm.paused:
            return
        job = replace(job, allowance=allowance)
        self.running[job.ticket] = job
        self.pool.submit(job)
        self.sink.started(job)

    def _take(self, answer: Answer) -> None:
        """Record an answer, unless it is late or doubled."""
        job = answer.job
        if self.running.get(job.ticket) != job:
            return
        if isinstance(answer.result, OutOfSpace):
            raise LedgerError(f"no space left: {answer.result}")
        del self.running[job.ticket]
        self._record(as_fact(answer))
        if job.consultation is None:
            self._push(job.attempt)
        elif job.consultation in self.state.consulting:
            self._ask(job.consultation)

    def _heed(self) -> None:
        """Carry out what people have told the run, each command once, and say what came of it."""
        now_s = self.clock.monotonic()
        if self.steering is None or 0 <= now_s - self._heeded_s < HEED_S:
            return
        self._heeded_s = now_s
        try:
            for name, command in self.steering.take(self.state.helm.receipts):
                paused = self.state.helm.paused
                try:
                    check(Steered(command))
                except CodecError as error:
                    self._reply(name, Receipt(False, f"no journal can hold it: {error}"))
                    continue
                self._record(Steered(command))
                if paused and not self.state.helm.paused:
                    self._go_on()
                self._reply(name, self.state.helm.receipts[command.id])
        except OSError as error:  # what was sent stays where it is, for the next time or the next driver
            log.warning("the inbox cannot be used: %s", error)

    def _reply(self, name: str, receipt: Receipt) -> None:
        """Answer one command; if that fails, those that came with it are carried out all the same."""
        assert self.steering is not None
        try:
            self.steering.answer(name, receipt)
        except OSError as error:
            log.warning("the inbox cannot be used: %s", error)

    def _record(self, fact: Fact) -> None:
        if isinstance(fact, Mutated):
            self.keep(fact.attempt, fact.change.commit)
        # To the millisecond, as the journal writes it: what is believed now is what a replay will believe.
        entry = Entry(self.state.seq + 1, round(self.clock.now(), 3), round(self._run_s(), 3), fact)
        self.ledger.append(entry)
        self.state.apply(entry)
        self._tell(fact)
        self.sink.told(entry)

    def _tell(self, fact: Fact) -> None:
        """Tell the policy what happened, but for baselines: it has not asked for them."""
        if getattr(fact, "attempt", None) in self.state.baselines.values():
            return
        try:
            self.policy.tell(fact)
        except Exception as error:
            told = f"tell({type(fact).__name__})"
            raise PluginError(
                f"policy {type(self.policy).__name__}: {told}: {type(error).__name__}: {error}"
            ) from error

    def _run_s(self) -> float:
        return self.clock.monotonic() - self._epoch_s
