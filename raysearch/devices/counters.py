"""What Linux counts about processors: readings, cheap enough to be taken a few times a second.

Busy time is the wall clock less the time that the kernel says a processor was idle, and less interrupts. Idle time is
exact (to 10 ms) wherever the timer tick stops on idle processors, which is everywhere by now, while user and system
time are guessed from which task a tick finds. Time that a hypervisor took away counts as busy. See proc_stat(5).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from raysearch.devices.inventory import SYS_CPU
from raysearch.process import guard
from raysearch.process.hold import TICKS_PER_S, stat_fields

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL = 3, 4, 5, 6, 7
"""Columns of a processor's line in /proc/stat."""
FLAGS, UTIME, STIME, STARTED, PROCESSOR = 6, 11, 12, 19, 36
"""Fields of /proc/PID/stat after the name, the state being 0."""
KERNEL_THREAD = 0x00200000


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters of some processors, together, at one moment. Times are in seconds since the machine started."""

    at_s: float
    idle_s: float
    irq_s: float
    steal_s: float
    cpus: int

    def busy_since(self, earlier: Reading) -> float:
        """Seconds of processor time that went to tasks, or to other guests of the hypervisor."""
        wall_s = (self.at_s - earlier.at_s) * self.cpus
        return max(0.0, wall_s - (self.idle_s - earlier.idle_s) - (self.irq_s - earlier.irq_s))


def read(cpus: Iterable[int], proc: Path = PROC) -> Reading | None:
    """Counters of ``cpus`` now; None where there are none (macOS)."""
    return read_each([cpus], proc)[0]


def read_each(groups: Iterable[Iterable[int]], proc: Path = PROC) -> list[Reading | None]:
    """Counters of each of several groups of processors, at one moment."""
    times: dict[str, list[int]] = {}
    at_s = 0.0
    with suppress(OSError), (proc / "stat").open("rb") as file:
        before_s = time.monotonic()
        text = file.read()
        at_s = (before_s + time.monotonic()) / 2
        for line in text.decode("ascii", "replace").splitlines():
            name, _, rest = line.partition(" ")
            if not name.startswith("cpu"):
                break
            times[name] = [int(word) for word in rest.split()] + [0] * 8
    return [_summed([times[name] for cpu in cpus if (name := f"cpu{cpu}") in times], at_s) for cpus in groups]


def _summed(found: Sequence[Sequence[int]], at_s: float) -> Reading | None:
    if not found:
        return None
    idle = sum(times[IDLE] + times[IOWAIT] for times in found)
    irq = sum(times[IRQ] + times[SOFTIRQ] for times in found)
    steal = sum(times[STEAL] for times in found)
    return Reading(at_s, idle / TICKS_PER_S, irq / TICKS_PER_S, steal / TICKS_PER_S, len(found))


@dataclass(frozen=True, slots=True)
class Running:
    """A process, or a kernel thread, and what it has spent, wherever it ran."""

    pid: int
    name: str
    started: int
    cpu_s: float
    kernel: bool
    cpu: int
    """The processor that it ran on last."""


def running(proc: Path = PROC) -> dict[int, Running]:
    """All that /proc shows: in a container, only what is in there."""
    found = {}
    with suppress(OSError):
        for name in os.listdir(proc):  # noqa: PTH208 - thousands at times
            if name.isdigit() and (process := _running(int(name), proc)):
                found[process.pid] = process
    return found


def _running(pid: int, proc: Path) -> Running | None:
    try:
        with open(f"{proc}/{pid}/stat", "rb") as file:  # noqa: PTH123
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    if len(fields) <= PROCESSOR:
        return None
    return Running(
        pid=pid,
        name=head.partition("(")[2],
        started=int(fields[STARTED]),
        cpu_s=(int(fields[UTIME]) + int(fields[STIME])) / TICKS_PER_S,
        kernel=bool(int(fields[FLAGS]) & KERNEL_THREAD),
        cpu=int(fields[PROCESSOR]),
    )


def spent_between(
    before: Mapping[int, Running], after: Mapping[int, Running], cpus: frozenset[int]
) -> list[tuple[Running, float]]:
    """Who was last seen on ``cpus``, and what they spent (seconds), the greediest first."""
    found = []
    for pid, now in after.items():
        then = before.get(pid)
        spent_s = now.cpu_s - (then.cpu_s if then is not None and then.started == now.started else 0.0)
        if now.cpu in cpus and spent_s > 0.0:
            found.append((now, spent_s))
    return sorted(found, key=lambda item: -item[1])


class Astray:
    """Time that threads of commands were seen to spend on other processors than ``cpus``, by looking again and again.

    What lives for less than two looks is missed. Guards are off the cores, too, but spend nothing once they have begun.
    """

    def __init__(self, cpus: frozenset[int], proc: Path = PROC) -> None:
        self.seen_s = 0.0
        self._cpus = cpus
        self._proc = proc
        self._spent: dict[int, float] = {}

    def look(self, roots: Iterable[int]) -> None:
        """At everything below the processes ``roots``."""
        now = {}
        for pid in {pid for root in roots for pid in guard.tree(root)}:
            with suppress(OSError):
                for name in os.listdir(f"{self._proc}/{pid}/task"):  # noqa: PTH208
                    if thread := _running(int(name), self._proc / str(pid) / "task"):
                        now[thread.pid] = thread
        for number, thread in now.items():
            if thread.cpu not in self._cpus:
                self.seen_s += max(0.0, thread.cpu_s - self._spent.get(number, thread.cpu_s))
        self._spent = {number: thread.cpu_s for number, thread in now.items()}


def throttlings(cpus: Iterable[int], folder: Path = SYS_CPU) -> int | None:
    """How often these cores, or their packages, were slowed for heat; None where it is not counted."""
    counts = [
        _number(folder / f"cpu{cpu}" / "thermal_throttle" / name)
        for cpu in cpus
        for name in ("core_throttle_count", "package_throttle_count")
    ]
    known = [int(count) for count in counts if count is not None]
    return sum(known) if known else None


def mhz(cpus: Iterable[int], folder: Path = SYS_CPU) -> float | None:
    """Mean clock of these processors now; None where it cannot be read (most virtual machines)."""
    clocks = [_number(folder / f"cpu{cpu}" / "cpufreq" / "scaling_cur_freq") for cpu in cpus]
    known = [clock / 1000 for clock in clocks if clock is not None]
    return sum(known) / len(known) if known else None


def pressure_s(proc: Path = PROC) -> float | None:
    """Seconds in which somebody on the machine waited for a processor (PSI); None where it is not counted."""
    with suppress(OSError, ValueError, IndexError):
        line = (proc / "pressure" / "cpu").read_text().splitlines()[0]
        return int(line.rpartition("total=")[2]) / 1e6
    return None


def load(proc: Path = PROC) -> float | None:
    """Mean number of tasks that ran or waited in the last minute, on the whole machine."""
    with suppress(OSError, ValueError, IndexError):
        return float((proc / "loadavg").read_text().split()[0])
    with suppress(OSError):
        return os.getloadavg()[0]
    return None


def quota_s(root: Path = CGROUPS, own: Path = PROC / "self" / "cgroup") -> float | None:
    """Seconds for which this process's group was stopped because its share of processor time was used up."""
    with suppress(OSError, ValueError):
        places = {names: path for _, names, path in (line.split(":", 2) for line in own.read_text().splitlines())}
        for names, path in places.items():
            if "cpu" in names.split(","):  # version 1: nanoseconds
                return _counted(root / "cpu" / path.lstrip("/"), root / "cpu", "throttled_time", 1e9)
        return _counted(root / places.get("", "/").lstrip("/"), root, "throttled_usec", 1e6)
    return None


def _counted(group: Path, root: Path, name: str, unit: float) -> float | None:
    """A field of cpu.stat, in seconds; in a container the group's own path may be hidden, and the root is it."""
    for folder in (group, root):
        with suppress(OSError, ValueError):
            fields = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
            if name in fields:
                return int(fields[name]) / unit
    return None


def descends(pid: int, roots: frozenset[int]) -> bool:
    """Whether a process is, or is below, one of ``roots``."""
    for _ in range(64):
        if pid in roots:
            return True
        fields = stat_fields(pid)
        pid = int(fields[1]) if fields else 0
        if pid <= 1:
            return False
    return False


def exists(pid: int) -> bool:
    """Whether there is such a process, dead ones that are not buried left out."""
    return stat_fields(pid)[:1] not in ([], ["Z"], ["X"])


def _number(file: Path) -> float | None:
    with suppress(OSError, ValueError):
        return float(file.read_text())
    return None
