"""Find and end what a dead driver of a run left behind.

The guards are the first layer and normally leave nothing; this is the second: every guarded command carries
its run's name in its environment. (The guards do not: one whose owner is dead is at work and ends by itself.)
Call it at the start of a session, while holding the run's lock: whatever still carries the name has no owner.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from raysearch.process.guarded import RUN_VARIABLE

PROC = Path("/proc")


def strays(run: str) -> list[int]:
    """Living processes of this machine that carry the name ``run``; without /proc (macOS) none are found."""
    mark = f"{RUN_VARIABLE}={run}".encode()
    found = []
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or another user's
            if mark in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return sorted(found)


def sweep(run: str, *, limit_s: float = 10.0) -> list[int]:
    """Kill every stray of ``run``; the processes that were killed. Gives up after ``limit_s``."""
    killed: set[int] = set()
    end = time.monotonic() + limit_s
    while (left := strays(run)) and time.monotonic() < end:
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        killed.update(left)
        time.sleep(0.02)
    return sorted(killed)
