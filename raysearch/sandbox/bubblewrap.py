"""bubblewrap: own namespaces, a read-only system, nothing of the machine's people in sight.

The guard runs inside, as process 1 of the sandbox's pid namespace, so that one process both keeps the leash and
sees all that the command leaves behind. Two things, independent of one another, end the sandbox with its owner:
the leash, and the kernel's parent-death signal (``--die-with-parent``) to bubblewrap and from it to process 1.

Started by a plain user, the command has that user's number in a user namespace of its own, without rights in it
and unable to make further ones. Started by root, bubblewrap needs no user namespace; the guard keeps the rights to
change user and to kill, and the command becomes a user that exists nowhere else on the machine, so that files of
root and of everybody else are protected by the kernel's oldest check beside the mounts. The folders that it may
write are given to that user for the time of the command and taken back afterwards.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from raysearch.errors import SandboxFault, require
from raysearch.process import Confinement, run_guarded
from raysearch.process.guarded import GUARD
from raysearch.protocols import Completed
from raysearch.sandbox import view
from raysearch.sandbox.cgroups import Home
from raysearch.sandbox.interface import Mount
from raysearch.sandbox.limits import MB, enforced
from raysearch.target import SandboxLimits

GUARD_INSIDE = "/run/raysearch/guard.py"
PRIVATE = "/tmp"
ROOT_RIGHTS = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SYS_ADMIN": 21}
FREE_USERS = 0x70000000
"""Start of the user numbers that systemd's assignment leaves unused (https://systemd.io/UIDS-GIDS/)."""
NOBODY = 65534


class Bubblewrap:
    """Runs commands in bubblewrap: ``executable`` is its path, ``home`` where control groups can be made."""

    name = "bubblewrap"

    def __init__(self, executable: str, *, run: str = "", home: Home | None = None) -> None:
        self._executable = executable
        self._run = run
        self._home = home
        self._uid = unprivileged_user()
        """The user to become; None: started by a plain user, who is unprivileged already."""
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
    ) -> Completed:
        below = (cwd.source.is_relative_to(mount.source) for mount in (*readable, *writable))
        require(any(below), "the working directory is at or below one of the mounts")
        sources = [mount.source for mount in writable]
        if self._uid is not None:
            for mount in readable:
                _require_readable(mount.source)
        with ExitStack() as stack:
            enforcement = stack.enter_context(enforced(limits, self._home, writable=sources, own_count=True))
            if self._uid is not None:
                stack.enter_context(lent(sources, self._uid))
            arguments, fds = self._arguments(readable, writable, limits)
            for number in fds:
                stack.callback(os.close, number)
            return run_guarded(
                command,
                cwd=cwd.inside,
                env={**env, "HOME": PRIVATE, "TMPDIR": PRIVATE},
                timeout_s=timeout_s,
                grace_s=0.0,
                output_kb=limits.output_kb,
                cancel=cancel,
                run=self._run,
                confinement=Confinement(
                    enclosure=(self._executable, *arguments, "--"),
                    guard=GUARD_INSIDE,
                    rlimits=enforcement.rlimits,
                    cgroup_fds=enforcement.cgroup_fds,
                    uid=self._uid,
                    fds=fds,
                ),
                watch=enforcement.watch,
            )

    def _arguments(
        self, readable: Sequence[Mount], writable: Sequence[Mount], limits: SandboxLimits
    ) -> tuple[list[str], tuple[int, ...]]:
        """bubblewrap's arguments, and the open files that they name."""
        words = self._namespaces(limits)
        words += view.system_arguments(limits.network)
        words += ["--proc", "/proc", "--dev", "/dev"]
        words += self._private_folder("/dev/shm", limits) + self._private_folder(PRIVATE, limits)
        binds = [*self._interpreter, Mount(GUARD, GUARD_INSIDE), *readable, *writable]
        for folder in view.parents(mount.inside for mount in binds):
            words += ["--perms", "0755", "--dir", folder]
        for mount in sorted(binds, key=lambda mount: mount.inside.count("/")):
            words += ["--bind" if mount in writable else "--ro-bind", str(mount.source), mount.inside]
        fds = []
        user = self._uid if self._uid is not None else os.getuid() or NOBODY
        group = self._uid if self._uid is not None else os.getgid() or NOBODY
        for place, content in view.stubs(user, group).items():
            fds.append(_readable_fd(content))
            words += ["--perms", "0644", "--ro-bind-data", str(fds[-1]), place]
        words += ["--remount-ro", "/dev", "--remount-ro", "/"]
        return words, tuple(fds)

    def _namespaces(self, limits: SandboxLimits) -> list[str]:
        words = ["--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"]
        words += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "sandbox"]
        if not limits.network:
            words.append("--unshare-net")
        if self._uid is not None:
            return [*words, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_KILL"]
        words.append("--unshare-user")
        if os.getuid() == 0:
            words += ["--uid", str(NOBODY), "--gid", str(NOBODY)]
        if "--disable-userns" in self._options:
            words.append("--disable-userns")
        return words

    def _private_folder(self, place: str, limits: SandboxLimits) -> list[str]:
        size = ["--size", str(min(limits.file_mb, limits.memory_mb) * MB)] if "--size" in self._options else []
        return ["--perms", "1777", *size, "--tmpfs", place]


def unprivileged_user() -> int | None:
    """The user that commands become when this process is root and may change user; None otherwise.

    It differs between processes of raysearch, so that a limit on a user's processes is one on a command's.
    """
    if os.geteuid() != 0:
        return None
    try:
        status = Path("/proc/self/status").read_text()
        held = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
        ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except (OSError, StopIteration, ValueError):
        return None
    if not all(held >> number & 1 for number in ROOT_RIGHTS.values()):
        return None
    for user in (FREE_USERS + os.getpid(), NOBODY):
        if any(first <= user < first + count for first, _, count in ranges):
            return user
    return None


@contextmanager
def lent(folders: Sequence[Path], uid: int) -> Iterator[None]:
    """Give what is in ``folders`` to the user ``uid``, and take it back at the end."""
    try:
        for folder in folders:
            _give(folder, uid, uid)
        yield
    finally:
        for folder in folders:
            _give(folder, os.geteuid(), os.getegid())


def _give(folder: Path, uid: int, gid: int) -> None:
    # Links themselves, never what they point to: a candidate may have made them.
    try:
        os.chown(folder, uid, gid, follow_symlinks=False)
        for place, folders, files in os.walk(folder):
            for name in (*folders, *files):
                os.chown(f"{place}/{name}", uid, gid, follow_symlinks=False)
    except OSError as error:
        raise SandboxFault(f"cannot give {folder} to user {uid}: {error}") from error


def _require_readable(source: Path) -> None:
    mode = source.stat().st_mode if source.exists() else 0o777
    needed = 0o005 if source.is_dir() else 0o004
    if mode & needed != needed:
        raise SandboxFault(
            f"{source} can be read by root only, but candidates run as nobody in particular: "
            f"chmod -R o+rX {source} (and start raysearch under umask 022)"
        )


def _readable_fd(content: bytes) -> int:
    """An open pipe that holds ``content`` (a few hundred bytes)."""
    read_end, write_end = os.pipe()
    os.write(write_end, content)
    os.close(write_end)
    return read_end
