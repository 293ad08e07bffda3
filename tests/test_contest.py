"""Two programs measured in turns, and who may stand on the frontier after it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch import confirming
from raysearch.confirming import Members
from raysearch.contest import contest
from raysearch.errors import EvaluatorFault
from raysearch.types import (
    Candidate,
    CandidateId,
    Challenge,
    Commit,
    Confirmation,
    Contest,
    Measurement,
    Objective,
    Tree,
)

SPEED = Objective("speed", "max", "1/s", primary=True)
SIZE = Objective("size", "min", "kB")
COMMIT = Commit("c" * 40)


def noisy(value: float, spread: float, rng: random.Random, name: str = "speed") -> Callable[[], Sequence[Measurement]]:
    return lambda: (Measurement(name, (value * rng.lognormvariate(0.0, spread),), "1/s"),)


def met(own: float, rival: float, spread: float, seed: int, **limits: float) -> Contest:
    rng = random.Random(seed)
    challenge = Challenge(
        CandidateId(1), COMMIT, 0.01, int(limits.get("pairs_max", 1000)), limits.get("time_s", 3600.0)
    )
    return contest(challenge, (SPEED,), 0.01, noisy(own, spread, rng), noisy(rival, spread, rng), rng)


def candidate(number: int, *values: float, samples: int = 1) -> Candidate:
    axes = zip((SPEED, SIZE), values, strict=False)
    measured = tuple(Measurement(o.name, (value,) * samples, o.unit, o.goal) for o, value in axes)
    return Candidate(CandidateId(number), COMMIT, Tree("e" * 40), (), measured)


def test_a_real_gain_is_found_and_told_with_its_interval() -> None:
    held = met(1.05, 1.0, 0.05, seed=3)
    (found,) = held.comparisons
    assert held.verdict == "better"
    assert found.low is not None
    assert found.high is not None
    assert found.effect is not None
    assert found.low <= found.effect <= found.high
    assert found.pairs <= held.pairs == len(held.measurements[0].samples)
    assert "in turns" in held.measurements[0].conditions["measured"]
    assert held.rival_measurements[0].value == pytest.approx(1.0, abs=0.03)


def test_the_same_program_is_hardly_ever_better() -> None:
    assert sum(met(1.0, 1.0, 0.05, seed).verdict == "better" for seed in range(60)) <= 2


def test_what_never_varies_needs_three_pairs() -> None:
    better, same = met(1.00013, 1.00003, 0.0, seed=1), met(1.50007, 1.50007, 0.0, seed=1)
    assert (better.verdict, better.pairs) == ("better", 3)
    assert (same.verdict, same.pairs) == ("no_worthwhile_gain", 3)


def test_round_numbers_that_agree_prove_nothing() -> None:
    assert met(101.0, 100.00007, 0.0, seed=1).pairs > 3


def test_what_is_declared_deterministic_needs_one_pair_and_must_agree() -> None:
    exact = Objective("speed", "max", deterministic=True)
    rng, challenge = random.Random(1), Challenge(CandidateId(1), COMMIT, 0.01, 100, 60.0)
    assert contest(challenge, (exact,), 0.01, noisy(2, 0, rng), noisy(1, 0, rng), rng).pairs == 1
    both = (exact, Objective("size", "min"))

    def unsteady() -> Sequence[Measurement]:
        return (*noisy(1, 0.1, rng)(), *noisy(1, 0.1, rng, "size")())

    def steady() -> Sequence[Measurement]:
        return (Measurement("speed", (9.0,)), *noisy(1, 0.1, rng, "size")())

    with pytest.raises(EvaluatorFault, match="declared deterministic"):
        contest(challenge, both, 0.01, unsteady, steady, rng)


def test_time_and_pairs_are_bounded() -> None:
    assert met(1.0, 1.0, 0.5, seed=1, pairs_max=4).pairs == 4
    assert met(1.0, 1.0, 0.5, seed=1, time_s=0.0).pairs == 1
    assert met(1.0, 1.0, 0.5, seed=1, time_s=0.0).verdict == "unsettled"


def test_a_missing_metric_is_the_evaluators_fault() -> None:
    rng = random.Random(1)
    challenge = Challenge(CandidateId(1), COMMIT, 0.01, 10, 60.0)
    with pytest.raises(EvaluatorFault, match="has no 'speed'"):
        contest(challenge, (SPEED,), 0.01, noisy(1, 0, rng, "sped"), noisy(1, 0, rng), rng)


def challenged(members: Members, own: Candidate, held: dict[CandidateId, Contest], *axes: Objective) -> int | None:
    found = confirming.challenge(Confirmation(margin=1.0), members, axes or (SPEED,), own.measurements, held)
    return None if found is None else int(found.rival)


def test_who_meets_whom() -> None:
    members = Members()
    members.join(candidate(0, 100.0), (SPEED,))
    assert challenged(members, candidate(1, 101.0), {}) == 0
    assert challenged(members, candidate(1, 99.0), {}) is None  # nothing says that there is noise
    assert challenged(members, candidate(1, 200.0), {}) == 0  # however far ahead
    assert challenged(members, candidate(1, 101.0), {CandidateId(0): Contest("unsettled")}) is None
    noisy_axis = Objective("speed", "max", noise=0.05)
    assert challenged(members, candidate(1, 99.0), {}, noisy_axis) == 0
    assert challenged(members, candidate(1, 70.0), {}, noisy_axis) is None
    exact = Objective("speed", "max", deterministic=True)
    assert challenged(members, candidate(1, 100.001), {}, exact) is None


def test_noise_of_the_primary_objective_alone_lets_what_looks_worse_meet_a_member() -> None:
    speed, size = Objective("speed", "max", noise=0.05, primary=True), Objective("size", "min", noise=0.05)
    members = Members()
    members.join(candidate(0, 100.0, 10.0), (speed, size))
    assert challenged(members, candidate(1, 99.0, 20.0), {}, speed, size) == 0
    assert challenged(members, candidate(1, 70.0, 10.1), {}, speed, size) is None
    assert challenged(members, candidate(1, 70.0, 9.9), {}, speed, size) == 0


def test_the_nearest_member_is_met_first_then_the_next() -> None:
    members, axes = Members(), (SPEED, SIZE)
    members.join(candidate(1, 100.0, 10.0), axes)
    members.join(candidate(2, 110.0, 20.0), axes)
    own = candidate(3, 111.0, 19.0)
    assert challenged(members, own, {}, *axes) == 2
    won = Contest("better", (), own.measurements, 4)
    assert challenged(members, own, {CandidateId(2): won}, *axes) == 1
    far = candidate(3, 210.0, 19.0)
    assert challenged(members, far, {CandidateId(2): Contest("better", (), far.measurements, 4)}, *axes) is None
    assert confirming.settled(members, axes, own.measurements, {CandidateId(2): won, CandidateId(1): won})


def again(*values: float, **conditions: str) -> tuple[Measurement, ...]:
    axes = zip((SPEED, SIZE), values, strict=False)
    return tuple(Measurement(o.name, (value,), o.unit, o.goal, conditions) for o, value in axes)


def test_what_was_measured_again_is_believed_unless_it_throws_somebody_out() -> None:
    members, axes = Members(), (SPEED, SIZE)
    members.join(candidate(1, 100.0, 10.0), axes)
    members.join(candidate(2, 110.0, 20.0), axes)
    now = members.remeasured(CandidateId(2), again(104.0, 20.0), axes)
    assert now is not None
    assert now.scores == members.candidates[CandidateId(2)].scores == {"speed": 104.0, "size": 20.0}
    assert members.remeasured(CandidateId(2), again(99.0, 20.0), axes) is None  # 1 would be nowhere worse
    assert members.remeasured(CandidateId(2), again(101.0, 9.0), axes) is None  # it would be nowhere worse than 1
    assert members.remeasured(CandidateId(3), again(1.0, 1.0), axes) is None
    assert members.remeasured(CandidateId(2), (), axes) is None
    assert {c.scores["speed"] for c in members.candidates.values()} == {100.0, 104.0}


def test_an_old_measurement_dismisses_less() -> None:
    members, noisy_axis = Members(), Objective("speed", "max", noise=0.05)
    members.join(candidate(0, 100.0), (noisy_axis,))
    worse = candidate(1, 85.0)
    assert challenged(members, worse, {}, noisy_axis) is None
    members.newcomers += 100
    assert challenged(members, worse, {}, noisy_axis) == 0
    assert challenged(members, candidate(1, 70.0), {}, noisy_axis) is None
    members.remeasured(CandidateId(0), again(99.0), (noisy_axis,))
    assert challenged(members, worse, {}, noisy_axis) is None


def test_another_machine_dismisses_nobody() -> None:
    members, plan = Members(), Confirmation()
    members.join(replace(candidate(0, 100.0), measurements=again(100.0, machine="a")), (SPEED,))
    for machine, meets in (("a", False), ("b", True)):
        found = confirming.challenge(plan, members, (SPEED,), again(50.0, machine=machine), {})
        assert (found is not None) == meets
    assert confirming.challenge(plan, members, (SPEED,), again(50.0), {}) is None


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=1, max_size=30))
def test_members_are_the_frontier_of_all_that_joined(points: list[tuple[float, float]]) -> None:
    members, axes, joined = Members(), (SPEED, SIZE), []
    for number, point in enumerate(points):
        new = candidate(number, *point)
        if confirming.settled(members, axes, new.measurements, {}):
            members.join(new, axes)
            joined.append(point)
    best = {p for p in joined if not any(q != p and q[0] >= p[0] and q[1] <= p[1] for q in joined)}
    assert {tuple(m.value for m in member.measurements) for member in members.candidates.values()} == best


def test_a_seed_that_is_not_as_deterministic_as_declared_is_refused() -> None:
    exact = Objective("speed", "max", deterministic=True)
    asked = confirming.rehearsed(COMMIT, (exact,), Confirmation())
    assert asked is not None
    assert asked.pairs_max == 1
    rng = random.Random(5)
    held = contest(asked, (exact,), 0.01, noisy(1, 0.1, rng), noisy(1, 0.1, rng), rng)
    assert confirming.disagreement(held, (exact,)) == "speed"
    steady = contest(asked, (exact,), 0.01, noisy(1, 0, rng), noisy(1, 0, rng), rng)
    assert confirming.disagreement(steady, (exact,)) == ""
    assert confirming.rehearsed(COMMIT, (SPEED,), Confirmation()) is None
