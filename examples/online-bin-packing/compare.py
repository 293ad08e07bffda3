"""Print the README's table: known heuristics, and any that you name, measured as candidates are.

python examples/online-bin-packing/compare.py
python examples/online-bin-packing/compare.py --seeds 1,2,3 path/to/heuristic.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmark"))

import benchmark
import instances

HERE = Path(__file__).resolve().parent
KNOWN = {
    "first fit": "reference/first_fit.py",
    "best fit": "reference/heuristic.py",
    "worst fit": "anchors/worst_fit.py",
    "FunSearch, Weibull": "anchors/funsearch_weibull.py",
    "FunSearch, OR": "anchors/funsearch_or.py",
    "shun gaps": "anchors/shun_gaps.py",
    "seed": "seed/heuristic.py",
}


def measured(heuristic: Path, seed: int) -> tuple[float, float]:
    """Excess on both families, in percent."""
    families = [instances.weibull(seed), instances.or3(seed)]
    weibull, or3 = benchmark.excess(heuristic, families, seed, 120.0)
    return weibull, or3


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure known heuristics for online bin packing, and those given.")
    parser.add_argument("heuristic", nargs="*", type=Path, help="further heuristic files")
    parser.add_argument("--seeds", default="1,2,3,4,5", help="each draws its own items (default %(default)s)")
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    heuristics = {name: HERE / path for name, path in KNOWN.items()}
    heuristics |= {str(path): path.resolve() for path in given.heuristic}
    print("| heuristic | excess_weibull, % | excess_or3, % |")
    print("|---|---|---|")
    for name, path in heuristics.items():
        values = zip(*(measured(path, seed) for seed in seeds), strict=True)
        cells = [f"{statistics.fmean(v):.2f} ({min(v):.2f} to {max(v):.2f})" for v in values]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
