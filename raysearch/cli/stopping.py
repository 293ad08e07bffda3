"""Ctrl-C and the like: once to stop in order, twice to stop at once."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h"
_NOTICE = "stopping: finishing what is in hand; Ctrl-C again stops at once (resumable either way)"


class Stopper:
    """Says why to stop, from the first interrupt, termination or hang-up on; the second one ends the process.

    Nothing is lost by that: what is journaled stays, and guards end the processes of jobs with this one. Handlers
    are set while it is entered, and set again if a library has replaced them. To be entered in the main thread.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __call__(self) -> str:
        """The reason to stop; empty as long as there is none."""
        for number in self._before:
            if signal.getsignal(number) != self._heard:
                signal.signal(number, self._heard)
        if self.signal is None:
            return ""
        return "interrupted" if self.signal == signal.SIGINT else f"interrupted by {self.signal.name}"

    @property
    def notice(self) -> str:
        """What to tell whoever is waiting for the end."""
        return _NOTICE if self.signal is not None else ""

    @property
    def status(self) -> int:
        """The exit status by which a shell knows the signal."""
        return 128 + self.signal if self.signal is not None else 0

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _heard(self, number: int, _: FrameType | None) -> None:
        """Runs between any two instructions of the driver: takes no lock and prints through no library."""
        if self.signal is None:
            self.signal = signal.Signals(number)
            if not sys.stderr.isatty():
                os.write(2, f"raysearch: {_NOTICE}\n".encode())
            return
        cursor = _SHOW_CURSOR if sys.stderr.isatty() else b""
        os.write(2, cursor + b"\nraysearch: stopped at once; resume goes on from the last entry of the journal\n")
        os._exit(128 + number)
