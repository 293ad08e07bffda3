"""A search, resolved to data, and how it is driven from a run folder."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import cast

from raysearch.config.targets import load_target
from raysearch.devices import Leasing
from raysearch.devices.leases import on_cpus
from raysearch.engine import Engine
from raysearch.errors import LedgerError, PluginError, RepositoryError, RunError, TargetError, UserError, boundary
from raysearch.facts import RunStarted, SessionOpened
from raysearch.inbox import Inbox
from raysearch.jobs import SHORT
from raysearch.ledger import FileLedger, RunLock
from raysearch.loads import LADDER, LoadLevel
from raysearch.plugins import PluginSpec, load
from raysearch.pools.inline import InlinePool
from raysearch.pools.roles import Role, preflight
from raysearch.process import sweep
from raysearch.protocols import Policy, Pool, Sink
from raysearch.repository import Repository
from raysearch.run import agents
from raysearch.run.baselines import committed
from raysearch.run.folder import RunFolder, sweep_scratch
from raysearch.run.home import courier
from raysearch.run.leasing import placed_here
from raysearch.run.serving import pointed
from raysearch.sandbox import cgroups, open_sandbox
from raysearch.served.addresses import FILE
from raysearch.served.fleet import Fleet
from raysearch.served.replica import Replica, device_lists
from raysearch.served.spec import ServerSpec
from raysearch.served.standing import Keeper
from raysearch.state import State
from raysearch.target import EvaluatorCommand, Target
from raysearch.types import AttemptId, Commit, Confirmation, Declared, Limits, Plan, Stage, Step
from raysearch.worker import Worker, WorkerSpec

SpecMap = Mapping[tuple[Stage, str], PluginSpec]


@dataclass(frozen=True, slots=True)
class Search:
    """Everything that a driver needs, with all names resolved."""

    seed: int
    policy: PluginSpec
    offers: Mapping[str, object]
    """What the policy's constructor gets where it has a parameter of that name and no option says otherwise."""
    plugins: SpecMap
    steps: tuple[tuple[Stage, str, float], ...]
    """Judges, then benchmarks, beside the target's own: stage, name, seconds allowed."""
    limits: Limits
    first: tuple[Step, ...] = ()
    """Gates before the target's own, and..."""
    last: tuple[Step, ...] = ()
    """...gates for those that would stand on the frontier."""
    mutate_timeout_s: float = 3600.0
    retries_max: int = 2
    confirmation: Confirmation | None = None
    pool: str = "ray"
    address: str = "local"
    roles: Mapping[Stage, Role] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)
    sandbox: str = "auto"
    consultants: Mapping[str, PluginSpec] = field(default_factory=dict)
    """By role."""
    asked: tuple[Step, ...] = ()
    """The same roles: where they are answered, and in what time."""
    board: bool = False
    """Whether agents see the board of issues, and may file."""
    push_to: str = ""
    """Git repository that results are pushed to, if any."""
    servers: tuple[ServerSpec, ...] = ()
    """Model servers that the run brings along."""
    leasing: Leasing = Leasing()
    """Devices that measurements have to themselves."""
    load_levels: tuple[LoadLevel, ...] = LADDER
    """Loads under which a performance evaluator looks at a program; offered to the policy as well."""


