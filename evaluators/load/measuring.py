"""A load, start to end: send it, look at what came back, and say what it is worth."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from evaluators.load import judging
from evaluators.load.arrivals import Load, require_reach
from evaluators.load.driver import Plan, Recording, Watch, drive
from evaluators.load.exchange import Exchange
from evaluators.load.figures import Reading, Slo, Timed, delays, rates, timed
from evaluators.load.given import positive, share
from evaluators.load.http import HttpWire
from evaluators.load.judging import Lateness, Punctuality
from evaluators.load.precise import precise_loop
from evaluators.load.prompts import Prompts, Source
from evaluators.load.quantiles import quantile
from evaluators.load.repeats import Pair, RepeatProbe, probe
from evaluators.load.server import Server
from evaluators.load.tokens import CountTokens, Tolerance, chunk_evidence, name_of, usage_evidence, words_and_marks
from evaluators.load.window import Window
from evaluators.load.wire import Dialect, Wire
from raysearch.errors import Refused, nearest
from raysearch.types import Measurement


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that is asked of a server, and of the measurement.

    ``timeout_s``: how long one waits for an answer, from the time at which it was due. ``count_tokens`` is the model's
    tokenizer. ``wrong_length_max`` and ``failed_max``: shares of the window's requests whose answers may have the wrong
    length, or not come whole, before the program is refused. ``streamed``: answers must come in pieces. ``label``
    tells several loads of one benchmark apart: prompts differ, and measurements are called ``LABEL.NAME``.
    """

    load: Load
    window: Window
    prompts: Prompts
    timeout_s: float = 60.0
    slo: Slo | None = None
    count_tokens: CountTokens = words_and_marks
    tolerance: Tolerance = Tolerance()
    wrong_length_max: float = 0.0
    failed_max: float = 1.0
    streamed: bool = False
    repeats: RepeatProbe | None = RepeatProbe()
    punctuality: Punctuality = Punctuality()
    percentiles: tuple[float, ...] = (50, 90, 99)
    samples: int = 10
    label: str = ""

    def __post_init__(self) -> None:
        positive("timeout_s", self.timeout_s)
        share("wrong_length_max", self.wrong_length_max)
        share("failed_max", self.failed_max)
        require_reach(self.load, self.window.end_s)

    @property
    def reading(self) -> Reading:
        return Reading(self.percentiles, self.samples, f"{self.label}." if self.label else "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load found. The measurements count where ``refused`` and ``void`` are both empty."""

    measurements: tuple[Measurement, ...] = ()
    conditions: dict[str, str] = field(default_factory=dict)
    refused: str = ""
    """Why the program itself is to blame that there is no measurement."""
    void: str = ""
    """Why this machine is: measure again."""
    requests: tuple[Timed, ...] = ()
    """Every request that ended, in the order in which they were due."""
    repeats: tuple[tuple[Timed, Timed], ...] = ()

    def __getitem__(self, name: str) -> Measurement:
        """The measurement of that name. Raises KeyError with the nearest one."""
        found = {measurement.name: measurement for measurement in self.measurements}
        if name not in found:
            raise KeyError(f"there is no measurement {name!r}.{nearest(name, found)}")
        return found[name]


def measure(server: Server, dialect: Dialect, scenario: Scenario, *, seed: int, nonce: int | None = None) -> Outcome:
    """Put ``scenario`` on a running server that speaks ``dialect`` over HTTP.

    ``seed`` is the run's hidden one; ``nonce`` (default: drawn now) makes the words of the prompts unknown to a server
    that knows the seed, and is named in the conditions. Raises TargetError.
    """

    async def over_http() -> Outcome:
        async with HttpWire(server.url, dialect) as wire:
            return await measure_over(wire, scenario, seed=seed, nonce=nonce, watch=server.watch)

    _allow_connections()
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        return runner.run(over_http())


async def measure_over(
    wire: Wire, scenario: Scenario, *, seed: int, nonce: int | None = None, watch: Watch = lambda: ""
) -> Outcome:
    """As `measure`, over any wire, on the running event loop and its clock."""
    nonce = secrets.randbits(63) if nonce is None else nonce
    loop = asyncio.get_running_loop()
    source = Source(scenario.prompts, seed=seed, nonce=nonce, label=scenario.label)
    plan = Plan(scenario.load, scenario.window, source.request, scenario.timeout_s, seed, scenario.label)
    pairs: list[Pair] = []
    try:
        recording = await drive(plan, wire, watch)
        if scenario.repeats:
            again = Source(scenario.prompts, seed=seed, nonce=nonce, label=f"{scenario.label} repeats")
            pairs = await probe(scenario.repeats, wire, again.request, scenario.timeout_s, loop.time)
            if gone := watch():
                raise Refused(gone)
    except Refused as no:
        return Outcome(refused=str(no))
    return weigh(scenario, recording, pairs, nonce)


def weigh(scenario: Scenario, recording: Recording, pairs: Sequence[Pair], nonce: int) -> Outcome:
    """What a recording is worth: measurements, and whether they count."""

    def figures(exchange: Exchange) -> Timed:
        return timed(exchange, scenario.count_tokens, scenario.tolerance, scenario.timeout_s)

    requests = [figures(exchange) for exchange in sorted(recording.exchanges, key=lambda exchange: exchange.due_s)]
    twice = [(figures(first), figures(second)) for first, second in pairs]
    counted = [r for r in requests if scenario.window.phase(r.exchange.due_s) == "window"]
    late = judging.lateness(recording, scenario.window)
    evidence = _evidence(scenario, requests, counted, late)
    refused = _no_window(counted) or judging.wrong_lengths(counted, scenario.wrong_length_max)
    wrong, evidence["canaries"] = judging.wrong_answers(requests, scenario.prompts.canaries)
    memory = ""
    if scenario.repeats:
        memory, evidence["asked again"] = judging.remembered(twice, scenario.repeats)
    void = judging.own_trouble(recording.exchanges) or late.void(scenario.punctuality, _median_e2e_ms(counted))
    refused = refused or wrong
    if not refused and not void:  # what time alone shows, a generator that is late may have caused
        refused = _slow_or_broken(scenario, counted) or memory
    kept = [r for r in counted if not r.failure]
    measurements: list[Measurement] = []
    if kept:
        measurements = rates(requests, scenario.window, scenario.slo, scenario.reading)
        measurements += delays(counted, scenario.reading)
        prefix = scenario.reading.prefix
        measurements.append(Measurement(f"{prefix}failed_share", (judging.failed_share(counted),), "share", "min"))
    return Outcome(
        tuple(measurements),
        {name: told for name, told in {**_setting(scenario, nonce), **evidence}.items() if told},
        refused,
        "" if refused else void,
        tuple(requests),
        tuple(twice),
    )


def _no_window(counted: Sequence[Timed]) -> str:
    if not counted:
        return "No request could be sent within the measurement window: every user was still waiting for an answer."
    return ""


def _slow_or_broken(scenario: Scenario, counted: Sequence[Timed]) -> str:
    if failed := judging.too_many_failures(counted, scenario.failed_max):
        return failed
    if all(r.failure for r in counted):
        reason = next((r.exchange.reason for r in counted if r.exchange.reason), counted[0].failure)
        return f"None of the {len(counted)} requests of the window got a whole answer; the first: {reason}"
    return judging.unstreamed(counted) if scenario.streamed else ""


def _median_e2e_ms(counted: Sequence[Timed]) -> float:
    times_ms = [r.e2e_ms for r in counted if not r.failure]
    return quantile(times_ms, 0.5) if times_ms else 0.0


def _setting(scenario: Scenario, nonce: int) -> dict[str, str]:
    """What was asked for."""
    window = scenario.window
    return {
        "load": scenario.load.describe(),
        "window": f"{window.measure_s:g} s after {window.warm_up_s:g} s of warm-up, then drain",
        "prompts": scenario.prompts.describe(),
        "nonce": str(nonce),
        "tokens": f"recounted from text: {name_of(scenario.count_tokens)}",
        "time limit": f"{scenario.timeout_s:g} s from when a request was due; a failure counts as so long",
        "slo": scenario.slo.describe() if scenario.slo else "",
    }


def _evidence(
    scenario: Scenario, requests: Sequence[Timed], counted: Sequence[Timed], late: Lateness
) -> dict[str, str]:
    """What was seen."""
    window = scenario.window
    phases = [window.phase(r.exchange.due_s) for r in requests]
    later = sum(1 for r in counted if r.exchange.ended_s >= window.end_s)
    whole = [(r.exchange, r.counted) for r in counted if not r.exchange.trouble]
    return {
        "requests": f"{phases.count('warm-up')} in the warm-up, {phases.count('window')} in the window, of which "
        f"{later} ended in the drain, {phases.count('drain')} of the drain itself",
        "failures": judging.failures(counted),
        "usage": usage_evidence(whole),
        "tokens a chunk": chunk_evidence(whole),
        "sent late": f"{late.sent_ms:.2f} ms (99th percentile)",
        "woken late": f"{late.woken_ms:.2f} ms (99th percentile)",
        "generator busy": f"{late.busy:.1%} of a core",
        "load digest": _digest(counted),
    }


def _digest(counted: Sequence[Timed]) -> str:
    """Names what was asked in the window, and when it was due: equal for two runs only if that was the same."""
    sha = hashlib.sha256()
    for request in counted:
        asked = request.exchange.request
        sha.update(f"{asked.number} {asked.tokens} {asked.prompt}\n".encode())
    return sha.hexdigest()[:16]


def _allow_connections() -> None:
    """As many open files as this process may have: each request under way has a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS calls unlimited what it does not allow
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
