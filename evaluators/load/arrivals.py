"""When requests are sent: open loops, which never wait for an answer, and closed loops, which do.

An open loop (Schroeder, Wierman, Harchol-Balter, NSDI 2006) is the world outside: people come whether or not the
server keeps up, so its latencies show queueing. A closed loop is a fixed number of users, each of whom waits for an
answer before asking again: it finds capacity, and hides queueing, because a slow server is asked less.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from evaluators.load.given import finite, not_negative, positive, whole
from raysearch.errors import TargetError


class Arrivals(Protocol):
    """A schedule that is fixed before the first request is sent."""

    def times_s(self, until_s: float, rng: random.Random) -> Iterator[float]:
        """Seconds since the load began at which requests are due, ascending, all below ``until_s``."""
        ...

    def describe(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent exponential gaps of mean 1/``rate_per_s``: many people who do not know of each other."""

    rate_per_s: float

    def __post_init__(self) -> None:
        positive("rate_per_s", self.rate_per_s)

    def times_s(self, until_s: float, rng: random.Random) -> Iterator[float]:
        at_s = rng.expovariate(self.rate_per_s)
        while at_s < until_s:
            yield at_s
            at_s += rng.expovariate(self.rate_per_s)

    def describe(self) -> str:
        return f"Poisson, {self.rate_per_s:g} requests/s"


@dataclass(frozen=True, slots=True)
class Constant:
    """Equal gaps of 1/``rate_per_s``, the first request at 0."""

    rate_per_s: float

    def __post_init__(self) -> None:
        positive("rate_per_s", self.rate_per_s)

    def times_s(self, until_s: float, rng: random.Random) -> Iterator[float]:  # noqa: ARG002
        for number in itertools.count():
            at_s = number / self.rate_per_s
            if at_s >= until_s:
                return
            yield at_s

    def describe(self) -> str:
        return f"constant, {self.rate_per_s:g} requests/s"


@dataclass(frozen=True, slots=True)
class Trace:
    """Recorded arrivals: ``at_s`` ascending, seconds since the load began.

    A trace says by itself when it ends: it must reach beyond the measurement window, or `OpenLoop` has nothing
    to send at its end. ``faster`` divides every time, so 2 is twice the load.
    """

    at_s: tuple[float, ...]
    faster: float = 1.0

    def __init__(self, at_s: Iterable[float], faster: float = 1.0) -> None:
        object.__setattr__(self, "at_s", tuple(at_s))
        object.__setattr__(self, "faster", positive("faster", faster))
        if not self.at_s:
            raise TargetError("the trace holds no arrival: give the times of requests in seconds")
        for number, (one, other) in enumerate(itertools.pairwise((0.0, *self.at_s))):
            if not finite(other) or other < one:
                raise TargetError(
                    f"arrival {number} of the trace is {other!r} after {one!r}: times are finite, 0 or more, ascending"
                )

    @property
    def end_s(self) -> float:
        """When its last request is due."""
        return self.at_s[-1] / self.faster

    def times_s(self, until_s: float, rng: random.Random) -> Iterator[float]:  # noqa: ARG002
        return itertools.takewhile(lambda at_s: at_s < until_s, (at_s / self.faster for at_s in self.at_s))

    def describe(self) -> str:
        return f"trace of {len(self.at_s)} arrivals over {self.end_s:g} s"


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Requests leave at the times of ``arrivals``, whatever became of earlier ones."""

    arrivals: Arrivals

    def describe(self) -> str:
        return f"open loop: {self.arrivals.describe()}"


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """``users`` at once, each asking again when ``think_s`` have passed since the end of the answer.

    ``think`` says how the thinking times are distributed about their mean ``think_s``.
    """

    users: int
    think_s: float = 0.0
    think: Literal["constant", "exponential"] = "constant"

    def __post_init__(self) -> None:
        whole("users", self.users)
        not_negative("think_s", self.think_s)
        if self.think not in ("constant", "exponential"):
            raise TargetError(f"think is {self.think!r}: give 'constant' or 'exponential'")

    def pause_s(self, rng: random.Random) -> float:
        """One thinking time."""
        if self.think == "constant" or not self.think_s:
            return self.think_s
        return rng.expovariate(1 / self.think_s)

    def describe(self) -> str:
        thinking = f", thinking {self.think_s:g} s ({self.think})" if self.think_s else ""
        return f"closed loop: {self.users} user{'s' if self.users > 1 else ''}{thinking}"


Load = OpenLoop | ClosedLoop


def require_reach(load: Load, until_s: float) -> None:
    """Raise TargetError where a trace ends before ``until_s``, the end of the window."""
    if isinstance(load, OpenLoop) and isinstance(load.arrivals, Trace) and load.arrivals.end_s < until_s:
        raise TargetError(
            f"the trace ends after {load.arrivals.end_s:g} s, the measurement window after {until_s:g} s: "
            "give a longer trace or a shorter window"
        )
