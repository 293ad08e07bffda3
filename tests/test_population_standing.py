"""What briefs say of where a program stands: few scores, short texts, and members of the frontier that lie apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from population_world import THREE, TWO, World, candidate

from population.frontier import Frontier
from population.policies.evolve import Evolve
from population.policies.standing import MEMBERS_MAX, SMALL, after, as_parent, spread
from raysearch.facts import AttemptClosed
from raysearch.types import SEED, AttemptId, Objective, Outcome, Proposal

PAIR = (Objective("a"), Objective("b", "min"))


def test_a_parent_is_told_with_its_objectives_and_a_few_more() -> None:
    scores = {f"m{n}": float(n) for n in range(9)}
    made = replace(candidate(3, m8=8.0, **{n: v for n, v in scores.items() if n != "m8"}), summary=" x" * 400)
    told = as_parent(made, (Objective("m7"), Objective("m5"), Objective("gone")))
    assert told.scores == {name: scores[name] for name in ("m8", "m0", "m1", "m2", "m5", "m7")}
    assert (len(told.summary), told.summary[0], told.summary[-1]) == (300, "x", "…")
    assert (told.id, told.commit) == (3, "")


def staircase(count: int) -> Frontier:
    frontier = Frontier(PAIR)
    for number in range(count):
        frontier.insert(AttemptId(number), (float(number), -float(number)))
    return frontier


def test_members_are_shown_evenly_along_a_staircase() -> None:
    assert [m.scores for m in spread(staircase(3))] == [{"a": float(n), "b": float(n)} for n in (2, 1, 0)]
    assert [m.id for m in spread(staircase(101))] == [100, 75, 50, 25, 0]
    assert spread(Frontier(PAIR)) == ()


def test_a_crowd_is_shown_once() -> None:
    """By where members lie, not by how many lie there."""
    frontier = Frontier(PAIR)
    for number in range(50):
        frontier.insert(AttemptId(number), (100 + number / 100, -100 - number / 100))
    for number, place in ((50, 0.0), (51, 25.0), (52, 50.0), (53, 75.0)):
        frontier.insert(AttemptId(number), (place, -place))
    assert [m.id for m in spread(frontier)] == [49, 53, 52, 51, 50]


def test_the_best_in_each_of_three_objectives_is_shown() -> None:
    frontier = Frontier(THREE)
    for number, point in enumerate([(9.0, 0.0, 0.0), (0.0, 9.0, 0.0), (0.0, 0.0, 9.0)]):
        frontier.insert(AttemptId(number), point)
    for number in range(3, 60):
        share = number / 60
        frontier.insert(AttemptId(number), (4 + share, 4 - share, 4.0 + (number % 2) / 2))
    assert {0, 1, 2} < {m.id for m in spread(frontier)}


@pytest.mark.parametrize("large", [1e308, 5e-324, 0.0])
def test_no_numbers_are_too_far_apart_or_too_near(large: float) -> None:
    frontier = Frontier((*PAIR, Objective("c")))
    for number in range(8):
        frontier.insert(AttemptId(number), (float(number), -float(number), large * (-1) ** number))
    found = spread(frontier)
    assert len({m.id for m in found}) == len(found) == MEMBERS_MAX
    assert {m.scores["c"] for m in found} <= {large, -large}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(-3, 3)), min_size=100, max_size=300))
def test_what_is_shown_stays_on_the_frontier_and_keeps_its_ends(steps: list[tuple[int, int]]) -> None:
    frontier, shown = Frontier(TWO), ()
    for number, (place, jump) in enumerate(steps):
        if frontier.insert(AttemptId(number), (float(-place), float(place + jump))):
            shown = after(shown, frontier, AttemptId(number))
        members = frontier.members
        assert {m.id for m in shown} <= set(members)
        assert len(shown) == min(len(members), MEMBERS_MAX)
        assert {members[0], members[-1]} <= {m.id for m in shown}


def test_in_a_large_frontier_a_choice_stands_until_it_must_not() -> None:
    frontier = staircase(2 * SMALL)
    shown = spread(frontier)
    inside, middle = AttemptId(1000), shown[2]
    assert frontier.insert(inside, (10.5, -10.5))
    assert after(shown, frontier, inside) is shown
    better = AttemptId(1001)
    assert frontier.insert(better, (middle.scores["a"] + 0.5, -middle.scores["b"]))
    assert middle.id not in {m.id for m in after(shown, frontier, better)}
    end = AttemptId(1002)
    assert frontier.insert(end, (1e4, -1e4))
    assert after(shown, frontier, end)[0].id == end


def test_a_candidate_that_is_not_confirmed_is_no_trade_off() -> None:
    world = World(Evolve()).start(size=0.0, speed=0.0)
    number = world.propose(Proposal((SEED,), lineage="island-0"))
    doubtful = replace(candidate(number, "island-0", (0,), size=-1.0, speed=9.0), confirmed=False)
    world.record(AttemptClosed(number, Outcome.ADMITTED, "", doubtful))
    proposals = [world.ask(1, seed)[0] for seed in range(40)]
    assert {p.parents for p in proposals} == {(SEED,), (number,)}
    for proposal in proposals:
        shown = [member.id for member in proposal.brief.frontier]
        assert shown == ([SEED] if proposal.parents == (number,) else [])
