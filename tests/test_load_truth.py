"""The generator against queues whose waiting times are known: it must find what theory says.

Virtual time, fixed seeds: the same figures on every machine. The same against a real server over a real socket, in real
time, is benchmarks/load_truth.py.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest
from load_virtual import Queue, virtually

from evaluators.load import ClosedLoop, Constant, OpenLoop, Outcome, Poisson, Prompts, Request, Scenario, Slo, Window
from evaluators.load import measure_over as over
from raysearch.seeds import stream

SERVICE_S = 0.005
WITHIN = 0.02


def load(
    load: OpenLoop | ClosedLoop, queue: Queue, *, measure_s: float, warm_up_s: float = 2.0, **more: object
) -> Outcome:
    more = {"prompts": Prompts(words=8, tokens=1), "repeats": None, "timeout_s": 50.0, "samples": 1, **more}
    scenario = Scenario(load, Window(warm_up_s, measure_s), **more)  # type: ignore[arg-type]
    outcome = virtually(over(queue, scenario, seed=5, nonce=1))
    assert not outcome.refused
    assert not outcome.void
    return outcome


def constant(request: Request) -> float:
    return SERVICE_S


def exponential(mean_s: float) -> Callable[[Request], float]:
    return lambda request: stream(9, "service", request.number).expovariate(1 / mean_s)


def near(measured: float, truth: float) -> bool:
    return abs(measured / truth - 1) <= WITHIN


def pollaczek_khinchine_s(rate_per_s: float, service_s: float, variation: float) -> float:
    """Mean time in an M/G/1 queue; ``variation``: squared coefficient of variation of the service time."""
    busy = rate_per_s * service_s
    return service_s + busy * service_s * (1 + variation) / (2 * (1 - busy))


def erlang_c_s(rate_per_s: float, service_s: float, servers: int) -> float:
    """Mean time in an M/M/c queue."""
    offered = rate_per_s * service_s
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    waits = last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)
    return service_s + waits * service_s / (servers - offered)


def waits_s(arrivals_s: Sequence[float], services_s: Sequence[float]) -> list[float]:
    """Times in a single-server queue, one by one, by Lindley's recursion."""
    found, free_s = [], 0.0
    for at_s, service_s in zip(arrivals_s, services_s, strict=True):
        free_s = max(at_s, free_s) + service_s
        found.append(free_s - at_s)
    return found


@pytest.mark.parametrize("busy", [0.2, 0.5])
def test_poisson_arrivals_at_one_machine_of_constant_speed(busy: float) -> None:
    rate = busy / SERVICE_S
    outcome = load(OpenLoop(Poisson(rate)), Queue(constant), measure_s=5_000 / rate)
    assert near(outcome["e2e_ms.mean"].value, pollaczek_khinchine_s(rate, SERVICE_S, 0.0) * 1e3)
    assert near(outcome["requests_per_s"].value, rate)


def test_several_machines() -> None:
    outcome = load(OpenLoop(Poisson(400.0)), Queue(exponential(SERVICE_S), servers=4), measure_s=15.0)
    assert near(outcome["e2e_ms.mean"].value, erlang_c_s(400.0, SERVICE_S, 4) * 1e3)


def test_exponential_service_times_have_the_known_mean_and_percentiles() -> None:
    """The time in an M/M/1 queue is exponential: its p-quantile is -ln(1 - p) times its mean."""
    outcome = load(OpenLoop(Poisson(40.0)), Queue(exponential(SERVICE_S)), measure_s=250.0)
    mean_ms = pollaczek_khinchine_s(40.0, SERVICE_S, 1.0) * 1e3
    assert near(outcome["e2e_ms.mean"].value, mean_ms)
    for percentile in (50, 90):
        found = outcome[f"e2e_ms.p{percentile}"].value
        assert abs(found / (-math.log(1 - percentile / 100) * mean_ms) - 1) < 0.03, percentile


@pytest.mark.parametrize("busy", [0.5, 0.9, 1.5])
def test_every_single_time_is_exact(busy: float) -> None:
    """Beside the mean, which is a matter of chance: the very times of the very arrivals, without an error."""
    outcome = load(OpenLoop(Poisson(busy / SERVICE_S)), Queue(constant), measure_s=5.0, timeout_s=5.0)
    due_s = [request.exchange.due_s for request in outcome.requests]
    found_s = [request.e2e_ms / 1e3 for request in outcome.requests]
    assert found_s == pytest.approx(waits_s(due_s, [SERVICE_S] * len(due_s)), abs=1e-6)


