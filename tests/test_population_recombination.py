"""Second parents for those who read, exploration while nothing improves, and what a judge noted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from population_world import ONE, TWO, World, candidate

from population.policies.evolve import Evolve
from population.recombination import task
from raysearch.agents.prompts import render
from raysearch.agents.prompts.briefing import told
from raysearch.facts import Judged, Mutated
from raysearch.testing.simulation import simulate
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import SEED, AttemptId, Change, Commit, Mutation, Objective, Proposal, Tree, Usage, Verdict

AXES = (Objective("speed", unit="op/s"), Objective("size", "min", unit="kB"))


def talk(world: World, mutator: str, lineage: str = "island-0") -> None:
    """One attempt of a mutator that asks a model."""
    number = world.propose(Proposal((SEED,), mutator, lineage=lineage))
    usage = Usage(cost_usd=0.01, calls=2, tokens_out=50)
    world.record(Mutated(number, Change(Commit("c" * 40), Tree(f"{number:040x}"), Mutation(usage=usage))))
    world.reject(number, "no", commit=False)


def of_two(**options: object) -> tuple[World, AttemptId, AttemptId]:
    policy = Evolve(mutators=("tune", "diff"), portfolio="uniform", **options)  # type: ignore[arg-type]
    world = World(policy, TWO).start(size=9.0, speed=0.0)
    fast = world.bear("island-0", parents=(0,), size=8.0, speed=9.0)
    small = world.bear("island-0", parents=(0,), size=1.0, speed=1.0)
    talk(world, "diff")
    return world, fast, small


def test_only_who_asks_models_gets_a_second_parent() -> None:
    world, fast, small = of_two(recombine=1.0)
    found = [world.ask(1, seed)[0] for seed in range(200)]
    pairs = Counter((p.mutator, len(p.parents)) for p in found)
    assert pairs["tune", 2] == 0
    assert pairs["diff", 2] > 20
    for proposal in found:
        if len(proposal.parents) == 2:
            assert set(proposal.parents) == {fast, small}, "the seed is everybody's ancestor"
            assert proposal.brief.inspirations[0].id == proposal.parents[1]
            assert [parent.id for parent in proposal.brief.parents] == list(proposal.parents)
            assert f"Program {proposal.parents[1]} is the second parent" in proposal.brief.task
        else:
            assert proposal.brief.task == ""


def test_how_often_is_an_option() -> None:
    world, *_ = of_two(recombine=0.25, frontier_bias=1.0, survivors=0)
    found = [world.ask(1, seed)[0] for seed in range(1200)]
    able = [p for p in found if p.mutator == "diff" and SEED not in p.parents]
    assert abs(sum(len(p.parents) == 2 for p in able) / len(able) - 0.25) < 0.06
    silent, *_ = of_two(recombine=0.0)
    assert all(len(silent.ask(1, seed)[0].parents) == 1 for seed in range(100))


def test_the_task_says_what_each_is_ahead_in() -> None:
    one, other = candidate(17, speed=9.0, size=4.0), candidate(23, speed=12.0, size=5.0)
    text = task(AXES, one, other)
    assert "The files before you are those of program 17. Program 23 is the second parent" in text
    assert "Program 23 is ahead in speed (12 op/s against 9 op/s): find what makes it so, and take that over." in text
    assert "Yours is ahead in size (4 kB against 5 kB): keep what makes it so." in text
    behind = task(AXES[:1], other, one)
    assert "Program 17 is ahead in nothing that is measured" in behind
    assert "Yours is ahead in speed (12 op/s against 9 op/s)" in behind


def test_what_is_recombined_is_recorded_as_it_is() -> None:
    for seed in range(25):
        simulate(seed, lambda: Evolve(recombine=1.0, islands=2)).check()
    report = simulate(4, lambda: Evolve(recombine=1.0))
    pairs = [
        e.fact.proposal for e in report.entries if hasattr(e.fact, "proposal") and len(e.fact.proposal.parents) == 2
    ]
    assert pairs, "the simulated mutators ask models"


def test_an_agent_is_told_of_both_parents(tmp_path: Path) -> None:
    """What it reads: the task, what was measured of either, and how the second one's files differ."""
    workspace = FolderWorkspace.make(tmp_path, {"answer.py": "VALUE = 40\n"})
    other = workspace.add({"answer.py": "VALUE = 44\nMORE = 1\n"})
    world, *_ = of_two(recombine=1.0)
    proposal = next(p for seed in range(99) for p in world.ask(1, seed) if len(p.parents) == 2)
    first, *rest = proposal.brief.inspirations
    brief = replace(proposal.brief, inspirations=(replace(first, commit=other),))
    assert rest, "others may be shown, too"
    text = render("implementer", told(workspace, brief)).text
    one, two = proposal.parents
    assert text.index(brief.task) < text.index(f"## Program {one}\n") < text.index(f"## Program {two}\n")
    assert "Make the program better by one change." not in text
    assert text.count(f"## Program {two}") == 2, "as a parent, and with its files"
    assert "-VALUE = 40\n+VALUE = 44\n+MORE = 1" in text


