"""Measurements of a run: leased, watched, and taken again where they were disturbed."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from raysearch.devices import counters
from raysearch.devices.contention import DEFAULTS, Thresholds
from raysearch.devices.inventory import Core, Inventory, cores, inventory, usable_cpus
from raysearch.devices.leases import TIMEOUT_S, Lease, Request, aside, leased
from raysearch.devices.locks import MACHINE_FOLDER, Locks
from raysearch.devices.watch import QUIET_S
from raysearch.errors import EvaluatorFault, Refused, Unevaluated, Void
from raysearch.jobs import Job
from raysearch.process import Hold
from raysearch.process.hold import NOTHING
from raysearch.types import Stage

T = TypeVar("T")
CLOSE = replace(DEFAULTS, foreign_floor_s=0.06)
"""Where a command must be started on the core that it is measured on, as there is no other."""
TOLERANT = replace(DEFAULTS, foreign_share=math.inf, burst_share=math.inf)
"""Where the run's other jobs cannot be kept away from what it measures on, either."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 30.0
"""For quiet, after the first void measurement and after many; then it is tried all the same, for a busy machine need
not disturb."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Leasing:
    """What the measurements of a run have to themselves, as data that can be sent to another process."""

    on: bool = False
    """Off: nothing is leased, and nothing kept away from what others lease."""
    request: Request | None = None
    """None: nothing is measured that would need it."""
    contention: Literal["void", "warn", "off"] = "void"
    """What comes of a disturbed measurement: it is taken again, it says so, or nobody looks."""
    quiet_s: float = 300.0
    """How long one job waits for quiet, and measures again, before it is answered with a fault."""
    wait_s: float = TIMEOUT_S
    """How long it waits for devices that others hold."""
    slots: int = 1
    """Measurements at once."""
    judges: tuple[str, ...] = ()
    """Those that measure, too."""
    crowded: bool = False
    """Whether other jobs of the run are done while one measures."""
    cpus: tuple[int, ...] = ()
    """Logical processors that the driver may use, where its workers are on its machine; none: ask on the spot."""
    folder: Path = MACHINE_FOLDER

    def measures(self, job: Job) -> bool:
        """Whether a job needs a lease."""
        wanted = job.stage is Stage.BENCHMARK or (job.stage is Stage.JUDGE and job.plugin in self.judges)
        return self.on and self.request is not None and wanted

    def patience_s(self, job: Job) -> float:
        """How much longer than it measures a job may take."""
        return self.wait_s + self.quiet_s if self.measures(job) else 0.0

    @property
    def reserved(self) -> int:
        """Cores that the run's own measurements lease at once."""
        return self.slots * self.request.cores if self.on and self.request is not None else 0

    @property
    def others(self) -> tuple[int, ...]:
        """Logical processors for everything else; none where nothing can be kept apart."""
        mine = cores(self.cpus or usable_cpus())
        rest = mine[: max(0, len(mine) - self.reserved)]
        return tuple(cpu for core in rest for cpu in core.cpus) if self.reserved else ()


@dataclass(slots=True)
class Session:
    """Devices that a job has to itself for one measurement after another."""

    lease: Lease
    leasing: Leasing
    apart: bool
    """Whether this process, which does not measure but follows, has other cores than these."""
    patience_s: float
    """Left for quiet, and for measuring again."""
    lost_s: float = 0.0
    """So far, by what was disturbed."""
    voids: int = 0
    _provenance: Mapping[str, str] = field(default_factory=dict)

    def run(self, measure: Callable[[], T]) -> tuple[T, dict[str, str]]:
        """Measure once: the answer, and on what and under which conditions.

        Raises what ``measure`` raises, but Void for whatever came of a measurement that was disturbed, and Refused for
        a program that left its cores.
        """
        self._provenance = self._provenance or self.lease.provenance()
        if self.leasing.contention == "off":
            return measure(), dict(self._provenance)
        found: T | Refused | Unevaluated
        following = nullcontext() if self.apart else self.lease.pinned()
        with self.lease.watched(self._thresholds) as watch, following:
            try:
                found = measure()
            except (Refused, Unevaluated) as failure:
                found = failure  # who was disturbed is not to blame
        report = watch.report()
        told = {**self._provenance, **report.conditions()}
        if self.voids:
            told["void_before"] = str(self.voids)
        if report.reasons and self.leasing.contention == "void":
            report.require()
        if report.reasons:
            told["contention"] = "; ".join(report.reasons)
        if isinstance(found, Refused | Unevaluated):
            raise found
        if report.verdict == "strayed":
            report.require()
        return found, told

    @property
    def _thresholds(self) -> Thresholds:
        if self.apart:
            return DEFAULTS
        return TOLERANT if self.leasing.crowded else CLOSE

    def persist(self, measure: Callable[[], T]) -> T:
        """The answer of ``measure``, which may be Void as long as there is patience. Raises Void after that."""
        while True:
            began_s = time.monotonic()
            try:
                return measure()
            except Void as void:
                self.voids += 1
                log.info("measured again: %s", void)
                left_s = self.patience_s - (time.monotonic() - began_s)
                if left_s <= 0.0:
                    raise
                self.lease.quiet_within(min(left_s, _pause_s(self.voids)))
                took_s = time.monotonic() - began_s
                self.patience_s -= took_s
                self.lost_s += took_s


