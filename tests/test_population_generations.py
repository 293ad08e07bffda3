"""Evolve in generations: bred from the population as it stood, and a barrier before the next."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from population_world import ONE, TWO, World

from population.frontier import dominates, vector
from population.policies.evolve import Evolve
from raysearch.errors import ConfigError
from raysearch.facts import AttemptClosed, AttemptOpened
from raysearch.testing.conformance import PolicyConformance
from raysearch.testing.scenario import Scenario
from raysearch.testing.simulation import simulate
from raysearch.testing.world import Odds
from raysearch.types import SEED, AttemptId, CandidateId, Limits, Outcome


def generational(size: int, **options: object) -> Evolve:
    return Evolve(generational=True, children_per_generation=size, **options)  # type: ignore[arg-type]


class TestGenerational(PolicyConformance):
    def make(self) -> Evolve:
        return generational(3, islands=2, stuck_after=4)


def test_lanes_wait_at_the_barrier() -> None:
    world = World(generational(3), ONE, Limits(open_max=8)).start(speed=0.0)
    first = [world.propose(proposal) for proposal in world.ask(8)]
    assert len(first) == 3
    world.admit(first[1], speed=5.0)
    world.reject(first[0], "no")
    assert world.ask(7) == [], "one is still under way"
    world.fail(first[2])
    second = world.ask(8)
    assert len(second) == 3
    assert {first[1]} <= {parent for seed in range(30) for p in world.ask(3, seed) for parent in p.parents}


def test_children_are_bred_from_the_population_as_it_stood() -> None:
    world = World(generational(4), ONE, Limits(open_max=1)).start(speed=0.0)
    for speed in (5.0, 7.0, 9.0):
        (proposal,) = world.ask(1)
        assert (proposal.parents, proposal.brief.inspirations, proposal.brief.lessons) == ((SEED,), (), ())
        world.admit(world.propose(proposal), speed=speed)
    (proposal,) = world.ask(1)
    assert proposal.parents == (SEED,)
    assert world.policy.best(world) == (AttemptId(3),), "the best is known at once"
    world.reject(world.propose(proposal), "wrong")
    found = [world.ask(1, seed)[0] for seed in range(40)]
    assert 3 in {p.parents[0] for p in found}
    assert {p.brief.lessons for p in found if p.parents == (SEED,)} == {("wrong",)}


def test_without_a_seed_generations_begin_with_the_first_candidate() -> None:
    world = World(generational(2, bootstrap_max_attempts=6), ONE, Limits(open_max=4)).start("unseeded")
    tries = [world.propose(proposal) for proposal in world.ask(3)]
    assert len(tries) == 3
    world.admit(tries[0], speed=1.0)
    assert len(world.ask(4)) == 2
    for number in tries[1:]:
        world.reject(number, "no")
    assert len(world.ask(4)) == 2


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 3))
def test_no_parent_was_born_in_the_same_generation(seed: int, size: int, islands: int) -> None:
    world, rng = World(generational(size, islands=islands), TWO, Limits(open_max=3)).start(), random.Random(seed)
    for _ in range(40):
        for proposal in world.ask(3 - len(world.open), rng.randrange(2**32)):
            world.propose(proposal)
        if world.open:
            world._close(rng.choice(sorted(world.open)), rng)
    births, opened = {SEED: -1}, 0
    for fact in world.facts:
        if isinstance(fact, AttemptOpened) and fact.attempt != SEED:
            generation = opened // size
            shown = [*fact.proposal.parents, *(i.id for i in fact.proposal.brief.inspirations)]
            assert all(births[number] < generation for number in shown)
            births[fact.attempt] = generation
            opened += 1
    assert opened > size
    assert set(world.policy.best(world)) == undominated(world)


def undominated(world: World) -> set[CandidateId]:
    points = {number: vector(made, TWO) for number, made in world.candidates.items()}
    came = {number: place for place, number in enumerate(points)}
    return {
        n
        for n, p in points.items()
        if not any(dominates(q, p) or (q == p and came[m] < came[n]) for m, q in points.items())
    }


@pytest.mark.parametrize("lanes", [1, 4])
def test_generations_times_children_are_a_budget(lanes: int) -> None:
    """Three generations of four are twelve attempts, and nobody is left waiting for what the budget leaves out."""
    for attempts in (12, 10):
        calm = Scenario.calm(7, attempts)
        (session,) = calm.sessions
        limits = Limits(open_max=lanes, attempts_max=attempts)
        scenario = replace(calm, odds=Odds(no=0.2), sessions=(replace(session, limits=limits),))
        report = simulate(7, lambda: generational(4), scenario=scenario)
        report.check()
        ends = [e.fact for e in report.entries if isinstance(e.fact, AttemptClosed) and e.fact.attempt != SEED]
        assert len(ends) == attempts
        assert any(fact.outcome is Outcome.ADMITTED for fact in ends)


def test_runs_go_through_faults() -> None:
    for seed in range(25):
        simulate(seed, lambda: generational(3, islands=2, migration_every=2)).check()


def test_bad_options_are_named() -> None:
    with pytest.raises(ConfigError, match=r"children_per_generation must be a whole number, 1 or more; it is 0."):
        Evolve(children_per_generation=0)
