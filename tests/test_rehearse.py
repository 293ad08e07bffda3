"""`rehearse`: the production engine on imagined workers; its numbers are those that arithmetic gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from called import Call, call
from journals import Journal, lively
from toys import make_target

from raysearch.cli.options import configuration_of
from raysearch.config.targets import load_target
from raysearch.run.doctor import seeded
from raysearch.run.rehearsal import Assumptions, Duration, learned
from raysearch.run.search import Search
from raysearch.run.start import resolve
from raysearch.testing.rehearsal import ATTEMPTS_MAX, UNLIMITED, Outlook, rehearse
from raysearch.types import Outcome, Stage, Step

__all__ = ["call"]

TOY = ("toy", "--mutator", "tune")
EXACT = Assumptions(
    {Stage.MUTATE: Duration(60.0), Stage.JUDGE: Duration(5.0), Stage.BENCHMARK: Duration(30.0)},
    mutate_usd=0.2,
    admitted=1.0,
)
"""Everything takes exactly so long, and passes."""


def outlook(folder: Path, assumed: Assumptions = EXACT, **flags: object) -> Outlook:
    return rehearse(searched(folder, **flags), load_target(folder), assumed)


def searched(folder: Path, **flags: object) -> Search:
    configuration = seeded(
        configuration_of(str(folder), None, {"outer_loop": "best-of-n", "mutator": ("tune",), **flags})
    )
    return resolve(configuration, load_target(folder))


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return make_target(tmp_path / "toy", seed=None)


def test_one_lane_takes_what_its_jobs_take(toy: Path) -> None:
    found = outlook(toy, max_candidates=10)
    assert (found.attempts, found.counts[Outcome.ADMITTED]) == (10, 10)
    assert found.run_s == pytest.approx(10 * 95.0)
    assert found.cost_usd == pytest.approx(2.0)
    assert found.ended == "10 candidates"
    assert found.per_hour == pytest.approx(3600 / 95)
    assert [load.jobs for load in found.loads] == [10, 10, 10]
    assert [load.utilisation for load in found.loads] == pytest.approx([60 / 95, 5 / 95, 30 / 95])
    assert all(load.waited_s == 0 for load in found.loads)
    assert found.bottleneck is None


def test_many_lanes_wait_for_the_one_benchmark(toy: Path) -> None:
    found = outlook(toy, max_candidates=200, lanes=8)
    assert found.bottleneck is not None
    assert found.bottleneck.stage is Stage.BENCHMARK
    assert found.per_hour == pytest.approx(120, rel=0.05), "one measurement each 30 s"
    # 8 lanes, of which 95 / 30 are busy at any time; the others wait.
    assert found.bottleneck.waiting == pytest.approx(8 - 95 / 30, rel=0.1)
    wider = outlook(toy, max_candidates=200, lanes=8, sets=("roles.benchmark.slots=3",))
    assert wider.per_hour == pytest.approx(8 * 3600 / 95, rel=0.05), "now the lanes are what limits"
    assert wider.bottleneck is None


def test_without_a_pool_one_worker_does_everything(toy: Path) -> None:
    found = outlook(toy, max_candidates=10, lanes=4, pool="inline")
    assert found.shared
    assert found.run_s == pytest.approx(950.0)
    assert sum(load.utilisation for load in found.loads) == pytest.approx(1.0)


def test_budgets_end_it_as_they_end_a_run(toy: Path) -> None:
    by_time = outlook(toy, budget_time=3600.0, lanes=2)
    assert by_time.ended == "time budget of 3600 s"
    assert 3600.0 <= by_time.run_s <= 3600.0 + 60.0 + 5.0, "what is under way may still take a minute"
    by_cost = outlook(toy, sets=("limits.budget_usd=3",))
    assert by_cost.cost_usd == pytest.approx(3.0)
    assert by_cost.attempts == 15
    endless = outlook(toy, replace(EXACT, mutate_usd=0.0), sets=("limits.budget_usd=3",))
    assert (endless.attempts, endless.ended) == (ATTEMPTS_MAX, UNLIMITED)


def test_what_is_refused_is_not_measured(toy: Path) -> None:
    odds = replace(EXACT, admitted=0.25, repeated=0.2, faults=0.1)
    found = outlook(toy, odds, max_candidates=400, lanes=4)
    counts = found.counts
    assert counts[Outcome.FAILED] == pytest.approx(40, abs=20)
    assert counts[Outcome.ADMITTED] == pytest.approx(400 * 0.9 * 0.8 * 0.25, abs=25)
    jobs = {load.stage: load.jobs for load in found.loads}
    assert jobs[Stage.BENCHMARK] == counts[Outcome.ADMITTED]
    assert jobs[Stage.JUDGE] < 400 - counts[Outcome.FAILED], "a known program is not judged again"
    assert found.cost_usd == pytest.approx(400 * 0.2), "what broke was paid too"


@pytest.mark.parametrize("policy", ["evolve", "plain", "agent", "best-of-n", "chain"])
def test_it_is_the_production_policy_and_repeats_itself(toy: Path, policy: str) -> None:
    odds = replace(EXACT, admitted=0.5, durations={stage: Duration(10.0, 0.5) for stage in Stage})
    first, second = (outlook(toy, odds, max_candidates=40, lanes=3, outer_loop=policy) for _ in range(2))
    assert first == second
    assert first.attempts
    longer = outlook(toy, odds, max_candidates=40, lanes=3, outer_loop=policy, seed=5)
    assert longer.run_s != first.run_s


def test_who_is_consulted_takes_time_and_money(tmp_path: Path) -> None:
    folder = make_target(tmp_path / "toy")
    asked = (Step(Stage.MUTATE, "planner"), Step(Stage.MUTATE, "triage"), Step(Stage.BENCHMARK, "profiler"))
    search = replace(searched(folder, outer_loop="agent", max_rounds=8), asked=asked)
    found = rehearse(search, load_target(folder), EXACT)
    assert (found.attempts, found.ended) == (8, "all of its 8 rounds are over")
    assert found.cost_usd == pytest.approx(0.2 * 8 * 3)
    thinking, _, measuring = found.loads
    assert thinking.jobs == 8 * 3
    assert 9 < measuring.jobs < 9 + 8, "some programs are profiled"
    assert all(load.waited_s == 0 for load in found.loads)


def test_jobs_that_take_longer_than_they_may_are_timed_out(tmp_path: Path) -> None:
    folder = make_target(tmp_path / "toy", seed=None, target_toml="[benchmark]\ntimeout_s = 20\n")
    found = outlook(folder, max_candidates=3)
    assert found.counts[Outcome.FAILED] == 3
    assert found.run_s == pytest.approx(3 * (60 + 5 + 3 * 20)), "asked again twice each"


def test_an_earlier_run_teaches_what_to_assume() -> None:
    assumed = learned(lively(400), "before")
    assert assumed.origin == "as in before"
    assert assumed.durations[Stage.MUTATE] == Duration(0.2, 0.0)
    assert assumed.durations[Stage.JUDGE] == Duration(0.1, 0.0)
    assert assumed.durations[Stage.BENCHMARK] == Duration(0.5, 0.0)
    assert assumed.mutate_usd == pytest.approx(0.01)
    assert assumed.admitted == pytest.approx(0.6 / 0.85, abs=0.06), "failed and abandoned ones were not judged"


def test_a_run_without_attempts_teaches_nothing() -> None:
    journal = Journal()
    journal.begin(seeded=False)
    assumed = learned(journal.entries, "new")
    assert set(assumed.durations.values()) == {Duration(0.0)}
    assert (assumed.admitted, assumed.mutate_usd) == (0.5, 0.0)


# -- the verb ---------------------------------------------------------------------------------------------------


def test_the_verb_says_that_it_is_a_simulation(call: Call, toy: Path) -> None:
    ran = call(
        "rehearse",
        "toy",
        "--mutator",
        "tune",
        "--max-candidates",
        "50",
        "--lanes",
        "6",
        "--mutate-usd",
        "0.2",
        "--admitted",
        "1",
    )
    assert ran.status == 0
    assert ran.out.startswith("A simulation: no program is written, judged or measured, and nothing is paid.")
    assert "The bottleneck is benchmark:" in ran.out
    assert "With 2 benchmark slots:" in ran.out
    assert "$10.00; at most about $30.00" in ran.out
    assert not (toy.parent / "exp_env").exists(), "nothing is written"


def test_the_verb_gives_numbers_as_json(call: Call, toy: Path) -> None:
    flags = ("--mutate-s", "1m", "--judge-s", "5", "--benchmark-s", "30s", "--spread", "0", "--admitted", "1")
    ran = call(
        "rehearse", "toy", "--mutator", "tune", "--outer-loop", "best-of-n", "--max-candidates", "40", *flags, "--json"
    )
    found = ran.object
    assert found["simulation"] is True
    assert found["elapsed_s"] == pytest.approx(40 * 95.0)
    assert found["assumed"]["durations"]["mutate"] == {"median_s": 60.0, "spread": 0.0}
    assert [row["jobs"] for row in found["roles"]] == [40, 40, 40]
    assert found["bottleneck"] is None
    assert found["better"]["with"] == "2 lanes"
    assert found["better"]["per_hour"] == pytest.approx(2 * found["per_hour"], rel=0.05)


def test_like_a_run(call: Call, toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exp_env" / "20261127-120000-circles"
    folder.mkdir(parents=True)
    journal = Journal(entries=list(lively(100)))
    journal.write(folder / "journal.jsonl")
    ran = call(
        "rehearse",
        "toy",
        "--mutator",
        "tune",
        "--like",
        "circles",
        "--max-candidates",
        "9",
        "--mutate-s",
        "7",
        "--json",
    )
    durations = ran.object["assumed"]["durations"]
    assert (durations["mutate"]["median_s"], durations["judge"]["median_s"]) == (7.0, 0.1)
    assert ran.object["assumed"]["origin"] == "as in 20261127-120000-circles"
    assert "Did you mean '20261127-120000-circles'?" in call("rehearse", *TOY, "--like", "20261127-circles").told


def test_roles_that_cannot_be_placed_here_are_named(call: Call, toy: Path) -> None:
    ran = call(
        "rehearse", "toy", "--mutator", "tune", "--max-candidates", "2", "--set", "roles.judge.resources={apple = 1}"
    )
    assert ran.status == 0, "it may be rehearsed here, and run elsewhere"
    assert "warning: roles: [roles.judge] asks for 'apple'; no node has it." in ran.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no target: give TARGET"),
        (("toy", "--outer-loop", "evolv"), "Did you mean 'evolve'?"),
        (("toy", "--set", "policy.island=3"), "Did you mean 'islands'?"),
        (("toy", "--mutator", "missing.py:Mine"), "no file"),
        (("toy", "--admitted", "2"), "2.0 is not in the range"),
        (("toy", "--mutate-s", "soon"), "'soon' is no duration"),
        (("toy", "--max-rounds", "3"), "--max-rounds belongs to the loops 'agent', 'plain' and 'portfolio'"),
        (("toy", "--benchmark", "3"), "Did you mean '--benchmark-s'?"),
    ],
)
def test_mistakes_come_out_before_anything_is_spent(
    call: Call, toy: Path, arguments: tuple[str, ...], words: str
) -> None:
    ran = call("rehearse", *arguments, "--mutator", "tune")
    assert (ran.status, words in ran.told) == (2, True), ran.told