@dataclass(frozen=True, slots=True)
class Measuring:
    """A worker's way to devices. ``label`` tells other searches whose they are."""

    leasing: Leasing
    label: str = ""

    @contextmanager
    def aside(self) -> Iterator[Hold]:
        """For all jobs that do not measure: away from what is leased, as far as there is anywhere else."""
        with ExitStack() as stack:
            hold = NOTHING
            if self.leasing.on:
                try:
                    mine = cores(self.leasing.cpus or usable_cpus())
                    away = aside(folder=self.leasing.folder, reserved=self.leasing.reserved, mine=mine)
                    hold = stack.enter_context(away)
                except (EvaluatorFault, OSError) as error:  # no locks: whoever measures says so
                    log.debug("not kept aside: %s", error)
            yield hold

    def measured(self, measure: Callable[[Session], T], *, again: bool) -> T:
        """The answer of ``measure``, on devices that are leased for it.

        Void at the first try is raised at once: there may be better places. ``again``: it was void before, so quiet
        devices are chosen, and void measurements repeated, for as long as there is patience. Raises Void after that.
        """
        end_s = time.monotonic() + (self.leasing.quiet_s if again else 0.0)
        tries = 0
        while True:
            try:
                until_s = min(end_s, time.monotonic() + _pause_s(tries + 1)) if again else 0.0
                with self.session(patience_s=0.0, quiet_until_s=until_s) as session:
                    session.voids = tries
                    return measure(session)
            except Void as void:
                tries += 1
                if time.monotonic() >= end_s:
                    if again:
                        raise Void(f"{void}\nVoid {tries} times within {self.leasing.quiet_s:g} s.") from void
                    raise
                log.info("measured again: %s", void)

    @contextmanager
    def session(self, *, patience_s: float, quiet_until_s: float = 0.0) -> Iterator[Session]:
        """Lease what the run asks for; quiet devices, if there are any until then (monotonic clock).

        Raises Void where none becomes free, and EvaluatorFault where there can never be enough.
        """
        leasing = self.leasing
        assert leasing.request is not None, "asked for where something is to be leased"
        offered = self._offered(leasing.request)
        if quiet_until_s:
            offered = self._quiet(offered, leasing.request.cores, quiet_until_s)
        with leased(
            leasing.request, folder=leasing.folder, timeout_s=leasing.wait_s, label=self.label, offered=offered
        ) as lease:
            yield Session(lease, leasing, bool(usable_cpus() - set(lease.affinity)), patience_s)

    def _offered(self, request: Request) -> Inventory:
        """All but the first core, where that is enough: something must be left for everything else."""
        mine = cores(self.leasing.cpus or usable_cpus())
        if len(mine) > request.cores:
            mine = mine[1:]
        return replace(inventory(), cores=mine) if request.gpus or request.apple else Inventory(mine)

    def _quiet(self, offered: Inventory, wanted: int, until_s: float) -> Inventory:
        """Of these, the cores that are idle or held by another search; all, where that is too few until then."""
        while True:
            locks = Locks.open(self.leasing.folder)
            try:
                held = {core for core in offered.cores if locks.taken(core.name)}
            finally:
                locks.close()
            idle = _idle(tuple(core for core in offered.cores if core not in held))
            found = tuple(core for core in offered.cores if core in held or core in idle)
            if len(found) >= min(wanted, len(offered.cores)):
                return replace(offered, cores=found)
            if time.monotonic() >= until_s:
                return offered


def _pause_s(voids: int) -> float:
    return float(min(FIRST_WAIT_S * 2 ** min(voids - 1, 20), LONGEST_WAIT_S))


def _idle(among: tuple[Core, ...]) -> frozenset[Core]:
    """Cores that nobody uses for a moment; all, where that cannot be seen."""
    before = counters.read_each([core.siblings for core in among])
    time.sleep(QUIET_S)
    after = counters.read_each([core.siblings for core in among])
    found = set()
    for core, then, now in zip(among, before, after, strict=True):
        allowed_s = max(DEFAULTS.foreign_floor_s, DEFAULTS.foreign_share * math.sqrt(len(core.siblings)) * QUIET_S)
        if then is None or now is None or now.busy_since(then) <= allowed_s:
            found.add(core)
    return frozenset(found)
