"""A compiled kernel as a process that is asked for products. Nothing that it says is believed.

The process's CPU time, as the kernel of the operating system counts it and read from outside, is the only clock. It is
read after the product has been copied, and each call is charged with everything since the call before: a process that
answers early and computes on, or computes between calls, only fails or pays.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from build import Broken, Unsupported

Matrix = npt.NDArray[np.float32]

ARENA = 1 << 22
"""Bytes for each of the three matrices."""
GUARD = 1 << 16
CANARY = 0x7FC5A5A5
"""The bits of a float that is not a number, as no computation gives it."""
_EXITS = {
    70: "the operating system refuses a seccomp filter; allow seccomp where this runs",
    71: "the shared memory could not be mapped",
}


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """What a call left in c, shape (n, m), and the CPU time that the process used for it."""

    c: Matrix
    cpu_s: float


class Kernel:
    """Use as a context manager. ``patience_s`` is the longest wall time for one call. Methods raise `Broken`."""

    def __init__(self, program: Path, patience_s: float) -> None:
        self._patience_s = patience_s
        self._number = 0
        size = 3 * ARENA + 4 * GUARD
        file = os.memfd_create("matrices")
        try:
            os.ftruncate(file, size)
            memory = np.frombuffer(mmap.mmap(file, size), np.float32)
            self._process = subprocess.Popen(
                [program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                pass_fds=(file,),
                env={},
            )
        except OSError as error:
            raise Unsupported(
                f"a program compiled in {program.parent} does not start ({error.strerror}); set TMPDIR to a folder on "
                "a file system that allows programs to run"
            ) from None
        else:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
            self._send(struct.pack("=5q", file, GUARD, ARENA, ARENA, ARENA))
        finally:
            os.close(file)
        self._starts = [GUARD + number * (ARENA + GUARD) for number in range(3)]
        self._arenas = [memory[start // 4 : (start + ARENA) // 4] for start in self._starts]
        self._ready = select.poll()
        self._ready.register(self._from, select.POLLIN)
        self._used_s = 0.0

    def __enter__(self) -> Self:
        try:
            try:
                self._receive()  # the door is closed; none of the kernel's code has run yet
            except Broken as refused:
                reason = _EXITS.get(self._process.poll() or 0, f"a compiled program does not start: {refused.detail}")
                raise Unsupported(reason) from None
            self._used_s = self._cpu_s()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def multiply(self, a: Matrix, b: Matrix, *, at_end: bool = False) -> Product:
        """The product of ``a``, shape (n, k), and ``b``, shape (k, m); either may be the other.

        The matrices lie at the beginning of their arenas, or at their very end.
        """
        (n, k), m = a.shape, b.shape[1]
        at_a = self._put(0, a, at_end)
        at_b = self._put(1, b, at_end) if b is not a else at_a
        begin = (ARENA // 4 - n * m) if at_end else 0
        c = self._arenas[2]
        c.view(np.uint32)[:] = CANARY
        self._number += 1
        at_c = self._starts[2] + 4 * begin
        self._send(struct.pack("=7q", self._number, at_a, at_b, at_c, n, m, k))
        self._receive()
        found = c.copy()
        used_s, before_s = self._cpu_s(), self._used_s
        self._used_s = used_s
        around = found.view(np.uint32)
        if (around[:begin] != CANARY).any() or (around[begin + n * m :] != CANARY).any():
            raise Broken("overrun", f"c was written to outside of its {n} x {m} elements")
        left = np.flatnonzero(around[begin : begin + n * m] == CANARY)
        if left.size:
            row, column = divmod(int(left[0]), m)
            raise Broken("wrong result", f"c[{row}][{column}] was not written, or only added to ({left.size} elements)")
        return Product(found[begin : begin + n * m].reshape(n, m), used_s - before_s)

    def finish(self) -> None:
        """Whatever still comes was never asked for."""
        if self._ready.poll(0):
            raise Broken("protocol", "the kernel wrote an answer of its own, or ended the process")

    def _put(self, arena: int, matrix: Matrix, at_end: bool) -> int:
        """Where in the file the matrix lies now, in bytes."""
        begin = (ARENA // 4 - matrix.size) if at_end else 0
        self._arenas[arena][begin : begin + matrix.size] = matrix.ravel()
        return self._starts[arena] + 4 * begin

    def _cpu_s(self) -> float:
        """CPU time of the process so far (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._to, message)

    def _receive(self) -> None:
        """Wait for the answer to the last request."""
        if not self._ready.poll(self._patience_s * 1000):
            raise Broken("timed out", f"a call took more than {self._patience_s:g} s")
        reply = os.read(self._from, 8)
        if not reply:
            raise self._ended()
        if reply != struct.pack("=q", self._number):
            raise Broken("protocol", "the kernel wrote an answer of its own")

    def _ended(self) -> Broken:
        status = self._process.wait()
        if status == -signal.SIGSYS:
            return Broken("out of bounds", "the kernel asked the operating system for something (SIGSYS); it may not")
        if status in (-signal.SIGSEGV, -signal.SIGBUS):
            return Broken(
                "crash",
                f"the kernel died of {signal.Signals(-status).name}: it read or wrote outside of the matrices, wrote "
                "to a or b, expected more than 4-byte alignment, or used more than 8 MB of stack",
            )
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
        return Broken("crash", f"the kernel's process ended {how}")
