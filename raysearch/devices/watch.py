"""Look around while something is measured: at the leased cores and GPUs, at both ends and a few times a second."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from raysearch.devices import counters
from raysearch.devices.contention import DEFAULTS, Contention, GpuContention, Sample, Thresholds
from raysearch.devices.inventory import Core, Gpu, usable_cpus
from raysearch.devices.nvidia import GpuState, Nvidia, nvidia
from raysearch.errors import Invariant
from raysearch.process import Spending

INTERVAL_S = 0.1
"""Between samples, or longer: sampling is not to take more than a hundredth of a processor's time."""
COST_MAX = 0.01
SAMPLES_MAX = 36_000
FIRST_NAMESPACE = 0xEFFFFFFC
"""Inode of the machine's first pid namespace (include/linux/proc_ns.h)."""
STRANGERS_MAX = 5
UNSTEADY_S = 0.03
QUIET_S = 0.2
"""How long a moment is that is looked at for quiet."""


class Watch:
    """A context around a measurement; `report` tells afterwards what was seen.

    Costs two looks at all processes (some milliseconds where there are hundreds), before and after, and a thread that
    stays off the leased cores where there are others.
    """

    def __init__(
        self, cores: Sequence[Core], gpus: Sequence[Gpu], spending: Spending, thresholds: Thresholds = DEFAULTS
    ) -> None:
        self._cpus = frozenset(cpu for core in cores for cpu in core.siblings)
        self._gpus = tuple(gpus)
        self._spending = spending
        self._thresholds = thresholds
        self._samples: list[Sample] = []
        self._seen: dict[Gpu, list[GpuState]] = {gpu: [] for gpu in gpus}
        self._astray = counters.Astray(self._cpus)
        self._strangers: dict[Gpu, set[int]] = {gpu: set() for gpu in gpus}
        self._first_namespace = _in_first_namespace()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="raysearch-watch", daemon=True)
        self._stack = ExitStack()
        self._driver: Nvidia | None = None
        self._report: Contention | None = None

    def __enter__(self) -> Self:
        if self._gpus:
            self._driver = self._stack.enter_context(nvidia())
        for gpu in self._gpus:
            self._look_at(gpu)
        self._processes = counters.running()
        self._marks = self._totals()
        self._own_s = self._spending.cpu_s
        self._began_s = time.monotonic()
        self._reading = counters.read(self._cpus)
        self._samples.append(Sample(self._reading.at_s if self._reading else self._began_s, 0.0, 0.0))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        window_s = time.monotonic() - self._began_s
        now = counters.read(self._cpus)
        own_s = self._spending.cpu_s - self._own_s
        self._ended.set()
        self._thread.join()
        for gpu in self._gpus:
            self._look_at(gpu)
        self._report = self._summed(window_s, now, own_s)
        self._stack.close()

    def report(self) -> Contention:
        """What was seen, after the context has ended."""
        if self._report is None:
            raise Invariant("a watch reports after its end")
        return self._report

    def _summed(self, window_s: float, now: counters.Reading | None, own_s: float) -> Contention:
        then, after, sensed = self._reading, counters.running(), []
        spent = counters.spent_between(self._processes, after, self._cpus)
        busy_s = irq_s = steal_s = 0.0
        if now is not None and then is not None:
            sensed.append("processors")
            busy_s, irq_s, steal_s = now.busy_since(then), now.irq_s - then.irq_s, now.steal_s - then.steal_s
        totals = self._totals()
        changes = [_change(before, later) for before, later in zip(self._marks, totals, strict=True)]
        sensed += [
            name for name, value in zip(("pressure", "heat", "quota"), changes, strict=True) if value is not None
        ]
        if self._samples[-1].mhz is not None:
            sensed.append("clocks")
        pressure_s, throttlings, quota_s = changes
        gpus = tuple(
            GpuContention(gpu.name, states[0], tuple(states[1:]), tuple(sorted(self._strangers[gpu])))
            for gpu, states in self._seen.items()
            if states
        )
        return Contention(
            window_s=window_s,
            cpus=tuple(sorted(self._cpus)),
            thresholds=self._thresholds,
            busy_s=busy_s,
            own_s=own_s,
            astray_s=self._astray.seen_s,
            kernel_s=sum(seconds for process, seconds in spent if process.kernel),
            irq_s=irq_s,
            steal_s=steal_s,
            samples=tuple(self._samples),
            strangers=tuple(
                f"{process.name} (process {process.pid}): {seconds:.2f} s"
                for process, seconds in spent
                if not process.kernel and process.pid != os.getpid()
            )[:STRANGERS_MAX],
            load=counters.load(),
            pressure_s=pressure_s,
            throttlings=None if throttlings is None else int(throttlings),
            quota_s=quota_s,
            gpus=gpus,
            sensed=(*sensed, *(("gpus",) if gpus else ())),
        )

    def _totals(self) -> tuple[float | None, float | None, float | None]:
        return counters.pressure_s(), counters.throttlings(self._cpus), counters.quota_s()

    def _look_on(self) -> None:
        """The thread: take samples until the end."""
        others = usable_cpus() - self._cpus
        if others and hasattr(os, "sched_setaffinity"):
            with suppress(OSError):
                os.sched_setaffinity(0, others)
        pause_s = INTERVAL_S
        while not self._ended.wait(pause_s):
            before_s = time.thread_time()
            if len(self._samples) < SAMPLES_MAX:
                self._look()
            pause_s = max(INTERVAL_S, (time.thread_time() - before_s) / COST_MAX)

    def _look(self) -> None:
        now = counters.read(self._cpus)
        own_s = self._steady_own_s() - self._own_s
        self._astray.look(self._spending.roots)
        if now is not None and self._reading is not None:
            own_s -= self._astray.seen_s
            self._samples.append(Sample(now.at_s, now.busy_since(self._reading), own_s, counters.mhz(self._cpus)))
        for gpu in self._gpus:
            self._look_at(gpu)

    def _steady_own_s(self) -> float:
        """What the measured commands have spent; asked again if a process was buried just then, which counts it twice
        or not at all."""
        before = self._spending.cpu_s
        for _ in range(3):
            after = self._spending.cpu_s
            if abs(after - before) < UNSTEADY_S:
                break
            before = after
        return before

    def _look_at(self, gpu: Gpu) -> None:
        state = self._driver.state(gpu.uuid) if self._driver else None
        if state is None:
            return
        self._seen[gpu].append(state)
        if self._first_namespace:  # elsewhere the driver's numbers are of processes that cannot be told apart
            own = frozenset({os.getpid(), *self._spending.roots})
            here = {pid for pid in state.processes if counters.exists(pid)}  # one that has just ended is nobody's
            self._strangers[gpu].update(pid for pid in here if not counters.descends(pid, own))


def quiet_within(cores: Sequence[Core], timeout_s: float, thresholds: Thresholds = DEFAULTS) -> bool:
    """Wait until others leave these cores alone, for a moment at least; whether they do within ``timeout_s``.

    For use before anything of the measurement runs. True where processors cannot be watched.
    """
    cpus = [cpu for core in cores for cpu in core.siblings]
    end_s = time.monotonic() + timeout_s
    while (before := counters.read(cpus)) is not None:
        time.sleep(QUIET_S)
        after = counters.read(cpus)
        allowed_s = max(thresholds.foreign_floor_s, thresholds.foreign_share * math.sqrt(len(cpus)) * QUIET_S)
        if after is None or after.busy_since(before) <= allowed_s:
            break
        if time.monotonic() > end_s:
            return False
    return True


def _in_first_namespace() -> bool:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == FIRST_NAMESPACE
    except OSError:
        return False


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, after - before)
