"""NSGA-II's and NSGA-III's survival: pymoo's own, and evolve breeding from whom it leaves."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from population_world import ONE, THREE, World

from population.frontier import dominates
from population.nsga import Culled, Method, directions
from population.policies.evolve import Evolve
from population.ranking import crowding, fronts
from raysearch.errors import ConfigError
from raysearch.testing.simulation import simulate
from raysearch.types import SEED, AttemptId, Objective

METHODS: tuple[Method, ...] = ("nsga2", "nsga3")
MANY = tuple(Objective(f"f{n}") for n in range(6))
finite = st.floats(allow_nan=False, allow_infinity=False)


def told(points, size: int, method: Method) -> Culled:
    culled = Culled(len(points[0]), 0, size, method)
    for number, point in enumerate(points):
        culled.add(AttemptId(number), point)
    return culled


def cloud(seed: int, count: int, objectives: int) -> list[tuple[float, ...]]:
    return [tuple(row) for row in np.random.default_rng(seed).normal(size=(count, objectives)).tolist()]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(2, 12), st.integers(2, 4))
def test_nsga2_keeps_the_best_ranks_then_the_lonely(seed: int, size: int, objectives: int) -> None:
    points = cloud(seed, 2 * size, objectives)
    left = {int(number) for number in told(points, size, "nsga2").members}
    assert len(left) == size
    ranked, kept = fronts(points), 0
    for front in ranked:
        inside = left.intersection(front)
        if kept + len(front) <= size:
            assert inside == set(front)
        else:  # the one that is split: whoever stays is as lonely as whoever goes
            lonely = dict(zip(front, crowding([points[index] for index in front]), strict=True))
            gone = [lonely[index] for index in front if index not in left]
            assert all(lonely[index] >= max(gone) for index in inside)
        kept += len(inside)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(3, 12))
def test_nsga3_is_pymoos(seed: int, size: int) -> None:
    from pymoo.algorithms.moo.nsga3 import ReferenceDirectionSurvival
    from pymoo.core.population import Population
    from pymoo.core.problem import Problem

    points = cloud(seed, 2 * size, 3)
    losses = -np.array(points)
    with warnings.catch_warnings():
        theirs = ReferenceDirectionSurvival(directions(3, size)).do(
            Problem(n_var=1, n_obj=3),
            Population.new("F", losses),
            n_survive=size,
            random_state=np.random.default_rng(2 * size),
            return_indices=True,
        )
    assert sorted(theirs) == [int(number) for number in told(points, size, "nsga3").members]


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=40)
@given(data=st.data(), objectives=st.integers(1, 5), size=st.integers(2, 5))
def test_any_finite_values_survive(method: Method, data, objectives: int, size: int) -> None:
    points = data.draw(st.lists(st.tuples(*[finite] * objectives), min_size=1, max_size=30))
    culled = told(points, size, method)
    assert 1 <= len(culled) < 2 * size
    assert len(set(culled.members)) == len(culled)
    assert culled.draw(random.Random(1), 0.5) in culled.members
    again = told(points, size, method)
    assert again.members == culled.members


@pytest.mark.parametrize(
    ("objectives", "count", "found"), [(1, 9, 1), (2, 20, 20), (3, 91, 91), (3, 20, 15), (6, 20, 6)]
)
def test_there_are_as_many_directions_as_fit(objectives: int, count: int, found: int) -> None:
    made = directions(objectives, count)
    assert made.shape == (found, objectives)
    assert made.sum(axis=1) == pytest.approx(1.0)
    assert len(np.unique(made.round(9), axis=0)) == found


@pytest.mark.parametrize("method", METHODS)
def test_evolve_breeds_from_whom_it_leaves(method: Method) -> None:
    policy = Evolve(survival=method, survivors=4, frontier_bias=0.0, temperature=1e9, k_top=0, k_random=3)
    world = World(policy, THREE).start(size=9.0, speed=0.0, loss=9.0)
    for number in range(1, 8):
        world.bear("island-0", parents=(0,), size=9.0 - number, speed=float(number), loss=9.0 - number)
    found = [world.ask(1, seed)[0] for seed in range(80)]
    assert {parent for p in found for parent in p.parents} == {4, 5, 6, 7}
    assert {i.id for p in found for i in p.brief.inspirations} == {4, 5, 6, 7}
    world.bear("island-0", parents=(0,), size=8.5, speed=0.5, loss=8.5)
    assert 8 in {world.ask(1, seed)[0].parents[0] for seed in range(80)}, "a newcomer breeds until it has to go"


@pytest.mark.parametrize("method", METHODS)
def test_one_objective_has_survivors_too(method: Method) -> None:
    world = World(Evolve(survival=method), ONE).start(speed=0.0)
    for speed in range(60):
        world.bear("island-0", parents=(0,), speed=float(speed))
    survivors = world.policy._islands[0]._survivors
    assert isinstance(survivors, Culled)
    assert survivors.size == 20
    assert SEED not in survivors.members


@pytest.mark.parametrize("method", METHODS)
def test_many_objectives_are_covered(method: Method) -> None:
    """Of a walk through six objectives, whoever is left dominates nobody else that is left in its first rank."""
    world = World(Evolve(survival=method, survivors=6), MANY).start().walk(3, steps=120)
    survivors = world.policy._islands[0]._survivors
    points = survivors._points
    assert len(points) >= 6
    first = [points[index] for index in fronts(points)[0]]
    assert not any(dominates(one, other) for one in first for other in first)


@pytest.mark.parametrize("method", METHODS)
def test_runs_go_through_faults(method: Method) -> None:
    for seed in range(10):
        simulate(seed, lambda: Evolve(survival=method, survivors=3, islands=2, stuck_after=4)).check()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"survival": "nsga"}, "survival must be 'steady' or 'nsga2' or 'nsga3'; it is 'nsga'."),
        ({"survival": "nsga2", "survivors": 1}, "survival 'nsga2' needs survivors, 2 or more."),
    ],
)
def test_bad_options_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Evolve(**options)  # type: ignore[arg-type]
    assert said in str(caught.value)
