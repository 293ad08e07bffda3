"""Whether a measurement had its devices to itself: what was seen, and when that makes it void. No input or output."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from raysearch.devices.nvidia import GpuState
from raysearch.errors import Refused, Void

SLICE_S = 1.0
"""Bursts are looked for in stretches of this length, at least."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Above which a measurement is void. Shares are of one processor's time, from 0 to 1.

    With n processors shares may be the root of n times as large: what systems do on the side adds up like noise.
    ``math.inf`` switches one off.
    """

    foreign_share: float = 0.03
    """Others' time on the leased cores, over the whole measurement."""
    foreign_floor_s: float = 0.03
    """So much in any case: counters move in steps of 10 ms."""
    burst_share: float = 0.25
    """Others' time within any stretch of `SLICE_S`."""
    throttlings: int = 0
    """How often a core may have been slowed for heat."""
    clock_drop: float = 0.2
    """By how much the cores' median clock in the second half of the busy samples may be below that in the first."""
    quota_share: float = 0.01
    """Of the time, for which the group of this process may be stopped for its use of processor time."""
    gpu_busy_before: float = 0.1
    """Utilisation of a GPU before anything of the measurement is on it."""
    gpu_thermal_share: float = 0.05
    """Of the samples, in which a GPU may be slowed for heat or by its power supply."""
    strayed_share: float = 0.05
    """Of the time, for which the measured program may have been on other cores than its own."""


DEFAULTS = Thresholds()


@dataclass(frozen=True, slots=True)
class Sample:
    """Of the leased cores, since the watch began: all in seconds of processor time, but ``at_s`` and ``mhz``."""

    at_s: float
    busy_s: float
    own_s: float
    mhz: float | None = None


@dataclass(frozen=True, slots=True)
class GpuContention:
    """What was seen of one GPU."""

    name: str
    before: GpuState
    samples: tuple[GpuState, ...] = ()
    strangers: tuple[int, ...] = ()
    """Processes on it that are not the measurement's; empty where their numbers mean nothing (in containers)."""

    @property
    def thermal(self) -> tuple[str, ...]:
        """Every reason of `raysearch.devices.nvidia.THERMAL` that was seen."""
        return tuple(sorted({reason for state in self.samples for reason in state.thermal}))

    @property
    def thermal_share(self) -> float:
        return _share([bool(state.thermal) for state in self.samples])

    def conditions(self) -> dict[str, str]:
        clocks = [state.sm_mhz for state in self.samples if state.sm_mhz is not None]
        degrees = [state.temperature_c for state in self.samples if state.temperature_c is not None]
        told = {}
        if clocks:
            told["sm_mhz"] = f"{statistics.median(clocks):.0f} ({min(clocks)}-{max(clocks)})"
        if degrees:
            told["temperature_c"] = str(max(degrees))
        if any(state.power_capped for state in self.samples):
            told["power_capped"] = f"{_share([state.power_capped for state in self.samples]):.0%}"
        if self.thermal:
            told["throttled"] = f"{self.thermal_share:.0%} ({', '.join(self.thermal)})"
        return {f"{self.name}.{key}": value for key, value in told.items()}


