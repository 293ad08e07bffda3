"""Thousands of whole runs in a world that goes wrong; what must hold is in `raysearch.testing`."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import cast

import pytest

from raysearch.engine import Engine
from raysearch.errors import Invariant, MutatorFault, PluginError
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Entry,
    Fact,
    JobFailed,
    Judged,
    Measured,
    RunEnded,
    SessionOpened,
)
from raysearch.jobs import Job, Result
from raysearch.plugins import load
from raysearch.pools.inline import InlinePool
from raysearch.protocols import Answer, Policy, Pool, View
from raysearch.testing.audit import audit
from raysearch.testing.scenario import POLICIES, Scenario, options_of
from raysearch.testing.simulated import DirectPool, FakeClock, Faults, FileDisk, SimDisk, SimPool, answered
from raysearch.testing.simulation import Parts, main, simulate
from raysearch.testing.twins import essences
from raysearch.testing.world import World
from raysearch.types import (
    SEED,
    AttemptId,
    Brief,
    CandidateId,
    Change,
    Commit,
    Limits,
    Measurement,
    Mutation,
    Outcome,
    Plan,
    Proposal,
    Stage,
    Step,
    Tree,
    Usage,
    Verdict,
)

SEEDS = 500
CHUNK = 100
"""Seeds in one test."""


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
@pytest.mark.parametrize("policy", POLICIES)
def test_every_run_is_sound_and_ends(policy: str, first: int) -> None:
    for seed in range(first, first + CHUNK):
        simulate(seed, policy, options_of(policy, seed)).check()


@pytest.mark.parametrize("policy", POLICIES)
def test_the_journal_of_production_on_a_real_disk(policy: str, tmp_path: Path) -> None:
    numbers = count()

    def disk() -> FileDisk:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return FileDisk(folder)

    for seed in range(2):
        on_disk = simulate(seed, policy, parts=Parts(disk=disk))
        on_disk.check()
        assert on_disk.entries == simulate(seed, policy).entries


@pytest.mark.parametrize("policy", POLICIES)
def test_equal_seeds_give_equal_bytes(policy: str) -> None:
    for seed in range(5):
        assert simulate(seed, policy).entries == simulate(seed, policy).entries


# -- twins --------------------------------------------------------------------------------------------------

MakePool = Callable[[World, FakeClock], Pool]


def simulated(world: World, clock: FakeClock) -> Pool:
    return SimPool(world.perform, clock, Random(1), dict.fromkeys(Stage, 1))


def quick(world: World, clock: FakeClock) -> Pool:
    return SimPool(world.perform, clock, Random(2), dict.fromkeys(Stage, 3), job_s=0.1)


def direct(world: World, clock: FakeClock) -> Pool:
    return DirectPool(world.perform)


def inline(world: World, clock: FakeClock) -> Pool:
    return InlinePool(Performing(world))


@dataclass
class Performing:
    """A worker that lives in a simulated world."""

    world: World

    def perform(self, job: Job) -> Answer:
        return Answer(job, answered(self.world.perform, job), "inline", 0.5)

    def close(self) -> None:
        return None


class Deaf:
    """A sink for nobody."""

    def told(self, entry: Entry) -> None:
        return None

    def started(self, job: Job) -> None:
        return None

    def close(self) -> None:
        return None


def made(policy: str, seed: int = 0) -> Policy:
    return cast(Policy, load("policies", policy, options_of(policy, seed)))


def journal_of(policy: str, seed: int, make_pool: MakePool) -> list[Entry]:
    """What one calm session writes."""
    scenario = Scenario.calm(seed)
    clock, disk, world = FakeClock(wall_s=float(seed)), SimDisk(), World(seed, scenario.odds)
    engine = Engine(made(policy, seed), make_pool(world, clock), disk.open(), clock, Deaf())
    start = world.start(scenario.plan, scenario.seeded)
    engine.run(start, SessionOpened(0, scenario.sessions[0].limits, "host", seed, "0"))
    return list(disk.open().replay())


@pytest.mark.parametrize("policy", POLICIES)
def test_twins_under_every_pool(policy: str) -> None:
    """With one lane, neither the pool nor how long its jobs take may change what happens."""
    lengths: list[int] = []
    for seed in range(6):
        journals = [journal_of(policy, seed, pool) for pool in (simulated, quick, direct, inline)]
        lengths.append(len(journals[0]))
        for journal in journals:
            assert audit(journal) == []
            assert essences(journal) == essences(journals[0])
    assert max(lengths) > 30


def test_essence_leaves_only_what_a_run_is_about() -> None:
    one, two = (journal_of("evolve", 0, pool) for pool in (simulated, direct))
    assert [e.fact for e in one] != [e.fact for e in two]
    assert essences(one) == essences(two) != essences(journal_of("evolve", 1, direct))


# -- what plug-ins and pools may get wrong ------------------------------------------------------------------


PLAN = Plan((Step(Stage.JUDGE, "build"), Step(Stage.BENCHMARK, "both")), retries_max=1)


def driven(perform: Callable[[Job], Result | None]) -> list[Entry]:
    """A run of three attempts whose jobs are done by ``perform``, or where it has no answer by the world."""
    clock, disk, world = FakeClock(), SimDisk(), World(0)

    def does(job: Job) -> Result:
        special = perform(job)
        return special if special is not None else world.perform(job)

    pool = SimPool(does, clock, Random(0), dict.fromkeys(Stage, 1))
    engine = Engine(made("evolve"), pool, disk.open(), clock, Deaf())
    engine.run(world.start(PLAN, True), SessionOpened(0, Limits(attempts_max=3), "host", 1, "0"))
    entries = list(disk.open().replay())
    assert audit(entries) == []
    return entries


NONSENSE: dict[str, tuple[Stage, object]] = {
    "a verdict for a change": (Stage.MUTATE, Verdict(True)),
    "a change that costs NaN": (
        Stage.MUTATE,
        Change(Commit("1" * 40), Tree("2" * 40), Mutation(usage=Usage(cost_usd=math.nan))),
    ),
    "measurements for a verdict": (Stage.JUDGE, (Measurement("speed", (1.0,)),)),
    "a verdict in broken text": (Stage.JUDGE, Verdict(True, "\udcff")),
    "a list of cases": (Stage.JUDGE, Verdict(True, "", [])),
    "a benchmark that merely agrees": (Stage.BENCHMARK, Verdict(True)),
    "no number": (Stage.BENCHMARK, (Measurement("speed", (math.nan,)),)),
    "no end of a number": (Stage.BENCHMARK, (Measurement("speed", (math.inf,)),)),
    "text for a sample": (Stage.BENCHMARK, (Measurement("speed", ("fast",)),)),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_a_fault_of_its_job_and_never_spoils_the_journal(what: str) -> None:
    stage, answer = NONSENSE[what]
    entries = driven(lambda job: cast(Result, answer) if job.stage is stage and job.attempt != SEED else None)
    failed = [entry.fact for entry in entries if isinstance(entry.fact, JobFailed)]
    assert failed
    assert {fact.fault for fact in failed} == {"MutatorFault" if stage is Stage.MUTATE else "EvaluatorFault"}
    assert not any(fact.retry for fact in failed)
    assert isinstance(entries[-1].fact, RunEnded)


def test_a_fault_in_broken_text_is_recorded_with_its_cost() -> None:
    def broken(job: Job) -> Result | None:
        if job.stage is Stage.MUTATE:
            raise MutatorFault("no \udcff text", Usage(cost_usd=0.5))
        return None

    failed = [entry.fact for entry in driven(broken) if isinstance(entry.fact, JobFailed)]
    assert [fact.message for fact in failed] == ["no \\udcff text"] * 3
    assert sum(fact.usage.cost_usd for fact in failed) == 1.5


@dataclass
class Proposes:
    """A policy with one idea."""

    proposals: tuple[Proposal, ...]

    def ask(self, view: View, slots: int, rng: Random) -> Sequence[Proposal]:
        return self.proposals

    def tell(self, fact: Fact) -> None:
        return None

    def best(self, view: View) -> Sequence[CandidateId]:
        return ()


@pytest.mark.parametrize(
    ("proposals", "says"),
    [
        ((Proposal((AttemptId(7),)),), "parent 7, which is no candidate"),
        ((Proposal((), repair=AttemptId(9)),), "repair 9, which has no commit"),
        ((Proposal(), Proposal()), "asked for 2 children; there was room for 1"),
        ((Proposal(brief=Brief(task="\udcff")),), "no journal can hold"),
    ],
)
def test_a_policy_s_mistake_is_found_before_it_is_written_down(proposals: tuple[Proposal, ...], says: str) -> None:
    clock, disk, world = FakeClock(), SimDisk(), World(0)
    start, session = world.start(PLAN, True), SessionOpened(0, Limits(), "host", 1, "0")
    engine = Engine(Proposes(proposals), DirectPool(world.perform), disk.open(), clock, Deaf())
    with pytest.raises(PluginError, match=says):
        engine.run(start, session)
    again = Engine(made("evolve"), DirectPool(world.perform), disk.open(), clock, Deaf())
    assert again.run(start, replace(session, limits=Limits(attempts_max=2))).ended  # nothing was spoilt
    assert audit(list(disk.open().replay())) == []


def test_a_pool_that_answers_nothing_is_a_bug_and_not_a_wait_without_end() -> None:
    class Mute:
        def submit(self, job: Job) -> None:
            return None

        def next(self, timeout_s: float) -> Answer | None:
            clock.sleep(timeout_s)
            return None

        def close(self) -> None:
            return None

    clock, world = FakeClock(), World(0)
    engine = Engine(made("evolve"), Mute(), SimDisk().open(), clock, Deaf())
    with pytest.raises(Invariant, match="answered nothing for 60 s"):
        engine.run(world.start(PLAN, True), SessionOpened(0, Limits(silence_s=60.0), "host", 1, "0"))


def test_out_of_space_stops_the_driver_and_leaves_the_run_resumable() -> None:
    full = Scenario.draw(0)
    sessions = tuple(
        replace(plan, faults=Faults(full=share), mishap=None)
        for plan, share in zip(full.sessions * 2, (0.3, 0.0), strict=False)
    )
    report = simulate(0, scenario=replace(full, sessions=sessions))
    report.check()
    assert report.sessions == 2
    assert not any(isinstance(entry.fact, JobFailed) and entry.fact.fault == "OutOfSpace" for entry in report.entries)


# -- the tool -----------------------------------------------------------------------------------------------


def test_a_failure_prints_the_line_that_replays_it(capsys: pytest.CaptureFixture[str]) -> None:
    report = simulate(7, "evolve", {"islands": 2, "survival": "nsga2", "stop_at": {"speed": 900.0}})
    options = """--set islands=2 --set 'survival="nsga2"' --set 'stop_at={"speed": 900.0}'"""
    assert report.replay_line.endswith(f"raysearch.testing.simulation --policy evolve --seed 7 {options}")
    arguments = shlex.split(report.replay_line)[3:]
    assert main([*arguments, "--show"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(report.entries) + 1
    assert printed[-1].startswith(f"seed 7: {len(report.entries)} facts in {report.sessions} sessions")
    report.problems.append("1: something is wrong")
    with pytest.raises(AssertionError, match="--policy evolve --seed 7 --set islands=2"):
        report.check()


def test_an_option_that_is_no_json_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--policy", "agent", "--seed", "3", "--set", "inner_loop=single-agent"]) == 0
    told = simulate(3, "agent", {"inner_loop": "single-agent"})
    assert f"{len(told.entries)} facts" in capsys.readouterr().out


def test_simulations_are_rich_enough() -> None:
    """Each rare thing must happen, or the seeds prove less than they seem to."""
    seen: Counter[str] = Counter()
    for seed in range(80):
        report = simulate(seed, "agent" if seed % 2 else "evolve")
        seen[f"{min(report.sessions, 3)} sessions"] += 1
        for fact in (entry.fact for entry in report.entries):
            seen[type(fact).__name__] += 1
            match fact:
                case JobFailed():
                    seen[fact.fault] += 1
                case AttemptClosed():
                    seen[fact.outcome.value] += 1
                    seen["known tree"] += "known tree" in fact.reason
                    seen["guard"] += fact.reason.startswith("guard")
                    seen["nothing measured"] += "no benchmark measured" in fact.reason
                    seen["seed refused"] += fact.attempt == SEED and fact.outcome is Outcome.REJECTED
                case Judged() | Measured():
                    seen["reused"] += fact.reused_from is not None
                case AttemptOpened():
                    seen["repair"] += fact.proposal.repair is not None
                case RunEnded():
                    seen[fact.reason.split()[0]] += 1
                case _:
                    pass
    wanted = [
        *("1 sessions", "2 sessions", "3 sessions", "SessionClosed", "repair", "reused"),
        *("MutatorFault", "EvaluatorFault", "SandboxFault", "WorkerLost", "TimedOut"),
        *("admitted", "rejected", "failed", "abandoned", "known tree", "guard", "nothing measured", "seed refused"),
        *("time", "cost", "the"),  # first words of why runs end
    ]
    assert [what for what in wanted if not seen[what]] == []
