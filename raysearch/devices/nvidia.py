"""NVIDIA's management library (NVML), through the package nvidia-ml-py where that is installed.

Everything that a driver or a device does not support reads as absent, never as an error.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

THERMAL = {
    "nvmlClocksEventReasonHwSlowdown": "hardware slowdown",
    "nvmlClocksEventReasonSwThermalSlowdown": "thermal slowdown by the driver",
    "nvmlClocksEventReasonHwThermalSlowdown": "thermal slowdown by the hardware",
    "nvmlClocksEventReasonHwPowerBrakeSlowdown": "power brake",
}
"""Reasons for lower clocks that spoil a measurement."""
POWER_CAP = "nvmlClocksEventReasonSwPowerCap"
"""A GPU at full load is often at its power limit: that is how it is, and is only reported."""


@dataclass(frozen=True, slots=True)
class GpuState:
    """One look at a GPU. None: the driver does not say."""

    processes: frozenset[int] = frozenset()
    """Numbers of the processes that compute or draw on it, as the machine's first pid namespace has them."""
    utilisation: float | None = None
    """Share of the last moments (a sixth of a second to a second) in which a kernel ran, 0 to 1."""
    sm_mhz: int | None = None
    memory_mhz: int | None = None
    temperature_c: int | None = None
    thermal: tuple[str, ...] = ()
    power_capped: bool = False


@dataclass(slots=True)
class Nvidia:
    """An initialised NVML; ``nvml`` is the module."""

    nvml: Any
    _handles: dict[str, Any] = field(default_factory=dict)

    def listed(self) -> list[tuple[int, str, str]]:
        """Number, UUID and model of every GPU."""
        found = []
        for index in range(self._asked(self.nvml.nvmlDeviceGetCount) or 0):
            handle = self._asked(self.nvml.nvmlDeviceGetHandleByIndex, index)
            uuid = None if handle is None else self._asked(self.nvml.nvmlDeviceGetUUID, handle)
            if uuid:
                self._handles[_text(uuid)] = handle
                found.append((index, _text(uuid), _text(self._asked(self.nvml.nvmlDeviceGetName, handle) or "")))
        return found

    def state(self, uuid: str) -> GpuState | None:
        """What the GPU does now; None if it is not there."""
        handle = self._handle(uuid)
        if handle is None:
            return None
        nvml, asked = self.nvml, self._asked
        running = [
            *(asked(nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()),
            *(asked(nvml.nvmlDeviceGetGraphicsRunningProcesses, handle) or ()),
        ]
        rates = asked(nvml.nvmlDeviceGetUtilizationRates, handle)
        reasons = self._reasons(handle)
        return GpuState(
            processes=frozenset(int(process.pid) for process in running),
            utilisation=None if rates is None else rates.gpu / 100.0,
            sm_mhz=asked(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            memory_mhz=asked(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
            temperature_c=asked(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            thermal=tuple(told for name, told in THERMAL.items() if reasons & self._bit(name)),
            power_capped=bool(reasons & self._bit(POWER_CAP)),
        )

    def described(self, uuid: str) -> dict[str, str]:
        """Model, driver and highest clock, for the conditions of a measurement."""
        handle = self._handle(uuid)
        facts = {"driver": self._asked(self.nvml.nvmlSystemGetDriverVersion)}
        if handle is not None:
            facts["model"] = self._asked(self.nvml.nvmlDeviceGetName, handle)
            facts["mhz_max"] = self._asked(self.nvml.nvmlDeviceGetMaxClockInfo, handle, self.nvml.NVML_CLOCK_SM)
        return {name: _text(value) for name, value in facts.items() if value is not None}

    def _handle(self, uuid: str) -> Any:
        if uuid not in self._handles:
            # Before version 12 the library wants bytes here, and raises TypeError for text.
            found = self._asked(self.nvml.nvmlDeviceGetHandleByUUID, uuid)
            self._handles[uuid] = (
                found if found is not None else self._asked(self.nvml.nvmlDeviceGetHandleByUUID, uuid.encode())
            )
        return self._handles[uuid]

    def _reasons(self, handle: Any) -> int:
        """Why the clocks are not higher, as bits; the call was renamed with driver 535."""
        reasons = self._asked(self.nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
        if reasons is None and hasattr(self.nvml, "nvmlDeviceGetCurrentClocksEventReasons"):
            reasons = self._asked(self.nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
        return int(reasons or 0)

    def _bit(self, name: str) -> int:
        older = name.replace("ClocksEventReason", "ClocksThrottleReason")
        return int(getattr(self.nvml, name, getattr(self.nvml, older, 0)))

    def _asked(self, question: Callable[..., Any], *words: Any) -> Any:
        """The answer, or None where the driver has none."""
        with suppress(self.nvml.NVMLError, TypeError, AttributeError):
            return question(*words)
        return None


@contextmanager
def nvidia(nvml: Any = None) -> Iterator[Nvidia | None]:
    """NVML while the context lasts; None without the package, the library or a driver."""
    try:
        found = importlib.import_module("pynvml") if nvml is None else nvml
    except ImportError:
        yield None
        return
    try:
        found.nvmlInit()
    except found.NVMLError:
        yield None
        return
    try:
        yield Nvidia(found)
    finally:
        with suppress(found.NVMLError):
            found.nvmlShutdown()


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
