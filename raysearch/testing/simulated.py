"""A clock, a disk and pools that exist in this process alone, and go wrong on demand."""

from __future__ import annotations

import heapq
import io
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from raysearch.codec import encode
from raysearch.errors import Fault, LedgerError, OutOfSpace, TimedOut, WorkerLost
from raysearch.facts import Entry
from raysearch.jobs import Job, Result
from raysearch.ledger import JOURNAL, FileLedger, read_lines, torn_tail
from raysearch.protocols import Answer, Ledger
from raysearch.types import Stage


class PowerCut(BaseException):
    """The driver's machine dies here. No ``except Exception`` may stop it."""


@dataclass(slots=True)
class FakeClock:
    """Time that passes only when someone waits."""

    monotonic_s: float = 0.0
    wall_s: float = 0.0
    """Wall clock minus monotonic clock; change it to let the wall clock jump."""

    def now(self) -> float:
        return self.wall_s + self.monotonic_s

    def monotonic(self) -> float:
        return self.monotonic_s

    def sleep(self, seconds: float) -> None:
        self.monotonic_s += seconds


class Journal(Ledger, Protocol):
    """A ledger that lets go of its file."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Mishap:
    """What befalls a journal at its ``append``-th line from now (1 is the next)."""

    append: int
    kept: float = 0.0
    """Share of the line that reaches the disk, 0 to 1; with 1 it is whole, though nobody was told."""
    zeros: int = 0
    """Zero bytes after that, as a file system may leave them."""
    full: bool = False
    """The disk is full: `LedgerError` and no trace of the line, instead of a power cut."""


@dataclass(slots=True)
class SimDisk:
    """One file. What is written is lost at a power cut until it is synced."""

    durable: bytearray = field(default_factory=bytearray)
    cached: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes) -> None:
        self.cached += data

    def sync(self) -> None:
        self.durable += self.cached
        self.cached.clear()

    def open(self, mishap: Mishap | None = None) -> Journal:
        """The journal on it, ready for a driver."""
        return SimLedger(self, mishap)

    def lose_power(self, kept: int = 0, zeros: int = 0) -> None:
        """Keep the first ``kept`` bytes of what was not synced, followed by ``zeros`` zero bytes."""
        self.durable += self.cached[:kept] + bytes(zeros)
        self.cached.clear()


@dataclass(slots=True)
class SimLedger:
    """The journal on a `SimDisk`, in the format and with the rules of the real one."""

    disk: SimDisk
    mishap: Mishap | None = None
    _appends: int = 0

    def append(self, entry: Entry) -> None:
        line = encode(entry)
        self.disk.write(line)
        self._appends += 1
        if self.mishap is not None and self._appends == self.mishap.append:
            if self.mishap.full:
                self.disk.lose_power()
                raise LedgerError("journal: No space left on device")
            self.disk.lose_power(round(self.mishap.kept * len(line)), self.mishap.zeros)
            raise PowerCut
        self.disk.sync()

    def replay(self) -> Iterator[Entry]:
        torn = torn_tail(bytes(self.disk.durable))
        del self.disk.durable[len(self.disk.durable) - len(torn) :]
        return read_lines(io.BytesIO(bytes(self.disk.durable)))

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class FileDisk:
    """A real folder in place of a `SimDisk`: the journal of production, cut off by writing part of a line."""

    folder: Path

    def open(self, mishap: Mishap | None = None) -> Journal:
        """The journal in it, ready for a driver."""
        return _CutOff(FileLedger(self.folder / JOURNAL), mishap)


@dataclass(slots=True)
class _CutOff:
    ledger: FileLedger
    mishap: Mishap | None
    _appends: int = 0

    def append(self, entry: Entry) -> None:
        self._appends += 1
        if self.mishap is None or self._appends != self.mishap.append:
            self.ledger.append(entry)
            return
        self.ledger.close()
        if self.mishap.full:
            raise LedgerError("journal: No space left on device")
        line = encode(entry)
        with self.ledger.path.open("ab") as file:
            file.write(line[: round(self.mishap.kept * len(line))] + bytes(self.mishap.zeros))
        raise PowerCut

    def replay(self) -> Iterator[Entry]:
        return self.ledger.replay()

    def close(self) -> None:
        self.ledger.close()


@dataclass(frozen=True, slots=True)
class Faults:
    """How often a job goes wrong on its way, each as a probability from 0 to 1."""

    lost: float = 0.0
    """The worker goes away: WorkerLost."""
    slow: float = 0.0
    """It takes forty times as long, which may be longer than its time."""
    silent: float = 0.0
    """Nothing is heard until its time is over: TimedOut."""
    late: float = 0.0
    """Of a job that was given up, the answer arrives all the same."""
    doubled: float = 0.0
    """The answer arrives twice."""
    full: float = 0.0
    """The worker's disk is full: OutOfSpace."""


@dataclass(frozen=True, slots=True)
class Span:
    """A slot's time with a job, on the pool's clock."""

    stage: Stage
    slot: int
    job: Job
    began_s: float
    ends_s: float


