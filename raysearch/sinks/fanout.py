"""Several sinks as one, none of which can hurt the run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from raysearch.facts import Entry
from raysearch.jobs import Job
from raysearch.protocols import Sink

TICK_S = 1.0


@runtime_checkable
class Ticking(Protocol):
    """A sink that has something to do as time goes by, though nothing happens."""

    def tick(self) -> None: ...


class Fanout:
    """Tells each sink in turn. What a sink raises is reported once a kind, and the run goes on.

    One thread gives ticks, never while a sink is being told: sinks need no locks of their own for that. With
    ``tick_s`` None there is no thread, and ticks come from whoever calls `tick`.
    """

    def __init__(self, sinks: Sequence[Sink], complain: Callable[[str], None], tick_s: float | None = TICK_S) -> None:
        self._sinks = tuple(sinks)
        self._complain = complain
        self._reported: set[tuple[int, type[Exception]]] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._ticker: threading.Thread | None = None
        if tick_s is not None:
            self._ticker = threading.Thread(target=self._tick_every, args=(tick_s,), name="sinks", daemon=True)
            self._ticker.start()

    def told(self, entry: Entry) -> None:
        self._each(lambda sink: sink.told(entry))

    def started(self, job: Job) -> None:
        self._each(lambda sink: sink.started(job))

    def tick(self) -> None:
        self._each(lambda sink: sink.tick() if isinstance(sink, Ticking) else None)

    def close(self) -> None:
        """Stop ticking, then close every sink."""
        self._closing.set()
        if self._ticker is not None:
            self._ticker.join()
            self._ticker = None
        self._each(lambda sink: sink.close())

    def _tick_every(self, seconds: float) -> None:
        while not self._closing.wait(seconds):
            self.tick()

    def _each(self, act: Callable[[Sink], None]) -> None:
        with self._lock:
            for index, sink in enumerate(self._sinks):
                try:
                    act(sink)
                except Exception as error:
                    self._report(index, sink, error)

    def _report(self, index: int, sink: Sink, error: Exception) -> None:
        kind = (index, type(error))
        if kind in self._reported:
            return
        self._reported.add(kind)
        with contextlib.suppress(Exception):  # a full disk breaks the log as well
            self._complain(f"{type(sink).__name__}: {type(error).__name__}: {error} (the run goes on)")
