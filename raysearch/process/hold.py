"""What a command has to itself while it runs, and what it is known to have spent."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from raysearch.process import guard

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PARENT, SPENT = 1, slice(11, 15)
"""In /proc/PID/stat, after the name: the parent, and user and system time, of itself and of buried children."""


class Spending:
    """Processor time of commands: those that ended exactly, those under way to a tick (10 ms) a process.

    Threads may share one.
    """

    def __init__(self) -> None:
        self._ended_s = 0.0
        self._under_way: dict[int, float] = {}
        """What the tree below a process had spent before its command began."""
        self._commands: Counter[int] = Counter()
        """How many run below a process: several, where they are forks of one zygote."""
        self._clocks: dict[int, float] = {}
        """Clocks of threads that count, and what they showed at first."""
        self._lock = threading.Lock()

    def began(self, root: int) -> None:
        """A command runs below process ``root`` (0: unknown; then it counts when it ends)."""
        if root:
            with self._lock:
                self._commands[root] += 1
                if self._commands[root] == 1:
                    self._under_way[root] = spent_s(root)

    def ended(self, root: int, cpu_s: float) -> None:
        """The command below ``root`` and everything that it started are gone."""
        with self._lock:
            self._commands[root] -= 1
            if self._commands[root] <= 0:
                self._under_way.pop(root, None)
                del self._commands[root]
            self._ended_s += cpu_s

    @contextmanager
    def thread(self) -> Iterator[None]:
        """Count the calling thread itself, too."""
        clock, began_s = _own_clock(), time.thread_time()
        if clock is not None:
            with self._lock:
                self._clocks[clock] = began_s
        try:
            yield
        finally:
            with self._lock:
                self._clocks.pop(clock or 0, None)
                self._ended_s += time.thread_time() - began_s

    @property
    def cpu_s(self) -> float:
        """All of it so far, in seconds."""
        with self._lock:
            under_way = sum(max(0.0, spent_s(root) - base) for root, base in self._under_way.items())
            threads = sum(time.clock_gettime(clock) - base for clock, base in self._clocks.items())
            return self._ended_s + under_way + threads

    @property
    def roots(self) -> tuple[int, ...]:
        """Processes at the top of what is under way."""
        with self._lock:
            return tuple(self._under_way)


@dataclass(frozen=True, slots=True)
class Hold:
    """Devices that commands have to themselves.

    ``cpus``: logical processors that they are kept to; none: wherever their owner may run. ``fences``: open files with
    locks, which a guard keeps open until its command's whole tree is gone, and the command never sees. ``environment``
    is set for the commands, over their own. ``spending`` hears what they used.
    """

    cpus: tuple[int, ...] = ()
    fences: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    spending: Spending | None = None


NOTHING = Hold()


def spent_s(root: int) -> float:
    """Processor time of a process, what it buried, and all that lives below it; 0 where there is no /proc."""
    return sum(map(_ticks, {root, *guard.tree(root)})) / TICKS_PER_S


def parent_of(pid: int) -> int:
    """The parent of a process; 0 if that cannot be known."""
    fields = stat_fields(pid)
    return int(fields[PARENT]) if fields else 0


def stat_fields(pid: int) -> list[str]:
    """What /proc/PID/stat says after the name of the process, the state first; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _ticks(pid: int) -> int:
    fields: Iterable[str] = stat_fields(pid)[SPENT]
    return sum(map(int, fields))


def _own_clock() -> int | None:
    """The clock of the calling thread's processor time, as other threads can read it; macOS has none."""
    return time.pthread_getcpuclockid(threading.get_ident()) if sys.platform == "linux" else None
