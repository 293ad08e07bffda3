"""The loop: ask, submit, wait for one thing, record it, tell."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from raysearch import budget
from raysearch.codec import CodecError, check
from raysearch.errors import (
    EvaluatorFault,
    Fault,
    Invariant,
    LedgerError,
    MutatorFault,
    OutOfSpace,
    PluginError,
    RunError,
    boundary,
)
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Compared,
    Entry,
    Fact,
    JobFailed,
    Judged,
    Measured,
    Mutated,
    RunEnded,
    RunStarted,
    SessionClosed,
    SessionOpened,
)
from raysearch.lifecycle import advance
from raysearch.protocols import Answer, Clock, Ledger, Policy, Pool, Sink
from raysearch.seeds import stream
from raysearch.state import State
from raysearch.types import SEED, AttemptId, Change, Commit, Contest, Job, Outcome, Proposal, Stage, Verdict

POLL_S = 0.5
"""How often a silent pool lets the driver look at stop requests and limits."""


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
    state: State = field(default_factory=State)
    running: dict[AttemptId, Job] = field(default_factory=dict)
    _epoch_s: float = 0.0
    _heard_s: float = 0.0
    _drain_until_s: float | None = None

    def run(self, start: RunStarted, session: SessionOpened) -> State:
        """Drive the run until it ends or ``stop`` gives a reason. Raises LedgerError."""
        self.recover(start, session)
        while not self.state.ended:
            reason = self.stop()
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
        for attempt in list(self.state.open):
            self._push(attempt)
        if self.state.start.seeded and SEED not in self.state.open and SEED not in self.state.closed:
            self._open(SEED, Proposal())

    def step(self) -> None:
        """Ask for what there is room for, then take one answer."""
        limit = self._limit()
        if not limit and not self._seed_pending():
            self._fill()
        elif limit and self._drained():
            self._abandon(limit)
        if not self.state.open:
            self._record(RunEnded(limit or self._limit() or "the policy has no more to ask"))
            return
        answer = self.pool.next(POLL_S)
        if answer is not None:
            self._heard_s = self.clock.monotonic()
            self._take(answer)
        elif self.clock.monotonic() - self._heard_s > self.state.limits.silence_s:
            raise Invariant(f"the pool answered nothing for {self.state.limits.silence_s:.0f} s")

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

    def _drained(self) -> bool:
        """Whether attempts under way have had their extra time; a limit on attempts lets all of them finish."""
        limits = self.state.limits
        if limits.run_s is None or self._run_s() < limits.run_s:
            return False
        if self._drain_until_s is None:
            self._drain_until_s = self.clock.monotonic() + limits.drain_s
        return self.clock.monotonic() >= self._drain_until_s

    def _abandon(self, reason: str) -> None:
        for attempt in list(self.state.open):
            self.running.pop(attempt, None)
            self._record(AttemptClosed(attempt, Outcome.ABANDONED, reason))

    def _seed_pending(self) -> bool:
        return SEED in self.state.open

    def _fill(self) -> None:
        limits = self.state.limits
        while True:
            slots = limits.open_max - len(self.state.open)
            if limits.attempts_max is not None:
                slots = min(slots, limits.attempts_max - self.state.attempts_total)
            affordable = budget.room(self.state)
            if affordable is not None:
                slots = min(slots, affordable)
            if slots <= 0:
                return
            rng = stream(self.state.start.seed, "ask", self.state.attempts_total)
            with boundary(PluginError, f"policy {type(self.policy).__name__}: ask()"):
                proposals = self.policy.ask(self.state, slots, rng)
            self._check(proposals, slots)
            if not proposals:
                return
            for proposal in proposals:
                self._open(AttemptId(self.state.attempts_total + 1), proposal)

    def _check(self, proposals: Sequence[Proposal], slots: int) -> None:
        """A policy's mistake is found before it is written down, where it would spoil the run for good."""
        state, name = self.state, type(self.policy).__name__
        if len(proposals) > slots:
            raise PluginError(f"policy {name} asked for {len(proposals)} children; there was room for {slots}")
        for proposal in proposals:
            strangers = [p for p in proposal.parents if p not in state.candidates]
            if strangers:
                raise PluginError(f"policy {name} proposed parent {strangers[0]}, which is no candidate")
            if proposal.repair is not None and proposal.repair not in state.commits:
                raise PluginError(f"policy {name} proposed to repair {proposal.repair}, which has no commit")
            try:
                check(AttemptOpened(SEED, proposal))
            except CodecError as error:
                raise PluginError(f"policy {name} made a proposal that no journal can hold: {error}") from error

    def _open(self, attempt: AttemptId, proposal: Proposal) -> None:
        self._record(AttemptOpened(attempt, proposal))
        self._push(attempt)

    def _push(self, attempt: AttemptId) -> None:
        """Record what is known already until there is work to submit, or the attempt has closed."""
        while attempt in self.state.open:
            match advance(self.state, self.state.open[attempt]):
                case Job() as job:
                    granted = [running.allowance for running in self.running.values()]
                    job = replace(job, allowance=budget.allowance(self.state, self.state.open[attempt], granted))
                    self.running[attempt] = job
                    self.pool.submit(job)
                    self.sink.started(job)
                    return
                case fact:
                    self._record(fact)

    def _take(self, answer: Answer) -> None:
        """Record an answer, unless it is late or doubled."""
        attempt = answer.job.attempt
        if self.running.get(attempt) != answer.job:
            return
        if isinstance(answer.result, OutOfSpace):
            raise LedgerError(f"no space left: {answer.result}")
        del self.running[attempt]
        self._record(as_fact(answer))
        self._push(attempt)

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
        try:
            self.policy.tell(fact)
        except Exception as error:
            told = f"tell({type(fact).__name__})"
            raise PluginError(
                f"policy {type(self.policy).__name__}: {told}: {type(error).__name__}: {error}"
            ) from error

    def _run_s(self) -> float:
        return self.clock.monotonic() - self._epoch_s


