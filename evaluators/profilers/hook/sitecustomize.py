"""Started by Python itself in every process of a profiled command: samples the stacks of its threads.

On the module path of the command alone (`evaluators.profilers.observe` puts it there), and out of the way before the
program's first line: the path is what it was, and a ``sitecustomize`` of the installation's own is imported after all.

A thread looks at all others every few milliseconds (``sys._current_frames``, which needs neither ptrace nor
perf_event_open). What it adds to a stack is processor time that the kernel counted for the thread since the last look,
so a look that comes late (a C function kept the interpreter's lock) weighs more; time in which no thread had a
processor goes to the stack of the main thread, which is what the program waits in.
"""

from __future__ import annotations

import _thread
import atexit
import json
import os
import sys
import time
from types import CodeType, FrameType

DEPTH_MAX = 64
STACKS_MAX = 20_000
GROWTH = 1.25
"""What was seen is written down whenever the process has lived so many times longer than at the last time: one that is
killed loses a fifth at most."""
DUMP_MIN_S = 0.025

Key = tuple[int, ...]
"""The line of the innermost frame, then the identities of code objects, innermost first."""


def thread_clock(tid: int) -> float:
    """Processor seconds of a thread of this process; -1 where it is gone (clock_getcpuclockid(3))."""
    try:
        return time.clock_gettime((~tid << 3) | 6)
    except OSError:
        return -1.0


class Sampler:
    """Counts stacks of this process into ``folder``."""

    def __init__(self, folder: str, interval_s: float) -> None:
        self.folder, self.interval_s = folder, interval_s
        self.begin()

    def begin(self) -> None:
        """Count from nothing: at the start, and in a fork."""
        self.lock = _thread.allocate_lock()
        self.codes: dict[int, CodeType] = {}
        self.stacks: dict[Key, list[float]] = {}
        self.clocks: dict[int, float] = {}
        self.main = _thread.get_ident()
        self.main_tid = _thread.get_native_id()
        self.clocks[self.main] = thread_clock(self.main_tid)
        self.began = self.last = self.dumped = time.perf_counter()
        self.own_s = 0.0
        self.looks = 0
        _thread.start_new_thread(self.loop, ())

    def loop(self) -> None:
        me = _thread.get_ident()
        while True:
            time.sleep(self.interval_s)
            with self.lock:
                now = time.perf_counter()
                self.look(me, now - self.last)
                self.last = now
                self.own_s = time.thread_time()
                lived = now - self.began
                if now - self.dumped > DUMP_MIN_S and lived > GROWTH * (self.dumped - self.began):
                    self.dump()
                    self.dumped = time.perf_counter()

    def look(self, me: int, passed_s: float) -> None:
        self.looks += 1
        frames = sys._current_frames()
        numbers = self.numbers()
        busy_s = 0.0
        for ident, frame in frames.items():
            if ident == me:
                continue
            clock = thread_clock(numbers[ident]) if ident in numbers else -1.0
            before = self.clocks.get(ident, clock)
            if clock >= 0:
                self.clocks[ident] = clock
            on_s = max(0.0, clock - before) if clock >= 0 else 0.0
            busy_s += on_s
            if on_s or ident == self.main:
                entry = self.entry(frame)
                entry[0] += on_s
                entry[2] += 1
        waits = frames.get(self.main)
        if waits is not None and passed_s > busy_s:
            self.entry(waits)[1] += passed_s - busy_s

    def numbers(self) -> dict[int, int]:
        """The kernel's numbers of the threads that Python's ``threading`` knows, without importing it."""
        known = {self.main: self.main_tid}
        threading = sys.modules.get("threading")
        for ident, thread in list(getattr(threading, "_active", {}).items()):
            number = getattr(thread, "native_id", None)
            if number:
                known[ident] = number
        return known

    def entry(self, frame: FrameType | None) -> list[float]:
        """On a processor (s), waited (s), looks."""
        key = [frame.f_lineno or 0 if frame else 0]
        while frame is not None and len(key) <= DEPTH_MAX:
            code = frame.f_code
            key.append(id(code))
            self.codes.setdefault(id(code), code)
            frame = frame.f_back
        found = self.stacks.get(tuple(key))
        if found is None:
            short = tuple(key if len(self.stacks) < STACKS_MAX else key[:2])
            found = self.stacks.setdefault(short, [0.0, 0.0, 0.0])
        return found

    def dump(self) -> None:
        """Write all that was counted so far to a file of this process's own."""
        order = {identity: number for number, identity in enumerate(self.codes)}
        frames = [[code.co_filename, getattr(code, "co_qualname", code.co_name)] for code in self.codes.values()]
        stacks = [
            [key[0], [order[identity] for identity in key[1:]], round(on, 6), round(off, 6), int(count)]
            for key, (on, off, count) in self.stacks.items()
        ]
        said = {
            "pid": os.getpid(),
            "command": sys.orig_argv[:4],
            "wall_s": self.last - self.began,
            "sampler_s": self.own_s,
            "looks": self.looks,
            "frames": frames,
            "stacks": stacks,
        }
        place = os.path.join(self.folder, f"stacks-{os.getpid()}.json")  # noqa: PTH118 - pathlib is slow to import
        try:
            with open(f"{place}.new", "w", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                json.dump(said, file)
            os.replace(f"{place}.new", place)  # noqa: PTH105
        except OSError:
            pass  # a profile is never worth a program

    def end(self) -> None:
        with self.lock:
            self.dump()


def start() -> None:
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [place for place in sys.path if os.path.abspath(place or ".") != here]  # noqa: PTH100
    folder = os.environ.get("RAYSEARCH_STACKS")
    if folder:
        sampler = Sampler(folder, float(os.environ.get("RAYSEARCH_STACKS_MS", "5")) / 1000)
        atexit.register(sampler.end)
        os.register_at_fork(after_in_child=sampler.begin)


def pass_on() -> None:
    """Import the installation's own ``sitecustomize``, which this one kept from being found."""
    own = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # type: ignore[import-not-found] # noqa: F401
    except ImportError:
        if own is not None:
            sys.modules["sitecustomize"] = own


if __name__ == "sitecustomize":
    start()
    pass_on()
