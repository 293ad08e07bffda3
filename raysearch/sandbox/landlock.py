"""Landlock, seccomp and limits: a sandbox for machines on which nobody may make namespaces.

Files and folders stay where they are; the kernel withholds all but the system's programs, the interpreter, the
readable mounts, and, for writing, the writable mounts and a private folder. There is no socket but a connected pair,
no shared memory or semaphore with a name, no look at other processes. The guard stays outside and collects what the
command leaves behind.

Weaker than bubblewrap in what it hides, not in what it protects: that a file exists, and its size, can be asked where
its path is known. Less works in it: nothing can listen on the loopback device, and what needs ``/dev/shm`` or ``/proc``
(``multiprocessing``'s locks and pools) fails.

Where raysearch is not root, or another user could not get to the interpreter and the mounts, a command has raysearch's
own user number, without rights. Landlock then guards neither modes, owners and times of that user's files nor, before
Linux 6.12, signals to its processes: so the guard changes modes and times for the command, below its writable mounts,
nobody changes owners or attributes, and an older kernel will not do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from raysearch.errors import SandboxFault, require
from raysearch.process import Confinement, Hold, run_guarded
from raysearch.process.hold import NOTHING
from raysearch.protocols import Completed
from raysearch.sandbox import rulesets, seccomp, view
from raysearch.sandbox.cgroups import Home
from raysearch.sandbox.interface import Mount
from raysearch.sandbox.limits import Watch, enforced
from raysearch.sandbox.owners import private_folder
from raysearch.sandbox.users import find_users, lent, require_readable, require_way
from raysearch.target import SandboxLimits

DEVICES = ("/dev/null", "/dev/zero", "/dev/full")
SOURCES = ("/dev/random", "/dev/urandom")
MACHINE = ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu", "/sys/devices/system/node")
"""What numeric libraries ask about processors and memory."""
ABI_OTHER_USER = 3
"""Below, a file that may only be read can be emptied."""
ABI_SAME_USER = rulesets.SCOPED


class Landlock:
    """Runs commands under Landlock. ``home``: where control groups can be made. Raises SandboxFault where it cannot."""

    name = "landlock"

    def __init__(self, *, run: str = "", home: Home | None = None) -> None:
        self.run_name = run
        self._home = home
        self._users = find_users()
        self._interpreter = view.interpreter_folders()
        _require_kernel(rulesets.abi(), other_user=self._user((), ()) is not None)
        self._system = [(place, rulesets.READ) for place in (*view.system_places(network=False), *self._interpreter)]
        self._system += [(Path(name), rulesets.DEVICE) for name in DEVICES if Path(name).exists()]
        self._system += [(Path(name), rulesets.READ_FILE) for name in SOURCES if Path(name).exists()]
        self._system += [
            (Path(name), rulesets.READ_FILE | rulesets.READ_DIR) for name in MACHINE if Path(name).exists()
        ]

    def inside(self, mount: Mount) -> str:
        return str(mount.source)

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
        with (
            private_folder() as private,
            self.laid(readable, writable, limits, private) as (confinement, watch),
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
                confinement=replace(confinement, hold=hold),
                watch=watch,
            )

    @contextmanager
    def laid(
        self, readable: Sequence[Mount], writable: Sequence[Mount], limits: SandboxLimits, private: Path
    ) -> Iterator[tuple[Confinement, Watch]]:
        """What a guard lays on one command, and who watches its limits; ``private`` is a folder of its own.

        Raises SandboxFault.
        """
        sources = [*(mount.source for mount in writable), private]
        uid = self._user([mount.source for mount in readable], sources)
        _require_kernel(rulesets.abi(), other_user=uid is not None)
        with ExitStack() as stack:
            counted = limits
            if uid is not None:
                stack.enter_context(lent(sources, uid))
            elif self._home is None:
                counted = replace(limits, processes=limits.processes + _threads_of_this_user())
            enforcement = stack.enter_context(enforced(counted, self._home, writable=sources, own_count=True))
            rules = [*self._system, *((mount.source, rulesets.READ) for mount in readable)]
            rules += [(source, rulesets.WRITE) for source in sources]
            if limits.network:
                rules += [(place, rulesets.READ) for place in view.settings(network=True)]
            ruleset = stack.enter_context(rulesets.ruleset(rules, tcp=not limits.network))
            profile = seccomp.Profile(network=limits.network, named_sockets=False, ipc=False, user=uid is not None)
            yield (
                Confinement(
                    rlimits=enforcement.rlimits,
                    cgroup_fds=enforcement.cgroup_fds,
                    uid=uid,
                    ruleset=ruleset,
                    filter=seccomp.program(profile),
                    writable=() if profile.user else tuple(map(str, sources)),
                ),
                enforcement.watch,
            )

    def _user(self, readable: Sequence[Path], writable: Sequence[Path]) -> int | None:
        """Whom to become; None: nobody else could get to these places and the interpreter, or we cannot change user."""
        if self._users is None:
            return None
        try:
            for place in (*self._interpreter, *readable, *writable):
                require_way(place)
            for place in (*self._interpreter, *readable):
                require_readable(place)
        except SandboxFault:
            return None
        return self._users.next()


def _require_kernel(version: int, *, other_user: bool) -> None:
    """Raise SandboxFault where the kernel cannot hold what this sandbox promises."""
    if not seccomp.supported():
        raise SandboxFault(f"there is no seccomp filter for {os.uname().machine}, only for x86_64 and aarch64")
    if not version:
        raise SandboxFault("this kernel has no Landlock (Linux 5.13 or later, with landlock among its `lsm=`)")
    needed = ABI_OTHER_USER if other_user else ABI_SAME_USER
    if version < needed:
        why = (
            "the kernel cannot withhold that files are emptied"
            if version < ABI_OTHER_USER
            else "the kernel cannot withhold signals to this user's other processes"
        )
        raise SandboxFault(
            f"Landlock here is of version {version}: {why}; Linux {rulesets.KERNEL[needed]} or later is needed"
        )
    require(rulesets.handled_rights(version) & rulesets.TRUNCATE != 0, "truncation can be withheld")


def _threads_of_this_user() -> int:
    """How many threads of this user there are: what a limit on its processes starts from."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid():
                total += sum(1 for _ in (folder / "task").iterdir())
    return total
