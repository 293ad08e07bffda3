"""Where a policy meets requests: one at a time in each lane, its answers held against the rules.

The policy's process never holds a request before it has answered the one before it, in any lane; what it
answers is the key that leaves, so which requests were hits is decided here, from a resident set of our own.
Many lanes share a round trip over a pair of pipes: that costs about 6 us, however many requests it carries.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import jail
import numpy as np
import numpy.typing as npt
import traces

Frames = npt.NDArray[np.int64]

MEMORY_MB = 768


class Broken(Exception):
    """A policy broke a rule. ``rule`` is its short name."""

    def __init__(self, rule: str, detail: str, case: str = "") -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule, self.detail, self.case = rule, detail, case


class Referee:
    """One cache as it truly is. Misses are counted here, whatever the policy believes."""

    def __init__(self, name: str, capacity: int) -> None:
        self.name, self.capacity = name, capacity
        self.resident: set[int] = set()
        self.seen = 0
        self.misses = 0

    def judge(self, requests: Sequence[int], answers: Sequence[int]) -> None:
        """Carry the answers out. Raises `Broken` at the first one that no cache could have given."""
        resident, capacity, misses = self.resident, self.capacity, 0
        for place, (key, leaving) in enumerate(zip(requests, answers, strict=True)):
            if key not in resident:
                misses += 1
                resident.add(key)
            if leaving:
                if leaving not in resident:
                    raise self._broken(place, "not resident", f"asked to evict {leaving}, which is not in the cache")
                resident.remove(leaving)
            elif len(resident) > capacity:
                raise self._broken(place, "over capacity", f"nothing left although {len(resident)} keys would be held")
        self.seen += len(requests)
        self.misses += misses

    def _broken(self, place: int, rule: str, what: str) -> Broken:
        where = f"case {self.name} (capacity {self.capacity}), request {self.seen + place + 1}"
        return Broken(rule, f"{where}: {what}", self.name)


class Player:
    """A policy's process, from outside. Use as a context manager. Every method raises `Broken`."""

    def __init__(self, policy: Path, capacities: Sequence[int], *, patience_s: float) -> None:
        jail.check_machine()
        if not policy.is_file() or policy.is_symlink():
            raise Broken("missing", f"there is no plain file {policy.name}")
        self.patience_s = patience_s
        self._frame = struct.Struct(f"={len(capacities) + 1}q")
        self._given_up = False
        asked, self._requests = os.pipe()
        self._answers, answered = os.pipe()
        lanes = [str(capacity) for capacity in capacities]
        script = str(Path(__file__).with_name("player.py"))
        words = [script, str(asked), str(answered), str(MEMORY_MB), str(policy), *lanes]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", *words],
            pass_fds=(asked, answered),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
        )
        os.close(asked)
        os.close(answered)

    def __enter__(self) -> Self:
        try:
            with self._watched():
                try:
                    self._read(b"")  # the door is closed; none of the policy's code has run yet
                except Broken as refused:
                    raise jail.Unsupported(refused.detail) from None
                self._read(b"")  # the policy is loaded and its caches are built
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

    def cpu_s(self) -> float:
        """CPU time of the process so far, all threads, as the kernel counts it (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def play(self, requests: Frames) -> Frames:
        """Ask for each row of ``requests`` (rounds, lanes) in turn; the answers, in the same shape."""
        size, good = self._frame.size, bytes(8)
        replies = []
        with self._watched():
            for row in requests:
                os.write(self._requests, row.tobytes())
                reply = os.read(self._answers, size)
                if len(reply) != size or reply[:8] != good:
                    reply = self._read(reply)
                replies.append(reply)
        return np.frombuffer(b"".join(replies), np.int64).reshape(len(requests), -1)[:, 1:]

    def finish(self) -> None:
        """Hang up. Whatever still comes was never asked for."""
        os.set_blocking(self._answers, False)
        try:
            excess = os.read(self._answers, 1)
        except BlockingIOError:
            return
        raise Broken("protocol", "the policy answered more than it was asked") if excess else self._ended()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Within this block the process has ``patience_s`` of wall time, then it is killed."""
        watch = threading.Timer(self.patience_s, self._give_up)
        watch.start()
        try:
            yield
        except BrokenPipeError:
            self._read(b"")
            raise self._ended() from None
        finally:
            watch.cancel()
            watch.join()

    def _read(self, begun: bytes) -> bytes:
        """The rest of a frame; raises `Broken` with the process's last words."""
        reply = begun
        while len(reply) < self._frame.size:
            more = os.read(self._answers, self._frame.size - len(reply))
            if not more:
                break
            reply += more
        if reply[:8] == bytes(8) and len(reply) == self._frame.size:
            return reply
        if len(reply) < 8:
            raise self._ended()
        length = struct.unpack_from("=q", reply)[0]
        if not 0 < length <= 10_000:
            raise Broken("protocol", "the policy wrote into the pipe that carries its answers")
        while len(reply) < 8 + length and (more := os.read(self._answers, 8 + length - len(reply))):
            reply += more
        rule, _, detail = reply[8:].decode(errors="replace").partition("|")
        raise Broken(rule, detail)

    def _give_up(self) -> None:
        self._given_up = True
        self._process.kill()

    def _ended(self) -> Broken:
        if self._given_up:
            return Broken("timed out", f"no answer within {self.patience_s:g} s")
        status = self._process.wait()
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        return Broken("died", f"the policy's process ended by itself ({how})")


class Match:
    """A policy's process at work on a set of cases, a segment at a time."""

    def __init__(self, player: Player, cases: Sequence[traces.Case]) -> None:
        self.player = player
        self.referees = [Referee(case.name, case.capacity) for case in cases]
        self._requests = np.array([case.requests for case in cases], np.int64).T.copy()

    @property
    def rounds(self) -> int:
        return len(self._requests)

    def advance(self, start: int, stop: int) -> float:
        """Play rounds ``start`` to ``stop`` (exclusive). Gives the CPU time used for them, in seconds."""
        requests = self._requests[start:stop]
        before_s = self.player.cpu_s()
        answers = self.player.play(requests)
        used_s = self.player.cpu_s() - before_s
        for lane, referee in enumerate(self.referees):
            referee.judge(requests[:, lane].tolist(), answers[:, lane].tolist())
        return used_s


def segments(rounds: int, count: int) -> list[tuple[int, int]]:
    """``rounds`` cut into at most ``count`` nearly equal pieces: (start, stop), stop exclusive."""
    edges = [round(rounds * i / count) for i in range(count + 1)]
    return [(start, stop) for start, stop in itertools.pairwise(edges) if stop > start]
