"""Bugs in what an attempt needs next, in retries and answers, and after a resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from planting import Setting, bug, with_engine

import raysearch.engine
import raysearch.ledger
import raysearch.lifecycle
from raysearch.engine import Engine
from raysearch.facts import AttemptClosed, JobFailed, Judged, Measured, Mutated, RunStarted, SessionOpened
from raysearch.jobs import Job
from raysearch.lifecycle import advance
from raysearch.protocols import Answer
from raysearch.state import Attempt, State
from raysearch.testing.simulation import Parts
from raysearch.types import AttemptId, Candidate, Change, Outcome, Stage, Verdict

Next = Job | Mutated | Judged | Measured | AttemptClosed


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
            running = self.running.get(answer.job.ticket)
            if running is not None and running.plugin == answer.job.plugin:
                self.running[answer.job.ticket] = answer.job
            super()._take(answer)
            if running is not None and answer.job != running and answer.job.attempt in self.state.open:
                self._record(raysearch.engine.as_fact(answer))

    return with_engine(Confused)


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
