"""The measurement window, and to which part of it a request belongs.

One rule everywhere: **a request belongs to the part in which it was due**, however long its answer takes. So the
slowest requests of the window, whose answers come in the drain, are counted, and requests that were due before or
after it are not. Rates are counted the other way round, as a flow: what *arrives* within the window, whenever it was
asked for, over the window's length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evaluators.load.given import not_negative, positive

Phase = Literal["warm-up", "window", "drain"]


@dataclass(frozen=True, slots=True)
class Window:
    """``warm_up_s`` that do not count, then ``measure_s`` that do, then the drain.

    The drain lasts until every request that was due before the window's end is over, and the load goes on
    meanwhile, so that the last requests of the window find the server as busy as the first did.
    """

    warm_up_s: float
    measure_s: float

    def __post_init__(self) -> None:
        not_negative("warm_up_s", self.warm_up_s)
        positive("measure_s", self.measure_s)

    @property
    def start_s(self) -> float:
        """When it opens, in seconds since the load began."""
        return self.warm_up_s

    @property
    def end_s(self) -> float:
        """When it closes, in seconds since the load began."""
        return self.warm_up_s + self.measure_s

    def phase(self, due_s: float) -> Phase:
        """Where a request belongs that was due at ``due_s``; the window is closed below and open above."""
        if due_s < self.start_s:
            return "warm-up"
        return "window" if due_s < self.end_s else "drain"

    def slice(self, at_s: float, slices: int) -> int | None:
        """In which of ``slices`` equal parts of the window ``at_s`` lies; None: outside of it."""
        if not self.start_s <= at_s < self.end_s:
            return None
        return min(slices - 1, int((at_s - self.start_s) / self.measure_s * slices))
