"""Print the README's table: known kernels, and any that you name, measured as candidates are.

python examples/matmul-kernel/compare.py
python examples/matmul-kernel/compare.py path/to/kernel.c
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmark"))

import benchmark
import numpy as np
from cases import normal

HERE = Path(__file__).resolve().parent
KNOWN = {
    "plain loop (the baseline itself)": "reference/kernel.c",
    "seed": "seed/kernel.c",
    "loops in another order": "anchors/rows.c",
    "sums in registers": "anchors/registers.c",
}


def library_gflops(shape: tuple[int, int, int]) -> float:
    """What numpy's own library does in this process, single-threaded, on warm matrices."""
    n, m, k = shape
    a, b = normal(np.random.default_rng(), n, m, k)
    times_s = []
    for _ in range(20):
        start_s = time.process_time()
        _ = a @ b
        times_s.append(time.process_time() - start_s)
    return 2e-9 * n * m * k / statistics.median(times_s)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure known matrix multiply kernels, and those given.")
    parser.add_argument("kernel", nargs="*", type=Path, help="further C or C++ files")
    given = parser.parse_args()
    kernels = {name: HERE / path for name, path in KNOWN.items()} | {str(path): path.resolve() for path in given.kernel}
    shapes = benchmark.SHAPES
    benchmark.keep_to_one_core()
    print(
        "| kernel | speedup |",
        " | ".join(f"{name} {'x'.join(map(str, s))}, Gflop/s" for name, s in shapes.items()),
        "|",
    )
    print("|---" * (2 + len(shapes)) + "|")
    for name, path in kernels.items():
        speedups, times_s = benchmark.measured(path, HERE / "reference", 1, 60.0)
        samples = benchmark.overall(speedups)
        middle = f"{statistics.median(samples):.3g} ({min(samples):.3g} to {max(samples):.3g})"
        rates = [2e-9 * n * m * k / statistics.median(times_s[shape]) for shape, (n, m, k) in shapes.items()]
        print(f"| {name} | {middle} |", " | ".join(f"{rate:.3g}" for rate in rates), "|", flush=True)
    library = [library_gflops(shape) for shape in shapes.values()]
    print("| numpy, for orientation | |", " | ".join(f"{rate:.3g}" for rate in library), "|")


if __name__ == "__main__":
    main()