@dataclass(frozen=True, slots=True)
class WallClock:
    """The machine's own clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def drive(
    folder: RunFolder,
    search: Search,
    sink: Callable[[RunFolder], Sink],
    stop: Callable[[], str],
    told: Callable[[str], None] = lambda _: None,
) -> State:
    """Take the run up from its journal, whatever there is of it, and go on until it ends or ``stop`` says why not.

    ``told`` is shown what is waited for before there is a sink. Raises UserError before anything is spent, LedgerError
    if the journal cannot be written.
    """
    free_space(folder)
    search = replace(search, leasing=placed_here(search.leasing, search.address))
    with ExitStack() as stack:
        if (
            search.leasing.crowded
        ):  # Ray's processes, and with them all jobs that do not measure, are kept where this is
            stack.enter_context(on_cpus(search.leasing.others))
        lock = RunLock(folder.path)
        stack.callback(lock.release)
        if search.push_to:  # leaves last but for the lock: a slow network keeps no worker alive
            stack.enter_context(courier(folder, search.push_to))
        target = load_target(folder.target)
        policy = policy_of(search, target)
        sandbox = open_sandbox(search.sandbox, run=folder.identity).name  # proved here, before workers start
        agents.require_at_hand(
            [*search.plugins.values(), *search.consultants.values()],
            sandbox,
            search.pool != "ray" or search.address == "local",
        )
        repository = Repository(folder.workspace)
        repository.unlock()
        start = started(folder, search, target, repository)
        sweep(folder.identity)  # what a dead driver may have left
        sweep_scratch(folder.identity)
        stack.callback(cgroups.sweep)
        stack.callback(sweep_scratch, folder.identity)
        stack.callback(sweep, folder.identity)
        if search.servers:  # before workers: what is left of the cluster is theirs
            keepers = _keepers(folder, search, stack)
            stack.enter_context(Fleet(search.servers, keepers, folder.path / FILE, told)).start(stop)
        pool = _pool(folder, search, target, sandbox)
        stack.callback(pool.close)
        ledger = stack.enter_context(FileLedger(folder.journal))
        shown = sink(folder)
        stack.callback(shown.close)
        told_by = Inbox(folder.path)
        engine = Engine(policy, pool, ledger, WallClock(), shown, stop, _keeper(repository, lock), told_by)
        session = SessionOpened(0, search.limits, socket.gethostname(), os.getpid(), version("raysearch"))
        state = engine.run(start, session)
        repository.pack_refs()
        return state


def policy_of(search: Search, target: Target) -> Policy:
    """The search's policy, new. One that has a method ``suits(objectives)`` is asked whether its options go with them.

    Raises UserError.
    """
    policy = cast(Policy, load("policies", search.policy.reference, search.policy.options, offers=search.offers))
    suits = getattr(policy, "suits", None)
    if suits is not None:
        try:
            suits(target.objectives)
        except UserError:
            raise
        except Exception as error:
            told = f"policy {search.policy.name}: suits(): {type(error).__name__}: {error}"
            raise PluginError(told) from error
    return policy


def create(folder: RunFolder, target: Target) -> None:
    """Make the parts of a new run folder that do not change: repository and origin commit.

    ``target`` is the snapshot in the folder.
    """
    repository = Repository.create(folder.workspace)
    if target.seed is not None:
        with boundary(TargetError, f"the seed program of {target.name} cannot be kept in git"):
            tree = repository.write_tree(target.seed, int(target.program_mb_max * 1e6))
    else:
        with tempfile.TemporaryDirectory() as empty:
            tree = repository.write_tree(Path(empty))
    what = "the target's seed program" if target.seed is not None else "nothing yet"
    origin = repository.commit(tree, (), f"origin: {what}\n\ntarget: {target.name}\n", time.time())
    repository.name("origin", origin)
    folder.reference.symlink_to(target.reference.relative_to(folder.path))


def started(folder: RunFolder, search: Search, target: Target, repository: Repository) -> RunStarted:
    """The first fact of the run in ``folder``."""
    origin = repository.commit_of("origin")
    return RunStarted(
        run=folder.name,
        seed=search.seed,
        target=target.name,
        target_digest=target.digest,
        objectives=target.objectives,
        plan=plan_of(search, target),
        origin=origin,
        origin_tree=repository.tree_of(origin),
        seeded=target.seed is not None,
        baselines=tuple(
            Declared(name, commit, repository.tree_of(commit)) for name, commit in committed(repository, target).items()
        ),
    )


def plan_of(search: Search, target: Target) -> Plan:
    """What every attempt goes through, cheapest first."""
    extra = [Step(stage, name, timeout_s) for stage, name, timeout_s in search.steps]
    return Plan(
        steps=(
            *search.first,
            Step(Stage.JUDGE, "accuracy", target.checker.timeout_s, target.checker.digest),
            *(step for step in extra if step.stage is Stage.JUDGE),
            *_looks(target.benchmark),
            Step(Stage.BENCHMARK, "benchmark", target.benchmark.timeout_s, target.benchmark.digest),
            *(step for step in extra if step.stage is Stage.BENCHMARK),
        ),
        mutate_timeout_s=search.mutate_timeout_s,
        retries_max=search.retries_max,
        environment=_environment(target),
        confirmation=search.confirmation,
        final=search.last,
        consultants=search.asked,
        board=search.board,
    )


def _looks(benchmark: EvaluatorCommand) -> tuple[Step, ...]:
    """What spares hopeless programs the whole benchmark, where the target has it."""
    short = benchmark.short
    if short is None:
        return ()
    return (Step(Stage.BENCHMARK, SHORT, short.timeout_s, benchmark.digest, short.hopeless),)


def _environment(target: Target) -> str:
    """A digest of what evaluations run under."""
    parts = (platform.python_version(), platform.machine(), platform.system(), sorted(target.environment.items()))
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _pool(folder: RunFolder, search: Search, target: Target, sandbox: str) -> Pool:
    plugins = pointed(search.plugins, folder)
    consultants = pointed(search.consultants, folder)
    spec = WorkerSpec(
        folder.identity,
        search.seed,
        folder.workspace,
        target,
        plugins,
        sandbox,
        artifacts=folder.attempts,
        consultants=consultants,
        leasing=search.leasing,
    )
    if search.confirmation is not None:
        spec = replace(spec, min_effect=search.confirmation.min_effect)
    if search.pool == "inline":
        return InlinePool(Worker(spec))
    from raysearch.pools.ray import RayPool

    return RayPool(spec, search.roles, search.address, search.resources)


def _keepers(folder: RunFolder, search: Search, stack: ExitStack) -> Callable[[ServerSpec, int], Keeper]:
    """What starts and keeps replicas, where the pool's jobs run. Raises ConfigError if they can never be placed."""
    logs, run = folder.logs, folder.identity
    logs.mkdir(exist_ok=True)
    if search.pool == "inline":
        devices = device_lists(search.servers)

        def keep(spec: ServerSpec, number: int) -> Keeper:
            return Replica(spec, number, logs, run=run, devices=devices.get((spec.name, number)))

        return keep
    from raysearch.pools.ray import Connection, nodes
    from raysearch.pools.served import posts

    wanted = sum(role.slots * role.cpus for role in search.roles.values())
    wanted += sum(spec.processes * spec.cpus for spec in search.servers)
    stack.enter_context(Connection(search.address, wanted, search.resources))
    there = nodes()
    preflight(search.roles, there, search.servers)
    return posts(run, logs, loopback=len(there) == 1)


def _keeper(repository: Repository, lock: RunLock) -> Callable[[AttemptId, Commit], None]:
    def keep(attempt: AttemptId, commit: Commit) -> None:
        try:
            repository.name(attempt, commit)
            lock.renew()
        except (OSError, RepositoryError) as error:
            raise LedgerError(f"{repository.path}: {error}") from error

    return keep


def free_space(folder: RunFolder, bytes_min: int = 50_000_000) -> None:
    """Refuse to start on a disk that is nearly full. Raises RunError."""
    free = shutil.disk_usage(folder.path).free
    if free < bytes_min:
        raise RunError(f"{folder.path}: only {free / 1e6:.0f} MB left on the disk; make room, then `raysearch resume`")
