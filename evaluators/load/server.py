"""A server under test: started, found ready, watched, and ended with everything that it started."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from evaluators.load.given import positive
from raysearch.errors import Refused, TargetError
from raysearch.process import Ending, GuardedProcess

HOST = "127.0.0.1"
PAUSE_S = 0.02
PROBE_S = 2.0
"""How long one question whether it is ready may take."""
TAIL_BYTES = 4000
PORT_TRIES = 3
Ready = str | Callable[[int], bool] | None
"""A path that answers with status 200 when it is ready; or what says so of a port; None: it takes connections."""


class Server:
    """Runs ``command`` in ``cwd`` while it is entered; ``{port}`` and ``{host}`` in its words are filled in.

    Entering returns when the server is ready. It runs in a session of its own under a guard, so that leaving, or the
    death of this process, ends the whole tree: SIGTERM, ``grace_s``, SIGKILL. Its environment is that of this process,
    with ``env`` on top; stdout and stderr go to a log.

    Entering raises Refused, with the end of the log, where the server ends or is not ready within
    ``start_timeout_s``; TargetError where no port can be opened at all.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: str | Path,
        ready: Ready = "/health",
        env: Mapping[str, str] | None = None,
        start_timeout_s: float = 60.0,
        grace_s: float = 2.0,
    ) -> None:
        self._command = tuple(command)
        self._cwd = cwd
        self._ready = ready
        self._env = {**os.environ, **(env or {})}
        self._start_timeout_s = positive("start_timeout_s", start_timeout_s)
        self._grace_s = grace_s
        self._process: GuardedProcess | None = None
        self._log: IO[bytes] | None = None
        self._last_words = ""
        self.port = 0
        self.ready_after_s = 0.0
        """How long it took to be ready."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Of the command; 0 before it was started."""
        return self._process.pid if self._process else 0

    @property
    def ending(self) -> Ending | None:
        """How it ended: status, processor time of its tree; None while it runs."""
        return self._process.ending if self._process else None

    def __enter__(self) -> Server:
        try:
            for tries_left in reversed(range(PORT_TRIES)):
                self._start()
                if gone := self._await_ready():
                    taken = "ddress already in use" in self.log_tail()
                    if not taken or not tries_left:
                        raise Refused(gone)
                    self.close()
                    continue
                return self
        except BaseException:
            self.close()
            raise
        raise AssertionError("the last try returns or raises")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, and all that it started. Raises SandboxFault if that cannot be done."""
        try:
            if self._process:
                self._process.close()
        finally:
            self._last_words = self.log_tail()
            if self._log:
                self._log.close()
                self._log = None

    def watch(self) -> str:
        """Why it is gone, with the end of its log; empty while it runs. Does not wait."""
        ending = self._process.poll() if self._process else None
        return "" if ending is None else f"The server ended by itself, with {_status(ending)}.{self._said()}"

    def log_tail(self) -> str:
        """The end of what it printed, also after its end."""
        if self._log is None:
            return self._last_words
        size = self._log.seek(0, os.SEEK_END)
        return os.pread(self._log.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES)).decode("utf-8", "replace")

    def _start(self) -> None:
        self.port = free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        words = [word.replace("{port}", str(self.port)).replace("{host}", HOST) for word in self._command]
        self._process = GuardedProcess.start(
            words,
            cwd=self._cwd,
            env=self._env,
            stdout=self._log.fileno(),
            stderr=self._log.fileno(),
            grace_s=self._grace_s,
        )

    def _await_ready(self) -> str:
        """Empty when it is ready, or why it never will be."""
        began_s = time.monotonic()
        while True:
            if gone := self.watch():
                return gone
            if self._is_ready():
                self.ready_after_s = time.monotonic() - began_s
                return ""
            if time.monotonic() - began_s > self._start_timeout_s:
                return f"The server was not ready within {self._start_timeout_s:g} s ({self._asked()}).{self._said()}"
            time.sleep(PAUSE_S)

    def _is_ready(self) -> bool:
        if callable(self._ready):
            return self._ready(self.port)
        if self._ready is None:
            with suppress(OSError), socket.create_connection((HOST, self.port), PROBE_S):
                return True
            return False
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PROBE_S)
        try:
            connection.request("GET", self._ready)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _asked(self) -> str:
        if isinstance(self._ready, str):
            return f"GET {self._ready} did not answer with status 200"
        return "it takes no connections" if self._ready is None else "by the target's own probe"

    def _said(self) -> str:
        tail = self.log_tail().strip()
        return f" Its log ends:\n{tail}" if tail else " It printed nothing."


def free_port() -> int:
    """A port of the loopback device that nobody uses now. Raises TargetError."""
    try:
        with socket.socket() as listener:
            listener.bind((HOST, 0))
            return int(listener.getsockname()[1])
    except OSError as error:
        raise TargetError(
            f"no port of {HOST} can be opened here ({error.strerror}): servers need the sandbox `bubblewrap`, whose "
            "loopback device is their own, or `network = true` in the target's [limits]"
        ) from error


def _status(ending: Ending) -> str:
    if ending.status >= 0:
        return f"exit status {ending.status}"
    try:
        return f"signal {signal.Signals(-ending.status).name}"
    except ValueError:
        return f"signal {-ending.status}"
