"""The frontier against a brute force, in any number of dimensions."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from population_world import ONE, TWO, candidate

from population.frontier import Frontier, Vector, dominates, improves, primary, vector
from raysearch.types import AttemptId, Candidate, Measurement, Objective

NAMES = "abcd"


def axes(count: int, goal: str = "max") -> tuple[Objective, ...]:
    return tuple(Objective(name, "max" if goal == "max" else "min") for name in NAMES[:count])


def build(points: Sequence[Vector], objectives: Sequence[Objective]) -> Frontier:
    frontier = Frontier(objectives)
    for number, point in enumerate(points):
        frontier.insert(AttemptId(number), point)
    return frontier


def brute(points: Sequence[Vector]) -> set[int]:
    """Indices of the first of each non-dominated vector."""
    return {
        i
        for i, p in enumerate(points)
        if p not in points[:i] and not any(all(b >= a for a, b in zip(p, q, strict=True)) and p != q for q in points)
    }


# few distinct values, so that ties and equal vectors are common
clouds = st.integers(1, 4).flatmap(
    lambda count: st.lists(st.tuples(*[st.integers(-3, 3).map(float)] * count), min_size=1, max_size=60)
)


@given(clouds)
def test_equals_brute_force_at_every_step(points: list[Vector]) -> None:
    frontier, before = Frontier(axes(len(points[0]))), set[int]()
    for number, point in enumerate(points):
        entered = frontier.insert(AttemptId(number), point)
        now = brute(points[: number + 1])
        assert set(frontier.members) == now
        assert entered == (number in now)
        if entered:
            assert set(frontier.removed) == before - now
        assert len(frontier) == len(now)
        before = now


@given(clouds, st.randoms())
def test_order_of_arrival_does_not_matter(points: list[Vector], rng: random.Random) -> None:
    shuffled = rng.sample(points, len(points))
    one, other = build(points, axes(len(points[0]))), build(shuffled, axes(len(points[0])))
    assert {v for _, v in one.top(99)} == {v for _, v in other.top(99)}


@given(clouds)
def test_members_are_sorted_by_the_primary_objective(points: list[Vector]) -> None:
    for index in range(len(points[0])):
        objectives = tuple(
            Objective(name, primary=number == index) for number, name in enumerate(NAMES[: len(points[0])])
        )
        frontier = build(points, objectives)
        assert set(frontier.members) == brute(points)
        keys = [(-points[number][index], number) for number in frontier.members]
        assert keys == sorted(keys)
        assert frontier.top(2) == [(number, points[number]) for number in frontier.members[:2]]


@given(clouds)
def test_minimising_mirrors_maximising(points: list[Vector]) -> None:
    count = len(points[0])
    up, down = Frontier(axes(count)), Frontier(axes(count, "min"))
    for number, point in enumerate(points):
        here = up.add(candidate(number, **dict(zip(NAMES, point, strict=False))))
        there = down.add(candidate(number, **{name: -value for name, value in zip(NAMES, point, strict=False)}))
        assert here == there
    assert up.members == down.members


@given(clouds)
def test_covers_is_dominance_or_equality_without_noise(points: list[Vector]) -> None:
    frontier = Frontier(axes(len(points[0])))
    for number, point in enumerate(points):
        covered = frontier.covers(point)
        assert frontier.insert(AttemptId(number), point) == (not covered)


def test_equal_vectors_the_first_stays() -> None:
    frontier = Frontier(TWO)
    assert frontier.add(candidate(1, size=2, speed=2))
    assert not frontier.add(candidate(2, size=2, speed=2))
    assert frontier.add(candidate(3, size=1, speed=2))
    assert (frontier.members, frontier.removed) == ((3,), (1,))


def test_noise_covers_what_is_hardly_better() -> None:
    frontier = Frontier((Objective("speed", noise=0.01), Objective("loss", "min", noise=0.1)))
    frontier.insert(AttemptId(1), (100.0, -10.0))
    assert frontier.covers((100.9, -9.5))
    assert not frontier.covers((101.5, -9.5))
    assert not frontier.covers((100.9, -8.0))


@pytest.mark.parametrize("scores", [{}, {"size": 1.0}, {"speed": 1.0, "other": 2.0}])
def test_a_missing_value_never_enters(scores: dict[str, float]) -> None:
    frontier = Frontier(TWO)
    assert vector(candidate(1, **scores), TWO) is None
    assert not frontier.add(candidate(1, **scores))
    assert frontier.members == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_never_enters(value: float) -> None:
    assert not Frontier(ONE).add(candidate(1, speed=value))


def test_nothing_enters_without_objectives() -> None:
    assert not Frontier(()).add(candidate(1, speed=1))


def test_scores_are_medians() -> None:
    made = candidate(1)
    measured = Candidate(made.id, made.commit, made.tree, (), (Measurement("speed", (9.0, 1.0, 2.0)),))
    assert vector(measured, ONE) == (2.0,)


def test_primary_is_the_marked_one_else_the_first() -> None:
    assert primary(TWO) == 1
    assert primary(ONE) == 0


def test_a_member_that_is_measured_again_moves_but_throws_nobody_out() -> None:
    frontier = Frontier((Objective("a"), Objective("b")))
    for number, point in enumerate([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]):
        frontier.insert(AttemptId(number), point)
    frontier.move(AttemptId(1), (2.5, 2.5))
    assert frontier.top(3) == [(2, (3.0, 1.0)), (1, (2.5, 2.5)), (0, (1.0, 3.0))]
    for point in ((0.5, 3.0), (3.5, 1.5)):  # worse than 0, better than 2
        frontier.move(AttemptId(1), point)
        frontier.move(AttemptId(9), point)
    assert frontier.top(3)[1] == (1, (2.5, 2.5))


@given(st.integers(0, 2**32))
def test_many_members_move_through_storage_unharmed(seed: int) -> None:
    rng = random.Random(seed)
    points = [(x, 100 - x) for x in (rng.randrange(100) / 1.0 for _ in range(150))]
    points += [(x + 0.5, y + 0.5) for x, y in points[:10]]
    frontier = build(points, axes(2))
    assert set(frontier.members) == brute(points)
    assert all(points[number] == point for number, point in frontier.top(200))


def test_drawing_is_uniform() -> None:
    frontier = build([(float(x), float(-x)) for x in range(5)], axes(2))
    rng = random.Random(1)
    counts = [0] * 5
    for _ in range(5000):
        counts[frontier.draw(rng)] += 1
    assert all(850 < count < 1150 for count in counts)


def test_dominance() -> None:
    assert dominates((2, 1), (1, 1))
    assert not dominates((1, 1), (1, 1))
    assert not dominates((2, 0), (1, 1))


def test_a_lineage_improves_by_its_primary_objective_first() -> None:
    assert improves((2, 0), (1, 9), 0)
    assert not improves((1, 9), (2, 0), 0)
    assert improves((1, 1), (1, 0), 0)
    assert not improves((1, 0), (1, 1), 0)
    assert improves((1, 1), (1, 1), 0)
