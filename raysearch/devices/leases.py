"""Devices that one measurement has to itself, among all searches on the machine."""

from __future__ import annotations

import getpass
import logging
import math
import os
import random
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from raysearch.devices.contention import DEFAULTS, Thresholds
from raysearch.devices.inventory import Apple, Core, Device, Gpu, Inventory, cores, inventory, usable_cpus
from raysearch.devices.locks import MACHINE_FOLDER, Locks
from raysearch.devices.provenance import provenance
from raysearch.devices.watch import Watch, quiet_within
from raysearch.errors import EvaluatorFault, Void
from raysearch.process import Hold, Spending

TIMEOUT_S = 600.0
POLL_S = (0.005, 0.02)
"""Between two looks at who has what, drawn anew each time. There is no queue: who looks first, has it."""
SPEAK_S = 1.0
"""A wait of so long is worth a line in the log."""
TURN = "turn"
"""The lock of the one who may hold some devices while waiting for more; so no two wait for one another."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """Whole devices: ``cores`` physical ones from 0, ``gpus`` from 0, the ``apple`` GPU."""

    cores: int = 1
    gpus: int = 0
    apple: bool = False

    @classmethod
    def of(cls, resources: Mapping[str, float]) -> Request:
        """What a role with these resources (Ray's names: ``CPU``, ``GPU``, custom ones) has to itself.

        Fractions are rounded up, and nobody measures without a core of its own.
        """
        return cls(
            cores=max(1, math.ceil(resources.get("CPU", 1.0))),
            gpus=math.ceil(resources.get("GPU", 0.0)),
            apple=resources.get("apple", 0.0) > 0,
        )


@dataclass(frozen=True, slots=True)
class Lease:
    """Devices, while they are held.

    ``affinity``: the logical processors of its cores; empty where the system has no affinity. ``hold`` is for the
    commands that measure (`raysearch.sandbox.Held`).
    """

    devices: tuple[Device, ...]
    affinity: tuple[int, ...]
    hold: Hold
    waited_s: float = 0.0
    whole: bool = True
    """Whether there were as many cores as asked for."""
    spending: Spending = field(default_factory=Spending)

    @property
    def cores(self) -> tuple[Core, ...]:
        return tuple(device for device in self.devices if isinstance(device, Core))

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        return tuple(device for device in self.devices if isinstance(device, Gpu))

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Keep the calling thread, and what it starts, to the lease's cores: for what measures in this process."""
        with on_cpus(self.affinity), self.spending.thread():
            yield

    def watched(self, thresholds: Thresholds = DEFAULTS) -> Watch:
        """A context around what is measured, to tell afterwards who else was there."""
        return Watch(self.cores, self.gpus, self.spending, thresholds)

    def quiet_within(self, timeout_s: float, thresholds: Thresholds = DEFAULTS) -> bool:
        """Wait until others leave the cores alone: before a measurement that was void is tried again."""
        return quiet_within(self.cores, timeout_s, thresholds)

    def provenance(self) -> dict[str, str]:
        """On what was measured, for the conditions of every measurement."""
        told = provenance(self.devices)
        if not self.whole:
            told["cores"] += " (all there are, fewer than asked for)"
        return told


@contextmanager
def leased(
    request: Request = Request(),
    *,
    folder: Path = MACHINE_FOLDER,
    timeout_s: float = TIMEOUT_S,
    label: str = "",
    offered: Inventory | None = None,
) -> Iterator[Lease]:
    """Any devices of those ``offered`` (None: all that this process may use) that nobody has, once there are enough.

    The calling thread, and what it starts otherwise than with the lease's hold, is kept off the leased cores meanwhile,
    where there are others. The devices are free again when the context ends or this process does, and no command with
    the lease's hold has anything left. A machine with fewer cores than asked for gives all that it has. ``label`` (the
    run's name) tells others who has them. Raises Void after ``timeout_s``, and EvaluatorFault where there can never be
    enough or ``folder`` cannot be used.
    """
    here = inventory() if offered is None else offered
    kinds = _kinds(request, here)
    began_s = time.monotonic()
    note = f"{label or 'a search'}, process {os.getpid()} of {_user()} on {socket.gethostname()}"
    with ExitStack() as stack:
        locks = Locks.open(folder)
        stack.callback(locks.close)
        taken = stack.enter_context(_taken(locks, kinds, note, timeout_s))
        found = tuple(taken)
        held_cores = [device for device in found if isinstance(device, Core)]
        # A program may use the threads of its cores as it likes; no other search has a core's other thread.
        affinity = tuple(cpu for core in held_cores for cpu in core.cpus) if sys.platform == "linux" else ()
        spending = Spending()
        gpus = [device.uuid for device in found if isinstance(device, Gpu)]
        hold = Hold(
            cpus=affinity,
            fences=tuple(taken.values()),
            environment={"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {},
            spending=spending,
        )
        stack.enter_context(on_cpus(usable_cpus() - set(affinity)))
        waited_s = time.monotonic() - began_s
        yield Lease(found, affinity, hold, waited_s, len(held_cores) >= request.cores, spending)


@contextmanager
def aside(*, folder: Path = MACHINE_FOLDER, reserved: int = 0, mine: Sequence[Core] = ()) -> Iterator[Hold]:
    """For work that must not disturb measurements: the calling thread, and what it starts, is kept off leased cores.

    That is, of ``mine`` (none: all that this thread may use) off those that are leased now, and off the last
    ``reserved`` cores, which are those that leases take first; as long as a core remains. A core that is leased is
    worse than one that may be. The hold is the same for commands that do not come from this thread (warm ones).
    """
    mine = mine or cores(usable_cpus())
    locks = Locks.open(folder)
    try:
        free = [core for core in mine if not locks.taken(core.name)]
    finally:
        locks.close()
    spared = mine[: max(0, len(mine) - reserved)]
    others = [core for core in free if core in spared] or free or spared or mine
    cpus = tuple(cpu for core in others for cpu in core.cpus) if sys.platform == "linux" else ()
    with on_cpus(cpus):
        yield Hold(cpus=cpus)


@contextmanager
def on_cpus(cpus: Sequence[int] | frozenset[int]) -> Iterator[None]:
    """Keep the calling thread, and what it starts, to these logical processors; nothing happens for none."""
    if not cpus or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        with suppress(OSError):  # the process's cpuset has become another
            os.sched_setaffinity(0, before)


Kinds = Sequence[tuple[Sequence[Device], int]]
"""Devices of one kind, the most wanted first, and how many of them."""


def _kinds(request: Request, here: Inventory) -> Kinds:
    """What to choose from. Raises EvaluatorFault where there is not enough."""
    if request.gpus > len(here.gpus):
        raise EvaluatorFault(
            f"the benchmark asks for {request.gpus} GPU(s); this process sees {len(here.gpus)}"
            f" (CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', '')!r}). Give the role `gpus`, and install"
            " nvidia-ml-py, by which GPUs are found"
        )
    if request.apple and here.apple is None:
        raise EvaluatorFault("the benchmark asks for an Apple GPU; this machine has none")
    apple: tuple[Apple, ...] = (here.apple,) if here.apple and request.apple else ()
    last_first = tuple(reversed(here.cores))  # the first has the most interrupts to attend to
    return [(here.gpus, request.gpus), (apple, len(apple)), (last_first, min(request.cores, len(last_first)))]


@contextmanager
def _taken(locks: Locks, kinds: Kinds, note: str, timeout_s: float) -> Iterator[dict[Device, int]]:
    """The devices and their locks (open files). Raises Void."""
    held: dict[Device, int] = {}
    turn: int | None = None
    several = sum(wanted for _, wanted in kinds) > 1
    began_s, said = time.monotonic(), False
    try:
        while not _take_more(locks, kinds, held, note):
            if several and turn is None:
                turn = locks.take(TURN, note)
            if turn is None:  # all or nothing: somebody else may need but these
                _let_go(held)
            waited_s = time.monotonic() - began_s
            if waited_s > timeout_s:
                raise Void(f"no device became free within {timeout_s:g} s: {_told(locks, kinds, held)}")
            if waited_s > SPEAK_S and not said:
                said = True
                log.info("waiting for devices: %s", _told(locks, kinds, held))
            time.sleep(random.uniform(*POLL_S))
        if turn is not None:
            os.close(turn)
            turn = None
        yield held
    finally:
        _let_go(held)
        if turn is not None:
            os.close(turn)


def _take_more(locks: Locks, kinds: Kinds, held: dict[Device, int], note: str) -> bool:
    """Take what is free and still needed; whether that is all."""
    for devices, wanted in kinds:
        lacking = wanted - sum(device in held for device in devices)
        for device in devices:
            if lacking and device not in held and (number := locks.take(device.name, note)) is not None:
                held[device] = number
                lacking -= 1
        if lacking:
            return False
    return True


def _let_go(held: dict[Device, int]) -> None:
    """Close our files, never unlock them: a guard may still hold the same lock, for what it has not ended yet."""
    while held:
        os.close(held.popitem()[1])


def _told(locks: Locks, kinds: Kinds, held: Mapping[Device, int]) -> str:
    """Who has what is lacking."""
    lacking = [
        device
        for devices, wanted in kinds
        if sum(device in held for device in devices) < wanted
        for device in devices
        if device not in held
    ]
    told = [f"{device.name} is held by {locks.note(device.name)}" for device in lacking[:8]]
    return "; ".join(told) + (f"; and {len(lacking) - 8} more" if len(lacking) > 8 else "")


def _user() -> str:
    with suppress(KeyError, OSError):  # a number without a name, as in many a container
        return getpass.getuser()
    return str(os.getuid())
