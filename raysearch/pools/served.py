"""Replicas of model servers on Ray: one actor each, which holds the process and the devices that it is pinned to.

An actor asks for all that its replica needs at once, so that Ray places it whole on one node: no placement group is
needed for tensor parallelism. Ray's own restarts are off, as for workers; an actor that is lost is hired anew here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from raysearch.pools.ray import reason  # first: it settles what Ray reads when it is imported

# isort: split
import ray

from raysearch.served.replica import Patience, Replica
from raysearch.served.spec import LOOPBACK, ServerSpec
from raysearch.served.standing import Keeper, Phase, Standing

HUNG_S = 120.0
"""An actor that has said nothing for so long is given up."""
END_S = 60.0
"""Beyond draining, how long an actor may take to end its process before it is killed, which its guard outlives."""


class Post:
    """The actor: keeps one replica, on its node's own address unless that is nobody's business but this machine's."""

    def __init__(self, spec: ServerSpec, number: int, logs: Path, run: str, loopback: bool, patience: Patience) -> None:
        host = LOOPBACK if loopback else str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call] # Ray's
        self._scratch = None if logs.is_dir() else Path(tempfile.mkdtemp(prefix=f"raysearch-{run}-"))
        self._replica = Replica(spec, number, self._scratch or logs, host, run, patience=patience)

    def look(self) -> Standing:
        return self._replica.look()

    def close(self, drain_s: float) -> None:
        self._replica.close(drain_s)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


@dataclass(slots=True)
class Posted:
    """Keeps a replica through its actor; see `raysearch.served.standing.Keeper`. ``run`` names the actors."""

    spec: ServerSpec
    number: int
    logs: Path
    run: str
    loopback: bool
    patience: Patience = Patience()
    _actor: Any = field(default=None, init=False)
    _asked: Any = field(default=None, init=False)
    """The reference of an answer that is still to come."""
    _asked_at: float = field(default=0.0, init=False)
    _there: bool = field(default=False, init=False)
    """Whether the actor has ever answered: until then Ray may still look for a place."""
    _hired: int = field(default=0, init=False)
    _losses: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)
    """When the actor was hired."""
    _due: float = field(default=0.0, init=False)
    _standing: Standing = field(default=Standing(Phase.STARTING, reason="not started yet"), init=False)

    def look(self) -> Standing:
        now = time.monotonic()
        if self._standing.phase in {Phase.FAILED, Phase.STOPPED}:
            return self._standing
        if self._actor is None:
            if now < self._due:
                return self._standing
            self._hire(now)
        if self._asked is None:
            self._asked, self._asked_at = self._actor.look.remote(), now
        answered, _ = ray.wait([self._asked], timeout=0)
        if answered:
            self._hear(now)
        elif self._there and now - self._asked_at > HUNG_S:
            self._lost(f"its actor has not answered for {HUNG_S:g} s", now)
        return self._standing

    def close(self, drain_s: float) -> None:
        actor, self._actor, self._asked = self._actor, None, None
        self._standing = Standing(Phase.STOPPED, reason="stopped")
        if actor is None or not ray.is_initialized():
            return
        try:
            if self._there:
                with suppress(ray.exceptions.RayError):
                    ray.get(actor.close.remote(drain_s), timeout=drain_s + self.patience.grace_s + END_S)
        finally:
            ray.kill(actor)

    def _hire(self, now: float) -> None:
        self._hired += 1
        spec = self.spec
        self._actor = (
            ray.remote(Post)
            .options(
                name=f"{self.run}-server-{spec.name}-{self.number}-{self._hired}-{os.getpid()}",
                num_cpus=spec.cpus,
                num_gpus=spec.gpus or None,
                memory=spec.memory_mb * 10**6 or None,
                resources=dict(spec.resources) or None,
                max_restarts=0,
                max_task_retries=0,
            )
            .remote(spec, self.number, self.logs, self.run, self.loopback, self.patience)
        )
        self._there, self._since = False, now
        asks = ", ".join(f"{amount:g} {name}" for name, amount in spec.demand().items()) or "nothing"
        self._standing = Standing(Phase.STARTING, restarts=self._losses, reason=f"Ray looks for a node with {asks}")

    def _hear(self, now: float) -> None:
        try:
            found: Standing = ray.get(self._asked)
        except ray.exceptions.RayError as error:
            self._lost(f"its actor is gone: {reason(error)}", now)
            return
        self._asked, self._there = None, True
        if found.phase is Phase.READY and now - self._since > self.patience.settled_s:
            self._losses = 0
        self._standing = replace(found, restarts=found.restarts + self._losses)

    def _lost(self, why: str, now: float) -> None:
        ray.kill(self._actor)
        self._actor = self._asked = None
        self._losses += 1
        again = self._losses <= self.spec.restarts_max
        wait_s = min(self.patience.longest_s, self.patience.first_s * 2.0 ** min(self._losses - 1, 32))
        self._due = now + wait_s
        self._standing = Standing(Phase.WAITING if again else Phase.FAILED, restarts=self._losses, reason=why)


def posts(run: str, logs: Path, *, loopback: bool) -> Callable[[ServerSpec, int], Keeper]:
    """Finds keepers for replicas, on the Ray that this process is connected to."""

    def hire(spec: ServerSpec, number: int) -> Keeper:
        if spec.url:  # nothing to place
            return Replica(spec, number, logs, run=run)
        return Posted(spec, number, logs, run, loopback)

    return hire
