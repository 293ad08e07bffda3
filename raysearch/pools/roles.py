"""What each kind of worker needs, and whether a cluster can give it, beside a run's model servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from raysearch.errors import ConfigError, nearest
from raysearch.served.spec import ServerSpec
from raysearch.types import Stage


@dataclass(frozen=True, slots=True)
class Role:
    """``slots`` jobs at once, each with these resources to itself. CPUs may be fractions."""

    slots: int = 1
    cpus: float = 0.25
    gpus: float = 0.0
    memory_mb: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    """Custom Ray resources, such as ``{"apple": 1}``."""
    threads: int = 1
    """So many slots share one process. A process that dies takes the jobs of all its slots with it."""

    def processes(self) -> list[int]:
        """Slots of each process."""
        whole, rest = divmod(self.slots, self.threads)
        return [self.threads] * whole + [rest] * (rest > 0)

    def demand(self, slots: int = 1) -> dict[str, float]:
        """What a process with so many slots asks for, in Ray's own names; zeros left out."""
        asked = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_mb * 1e6, **self.resources}
        return {name: amount * slots for name, amount in asked.items() if amount > 0}


def preflight(
    roles: Mapping[Stage, Role], nodes: Sequence[Mapping[str, float]], servers: Sequence[ServerSpec] = ()
) -> None:
    """Refuse roles and model servers that the cluster can never place; Ray itself would wait for ever.

    ``nodes`` are the total resources of each node alive. Servers are placed first, as they are started first; then
    workers, first-fit, the most demanding first. Raises ConfigError that names role or server and resource.
    """
    free = [dict(node) for node in nodes]
    for server in servers:
        many = f"replicas = {server.replicas}"
        _place([server.demand()] * server.processes, free, nodes, f"[model_server.{server.name}]", many)
    wanted = [(stage, role.demand(slots)) for stage, role in roles.items() for slots in role.processes()]
    for stage, demand in sorted(wanted, key=lambda item: -sum(item[1].values())):
        _place([demand], free, nodes, f"[roles.{stage}]", f"slots = {roles[stage].slots}")


def _place(
    demands: Sequence[Mapping[str, float]],
    free: list[dict[str, float]],
    nodes: Sequence[Mapping[str, float]],
    section: str,
    many: str,
) -> None:
    """Take what processes of ``section`` need from the first node that has it. Raises ConfigError."""
    for demand in demands:
        lacking = [name for name in demand if not any(name in node for node in nodes)]
        if lacking:
            known = {name for node in nodes for name in node if not name.startswith(("node:", "object_store"))}
            raise ConfigError(f"{section} asks for {lacking[0]!r}; no node has it.{nearest(lacking[0], known)}")
        place = next((node for node in free if _fits(demand, node)), None)
        if place is None:
            raise ConfigError(
                f"{section} {many}, each with {_shown(demand)}, do not fit beside the other roles and servers on"
                f" {len(nodes)} node(s) that have {'; '.join(map(_shown, nodes))}. Ask for fewer of them or less of it."
            )
        for name, amount in demand.items():
            place[name] -= amount


def _fits(demand: Mapping[str, float], node: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) + 1e-9 >= amount for name, amount in demand.items())


def _shown(resources: Mapping[str, float]) -> str:
    named = {k: v for k, v in resources.items() if not k.startswith(("node:", "object_store", "memory"))}
    return ", ".join(f"{amount:g} {name}" for name, amount in sorted(named.items())) or "nothing"
