"""What every sandbox offers: run a command that sees some folders, may change some, and stays in its limits."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from raysearch.process import Hold
from raysearch.process.hold import NOTHING
from raysearch.protocols import Completed
from raysearch.target import SandboxLimits


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of this machine, and the absolute path at which a command should see it.

    ``inside`` may lie in another mount only where that has a folder of this name. Commands of root run as somebody
    else: what they should read must be readable by everybody (umask 022); what they may write is lent to them.
    """

    source: Path
    inside: str


class Sandbox(Protocol):
    """Runs commands of programs that nobody has read.

    One object serves many threads. A command sees the system's programs and raysearch's own interpreter
    (``sys.executable``, at the same path), beside its mounts.
    """

    @property
    def name(self) -> str: ...

    def inside(self, mount: Mount) -> str:
        """The path at which a command sees ``mount``; a sandbox that cannot move folders answers with its source."""
        ...

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
        """Run ``command`` in ``cwd`` (one of the mounts); return when all that it started is gone.

        The environment is ``env`` with HOME and TMPDIR set to a private folder that is gone afterwards. ``hold`` is
        what the command has to itself.
        ``ended_by`` of the answer is ``time``, ``memory``, ``processes``, ``cpu``, ``output``, ``files`` (too much
        written into the writable mounts), ``cancelled``, or nothing; a limit that was reached is named whether or
        not the command coped with it. Raises SandboxFault if the sandbox cannot be set up.
        """
        ...
