"""Limits on a whole process tree, by Linux control groups, where this process may make some.

Version 1 (one folder a controller) and version 2 (one folder) are both in the field. Groups are made below the
group that this process is in, so that what holds for it (a job's own memory limit) holds for them too. A group's
name tells its owner, so that those of a dead owner can be found and removed.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from raysearch.sandbox.owners import is_dead, own_identity
from raysearch.target import SandboxLimits

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
PREFIX = "raysearch-"
FILE_BYTES_MAX = 1 << 16
DEPTH_MAX = 8
"""How far below the root groups of dead owners are looked for."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where groups can be made: one folder for version 2 (key ``""``), one a controller for version 1."""

    folders: Mapping[str, Path]

    @property
    def unified(self) -> bool:
        return "" in self.folders

    def create(self, limits: SandboxLimits) -> Group:
        """Make a group with these limits. Raises OSError if that is not possible."""
        name = f"{PREFIX}{own_identity(os.getpid())}-{secrets.token_hex(4)}"
        group = Group({key: folder / name for key, folder in self.folders.items()}, limits)
        try:
            group.make()
        except OSError:
            group.remove()
            raise
        return group


def find(root: Path = ROOT, own: Path = OWN) -> Home | None:
    """Where this process may make groups, tried once; None where it may not."""
    for home in _homes(root, own):
        try:
            home.create(SandboxLimits()).remove()
        except OSError:
            continue
        return home
    return None


def _homes(root: Path, own: Path) -> Iterator[Home]:
    """Places that look right, the best first."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return
    places = {name: path for _, names, path in lines for name in names.split(",")}
    if "memory" in places and "pids" in places:
        folders = {}
        for name in ("memory", "pids", "cpuacct"):
            here = root / name / places.get(name, "/").lstrip("/")
            folders[name] = here if here.is_dir() else root / name
        yield Home({name: folder for name, folder in folders.items() if folder.is_dir()})
        return
    here = root / places.get("", "/").lstrip("/")
    for folder in (here, *here.parents):
        if not folder.is_relative_to(root):
            return
        with suppress(OSError):
            if {"memory", "pids"} <= set((folder / "cgroup.subtree_control").read_text().split()):
                yield Home({"": folder})


class Group:
    """One control group, for one command; remove it after that has ended."""

    def __init__(self, folders: Mapping[str, Path], limits: SandboxLimits) -> None:
        self._folders = folders
        self._places = {key: os.fspath(folder) for key, folder in folders.items()}  # pathlib is slow, commands are many
        self._limits = limits

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(self._folders.values())

    def make(self) -> None:
        """Create the folders and write the limits. Raises OSError."""
        for folder in self.folders:
            folder.mkdir()
        memory_bytes = self._limits.memory_mb * 1024 * 1024
        if (unified := self._places.get("")) is not None:
            _write(f"{unified}/memory.max", memory_bytes)
            _write(f"{unified}/pids.max", self._limits.processes)
            with suppress(OSError):  # absent without swap accounting
                _write(f"{unified}/memory.swap.max", 0)
            return
        _write(f"{self._places['memory']}/memory.limit_in_bytes", memory_bytes)
        _write(f"{self._places['pids']}/pids.max", self._limits.processes)
        with suppress(OSError):
            _write(f"{self._places['memory']}/memory.memsw.limit_in_bytes", memory_bytes)

    def open(self) -> list[int]:
        """Open files: a process that writes ``0`` to each has joined. The caller closes them."""
        with ExitStack() as opened:
            numbers = []
            for place in self._places.values():
                numbers.append(number := os.open(f"{place}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
                opened.callback(os.close, number)
            opened.pop_all()
        return numbers

    def reached(self) -> str:
        """The limit that the tree has run into: ``memory``, ``processes``, ``cpu``, or nothing."""
        unified = self._places.get("")
        if unified is not None:
            killed = _field(f"{unified}/memory.events", "oom_kill")
            cpu_s = _field(f"{unified}/cpu.stat", "usage_usec") / 1e6
        else:
            killed = _field(f"{self._places['memory']}/memory.oom_control", "oom_kill")
            cpu_s = 0.0
            if (account := self._places.get("cpuacct")) is not None:
                cpu_s = _field(f"{account}/cpuacct.usage", "") / 1e9
        if killed:
            return "memory"
        pids = self._places["pids"] if unified is None else unified
        if _field(f"{pids}/pids.events", "max"):
            return "processes"
        return "cpu" if cpu_s > self._limits.cpu_s else ""

    def remove(self, *, limit_s: float = 5.0) -> None:
        """Kill whatever is still inside and remove the folders; gives up quietly after ``limit_s``."""
        end = time.monotonic() + limit_s
        for key in sorted(self._folders, key=lambda key: key not in ("", "pids")):  # where forks can be stopped
            _remove(self._folders[key], end)


def sweep(root: Path = ROOT) -> list[Path]:
    """Remove the groups of owners that are dead, with all that is in them; what was removed.

    Owners in another pid namespace cannot be judged from here: their groups are left alone.
    """
    removed = []
    for folder in _named(root, DEPTH_MAX):
        owner = folder.name.removeprefix(PREFIX).rpartition("-")[0]
        if is_dead(owner):
            _remove(folder, time.monotonic() + 5.0)
            removed.append(folder)
    return removed


def _named(folder: Path, depth: int) -> Iterator[Path]:
    try:
        children = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for child in children:
        if child.name.startswith(PREFIX):
            yield child
        elif depth:
            yield from _named(child, depth - 1)


def _remove(folder: Path, end: float) -> None:
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            _kill(str(folder))
            if time.monotonic() > end:
                return
            time.sleep(0.005)
        else:
            return


def _kill(folder: str) -> None:
    with suppress(OSError):
        _write(f"{folder}/pids.max", 0)  # nothing in there forks any more
    with suppress(OSError):
        _write(f"{folder}/cgroup.kill", 1)
    with suppress(OSError):
        for word in Path(folder, "cgroup.procs").read_text().split():
            if int(word) > 0:
                os.kill(int(word), signal.SIGKILL)


def _field(file: str, name: str) -> int:
    """The number after ``name`` in a file of ``name number`` lines (the only number for an empty name); 0 if absent."""
    try:
        number = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(number, FILE_BYTES_MAX).decode()
        finally:
            os.close(number)
        for line in text.splitlines():
            key, _, value = line.rpartition(" ")
            if key == name:
                return int(value)
    except (OSError, ValueError):
        pass
    return 0


def _write(file: str, value: int) -> None:
    # Never created: the files of a control group are there, or it is none.
    number = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(number, str(value).encode())
    finally:
        os.close(number)
