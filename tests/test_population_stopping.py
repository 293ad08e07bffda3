"""When a search has had enough, and that it says why."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from population_world import ONE, TWO, World

from population.policies.agent import Agent
from population.policies.best_of_n import BestOfN
from population.policies.breeder import Breeder
from population.policies.chain import Chain
from population.policies.evolve import Evolve
from population.stopping import ATTEMPTS_MIN, HORIZON, Progress, StopRules
from raysearch.errors import ConfigError
from raysearch.facts import Judged, RunEnded
from raysearch.testing.scenario import Scenario
from raysearch.testing.simulation import simulate
from raysearch.types import AttemptId, Objective, Proposal, Usage, Verdict

every_policy = pytest.mark.parametrize("make", [Evolve, Agent, BestOfN, Chain])


@every_policy
def test_a_plateau_ends_it(make: type[Breeder]) -> None:
    world = World(make(stop_after=3), ONE).start(speed=1.0)
    world.miss(parents=(0,))
    world.bear(parents=(0,), speed=1.0)
    world.fail(world.propose(Proposal((AttemptId(0),))))
    assert world.ask()
    assert world.policy.over() == ""
    late = world.propose(world.ask()[0])
    world.miss(parents=(0,))
    assert world.ask() == []
    assert world.policy.over() == "no improvement of the frontier in 3 attempts"
    world.admit(late, speed=2.0)
    assert world.ask(), "a straggler improved it"
    assert world.policy.over() == ""


def test_what_is_within_noise_is_no_improvement() -> None:
    world = World(Evolve(stop_after=2), (Objective("speed", noise=0.05),)).start(speed=100.0)
    world.bear("island-0", parents=(0,), speed=102.0)
    world.bear("island-0", parents=(0,), speed=104.0)
    assert world.ask() == []


@every_policy
def test_a_value_that_was_wanted_ends_it(make: type[Breeder]) -> None:
    world = World(make(stop_at={"speed": 5.0, "size": 3.0}), TWO).start(size=9.0, speed=1.0)
    world.bear(parents=(0,), size=3.0, speed=4.0)
    world.bear(parents=(0,), size=3.5, speed=5.0)
    assert world.ask()
    found = world.bear(parents=(0,), size=2.0, speed=5.0)
    assert world.ask() == []
    assert world.policy.over() == f"candidate {found} reaches what was wanted: speed 5, size 3"


def test_the_name_of_a_wanted_value_must_be_an_objectives() -> None:
    world = World(Evolve(stop_at={"sped": 5.0}), TWO).start()
    with pytest.raises(ConfigError, match=r"stop_at: no objective is called 'sped'. Did you mean 'speed'"):
        world.ask()


def paying(gain: float, cost_usd: float, attempts: int, below: float) -> Progress:
    progress = Progress(StopRules(below_per_usd=below), ONE)
    progress.closed(AttemptId(0), (0.0,), True, False)
    for number in range(1, attempts + 1):
        progress.spent(AttemptId(number), cost_usd)
        progress.closed(AttemptId(number), (gain * number,), gain > 0, True)
    return progress


@settings(deadline=None)
@given(st.floats(0.01, 100), st.floats(0.001, 10), st.integers(ATTEMPTS_MIN, 200))
def test_what_a_dollar_brings_is_gain_over_cost(gain: float, cost_usd: float, attempts: int) -> None:
    """Where every attempt gains and costs the same, that is expected of the next."""
    progress = paying(gain, cost_usd, attempts, below=1.0)
    assert progress.expected_per_usd() == pytest.approx(gain / cost_usd)
    assert bool(progress.reason()) == (progress.expected_per_usd() < 1.0)


def test_old_gains_fade() -> None:
    progress = paying(1.0, 0.5, 40, below=0.5)
    assert not progress.reason()
    for number in range(41, 41 + 4 * HORIZON):
        progress.spent(AttemptId(number), 0.5)
        progress.closed(AttemptId(number), None, False, True)
    assert progress.reason().startswith("a dollar is expected to improve speed by 0.0")
    assert progress.reason().endswith(", less than 0.5")


def test_without_bills_or_so_early_nothing_is_expected() -> None:
    assert paying(0.0, 0.0, 300, below=9.0).reason() == ""
    assert paying(0.0, 1.0, ATTEMPTS_MIN - 1, below=9.0).reason() == ""
    assert paying(0.0, 1.0, ATTEMPTS_MIN, below=9.0).reason() != ""


def test_mutations_failures_and_judges_are_paid_for() -> None:
    world = World(Evolve(stop_below_per_usd=10.0), ONE).start(speed=1.0)
    for _ in range(ATTEMPTS_MIN):
        number = world.propose(world.ask()[0])
        world.mutate(number, cost_usd=0.25)
        world.record(Judged(number, "reviewer", Verdict(False, "no", usage=Usage(cost_usd=0.75))))
        world.reject(number, "no", commit=False)
    assert world.policy._progress.expected_per_usd() == 0.0
    assert world.ask() == []


def test_the_end_of_a_bootstrap_is_told() -> None:
    world = World(Evolve(bootstrap_max_attempts=2), ONE).start("unseeded")
    for reason in ("does not build", "two cases fail"):
        assert world.policy.over() == ""
        world.reject(world.propose(world.ask()[0]), reason)
    assert world.ask() == []
    assert world.policy.over() == (
        "no program passed every gate in 2 attempts to make a first one; the latest: two cases fail"
    )


def test_whole_runs_stop_and_end() -> None:
    ended = 0
    for seed in range(12):
        simulate(seed, lambda: Evolve(stop_after=3)).check()
        report = simulate(seed, lambda: Evolve(stop_after=3), scenario=Scenario.calm(seed, attempts=200))
        report.check()
        fact = report.entries[-1].fact
        assert isinstance(fact, RunEnded)
        ended += fact.reason != "200 candidates"
    assert ended == 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stop_after": -1}, "policy evolve: stop_after must be a whole number, 0 or more; it is -1."),
        ({"stop_at": {"speed": "fast"}}, "stop_at must be a table of numbers, such as { score = 42 }; it is"),
        ({"stop_at": 5}, "stop_at must be a table of numbers"),
        ({"stop_below_per_usd": -0.5}, "stop_below_per_usd must be a number, 0 or more; it is -0.5."),
    ],
)
def test_bad_options_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Evolve(**options)  # type: ignore[arg-type]
    assert said in str(caught.value)
