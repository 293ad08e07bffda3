"""Does the load generator find the truth? A server of known speed is measured, beside what queueing theory says.

    python benchmarks/load_truth.py [--measure-s 60] [--seed 1]

The server (``serve``) is a process of its own on the loopback device and speaks OpenAI's chat protocol. It
computes nothing: machines, each a first-come-first-served queue, take 50 ms for a prompt and then make 16 tokens at 100
a second, 200 ms in all, each token at its own moment on an absolute schedule, so that its own delays do not add up.

Four loads: Poisson arrivals at 30 % and 80 % of what 32 machines can do (each request goes to one of them at random, so
each is an M/D/1 queue: Pollaczek and Khinchine); 16 users without thought on 8 machines with one queue (saturated: the
throughput is theirs, the latency Little's); and one and a half times what these can do, at equal gaps.

``theory`` is the expectation; ``measured`` lies about it by chance as well, by as much as its 95 % interval says. For
the open loops ``schedule`` is what these very arrivals must have met, by Lindley's recursion: no chance is left in it,
so that ``off`` is the error of generator, network and server together. A void measurement (the machine had other work,
and the generator was late) is printed, not counted, and made again, ``--tries`` times at most.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import math
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

from evaluators.load import (
    Chat,
    ClosedLoop,
    Constant,
    OpenLoop,
    Outcome,
    Poisson,
    Prompts,
    Scenario,
    Server,
    Window,
    measure,
)
from evaluators.load.precise import precise_loop

PROMPT_S, TOKENS, TOKENS_PER_S = 0.05, 16, 100.0
SERVICE_S = PROMPT_S + (TOKENS - 1) / TOKENS_PER_S
WITHIN = 0.02
GREETING = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Machines:
    """``groups`` queues of ``servers`` machines each; a prompt decides its queue."""

    def __init__(self, groups: int, servers: int) -> None:
        self._free_s = [[0.0] * servers for _ in range(groups)]

    def start_s(self, prompt: str, now_s: float) -> float:
        """When the prompt is begun with, if it comes now; it takes `SERVICE_S`."""
        free_s = self._free_s[zlib.crc32(prompt.encode()) % len(self._free_s)]
        begins_s = max(now_s, free_s[0])
        heapq.heapreplace(free_s, begins_s + SERVICE_S)
        return begins_s


async def converse(machines: Machines, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, request after request."""
    loop = asyncio.get_running_loop()
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            now_s = loop.time()
            if head.startswith(b"get"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            length = int(head.partition(b"content-length:")[2].split(None, 1)[0])
            asked = json.loads(await reader.readexactly(length))
            start_s = machines.start_s(asked["messages"][0]["content"], now_s)
            for number in range(asked["max_tokens"]):
                await asyncio.sleep(start_s + PROMPT_S + number / TOKENS_PER_S - loop.time())
                writer.write((GREETING if number == 0 else b"") + event({"choices": [{"delta": {"content": "word "}}]}))
            usage = {"completion_tokens": asked["max_tokens"]}
            last = {"choices": [{"delta": {}, "finish_reason": "length"}], "usage": usage}
            writer.write(event(last) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def event(message: dict[str, object]) -> bytes:
    return chunk(b"data: " + json.dumps(message).encode() + b"\n\n")


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def serve(port: int, groups: int, servers: int) -> None:
    async def run() -> None:
        machines = Machines(groups, servers)
        server = await asyncio.start_server(lambda r, w: converse(machines, r, w), "127.0.0.1", port, backlog=4096)
        await server.serve_forever()

    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(run())


def scheduled(outcome: Outcome, window: Window, groups: int, servers: int) -> tuple[float, float]:
    """Mean latency (ms) and throughput (requests/s) that the arrivals of ``outcome`` met if nothing else took time."""
    machines = Machines(groups, servers)
    latencies_ms, ended = [], 0
    for timed in outcome.requests:  # in the order in which they were due
        due_s = timed.exchange.due_s
        end_s = machines.start_s(timed.exchange.request.prompt, due_s) + SERVICE_S
        ended += window.phase(end_s) == "window"
        if window.phase(due_s) == "window":
            latencies_ms.append((end_s - due_s) * 1e3)
    return math.fsum(latencies_ms) / len(latencies_ms), ended / window.measure_s


@dataclass(frozen=True, slots=True)
class Case:
    """A load, the machines it meets, and the theory's mean end-to-end latency (ms) and throughput (requests/s)."""

    name: str
    load: OpenLoop | ClosedLoop
    groups: int
    servers: int
    e2e_ms: float
    per_s: float

    @property
    def waiting_ms(self) -> float:
        return self.e2e_ms - SERVICE_S * 1e3


def poisson(busy: float, groups: int) -> Case:
    per_s = busy * groups / SERVICE_S
    waiting_s = busy * SERVICE_S / (2 * (1 - busy))
    name = f"open, Poisson, {busy:.0%} of capacity"
    return Case(name, OpenLoop(Poisson(per_s)), groups, 1, (SERVICE_S + waiting_s) * 1e3, per_s)


def cases(window: Window) -> list[Case]:
    users, servers, over = 16, 8, 1.5
    capacity = servers / SERVICE_S
    middle_s = window.warm_up_s + window.measure_s / 2
    return [
        poisson(0.3, 32),
        poisson(0.8, 32),
        Case("closed, saturated", ClosedLoop(users), 1, servers, users / servers * SERVICE_S * 1e3, capacity),
        Case(
            f"open, {over:.0%} of capacity",
            OpenLoop(Constant(over * capacity)),
            1,
            servers,
            (SERVICE_S + middle_s * (over - 1)) * 1e3,
            capacity,
        ),
    ]


def compare(case: Case, window: Window, seed: int) -> list[float]:
    """Measure a case and print it; the relative errors (for open loops against the schedule), none if it is void."""
    prompts = Prompts(words=12, tokens=TOKENS)
    timeout_s = 30.0 + window.end_s
    scenario = Scenario(case.load, window, prompts, timeout_s=timeout_s, repeats=None, streamed=True)
    words = [sys.executable, __file__, "serve", "{port}", str(case.groups), str(case.servers)]
    with Server(words, cwd=Path(__file__).parent) as server:
        outcome = measure(server, Chat("known"), scenario, seed=seed)
    print(f"\n{case.name} ({case.load.describe()}; {case.groups} x {case.servers} machines)")
    if outcome.void or outcome.refused:
        print(f"  void: {outcome.void}" if outcome.void else f"  refused: {outcome.refused}")
    told = outcome.conditions
    print(f"  sent late {told['sent late']}, woken late {told['woken late']}, busy {told['generator busy']}")
    schedule: dict[str, float] = {}
    if isinstance(case.load, OpenLoop):
        schedule["e2e_ms.mean"], schedule["requests_per_s"] = scheduled(outcome, window, case.groups, case.servers)
        schedule["ttft_ms.mean"] = schedule["e2e_ms.mean"] - (SERVICE_S - PROMPT_S) * 1e3
        schedule["tokens_per_s"] = schedule["requests_per_s"] * TOKENS
    theory = {
        "e2e_ms.mean": case.e2e_ms,
        "ttft_ms.mean": case.waiting_ms + PROMPT_S * 1e3,
        "itl_ms.mean": 1e3 / TOKENS_PER_S,
        "requests_per_s": case.per_s,
        "tokens_per_s": case.per_s * TOKENS,
    }
    errors = []
    for name, truth in theory.items():
        whole = outcome[name].conditions["whole window"]
        measured = float(whole.split()[0])
        reference = schedule.get(name, truth)
        errors.append(measured / reference - 1)
        met = f"schedule {reference:9.2f}" if name in schedule else " " * 18
        print(f"  {name:15} theory {truth:9.2f}  {met}  measured {whole:46} off {errors[-1]:+7.2%}")
    return [] if outcome.void else errors


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        serve(*(int(word) for word in sys.argv[2:5]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure-s", type=float, default=60.0, help="length of each window (default %(default)g)")
    parser.add_argument("--warm-up-s", type=float, default=5.0, help="before each window (default %(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="draws arrivals (default %(default)s)")
    parser.add_argument(
        "--tries", type=int, default=1, help="measurements of a case that is void (default %(default)s)"
    )
    given = parser.parse_args()
    window = Window(given.warm_up_s, given.measure_s)
    errors = []
    for case in cases(window):
        for number in range(given.tries):
            if found := compare(case, window, given.seed + number):
                errors += found
                break
    if not errors:
        sys.exit("\nno figure stands: the machine had too much other work each time")
    largest = max(map(abs, errors))
    verdict = "within" if largest <= WITHIN else "NOT within"
    print(f"\nlargest error of the {len(errors)} figures that stand: {largest:.2%}, {verdict} {WITHIN:.0%}")


if __name__ == "__main__":
    main()
