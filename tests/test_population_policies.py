"""What holds for every policy, and the ways of the simple ones."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from population_world import ONE, THREE, TWO, Start, World, check, memory_of

from population.frontier import dominates, primary, vector
from population.policies.agent import Agent
from population.policies.best_of_n import BestOfN
from population.policies.breeder import Breeder
from population.policies.chain import Chain
from population.policies.evolve import Evolve
from raysearch.errors import ConfigError
from raysearch.protocols import Policy
from raysearch.types import AttemptId, Limits, Outcome, Proposal

POLICIES: dict[str, Callable[[], Breeder]] = {
    "evolve": Evolve,
    "evolve-islands": lambda: Evolve(islands=3, migration_every=4, migrants=2, stuck_after=6, mutators=("a", "b")),
    "agent": lambda: Agent(mutators=("a", "b")),
    "best-of-n": BestOfN,
    "chain": Chain,
}
every_policy = pytest.mark.parametrize("name", POLICIES)
starts = st.sampled_from(["seeded", "unseeded", "refused"])
goals = st.sampled_from([ONE, TWO, THREE])


def walk(name: str, seed: int, start: Start = "seeded", objectives=TWO) -> World:
    return World(POLICIES[name](), objectives).start(start).walk(seed)


# -- every policy -------------------------------------------------------------------------------------------


@every_policy
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), start=starts, objectives=goals)
def test_asking_changes_nothing_and_replaying_restores(name: str, seed: int, start: Start, objectives) -> None:
    world, rng = World(POLICIES[name](), objectives).start(start), random.Random(seed)
    for _ in range(30):
        world.step(rng)
        before = memory_of(world.policy)
        first = world.ask(4, seed=7)
        check(world, first, 4)
        world.ask(2, seed=8)
        world.policy.best(world)
        assert world.ask(4, seed=7) == first
        assert memory_of(world.policy) == before
    rebuilt = POLICIES[name]()
    for fact in world.facts:
        rebuilt.tell(fact)
    for draw in range(5):
        assert list(rebuilt.ask(world, 4, random.Random(draw))) == world.ask(4, seed=draw)
    assert rebuilt.best(world) == world.policy.best(world)


@every_policy
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), start=starts)
def test_one_seed_one_run(name: str, seed: int, start: Start) -> None:
    assert walk(name, seed, start).facts == walk(name, seed, start).facts


@every_policy
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), start=starts, objectives=goals)
def test_best_is_the_frontier_best_first(name: str, seed: int, start: Start, objectives) -> None:
    world = walk(name, seed, start, objectives=objectives)
    points = {number: vector(made, objectives) for number, made in world.candidates.items()}
    came = {number: place for place, number in enumerate(points)}  # of equals the first to be admitted stays
    kept = {
        number
        for number, point in points.items()
        if not any(dominates(p, point) or (p == point and came[n] < came[number]) for n, p in points.items())
    }
    best = world.policy.best(world)
    assert len(best) == len(kept)
    assert set(best) == kept
    scores = [points[number][primary(objectives)] for number in best]
    assert scores == sorted(scores, reverse=True)


@every_policy
def test_names_of_mutators_come_from_the_run(name: str) -> None:
    policy = POLICIES[name]()
    policy.mutators = ("tune", "scripted", "agent")
    world = World(policy).start()
    chosen = {world.ask(1, seed)[0].mutator for seed in range(40)}
    assert chosen == {"tune", "scripted", "agent"}


@every_policy
def test_no_slots_no_proposals(name: str) -> None:
    world = World(POLICIES[name]()).start()
    assert world.ask(0) == []


@every_policy
def test_options_can_be_told_apart_by_type(name: str) -> None:
    hints = get_type_hints(type(POLICIES[name]()).__init__)
    assert hints["mutators"] == tuple[str, ...]


@every_policy
def test_memory_stays_bounded(name: str) -> None:
    """A candidate costs some numbers, a refusal nothing for good, however long its reason."""
    world, sizes = World(POLICIES[name](), limits=Limits(open_max=1)).start(), []
    for number in range(1, 5001):
        world.miss(parents=(number - 1,), reason=f"{number} " + "x" * 1000)
        world.facts.clear()
        if number in (2500, 5000):
            sizes.append(len(memory_of(world.policy)))
    assert sizes[1] < 1.1 * sizes[0] < 2e6
    for _ in range(500):
        world.bear(parents=(0,), size=1.0, speed=-1.0)
    assert len(memory_of(world.policy)) - sizes[1] < 500 * 100


@every_policy
def test_what_is_closed_is_forgotten(name: str) -> None:
    world, sizes = World(POLICIES[name](), limits=Limits(open_max=1)).start(), []
    for _ in range(4):
        for _ in range(300):
            world.miss(parents=(0,), reason="no")
        sizes.append(len(memory_of(world.policy)))
    assert max(sizes) - min(sizes) < 100


@every_policy
def test_a_brief_tells_where_the_program_stands(name: str) -> None:
    """With one objective a child of the best has nothing above it; with several there are trade-offs all the same."""
    for objectives in (ONE, TWO):
        world = World(POLICIES[name](), objectives).start(**{o.name: 0.0 for o in objectives})
        for value in (9.0, 5.0):  # of two objectives one is to be small, the other large
            world.bear(world.ask(1)[0].lineage, parents=(0,), **{o.name: value for o in objectives})
        members = set(world.policy.best(world))
        assert len(members) == (1 if objectives is ONE else 3)
        for seed in range(30):
            (proposal,) = world.ask(1, seed)
            check(world, [proposal], 1)
            told = {member.id for member in proposal.brief.frontier}
            assert told == (set() if name == "best-of-n" else members - set(proposal.parents))


# -- from nothing -------------------------------------------------------------------------------------------


@every_policy
def test_from_nothing_the_latest_refusal_is_repaired(name: str) -> None:
    world = World(POLICIES[name](), limits=Limits(open_max=1)).start("unseeded")
    (first,) = world.ask(1)
    assert (first.parents, first.repair, first.brief.feedback, first.brief.lessons) == ((), None, "", ())
    one = world.propose(first)
    world.reject(one, "does not build")
    (second,) = world.ask(1)
    assert (second.parents, second.repair, second.brief.feedback) == ((), one, "does not build")
    assert second.brief.lessons == ()
    two = world.propose(second)
    world.reject(two, "wrong answer")
    (third,) = world.ask(1)
    assert (third.repair, third.brief.feedback, third.brief.lessons) == (two, "wrong answer", ("does not build",))
    three = world.propose(third)
    world.reject(three, "changed nothing", commit=False)
    (fourth,) = world.ask(1)
    assert (fourth.repair, fourth.brief.feedback) == (two, "changed nothing")
    assert fourth.brief.lessons == ("does not build", "wrong answer")


@every_policy
def test_from_nothing_a_few_refusals_are_enough(name: str) -> None:
    policy = POLICIES[name]()
    world = World(policy, limits=Limits(open_max=8)).start("unseeded")
    for outcome in (Outcome.FAILED, Outcome.ABANDONED) * 5:  # nobody's doing: not counted
        world.fail(world.propose(world.ask(1)[0]), outcome)
    lone = name == "agent"
    for left, at_once in ((5, 3), (4, 2), (3, 2), (2, 1)):
        proposals = world.ask(8)
        assert len(proposals) == (1 if lone else at_once)
        assert (proposals[0].repair is None) == (left == 5), "there is something to repair"
        world.reject(world.propose(proposals[0]), "no")
    last = world.propose(world.ask(8)[0])
    assert world.ask(7) == []
    world.reject(last, "no")
    assert world.ask(8) == []
    policy.bootstrap_max_attempts = None
    assert len(world.ask(1)) == 1


@every_policy
def test_a_refused_seed_is_where_work_begins(name: str) -> None:
    world = World(POLICIES[name]()).start("refused", reason="two cases fail")
    (proposal,) = world.ask(1)
    assert (proposal.parents, proposal.repair, proposal.brief.feedback) == ((), None, "two cases fail")
    for _ in range(5):
        world.reject(world.propose(world.ask(1)[0]), "no")
    assert world.ask(1) == []


@every_policy
def test_from_nothing_to_a_first_candidate(name: str) -> None:
    world = World(POLICIES[name]()).start("unseeded")
    world.miss()
    first = world.bear(lineage=world.ask(1)[0].lineage, speed=1.0, size=1.0)
    (proposal,) = world.ask(1)
    assert proposal.parents == (() if name == "best-of-n" else (first,))
    assert proposal.repair is None
    assert proposal.brief.feedback == ""


def test_a_candidate_without_all_objectives_is_not_bred() -> None:
    world = World(Evolve()).start("unseeded")
    world.bear("island-0", speed=1.0)
    assert world.ask(1)[0].parents == ()
    assert world.policy.best(world) == ()


# -- options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Evolve(frontier_bias=1.5), "policy evolve: frontier_bias must be a number, from 0 to 1; it is 1.5."),
        (lambda: Evolve(temperature=-1), "policy evolve: temperature must be a number, 0 or more; it is -1."),
        (lambda: Evolve(temperature=float("nan")), "temperature must be a number"),
        (lambda: Evolve(temperature="hot"), "it is 'hot'."),
        (lambda: Evolve(islands=0), "policy evolve: islands must be a whole number, 1 or more; it is 0."),
        (lambda: Evolve(k_top=None), "k_top must be a whole number, 0 or more; it is None."),
        (lambda: Evolve(migrants=True), "migrants must be a whole number, 1 or more; it is True."),
        (lambda: Agent(max_rounds=0), "policy agent: max_rounds must be"),
        (lambda: Agent(max_retries_per_round=2.0), "policy agent: max_retries_per_round must be"),
        (lambda: Chain(bootstrap_max_attempts=0), "policy chain: bootstrap_max_attempts must be"),
        (lambda: BestOfN(mutators="tune"), "must be a list of at least one name, such as [\"default\"]; it is 'tune'."),
        (lambda: BestOfN(mutators=()), "policy best-of-n: mutators must be"),
        (lambda: Evolve(mutators=["a", 3]), "policy evolve: mutators must be"),
    ],
)
def test_bad_options_are_named(make: Callable[[], Policy], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert said in str(caught.value)


def test_policies_survive_pickling() -> None:
    world = walk("evolve-islands", 1)
    copy = pickle.loads(memory_of(world.policy))
    assert list(copy.ask(world, 3, random.Random(1))) == world.ask(3, seed=1)


def test_unknown_facts_are_let_pass() -> None:
    policy = Evolve()
    policy.tell(object())  # type: ignore[arg-type]
    assert policy.ask(World(policy), 2, random.Random(1)) == []


def test_lessons_are_capped_and_never_repeat() -> None:
    world = World(Evolve(lessons_max=2)).start()
    for reason in ("a", "b", " a ", "c" * 2000, "  "):
        world.miss("island-0", parents=(0,), reason=reason)
    first, second = world.ask()[0].brief.lessons
    assert first == "a"
    assert second == "c" * 699 + "…"
    silent = World(Evolve(lessons_max=0)).start()
    silent.miss("island-0", parents=(0,), reason="a")
    assert silent.ask()[0].brief.lessons == ()


def test_lessons_are_of_the_parent_alone() -> None:
    world = World(Evolve(frontier_bias=1.0), ONE).start(speed=0.0)
    world.miss("island-0", parents=(0,), reason="of the seed")
    child = world.bear("island-0", parents=(0,), speed=1.0)
    assert world.ask()[0].brief.lessons == ()
    world.miss("island-0", parents=(child,), reason="of the child")
    world.fail(world.propose(Proposal((AttemptId(child),), lineage="island-0")))
    assert world.ask()[0].brief.lessons == ("of the child",)
