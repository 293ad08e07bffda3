"""Commands that need not start Python and import the same modules each time: forked, and confined all the same.

A warm sandbox is one in which a Python script is forked from a process that has imported what a target declares
(`raysearch.process.zygote` says how, and what a fork inherits). Whatever cannot be forked with the same result runs
as the sandbox itself would run it: slower, never weaker. Proved equal by ``tests/test_warm.py``, which holds the
same programs against both.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from raysearch.errors import SandboxFault
from raysearch.process import GuardedProcess, Hold, run_guarded
from raysearch.process.forked import Refused, Room, Zygote
from raysearch.process.guarded import Confinement
from raysearch.process.hold import NOTHING
from raysearch.protocols import Completed
from raysearch.sandbox import seccomp
from raysearch.sandbox.bubblewrap import Bubblewrap
from raysearch.sandbox.interface import Mount, Sandbox
from raysearch.sandbox.landlock import Landlock
from raysearch.sandbox.nursery import BubblewrapNursery, LandlockNursery, Nursery, Unfit
from raysearch.target import SandboxLimits

ZYGOTES_MAX = 4
"""Kinds of commands (environment, mount points) that are kept warm at once."""
FENCES_MAX = 48
"""A message to a zygote has room for 64 files."""
DEATH_S = 2.0
"""How long after a command could not be forked the zygote's death may become known."""
SAME_IN_A_FORK = {"PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONIOENCODING"}
"""Variables for Python itself that act at its start and mean the same to what is forked later."""

log = logging.getLogger(__name__)

Kind = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]
"""A nursery's layout, and the environment in its order."""


def warmed(sandbox: Sandbox, modules: Sequence[str], *, readable: Sequence[Path], writable: Sequence[Path]) -> Warm:
    """``sandbox``, with ``modules`` imported beforehand for Python scripts. A context manager.

    ``readable``, ``writable``: folders at or below which the mounts of commands will lie (readable ones may lie in
    writable folders). Raises SandboxFault where a fork would not be as well confined as a fresh process.
    """
    if isinstance(sandbox, Bubblewrap):
        if not seccomp.supported():
            raise SandboxFault("there is no seccomp filter for this machine, which alone keeps forks from namespaces")
        return Warm(sandbox, BubblewrapNursery(sandbox, tuple(readable), tuple(writable)), modules)
    if isinstance(sandbox, Landlock):
        return Warm(sandbox, LandlockNursery(sandbox, tuple(readable)), modules)
    raise SandboxFault(f"in the sandbox {sandbox.name!r} a program could reach into the process that others come from")