@dataclass(order=True, slots=True)
class _Arrival:
    at_s: float
    order: int
    job: Job = field(compare=False)
    fault: Fault | None = field(compare=False)
    span: Span | None = field(compare=False)
    """The slot that this answer sets free; None for an answer that nobody waits for."""


@dataclass(slots=True)
class SimPool:
    """Slots by role, jobs that take about ``job_s`` seconds each, and faults by lot.

    Keeps `raysearch.protocols.Pool`'s promise: every job is answered, by its time limit at the latest once it
    has a slot. ``perform`` does a job; the faults that it raises are answers.
    """

    perform: Callable[[Job], Result]
    clock: FakeClock
    rng: random.Random
    slots: Mapping[Stage, int]
    faults: Faults = Faults()
    job_s: float = 1.0
    lasts: Callable[[Job], float] | None = None
    """How many seconds a job takes, where ``job_s`` does not say enough."""
    spans: list[Span] = field(default_factory=list)
    """Every job that ever had a slot, for whoever wants to check that no slot had two at once."""
    _free: dict[Stage, list[int]] = field(init=False)
    _queues: dict[Stage, deque[Job]] = field(default_factory=lambda: {stage: deque() for stage in Stage})
    _arrivals: list[_Arrival] = field(default_factory=list)
    _order: int = 0

    def __post_init__(self) -> None:
        self._free = {stage: list(range(self.slots[stage])) for stage in Stage}

    def submit(self, job: Job) -> None:
        self._queues[job.stage].append(job)
        self._start(job.stage)

    def next(self, timeout_s: float) -> Answer | None:
        if not self._arrivals or self._arrivals[0].at_s > self.clock.monotonic_s + timeout_s:
            self.clock.sleep(timeout_s)
            return None
        arrival = heapq.heappop(self._arrivals)
        self.clock.monotonic_s = max(self.clock.monotonic_s, arrival.at_s)
        job, span, took_s, worker = arrival.job, arrival.span, 0.0, ""
        if span is not None:
            took_s, worker = span.ends_s - span.began_s, f"{span.stage}-{span.slot}"
            self._release(span)
            if self.rng.random() < self.faults.doubled:
                self._arrive(self.clock.monotonic_s + self._lasts_s(job), job, arrival.fault)
        return Answer(job, arrival.fault or answered(self.perform, job), worker, took_s)

    def close(self) -> None:
        self._arrivals.clear()
        for queue in self._queues.values():
            queue.clear()

    def _release(self, span: Span) -> None:
        self._free[span.stage].append(span.slot)
        self._start(span.stage)

    def _start(self, stage: Stage) -> None:
        while self._queues[stage] and self._free[stage]:
            job, slot = self._queues[stage].popleft(), self._free[stage].pop()
            fault: Fault | None = None
            began_s = self.clock.monotonic_s
            lasts_s = self._lasts_s(job)
            chance, faults = self.rng.random(), self.faults
            if chance < faults.lost:
                fault = WorkerLost("the worker went away")
                lasts_s *= self.rng.random()
            elif chance < faults.lost + faults.silent:
                lasts_s = job.timeout_s + 1.0
            elif chance < faults.lost + faults.silent + faults.slow:
                lasts_s *= 40.0
            elif chance < faults.lost + faults.silent + faults.slow + faults.full:
                fault = OutOfSpace("No space left on device")
            if lasts_s > job.timeout_s:
                lasts_s, fault = job.timeout_s, TimedOut(f"no answer in {job.timeout_s:g} s")
            span = Span(stage, slot, job, began_s, began_s + lasts_s)
            self.spans.append(span)
            self._arrive(span.ends_s, job, fault, span)
            if isinstance(fault, WorkerLost | TimedOut) and self.rng.random() < faults.late:
                self._arrive(span.ends_s + 3.0 * self._lasts_s(job), job)

    def _lasts_s(self, job: Job) -> float:
        return self.rng.expovariate(1.0 / self.job_s) if self.lasts is None else self.lasts(job)

    def _arrive(self, at_s: float, job: Job, fault: Fault | None = None, span: Span | None = None) -> None:
        self._order += 1
        heapq.heappush(self._arrivals, _Arrival(at_s, self._order, job, fault, span))


@dataclass(slots=True)
class DirectPool:
    """Answers every job at once, in the order in which they came: a twin to compare other pools with."""

    perform: Callable[[Job], Result]
    _waiting: deque[Job] = field(default_factory=deque)

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def next(self, timeout_s: float) -> Answer | None:  # noqa: ARG002 # nothing is waited for
        if not self._waiting:
            return None
        job = self._waiting.popleft()
        return Answer(job, answered(self.perform, job))

    def close(self) -> None:
        self._waiting.clear()


def answered(perform: Callable[[Job], Result], job: Job) -> Result | Fault:
    """What ``perform`` makes of ``job``, its faults included."""
    try:
        return perform(job)
    except Fault as fault:
        return fault