@pytest.mark.parametrize(("users", "servers"), [(1, 1), (8, 1), (32, 4)])
def test_users_without_thought_saturate(users: int, servers: int) -> None:
    outcome = load(ClosedLoop(users), Queue(constant, servers=servers), measure_s=3.0)
    assert near(outcome["requests_per_s"].value, servers / SERVICE_S)
    assert near(outcome["e2e_ms.mean"].value, users / servers * SERVICE_S * 1e3)


def test_users_who_think_obey_the_machine_repair_model() -> None:
    """M/M/1 with 5 users of exponential thinking time; the busy share follows from the balance equations."""
    users, think_s = 5, 0.015
    queue = Queue(exponential(SERVICE_S))
    outcome = load(ClosedLoop(users, think_s, "exponential"), queue, measure_s=25.0)
    ratio = SERVICE_S / think_s
    idle = 1 / sum(math.factorial(users) / math.factorial(users - k) * ratio**k for k in range(users + 1))
    per_s = (1 - idle) / SERVICE_S
    assert near(outcome["requests_per_s"].value, per_s)
    assert near(outcome["e2e_ms.mean"].value, (users / per_s - think_s) * 1e3)  # Little's law


def test_little_s_law_holds_in_the_window() -> None:
    outcome = load(OpenLoop(Poisson(160.0)), Queue(constant), measure_s=8.0)
    inside = sum(request.e2e_ms / 1e3 for request in outcome.requests if 2 <= request.exchange.due_s < 10) / 8
    assert near(inside, outcome["requests_per_s"].value * outcome["e2e_ms.mean"].value / 1e3)


def test_overload_shows_its_growing_wait_and_the_full_throughput() -> None:
    """Twice what the server can do: each request waits as long as the load has run already."""
    outcome = load(OpenLoop(Constant(2 / SERVICE_S)), Queue(constant), warm_up_s=0.0, measure_s=5.0, timeout_s=6.0)
    assert near(outcome["requests_per_s"].value, 1 / SERVICE_S)
    assert near(outcome["e2e_ms.mean"].value, (SERVICE_S + 5.0 / 2) * 1e3)
    assert near(max(request.e2e_ms for request in outcome.requests if request.exchange.due_s < 5), 5_000)


def test_tokens_come_at_the_rate_at_which_they_are_made() -> None:
    """A machine that thinks for 50 ms and then makes 100 tokens a second, asked at half its capacity."""
    service_s = 0.05 + 3 / 100
    rate = 0.5 / service_s
    queue = Queue(lambda request: service_s, tokens_per_s=100.0)
    prompts = Prompts(words=8, tokens=4)
    slo = Slo(ttft_ms=2 * service_s * 1e3)
    outcome = load(OpenLoop(Poisson(rate)), queue, measure_s=5_000 / rate, prompts=prompts, slo=slo)
    waiting_s = pollaczek_khinchine_s(rate, service_s, 0.0) - service_s
    assert near(outcome["ttft_ms.mean"].value, (waiting_s + 0.05) * 1e3)
    assert near(outcome["e2e_ms.mean"].value, (waiting_s + service_s) * 1e3)
    assert outcome["itl_ms.mean"].value == pytest.approx(10.0)
    assert outcome["gap_ms.p99"].value == pytest.approx(10.0)
    assert near(outcome["tokens_per_s"].value, rate * 4)
    counted = [r for r in outcome.requests if 2 <= r.exchange.due_s < 2 + 5_000 / rate]
    kept = sum(1 for r in counted if r.ttft_ms <= 2 * service_s * 1e3) / (5_000 / rate)
    assert outcome["goodput_per_s"].value == pytest.approx(kept)
    assert 0 < kept < rate


def test_tokens_of_a_saturated_server() -> None:
    queue = Queue(lambda request: (request.tokens - 1) / 100 + 0.05, servers=8, tokens_per_s=100.0)
    outcome = load(ClosedLoop(32), queue, measure_s=20.0, prompts=Prompts(words=8, tokens=32))
    assert near(outcome["tokens_per_s"].value, 8 * 32 / (0.05 + 0.31))
    assert near(outcome["requests_per_s"].value, 8 / 0.36)


def test_the_arithmetic_of_the_theory_itself() -> None:
    """Two formulas, one case: M/M/1 by Pollaczek and Khinchine, and by Erlang; and by plain simulation."""
    assert pollaczek_khinchine_s(4.0, 0.1, 1.0) == pytest.approx(erlang_c_s(4.0, 0.1, 1))
    rng = random.Random(1)
    for busy in (0.5, 0.8):
        arrivals_s = [0.0]
        for _ in range(200_000):
            arrivals_s.append(arrivals_s[-1] + rng.expovariate(busy / 0.1))
        found_s = waits_s(arrivals_s, [0.1] * len(arrivals_s))
        assert near(math.fsum(found_s) / len(found_s), pollaczek_khinchine_s(busy / 0.1, 0.1, 0.0))
