"""Is a prompt that was asked before answered faster? Then the server remembers answers, and a load of fresh prompts
does not see what it does to a load of repeated ones, or the other way round."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from evaluators.load.driver import perform
from evaluators.load.exchange import Exchange, Request
from evaluators.load.figures import Timed
from evaluators.load.given import positive, whole
from evaluators.load.quantiles import Interval, quantile_interval
from evaluators.load.wire import Wire

PAIRS_MIN = 6
"""With fewer, no median has an interval."""


@dataclass(frozen=True, slots=True)
class RepeatProbe:
    """After the load, on the idle server: ``pairs`` fresh prompts, each asked twice in a row.

    Where the second answer surely comes more than ``speedup_max`` times as fast (the 95 % interval of the pairs' median
    lies above it), the program is refused. Compared is the time between tokens where there is any, because a cache of
    prefixes, which is no cheat, shortens only the time to the first one; else the time to the end.
    """

    pairs: int = 12
    speedup_max: float = 2.0

    def __post_init__(self) -> None:
        whole("pairs", self.pairs, PAIRS_MIN)
        positive("speedup_max", self.speedup_max)


Pair = tuple[Exchange, Exchange]


async def probe(
    how: RepeatProbe, wire: Wire, request: Callable[[int], Request], timeout_s: float, now: Callable[[], float]
) -> list[Pair]:
    """Each prompt's first and second answer."""
    pairs = []
    for number in range(how.pairs):
        asked = request(number)
        first = await perform(wire, asked, now(), timeout_s, now)
        second = await perform(wire, replace(asked, kind="repeat"), now(), timeout_s, now)
        pairs.append((first, second))
    return pairs


def speedup(pairs: Sequence[tuple[Timed, Timed]]) -> Interval | None:
    """How many times as fast second answers came: median of the pairs in which both are whole; None: there are none."""
    ratios = []
    for first, second in pairs:
        if first.failure or second.failure:
            continue
        if first.itl_ms and second.itl_ms is not None:
            ratios.append(_ratio(first.itl_ms, second.itl_ms))
        elif first.itl_ms:  # the second came at once
            ratios.append(_ratio(first.e2e_ms - first.ttft_ms, second.e2e_ms - second.ttft_ms))
        else:
            ratios.append(_ratio(first.e2e_ms, second.e2e_ms))
    return quantile_interval(ratios, 0.5) if ratios else None


def _ratio(one_ms: float, other_ms: float) -> float:
    return one_ms / other_ms if other_ms > 0 else math.inf
