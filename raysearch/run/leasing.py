"""What a run's measurements have to themselves, from what the benchmark's role asks for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from raysearch.config.settings import Settings
from raysearch.devices import Inventory, Leasing, Request, Watch, inventory
from raysearch.devices.inventory import usable_cpus
from raysearch.devices.locks import MACHINE_FOLDER, Locks
from raysearch.errors import EvaluatorFault
from raysearch.pools.roles import Role
from raysearch.process import Spending
from raysearch.run.findings import Finding, note, ok, warn
from raysearch.target import Target
from raysearch.types import Objective, Stage

LOOK_S = 0.15
"""How long a core is watched, to see what can be sensed."""
ASK = "cpus = 1 in [resources.benchmark] of target.toml, or in [roles.benchmark], gives each a core"


def leasing_of(settings: Settings, role: Role, objectives: Sequence[Objective], judges: Sequence[str]) -> Leasing:
    """Whole devices for a role that asks for whole ones, unless every objective is counted rather than timed.

    ``judges``: names of those that measure.
    """
    table, alone = settings.devices, settings.run.pool == "inline"
    return Leasing(
        on=table.lease,
        request=None if counted(objectives) else request_of(role),
        contention=table.contention,
        quiet_s=table.quiet_s,
        wait_s=table.wait_s,
        slots=1 if alone else role.slots,
        judges=tuple(judges),
        crowded=not alone,
    )


def counted(objectives: Sequence[Objective]) -> bool:
    """Whether no noise can get into any objective."""
    return all(objective.deterministic for objective in objectives)


def request_of(role: Role) -> Request | None:
    """Devices for one job of the role; None where it asks for less than a CPU, and for no GPU."""
    asked = {**role.resources, "CPU": role.cpus, "GPU": role.gpus}
    if max(asked["CPU"], asked.get("apple", 0.0)) < 1 and not asked["GPU"] > 0:
        return None
    return Request.of(asked)


def placed_here(leasing: Leasing, address: str) -> Leasing:
    """With the driver's own processors, where its workers share them: Ray's processes are kept off those leased."""
    return replace(leasing, cpus=tuple(sorted(usable_cpus()))) if leasing.crowded and address == "local" else leasing


def tried_out(target: Target) -> Leasing:
    """For a target on its own, without a configuration: what it asks for, and no word about what disturbs."""
    asked = target.resources.get(Stage.BENCHMARK.value, {})
    cpus, gpus = asked.get("CPU", Role().cpus), asked.get("GPU", 0.0)
    request = None if counted(target.objectives) else request_of(Role(cpus=cpus, gpus=gpus, resources=asked))
    return Leasing(on=True, request=request, contention="warn")


def offered(folder: Path = MACHINE_FOLDER) -> Iterator[Finding]:
    """What measurements can have to themselves on this machine, and what of others' doing is seen."""
    here = inventory()
    try:
        locks = Locks.open(folder)
    except (EvaluatorFault, OSError) as error:
        yield warn("leases", str(error), "benchmarks that ask for devices of their own fail until it can be used")
        return
    try:
        names = [core.name for core in here.cores] + [gpu.name for gpu in here.gpus]
        held = [name for name in names if locks.taken(name)]
    finally:
        locks.close()
    told = f"{_counted(here)}; sensed: {', '.join(_sensed(here)) or 'nothing'}"
    if held:
        told += f"; held now: {', '.join(held)}"
    if len(here.cores) == 1:
        yield warn("leases", told, "nothing can be kept off the only core: measure one thing at a time")
    else:
        yield ok("leases", told)


def wanted(leasing: Leasing, objectives: Sequence[Objective]) -> Finding:
    """What measurements under a configuration will have to themselves on a machine like this one."""
    if counted(objectives):
        return ok("measurements", "every objective is deterministic: they need no devices of their own")
    if not leasing.on:
        return note("measurements", "share the machine with everything else: [devices] lease = false")
    if leasing.request is None:
        return note("measurements", "share the machine: the benchmark asks for less than a CPU, and no GPU", ASK)
    here, request = inventory(), leasing.request
    each = f"each has {_counted(here, request)} to itself"
    if request.gpus > len(here.gpus) or (request.apple and here.apple is None):
        return warn(
            "measurements", f"{each}, which this machine has not", "nvidia-ml-py finds GPUs; or measure elsewhere"
        )
    if leasing.reserved >= len(here.cores) and leasing.crowded:
        told = f"{each}, {leasing.slots} at once; of {len(here.cores)} here none is left for the run's other work"
        return warn("measurements", told, "fewer cpus or slots in [roles.benchmark], or --pool inline")
    return ok("measurements", f"{each}; disturbed ones: {leasing.contention}")


def _counted(here: Inventory, request: Request | None = None) -> str:
    cores, gpus = (len(here.cores), len(here.gpus)) if request is None else (request.cores, request.gpus)
    apple = here.apple is not None if request is None else request.apple
    named = [f"{cores} core{'s' if cores != 1 else ''}"]
    named += [f"{gpus} GPU{'s' if gpus != 1 else ''}"] * (gpus > 0)
    return ", ".join([*named, *["the Apple GPU"] * apple])


def _sensed(here: Inventory) -> Sequence[str]:
    with Watch(here.cores[-1:], here.gpus, Spending()) as watch:
        time.sleep(LOOK_S)
    return watch.report().sensed
