"""What this machine's processors can do at most, by two tiny measurements: arithmetic, and traffic to memory.

    python peaks.py FILE [SECONDS]

Arithmetic: products of square matrices of doubles, by the threads that the linear algebra library takes. Traffic:
copies of arrays much larger than the caches, by one thread a processor; a copied byte counts twice, read and written.
Needs numpy. The best of several rounds counts: a peak is what can be reached, not what is reached on average.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

SIDE = 768
ARRAY_BYTES = 64_000_000
SECONDS = 1.0


def best(work: Callable[[], None], amount: float, seconds: float) -> float:
    """Most ``amount`` a second over repetitions that fill ``seconds``; the first, which warms up, is left out."""
    work()
    found, until = 0.0, time.perf_counter() + seconds
    while not found or time.perf_counter() < until:
        began = time.perf_counter()
        work()
        found = max(found, amount / (time.perf_counter() - began))
    return found


def main(argv: list[str]) -> None:
    import numpy as np

    seconds = float(argv[1]) if len(argv) > 1 else SECONDS
    left = np.random.default_rng(0).random((SIDE, SIDE))
    out = np.empty_like(left)

    def multiply() -> None:
        np.matmul(left, left, out=out)

    flops = best(multiply, 2.0 * SIDE**3, seconds / 2)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    sources = [np.ones(ARRAY_BYTES // 8 // processors) for _ in range(processors)]
    targets = [np.empty_like(source) for source in sources]

    def copy() -> None:
        threads = [threading.Thread(target=np.copyto, args=pair) for pair in zip(targets, sources, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    traffic = best(copy, 2.0 * sum(source.nbytes for source in sources), seconds / 2)
    found = {"flop_per_s": flops, "bytes_per_s": traffic, "processors": processors}
    Path(argv[0]).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
