"""The Ray pool on a real Ray: roles, faults, replacement; the whole engine over it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from toys import make_target

from raysearch.config.targets import load_target, snapshot_target
from raysearch.errors import ConfigError, RunError, TimedOut, WorkerLost
from raysearch.jobs import Job
from raysearch.plugins import PluginSpec
from raysearch.pools import ray as pool_module
from raysearch.pools.ray import RayPool
from raysearch.pools.roles import Role
from raysearch.protocols import Answer
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder, sweep_scratch
from raysearch.run.search import create
from raysearch.types import AttemptId, Change, Stage, Verdict
from raysearch.worker import WorkerSpec

pytestmark = pytest.mark.ray

TOYS = str(Path(__file__).with_name("toys.py"))
ROLES = {Stage.MUTATE: Role(2, 0.5), Stage.JUDGE: Role(1, 0.25), Stage.BENCHMARK: Role(1, 0.25, resources={"apple": 1})}


@pytest.fixture
def spec(tmp_path: Path) -> WorkerSpec:
    folder = RunFolder.create(tmp_path / "runs", "toy")
    target = snapshot_target(load_target(make_target(tmp_path / "toy")), folder.target)
    create(folder, target)
    plugins = {
        (Stage.MUTATE, name): PluginSpec("mutators", name, f"{TOYS}:{name}")
        for name in ("Step", "Raises", "Hangs", "Together", "KillsItsWorker")
    }
    plugins[Stage.JUDGE, "accuracy"] = PluginSpec("judges", "accuracy", "accuracy")
    plugins[Stage.BENCHMARK, "benchmark"] = PluginSpec("benchmarks", "benchmark", "benchmark")
    return WorkerSpec(folder.identity, 7, folder.workspace, target, plugins, "bubblewrap")


@pytest.fixture
def pool(spec: WorkerSpec, ray_address: str) -> Iterator[RayPool]:
    pool = RayPool(spec, ROLES, ray_address)
    yield pool
    pool.close()
    sweep_scratch(spec.run)


def job(spec: WorkerSpec, attempt: int, plugin: str, stage: Stage = Stage.MUTATE, timeout_s: float = 60) -> Job:
    base = Repository(spec.repository).commit_of("origin")
    return Job(AttemptId(attempt), stage, plugin, base, (base,), timeout_s=timeout_s, opened_at_s=1e9)


def answer(pool: RayPool, met: Callable[[], bool] = lambda: True) -> Answer:
    for _ in range(200):
        found = pool.next(0.5)
        if found is not None and met():
            return found
    raise AssertionError("no answer")


def test_each_role_answers_its_jobs(pool: RayPool, spec: WorkerSpec) -> None:
    pool.submit(job(spec, 1, "Step"))
    changed = answer(pool).result
    assert isinstance(changed, Change)
    pool.submit(replace(job(spec, 1, "accuracy", Stage.JUDGE), base=changed.commit))
    assert answer(pool).result == Verdict(True)
    pool.submit(replace(job(spec, 1, "benchmark", Stage.BENCHMARK), base=changed.commit))
    assert isinstance(answer(pool).result, tuple)


def test_more_jobs_than_slots_wait_for_their_turn(pool: RayPool, spec: WorkerSpec) -> None:
    for attempt in range(1, 9):
        pool.submit(job(spec, attempt, "Step"))
    assert {answer(pool).job.attempt for _ in range(8)} == set(range(1, 9))


def test_a_worker_that_is_killed_is_named_and_replaced(pool: RayPool, spec: WorkerSpec) -> None:
    pool.submit(job(spec, 1, "Step"))
    worker = answer(pool).worker
    pool.submit(job(spec, 2, "Hangs"))
    pool.submit(job(spec, 3, "Hangs"))
    os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL)
    lost = answer(pool)
    assert isinstance(lost.result, WorkerLost)
    assert lost.job.plugin == "Hangs"
    pool.submit(job(spec, 4, "Step"))
    assert isinstance(answer(pool).result, Change)


def test_a_worker_that_hangs_is_given_up_after_its_grace(
    pool: RayPool, spec: WorkerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "GRACE_S", 0.5)
    pool.submit(job(spec, 1, "Hangs", timeout_s=0.5))
    assert isinstance(answer(pool).result, TimedOut)
    pool.submit(job(spec, 2, "Step"))
    pool.submit(job(spec, 3, "Step"))
    assert all(isinstance(answer(pool).result, Change) for _ in range(2))


def test_slots_that_share_a_process_work_at_once_and_are_lost_at_once(spec: WorkerSpec, ray_address: str) -> None:
    pool = RayPool(spec, {Stage.MUTATE: Role(3, 0.25, threads=2)}, ray_address)
    try:
        pool.submit(job(spec, 1, "Together"))
        pool.submit(job(spec, 2, "Together"))
        done = [answer(pool) for _ in range(2)]
        assert all(isinstance(found.result, Change) for found in done)
        assert len({found.worker for found in done}) == 1
        pool.submit(job(spec, 4, "Hangs"))
        pool.submit(job(spec, 5, "Hangs"))
        pool.submit(job(spec, 6, "Hangs"))
        assert pool.next(2) is None
        os.kill(int(done[0].worker.rpartition(":")[2]), signal.SIGKILL)
        lost = [answer(pool) for _ in range(2)]
        assert all(isinstance(found.result, WorkerLost) for found in lost)
        pool.submit(job(spec, 7, "Step"))
        assert isinstance(answer(pool).result, Change)
    finally:
        pool.close()
        sweep_scratch(spec.run)


def test_roles_that_the_cluster_lacks_are_refused_at_once(spec: WorkerSpec, ray_address: str) -> None:
    with pytest.raises(ConfigError, match=r"\[roles.benchmark\].*'apples'.*'apple'"):
        RayPool(spec, {Stage.BENCHMARK: Role(resources={"apples": 1})}, ray_address)


def test_workers_that_cannot_start_say_why(spec: WorkerSpec, ray_address: str, tmp_path: Path) -> None:
    broken = replace(spec, repository=tmp_path / "nowhere")
    pool = RayPool(broken, {Stage.MUTATE: Role(1, 0.25)}, ray_address)
    pool.submit(job(spec, 1, "Step"))
    try:
        with pytest.raises(RunError, match=r"role mutate do not start.*nowhere"):
            answer(pool)
    finally:
        pool.close()


def test_closing_ends_what_workers_had_started(pool: RayPool, spec: WorkerSpec) -> None:
    pool.submit(job(spec, 1, "Step"))
    pid = int(answer(pool).worker.rpartition(":")[2])
    pool.close()
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("the worker is still there")
