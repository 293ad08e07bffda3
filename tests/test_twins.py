"""One seed, one lane: the same facts inline, simulated and on Ray, with real git, sandbox and evaluators."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from toys import make_target

from raysearch.config.targets import load_target, snapshot_target
from raysearch.engine import Engine
from raysearch.errors import Fault
from raysearch.facts import Entry, SessionOpened
from raysearch.jobs import Job, Result
from raysearch.ledger import FileLedger, read_journal
from raysearch.plugins import PluginSpec, load
from raysearch.pools.inline import InlinePool
from raysearch.pools.ray import RayPool
from raysearch.pools.roles import Role
from raysearch.protocols import Pool
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder, sweep_scratch
from raysearch.run.search import Search, create, started
from raysearch.testing.audit import audit
from raysearch.testing.simulated import FakeClock, SimPool
from raysearch.testing.twins import essences
from raysearch.types import Limits, Stage
from raysearch.worker import Worker, WorkerSpec

pytestmark = pytest.mark.ray

TOYS = str(Path(__file__).with_name("toys.py"))
POLICIES = ("evolve", "plain", "agent", "best-of-n", "chain")
PLUGINS = {
    (Stage.MUTATE, "step"): PluginSpec("mutators", "step", f"{TOYS}:Step"),
    (Stage.MUTATE, "trespasser"): PluginSpec("mutators", "trespasser", f"{TOYS}:Trespasser"),
    (Stage.JUDGE, "accuracy"): PluginSpec("judges", "accuracy", "accuracy"),
    (Stage.BENCHMARK, "benchmark"): PluginSpec("benchmarks", "benchmark", "benchmark"),
}
NAMES = ("step", "trespasser")


class Deaf:
    def told(self, entry: Entry) -> None: ...
    def started(self, job: Job) -> None: ...
    def close(self) -> None: ...


def simulated(spec: WorkerSpec, clock: FakeClock) -> Pool:
    worker = Worker(spec)

    def perform(job: Job) -> Result:
        result = worker.perform(job).result
        if isinstance(result, Fault):
            raise result
        return result

    return SimPool(perform, clock, random.Random(1), dict.fromkeys(Stage, 1))


def journal(policy: str, folder: Path, target: Path, make_pool: Callable[[WorkerSpec, FakeClock], Pool]) -> list[Entry]:
    run = RunFolder(folder / "twin")
    run.path.mkdir(parents=True)
    copied = snapshot_target(load_target(target), run.target)
    create(run, copied)
    clock = FakeClock(wall_s=1e9)
    spec = WorkerSpec(run.identity, 5, run.workspace, copied, PLUGINS, "bubblewrap")
    pool = make_pool(spec, clock)
    built = load("policies", policy, {}, offers={"mutators": NAMES})
    search = Search(5, PluginSpec("policies", policy, policy), {}, PLUGINS, (), Limits())
    repository = Repository(run.workspace)
    try:
        with FileLedger(run.journal) as ledger:
            engine = Engine(built, pool, ledger, clock, Deaf(), keep=repository.name)  # type: ignore[arg-type]
            limits = Limits(open_max=1, attempts_max=6)
            engine.run(started(run, search, copied, repository), SessionOpened(0, limits, "here", 1, "0"))
    finally:
        pool.close()
        sweep_scratch(spec.run)
    return list(read_journal(run.journal))


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_facts_under_every_pool(policy: str, tmp_path: Path, ray_address: str) -> None:
    target = make_target(tmp_path / "toy")
    roles = {stage: Role(1, 0.25) for stage in Stage}
    journals = [
        journal(policy, tmp_path / name, target, make_pool)
        for name, make_pool in {
            "inline": lambda spec, clock: InlinePool(Worker(spec)),
            "simulated": simulated,
            "ray": lambda spec, clock: RayPool(spec, roles, ray_address),
        }.items()
    ]
    assert all(audit(entries) == [] for entries in journals)
    inline, sim, on_ray = map(essences, journals)
    # The origin commit carries the time at which the run folder was made.
    assert inline[1:] == sim[1:] == on_ray[1:]
    assert len(inline) > 20
