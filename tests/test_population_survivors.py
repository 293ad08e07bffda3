"""Survivors against a brute force, the lonelier of two on a frontier, and evolve breeding from both."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from population_world import ONE, THREE, TWO, World

from population.frontier import Frontier, dominates
from population.policies.evolve import Evolve
from population.ranking import crowding as crowding_by_pymoo
from population.survivors import Survivors, crowding
from raysearch.types import SEED, AttemptId

grids = st.lists(st.tuples(*[st.integers(0, 9).map(float)] * 2), max_size=40)


@settings(deadline=None)
@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 2**32))
def test_crowding_is_pymoos_but_for_ties(size: int, objectives: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = np.column_stack([rng.permutation(size) for _ in range(objectives)]).astype(float)
    expected = np.array(crowding_by_pymoo([tuple(point) for point in points.tolist()])) * objectives
    assert crowding(points) == pytest.approx(expected)


@given(grids, st.integers(1, 5))
@settings(deadline=None)
def test_who_has_to_go_is_dominated_most_then_crowded_most(points: list[tuple[float, float]], size: int) -> None:
    survivors, known = Survivors(2, 1, size), {}
    for number, point in enumerate(points):
        before = {n: known[n] for n in survivors.members}
        known[AttemptId(number)] = point
        survivors.add(AttemptId(number), point)
        if point in before.values():
            assert set(survivors.members) == set(before)
            continue
        everyone = {**before, AttemptId(number): point}
        gone = set(everyone) - set(survivors.members)
        assert len(gone) == (1 if len(everyone) > min(size, max(2, math.isqrt(number + 1))) else 0)
        ranks = {n: sum(dominates(other, p) for other in everyone.values()) for n, p in everyone.items()}
        last = [n for n in everyone if ranks[n] == max(ranks.values())]
        for left in gone:
            assert left in last
            distances = crowding(np.array([everyone[n] for n in last]))
            assert distances[last.index(left)] == distances.min()


def test_survivors_are_drawn_by_softmax_of_the_primary() -> None:
    survivors, rng = Survivors(2, 1, 3), random.Random(1)
    poor = [(-value, -value) for value in range(9, 3, -1)]
    for number, point in enumerate([*poor, (9.0, 0.0), (5.0, 5.0), (0.0, 10.0)], start=-6):
        survivors.add(AttemptId(number), point)
    assert survivors.members == (0, 1, 2), "of nine three"
    counts = Counter(survivors.draw(rng, 0.5) for _ in range(6000))
    for number, weight in enumerate([0.0900, 0.2447, 0.6652]):
        assert abs(counts[AttemptId(number)] / 6000 - weight) < 0.03


@pytest.mark.parametrize("objectives", [TWO, THREE])
def test_the_lonelier_of_two_is_drawn(objectives) -> None:
    """Of n members the loneliest wins unless it is in neither draw, and the most crowded only against itself."""
    frontier, rng, extra = Frontier(objectives), random.Random(2), (0.0,) * (len(objectives) - 2)
    for number, at in enumerate([0.0, 1.0, 2.5, 2.75, 3.0, 10.0]):
        frontier.insert(AttemptId(number), (at, -at, *extra))
    counts = Counter(frontier.draw_lonely(rng) for _ in range(6000))
    ends, lonely, crowded = counts[AttemptId(0)] + counts[AttemptId(5)], counts[AttemptId(4)], counts[AttemptId(3)]
    assert abs(ends / 6000 - 20 / 36) < 0.03
    assert abs(lonely / 6000 - 7 / 36) < 0.03
    assert abs(crowded / 6000 - 1 / 36) < 0.02


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3), min_size=1, max_size=12))
def test_any_finite_values_can_be_bred_from(points: list[tuple[float, float, float]]) -> None:
    for count, objectives in enumerate((ONE, TWO, THREE), start=1):
        frontier, survivors = Frontier(objectives), Survivors(count, 0, 4)
        for number, point in enumerate(points):
            frontier.insert(AttemptId(number), point[:count])
            survivors.add(AttemptId(number), point[:count])
        rng = random.Random(0)
        for _ in range(8):
            assert frontier.draw_lonely(rng) in frontier.members
            assert survivors.draw(rng, 0.5) in survivors.members


def test_evolve_breeds_and_shows_survivors_alone() -> None:
    world = World(Evolve(survivors=2, k_top=0, k_random=3), ONE).start(speed=0.0)
    for speed in (5.0, 7.0, 6.0, 1.0):
        world.bear("island-0", parents=(0,), speed=speed)
    found = [world.ask(1, seed)[0] for seed in range(300)]
    assert {proposal.parents for proposal in found} == {(2,), (3,)}
    shown = Counter(tuple(i.id for i in proposal.brief.inspirations) for proposal in found)
    assert set(shown) <= {(2,), (3,), ()}
    assert shown[()] < 10  # where 48 draws gave none but the parent
    best = Counter(proposal.parents for proposal in found)[AttemptId(2),] / 300
    assert best > 0.85  # 0.7 by the frontier, and most of the rest


def test_how_many_survive_grows_as_the_root_of_how_many_came() -> None:
    survivors, sizes = Survivors(2, 0, 6), []
    for number in range(60):
        survivors.add(AttemptId(number), (float(number), -float(number)))
        sizes.append(len(survivors))
    assert [sizes[came - 1] for came in (1, 2, 8, 9, 15, 16, 36, 60)] == [1, 2, 2, 3, 3, 4, 6, 6]


@pytest.mark.parametrize(("objectives", "breeding"), [(ONE, (0.7, 0)), (TWO, (0.4, 20)), (THREE, (0.4, 20))])
def test_several_objectives_are_bred_otherwise_than_one(objectives, breeding) -> None:
    found = breedings(World(Evolve(islands=2), objectives).start())
    assert found == {breeding}


def test_what_is_said_goes_over_what_the_objectives_suggest() -> None:
    assert breedings(World(Evolve(frontier_bias=0.0), TWO).start()) == {(0.0, 20)}
    assert breedings(World(Evolve(survivors=0), TWO).start()) == {(0.4, 0)}
    assert breedings(World(Evolve(survivors=5, frontier_bias=1.0), ONE).start()) == {(1.0, 5)}


def breedings(world: World) -> set[tuple[float, int]]:
    islands = world.policy._islands
    return {(island.breeding.frontier_bias, island.breeding.survivors) for island in islands}


def test_where_no_objective_comes_first_the_whole_frontier_inspires() -> None:
    world = World(Evolve(k_top=2, k_random=0, frontier_bias=1.0), TWO).start(size=100.0, speed=0.0)
    for value in range(1, 7):
        world.bear("island-0", parents=(0,), size=float(value), speed=float(value))
    shown = Counter(i.id for seed in range(300) for i in world.ask(1, seed)[0].brief.inspirations)
    assert set(shown) == {1, 2, 3, 4, 5, 6}
    assert min(shown[1], shown[6]) > max(shown[n] for n in (2, 3, 4, 5)), "the ends are the loneliest"


def test_a_short_frontier_leaves_room_for_others() -> None:
    world = World(Evolve(k_top=3, k_random=0, frontier_bias=1.0), TWO).start(size=9.0, speed=1.0)
    for value in (2.0, 3.0, 4.0):
        world.bear("island-0", parents=(0,), size=10.0 - value, speed=value)
    (proposal,) = world.ask(1)
    assert proposal.parents == (3,)
    assert [i.id for i in proposal.brief.inspirations] == [2, 1, 0]


def test_an_island_that_restarts_forgets_its_survivors() -> None:
    world = World(Evolve(survivors=4, islands=2, stuck_after=2, migration_every=0), ONE).start(speed=0.0)
    world.bear("island-0", parents=(0,), speed=9.0)
    for _ in range(2):
        world.miss("island-0", parents=(0,))
    proposals = [proposal for seed in range(60) for proposal in world.ask(2, seed) if proposal.lineage == "island-0"]
    assert {proposal.parents for proposal in proposals} == {(SEED,)}
