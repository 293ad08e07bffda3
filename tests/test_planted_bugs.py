"""A test that cannot fail is worth nothing: each bug planted here must be noticed by the simulation.

The fold's own checks are switched off, so that what notices is the reader outside (`raysearch.testing.audit` and
the checks around it), and it must notice for the right reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

import raysearch.engine
import raysearch.ledger
import raysearch.lifecycle
from population.frontier import Frontier
from population.policies.evolve import Evolve
from raysearch.codec import encode
from raysearch.engine import Engine
from raysearch.facts import AttemptClosed, Entry, Fact, JobFailed, Judged, Measured, Mutated, RunStarted, SessionOpened
from raysearch.lifecycle import advance
from raysearch.protocols import Answer, Policy, View
from raysearch.state import Attempt, State
from raysearch.testing.simulated import FileDisk, Journal, Mishap, PowerCut, SimDisk, SimLedger, SimPool, Span
from raysearch.testing.simulation import Parts, simulate
from raysearch.types import AttemptId, Candidate, CandidateId, Change, Job, Outcome, Proposal, Stage, Verdict

SEEDS = range(60)
Next = Job | Mutated | Judged | Measured | AttemptClosed


@dataclass(frozen=True)
class Setting:
    """What to simulate with."""

    parts: Parts = Parts()
    policy: str | Callable[[], Policy] = "evolve"
    options: Mapping[str, object] = field(default_factory=dict)


Plant = Callable[[pytest.MonkeyPatch, Path], Setting]
BUGS: dict[str, tuple[Plant, str]] = {}


def bug(noticed_as: str) -> Callable[[Plant], Plant]:
    """Register a planted bug with the words by which it must be noticed."""

    def register(plant: Plant) -> Plant:
        BUGS[plant.__name__] = (plant, noticed_as)
        return plant

    return register


def with_engine(engine: type[Engine]) -> Setting:
    return Setting(Parts(engine=engine))


# -- what comes next ----------------------------------------------------------------------------------------


@bug("never spoke")
def admits_before_the_last_benchmark(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    def hasty(state: State, attempt: Attempt) -> Next:
        due = advance(state, attempt)
        if isinstance(due, Job) and due.plugin == state.plan.steps[-1].plugin and attempt.change is not None:
            measured = tuple(m for ms in attempt.measurements.values() for m in ms)
            change, parents = attempt.change, attempt.proposal.parents
            candidate = Candidate(attempt.id, change.commit, change.tree, parents, measured)
            return AttemptClosed(attempt.id, Outcome.ADMITTED, "", candidate)
        return due

    patch.setattr(raysearch.engine, "advance", hasty)
    return Setting(Parts(whole_frontier=False))


@bug("never spoke")
def forgets_the_last_gate(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    done = raysearch.lifecycle._done

    def careless(attempt: Attempt, step: raysearch.types.Step) -> bool:
        return done(attempt, step) or step.plugin == "audit"

    patch.setattr(raysearch.lifecycle, "_done", careless)
    return Setting()


@bug("a gate said no")
def takes_a_no_for_a_yes(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    def deaf(state: State, attempt: Attempt) -> Next:
        return advance(state, replace(attempt, verdicts=dict.fromkeys(attempt.verdicts, Verdict(True))))

    patch.setattr(raysearch.engine, "advance", deaf)
    return Setting()


@bug("a gate said no")
def passes_by_the_guard(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    def bribed(state: State, attempt: Attempt) -> Next:
        change = attempt.change
        return advance(state, replace(attempt, change=None if change is None else replace(change, refusal="")))

    patch.setattr(raysearch.engine, "advance", bribed)
    return Setting()


@bug("paid twice")
def evaluates_a_known_program_again(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    def forgetful(state: State, attempt: Attempt) -> Next:
        known, state.known = state.known, {}
        try:
            return advance(state, attempt)
        finally:
            state.known = known

    patch.setattr(raysearch.engine, "advance", forgetful)
    return Setting()


@bug("paid twice")
def pays_again_for_what_a_broken_attempt_had(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    patch.setattr(raysearch.lifecycle, "_reused", lambda *_: None)
    return Setting()


@bug("which is rejected")
def reuses_the_verdict_of_a_rejected_attempt(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    closed = State._closed

    def generous(self: State, fact: AttemptClosed) -> None:
        record = self.open[fact.attempt]
        closed(self, fact)
        if fact.outcome is Outcome.REJECTED and record.change is not None and record.verdicts:
            self.known.pop(record.change.tree, None)
            self.unfinished[record.change.tree] = record

    patch.setattr(State, "_closed", generous)
    return Setting()


@bug("starts from the wrong commit")
def repairs_the_parent_and_not_the_attempt(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    def elsewhere(state: State, attempt: Attempt) -> Next:
        due = advance(state, attempt)
        if isinstance(due, Job) and due.stage is Stage.MUTATE:
            return replace(due, base=due.parents[0])
        return due

    patch.setattr(raysearch.engine, "advance", elsewhere)
    return Setting(policy="agent")


# -- retries and answers ------------------------------------------------------------------------------------


@bug("retried without end")
def retries_without_end(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    failed = State._failed

    def stubborn(self: State, fact: JobFailed) -> None:
        failed(self, fact)
        if fact.retry:
            self.open[fact.attempt].fatal = ""

    patch.setattr(State, "_failed", stubborn)
    return Setting()


@bug("failed for")
def believes_a_doubled_answer(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Credulous(Engine):
        def _take(self, answer: Answer) -> None:
            if answer.job.attempt in self.state.open:
                self._record(raysearch.engine.as_fact(answer))
                self._push(answer.job.attempt)

    return with_engine(Credulous)


@bug("due:")
def believes_a_late_answer(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Confused(Engine):
        def _take(self, answer: Answer) -> None:
            running = self.running.get(answer.job.attempt)
            if running is not None and running.plugin == answer.job.plugin:
                self.running[answer.job.attempt] = answer.job
            super()._take(answer)
            if running is not None and answer.job != running and answer.job.attempt in self.state.open:
                self._record(raysearch.engine.as_fact(answer))

    return with_engine(Confused)


# -- the journal --------------------------------------------------------------------------------------------


@bug("not on the disk")
def acknowledges_before_it_is_durable(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Lazy(SimLedger):
        def append(self, entry: Entry) -> None:
            self._appends += 1
            if self.mishap is not None and self._appends == self.mishap.append and not self.mishap.full:
                self.disk.lose_power()
                raise PowerCut
            self.disk.sync()  # what came before, at last
            self.disk.write(encode(entry))

    class LazyDisk(SimDisk):
        def open(self, mishap: Mishap | None = None) -> Journal:
            self.sync()
            return Lazy(self, mishap)

    return Setting(Parts(disk=LazyDisk))


@bug("cannot be read")
def writes_on_after_a_torn_line(patch: pytest.MonkeyPatch, folder: Path) -> Setting:
    patch.setattr(raysearch.ledger, "torn_tail", lambda data: b"")
    patch.setattr(os, "fdatasync", lambda fd: None)  # the cuts here are of the file, not of the power
    numbers = count()

    def disk() -> FileDisk:
        place = folder / str(next(numbers))
        place.mkdir()
        return FileDisk(place)

    return Setting(Parts(disk=disk))


@bug("cannot be read")
def skips_a_line_number_when_it_resumes(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Skipping(Engine):
        def recover(self, start: RunStarted, session: SessionOpened) -> None:
            super().recover(start, session)
            self.state.seq += self.state.session > 1

    return with_engine(Skipping)


@bug("not on the disk")
def tells_before_it_writes(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Gossip(Engine):
        def _record(self, fact: Fact) -> None:
            self.policy.tell(fact)
            policy, self.policy = self.policy, Silent()
            try:
                super()._record(fact)
            finally:
                self.policy = policy

    return with_engine(Gossip)


class Silent:
    """A policy that nobody can tell anything."""

    def ask(self, view: View, slots: int, rng: Random) -> Sequence[Proposal]:
        return ()

    def tell(self, fact: Fact) -> None:
        return None

    def best(self, view: View) -> Sequence[CandidateId]:
        return ()


@bug("had no ref")
def names_a_commit_before_it_has_a_ref(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Backwards(Engine):
        def _record(self, fact: Fact) -> None:
            keep, self.keep = self.keep, raysearch.engine.keep_nothing
            try:
                super()._record(fact)
            finally:
                self.keep = keep
            if isinstance(fact, Mutated):
                self.keep(fact.attempt, fact.change.commit)

    return with_engine(Backwards)


@bug("gives another state")
def believes_finer_times_than_it_writes(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Precise(Engine):
        def _record(self, fact: Fact) -> None:
            entry = Entry(self.state.seq + 1, self.clock.now(), self._run_s(), fact)
            if isinstance(fact, Mutated):
                self.keep(fact.attempt, fact.change.commit)
            self.ledger.append(entry)
            self.state.apply(entry)
            self.policy.tell(fact)
            self.sink.told(entry)

    return with_engine(Precise)


# -- resuming -----------------------------------------------------------------------------------------------


@bug("skipped or reused")
def uses_a_number_again_after_a_resume(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Recounting(Engine):
        def recover(self, start: RunStarted, session: SessionOpened) -> None:
            super().recover(start, session)
            self.state.attempts_total = len(self.state.closed)

    return with_engine(Recounting)


@bug("due:")
def pays_again_for_finished_stages_after_a_resume(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Amnesiac(Engine):
        def _push(self, attempt: AttemptId) -> None:
            if not self.running and attempt in self.state.open and len(self.state.open) > 1:
                self.state.open[attempt].verdicts.clear()
            super()._push(attempt)

    return with_engine(Amnesiac)


@bug("does not end")
def forgets_what_was_under_way(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Neglectful(Engine):
        def _push(self, attempt: AttemptId) -> None:
            if self._recovered:
                super()._push(attempt)

        def recover(self, start: RunStarted, session: SessionOpened) -> None:
            first = not any(True for _ in self.ledger.replay())
            self._recovered = first
            super().recover(start, session)
            self._recovered = True

        _recovered: ClassVar[bool] = True  # an attribute of each, declared where slots allow it

    return with_engine(Neglectful)


# -- limits -------------------------------------------------------------------------------------------------


class Unlimited(Engine):
    """Fills its slots under limits of its own."""

    ignored: ClassVar[dict[str, object]] = {}

    def _fill(self) -> None:
        limits = self.state.limits
        self.state.limits = replace(limits, **self.ignored)  # type: ignore[arg-type]
        try:
            super()._fill()
        finally:
            self.state.limits = limits


@bug("limit on attempts")
def opens_more_attempts_than_it_may(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Generous(Unlimited):
        ignored: ClassVar[dict[str, object]] = {"attempts_max": None}

    return with_engine(Generous)


@bug("attempts under way")
def keeps_more_lanes_than_it_may(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Crowded(Unlimited):
        ignored: ClassVar[dict[str, object]] = {"open_max": 9}

    return with_engine(Crowded)


class Blind(Engine):
    """Does not see some limits."""

    unseen: ClassVar[dict[str, object]] = {}

    def _limit(self) -> str:
        limits = self.state.limits
        self.state.limits = replace(limits, **self.unseen)  # type: ignore[arg-type]
        try:
            return super()._limit()
        finally:
            self.state.limits = limits


@bug("limit on cost")
def spends_more_than_it_may(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Spendthrift(Blind):
        unseen: ClassVar[dict[str, object]] = {"cost_usd": None}

    return with_engine(Spendthrift)


@bug("limit on time")
def forgets_the_time(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Timeless(Blind):
        unseen: ClassVar[dict[str, object]] = {"run_s": None}

    return with_engine(Timeless)


@bug("limit on failures in a row")
def goes_on_failing(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Hopeful(Blind):
        unseen: ClassVar[dict[str, object]] = {"failed_in_row_max": 1000}

    return with_engine(Hopeful)


@bug("extra time was not up")
def abandons_without_extra_time(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    patch.setattr(Engine, "_drained", lambda self: self._run_s() >= (self.state.limits.run_s or 1e9))
    return Setting()


@bug("limits allow")
def waits_for_stragglers_beyond_their_time(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    patch.setattr(Engine, "_drained", lambda self: False)
    return Setting()


# -- policies and pools -------------------------------------------------------------------------------------


@bug("the frontier is")
def keeps_a_dominated_member_on_the_frontier(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    def drop_nobody(self: Frontier, first: int, kept: object) -> None:
        self.removed = ()

    patch.setattr(Frontier, "_drop", drop_nobody)
    return Setting()


@bug("asks for something else")
def changes_when_it_is_asked(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Restless(Evolve):
        def ask(self, view: View, slots: int, rng: Random) -> Sequence[Proposal]:
            self.frontier_bias = 1.0 - self.frontier_bias
            return super().ask(view, slots, rng)

    return Setting(policy=Restless)


@bug("asks for something else")
def draws_from_one_stream_for_ever(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    shared = Random(0)
    patch.setattr(raysearch.engine, "stream", lambda *_: shared)
    return Setting()


@bug("which is no candidate")
def proposes_a_parent_that_was_refused(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Sentimental(Evolve):
        def ask(self, view: View, slots: int, rng: Random) -> Sequence[Proposal]:
            refused = [n for n, outcome in view.closed.items() if outcome is Outcome.REJECTED]
            return [Proposal((refused[-1],))] if refused else super().ask(view, slots, rng)

    return Setting(policy=Sentimental)


@bug("two jobs at once")
def frees_a_slot_twice(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Leaky(SimPool):
        def _release(self, span: Span) -> None:
            if span.job.try_number:  # as a careless pool might on a second answer
                self._free[span.stage].append(span.slot)
            super()._release(span)

    return Setting(Parts(pool=Leaky))


@bug("is not what was recorded")
def admits_another_commit_than_the_one_judged(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    def swapping(state: State, attempt: Attempt) -> Next:
        due = advance(state, attempt)
        if isinstance(due, AttemptClosed) and due.candidate is not None:
            origin: Change = Change(state.start.origin, state.start.origin_tree)
            return replace(due, candidate=replace(due.candidate, commit=origin.commit))
        return due

    patch.setattr(raysearch.engine, "advance", swapping)
    return Setting()


# -- the tests ----------------------------------------------------------------------------------------------


def problems_of(setting: Setting) -> Iterator[tuple[int, list[str]]]:
    for seed in SEEDS:
        yield seed, simulate(seed, setting.policy, setting.options, parts=setting.parts).problems


@pytest.mark.parametrize("name", BUGS)
def test_planted_bug_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant, noticed_as = BUGS[name]
    monkeypatch.setattr("raysearch.state.require", lambda holds, message: None)
    setting = plant(monkeypatch, tmp_path)
    seen: list[str] = []
    for _, problems in problems_of(setting):
        if any(noticed_as in problem for problem in problems):
            return
        seen += problems
    pytest.fail(f"nobody noticed within {len(SEEDS)} seeds; other problems: {seen[:5]}")


@pytest.mark.parametrize("policy", ["evolve", "agent"])
def test_without_bugs_the_same_seeds_are_sound(policy: str) -> None:
    for seed in SEEDS:
        simulate(seed, policy).check()


def test_there_are_at_least_twelve() -> None:
    assert len(BUGS) >= 12