RESULTS: dict[Stage, tuple[type, ...]] = {
    Stage.MUTATE: (Change,),
    Stage.JUDGE: (Verdict,),
    Stage.BENCHMARK: (tuple, Verdict),
}
"""What each stage may answer, beside a fault. A benchmark's verdict is its refusal to measure."""
CONTEST = (Contest, Verdict)
"""What a job with a challenge may answer."""


def as_fact(answer: Answer) -> Fact:
    """What an answer means for the run. One that its job cannot have, or that no journal can hold, is a fault."""
    job, result = answer.job, answer.result
    try:
        fact = _fact(answer)
        passed_by_a_benchmark = job.stage is Stage.BENCHMARK and isinstance(result, Verdict) and result.passed
        due = RESULTS[job.stage] if job.challenge is None else CONTEST
        if passed_by_a_benchmark or not isinstance(result, (Fault, *due)):
            raise CodecError(f"a {job.stage} job cannot answer with {type(result).__name__}")
        check(fact)
    except CodecError as error:
        kind = MutatorFault if job.stage is Stage.MUTATE else EvaluatorFault
        return _fact(replace(answer, result=kind(str(error))))
    return fact


def _fact(answer: Answer) -> Fact:
    job, result = answer.job, answer.result
    match result:
        case Change():
            return Mutated(job.attempt, result, answer.worker, answer.took_s, answer.gpu_s)
        case Verdict():
            return Judged(job.attempt, job.plugin, result, None, answer.worker, answer.took_s, answer.gpu_s)
        case Contest() if job.challenge is not None:
            rival, level = job.challenge.rival, job.challenge.level
            return Compared(job.attempt, rival, level, result, answer.worker, answer.took_s, answer.gpu_s)
        case Contest():
            raise CodecError("a contest that nobody asked for")
        case tuple():
            return Measured(job.attempt, job.plugin, result, None, answer.worker, answer.took_s, answer.gpu_s)
        case Fault():
            message = str(result).encode(errors="backslashreplace").decode()
            return JobFailed(
                attempt=job.attempt,
                stage=job.stage,
                plugin=job.plugin,
                fault=type(result).__name__,
                message=message,
                retry=result.retryable,
                usage=result.usage,
                worker=answer.worker,
                took_s=answer.took_s,
                gpu_s=answer.gpu_s,
            )
