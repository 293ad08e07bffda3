"""Run one command to its end under a guard, with its time and its output bounded."""

from __future__ import annotations

import os
import resource
import select
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from raysearch.errors import SandboxFault
from raysearch.process.capture import Capture
from raysearch.process.guarded import PATIENCE_S, UNCONFINED, Confinement, Ending, GuardedProcess
from raysearch.protocols import Completed


class Start(Protocol):
    """`GuardedProcess.start`, or what starts a guarded command in another way."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: str | Path,
        env: Mapping[str, str],
        stdin: int,
        stdout: int,
        stderr: int,
        pass_fds: Sequence[int],
        grace_s: float,
        run: str,
        confinement: Confinement,
    ) -> GuardedProcess: ...


FLOOD = 16
"""A command that printed so many times what is kept will not stop by itself, and is ended."""
TICK_S = 0.2
"""How often cancellation and the other limits are looked at."""
CHUNK_BYTES = 1 << 16


def run_guarded(
    argv: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str],
    timeout_s: float,
    grace_s: float = 1.0,
    output_kb: int = 1024,
    stdin: bytes | None = None,
    pass_fds: Sequence[int] = (),
    cancel: threading.Event | None = None,
    run: str = "",
    confinement: Confinement = UNCONFINED,
    watch: Callable[[bool], str] | None = None,
    start: Start = GuardedProcess.start,
) -> Completed:
    """Run ``argv``; return when it and everything that it started is gone.

    stdout and stderr are each kept to ``output_kb``: beginning and end. ``ended_by`` of the answer is ``time``
    after ``timeout_s``, ``output`` when 16 times ``output_kb`` were printed, ``cancelled`` when ``cancel`` was
    set, ``cpu`` or ``files`` when the kernel ended it for a resource limit, or what ``watch`` names: it is asked
    a few times a second (with False) and once after the end (True) and answers with the limit that was reached,
    or nothing. ``start`` is for commands that are started otherwise than by a guard's own fork and exec. A command
    that cannot be started has status 127 (not found) or 126 and says why on its stderr. Raises SandboxFault if the
    guard cannot start, or was itself killed.
    """
    with ExitStack() as stack:
        out, err = _Pipe(output_kb), _Pipe(output_kb)
        stack.callback(out.close)
        stack.callback(err.close)
        try:
            process = stack.enter_context(
                start(
                    argv,
                    cwd=cwd,
                    env=env,
                    stdin=stack.enter_context(_as_file(stdin)),
                    stdout=out.write_end,
                    stderr=err.write_end,
                    pass_fds=pass_fds,
                    grace_s=grace_s,
                    run=run,
                    confinement=confinement,
                )
            )
        except SandboxFault as fault:
            err.drain()
            reason = err.capture.text().strip()
            raise SandboxFault(f"{fault}: {reason}" if reason else str(fault)) from fault
        started_s = time.monotonic()
        for pipe in (out, err):
            pipe.let_go()
        with _counted(process, confinement):
            ending, ended_by = _follow(process, (out, err), _Bounds(timeout_s, cancel, watch), grace_s)
        took_s = time.monotonic() - started_s
        out.drain()
        err.drain()
    ended_by = ended_by or (watch(True) if watch else "") or _by_kernel(ending, confinement)
    if ending.lost and not ended_by:
        raise SandboxFault(f"the guard of {argv[0]} was killed from outside")
    return Completed(
        status=ending.status,
        stdout=out.capture.text(),
        stderr=err.capture.text(),
        took_s=took_s,
        ended_by=ended_by,
        leftovers=ending.leftovers,
    )


@contextmanager
def _counted(process: GuardedProcess, confinement: Confinement) -> Iterator[None]:
    """Tell whoever lent devices to the command what it spends."""
    spending = confinement.hold.spending
    if spending is None:
        yield
        return
    spending.began(process.root)
    try:
        yield
    finally:
        spending.ended(process.root, process.ending.cpu_s if process.ending else 0.0)


def _by_kernel(ending: Ending, confinement: Confinement) -> str:
    """The resource limit whose signal ended the command, or nothing."""
    if ending.status == -signal.SIGXFSZ:
        return "files"
    cpu_s = dict(confinement.rlimits).get(resource.RLIMIT_CPU)
    if ending.status == -signal.SIGXCPU or (
        ending.status == -signal.SIGKILL and cpu_s is not None and ending.cpu_s >= cpu_s
    ):
        return "cpu"
    return ""


class _Bounds:
    """The limits that the owner itself keeps an eye on."""

    def __init__(self, timeout_s: float, cancel: threading.Event | None, watch: Callable[[bool], str] | None) -> None:
        now_s = time.monotonic()
        self._end_s = now_s + timeout_s
        self._tick_s = now_s + TICK_S
        self._cancel = cancel
        self._watch = watch

    def pause_s(self) -> float:
        """Until something has to be looked at again."""
        return max(0.0, min(self._end_s, self._tick_s) - time.monotonic())

    def reached(self, pipes: Sequence[_Pipe]) -> str:
        """Which limit was reached, or nothing."""
        if any(pipe.flooded for pipe in pipes):
            return "output"
        now_s = time.monotonic()
        if now_s >= self._end_s:
            return "time"
        if now_s < self._tick_s:
            return ""
        self._tick_s = now_s + TICK_S
        if self._cancel is not None and self._cancel.is_set():
            return "cancelled"
        return self._watch(False) if self._watch else ""


def _follow(process: GuardedProcess, pipes: Sequence[_Pipe], bounds: _Bounds, grace_s: float) -> tuple[Ending, str]:
    """Read until the tree is gone; end it when a limit is reached. How it ended, and by which limit."""
    ended_by = ""
    give_up_s = float("inf")
    poll = select.poll()
    poll.register(process, select.POLLIN)
    reading = {pipe.fileno(): pipe for pipe in pipes}
    for number in reading:
        poll.register(number, select.POLLIN)
    while True:
        for number, _ in poll.poll(1000 * (TICK_S if ended_by else bounds.pause_s())):
            if number in reading and not reading[number].read():
                poll.unregister(number)
                del reading[number]
        if (ending := process.poll()) is not None:
            return ending, ended_by
        if ended_by:
            if time.monotonic() > give_up_s:
                raise SandboxFault(f"process {process.pid} and what it started cannot be ended")
        elif ended_by := bounds.reached(pipes):
            process.terminate()
            give_up_s = time.monotonic() + grace_s + PATIENCE_S


@contextmanager
def _as_file(content: bytes | None) -> Iterator[int]:
    """Something to read ``content`` from, without a writer that could wait for ever."""
    if content is None:
        number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield number
        finally:
            os.close(number)
        return
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file.fileno()


class _Pipe:
    """A pipe into a `Capture`."""

    def __init__(self, output_kb: int) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self.capture = Capture(output_kb * 1024)
        self._flood_bytes = FLOOD * output_kb * 1024

    @property
    def flooded(self) -> bool:
        return self.capture.total_bytes > self._flood_bytes

    def fileno(self) -> int:
        return self._read_end

    def read(self) -> bool:
        """Take in what is there, at most a chunk; False at the end."""
        try:
            piece = os.read(self._read_end, CHUNK_BYTES)
        except BlockingIOError:
            return True
        self.capture.add(piece)
        return bool(piece)

    def drain(self) -> None:
        """Take in what is still in the pipe, without waiting for more."""
        while True:
            try:
                piece = os.read(self._read_end, CHUNK_BYTES)
            except BlockingIOError:
                return
            if not piece:
                return
            self.capture.add(piece)

    def let_go(self) -> None:
        """Give up our copy of the writing end, which would keep the pipe open."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        self.let_go()
        os.close(self._read_end)
