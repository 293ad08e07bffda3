"""The limits of one command: control groups where there are any, resource limits beside or instead."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from raysearch.errors import SandboxFault
from raysearch.sandbox.cgroups import Group, Home
from raysearch.sandbox.stored import stored_bytes, untangle
from raysearch.target import SandboxLimits

MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What a guard must lay on its command, and who watches it."""

    cgroup_fds: tuple[int, ...]
    rlimits: tuple[tuple[int, int], ...]
    watch: Watch


class Watch:
    """Says which limit a command has reached. Called a few times a second, and once after the command ended."""

    def __init__(self, group: Group | None, limits: SandboxLimits, folders: Sequence[Path]) -> None:
        self._group = group
        self._folders = folders
        self._files_bytes = limits.file_mb * MB + sum(map(stored_bytes, folders))
        self._look_again_s = time.monotonic() + 1.0
        self._reached = ""

    def __call__(self, ended: bool) -> str:
        if not self._reached and self._group is not None:
            self._reached = self._group.reached()
        now_s = time.monotonic()
        if not self._reached and (ended or now_s >= self._look_again_s):
            if sum(map(stored_bytes, self._folders)) > self._files_bytes:
                self._reached = "files"
            # Looking through many files must not become the main work.
            self._look_again_s = time.monotonic() + max(1.0, 20 * (time.monotonic() - now_s))
        return self._reached


@contextmanager
def enforced(
    limits: SandboxLimits, home: Home | None, *, writable: Sequence[Path], own_count: bool
) -> Iterator[Enforcement]:
    """Limits for one command; what they needed is removed at the end, and what it wrote can be removed then.

    ``home``: where control groups can be made, if anywhere. ``own_count``: whether the kernel counts the
    command's processes apart from everybody else's (a user, or a user namespace, of its own), so that a resource
    limit on their number makes sense. Raises SandboxFault.
    """
    rlimits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits.file_mb * MB),
        (resource.RLIMIT_CPU, limits.cpu_s),
    ]
    if home is None:
        # Address space, not memory, and of each process: a rough second best.
        rlimits.append((resource.RLIMIT_AS, limits.memory_mb * MB))
        if own_count:
            rlimits.append((resource.RLIMIT_NPROC, limits.processes))
    with _grouped(limits, home) as (group, cgroup_fds):
        try:
            yield Enforcement(cgroup_fds, tuple(rlimits), Watch(group, limits, writable))
        finally:
            for folder in writable:
                untangle(folder)


@contextmanager
def _grouped(limits: SandboxLimits, home: Home | None) -> Iterator[tuple[Group | None, tuple[int, ...]]]:
    """A control group, and the open files by which to join it."""
    if home is None:
        yield None, ()
        return
    try:
        group = home.create(limits)
    except OSError as error:
        raise SandboxFault(f"cannot make a control group: {error}") from error
    opened: list[int] = []
    try:
        opened = group.open()
        yield group, tuple(opened)
    finally:
        for number in opened:
            os.close(number)
        group.remove()
