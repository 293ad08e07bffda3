"""Several loops over one population: whose is what, who gets the lanes, and what each is told."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import pytest
from component_world import ASKED, Components, run, shown
from golden import same
from population_world import ONE, World, candidate

from population.policies import tasks
from population.policies.agent import Agent
from population.policies.plain import Plain
from population.policies.portfolio import PortfolioOfLoops
from raysearch.board import Action, Author, Filing
from raysearch.consultation import PROFILER, Consultation
from raysearch.errors import ConfigError, PluginError
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Compared,
    ConsultationOpened,
    Consulted,
    Entry,
    Fact,
    Filed,
    Mutated,
    RunStarted,
    SessionOpened,
)
from raysearch.protocols import Ask, View
from raysearch.testing.conformance import PolicyConformance
from raysearch.testing.simulation import simulate
from raysearch.types import SEED, AttemptId, Brief, Candidate, CandidateId, Objective, Plan, Proposal, Stage, Step

PLAN = Plan((Step(Stage.JUDGE, "accuracy"), Step(Stage.BENCHMARK, "benchmark")), consultants=ASKED, board=True)


class Spy:
    """Remembers what it is told; proposes children of the seed, or with ``work`` as a task of the fastest."""

    name: ClassVar[str] = "spy"

    def __init__(
        self, *, mutators: Sequence[str] = (), work: str = "", wants: int = 99, question: bool = False
    ) -> None:
        self.mutators, self.work, self.wants, self.question = tuple(mutators), work, wants, question
        self.facts: list[Fact] = []
        self.met: list[CandidateId] = []

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Ask]:
        mine = {fact.attempt for fact in self.facts if isinstance(fact, AttemptOpened) and fact.attempt}
        assert set(view.open) <= mine, "what is under way for others is not seen"
        assert all(one.proposal.lineage in ("", "line") for one in view.open.values()), "lineages are as they were made"
        assert all(one.question.lineage == "why" for one in view.consulting.values())
        asked: list[Ask] = []
        if self.question and not any(isinstance(fact, ConsultationOpened) for fact in self.facts):
            asked.append(Consultation(PROFILER, SEED, lineage="why"))
            if view.plan.board:
                asked.append(Filing(Action.CREATE, Author("driver", "spy"), title="look", batch="spy-1"))
        fastest = min(view.candidates, key=lambda number: view.candidates[number].scores["time_s"])
        parents = (fastest,) if self.work else (SEED,)
        child = Proposal(parents, brief=Brief(self.work), lineage="line")
        return (asked + [child] * min(slots - len(asked), self.wants - len(mine)))[: slots + 1]

    def tell(self, fact: Fact) -> None:
        self.facts.append(fact)

    def meet(self, candidate: Candidate) -> None:
        self.met.append(candidate.id)

    def best(self, view: View) -> Sequence[CandidateId]:
        return sorted(view.candidates)

    def over(self, view: View) -> str:
        return "enough seen"


HERE = f"{__file__}:Spy"


def spies(**tables: dict[str, object]) -> PortfolioOfLoops:
    return PortfolioOfLoops(loops=list(tables), loop={name: {"use": HERE, **table} for name, table in tables.items()})


def spy(portfolio: PortfolioOfLoops, name: str) -> Spy:
    found = portfolio._loops[name]
    assert type(found).__name__ == "Spy"
    return found  # type: ignore[return-value] # the file is loaded under another name


def opened(entries: list[Entry]) -> list[str]:
    facts = [entry.fact for entry in entries]
    return [fact.proposal.lineage for fact in facts if isinstance(fact, AttemptOpened) and fact.attempt]


class TestConformance(PolicyConformance):
    seeds = range(2)

    def make(self) -> PortfolioOfLoops:
        return PortfolioOfLoops(loops=["evolve", "chain", "profile-guided"], islands=2)


# -- whose is what ------------------------------------------------------------------------------------------


def test_a_lineage_says_whose_it_is() -> None:
    _, entries = run(PortfolioOfLoops(islands=2), Components(), 30, lanes=3, plan=PLAN)
    names = {lineage.partition("/")[0] for lineage in opened(entries)}
    assert names == {"evolve", "plain", "profile-guided"}
    assert {"profile-guided/sort"} <= set(opened(entries))
    asked = [entry.fact.question for entry in entries if isinstance(entry.fact, ConsultationOpened)]
    assert asked[0].lineage == "profile-guided/profiling"


def test_the_order_of_things() -> None:
    portfolio = PortfolioOfLoops(loops=["evolve", "plain", "profile-guided"], loop={"profile-guided": {"patience": 2}})
    _, entries = run(portfolio, Components({"sort": 3.0}, refused=frozenset({3, 4})), 16, lanes=2, plan=PLAN)
    same("portfolio/two_lanes.txt", shown(entries))


def test_each_is_told_of_its_own_attempts_and_questions_as_if_it_were_alone() -> None:
    portfolio = spies(one={"question": True}, other={})
    _, entries = run(portfolio, Components(), 20, lanes=3, plan=PLAN)
    whose = {e.fact.attempt: e.fact.proposal.lineage for e in entries if isinstance(e.fact, AttemptOpened)}
    for name in ("one", "other"):
        facts = spy(portfolio, name).facts
        attempts = {fact.attempt for fact in facts if isinstance(fact, AttemptOpened | Mutated | AttemptClosed)}
        assert attempts == {SEED} | {number for number, lineage in whose.items() if lineage == f"{name}/line"}
        own = [fact.proposal.lineage for fact in facts if isinstance(fact, AttemptOpened) and fact.attempt]
        assert set(own) == {"line"}
        assert sum(isinstance(fact, RunStarted | SessionOpened | Filed) for fact in facts) == 3
        born = [f.candidate for f in facts if isinstance(f, AttemptClosed) and f.attempt and f.candidate is not None]
        assert {candidate.lineage for candidate in born} == {"line"}
    asked = [
        sum(isinstance(f, ConsultationOpened | Consulted) for f in spy(portfolio, n).facts) for n in ("one", "other")
    ]
    assert asked == [2, 0]


def test_what_one_finds_another_hears_of() -> None:
    portfolio = spies(finder={"work": "sort takes"}, listener={})
    state, entries = run(portfolio, Components(), 12)
    faster = [c.id for c in state.candidates.values() if c.lineage == "finder/line"]
    heard = spy(portfolio, "listener").met
    assert heard
    assert set(heard) <= set(faster)
    assert list(portfolio.best(state)) == [min(state.candidates, key=lambda n: state.candidates[n].scores["time_s"])]
    assert len(opened(entries)) == 12


@pytest.mark.parametrize("listener", ["evolve", "profile-guided", "agent"])
def test_a_loop_goes_on_from_what_another_found(listener: str) -> None:
    portfolio = PortfolioOfLoops(loops=["finder", listener], loop={"finder": {"use": HERE, "work": "sort takes"}})
    state, entries = run(portfolio, Components(), 60)
    foreign = {c.id for c in state.candidates.values() if c.lineage.startswith("finder")}
    opening = [e.fact.proposal for e in entries if isinstance(e.fact, AttemptOpened)]
    assert any(set(p.parents) & foreign for p in opening if p.lineage.startswith(listener))


# -- who gets the lanes -------------------------------------------------------------------------------------


def test_who_earns_gets_more_and_nobody_is_given_up() -> None:
    _, entries = run(spies(finder={"work": "sort takes"}, idler={}, lazy={}), Components(), 40)
    shares = Counter(lineage.partition("/")[0] for lineage in opened(entries))
    assert shares["finder"] > 20
    assert min(shares["idler"], shares["lazy"]) >= 3


def test_what_costs_more_gets_less() -> None:
    portfolio = spies(cheap={"work": "sort takes"}, dear={"work": "sort takes"})
    run(portfolio, Components(), 30)
    portfolio._portfolio.paid("dear", 9.0)
    names = [portfolio._portfolio.choose(["cheap", "dear"], random.Random(n), 0.1) for n in range(200)]
    assert Counter(names)["cheap"] > 150


def test_a_lane_that_one_has_no_use_for_goes_to_another() -> None:
    _, entries = run(spies(short={"wants": 2}, long={}), Components(), 40, lanes=4)
    assert Counter(opened(entries)) == {"short/line": 2, "long/line": 38}


def test_it_is_over_when_all_are() -> None:
    state, entries = run(spies(one={"wants": 2}, other={"wants": 1}), Components(), 40, lanes=4)
    assert len(opened(entries)) == 3
    assert state.ended == "one: enough seen; other: enough seen"


def test_its_own_stop_rules() -> None:
    portfolio = PortfolioOfLoops(loops=["evolve"], stop_at={"time_s": 9.5})
    state, _ = run(portfolio, Components(), 40)
    assert "reaches what was wanted: time_s 9.5" in state.ended
    with pytest.raises(PluginError, match=r"no objective is called 'time'\. Did you mean 'time_s'"):
        run(PortfolioOfLoops(stop_at={"time": 9.5}), Components(), 4)


@pytest.mark.parametrize("seed", range(3))
def test_whole_runs_are_sound(seed: int) -> None:
    simulate(seed, "portfolio", {"loops": ["evolve", "agent", "best-of-n", "profile-guided"]}).check()


# -- options ------------------------------------------------------------------------------------------------


def test_options_reach_the_loops_that_have_them() -> None:
    portfolio = PortfolioOfLoops(
        loops=["evolve", "wide", "plain", "chain"],
        loop={"wide": {"use": "evolve", "islands": 5}},
        mutators=["tune", "genetic"],
        max_rounds=7,
        children_per_generation=3,
        islands=2,
    )
    loops = portfolio._loops
    assert [getattr(loops[n], "islands", None) for n in loops] == [2, 5, None, None]
    assert [getattr(loops[n], "max_rounds", None) for n in loops] == [None, None, 7, None]
    assert [getattr(loops[n], "children_per_generation", None) for n in loops] == [3, 3, None, None]
    assert {getattr(loop, "mutators", ()) for loop in loops.values()} == {("tune", "genetic")}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loops": []}, "loops must be a list of at least one name"),
        ({"loops": ["evolve", "evolve"]}, "loops has 'evolve' twice"),
        ({"loops": ["evolv"]}, "no policy is called 'evolv'.*evolve"),
        ({"loops": ["portfolio"]}, "loop portfolio is a portfolio itself"),
        ({"loops": ["evolve"], "loop": {"plain": {}}}, "loop.plain is none of its loops"),
        ({"loops": ["evolve"], "loop": {"evolve": 3}}, "loop.evolve must be a table of options"),
        ({"loops": ["evolve"], "loop": {"evolve": {"iland": 3}}}, "policy 'evolve' has no option 'iland'.*islands"),
        ({"loops": ["evolve"], "max_retries_per_round": 2}, "none of its loops .evolve. has the option"),
        ({"loops": ["a/b.py:Mine"]}, "a loop of your own needs a name: loop.mine.use = 'a/b.py:Mine'"),
        ({"exploration": 0.0}, "exploration must be a number, from 0.01 to 1"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], says: str) -> None:
    with pytest.raises((ConfigError, PluginError), match=says):
        PortfolioOfLoops(**options)  # type: ignore[arg-type] # that is the point


# -- what a loop of one line makes of others' programs ------------------------------------------------------


def test_an_agent_goes_over_between_rounds_if_another_is_ahead_beyond_the_noise() -> None:
    axis = Objective("speed", noise=0.05, primary=True)
    agent = Agent()
    world = World(agent, (axis,)).start(speed=100.0)
    world.bear("round-1", parents=(0,), speed=110.0)
    assert world.ask()[0].parents == (1,)
    agent.meet(candidate(50, speed=114.0))
    assert world.ask()[0].parents == (1,), "within the noise"
    under_way = world.propose(world.ask()[0])
    agent.meet(candidate(51, speed=130.0))
    agent.meet(candidate(52, speed=125.0))
    world.reject(under_way, "no")
    assert world.ask()[0].parents == (1,), "the round goes on as it began"
    world.admit(world.propose(world.ask()[0]), speed=111.0)
    world.candidates[AttemptId(51)] = candidate(51, speed=130.0)
    assert world.ask()[0].parents == (51,)
    world.admit(world.propose(world.ask()[0]), speed=131.0)
    assert world.ask()[0].parents == (4,), "a child that is better than that"
    agent.meet(candidate(60, speed=150.0))
    world.candidates[AttemptId(60)] = candidate(60, speed=150.0)
    assert world.ask()[0].parents == (60,), "no round is under way"


def test_a_planner_is_told_of_a_program_that_no_round_made() -> None:
    agent = Agent()
    world = World(agent, ONE).start(speed=1.0)
    world.bear("round-1", parents=(0,), speed=2.0)
    said = "Another loop of this run has found candidate 9"
    assert said not in tasks.plan(agent._book, AttemptId(1), "Round 2", 2, 0, "")
    agent.meet(candidate(9, speed=5.0))
    assert said in tasks.plan(agent._book, agent._head(), "Round 2", 2, 0, "")


def test_plain_keeps_to_its_line_once_it_has_one() -> None:
    plain = Plain()
    World(plain, ONE).start("unseeded")
    plain.meet(candidate(7, speed=1.0))
    plain.meet(candidate(8, speed=9.0))
    assert (plain._head, plain._standing) == (7, (1.0,))
    assert list(plain._frontier.members) == [8]


def test_contests_are_told_to_all_who_hear_of_others() -> None:
    moved = 0
    for seed in range(12):
        portfolio, alone = (PortfolioOfLoops(loops=["evolve", "plain"]) for _ in "ab")
        for entry in simulate(seed, "portfolio", {"loops": ["evolve", "plain"]}).entries:
            portfolio.tell(entry.fact)
            if not isinstance(entry.fact, Compared):
                alone.tell(entry.fact)
        frontiers = [loop._frontier.top(99) for loop in portfolio._loops.values()]  # type: ignore[attr-defined]
        assert frontiers == [portfolio._frontier.top(99)] * 2
        moved += frontiers[0] != alone._frontier.top(99)
    assert moved
