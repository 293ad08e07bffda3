"""On what something was measured: short texts for the conditions of a measurement."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from raysearch.devices.inventory import SYS_CPU, Core, Device, Gpu
from raysearch.devices.nvidia import nvidia

CPUINFO = Path("/proc/cpuinfo")


def provenance(devices: Sequence[Device], folder: Path = SYS_CPU, cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """``machine``, ``kernel``, ``cpu`` and what ``devices`` are; what the system does not tell is left out."""
    cores = [device for device in devices if isinstance(device, Core)]
    told = {
        "machine": platform.node(),
        "kernel": f"{platform.system()} {platform.release()}",
        "cpu": cpu_model(cpuinfo),
        "cores": ", ".join(f"{core.number} ({_listed(core.cpus)})" for core in cores) or "none",
    }
    cpus = [cpu for core in cores for cpu in core.cpus]
    for name, file in (("governor", "scaling_governor"), ("mhz_max", "cpuinfo_max_freq")):
        found = sorted({text for cpu in cpus if (text := _read(folder / f"cpu{cpu}" / "cpufreq" / file))})
        if found:
            told[name] = ", ".join(str(int(text) // 1000) if name == "mhz_max" else text for text in found)
    told |= _gpus([device for device in devices if isinstance(device, Gpu)])
    if any(device.name == "apple-gpu" for device in devices):
        told["gpu"] = "apple-gpu"
    return {name: text for name, text in told.items() if text}


def cpu_model(cpuinfo: Path = CPUINFO) -> str:
    """The processor's own name, or the architecture's."""
    with suppress(OSError):
        for line in cpuinfo.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model", "cpu model"):
                return value.strip()
    return platform.processor() or platform.machine()


def _gpus(gpus: Sequence[Gpu]) -> Mapping[str, str]:
    if not gpus:
        return {}
    told = {"gpu": ", ".join(f"{gpu.uuid} {gpu.model}".strip() for gpu in gpus)}
    with nvidia() as driver:
        if driver is not None:
            facts = driver.described(gpus[0].uuid)
            told |= {f"gpu_{name}": facts[name] for name in ("driver", "mhz_max") if name in facts}
    return told


def _listed(numbers: Sequence[int]) -> str:
    return f"cpu {numbers[0]}" if len(numbers) == 1 else f"cpus {', '.join(map(str, numbers))}"


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
