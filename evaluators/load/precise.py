"""An event loop whose timers are not rounded to milliseconds.

asyncio's own loop on Linux waits in ``epoll_wait``, whose time-out is in whole milliseconds, rounded up: a request
would leave half a millisecond late on average. An epoll descriptor can itself be waited for by ``select``, which
counts in microseconds.
"""

from __future__ import annotations

import asyncio
import select
import selectors

FD_SELECTABLE_MAX = 1024
"""``select`` takes descriptors below this only."""


def precise_loop() -> asyncio.AbstractEventLoop:
    """A new event loop with timers as fine as the operating system has them."""
    if not hasattr(selectors, "EpollSelector"):
        return asyncio.SelectorEventLoop()  # macOS: kqueue counts in nanoseconds
    return asyncio.SelectorEventLoop(_Fine())


class _Fine(selectors.EpollSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0 and self.fileno() < FD_SELECTABLE_MAX:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)
