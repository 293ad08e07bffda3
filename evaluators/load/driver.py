"""Sends a load and records what comes back. It counts nothing and judges nothing.

All times are those of the running event loop, so that a loop with virtual time drives it exactly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from evaluators.load.arrivals import ClosedLoop, Load, OpenLoop
from evaluators.load.exchange import Exchange, GeneratorTrouble, Piece, Request, ServerTrouble, Trouble
from evaluators.load.window import Window
from evaluators.load.wire import Wire
from raysearch.errors import Refused, TargetError
from raysearch.seeds import stream

BEAT_S = 0.02
"""How often the generator looks whether it gets its turn in time."""
SULK_S = 0.1
"""How long a user of a closed loop waits after an error, so that a server that is down is not asked in a frenzy."""
CHARACTERS_MAX = 4 << 20
"""A longer answer is not taken in any further."""
Watch = Callable[[], str]
"""Why the server is gone; empty while it lives."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent, when, and for how long one waits for it.

    ``timeout_s`` counts from the time at which a request was due. ``seed`` draws arrivals and thinking times.
    """

    load: Load
    window: Window
    request: Callable[[int], Request]
    timeout_s: float
    seed: int
    label: str = ""


@dataclass(slots=True)
class Recording:
    """Everything that happened under a load; requests that were due after the window only if they ended in time."""

    exchanges: list[Exchange] = field(default_factory=list)
    beats_s: list[float] = field(default_factory=list)
    """By how much each tick of the generator's own clock came late."""
    cpu_s: float = 0.0
    """Processor time of the generator, all of its threads."""
    took_s: float = 0.0


async def drive(plan: Plan, wire: Wire, watch: Watch = lambda: "") -> Recording:
    """Send the load of ``plan`` until every request that was due before the window's end is over.

    Raises Refused as soon as ``watch`` says that the server is gone, TargetError where no request is due in the
    window, and whatever ``wire`` raises beyond its contract.
    """
    driver = _Driver(plan, wire)
    cpu_s = time.process_time()
    try:
        async with asyncio.TaskGroup() as group:
            jobs = [driver.beat(watch), driver.close_window(), *driver.senders(group)]
            tasks = [group.create_task(job) for job in jobs]
            await driver.settled.wait()
            for task in (*tasks, *driver.under_way):
                task.cancel()
    except ExceptionGroup as several:
        raise _first(several) from None
    driver.recording.cpu_s, driver.recording.took_s = time.process_time() - cpu_s, driver.now()
    return driver.recording


class _Driver:
    def __init__(self, plan: Plan, wire: Wire) -> None:
        self.plan, self.wire = plan, wire
        self.recording = Recording()
        self.settled = asyncio.Event()
        self.under_way: set[asyncio.Task[bool]] = set()
        self._closed = False
        self._schedule = _schedule(plan.load, plan) if isinstance(plan.load, OpenLoop) else []
        self._expected = sum(1 for due_s, _ in self._schedule if due_s < plan.window.end_s)
        """Requests due before the window's end that are not over, known so far."""
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()

    def now(self) -> float:
        """Seconds since the load began."""
        return self._loop.time() - self._began_s

    def senders(self, group: asyncio.TaskGroup) -> list[Coroutine[Any, Any, None]]:
        load = self.plan.load
        if isinstance(load, OpenLoop):
            return [self._send_on_time(group)]
        return [self._be_user(load, number) for number in range(load.users)]

    async def beat(self, watch: Watch) -> None:
        """Notice when the generator is kept from its work, and when the server dies."""
        due_s = 0.0
        while True:
            due_s += BEAT_S
            await self._until(due_s)
            self.recording.beats_s.append(self.now() - due_s)
            if gone := watch():
                raise Refused(gone)

    async def close_window(self) -> None:
        await self._until(self.plan.window.end_s)
        self._closed = True
        self._settle()

    async def _send_on_time(self, group: asyncio.TaskGroup) -> None:
        """The open loop: each request leaves when it is due, or at once if that has passed."""
        for due_s, request in self._schedule:
            await self._until(due_s)
            task = group.create_task(self._exchange(request, due_s))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def _be_user(self, load: ClosedLoop, number: int) -> None:
        """One user of a closed loop; the requests of each have numbers of their own, whatever the others do."""
        rng = stream(self.plan.seed, self.plan.label, "thinking", number)
        due_s = 0.0
        while True:
            request = self.plan.request(number)
            number += load.users
            due_s = max(due_s, self.now())
            self._expected += due_s < self.plan.window.end_s
            await self._until(due_s)
            failed = await self._exchange(request, due_s)
            pause_s = load.pause_s(rng)
            due_s = self.now() + (max(pause_s, SULK_S) if failed else pause_s)

    async def _exchange(self, request: Request, due_s: float) -> bool:
        """Whether it failed."""
        done = await perform(self.wire, request, due_s, self.plan.timeout_s, self.now)
        self.recording.exchanges.append(done)
        self._expected -= due_s < self.plan.window.end_s
        self._settle()
        return bool(done.trouble)

    def _settle(self) -> None:
        if self._closed and not self._expected:
            self.settled.set()

    async def _until(self, due_s: float) -> None:
        await asyncio.sleep(max(0.0, due_s - self.now()))


