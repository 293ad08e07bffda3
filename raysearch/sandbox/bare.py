"""No sandbox: limits and a guard, but the command sees and may change whatever this user may."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from raysearch.process import Confinement, Hold, run_guarded
from raysearch.process.hold import NOTHING
from raysearch.protocols import Completed
from raysearch.sandbox.cgroups import Home
from raysearch.sandbox.interface import Mount
from raysearch.sandbox.limits import enforced
from raysearch.sandbox.owners import private_folder
from raysearch.target import SandboxLimits


class Bare:
    """Runs commands on the bare machine: read-only mounts are not read-only, and the network is there."""

    name = "none"

    def __init__(self, *, run: str = "", home: Home | None = None) -> None:
        self.run_name = run
        self.groups = home

    def inside(self, mount: Mount) -> str:
        return str(mount.source)

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: Mount,
        readable: Sequence[Mount] = (),  # noqa: ARG002 - everything is
        writable: Sequence[Mount] = (),
        env: Mapping[str, str],
        limits: SandboxLimits,
        timeout_s: float,
        cancel: threading.Event | None = None,
        hold: Hold = NOTHING,
    ) -> Completed:
        sources = [mount.source for mount in writable]
        with (
            private_folder() as private,
            enforced(limits, self.groups, writable=sources, own_count=False) as enforcement,
        ):
            return run_guarded(
                command,
                cwd=cwd.source,
                env={**env, **hold.environment, "HOME": str(private), "TMPDIR": str(private)},
                timeout_s=timeout_s,
                grace_s=0.0,
                output_kb=limits.output_kb,
                cancel=cancel,
                run=self.run_name,
                confinement=Confinement(rlimits=enforcement.rlimits, cgroup_fds=enforcement.cgroup_fds, hold=hold),
                watch=enforcement.watch,
            )