# -- restlessness -------------------------------------------------------------------------------------------


def test_an_island_that_stagnates_explores_more_until_it_improves() -> None:
    policy = Evolve(restless_after=5, frontier_bias=0.8, temperature=0.1, islands=2, stuck_after=0)
    world = World(policy, ONE).start(speed=0.0)
    for speed in range(1, 11):
        world.bear("island-0", parents=(0,), speed=float(speed))

    def best_share() -> float:
        found = [p.parents[0] for seed in range(600) for p in world.ask(2, seed) if p.lineage == "island-0"]
        return found.count(AttemptId(10)) / len(found)

    calm = best_share()
    assert policy.stagnant() == ()
    shares = []
    for stage in range(1, 5):
        for _ in range(5):
            world.miss("island-0", parents=(0,))
        assert policy.stagnant() == ("island-0",)
        assert policy._islands[0].stage == min(stage, 3)
        shares.append(best_share())
    assert calm > shares[0] + 0.1 > shares[1] + 0.15
    assert shares[1] > shares[2]
    assert shares[2] == shares[3], "three times at most"
    world.bear("island-0", parents=(0,), speed=11.0)
    assert policy.stagnant() == ()


def test_mutators_that_earned_nothing_get_another_chance() -> None:
    policy = Evolve(mutators=("good", "poor"), restless_after=40, exploration=0.02)
    world = World(policy, ONE).start(speed=0.0)
    for number in range(1, 41):
        made = world.propose(Proposal((SEED,), "good", lineage="island-0"))
        world.admit(made, speed=float(number))
        world.reject(world.propose(Proposal((SEED,), "poor", lineage="island-0")), "no")

    def poor_share() -> float:
        return sum(world.ask(1, seed)[0].mutator == "poor" for seed in range(500)) / 500

    calm = poor_share()
    for _ in range(80):
        world.miss("island-0", parents=(0,))
    assert calm < 0.1
    assert poor_share() > 0.25


def test_restlessness_can_be_switched_off() -> None:
    policy = Evolve(restless_after=0)
    world = World(policy, ONE).start(speed=0.0)
    for _ in range(300):
        world.miss("island-0", parents=(0,))
    assert policy.stagnant() == ()


# -- notes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("admitted", [True, False])
def test_what_a_judge_notes_is_told_to_the_next_children(admitted: bool) -> None:
    world = World(Evolve(frontier_bias=0.0, temperature=1e9), ONE).start(speed=1.0)
    number = world.propose(Proposal((SEED,), lineage="island-0"))
    note = Verdict(True, "it brings back a line", conditions={"reintroduced": "1"})
    world.mutate(number)
    world.record(Judged(number, "novelty", note))
    world.record(Judged(number, "other", Verdict(True, "fine", conditions={"suspicious": "2"})))
    if admitted:
        world.admit(number, speed=0.5)
    else:
        world.reject(number, "wrong", commit=False)
    found = [world.ask(1, seed)[0] for seed in range(20)]
    lessons = {p.brief.lessons for p in found if p.parents == (SEED,)}
    said = f"attempt {number} passed every gate, but it brings back a line" if admitted else "wrong"
    assert lessons == {(said,)}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(["a", "b", "c", "d", " a ", ""]), max_size=20), st.integers(0, 4))
def test_lessons_are_the_latest_different_reasons(reasons: list[str], most: int) -> None:
    world = World(Evolve(lessons_max=most), ONE).start(speed=1.0)
    for reason in reasons:
        world.miss("island-0", parents=(0,), reason=reason)
    expected: list[str] = []
    for reason in map(str.strip, reasons):
        if reason:
            expected = [*(old for old in expected if old != reason), reason]
    assert world.ask()[0].brief.lessons == tuple(expected[max(0, len(expected) - most) :])