def _schedule(load: OpenLoop, plan: Plan) -> list[tuple[float, Request]]:
    """Every request that may become due, made beforehand so that making it delays none."""
    rng = stream(plan.seed, plan.label, "arrivals")
    times_s = load.arrivals.times_s(plan.window.end_s + plan.timeout_s, rng)
    schedule = [(at_s, plan.request(number)) for number, at_s in enumerate(times_s)]
    if not any(plan.window.phase(at_s) == "window" for at_s, _ in schedule):
        raise TargetError(
            f"no request is due in a window of {plan.window.measure_s:g} s ({load.describe()}): "
            "measure longer, or ask more often"
        )
    return schedule


async def perform(wire: Wire, request: Request, due_s: float, timeout_s: float, now: Callable[[], float]) -> Exchange:
    """Send one request and take in its answer, until ``timeout_s`` after ``due_s`` on the clock ``now``."""
    answer = _Answer()
    sent_s = now()
    trouble: Trouble = ""
    reason = ""
    limit = asyncio.timeout(due_s + timeout_s - sent_s)
    try:
        async with limit, aclosing(wire.exchange(request)) as pieces:
            async for piece in pieces:
                answer.take(piece, now())
    except TimeoutError:
        if not limit.expired():
            raise
        trouble, reason = "time", f"no whole answer within {timeout_s:g} s"
    except ServerTrouble as error:
        trouble, reason = "server", str(error)
    except GeneratorTrouble as error:
        trouble, reason = "generator", str(error)
    if answer.whole_s is not None and trouble == "time":
        trouble, reason = "", ""  # a connection that stays open after the answer is no matter
    return answer.exchange(request, due_s, sent_s, now(), trouble, reason)


class _Answer:
    """An answer as it comes in."""

    def __init__(self) -> None:
        self.whole_s: float | None = None
        self._texts: list[str] = []
        self._arrived_s: list[float] = []
        self._sizes: list[int] = []
        self._characters = 0
        self._first: tuple[float, int] | None = None
        self._usage_tokens: int | None = None
        self._finish = ""

    def take(self, piece: Piece, now_s: float) -> None:
        if piece.text:
            self._texts.append(piece.text)
            self._arrived_s.append(now_s)
            self._sizes.append(len(piece.text))
            self._characters += len(piece.text)
            if self._characters > CHARACTERS_MAX:
                raise ServerTrouble(f"an answer of more than {CHARACTERS_MAX} characters")
            if self._first is None and piece.text.strip():
                self._first = now_s, self._characters
        if (piece.last and self.whole_s is None) or (piece.text and self.whole_s is not None):
            self.whole_s = now_s
        self._usage_tokens = self._usage_tokens if piece.usage_tokens is None else piece.usage_tokens
        self._finish = piece.finish or self._finish

    def exchange(
        self, request: Request, due_s: float, sent_s: float, now_s: float, trouble: Trouble, reason: str
    ) -> Exchange:
        return Exchange(
            request=request,
            due_s=due_s,
            sent_s=sent_s,
            ended_s=now_s if self.whole_s is None else self.whole_s,
            text="".join(self._texts),
            arrived_s=tuple(self._arrived_s),
            sizes=tuple(self._sizes),
            first_s=self._first and self._first[0],
            first_chars=self._first[1] if self._first else 0,
            usage_tokens=self._usage_tokens,
            finish=self._finish,
            trouble=trouble,
            reason=reason,
        )


def _first(several: ExceptionGroup[Exception]) -> Exception:
    """The first error of a group, groups in groups included."""
    error = several.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
