"""A worker's answers: what plug-ins and programs do wrong becomes data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toys import BENCHMARK, make_target

from raysearch.config.targets import load_target, snapshot_target
from raysearch.devices import Leasing, Request
from raysearch.errors import EvaluatorFault, MutatorFault, Void
from raysearch.jobs import CONFIRMATION, Job
from raysearch.plugins import PluginSpec
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.run.search import create
from raysearch.types import SEED, AttemptId, Challenge, Change, Commit, Contest, Measurement, Stage, Verdict
from raysearch.worker import Worker, WorkerSpec

TOYS = str(Path(__file__).with_name("toys.py"))
MUTATORS = ("Step", "Trespasser", "Raises", "SpendsAndFails")


def opened(tmp_path: Path, **target_options: Any) -> Iterator[Worker]:
    folder = RunFolder.create(tmp_path / "runs", "toy")
    target = snapshot_target(load_target(make_target(tmp_path / "toy", **target_options)), folder.target)
    create(folder, target)
    plugins = {(Stage.MUTATE, name): PluginSpec("mutators", name, f"{TOYS}:{name}") for name in MUTATORS}
    plugins[Stage.JUDGE, "accuracy"] = PluginSpec("judges", "accuracy", "accuracy")
    plugins[Stage.BENCHMARK, "benchmark"] = PluginSpec("benchmarks", "benchmark", "benchmark")
    worker = Worker(WorkerSpec(folder.identity, 7, folder.workspace, target, plugins, "bubblewrap"))
    yield worker
    worker.close()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    yield from opened(tmp_path)


def origin(worker: Worker) -> Commit:
    return Repository(worker.spec.repository).commit_of("origin")


def mutate(worker: Worker, plugin: str) -> Job:
    base = origin(worker)
    return Job(AttemptId(1), Stage.MUTATE, plugin, base, (base,), opened_at_s=1e9)


def committed(worker: Worker, text: str) -> Commit:
    repository = Repository(worker.spec.repository)
    folder = worker.spec.repository.parent / "made"
    folder.mkdir(exist_ok=True)
    (folder / "x.txt").write_text(text)
    return repository.commit(repository.write_tree(folder), (origin(worker),), "made", 1e9)


def test_a_mutation_is_committed_as_a_child(worker: Worker) -> None:
    result = worker.perform(mutate(worker, "Step")).result
    assert isinstance(result, Change)
    repository = Repository(worker.spec.repository)
    assert repository.show(result.commit, "x.txt") != repository.show(origin(worker), "x.txt")
    assert result.tree == repository.tree_of(result.commit)
    assert not result.refusal


def test_equal_jobs_make_equal_commits(worker: Worker) -> None:
    assert worker.perform(mutate(worker, "Step")).result == worker.perform(mutate(worker, "Step")).result


def test_a_change_outside_the_editable_paths_is_refused_by_name(worker: Worker) -> None:
    result = worker.perform(mutate(worker, "Trespasser")).result
    assert isinstance(result, Change)
    assert "other.txt" in result.refusal
    assert "x.txt" in result.refusal


def test_an_exception_is_the_mutators_fault(worker: Worker) -> None:
    result = worker.perform(mutate(worker, "Raises")).result
    assert isinstance(result, MutatorFault)
    assert "KeyError" in str(result)


def test_what_a_failed_mutation_cost_is_kept(worker: Worker) -> None:
    result = worker.perform(mutate(worker, "SpendsAndFails")).result
    assert isinstance(result, MutatorFault)
    assert result.usage.cost_usd == 0.25


def test_checker_and_benchmark_answer_from_the_sandbox(worker: Worker) -> None:
    commit = committed(worker, "9")
    verdict = worker.perform(Job(AttemptId(1), Stage.JUDGE, "accuracy", commit)).result
    measured = worker.perform(Job(AttemptId(1), Stage.BENCHMARK, "benchmark", commit)).result
    assert verdict == Verdict(True)
    assert measured == (Measurement("near", (-1.0,), "1", "max"), Measurement("small", (9.0,), "1", "min"))


def test_a_wrong_program_gets_the_checkers_reason(worker: Worker) -> None:
    verdict = worker.perform(Job(AttemptId(1), Stage.JUDGE, "accuracy", committed(worker, "-1"))).result
    assert isinstance(verdict, Verdict)
    assert verdict.feedback == "-1.0 is below zero"


def test_a_program_on_which_alone_the_benchmark_breaks_is_refused(worker: Worker) -> None:
    result = worker.perform(Job(AttemptId(1), Stage.BENCHMARK, "benchmark", committed(worker, "garbage"))).result
    assert isinstance(result, Verdict)
    assert not result.passed
    assert "ValueError" in result.feedback
    assert "this one is why" in result.feedback


def test_the_seed_program_is_not_blamed_for_its_evaluator(worker: Worker) -> None:
    result = worker.perform(Job(SEED, Stage.BENCHMARK, "benchmark", committed(worker, "garbage"))).result
    assert isinstance(result, EvaluatorFault)


BREAKS = """
import os
os._exit(3)
"""


def test_an_evaluator_that_breaks_on_the_seed_too_is_to_blame(tmp_path: Path) -> None:
    for worker in opened(tmp_path, checker=BREAKS):
        for attempt in range(1, 4):
            result = worker.perform(Job(AttemptId(attempt), Stage.JUDGE, "accuracy", committed(worker, "9"))).result
            assert isinstance(result, EvaluatorFault)
            assert "exit status 3" in str(result)


REMEMBERS = BENCHMARK.replace(
    "x = float(",
    """kept = pathlib.Path(a.result).parent / "kept"