@dataclass(frozen=True, slots=True)
class Contention:
    """What was seen while something was measured. Times of processors are summed over the leased cores' ``cpus``.

    None, or nothing, is what this system does not tell; ``sensed`` names what it does.
    """

    window_s: float
    cpus: tuple[int, ...] = ()
    thresholds: Thresholds = DEFAULTS
    busy_s: float = 0.0
    """Of tasks and of other guests of a hypervisor; interrupts left out."""
    own_s: float = 0.0
    """Of the measured commands and pinned threads, wherever they ran."""
    astray_s: float = 0.0
    """Of these, what was seen to be on other cores, if they were looked at just then."""
    kernel_s: float = 0.0
    """Of the kernel's own threads, which is tolerated."""
    irq_s: float = 0.0
    """Of interrupts on the cores. Some kernels count it to the task that was interrupted, too."""
    steal_s: float = 0.0
    """That a hypervisor gave to others; part of ``busy_s``."""
    samples: tuple[Sample, ...] = ()
    strangers: tuple[str, ...] = ()
    """Other processes that were seen on the cores, the greediest first."""
    load: float | None = None
    pressure_s: float | None = None
    """In which somebody on the machine waited for a processor."""
    throttlings: int | None = None
    quota_s: float | None = None
    gpus: tuple[GpuContention, ...] = ()
    sensed: tuple[str, ...] = ()

    @property
    def foreign_s(self) -> float:
        """Processor time on the leased cores that went to others."""
        return max(0.0, self.busy_s - max(0.0, self.own_s - self.astray_s) - self.kernel_s)

    @property
    def strayed_s(self) -> float:
        """Processor time that the measured program spent on other cores: seen there, or more than its own were busy."""
        if not self.cpus or "processors" not in self.sensed:
            return 0.0
        return max(self.astray_s, self.own_s - self.busy_s - self.irq_s)

    @property
    def burst_share(self) -> float:
        """The largest share of one processor that others had within any stretch of `SLICE_S`."""
        worst, first = 0.0, 0
        for last, now in enumerate(self.samples):
            while first < last and now.at_s - self.samples[first + 1].at_s >= SLICE_S:
                first += 1
            then = self.samples[first]
            if (length_s := now.at_s - then.at_s) >= SLICE_S:
                foreign_s = (now.busy_s - then.busy_s) - (now.own_s - then.own_s)
                worst = max(worst, foreign_s / length_s)
        return worst

    @property
    def clocks_mhz(self) -> tuple[float, float] | None:
        """Median clock of the cores in the first and in the second half of the samples in which they were busy."""
        clocks = [
            now.mhz
            for then, now in zip(self.samples, self.samples[1:], strict=False)
            if now.mhz is not None and now.busy_s - then.busy_s > 0.5 * (now.at_s - then.at_s)
        ]
        half = len(clocks) // 2
        return (statistics.median(clocks[:half]), statistics.median(clocks[half:])) if half > 1 else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the measurement is void; empty if it holds."""
        return (*self._of_cores(), *(reason for gpu in self.gpus for reason in self._of_gpu(gpu)))

    @property
    def verdict(self) -> str:
        """``void``, ``strayed`` (the program was elsewhere than on its cores) or ``ok``."""
        if self.reasons:
            return "void"
        return "strayed" if self._strayed() else "ok"

    def require(self) -> None:
        """Raise Void if the measurement is, and Refused if the program left its cores."""
        if self.reasons:
            raise Void(f"void: {'; '.join(self.reasons)}")
        if self._strayed():
            raise Refused(
                f"the program spent {self.strayed_s:.2f} s of processor time on other cores than those it was given"
                f" ({', '.join(map(str, self.cpus))}) in {self.window_s:.2f} s; it must not change its own affinity"
            )

    def conditions(self) -> dict[str, str]:
        """For `Measurement.conditions`: short, and the same names whatever was seen."""
        told = {"sensed": ", ".join(self.sensed) or "nothing"}
        if "processors" in self.sensed:
            told["foreign_cpu_s"] = f"{self.foreign_s:.2f} of {self.window_s:.2f}"
        if self.load is not None:
            told["load"] = f"{self.load:.2f}"
        if self.steal_s:
            told["steal_s"] = f"{self.steal_s:.2f}"
        if self.clocks_mhz:
            told["cpu_mhz"] = f"{self.clocks_mhz[1]:.0f}"
        return told | {key: value for gpu in self.gpus for key, value in gpu.conditions().items()}

    def _of_cores(self) -> list[str]:
        limits, found = self.thresholds, []
        many = math.sqrt(max(1, len(self.cpus)))
        allowed_s = max(limits.foreign_floor_s, limits.foreign_share * many * self.window_s)
        by = f" ({', '.join(self.strangers)})" if self.strangers else ""
        if self.foreign_s > allowed_s:
            steal = f", {self.steal_s:.2f} s of it outside of this virtual machine" if self.steal_s else ""
            found.append(
                f"others used {self.foreign_s:.2f} s of the leased cores in {self.window_s:.2f} s{steal}{by};"
                f" {allowed_s:.2f} s are tolerated"
            )
        elif self.burst_share > limits.burst_share * many:
            found.append(f"for a while others used {self.burst_share:.0%} of a leased core{by}")
        if self.throttlings is not None and self.throttlings > limits.throttlings:
            found.append(f"the processor was slowed for heat {self.throttlings} times")
        if self.clocks_mhz and self.clocks_mhz[1] < (1 - limits.clock_drop) * self.clocks_mhz[0]:
            found.append(f"the clock fell from {self.clocks_mhz[0]:.0f} to {self.clocks_mhz[1]:.0f} MHz")
        if self.quota_s is not None and self.quota_s > limits.quota_share * self.window_s + 1e-9:
            found.append(f"this process's group was stopped for {self.quota_s:.2f} s by its quota of processor time")
        return found

    def _of_gpu(self, gpu: GpuContention) -> list[str]:
        limits, found = self.thresholds, []
        if gpu.strangers:
            found.append(f"{gpu.name} had other processes: {', '.join(map(str, gpu.strangers))}")
        if gpu.before.utilisation is not None and gpu.before.utilisation > limits.gpu_busy_before:
            found.append(f"{gpu.name} was {gpu.before.utilisation:.0%} busy before the measurement")
        if gpu.thermal_share > limits.gpu_thermal_share:
            found.append(f"{gpu.name} was slowed in {gpu.thermal_share:.0%} of the samples: {', '.join(gpu.thermal)}")
        return found

    def _strayed(self) -> bool:
        limits = self.thresholds
        return self.strayed_s > max(limits.foreign_floor_s, limits.strayed_share * self.window_s)


def _share(truths: Sequence[bool]) -> float:
    return sum(truths) / len(truths) if truths else 0.0
