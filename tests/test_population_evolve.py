"""Evolve: whom it breeds, what it shows, and how islands keep apart."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from population_world import ONE, TWO, World

from population.policies.evolve import Evolve
from raysearch.types import SEED, Limits, Objective, Outcome, Proposal


def parents(world: World, lineage: str = "island-0", asks: int = 200) -> Counter[int]:
    """How often each parent is asked for on an island."""
    slots = next(n for n in range(1, 99) if lineage in {p.lineage for p in world.ask(n)})
    found: Counter[int] = Counter()
    for seed in range(asks):
        found.update([p.parents[0] for p in world.ask(slots, seed) if p.lineage == lineage][:1])
    return found


def test_parents_come_from_the_frontier_or_by_softmax() -> None:
    world = World(Evolve(), ONE).start(speed=0.0)
    for speed in (5.0, 10.0):
        world.bear("island-0", parents=(0,), speed=speed)
    found = parents(world, asks=4000)
    weights = [0.0900, 0.2447, 0.6652]  # exp(0), exp(1), exp(2) over their sum: a temperature of 0.5
    for number, weight in enumerate(weights):
        expected = 0.3 * weight + (0.7 if number == 2 else 0.0)
        assert abs(found[number] / 4000 - expected) < 0.03


def test_frontier_is_drawn_from_evenly() -> None:
    world = World(Evolve(frontier_bias=1.0, survivors=0)).start(size=0.0, speed=0.0)
    for value in (1.0, 2.0, 3.0):
        world.bear("island-0", parents=(0,), size=value, speed=value)
    world.bear("island-0", parents=(0,), size=9.0, speed=1.0)
    found = parents(world, asks=2000)
    assert set(found) == {0, 1, 2, 3}
    assert all(400 < count < 600 for count in found.values())


def test_inspirations_are_the_best_and_others() -> None:
    world = World(Evolve(k_top=2, k_random=3, frontier_bias=1.0), ONE).start(speed=0.0)
    for speed in (3.0, 9.0, 1.0, 8.0, 7.0, 2.0, 4.0):
        world.bear("island-0", parents=(0,), speed=speed)
    shown = set()
    for seed in range(50):
        (proposal,) = world.ask(1, seed)
        assert proposal.parents == (2,)
        ids = [inspiration.id for inspiration in proposal.brief.inspirations]
        assert ids[:2] == [4, 5]
        assert len(ids) == 5
        shown.update(ids[2:])
    assert shown == {0, 1, 3, 6, 7}
    best = proposal.brief.inspirations[0]
    assert (best.scores, best.summary, best.commit) == ({"speed": 8.0}, "program 4", world.candidates[4].commit)


def test_inspirations_prefer_the_frontier_to_a_higher_score() -> None:
    world = World(Evolve(k_top=3, k_random=0, frontier_bias=1.0, survivors=0)).start(size=50.0, speed=0.0)
    fast = world.bear("island-0", parents=(0,), size=9.0, speed=9.0)
    world.bear("island-0", parents=(0,), size=10.0, speed=8.0)
    small = world.bear("island-0", parents=(0,), size=1.0, speed=1.0)
    by_parent = {}
    for seed in range(30):
        (proposal,) = world.ask(1, seed)
        by_parent[proposal.parents[0]] = [i.id for i in proposal.brief.inspirations]
    assert by_parent == {fast: [small, 2, SEED], small: [fast, 2, SEED]}


def test_few_members_few_inspirations() -> None:
    world = World(Evolve()).start()
    assert world.ask()[0].brief.inspirations == ()


def test_every_slot_is_kept_busy_and_islands_share_them() -> None:
    world = World(Evolve(islands=3), limits=Limits(open_max=7)).start()
    proposals = world.ask(7)
    assert sorted(Counter(p.lineage for p in proposals).values()) == [2, 2, 3]
    for proposal in proposals:
        world.propose(proposal)
    for number in list(world.open):
        if world.open[number].proposal.lineage == "island-1":
            world.fail(number)
    assert {p.lineage for p in world.ask(2)} == {"island-1"}


def test_islands_take_turns_when_lanes_are_few() -> None:
    world = World(Evolve(islands=3), limits=Limits(open_max=1)).start()
    seen = []
    for _ in range(6):
        number = world.propose(world.ask(1)[0])
        seen.append(world.open[number].proposal.lineage)
        world.admit(number, size=0.0, speed=0.0)
    assert seen == ["island-0", "island-1", "island-2"] * 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["seeded", "unseeded"]))
def test_islands_keep_to_themselves_without_migration(seed: int, start) -> None:
    policy = Evolve(islands=3, migration_every=0, stuck_after=0)
    world, rng = World(policy).start(start), random.Random(seed)
    for _ in range(60):
        for proposal in world.step(rng):
            founder = next(iter(world.candidates), None)  # in order of admission
            company = [*proposal.parents, *(i.id for i in proposal.brief.inspirations)]
            assert all(world.candidates[c].lineage == proposal.lineage for c in company if c != founder)


def test_the_best_visit_the_next_island_only() -> None:
    world = World(Evolve(islands=3, migration_every=3, migrants=2), ONE).start(speed=0.0)
    for speed in (5.0, 7.0):
        world.bear("island-0", parents=(0,), speed=speed)
    assert set(parents(world, "island-1")) == {SEED}
    world.bear("island-0", parents=(0,), speed=6.0)
    assert set(parents(world, "island-1")) == {SEED, 2, 3}
    assert set(parents(world, "island-2")) == {SEED}
    for _ in range(3):
        world.bear("island-1", parents=(0,), speed=1.0)
    assert set(parents(world, "island-2")) == {SEED, 2, 3}
    assert set(parents(world, "island-0")) == {SEED, 1, 2, 3}


def test_a_migrant_comes_once() -> None:
    world = World(Evolve(islands=2, migration_every=1, frontier_bias=0.0, temperature=1e9), ONE).start(speed=0.0)
    world.bear("island-0", parents=(0,), speed=9.0)
    for _ in range(20):
        world.bear("island-0", parents=(0,), speed=1.0)
    found = parents(world, "island-1", asks=1000)
    assert set(found) == {SEED, 1}
    assert 400 < found[1] < 600


def test_a_stuck_island_restarts_and_hands_its_best_on() -> None:
    world = World(Evolve(islands=2, stuck_after=3), ONE).start(speed=0.0)
    best = world.bear("island-0", parents=(0,), speed=9.0)
    other = world.bear("island-1", parents=(0,), speed=2.0)
    world.miss("island-0", parents=(best,))
    world.bear("island-0", parents=(best,), speed=8.0)
    world.fail(world.propose(Proposal((best,), lineage="island-0")))  # says nothing about the island
    assert best in parents(world)
    late = world.propose(Proposal((best,), lineage="island-0"))
    world.miss("island-0", parents=(best,))
    assert set(parents(world)) == {SEED}
    assert set(parents(world, "island-1")) == {SEED, best, other}
    assert world.policy.best(world) == (best,)
    world.admit(late, speed=10.0)  # of the line that was given up: kept, but not bred here
    assert set(parents(world)) == {SEED}
    assert world.policy.best(world) == (late,)
    fresh = world.bear("island-0", parents=(0,), speed=1.0)
    assert set(parents(world)) == {SEED, fresh}


def test_improvements_put_a_restart_off() -> None:
    world = World(Evolve(islands=2, stuck_after=2), ONE).start(speed=0.0)
    for speed in range(1, 6):
        world.miss("island-0", parents=(0,))
        world.bear("island-0", parents=(0,), speed=float(speed))
    assert set(parents(world, asks=400)) == {0, 2, 4, 6, 8, 10}


def test_what_is_within_noise_is_no_improvement() -> None:
    noisy = (Objective("speed", noise=0.05),)
    world = World(Evolve(islands=2, stuck_after=3), noisy).start(speed=100.0)
    for step in range(3):
        world.bear("island-0", parents=(0,), speed=101.0 + step)
    assert set(parents(world)) == {SEED}


def test_a_lone_island_never_restarts() -> None:
    world = World(Evolve(stuck_after=2), ONE).start(speed=0.0)
    best = world.bear("island-0", parents=(0,), speed=9.0)
    for _ in range(10):
        world.miss("island-0", parents=(0,))
    assert best in parents(world)


def test_a_visitor_counts_as_an_improvement() -> None:
    world = World(Evolve(islands=2, stuck_after=3, migration_every=1), ONE).start(speed=0.0)
    mine = world.bear("island-1", parents=(0,), speed=1.0)
    for _ in range(2):
        world.miss("island-1", parents=(0,))
    visitor = world.bear("island-0", parents=(0,), speed=9.0)
    for _ in range(2):
        world.miss("island-1", parents=(0,))
    assert set(parents(world, "island-1")) == {SEED, mine, visitor}


def test_without_a_seed_the_first_candidate_founds_every_island() -> None:
    world = World(Evolve(islands=2, stuck_after=2), ONE, Limits(open_max=2)).start("unseeded")
    first, second = (world.propose(p) for p in world.ask(2))
    world.admit(first, speed=1.0)
    world.admit(second, speed=2.0)
    assert set(parents(world)) == {first}
    assert set(parents(world, "island-1")) == {first, second}
    for _ in range(2):
        world.miss("island-1", parents=(second,))
    assert set(parents(world, "island-1")) == {first}


def test_candidates_of_another_policy_find_a_home() -> None:
    world = World(Evolve(islands=2, frontier_bias=0.0, temperature=1e9, survivors=0)).start()
    for number in range(1, 9):
        world.bear("lineage", parents=(0,), size=0.0, speed=float(number))
    assert set(parents(world)) == {0, 2, 4, 6, 8}
    assert set(parents(world, "island-1")) == {0, 1, 3, 5, 7}


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.ABANDONED])
def test_what_failed_teaches_nothing(outcome: Outcome) -> None:
    world = World(Evolve(), TWO).start()
    world.fail(world.propose(world.ask()[0]), outcome)
    assert world.ask()[0].brief.lessons == ()


def test_a_large_population_is_asked_in_full() -> None:
    """Drawing must not slow down or lose members as the population grows: each decile is drawn from."""
    world = World(Evolve(frontier_bias=0.0, k_top=0, k_random=0), ONE).start(speed=0.0)
    for number in range(1, 3001):
        world.bear("island-0", parents=(0,), speed=number / 3000)
        world.facts.clear()
    found = Counter(number * 10 // 3001 for number in parents(world, asks=2000).elements())
    assert sorted(found) == list(range(10))
    assert found[9] > 3 * found[0]