runs = len(kept.read_text()) if kept.exists() else 0
kept.write_text("." * (runs + 1))
x = runs + float(""",
)


def challenged(worker: Worker, own: str, rival: str, pairs_max: int = 3) -> Job:
    challenge = Challenge(AttemptId(1), committed(worker, rival), 0.01, pairs_max, 60.0)
    return Job(AttemptId(2), Stage.BENCHMARK, CONFIRMATION, committed(worker, own), challenge=challenge)


def test_two_programs_in_turns(worker: Worker) -> None:
    result = worker.perform(challenged(worker, "9", "8")).result
    assert isinstance(result, Contest)
    assert result.verdict == "better"
    assert [(m.name, m.samples[0]) for m in result.measurements] == [("near", -1.0), ("small", 9.0)]


def test_nothing_passes_from_one_run_of_a_contest_to_the_next(tmp_path: Path) -> None:
    for worker in opened(tmp_path, benchmark=REMEMBERS):
        noisy = [replace(objective, deterministic=False) for objective in worker.spec.target.objectives]
        target = replace(worker.spec.target, objectives=tuple(noisy))
        other = Worker(replace(worker.spec, target=target))
        result = other.perform(challenged(worker, "9", "8", pairs_max=4)).result
        assert isinstance(result, Contest)
        assert [set(m.samples) for m in result.measurements] == [{-1.0}, {9.0}]
        other.close()


def test_a_program_that_was_measured_and_now_is_not_is_measured_again(worker: Worker) -> None:
    for job in (challenged(worker, "garbage", "8"), challenged(worker, "9", "garbage")):
        result = worker.perform(job).result
        assert isinstance(result, Void)
        assert result.retryable
        assert "which was measured before" in str(result)


def test_without_a_seed_an_evaluator_is_trusted_once_it_has_worked(tmp_path: Path) -> None:
    for worker in opened(tmp_path, seed=None):
        bad = Job(AttemptId(1), Stage.BENCHMARK, "benchmark", committed(worker, "garbage"))
        assert isinstance(worker.perform(bad).result, EvaluatorFault)
        good = Job(AttemptId(2), Stage.BENCHMARK, "benchmark", committed(worker, "9"))
        assert isinstance(worker.perform(good).result, tuple)
        assert isinstance(worker.perform(replace(bad, attempt=AttemptId(3))).result, Verdict)


def test_a_target_that_changed_during_the_run_stops_evaluations(worker: Worker) -> None:
    commit = committed(worker, "9")
    checker = worker.spec.target.root / "accuracy_checker" / "checker.py"
    checker.chmod(0o644)
    checker.write_text(checker.read_text() + "\n# kinder\n")
    result = worker.perform(Job(AttemptId(1), Stage.JUDGE, "accuracy", commit)).result
    assert isinstance(result, EvaluatorFault)
    assert "checker.py" in str(result)


def test_nothing_is_left_in_the_temporary_folder(worker: Worker) -> None:
    folder = worker._folder
    worker.perform(mutate(worker, "Step"))
    assert list(folder.iterdir()) == []
    worker.close()
    assert not folder.exists()


LOOKS = """
import pathlib, random

from raysearch import Brief, Mutation


class Looks:
    def mutate(self, workspace, brief, rng):
        look = "cat {target}/*/hidden/* {target}/*/checker.py; ls -d {reference}"
        done = workspace.run(["sh", "-c", look], timeout_s=20)
        return Mutation(done.stdout)
"""


def test_who_writes_programs_does_not_see_what_is_hidden(tmp_path: Path) -> None:
    for worker in opened(tmp_path):
        root = worker.spec.target.root
        hidden = root / "accuracy_checker" / "hidden"
        root.chmod(0o755)
        hidden.parent.chmod(0o755)
        hidden.mkdir()
        (hidden / "inputs.txt").write_text("the secret inputs")
        (tmp_path / "looks.py").write_text(LOOKS)
        key = (Stage.MUTATE, "Looks")
        plugins = {**worker.spec.plugins, key: PluginSpec("mutators", "Looks", f"{tmp_path}/looks.py:Looks")}
        looking = Worker(replace(worker.spec, plugins=plugins))
        try:
            result = looking.perform(mutate(looking, "Looks")).result
        finally:
            looking.close()
        assert isinstance(result, Change), result
        assert "below zero" in result.mutation.summary
        assert "reference" in result.mutation.summary
        assert "secret" not in result.mutation.summary


FAILS_UNLESS_SEED = """
import argparse, pathlib, sys
p = argparse.ArgumentParser()
for name in ("candidate", "reference", "seed", "result"):
    p.add_argument("--" + name)
a = p.parse_args()
sys.exit(75 if (pathlib.Path(a.candidate) / "x.txt").read_text().strip() == "5" else 1)
"""


def test_what_could_not_be_found_out_on_the_seed_is_held_against_nobody(tmp_path: Path) -> None:
    """The program's benchmark breaks, and so may everybody's: measuring the seed was void."""
    for worker in opened(tmp_path, benchmark=FAILS_UNLESS_SEED):
        fault = worker.perform(Job(AttemptId(1), Stage.BENCHMARK, "benchmark", committed(worker, "7"))).result
        assert isinstance(fault, Void)
        assert fault.retryable


def test_measurements_say_on_which_cores_they_were_made(tmp_path: Path) -> None:
    for worker in opened(tmp_path):
        leasing = Leasing(on=True, request=Request(), contention="off", folder=tmp_path / "locks")
        leased = Worker(replace(worker.spec, leasing=leasing))
        for measuring, told in ((worker, False), (leased, True)):
            found = measuring.perform(Job(AttemptId(1), Stage.BENCHMARK, "benchmark", committed(worker, "7"))).result
            assert isinstance(found, tuple)
            assert all(("cores" in measurement.conditions) == told for measurement in found)
        verdict = leased.perform(Job(AttemptId(1), Stage.JUDGE, "accuracy", committed(worker, "7"))).result
        assert isinstance(verdict, Verdict)
        assert "cores" not in verdict.conditions
        leased.close()
