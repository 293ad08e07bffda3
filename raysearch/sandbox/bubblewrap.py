"""bubblewrap: own namespaces, a read-only system, nothing of the machine's people in sight.

The guard runs inside, as process 1 of the sandbox's pid namespace, so that one process both keeps the leash and
sees all that the command leaves behind. Two things, independent of one another, end the sandbox with its owner:
the leash, and the kernel's parent-death signal (``--die-with-parent``) to bubblewrap and from it to process 1.

Started by a plain user, the command has that user's number in a user namespace of its own, without rights in it.
Started by root, bubblewrap needs no user namespace; the guard keeps the rights to change user and to kill, and the
command becomes a user that exists nowhere else on the machine (`raysearch.sandbox.users`). Either way the command is
behind a seccomp filter, so that it can make no namespaces of its own and see little of the kernel.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from raysearch.errors import require
from raysearch.process import Confinement, Hold, run_guarded
from raysearch.process.guarded import BARS, GUARD
from raysearch.process.hold import NOTHING
from raysearch.protocols import Completed
from raysearch.sandbox import rulesets, seccomp, view
from raysearch.sandbox.cgroups import Home
from raysearch.sandbox.interface import Mount
from raysearch.sandbox.limits import MB, Watch, enforced
from raysearch.sandbox.users import NOBODY, SWITCH, find_users, lent, require_readable
from raysearch.target import SandboxLimits

GUARD_INSIDE, BARS_INSIDE = "/run/raysearch/guard.py", "/run/raysearch/bars.py"
PRIVATE = "/tmp"
ADMIN = {"CAP_SYS_ADMIN": 21}
"""What bubblewrap needs to do without a user namespace."""
GUARD_RIGHTS = ("CAP_SETUID", "CAP_SETGID", "CAP_KILL")


class Bubblewrap:
    """Runs commands in bubblewrap: ``executable`` is its path, ``home`` where control groups can be made."""

    name = "bubblewrap"

    def __init__(self, executable: str, *, run: str = "", home: Home | None = None) -> None:
        self.run_name = run
        self._executable = executable
        self._home = home
        self._users = find_users((*SWITCH.values(), *ADMIN.values()))
        """Whom to become; None: started by a plain user, who is unprivileged already."""
        self._interpreter = [Mount(folder, str(folder)) for folder in view.interpreter_folders()]
        self._options = subprocess.run([executable, "--help"], capture_output=True, text=True, check=False).stdout

    def inside(self, mount: Mount) -> str:
        return mount.inside

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
        below = (cwd.source.is_relative_to(mount.source) for mount in (*readable, *writable))
        require(any(below), "the working directory is at or below one of the mounts")
        with (
            self.laid(readable, writable, limits) as (confinement, watch),
            self.enclosure(readable, writable, limits) as (enclosure, fds),
        ):
            return run_guarded(
                command,
                cwd=cwd.inside,
                env={**env, **hold.environment, "HOME": PRIVATE, "TMPDIR": PRIVATE},
                timeout_s=timeout_s,
                grace_s=0.0,
                output_kb=limits.output_kb,
                cancel=cancel,
                run=self.run_name,
                confinement=replace(confinement, enclosure=enclosure, guard=GUARD_INSIDE, fds=fds, hold=hold),
                watch=watch,
            )

    @contextmanager
    def laid(
        self, readable: Sequence[Mount], writable: Sequence[Mount], limits: SandboxLimits
    ) -> Iterator[tuple[Confinement, Watch]]:
        """What a guard lays on one command, its enclosure apart, and who watches its limits. Raises SandboxFault."""
        sources = [mount.source for mount in writable]
        uid = None if self._users is None else self._users.next()
        with ExitStack() as stack:
            if uid is not None:
                for mount in readable:
                    require_readable(mount.source)
                stack.enter_context(lent(sources, uid))
            enforcement = stack.enter_context(enforced(limits, self._home, writable=sources, own_count=True))
            ruleset = None
            scoped = rulesets.abi() >= rulesets.SCOPED
            if limits.network and scoped:
                # The machine's network is also the machine's abstract Unix sockets.
                ruleset = stack.enter_context(rulesets.ruleset((), files=False, tcp=False))
            profile = seccomp.Profile(named_sockets=scoped or not limits.network)
            yield (
                Confinement(
                    rlimits=enforcement.rlimits,
                    cgroup_fds=enforcement.cgroup_fds,
                    uid=uid,
                    ruleset=ruleset,
                    filter=seccomp.program(profile) if seccomp.supported() else b"",
                ),
                enforcement.watch,
            )

    @contextmanager
    def enclosure(
        self,
        readable: Sequence[Mount],
        writable: Sequence[Mount],
        limits: SandboxLimits,
        *,
        more_rights: Sequence[str] = (),
        folders: Sequence[str] = (),
    ) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
        """The command prefix, and the open files that it names.

        ``more_rights``: capabilities of what runs inside, beside what a guard needs; ``folders``: empty ones to mount
        on later.
        """
        with ExitStack() as stack:
            words = self._namespaces(limits, more_rights)
            words += view.system_arguments(limits.network)
            words += ["--proc", "/proc", "--dev", "/dev"]
            words += self._private_folder("/dev/shm", limits) + self._private_folder(PRIVATE, limits)
            binds = [*self._interpreter, Mount(GUARD, GUARD_INSIDE), Mount(BARS, BARS_INSIDE), *readable, *writable]
            for folder in view.parents([*(mount.inside for mount in binds), *(f"{folder}/-" for folder in folders)]):
                words += ["--perms", "0755", "--dir", folder]
            for mount in sorted(binds, key=lambda mount: mount.inside.count("/")):
                words += ["--bind" if mount in writable else "--ro-bind", str(mount.source), mount.inside]
            fds = []
            for place, content in view.stubs(self._numbers()).items():
                fds.append(_readable_fd(content))
                stack.callback(os.close, fds[-1])
                words += ["--perms", "0644", "--ro-bind-data", str(fds[-1]), place]
            words += ["--remount-ro", "/dev", "--remount-ro", "/"]
            yield (self._executable, *words, "--"), tuple(fds)

    def _numbers(self) -> Sequence[tuple[int, int]]:
        """Users and groups that commands may have."""
        if self._users is not None:
            return [(number, number) for number in self._users.numbers]
        return [(os.getuid() or NOBODY, os.getgid() or NOBODY)]

    def _namespaces(self, limits: SandboxLimits, more_rights: Sequence[str]) -> list[str]:
        words = ["--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"]
        words += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "sandbox"]
        if not limits.network:
            words.append("--unshare-net")
        rights = [*more_rights, *(GUARD_RIGHTS if self._users is not None else ())]
        words += [word for right in rights for word in ("--cap-add", right)]
        if self._users is not None:
            return words
        words.append("--unshare-user")
        if os.getuid() == 0:
            words += ["--uid", str(NOBODY), "--gid", str(NOBODY)]
        if "--disable-userns" in self._options:
            words.append("--disable-userns")
        return words

    def _private_folder(self, place: str, limits: SandboxLimits) -> list[str]:
        size = ["--size", str(min(limits.file_mb, limits.memory_mb) * MB)] if "--size" in self._options else []
        return ["--perms", "1777", *size, "--tmpfs", place]


def _readable_fd(content: bytes) -> int:
    """An open pipe that holds ``content`` (a few kilobytes)."""
    read_end, write_end = os.pipe()
    os.write(write_end, content)
    os.close(write_end)
    return read_end
