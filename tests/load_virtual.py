"""A world with a clock of its own: a loop in which waiting takes no time, and servers that obey queueing theory."""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

from evaluators.load import Piece, Request

Found = TypeVar("Found")


class _Instant(selectors.SelectSelector):
    """Instead of waiting, moves the clock on."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits and nothing is going to happen")
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose seconds pass as fast as it can turn. Nothing real can be waited for."""

    def __init__(self) -> None:
        self._instant = _Instant()
        super().__init__(self._instant)

    def time(self) -> float:
        return self._instant.now_s

    def stall(self, lasts_s: float) -> None:
        """As if this process had been kept from its work for so long."""
        self._instant.now_s += lasts_s


def virtually(job: Coroutine[Any, Any, Found]) -> Found:
    """The result of ``job`` in a world of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(job)


class Queue:
    """First come, first served, by ``servers`` machines, over a wire without delay.

    ``service_s`` of a request, then its answer of one word a token: all at the end, or, with ``tokens_per_s``, a piece
    each, the last one at the end. ``say`` makes the text.
    """

    def __init__(
        self,
        service_s: Callable[[Request], float],
        *,
        servers: int = 1,
        tokens_per_s: float | None = None,
        say: Callable[[Request], str] = lambda request: "w " * request.tokens,
    ) -> None:
        self._service_s = service_s
        self._free_s = [0.0] * servers
        self._tokens_per_s = tokens_per_s
        self._say = say
        self.asked: list[tuple[float, Request]] = []

    async def exchange(self, request: Request) -> AsyncGenerator[Piece, None]:
        loop = asyncio.get_running_loop()
        self.asked.append((loop.time(), request))
        text = self._say(request)  # before anything may go wrong
        start_s = max(loop.time(), self._free_s[0])
        end_s = start_s + self._service_s(request)
        heapq.heapreplace(self._free_s, end_s)
        if self._tokens_per_s:
            words = [f"{word} " for word in text.split()]
            for left, word in zip(range(len(words) - 1, -1, -1), words, strict=True):
                await asyncio.sleep(end_s - left / self._tokens_per_s - loop.time())
                yield Piece(word)
        else:
            await asyncio.sleep(end_s - loop.time())
            yield Piece(text)
        yield Piece(last=True, usage_tokens=request.tokens, finish="length")
