"""Where a heuristic meets items: the packing is done here, and the heuristic's process sees no item before its turn.

All instances are packed side by side, one item of each in a round, so that a round trip between the two processes
(about 15 us) is shared by all of them. Instances are drawn independently: what one shows says nothing about another.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import jail
import numpy as np
import numpy.typing as npt
from instances import Instance

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

SPARE = 8
"""How many bins that nobody has used yet are offered beyond the last one in use."""
MEMORY_MB = 1024
REPLAYED = 400
"""How many calls are asked again, in another order and process."""
PLAYER = Path(__file__).resolve().with_name("player.py")


class Broken(Exception):
    """A heuristic broke a rule. ``rule`` is its short name."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule, self.detail = rule, detail


class Bins:
    """The bins of one instance, in the order in which they were offered first."""

    def __init__(self, capacity: int, count: int) -> None:
        self.capacity = capacity
        self._remaining: Array = np.full(count, float(capacity))
        self._reach = 0  # beyond the last bin in use

    def fitting(self, item: float) -> Places:
        """Which bins take ``item``: those in use that have the room, and up to `SPARE` unused ones behind them."""
        return np.flatnonzero(self._remaining[: self._reach + SPARE] >= item)

    def remaining(self, places: Places) -> Array:
        return self._remaining[places]

    def place(self, item: float, place: int) -> None:
        self._remaining[place] -= item
        self._reach = max(self._reach, place + 1)

    @property
    def used(self) -> int:
        return int((self._remaining < self.capacity).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One question and its answer: ``remaining`` and ``scores`` have the same length."""

    item: float
    remaining: Array
    scores: Array


@dataclass(slots=True)
class Sample:
    """Up to `REPLAYED` of the calls that pass by, each as likely as any other (reservoir sampling)."""

    rng: random.Random
    calls: list[Call] = field(default_factory=list)
    seen: int = 0

    def add(self, item: float, remaining: Array, scores: Array) -> None:
        self.seen += 1
        if len(self.calls) < REPLAYED:
            self.calls.append(Call(item, remaining, scores.copy()))
        elif (place := int(self.rng.random() * self.seen)) < REPLAYED:
            self.calls[place] = Call(item, remaining, scores.copy())


class Player:
    """A heuristic's process, from outside. Use as a context manager. Every method raises `Broken`.

    ``lanes`` questions of up to ``room`` bins can be asked at once. ``limit_s`` is the wall time for its whole life.
    """

    def __init__(self, heuristic: Path, lanes: int, room: int, limit_s: float) -> None:
        jail.check_machine()
        self.lanes, self.room = lanes, room
        self._limit_s = limit_s
        self._ends_s = time.monotonic() + limit_s
        size = lanes * (2 + room) * 8
        memory_fd = os.memfd_create("bins")
        asked, self._requests = os.pipe()
        self._answers, answered = os.pipe()
        try:
            os.ftruncate(memory_fd, size)
            self._memory = np.frombuffer(mmap.mmap(memory_fd, size), np.float64).reshape(lanes, 2 + room)
            words = [asked, answered, memory_fd, lanes, room, MEMORY_MB, heuristic]
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(PLAYER), *map(str, words)],
                pass_fds=(asked, answered, memory_fd),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        finally:
            for number in (asked, answered, memory_fd):
                os.close(number)
        self._ready = select.poll()
        self._ready.register(self._answers, select.POLLIN)

    def __enter__(self) -> Self:
        try:
            try:
                self._read()  # the door is closed; none of the heuristic's code has run yet
            except Broken as refused:
                raise jail.Unsupported(refused.detail) from None
            self._read()  # the heuristic is loaded
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._requests)
        os.close(self._answers)

    def ask(self, questions: Sequence[tuple[float, Array] | None]) -> list[Array]:
        """Scores for each question (item, capacities of the bins that fit), in order; none where there is None."""
        for lane, question in enumerate(questions):
            if question is None:
                self._memory[lane, 1] = 0
            else:
                item, remaining = question
                self._memory[lane, :2] = item, len(remaining)
                self._memory[lane, 2 : 2 + len(remaining)] = remaining
        with contextlib.suppress(BrokenPipeError):
            os.write(self._requests, b"?")
        self._read()
        return [
            self._scores(lane, *question) if question is not None else np.empty(0)
            for lane, question in enumerate(questions)
        ]

    def finish(self) -> None:
        """Whatever still comes was never asked for."""
        if self._ready.poll(0):
            raise Broken("protocol", "the heuristic wrote into the pipe that carries its answers, or left")

    def _scores(self, lane: int, item: float, remaining: Array) -> Array:
        scores = self._memory[lane, 2 : 2 + len(remaining)].copy()
        if not np.isfinite(scores).all():
            place = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise Broken(
                "finite",
                f"priority({item:g}, ...) scored bin {place} of {len(scores)}, with {remaining[place]:g} left, "
                f"as {scores[place]:g}; every score must be finite",
            )
        return scores

    def _read(self) -> None:
        """Wait for an answer that says that all is well; raises `Broken` with the process's last words."""
        begun = self._take(8)
        length = struct.unpack("=q", begun)[0]
        if not length:
            return
        if not 0 < length <= 10_000:
            raise Broken("protocol", "the heuristic wrote into the pipe that carries its answers")
        rule, _, detail = self._take(length).decode(errors="replace").partition("|")
        raise Broken(rule, detail)

    def _take(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            left_s = self._ends_s - time.monotonic()
            if left_s <= 0 or not self._ready.poll(left_s * 1000):
                raise Broken("timed out", f"not done within {self._limit_s:g} s")
            more = os.read(self._answers, size - len(taken))
            if not more:
                status = self._process.wait()
                how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
                raise Broken("died", f"the heuristic's process ended by itself ({how})")
            taken += more
        return taken


def pack(heuristic: Path, instances: Sequence[Instance], limit_s: float, sample: Sample) -> list[int]:
    """How many bins each instance takes, with every item in the first of the bins that score highest."""
    bins = [Bins(instance.capacity, len(instance.items)) for instance in instances]
    items = [instance.items.tolist() for instance in instances]
    rounds = max(map(len, items))
    with Player(heuristic, len(instances), rounds, limit_s) as player:
        for number in range(rounds):
            questions: list[tuple[float, Array] | None] = []
            places: list[Places] = []
            for mine, queue in zip(bins, items, strict=True):
                fitting = mine.fitting(queue[number]) if number < len(queue) else np.empty(0, np.intp)
                places.append(fitting)
                questions.append((queue[number], mine.remaining(fitting)) if len(fitting) else None)
            for mine, question, fitting, scores in zip(bins, questions, places, player.ask(questions), strict=True):
                if question is not None:
                    sample.add(*question, scores)
                    mine.place(question[0], int(fitting[np.argmax(scores)]))
        player.finish()
    return [mine.used for mine in bins]


def replay(heuristic: Path, sample: Sample, limit_s: float) -> None:
    """Ask the sampled calls again, shuffled, of a fresh process. Raises `Broken` where an answer differs."""
    calls = list(sample.calls)
    sample.rng.shuffle(calls)
    with Player(heuristic, 1, max(len(call.remaining) for call in calls), limit_s) as player:
        for call in calls:
            (scores,) = player.ask([(call.item, call.remaining)])
            if not np.array_equal(scores, call.scores):
                raise Broken(
                    "not a function",
                    f"priority({call.item:g}, ...) gave other scores for the same {len(scores)} bins when it was "
                    "asked again; they must depend on the two arguments alone, not on earlier calls, chance or time",
                )
        player.finish()


def judged(heuristic: Path, instances: Sequence[Instance], seed: int, limit_s: float) -> list[int]:
    """Bins taken by each instance, in order, of a heuristic that kept every rule. Raises `Broken`."""
    if not heuristic.is_file():
        raise Broken("missing", f"there is no {heuristic.name}")
    sample = Sample(random.Random(seed))
    used = pack(heuristic, instances, limit_s, sample)
    replay(heuristic, sample, limit_s)
    return used
