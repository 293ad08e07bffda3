"""What a run's measurements have to themselves, from what the benchmark's role asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from raysearch.config.settings import Settings
from raysearch.devices import Leasing, Request
from raysearch.devices.inventory import usable_cpus
from raysearch.pools.roles import Role
from raysearch.types import Objective


def leasing_of(settings: Settings, role: Role, objectives: Sequence[Objective], judges: Sequence[str]) -> Leasing:
    """Whole devices for a role that asks for whole ones, unless every objective is counted rather than timed.

    ``judges``: names of those that measure.
    """
    table, alone = settings.devices, settings.run.pool == "inline"
    return Leasing(
        on=table.lease,
        request=None if all(objective.deterministic for objective in objectives) else request_of(role),
        contention=table.contention,
        quiet_s=table.quiet_s,
        wait_s=table.wait_s,
        slots=1 if alone else role.slots,
        judges=tuple(judges),
        crowded=not alone,
    )


def request_of(role: Role) -> Request | None:
    """Devices for one job of the role; None where it asks for less than a CPU, and for no GPU."""
    asked = {**role.resources, "CPU": role.cpus, "GPU": role.gpus}
    if max(asked["CPU"], asked.get("apple", 0.0)) < 1 and not asked["GPU"] > 0:
        return None
    return Request.of(asked)


def placed_here(leasing: Leasing, address: str) -> Leasing:
    """With the driver's own processors, where its workers share them: Ray's processes are kept off those leased."""
    return replace(leasing, cpus=tuple(sorted(usable_cpus()))) if leasing.crowded and address == "local" else leasing
