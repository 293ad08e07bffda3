"""How many times faster than the plain triple loop is a kernel?

Usage: benchmark.py --candidate DIR --reference DIR --seed N --result FILE

The baseline is ``reference/kernel.c``, compiled now with the same flags, in a process of its own beside that of the
candidate. A sample is one round: for each shape candidate, baseline, baseline, candidate, each call on fresh numbers;
the ratio of the CPU times, and over the shapes the geometric mean. Both processes share one core, so that its speed,
whatever it is, cancels. Every product of every call is verified; a kernel that is wrong once is refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
import secrets
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "accuracy_checker"))

import accuracy
import build
import numpy as np
from build import Broken
from cases import normal
from contract import read_call, write_result
from process import Kernel

SHAPES = {"square": (288, 288, 288), "tall": (601, 97, 211), "deep": (60, 250, 1000)}
"""n, m and k. No row is a power of two long, for which caches have few places and the baseline would suffer."""
STARTS = 4
"""How often both processes are started afresh: where memory happens to lie makes a few percent."""
ROUNDS = 2
RATIO = {"unit": "x", "direction": "max"}
Rows = dict[str, list[float]]


def check_clock(kernel: Kernel) -> None:
    """Raise `build.Unsupported` where CPU time is counted in ticks, as some virtual machines do."""
    one = np.ones((1, 1), np.float32)
    if statistics.median(kernel.multiply(one, one).cpu_s for _ in range(20)) <= 0.0:
        raise build.Unsupported(
            "the operating system counts CPU time in ticks here, too coarse to time a kernel by; run this on a "
            "machine, or in a container or virtual machine, that counts it finely."
        )


def keep_to_one_core() -> str:
    """Pin this process and those that it starts to the core that it runs on; the core's number, for the record."""
    core = "unknown"
    with contextlib.suppress(OSError, AttributeError):
        number = int(ctypes.CDLL(None).sched_getcpu())
        os.sched_setaffinity(0, {number})
        core = str(number)
    return core


def call(kernel: Kernel, shape: tuple[int, int, int], rng: np.random.Generator) -> float:
    """CPU seconds for one product, which is verified. Raises `Broken`."""
    a, b = normal(rng, *shape)
    product = kernel.multiply(a, b)
    accuracy.check(a, b, product.c, random=True)
    return product.cpu_s


def measure(candidate: Kernel, baseline: Kernel, rng: np.random.Generator, speedups: Rows, times_s: Rows) -> None:
    """Add `ROUNDS` rounds: by shape, how many times faster than the baseline, and the CPU seconds of the calls."""
    for number in range(ROUNDS + 1):
        for name, shape in SHAPES.items():
            first_s = call(candidate, shape, rng)
            plain_s = call(baseline, shape, rng) + call(baseline, shape, rng)
            second_s = call(candidate, shape, rng)
            if number:  # the first round warms up: pages are touched, tables filled
                speedups[name].append(plain_s / max(first_s + second_s, 1e-9))
                times_s[name] += [first_s, second_s]
    candidate.finish()


def measured(source: Path, reference: Path, seed: int, patience_s: float) -> tuple[Rows, Rows]:
    """All rounds, as `measure` adds them. Raises `Broken` and `build.Unsupported`."""
    # Fresh numbers, which not even the seed tells: nobody can have prepared for them. Values do not change the times.
    rng = np.random.default_rng([seed, secrets.randbits(128)])
    speedups: Rows = {name: [] for name in SHAPES}
    times_s: Rows = {name: [] for name in SHAPES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        programs = [build.build(source, folder, "kernel"), build.build(reference / "kernel.c", folder, "baseline")]
        for _ in range(STARTS):
            with Kernel(programs[0], patience_s) as candidate, Kernel(programs[1], 60.0) as baseline:
                check_clock(baseline)
                measure(candidate, baseline, rng, speedups, times_s)
    return speedups, times_s


def overall(speedups: Rows) -> list[float]:
    """The geometric mean over the shapes, one number a round."""
    return [math.exp(statistics.fmean(map(math.log, row))) for row in zip(*speedups.values(), strict=True)]


def metrics(candidate: Path, reference: Path, seed: int, patience_s: float) -> dict[str, object]:
    """The measurement of the kernel in ``candidate``, as the result file holds it. Raises `build.Unsupported`."""
    conditions = {
        "flags": " ".join(build.OPTIMISE),
        "machine": platform.machine(),
        "core": keep_to_one_core(),
        "clock": "CPU time of the process, from outside",
    }
    result: dict[str, object] = {"schema": "raysearch.metrics/1", "conditions": conditions}
    try:
        speedups, times_s = measured(build.source_of(candidate), reference, seed, patience_s)
    except Broken as broken:
        return {**result, "refused": f"the kernel broke a rule while it was measured; {broken}"}
    found: list[dict[str, object]] = [{**RATIO, "name": "speedup", "samples": overall(speedups)}]
    for name, (n, m, k) in SHAPES.items():
        rate = 2e-9 * n * m * k / max(statistics.median(times_s[name]), 1e-9)
        shape = {"shape": f"{n} x {m} x {k}", "gflops": f"{rate:.1f}"}
        found.append({**RATIO, "name": f"speedup.{name}", "samples": speedups[name], "conditions": shape})
    return {**result, "metrics": found}


def main() -> None:
    call = read_call(__doc__)
    try:
        write_result(call.result, metrics(call.candidate, call.reference, call.seed, call.patience_s))
    except build.Unsupported as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
