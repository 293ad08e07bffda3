"""A sandbox whose commands have devices to themselves."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raysearch.process import Hold
from raysearch.process.hold import NOTHING
from raysearch.protocols import Completed
from raysearch.sandbox.interface import Mount, Sandbox
from raysearch.target import SandboxLimits


@dataclass(frozen=True, slots=True)
class Held:
    """``sandbox``, every command of which is given ``hold``, unless it is given another."""

    sandbox: Sandbox
    hold: Hold

    @property
    def name(self) -> str:
        return self.sandbox.name

    def inside(self, mount: Mount) -> str:
        return self.sandbox.inside(mount)

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: Mount,
        readable: Sequence[Mount] = (),
        writable: Sequence[Mount] = (),
        env: Mapping[str, str],
        limits: SandboxLimits,
        timeout_s: float,
        cancel: threading.Event | None = None,
        hold: Hold = NOTHING,
    ) -> Completed:
        return self.sandbox.run(
            command,
            cwd=cwd,
            readable=readable,
            writable=writable,
            env=env,
            limits=limits,
            timeout_s=timeout_s,
            cancel=cancel,
            hold=self.hold if hold is NOTHING else hold,
        )