class Warm:
    """A sandbox that forks what it can from zygotes, one for each kind of command that it meets."""

    def __init__(self, sandbox: Bubblewrap | Landlock, nursery: Nursery, modules: Sequence[str]) -> None:
        self.name = sandbox.name
        self._sandbox = sandbox
        self._nursery = nursery
        self._modules = tuple(modules)
        self._zygotes: dict[Kind, Zygote | None] = {}
        self._lock = threading.Lock()
        self._starter = ThreadPoolExecutor(1)
        """A thread that lives as long as the zygotes: an enclosure may end with the thread that started it."""

    @property
    def cold(self) -> Bubblewrap | Landlock:
        """The sandbox that this one makes quicker."""
        return self._sandbox

    def inside(self, mount: Mount) -> str:
        return self._sandbox.inside(mount)

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
        env = {**env, **hold.environment}
        with ExitStack() as stack:
            try:
                if len(hold.fences) > FENCES_MAX:
                    raise Unfit(f"{len(hold.fences)} devices are more than a zygote takes")
                script = self._script(command, cwd, [*readable, *writable])
                kind = self._kind(readable, writable, env, limits)
                _require_unshadowed(script, self._zygote(kind))
                room = self._nursery.room(readable, writable, limits)
                confinement, watch = stack.enter_context(self._nursery.laid(readable, writable, limits))
            except Unfit as reason:
                log.debug("cold: %s", reason)
                return self._sandbox.run(
                    command,
                    cwd=cwd,
                    readable=readable,
                    writable=writable,
                    env=env,
                    limits=limits,
                    timeout_s=timeout_s,
                    cancel=cancel,
                    hold=hold,
                )
            return run_guarded(
                command[1:],
                cwd=self.inside(cwd),
                env=env,
                timeout_s=timeout_s,
                grace_s=0.0,
                output_kb=limits.output_kb,
                cancel=cancel,
                run=self._sandbox.run_name,
                confinement=replace(confinement, hold=hold),
                watch=watch,
                start=partial(self._forked, kind, room, self._nursery.known(script)),
            )

    def _script(self, command: Sequence[str], cwd: Mount, mounts: Sequence[Mount]) -> Path:
        """The script that the command runs, on this machine. Raises Unfit unless it is one."""
        if len(command) < 2 or command[0] != sys.executable or not command[1].endswith(".py"):
            raise Unfit("not a Python script")
        word = command[1]
        if not word.startswith("/"):
            script = cwd.source / word
        else:
            above = [mount for mount in mounts if Path(word).is_relative_to(self.inside(mount))]
            if not above:
                raise Unfit(f"{word} is in no mount")
            nearest = max(above, key=lambda mount: len(mount.inside))
            script = nearest.source / Path(word).relative_to(self.inside(nearest))
        if not script.is_file():
            raise Unfit(f"{script} is no file")
        return script

    def _kind(
        self, readable: Sequence[Mount], writable: Sequence[Mount], env: Mapping[str, str], limits: SandboxLimits
    ) -> Kind:
        strange = sorted(name for name in env if name.startswith("PYTHON") and name not in SAME_IN_A_FORK)
        if strange:
            raise Unfit(f"{strange[0]} acts when Python starts")
        home = self._nursery.home
        variables = {**env, "HOME": home, "TMPDIR": home}
        return self._nursery.layout(readable, writable, limits), tuple(variables.items())

    def _zygote(self, kind: Kind) -> Zygote:
        """The zygote for commands of that kind, started at the first. Raises Unfit and SandboxFault."""
        with self._lock:
            if kind in self._zygotes:
                zygote = self._zygotes[kind]
                if zygote is None:
                    raise Unfit("refused")
                if zygote.alive:
                    return zygote
                self._zygotes.pop(kind)
                zygote.close()
            if len(self._zygotes) >= ZYGOTES_MAX:
                raise Unfit("too many kinds of commands")
            self._zygotes[kind] = self._starter.submit(self._opened, kind).result()
        return self._zygote(kind)

    def _opened(self, kind: Kind) -> Zygote | None:
        layout, env = kind
        with self._nursery.cradle(layout) as (script, confinement):
            try:
                return Zygote.open(
                    self._modules, script=script, env=dict(env), run=self._sandbox.run_name, confinement=confinement
                )
            except Refused as reason:
                log.warning("evaluators are not kept warm: %s", reason)
                return None

    def _forked(
        self,
        kind: Kind,
        room: Room | None,
        known: str,
        argv: Sequence[str],
        *,
        cwd: str | Path,
        env: Mapping[str, str],  # noqa: ARG002 - the zygote has it already
        stdin: int,
        stdout: int,
        stderr: int,
        pass_fds: Sequence[int],  # noqa: ARG002 - nothing is passed on
        grace_s: float,
        run: str,
        confinement: Confinement,
    ) -> GuardedProcess:
        """As `GuardedProcess.start`; where the zygote has just died, from a new one."""

        def start(zygote: Zygote) -> GuardedProcess:
            return zygote.start(
                argv,
                cwd=cwd,
                streams=(stdin, stdout, stderr),
                grace_s=grace_s,
                run=run,
                confinement=confinement,
                room=room,
                known=known,
            )

        first = self._zygote(kind)
        try:
            return start(first)
        except SandboxFault:
            if not first.ends_within(DEATH_S):
                raise
        return start(self._zygote(kind))

    def close(self) -> None:
        """End the zygotes, and whatever they forked."""
        with self._lock:
            for zygote in self._zygotes.values():
                if zygote is not None:
                    zygote.close()
            self._zygotes.clear()
        self._starter.shutdown()
        self._nursery.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _require_unshadowed(script: Path, zygote: Zygote) -> None:
    """A module beside the script takes precedence over an installed one of its name, unless that is there already."""
    folder = script.resolve().parent if script.is_symlink() else script.parent
    beside = {name.partition(".")[0] for name in os.listdir(folder)}  # noqa: PTH208 - twice as fast
    if shadowed := sorted(beside & zygote.loaded):
        raise Unfit(f"{shadowed[0]} lies beside the script, and another is imported already")
