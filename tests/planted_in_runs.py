"""Bugs in the journal, in limits, in policies and in pools."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest
from planting import Setting, bug, with_engine

import raysearch.engine
import raysearch.ledger
import raysearch.lifecycle
from population.frontier import Frontier
from population.policies.evolve import Evolve
from raysearch.codec import encode
from raysearch.engine import Engine
from raysearch.facts import Entry, Fact, Mutated, RunStarted, SessionOpened
from raysearch.protocols import View
from raysearch.testing.simulated import FileDisk, Journal, Mishap, PowerCut, SimDisk, SimLedger, SimPool, Span
from raysearch.testing.simulation import Parts
from raysearch.types import CandidateId, Limits, Outcome, Proposal

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


# -- limits -------------------------------------------------------------------------------------------------


class Blind(Engine):
    """Does not see limits as they are."""

    unseen: ClassVar[dict[str, object]] = {}

    def seen(self, limits: Limits) -> Limits:
        return replace(limits, **self.unseen)  # type: ignore[arg-type]

    def _limit(self) -> str:
        with self._misled():
            return super()._limit()

    def _fill(self) -> None:
        with self._misled():
            super()._fill()

    @contextmanager
    def _misled(self) -> Iterator[None]:
        limits = self.state.helm.limits
        self.state.helm.limits = self.seen(limits)
        try:
            yield
        finally:
            self.state.helm.limits = limits


@bug("limit on attempts")
def opens_more_attempts_than_it_may(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Generous(Blind):
        def seen(self, limits: Limits) -> Limits:
            most = limits.attempts_max
            return replace(limits, attempts_max=None if most is None else most + 1)

    return with_engine(Generous)


@bug("attempts under way")
def keeps_more_lanes_than_it_may(patch: pytest.MonkeyPatch, _: Path) -> Setting:
    class Crowded(Blind):
        unseen: ClassVar[dict[str, object]] = {"open_max": 9}

    return with_engine(Crowded)


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
            self.asked = 1 - getattr(self, "asked", 0)
            if self.asked:
                rng.random()
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
