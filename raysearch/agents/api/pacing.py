"""When to ask again: waits between tries, and a breaker that keeps everyone from a provider that is down."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Protocol


class Pace(Protocol):
    """The passing of time."""

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...

    def sleep(self, seconds: float) -> None: ...


class RealPace:
    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and how far apart.

    The n-th wait is drawn evenly from zero to ``first_s`` times 2 to the n, at most ``longest_s`` (full jitter: many
    who were turned away at once do not come back at once). Where the provider says how long to wait, that is waited,
    and up to ``first_s`` more.
    """

    retries_max: int = 5
    first_s: float = 1.0
    longest_s: float = 60.0

    def wait_s(self, failures: int, asked_s: float | None, rng: random.Random) -> float:
        """How long to wait after so many ``failures`` in a row (1 for the first)."""
        if asked_s is not None:
            return asked_s + rng.uniform(0, self.first_s)
        return rng.uniform(0, min(self.longest_s, self.first_s * 2.0 ** min(failures, 32)))


@dataclass(slots=True)
class Breaker:
    """Opens after ``failures_max`` failures in a row, from whichever call they came.

    While it is open nothing is asked; after ``rest_s`` one call may try (half open): if that goes well the breaker
    closes, if not it stays open for twice as long as before, at most ``rest_max_s``. Safe to share among threads.
    """

    failures_max: int = 5
    rest_s: float = 20.0
    rest_max_s: float = 300.0
    _failures: int = field(default=0, init=False)
    _until: float | None = field(default=None, init=False)
    """When it may be tried again; None: it is closed."""
    _trying: bool = field(default=False, init=False)
    _rested: int = field(default=0, init=False)
    """How often it has opened since the last success."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def wait_s(self, now: float) -> float:
        """How long to wait before asking; at 0 the caller must ask, and then say how it went."""
        with self._lock:
            if self._until is None:
                return 0.0
            if now < self._until:
                return self._until - now
            if self._trying:
                return self.rest_s
            self._trying = True
            return 0.0

    def succeeded(self) -> None:
        with self._lock:
            self._failures, self._until, self._trying, self._rested = 0, None, False, 0

    def failed(self, now: float) -> None:
        """The provider was at fault, not the request."""
        with self._lock:
            self._failures += 1
            if self._trying or (self._until is None and self._failures >= self.failures_max):
                self._until = now + min(self.rest_max_s, self.rest_s * 2.0 ** min(self._rested, 32))
                self._rested += 1
            self._trying = False

    def untried(self) -> None:
        """Nothing was learnt of the provider."""
        with self._lock:
            self._trying = False
