"""Money, tokens and calls: what lanes in parallel record never exceeds a cap by more than what is in flight."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch import budget
from raysearch.engine import Engine
from raysearch.errors import MutatorFault
from raysearch.facts import AttemptOpened, Entry, Fact, JobFailed, Judged, Mutated, SessionOpened
from raysearch.helm import Helm
from raysearch.jobs import Job, Result
from raysearch.protocols import View
from raysearch.seeds import stream
from raysearch.state import State
from raysearch.testing.simulated import FakeClock, SimDisk, SimPool
from raysearch.testing.world import World
from raysearch.types import CandidateId, Change, Limits, Plan, Proposal, Stage, Step, Usage, Verdict

CALL_USD = 0.02
PLAN = Plan((Step(Stage.JUDGE, "reviewer"), Step(Stage.BENCHMARK, "both")))


class Endless:
    """Asks for as much as there is room for, for ever."""

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Proposal]:
        return [Proposal()] * slots

    def tell(self, fact: Fact) -> None:
        """Nothing is learned."""

    def best(self, view: View) -> Sequence[CandidateId]:
        return ()


@dataclass(slots=True)
class Deaf:
    lines: list[Entry] = field(default_factory=list)
    allowed_usd: list[float] = field(default_factory=list)

    def told(self, entry: Entry) -> None:
        self.lines.append(entry)

    def started(self, job: Job) -> None:
        if job.allowance.cost_usd is not None:
            self.allowed_usd.append(job.allowance.cost_usd)

    def close(self) -> None:
        """Nothing is held."""


@dataclass(slots=True)
class Spending:
    """Mutators and judges that make calls of at most ``CALL_USD`` until they are done or their allowance is used up.

    A call is begun while anything is left; so each passes its allowance by less than one call.
    """

    world: World
    wanted_usd: float
    careful: bool
    """Whether a call is begun only if it fits for certain."""

    def perform(self, job: Job) -> Result:
        if job.stage is Stage.BENCHMARK:
            return self.world.perform(job)
        rng = stream(self.world.seed, "spending", job.stage, job.attempt, job.try_number)
        wanted, spent, calls = rng.random() * 2 * self.wanted_usd, 0.0, 0
        allowed = job.allowance
        assert allowed.cost_usd is not None
        assert allowed.calls is not None
        while spent < wanted:
            over = spent + CALL_USD > allowed.cost_usd if self.careful else spent >= allowed.cost_usd
            if over or calls >= allowed.calls:
                raise MutatorFault("its allowance is used up", Usage(cost_usd=spent, calls=calls))
            spent, calls = spent + rng.random() * CALL_USD, calls + 1
        usage = Usage(cost_usd=spent, calls=calls)
        if job.stage is Stage.JUDGE:
            return Verdict(rng.random() < 0.8, "as seen", usage=usage)
        change = self.world.perform(job)
        assert isinstance(change, Change)
        return replace(change, mutation=replace(change.mutation, usage=usage))


def spent(entries: Sequence[Entry]) -> Usage:
    """Counted apart from the state."""
    total = Usage()
    for entry in entries:
        match entry.fact:
            case Mutated(_, change):
                total += change.mutation.usage
            case Judged(_, _, verdict) if verdict.usage is not None:
                total += verdict.usage
            case JobFailed(usage=usage):
                total += usage
            case _:
                pass
    return total


def run(seed: int, lanes: int, limits: Limits, wanted_usd: float, careful: bool) -> tuple[State, Deaf]:
    world, clock = World(seed), FakeClock()
    spending = Spending(world, wanted_usd, careful)
    slots = {Stage.MUTATE: lanes, Stage.JUDGE: 3, Stage.BENCHMARK: 2}
    pool = SimPool(spending.perform, clock, stream(seed, "pool"), slots)
    sink = Deaf()
    engine = Engine(Endless(), pool, SimDisk().open(), clock, sink)
    limits = replace(limits, open_max=lanes, failed_in_row_max=10_000)
    state = engine.run(world.start(PLAN, seeded=False), SessionOpened(0, limits, "here", 1, "0"))
    return state, sink


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    lanes=st.integers(1, 16),
    cap=st.sampled_from((0.05, 0.3, 1.0, 5.0)),
    wanted=st.sampled_from((0.01, 0.05, 0.3, 2.0)),
    each=st.none() | st.sampled_from((0.02, 0.2)),
    careful=st.booleans(),
)
def test_a_cap_is_passed_by_no_more_than_what_is_in_flight(
    seed: int, lanes: int, cap: float, wanted: float, each: float | None, careful: bool
) -> None:
    limits = Limits(cost_usd=cap, candidate_usd=each, calls=400, attempts_max=300)
    state, sink = run(seed, lanes, limits, wanted, careful)
    total = spent(sink.lines)
    assert state.ended
    assert state.spent.cost_usd == pytest.approx(total.cost_usd)
    assert total.cost_usd <= cap + (0.0 if careful else lanes * CALL_USD) + 1e-9
    assert total.calls <= 400
    assert all(allowed <= (each or cap) + 1e-9 for allowed in sink.allowed_usd)


def test_eight_lanes_with_a_dollar_spend_most_of_it_and_not_more() -> None:
    state, sink = run(3, 8, Limits(cost_usd=1.0, calls=10**6), 0.03, careful=True)
    assert 0.85 < spent(sink.lines).cost_usd <= 1.0
    assert "cost budget of $1" in state.ended


def test_grants_of_all_lanes_together_never_exceed_what_is_left() -> None:
    _, sink = run(5, 8, Limits(cost_usd=1.0, calls=10**6), 5.0, careful=True)
    opened = [entry for entry in sink.lines if isinstance(entry.fact, AttemptOpened)]
    assert len(opened) >= 8
    assert sum(sink.allowed_usd[:8]) == pytest.approx(1.0)
    assert spent(sink.lines).cost_usd <= 1.0


def test_without_a_budget_nothing_is_granted_or_kept_back() -> None:
    state = State(helm=Helm(Limits(open_max=4)))
    assert budget.room(state) is None
    assert budget.exhausted(state) == ""


def test_hours_of_gpus_end_a_run() -> None:
    state = State(helm=Helm(Limits(gpu_s=7200.0)), gpu_s=7200.0)
    assert budget.exhausted(state) == "GPU budget of 2 hours"


@dataclass(slots=True)
class Idle:
    """A mutator that changes nothing: after the first, every program is known."""

    world: World

    def perform(self, job: Job) -> Result:
        if job.stage is Stage.MUTATE:
            return Change(job.base, self.world.start(PLAN, seeded=True).origin_tree)
        return self.world.perform(job)


def test_a_search_that_finds_nothing_new_comes_to_an_end() -> None:
    world, clock, sink = World(4), FakeClock(), Deaf()
    start = world.start(PLAN, seeded=True)
    pool = SimPool(Idle(world).perform, clock, stream(4, "pool"), dict.fromkeys(Stage, 2))
    limits = Limits(open_max=2, known_in_row_max=50)
    state = Engine(Endless(), pool, SimDisk().open(), clock, sink).run(start, SessionOpened(0, limits, "here", 1, "0"))
    assert "attempts in a row made programs that were known already" in state.ended
    assert state.attempts_total < 60
