"""Names that tell whose something is, so that what a dead process of raysearch left can be found and removed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from raysearch.errors import SandboxFault
from raysearch.sandbox.stored import untangle

PRIVATE = "raysearch-private-"


@cache
def own_identity(pid: int) -> str:
    """Of this process, which has that number."""
    return identity(pid)


def identity(pid: int) -> str:
    """A name for a process that no later process of this machine gets: namespace, number, start time."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        started = "0"
    return f"{_pid_namespace()}-{pid}-{started}"


def is_dead(owner: str) -> bool:
    """Whether the process of that name is known to be gone. One in another pid namespace cannot be judged from here."""
    space, _, rest = owner.partition("-")
    pid = rest.partition("-")[0]
    return pid.isdigit() and space == _pid_namespace() and identity(int(pid)) != owner


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "0"


def make_private() -> Path:
    """A new empty folder in the system's temporary one, for `sweep_private` to find should this process die."""
    return Path(tempfile.mkdtemp(prefix=f"{PRIVATE}{own_identity(os.getpid())}-"))


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder for one command, gone afterwards."""
    folder = make_private()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_private() -> list[Path]:
    """Remove the private folders of dead owners; what was removed."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{PRIVATE}*"):
        owner = folder.name.removeprefix(PRIVATE).rpartition("-")[0]
        with suppress(OSError, SandboxFault):  # somebody else's, or being removed
            if is_dead(owner) and folder.lstat().st_uid == os.geteuid():
                untangle(folder)
                shutil.rmtree(folder)
                removed.append(folder)
    return removed
