"""Discovery control and dominance."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.statistics.claims import Incomparable
from raysearch.statistics.discovery import accepted, level, weight
from raysearch.statistics.dominance import MIRRORED, Relation, compare, dominance, relations
from raysearch.types import Measurement, Objective

finite = st.floats(-1e6, 1e6)
positive = st.floats(1e-3, 1e3)
sets = st.one_of(st.lists(finite, min_size=1, max_size=8), st.lists(positive, min_size=1, max_size=8))
noises = st.sampled_from([0.0, 0.01, 0.3])


# Discovery control.


def test_the_weights_are_spent_once() -> None:
    total = sum(weight(test) for test in range(1, 100_001))
    assert total < 1 < total + 1.01 / (2.1097428 * math.log(100_001))
    assert all(weight(test) > weight(test + 1) > 0 for test in range(1, 1000))


@given(st.floats(0.001, 0.5), st.integers(0, 10**6), st.data())
def test_levels(alpha: float, tests: int, data: st.DataObject) -> None:
    found = data.draw(st.integers(0, tests))
    assert 0 < level("e-lond", alpha, tests, found) <= level("fixed", alpha, tests, found) == alpha
    if found:
        assert level("e-lond", alpha, tests, found) >= level("e-lond", alpha, tests, found - 1)


@pytest.mark.parametrize(
    ("alpha", "tests", "discoveries"), [(0, 1, 0), (1, 1, 0), (math.nan, 1, 0), (0.1, 1, 2), (0.1, -1, -1)]
)
def test_impossible_counts(alpha: float, tests: int, discoveries: int) -> None:
    with pytest.raises(ValueError, match=r"must lie between|cannot be more"):
        level("e-lond", alpha, tests, discoveries)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("dependent", [False, True])
def test_the_share_of_false_discoveries_is_kept(share: float, dependent: bool) -> None:
    """With the greediest e-values there are: 1 / p for a p that is uniform, capped so that their mean is 1."""
    rng, alpha, runs = random.Random(f"{share} {dependent}"), 0.2, 400
    shares, fixed_shares = [], []
    for _ in range(runs):
        common = rng.random()
        for control, into in (("e-lond", shares), ("fixed", fixed_shares)):
            false = found = 0
            for test in range(100):
                null = rng.random() >= share
                needed = 1 / level(control, alpha, test, found)  # type: ignore[arg-type]
                chance = common if dependent else rng.random()
                evidence = (needed if chance * needed < 1 else 0.0) if null else math.exp(rng.gauss(8, 3))
                if accepted(evidence, 1 / needed):
                    found += 1
                    false += null
            into.append(false / max(found, 1))
    error = 3 * math.sqrt(alpha * (1 - alpha) / runs)
    assert sum(shares) / runs <= alpha + error
    if share <= 0.05 and not dependent:
        assert sum(fixed_shares) / runs > alpha + error  # each claim by itself is right, of the accepted ones few are


# Dominance.


@given(sets, sets, noises, st.booleans())
def test_comparisons_mirror(one: list[float], other: list[float], noise: float, exact: bool) -> None:
    if exact:
        one, other = one[:1] * 3, other[:1]
    less = Objective("x", "min", noise=noise, deterministic=exact)
    more = replace(less, goal="max")
    found = compare(one, other, less)
    assert compare(other, one, less) == MIRRORED[found]
    assert compare(one, other, more) == MIRRORED[found]
    assert compare(one, one, less) in {"equal", "unknown"}


@given(
    st.lists(positive, min_size=1, max_size=8), st.lists(positive, min_size=1, max_size=8), noises, st.integers(-9, 9)
)
def test_the_unit_does_not_matter(one: list[float], other: list[float], noise: float, power: int) -> None:
    objective, scale = Objective("x", noise=noise), 2.0**power
    nudged = [abs(a - b) > 1e-6 for a in one for b in other]
    if all(nudged):  # else rounding of logarithms may decide
        assert compare(one, other, objective) == compare(
            [v * scale for v in one], [v * scale for v in other], objective
        )


@pytest.mark.parametrize(
    ("one", "other", "noise", "expected"),
    [
        ([2.0], [1.0], 0.0, "unknown"),  # single samples, and nothing is known of the noise
        ([1.0], [1.0], 0.0, "unknown"),
        ([2.0], [1.0], 0.1, "better"),
        ([1.05], [1.0], 0.1, "equal"),
        ([1.0], [1.0], 0.1, "equal"),
        ([-1.05], [-1.0], 0.1, "equal"),
        ([-2.0], [-1.0], 0.1, "worse"),
        ([0.0], [0.0], 0.1, "equal"),
        ([2.0] * 5, [1.0] * 5, 0.0, "better"),  # zero variance
        ([1.0] * 5, [1.0] * 5, 0.0, "equal"),
        ([1.0] * 2, [1.0] * 2, 0.0, "unknown"),
        ([2.0, 2.1, 2.2, 2.3], [1.0, 1.1, 1.2, 1.3], 0.0, "better"),
        ([1.0, 2.0, 3.0, 4.0], [1.5, 2.5, 3.5, 4.5], 0.0, "unknown"),
        ([1.0, 2.0, 3.0, 4.0], [1.5, 2.5, 3.5, 4.5], 0.1, "unknown"),
        ([1.01, 1.02, 1.03, 1.04], [1.0, 1.005, 1.006, 1.007], 0.1, "equal"),
        ([1e308, 1e308], [-1e308, -1e308], 0.1, "better"),
    ],
)
def test_cases(one: list[float], other: list[float], noise: float, expected: Relation) -> None:
    assert compare(one, other, Objective("x", "max", noise=noise)) == expected


def test_noise_alone_is_seldom_a_difference() -> None:
    rng, objective, wrong = random.Random(8), Objective("x"), 0
    for _ in range(1500):
        one, other = ([rng.lognormvariate(0, 0.3) for _ in range(6)] for _ in range(2))
        wrong += compare(one, other, objective, confidence=0.9) != "unknown"
    assert wrong / 1500 <= 0.1 + 2.5 * math.sqrt(0.09 / 1500)


@pytest.mark.parametrize("bad", [[], [math.nan], [1.0, math.inf]])
def test_comparisons_need_numbers(bad: list[float]) -> None:
    for deterministic in (False, True):
        with pytest.raises(Incomparable, match="second 'x'"):
            compare([1.0], bad, Objective("x", deterministic=deterministic))


def test_vectors() -> None:
    objectives = [Objective("time", "min", noise=0.01), Objective("size", "min", deterministic=True)]

    def program(time_s: float, size: float) -> list[Measurement]:
        return [Measurement("time", (time_s,)), Measurement("size", (size, size)), Measurement("side", (math.nan,))]

    def found(one: list[Measurement], other: list[Measurement]) -> str:
        return dominance(relations(one, other, objectives).values())

    assert found(program(1, 9), program(2, 9)) == "better"
    assert found(program(1, 9), program(1.001, 9)) == "equal"
    assert found(program(1, 9), program(2, 8)) == "mixed"
    assert found(program(1, 9), program(1, 8)) == "worse"
    with pytest.raises(Incomparable, match=r"second program has no measurement of 'size'. Did you mean 'side'\?"):
        found(program(1, 9), [Measurement("time", (1.0,)), Measurement("side", (1.0,))])
    with pytest.raises(Incomparable, match="declared deterministic"):
        found(program(1, 9), [Measurement("time", (1.0,)), Measurement("size", (1.0, 2.0))])


@given(st.lists(st.sampled_from(["better", "worse", "equal", "unknown"])))
def test_dominance_mirrors(found: list[Relation]) -> None:
    one, other = dominance(found), dominance([MIRRORED[answer] for answer in found])
    assert other == (one if one == "mixed" else MIRRORED[one])
    assert (one == "better") == ("better" in found and not {"worse", "unknown"} & set(found))
