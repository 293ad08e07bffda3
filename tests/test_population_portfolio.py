"""The choice among mutators: floors, credit, cost, and that nothing but facts decides; and merges."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from population_world import ONE, TWO, World, check, memory_of

from population.frontier import Frontier
from population.policies.agent import Agent
from population.policies.best_of_n import BestOfN
from population.policies.breeder import Breeder
from population.policies.chain import Chain
from population.policies.evolve import Evolve
from population.portfolio import GAINS, STEP, Credit, Portfolio
from raysearch.errors import ConfigError
from raysearch.facts import AttemptClosed, JobFailed
from raysearch.testing.simulation import simulate
from raysearch.types import SEED, AttemptId, Limits, Objective, Outcome, Proposal, Stage, Usage

NOISY = (Objective("speed", noise=0.1),)


def played(odds: dict[str, float], attempts: int, seed: int = 0, bills: dict[str, float] | None = None) -> Portfolio:
    """A portfolio that chose so many times between mutators that enter the frontier with the probability ``odds``."""
    portfolio, rng = Portfolio(0.01), random.Random(seed)
    frontier, number = Frontier(ONE), 0
    for number in range(1, attempts + 1):
        name = portfolio.choose(list(odds), rng, 0.1)
        portfolio.spent(AttemptId(number), (bills or {}).get(name, 0.0))
        point = (float(number),) if rng.random() < odds[name] else None
        close(portfolio, name, number, point, frontier)
    return portfolio


def close(portfolio: Portfolio, name: str, number: int, point: tuple[float, ...] | None, frontier: Frontier) -> None:
    outcome = Outcome.REJECTED if point is None else Outcome.ADMITTED
    portfolio.closed(AttemptClosed(AttemptId(number), outcome), Proposal(mutator=name), point, frontier)
    if point is not None:
        frontier.insert(AttemptId(number), point)


def shares(portfolio: Portfolio, names: Sequence[str], draws: int = 2000, exploration: float = 0.1) -> dict[str, float]:
    rng = random.Random(99)
    counts = Counter(portfolio.choose(names, rng, exploration) for _ in range(draws))
    return {name: counts[name] / draws for name in names}


# -- choosing -----------------------------------------------------------------------------------------------


def test_nothing_known_nothing_preferred() -> None:
    assert all(abs(share - 0.25) < 0.05 for share in shares(Portfolio(0.01), "abcd").values())


def test_one_name_takes_no_draw() -> None:
    rng = random.Random(1)
    before = rng.getstate()
    assert Portfolio(0.01).choose(["tune"], rng, 0.1) == "tune"
    assert rng.getstate() == before


@pytest.mark.parametrize("seed", range(3))
def test_what_improves_more_is_chosen_more(seed: int) -> None:
    found = shares(played({"a": 0.4, "b": 0.05, "c": 0.0}, 300, seed), "abc")
    assert found["a"] > 0.6
    assert found["c"] < found["a"] / 4


def test_what_improves_rarely_is_told_from_what_never_does() -> None:
    found = shares(played({"a": 0.06, "b": 0.0, "c": 0.0}, 400), "abc")
    assert found["a"] > 0.5


@given(st.integers(0, 2**32), st.floats(0.05, 1.0), st.integers(2, 6), st.integers(0, 60))
@settings(max_examples=25, deadline=None)
def test_none_is_ever_given_up(seed: int, exploration: float, count: int, attempts: int) -> None:
    """Whatever was told, each is drawn as often as the floor says, within what luck allows."""
    names = [f"m{n}" for n in range(count)]
    portfolio = played({name: 0.9 if name == "m0" else 0.0 for name in names}, attempts, seed)
    found = shares(portfolio, names, 3000, exploration)
    assert min(found.values()) > exploration / count * 0.5


def test_what_always_fails_does_not_starve_the_run() -> None:
    found = shares(played({"broken": 0.0, "works": 0.2}, 200), ["broken", "works"])
    assert 0.03 < found["broken"] < 0.2


def test_old_results_fade() -> None:
    portfolio, frontier = played({"a": 0.5, "b": 0.0}, 200), Frontier(ONE)
    assert shares(portfolio, "ab")["a"] > 0.8
    frontier.insert(SEED, (1e6,))
    for number in range(1000, 1600):  # a has run dry, and b comes into its own
        close(portfolio, "a", number, None, frontier)
        close(portfolio, "b", number + 1000, (1e6 + number,) if number % 10 == 0 else None, frontier)
    assert shares(portfolio, "ab")["b"] > 0.7


def test_a_bill_is_weighed_against_what_it_brings() -> None:
    odds = {"cheap": 0.2, "dear": 0.4}
    assert shares(played(odds, 300), ["cheap", "dear"])["dear"] > 0.6
    assert shares(played(odds, 300, bills={"dear": 0.09}), ["cheap", "dear"])["cheap"] > 0.7
    assert shares(played({"cheap": 0.0, "dear": 0.4}, 300, bills={"dear": 0.09}), ["cheap", "dear"])["dear"] > 0.6


def test_many_draws_at_once_spread_as_beliefs_do() -> None:
    found = shares(played({"a": 0.3, "b": 0.25, "c": 0.01}, 120), "abc", 100)
    assert sum(share > 0.1 for share in found.values()) >= 2


# -- credit -------------------------------------------------------------------------------------------------


def test_credit_is_by_frontier_then_by_parents() -> None:
    credit, frontier = Credit(), Frontier(ONE)
    assert credit.assign((1.0,), (), frontier) == 1.0
    frontier.insert(SEED, (1.0,))
    assert credit.assign((0.5,), [(0.4,)], frontier) == STEP
    assert credit.assign((0.5,), [(0.4,), (0.6,)], frontier) == 0.0
    assert credit.assign((0.5,), (), frontier) == 0.0
    assert credit.assign((2.0,), [(1.0,)], frontier) == 0.75


def test_what_is_within_noise_earns_nothing() -> None:
    credit, frontier = Credit(), Frontier(NOISY)
    frontier.insert(SEED, (100.0,))
    assert credit.assign((105.0,), [(100.0,)], frontier) == 0.0
    assert credit.assign((95.0,), [(90.0,)], frontier) == 0.0
    assert credit.assign((120.0,), [(100.0,)], frontier) > 0.5


@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=40),
    st.sampled_from([2.0**-30, 0.25, 1.0, 2.0**40]),
    st.sampled_from([2.0**-10, 1.0, 2.0**20]),
)
def test_credit_does_not_know_the_scales(points: list[tuple[int, int]], one: float, two: float) -> None:
    plain, scaled = [], []
    for found, scales in ((plain, (1.0, 1.0)), (scaled, (one, two))):
        credit, frontier = Credit(), Frontier(TWO)
        for number, point in enumerate(points):
            at = (point[0] * scales[0], point[1] * scales[1])
            found.append(credit.assign(at, (), frontier))
            frontier.insert(AttemptId(number), at)
    assert plain == scaled
    assert all(0.0 <= earned <= 1.0 for earned in plain)


@given(st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1, 1)), max_size=20))
def test_any_finite_values_earn_credit(points: list[tuple[float, float]]) -> None:
    credit, frontier = Credit(), Frontier(TWO)
    for number, point in enumerate(points):
        assert 0.0 <= credit.assign(point, [point], frontier) <= 1.0
        frontier.insert(AttemptId(number), point)


def test_larger_gains_earn_more_and_one_outlier_spoils_nothing() -> None:
    credit, frontier, best = Credit(), Frontier(ONE), 1.0
    earned = []
    for gain in [1.0, 1e9, *(0.1, 0.4) * 30]:
        frontier.insert(SEED, (best,))
        best += gain
        earned.append(credit.assign((best,), (), frontier))
    assert earned[-1] > 0.7 > 0.65 > earned[-2]


# -- in policies --------------------------------------------------------------------------------------------

NAMES = ("a", "b", "merge")
POLICIES = {
    "evolve": lambda: Evolve(mutators=NAMES),
    "evolve-survivors": lambda: Evolve(mutators=NAMES, survivors=4, islands=2, migration_every=5, stuck_after=9),
    "agent": lambda: Agent(mutators=NAMES),
    "best-of-n": lambda: BestOfN(mutators=NAMES),
    "chain": lambda: Chain(mutators=NAMES),
    "uniform": lambda: Evolve(mutators=NAMES, portfolio="uniform"),
}
every_policy = pytest.mark.parametrize("name", POLICIES)


@every_policy
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), start=st.sampled_from(["seeded", "unseeded", "refused"]))
def test_asking_changes_nothing_and_replaying_restores(name: str, seed: int, start) -> None:
    world, rng = World(POLICIES[name](), TWO).start(start), random.Random(seed)
    for _ in range(30):
        world.step(rng)
        before = memory_of(world.policy)
        first = world.ask(6, seed=7)
        check(world, first, 6)
        assert world.ask(6, seed=7) == first
        assert memory_of(world.policy) == before
    rebuilt = POLICIES[name]()
    for fact in world.facts:
        rebuilt.tell(fact)
    for draw in range(5):
        assert list(rebuilt.ask(world, 4, random.Random(draw))) == world.ask(4, seed=draw)


@every_policy
def test_simulated_runs_are_sound(name: str) -> None:
    """Through faults, power cuts and new sessions, with every mutator in turn."""
    for seed in range(8):
        simulate(seed, POLICIES[name]).check()


@every_policy
def test_memory_stays_bounded(name: str) -> None:
    world, sizes = World(POLICIES[name](), limits=Limits(open_max=1)).start(), []
    for number in range(1, 1001):
        attempt = world.propose(Proposal((SEED,), NAMES[number % 3], lineage="island-0"))
        world.mutate(attempt, cost_usd=0.1)
        world.fail(attempt)
        world.facts.clear()
        if number in (500, 1000):
            sizes.append(len(memory_of(world.policy)))
    assert abs(sizes[1] - sizes[0]) < 200
    for _ in range(500):
        world.bear(parents=(0,), size=1.0, speed=-1.0)
    assert len(memory_of(world.policy)) - sizes[1] < 500 * 100 + 20 * GAINS


def tried(policy: Breeder, name: str, speed: float | None, times: int = 30, cost_usd: float = 0.0) -> World:
    """A run in which ``name`` made each time a child of the seed at ``speed``, and more; None: it was refused."""
    world = World(policy, ONE).start(speed=1.0)
    for number in range(times):
        attempt = world.propose(Proposal((SEED,), name, lineage="island-0"))
        if speed is None:
            world.reject(attempt, "no")
        elif cost_usd:
            world.record(JobFailed(attempt, Stage.MUTATE, name, "TimedOut", "late", True, Usage(cost_usd)))
            world.admit(attempt, speed=speed + number)
        else:
            world.admit(attempt, speed=speed + number)
    return world


def others_tried(world: World, name: str, times: int = 30) -> World:
    """The same run after ``name`` was refused each time."""
    for _ in range(times):
        world.reject(world.propose(Proposal((SEED,), name, lineage="island-0")), "no")
    return world


def asked(world: World, asks: int = 400) -> Counter[str]:
    return Counter(proposal.mutator for seed in range(asks) for proposal in world.ask(1, seed))


@pytest.mark.parametrize("make", [Evolve, BestOfN, Chain, Agent])
def test_policies_follow_credit(make: type[Breeder]) -> None:
    chosen = asked(others_tried(tried(make(mutators=("a", "b")), "a", 2.0), "b"))
    assert chosen["a"] > 0.7 * chosen.total()
    assert chosen["b"] > 0.03 * chosen.total()
    shunned = asked(tried(make(mutators=("a", "b")), "a", None))
    assert shunned["b"] > 0.55 * shunned.total()
    assert shunned["a"] > 0.03 * shunned.total()
    even = asked(tried(make(mutators=("a", "b"), portfolio="uniform"), "a", None))
    assert 0.4 < even["a"] / even.total() < 0.6


def test_failed_tries_are_on_the_bill() -> None:
    """Of two that earn the same, one loses its worker, and the money, before it succeeds."""
    found = []
    for cost_usd in (0.0, 5.0):
        world = tried(Evolve(mutators=("a", "b")), "a", 2.0, cost_usd=cost_usd)
        for number in range(30):
            world.admit(world.propose(Proposal((SEED,), "b", lineage="island-0")), speed=40.0 + number)
        found.append(asked(world)["a"])
    free, dear = found
    assert free > 100 > 40 > dear


def test_what_is_abandoned_says_nothing() -> None:
    world = World(Evolve(mutators=("a", "b")), ONE).start(speed=1.0)
    before = asked(world)
    for _ in range(50):
        world.fail(world.propose(Proposal((SEED,), "a", lineage="island-0")), Outcome.ABANDONED)
    assert asked(world) == before


# -- merges -------------------------------------------------------------------------------------------------


def merges(world: World, asks: int = 300) -> list[Proposal]:
    found = [proposal for seed in range(asks) for proposal in world.ask(1, seed)]
    for proposal in found:
        check(world, [proposal], 1)
        assert len(proposal.parents) == (2 if proposal.mutator == "merge" else 1)
    return [proposal for proposal in found if proposal.mutator == "merge"]


def test_a_merge_has_two_parents_that_are_no_kin() -> None:
    world = World(Evolve(mutators=("tune", "merge")), TWO).start(size=0.0, speed=0.0)
    left = world.bear("island-0", parents=(0,), size=1.0, speed=1.0)
    right = world.bear("island-0", parents=(0,), size=2.0, speed=2.0)
    below = world.bear("island-0", parents=(left,), size=3.0, speed=3.0)
    pairs = {frozenset(proposal.parents) for proposal in merges(world)}
    assert pairs == {frozenset((left, right)), frozenset((right, below))}
    both = world.bear("island-0", parents=(left, right), size=4.0, speed=4.0)
    pairs = {frozenset(proposal.parents) for proposal in merges(world)}
    assert pairs == {frozenset((left, right)), frozenset((right, below)), frozenset((both, below))}


@pytest.mark.parametrize("line", [0, 1, 4])
def test_without_two_lines_there_is_no_merge(line: int) -> None:
    world = World(Evolve(mutators=("tune", "merge")), ONE).start(speed=0.0)
    for number in range(line):
        world.bear("island-0", parents=(number,), speed=float(number + 1))
    assert merges(world) == []
    assert len(world.ask(3)) == 3


def test_who_is_too_far_up_the_line_counts_as_kin(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Evolve(mutators=("tune", "merge")), ONE).start(speed=0.0)
    side = world.bear("island-0", parents=(0,), speed=1.0)
    for number in range(8):
        world.bear("island-0", parents=(number + 1 if number else 0,), speed=2.0 + number)
    assert any(side in proposal.parents for proposal in merges(world))
    monkeypatch.setattr("population.kinship.LINE_MAX", 3)
    for proposal in merges(world):
        assert side not in proposal.parents or max(proposal.parents) <= 5


def test_merges_stay_on_their_island() -> None:
    world = World(Evolve(mutators=("tune", "merge"), islands=2, migration_every=0), TWO).start(size=0.0, speed=0.0)
    for number in range(1, 9):
        world.bear(f"island-{number % 2}", parents=(0,), size=float(number), speed=float(number))
    for proposal in merges(world):
        assert {world.candidates[parent].lineage for parent in proposal.parents} == {proposal.lineage}


def test_any_name_may_merge() -> None:
    world = World(Evolve(mutators=("tune", "graft", "merge"), mergers=("graft",)), TWO).start(size=0.0, speed=0.0)
    for number in (1.0, 2.0):
        world.bear("island-0", parents=(0,), size=number, speed=number)
    found = [proposal for seed in range(200) for proposal in world.ask(1, seed)]
    assert {(p.mutator, len(p.parents)) for p in found} == {("tune", 1), ("graft", 2), ("merge", 1)}


@pytest.mark.parametrize(
    "policy",
    [
        BestOfN(mutators=("tune", "merge")),
        Chain(mutators=("tune", "merge")),
        Agent(mutators=("tune", "merge"), max_rounds=1000),
    ],
)
def test_policies_with_one_parent_to_offer_never_merge(policy: Breeder) -> None:
    world = World(policy, TWO).start().walk(3, steps=60)
    assert {proposal.mutator for seed in range(50) for proposal in world.ask(1, seed)} == {"tune"}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0, 5]), st.integers(1, 3))
def test_merged_candidates_never_descend_from_each_other(seed: int, survivors: int, islands: int) -> None:
    policy = Evolve(mutators=("tune", "merge"), survivors=survivors, islands=islands, portfolio="uniform")
    world, rng = World(policy, TWO).start(), random.Random(seed)
    seen = 0
    for _ in range(80):
        for proposal in world.step(rng):
            if len(proposal.parents) == 2:
                one, other = proposal.parents
                assert one not in ancestors(world, other)
                assert other not in ancestors(world, one)
                seen += 1
    assert seen


def ancestors(world: World, number: AttemptId) -> set[AttemptId]:
    above = set(world.candidates[number].parents)
    return above.union(*(ancestors(world, parent) for parent in above))


# -- options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"portfolio": "credits"}, "policy evolve: portfolio must be 'credit' or 'uniform'; it is 'credits'."),
        ({"exploration": 0.0}, "policy evolve: exploration must be a number, from 0.01 to 1; it is 0.0."),
        ({"attempt_usd": 0}, "policy evolve: attempt_usd must be a number, 1e-06 or more; it is 0."),
        ({"mergers": "merge"}, "policy evolve: mergers must be a list of names; it is 'merge'."),
        ({"survivors": -1}, "policy evolve: survivors must be a whole number, 0 or more; it is -1."),
        ({"mutators": ("merge",)}, "merge can only merge two candidates, and nothing makes a second one: add"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Evolve(**options)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_a_portfolio_survives_pickling() -> None:
    portfolio = played({"a": 0.4, "b": 0.1}, 50)
    assert shares(pickle.loads(pickle.dumps(portfolio)), "ab") == shares(portfolio, "ab")
