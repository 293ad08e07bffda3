"""Can a run start here? This machine, the cluster, and what the configuration asks of them."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from raysearch.config.layers import Configuration
from raysearch.errors import ConfigError, PluginError, RunError, TargetError
from raysearch.plugins import KINDS, available, check_packages
from raysearch.pools.roles import Role, preflight
from raysearch.run import leasing, machine
from raysearch.run.automatic import expanded
from raysearch.run.findings import Finding, fail, note, ok, warn
from raysearch.run.search import Search
from raysearch.run.start import resolve, target_of
from raysearch.target import EvaluatorCommand, Target
from raysearch.types import Stage

CONNECT_S = 5.0
Nodes = Sequence[Mapping[str, float]]
"""Total resources of each node."""


def examine(
    configuration: Configuration,
    *,
    start_ray: bool = False,
    told: Callable[[str], None] = lambda _: None,
    survey: Callable[[str], Nodes] | None = None,
) -> Iterator[Finding]:
    """Look at everything that a run under ``configuration`` needs; nothing is changed, and nothing spent.

    A private Ray is started only if ``start_ray``; a cluster that the configuration names is connected to.
    ``survey`` gives the nodes of the cluster at an address (by default, Ray's own word).
    """
    run = configuration.settings.run
    told("looking at this machine")
    yield from machine.software()
    yield _packages()
    yield from machine.sandboxes(run.sandbox)
    yield from machine.devices()
    yield from leasing.offered()
    yield from machine.agents()
    yield from machine.disks(Path(run.runs_dir))
    yield from machine.settings()
    nodes: Nodes | None = None
    for finding in _ray(configuration, start_ray, told, survey or _survey):
        if isinstance(finding, Finding):
            yield finding
        elif run.address != "local":  # a private Ray is started with as many CPUs as a run asks for
            nodes = finding
    yield from _plan(configuration, nodes)


def _packages() -> Finding:
    try:
        check_packages()
    except PluginError as error:
        return fail("packages", str(error))
    counted = ", ".join(f"{len(available(kind))} {kind}" for kind in KINDS)
    return ok("plug-ins", f"{counted} installed")


def _ray(
    configuration: Configuration, start_ray: bool, told: Callable[[str], None], survey: Callable[[str], Nodes]
) -> Iterator[Finding | Nodes]:
    """Findings, and the nodes if Ray was asked."""
    run = configuration.settings.run
    wanted = run.pool == "ray"
    try:
        number = version("ray") if importlib.util.find_spec("ray") else ""
    except PackageNotFoundError:
        number = "of unknown version"
    if not number:
        mend = "pip install ray, or run with --pool inline"
        yield (fail if wanted else note)("ray", "not installed", mend)
        return
    if not wanted:
        yield note("ray", f"{number}, not used: the pool is {run.pool}")
        return
    if run.address == "local" and not start_ray:
        yield ok("ray", f"{number} (--start-ray tries a private one, which takes some seconds)")
        return
    yield ok("ray", number)
    unreachable = _unreachable(run.address)
    if unreachable:
        yield fail("cluster", unreachable, "is the address right, and does a firewall let it through?")
        return
    told("starting a private Ray" if run.address == "local" else f"asking the cluster at {run.address}")
    try:
        nodes = survey(run.address)
    except (RunError, ConfigError) as error:
        yield fail("cluster", str(error))
        return
    total: dict[str, float] = {}
    for node in nodes:
        for name, amount in node.items():
            if not name.startswith(("node:", "object_store", "memory", "accelerator_type")):
                total[name] = total.get(name, 0.0) + amount
    have = ", ".join(f"{amount:g} {name}" for name, amount in sorted(total.items()))
    yield ok("cluster", f"{len(nodes)} node{'s' if len(nodes) != 1 else ''}: {have}")
    yield nodes


def _unreachable(address: str) -> str:
    """Why nothing listens at ``HOST:PORT``; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return ""
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        return f"nothing answers at {address}: {getattr(error, 'strerror', None) or error}"
    return ""


def _survey(address: str) -> Nodes:
    from raysearch.pools.ray import survey

    return survey(address)


def _plan(configuration: Configuration, nodes: Nodes | None) -> Iterator[Finding]:
    """Do the names of the configuration exist, and can its roles be placed?"""
    run = configuration.settings.run
    named = bool(run.target or run.ref)
    try:
        target = target_of(configuration.settings) if named else nowhere()
        configuration, _ = expanded(configuration, target if named else None)
        search = resolve(seeded(configuration), target)
    except (ConfigError, PluginError, TargetError) as error:
        yield fail("configuration", str(error))
        return
    names = ", ".join(name for stage, name in search.plugins if stage is Stage.MUTATE)
    what = f"target {target.name}, " if named else ""
    yield ok("configuration", f"{what}policy {search.policy.name}, mutators {names}")
    yield from placed(search, nodes)
    if named:
        yield leasing.wanted(search.leasing, target.objectives)


def placed(search: Search, nodes: Nodes | None) -> Iterator[Finding]:
    """Whether every worker of every role finds a node; ``nodes`` None stands for a private Ray on this machine."""
    if search.pool != "ray":
        yield ok("roles", "one worker, in the driver's process")
        return
    wanted = sum(role.slots * role.cpus for role in search.roles.values())
    wanted += sum(server.processes * server.cpus for server in search.servers)
    here = machine.Machine.here()
    if nodes is None and search.address != "local":
        yield note("roles", "not compared: the cluster did not answer")
        return
    try:
        preflight(search.roles, [here.node(wanted)] if nodes is None else nodes, search.servers)
    except ConfigError as error:
        yield fail("roles", str(error))
        return
    said = "; ".join(f"{role.slots} {stage} ({_each(role)} each)" for stage, role in search.roles.items())
    if search.address == "local" and wanted > here.cores:
        told = f"{said}: {wanted:g} CPUs on a machine with {here.cores}, which they will share"
        yield warn("roles", told, "measurements need cores of their own: fewer lanes, or fewer slots")
    else:
        yield ok("roles", said)


def _each(role: Role) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in role.demand().items()) or "nothing"


def seeded(configuration: Configuration) -> Configuration:
    """With a seed, for what draws nothing from it."""
    settings = configuration.settings
    if settings.run.seed is not None:
        return configuration
    run = settings.run.model_copy(update={"seed": 0})
    return replace(configuration, settings=settings.model_copy(update={"run": run}))


def nowhere() -> Target:
    """A target that asks for nothing, where none is named."""
    nothing = EvaluatorCommand((), Path("/"))
    return Target("none", Path("/"), "", (), Path("/"), nothing, nothing)
