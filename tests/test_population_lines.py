"""The policies of one line of descent, and the floors: what they ask for, step by step."""

from __future__ import annotations

from population_world import World

from population.policies.agent import Agent
from population.policies.best_of_n import BestOfN
from population.policies.chain import Chain
from raysearch.types import SEED, Limits


def test_one_attempt_at_a_time() -> None:
    world = World(Agent()).start()
    number = world.propose(world.ask(4)[0])
    assert world.ask(3) == []
    world.fail(number)
    assert len(world.ask(4)) == 1


# -- agent --------------------------------------------------------------------------------------------------


def test_agent_repairs_what_was_refused() -> None:
    world = World(Agent(max_retries_per_round=3)).start()
    (proposal,) = world.ask()
    assert (proposal.lineage, proposal.parents, proposal.repair) == ("round-1", (SEED,), None)
    one = world.propose(proposal)
    world.reject(one, "wrong", memory="tried tiling")
    (proposal,) = world.ask()
    assert (proposal.lineage, proposal.parents, proposal.repair) == ("round-1", (SEED,), one)
    assert proposal.brief.feedback == "wrong"
    assert proposal.brief.memory.endswith("## Noted by the latest attempt\ntried tiling")
    two = world.propose(proposal)
    world.reject(two, "still wrong", memory="tried unrolling")
    assert world.ask()[0].repair == two
    world.fail(world.propose(world.ask()[0]))
    assert world.ask()[0].repair == two
    world.reject(world.propose(world.ask()[0]), "no hope", memory="tiling is a dead end")
    (proposal,) = world.ask()
    assert (proposal.lineage, proposal.parents, proposal.repair) == ("round-2", (SEED,), None)
    assert proposal.brief.feedback == ""
    assert "tiling is a dead end" in proposal.brief.memory
    assert proposal.brief.lessons == ("wrong", "still wrong", "no hope")
    better = world.propose(proposal)
    world.admit(better, "fused it", size=0.0, speed=1.0)
    (proposal,) = world.ask()
    assert (proposal.lineage, proposal.parents, proposal.repair) == ("round-3", (better,), None)
    assert "1. no task was planned: UNPLANNED. 3 refused, the last: no hope\n" in proposal.brief.memory
    assert "2. no task was planned: UNPLANNED. speed 0 -> 1, kept (candidate 5)\n" in proposal.brief.memory
    assert proposal.brief.lessons == ()


def test_agent_goes_on_from_what_is_better_than_its_parent() -> None:
    world = World(Agent()).start(size=9.0, speed=1.0)
    better = world.propose(world.ask()[0])
    world.admit(better, size=10.0, speed=2.0)
    world.admit(world.propose(world.ask()[0]), size=1.0, speed=1.5)
    (proposal,) = world.ask()
    assert proposal.parents == (better,)
    said = "size 10 -> 1 (90 % better), speed 2 -> 1.5 (25 % worse)"
    assert proposal.brief.lessons == (f"attempt 2 passed every gate, but is no better: {said}.",)


def test_agent_repairs_the_latest_commit() -> None:
    world = World(Agent()).start()
    one = world.propose(world.ask()[0])
    world.reject(one, "wrong")
    world.reject(world.propose(world.ask()[0]), "changed nothing", commit=False)
    (proposal,) = world.ask()
    assert (proposal.repair, proposal.brief.feedback, proposal.brief.lessons) == (one, "changed nothing", ("wrong",))


def test_agent_remembers_from_nothing() -> None:
    world = World(Agent()).start("unseeded")
    world.reject(world.propose(world.ask()[0]), "wrong", memory="began")
    (proposal,) = world.ask()
    assert (proposal.brief.feedback, proposal.lineage) == ("wrong", "round-0")
    assert "began" in proposal.brief.memory
    first = world.propose(proposal)
    world.admit(first, size=1.0, speed=1.0)
    assert [(p.lineage, p.parents) for p in world.ask()] == [("round-1", (first,))]


def test_agent_ends_after_its_rounds() -> None:
    policy = Agent(max_retries_per_round=1, max_rounds=2)
    world = World(policy).start()
    for _ in range(2):
        assert policy.over() == ""
        world.reject(world.propose(world.ask()[0]), "wrong")
    assert world.ask() == []
    assert policy.over() == "all of its 2 rounds are over"
    assert Agent().max_rounds == 24


# -- floors -------------------------------------------------------------------------------------------------


def test_best_of_n_never_breeds_a_child() -> None:
    world = World(BestOfN()).start().walk(1)
    assert len(world.candidates) > 10
    assert {p.parents for p in world.ask(4)} == {(SEED,)}
    assert {made.parents for made in world.candidates.values()} == {(), (SEED,)}
    unseeded = World(BestOfN()).start("unseeded").walk(1)
    assert {made.parents for made in unseeded.candidates.values()} == {()}


def test_chain_follows_the_newest_whatever_it_scored() -> None:
    world = World(Chain(), limits=Limits(open_max=2)).start()
    proposals = world.ask(2)
    assert [(p.lineage, p.parents) for p in proposals] == [("chain-0", (SEED,)), ("chain-1", (SEED,))]
    one, two = (world.propose(p) for p in proposals)
    assert world.ask(2) == []
    world.admit(two, size=9.0, speed=-9.0)
    assert [(p.lineage, p.parents) for p in world.ask(1)] == [("chain-1", (two,))]
    world.reject(one, "no")
    assert [(p.lineage, p.parents) for p in world.ask(2)] == [("chain-0", (SEED,)), ("chain-1", (two,))]


def test_chains_never_mix() -> None:
    world = World(Chain()).start().walk(3, steps=80)
    for made in world.candidates.values():
        for parent in made.parents:
            assert parent == SEED or world.candidates[parent].lineage == made.lineage
    assert {made.lineage for made in world.candidates.values()} == {"", *(f"chain-{n}" for n in range(4))}
