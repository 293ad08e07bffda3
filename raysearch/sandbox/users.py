"""Where raysearch runs as root, commands run as users that exist nowhere else on the machine.

Files of root and of everybody else are then protected by the kernel's oldest check, beside all others. The folders
that a command may write are given to its user for the time of the command and taken back afterwards.
"""

from __future__ import annotations

import itertools
import os
import stat
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from raysearch.errors import SandboxFault

SWITCH = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7}
"""What is needed to run a command as another user: capability to its number."""
FREE_USERS = 0x70000000
"""Start of the user numbers that systemd's assignment leaves unused (https://systemd.io/UIDS-GIDS/)."""
BLOCK = 64
"""How many of them a process of raysearch takes: as many as keep every process (22 bits) apart."""
NOBODY = 65534


class Users:
    """Numbers for commands, one after the other, so that no command is the one before it."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers
        self._turn = itertools.count()

    def next(self) -> int:
        return self.numbers[next(self._turn) % len(self.numbers)]


def find_users(rights: Collection[int] = tuple(SWITCH.values())) -> Users | None:
    """Users for the commands of this process; None where it is not root, or lacks one of these capabilities.

    They differ between processes of raysearch, so that a limit on a user's processes is one on a command's.
    """
    if os.geteuid() != 0:
        return None
    try:
        status = Path("/proc/self/status").read_text()
        held = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
        ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except (OSError, StopIteration, ValueError):
        return None
    if not all(held >> number & 1 for number in rights):
        return None
    first = FREE_USERS + (os.getpid() * BLOCK & 0x0FFFFFFF)
    for numbers in (range(first, first + BLOCK), range(NOBODY, NOBODY + 1)):
        if any(low <= numbers[0] and numbers[-1] < low + count for low, _, count in ranges):
            return Users(numbers)
    return None


@contextmanager
def lent(folders: Sequence[Path], uid: int) -> Iterator[None]:
    """Give what is in ``folders`` to the user ``uid``, and take it back at the end. Raises SandboxFault."""
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
        with os.scandir(folder) as entries:
            if next(entries, None) is None:
                return
        for _, folders, files, place in os.fwalk(folder):
            for name in (*folders, *files):
                os.chown(name, uid, gid, dir_fd=place, follow_symlinks=False)
    except OSError as error:
        raise SandboxFault(f"cannot give {folder} to user {uid}: {error}") from error


def require_readable(source: Path) -> None:
    """Raise SandboxFault where another user than root could not read ``source`` itself."""
    try:
        mode = os.stat(source).st_mode  # noqa: PTH116 - asked for each mount of each command
    except OSError:
        return  # whoever mounts it will say so
    needed = 0o005 if stat.S_ISDIR(mode) else 0o004
    if mode & needed != needed:
        raise SandboxFault(
            f"{source} can be read by root only, but candidates run as nobody in particular: "
            f"chmod -R o+rX {source} (and start raysearch under umask 022)"
        )


def require_way(source: Path) -> None:
    """Raise SandboxFault where another user could not get to ``source``.

    The way through our own folders below the system's temporary one, where workspaces lie, is opened: their names
    stay hidden.
    """
    ours = Path(tempfile.gettempdir())
    for folder in source.parents:
        found = folder.stat()
        if found.st_mode & 0o001:
            continue
        if found.st_uid != os.geteuid() or ours not in folder.parents:
            raise SandboxFault(f"{folder} lets nobody but its owner through to {source}")
        folder.chmod(found.st_mode | 0o001)
