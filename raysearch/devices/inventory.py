"""What this process may measure on: physical cores, GPUs, the Apple GPU."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysearch.devices.nvidia import Nvidia, nvidia

SYS_CPU = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True)
class Core:
    """A physical core. ``number`` is that of its first logical processor, machine-wide.

    ``cpus`` are its logical processors that this process may use, ``siblings`` all that it has.
    """

    number: int
    cpus: tuple[int, ...]
    siblings: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"core-{self.number}"


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU, or an instance of one (MIG): ``uuid`` is the driver's, ``index`` its number there, or -1."""

    uuid: str
    index: int = -1
    model: str = ""

    @property
    def name(self) -> str:
        return f"gpu-{self.uuid.removeprefix('GPU-')}"


@dataclass(frozen=True, slots=True)
class Apple:
    """The GPU of an Apple chip, which has one."""

    @property
    def name(self) -> str:
        return "apple-gpu"


Device = Core | Gpu | Apple


@dataclass(frozen=True, slots=True)
class Inventory:
    """Cores in ascending order, GPUs in the order in which CUDA shows them."""

    cores: tuple[Core, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    apple: Apple | None = None


def inventory(environ: Mapping[str, str] = os.environ) -> Inventory:
    """What this process may use of this machine.

    Cores: the calling thread's affinity mask, which the kernel keeps within the process's cpusets (control groups of
    either version). GPUs: what the driver lists, as far as CUDA_VISIBLE_DEVICES shows it.
    """
    with nvidia() as driver:
        gpus = _gpus(driver)
    apple = Apple() if sys.platform == "darwin" and platform.machine() == "arm64" else None
    return Inventory(cores(usable_cpus()), visible(gpus, environ.get("CUDA_VISIBLE_DEVICES")), apple)


def usable_cpus() -> frozenset[int]:
    """Logical processors on which the calling thread may run; all, where a system has no such masks (macOS)."""
    if sys.platform == "linux":
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def cores(usable: Iterable[int], folder: Path = SYS_CPU) -> tuple[Core, ...]:
    """Physical cores of which some logical processor is ``usable``. Without topology in ``folder`` each is a core."""
    mask = frozenset(usable)
    found: dict[int, Core] = {}
    for cpu in sorted(mask):
        siblings = _siblings(cpu, folder)
        core = Core(siblings[0], tuple(s for s in siblings if s in mask), siblings)
        found[core.number] = core
    return tuple(found[number] for number in sorted(found))


def _siblings(cpu: int, folder: Path) -> tuple[int, ...]:
    for name in ("core_cpus_list", "thread_siblings_list"):  # the second is what Linux before 5.2 has
        try:
            listed = parse_cpus((folder / f"cpu{cpu}" / "topology" / name).read_text())
        except (OSError, ValueError):
            continue
        if cpu in listed:
            return tuple(sorted(listed))
    return (cpu,)


def parse_cpus(text: str) -> frozenset[int]:
    """The kernel's lists, such as ``0-3,8``. Raises ValueError."""
    numbers: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        low, _, high = part.partition("-")
        numbers.update(range(int(low), int(high or low) + 1))
    return frozenset(numbers)


def _gpus(driver: Nvidia | None) -> tuple[Gpu, ...]:
    if driver is None:
        return ()
    return tuple(Gpu(uuid, index, model) for index, uuid, model in driver.listed())


def visible(gpus: Sequence[Gpu], shown: str | None) -> tuple[Gpu, ...]:
    """What CUDA shows of ``gpus`` where CUDA_VISIBLE_DEVICES is ``shown``: up to the first name that is no device's.

    Names are numbers, beginnings of UUIDs, or MIG instances; numbers count as the driver does (CUDA_DEVICE_ORDER =
    PCI_BUS_ID, and what Ray sets).
    """
    if shown is None:
        return tuple(gpus)
    found: list[Gpu] = []
    for word in (word.strip() for word in shown.split(",")):
        gpu = _named(gpus, word)
        if gpu is None or gpu in found:
            break
        found.append(gpu)
    return tuple(found)


def _named(gpus: Sequence[Gpu], word: str) -> Gpu | None:
    if re.fullmatch(r"MIG-[0-9A-Za-z/-]+", word):
        return Gpu(word)
    if word.isdigit():
        return next((gpu for gpu in gpus if gpu.index == int(word)), None)
    matches = [gpu for gpu in gpus if word.startswith("GPU-") and gpu.uuid.startswith(word)]
    return matches[0] if len(matches) == 1 else None
