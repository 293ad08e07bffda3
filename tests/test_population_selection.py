"""Drawing from a population, and pymoo's rankings against brute force."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from population.ranking import crowding, fronts, hypervolume
from population.selection import Members, normalised, softmax
from raysearch.types import AttemptId

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)
points = st.lists(st.tuples(st.integers(0, 6).map(float), st.integers(0, 6).map(float)), min_size=1, max_size=25)


def members(of: list[float]) -> Members:
    made = Members()
    for number, value in enumerate(of):
        made.add(AttemptId(number), value)
    return made


@given(values)
def test_normalised_spans_nought_to_one(of: list[float]) -> None:
    scaled = normalised(np.array(of))
    assert scaled.max() == 1.0
    assert ((scaled >= 0) & (scaled <= 1)).all()
    if len(set(of)) > 1:
        assert scaled.min() == 0.0
        assert (np.diff(scaled[np.argsort(of)]) >= 0).all()


@given(values, st.floats(0, 10))
def test_softmax_is_a_distribution_that_prefers_the_better(of: list[float], temperature: float) -> None:
    shares = softmax(np.array(of), temperature)
    assert shares.sum() == pytest.approx(1)
    assert shares.argmax() in [i for i, v in enumerate(normalised(np.array(of))) if v == 1.0] or len(set(of)) == 1
    assert (shares >= 0).all()


def test_softmax_by_hand() -> None:
    shares = softmax(np.array([0.0, 5.0, 10.0]), 0.5)
    weights = [1.0, math.e, math.e**2]
    assert shares == pytest.approx([w / sum(weights) for w in weights])
    assert softmax(np.array([3.0] * 4), 0.5) == pytest.approx([0.25] * 4)
    assert softmax(np.array([1.0, 2.0, 2.0]), 0.0) == pytest.approx([0, 0.5, 0.5])


@pytest.mark.parametrize("temperature", [0.5, 0.05, 0.005, 0.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    """At low temperatures most draws go by the whole distribution, at high ones none does."""
    of = [math.sin(n) for n in range(30)]
    expected, population, rng = softmax(np.array(of), temperature), members(of), random.Random(3)
    draws = 6000
    counts = Counter(population.draw(rng, temperature) for _ in range(draws))
    for number, share in enumerate(expected):
        spread = math.sqrt(draws * share * (1 - share)) + 1
        assert abs(counts[AttemptId(number)] - draws * share) < 4.5 * spread


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=10), st.floats(0, 3))
def test_any_finite_values_can_be_drawn_from(of: list[float], temperature: float) -> None:
    assert 0 <= members(of).draw(random.Random(0), temperature) < len(of)


def test_equal_values_are_drawn_uniformly() -> None:
    population, rng = members([7.0] * 4), random.Random(5)
    counts = Counter(population.draw(rng, 0.5) for _ in range(4000))
    assert all(850 < count < 1150 for count in counts.values())
    assert len(counts) == 4


@given(st.integers(1, 60), st.integers(0, 6), st.sets(st.integers(0, 60), max_size=6), st.integers(0, 2**32))
def test_samples_never_repeat_and_leave_out(size: int, count: int, without: set[int], seed: int) -> None:
    barred = {AttemptId(number) for number in without}
    chosen = members([0.0] * size).sample(random.Random(seed), count, barred)
    rest = set(range(size)) - without
    assert len(chosen) == len(set(chosen)) == min(count, len(rest))
    assert set(chosen) <= rest


def test_samples_are_uniform() -> None:
    population, rng = members([0.0] * 20), random.Random(5)
    counts = Counter(number for _ in range(3000) for number in population.sample(rng, 2, (AttemptId(3),)))
    assert AttemptId(3) not in counts
    assert all(240 < counts[AttemptId(number)] < 400 for number in range(20) if number != 3)


def test_members_know_each_other() -> None:
    population = members([1.0, 2.0])
    assert AttemptId(1) in population
    assert AttemptId(2) not in population
    assert len(population) == 2


@given(points)
def test_fronts_peel_off_the_non_dominated(of: list[tuple[float, float]]) -> None:
    left, expected = set(range(len(of))), []
    while left:
        front = {i for i in left if not any(of[j] != of[i] and min(np.subtract(of[j], of[i])) >= 0 for j in left)}
        expected.append(sorted(front))
        left -= front
    assert fronts(of) == expected


@given(points)
def test_hypervolume_counts_the_cells_below(of: list[tuple[float, float]]) -> None:
    cells = {(x, y) for p in of for x in range(int(p[0])) for y in range(int(p[1]))}
    assert hypervolume(of, (0.0, 0.0)) == pytest.approx(len(cells))


def test_crowding_is_infinite_at_the_ends() -> None:
    lonely = crowding([(0.0, 10.0), (1.0, 9.0), (8.0, 2.0), (9.0, 1.0), (10.0, 0.0)])
    assert lonely[0] == lonely[-1] == math.inf
    assert lonely[1] == pytest.approx((0.8 + 0.8) / 2)
    assert lonely[3] < lonely[1]


def test_rankings_of_nothing() -> None:
    assert (fronts([]), crowding([]), hypervolume([], (0.0,))) == ([], [], 0.0)


def test_policies_load_without_pymoo() -> None:
    script = "import sys, population.policies.evolve, population.ranking; print('pymoo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
