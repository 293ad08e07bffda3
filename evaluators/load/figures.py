"""From exchanges to measurements: what each request took, and what the window saw.

Per request, all from the time at which it was due:

- ``ttft_ms``: to the first text that is not blank;
- ``e2e_ms``: to the end of the answer;
- ``itl_ms``: mean time between tokens after those that came first, (end of text - first text) / tokens that followed;
  there is none where everything came at once;
- ``gap_ms``: the longest silence between two pieces of text.

A request that failed counts with its whole time limit as ``ttft_ms`` and ``e2e_ms``, so that no failure is ever faster
than a success, and has no ``itl_ms`` and ``gap_ms``. It adds nothing to any rate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from evaluators.load.exchange import Exchange
from evaluators.load.given import positive
from evaluators.load.quantiles import batched, batches_for, mean_interval, quantile, quantile_interval, values_needed
from evaluators.load.tokens import CountTokens, Tolerance
from evaluators.load.window import Window
from raysearch.errors import TargetError
from raysearch.types import Goal, Measurement

EVENTS_MIN = 50
"""A slice of the window counts no fewer events, since one more or less at its edges is chance."""
DELAYS = ("ttft_ms", "e2e_ms", "itl_ms", "gap_ms")


@dataclass(frozen=True, slots=True)
class Slo:
    """What a user calls good: every bound that is given must hold for a request, in milliseconds."""

    ttft_ms: float | None = None
    itl_ms: float | None = None
    e2e_ms: float | None = None

    def __post_init__(self) -> None:
        bounds = {"ttft_ms": self.ttft_ms, "itl_ms": self.itl_ms, "e2e_ms": self.e2e_ms}
        given = {name: bound for name, bound in bounds.items() if bound is not None}
        if not given:
            raise TargetError("an Slo needs at least one bound: ttft_ms, itl_ms or e2e_ms")
        for name, bound in given.items():
            positive(name, bound)

    def holds(self, timed: Timed) -> bool:
        """A failed request is never good; one without time between tokens has waited none."""
        return (
            not timed.failure
            and (self.ttft_ms is None or timed.ttft_ms <= self.ttft_ms)
            and (self.e2e_ms is None or timed.e2e_ms <= self.e2e_ms)
            and (self.itl_ms is None or timed.itl_ms is None or timed.itl_ms <= self.itl_ms)
        )

    def describe(self) -> str:
        bounds = {"TTFT": self.ttft_ms, "ITL": self.itl_ms, "end to end": self.e2e_ms}
        return ", ".join(f"{name} <= {bound:g} ms" for name, bound in bounds.items() if bound is not None)


@dataclass(frozen=True, slots=True)
class Timed:
    """A request and its figures. ``tokens``: recounted, at most as many as were asked for."""

    exchange: Exchange
    failure: str
    """Empty, or ``time``, ``server``, ``generator``, ``empty``, ``short`` or ``long``."""
    counted: int
    tokens: int
    ttft_ms: float
    e2e_ms: float
    itl_ms: float | None
    gap_ms: float | None

    def delay_ms(self, name: str) -> float | None:
        """One of `DELAYS`."""
        return {"ttft_ms": self.ttft_ms, "e2e_ms": self.e2e_ms, "itl_ms": self.itl_ms, "gap_ms": self.gap_ms}[name]


def timed(exchange: Exchange, count: CountTokens, tolerance: Tolerance, timeout_s: float) -> Timed:
    """The figures of one request."""
    counted = count(exchange.text) if exchange.text else 0
    failure = exchange.trouble or _wrong_length(exchange, counted, tolerance)
    if failure or exchange.first_s is None:
        limit_ms = timeout_s * 1e3
        return Timed(exchange, failure or "empty", counted, 0, limit_ms, limit_ms, None, None)
    itl_ms, gap_ms = _between(exchange, counted, count)
    return Timed(
        exchange=exchange,
        failure="",
        counted=counted,
        tokens=min(counted, exchange.request.tokens),
        ttft_ms=(exchange.first_s - exchange.due_s) * 1e3,
        e2e_ms=(exchange.ended_s - exchange.due_s) * 1e3,
        itl_ms=itl_ms,
        gap_ms=gap_ms,
    )


def _wrong_length(exchange: Exchange, counted: int, tolerance: Tolerance) -> str:
    asked = exchange.request.tokens
    fewest, most = tolerance.around(asked)
    if not exchange.text.strip():
        return "empty"
    if counted > most:
        return "long"
    return "short" if exchange.request.exact and counted < fewest else ""


def _between(exchange: Exchange, counted: int, count: CountTokens) -> tuple[float | None, float | None]:
    """``itl_ms`` and ``gap_ms``: tokens that came with the first text waited for nothing, so they do not count."""
    if exchange.first_s is None or len(exchange.arrived_s) < 2:
        return None, None
    later = counted - count(exchange.text[: exchange.first_chars])
    gaps_s = [b - a for a, b in itertools.pairwise(at_s for at_s in exchange.arrived_s if at_s >= exchange.first_s)]
    if later < 1 or not gaps_s:
        return None, None
    return math.fsum(gaps_s) / later * 1e3, max(gaps_s) * 1e3


@dataclass(frozen=True, slots=True)
class Reading:
    """How figures become measurements.

    ``percentiles`` (0 to 100) of each delay are given beside its mean. ``samples``: a measurement holds so many
    values, each of its own part of the window, where the parts hold enough requests for the percentile in question;
    fewer where they do not, one at least. ``prefix`` tells the measurements of several loads apart.
    """

    percentiles: tuple[float, ...] = (50, 90, 99)
    samples: int = 10
    prefix: str = ""


def delays(window_requests: Sequence[Timed], reading: Reading) -> list[Measurement]:
    """Mean and percentiles of each delay, over the requests that were due in the window, in the order they were due.

    A part of the window is a run of consecutive requests. The condition ``whole window`` holds the figure over all of
    them with its interval and their number.
    """
    found = []
    for name in DELAYS:
        values = [value for request in window_requests if (value := request.delay_ms(name)) is not None]
        if not values:
            continue
        parts = batched(values, batches_for(len(values), 0.5, reading.samples))
        means = [math.fsum(part) / len(part) for part in parts]
        found.append(_measurement(f"{reading.prefix}{name}.mean", means, "ms", "min", str(mean_interval(values))))
        for percentile in reading.percentiles:
            p = percentile / 100
            parts = batched(values, batches_for(len(values), p, reading.samples))
            thin = "" if len(values) >= values_needed(p) else f"; wants {values_needed(p)}"
            found.append(
                _measurement(
                    f"{reading.prefix}{name}.p{percentile:g}",
                    [quantile(part, p) for part in parts],
                    "ms",
                    "min",
                    f"{quantile_interval(values, p)}{thin}",
                )
            )
    return found


def rates(requests: Sequence[Timed], window: Window, slo: Slo | None, reading: Reading) -> list[Measurement]:
    """Requests and tokens a second, and goodput, by equal slices of the window (fewer where little happened).

    ``requests_per_s`` counts answers that ended in the slice; ``tokens_per_s`` the tokens that arrived in it, each
    answer's spread over its pieces by their characters: a flow, whenever they were asked for. Goodput is of the
    requests that were *due* in the slice and kept the ``slo``.
    """
    good = [request for request in requests if not request.failure]
    events: dict[tuple[str, str], list[tuple[float, float]]] = {
        ("requests_per_s", "req/s"): [(r.exchange.ended_s, 1.0) for r in good],
        ("tokens_per_s", "tok/s"): [part for r in good for part in _arrivals(r)],
    }
    if slo:
        kept = [r for r in good if slo.holds(r)]
        events["goodput_per_s", "req/s"] = [(r.exchange.due_s, 1.0) for r in kept]
        events["goodput_tokens_per_s", "tok/s"] = [(r.exchange.due_s, float(r.tokens)) for r in kept]
    found = []
    for (name, unit), happened in events.items():
        count = sum(1 for at_s, _ in happened if window.phase(at_s) == "window")
        slices = max(1, min(reading.samples, count // EVENTS_MIN))
        per_s = [total / (window.measure_s / slices) for total in _tally(happened, window, slices)]
        whole = f"{mean_interval(per_s, slices)} slices"
        found.append(_measurement(f"{reading.prefix}{name}", per_s, unit, "max", whole))
    return found


def _arrivals(request: Timed) -> list[tuple[float, float]]:
    """When tokens arrived, and how many: the recount spread over the pieces by their characters."""
    exchange = request.exchange
    total = sum(exchange.sizes)
    return [
        (at_s, request.tokens * size / total) for at_s, size in zip(exchange.arrived_s, exchange.sizes, strict=True)
    ]


def _tally(happened: Iterable[tuple[float, float]], window: Window, slices: int) -> list[float]:
    totals = [0.0] * slices
    for at_s, amount in happened:
        at = window.slice(at_s, slices)
        if at is not None:
            totals[at] += amount
    return totals


def share_of(requests: Sequence[Timed], is_so: Callable[[Timed], bool]) -> float:
    """Share of ``requests`` (at least one) of which ``is_so`` holds."""
    return sum(1 for request in requests if is_so(request)) / len(requests)


def _measurement(name: str, samples: Sequence[float], unit: str, goal: Goal, whole: str) -> Measurement:
    return Measurement(name, tuple(samples), unit, goal, {"whole window": whole})
