"""Print the README's table: known policies, and any that you name, measured as a candidate is.

python examples/cache-eviction/compare.py --seed 1
python examples/cache-eviction/compare.py --seed 1 path/to/policy.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "benchmark"))

import benchmark  # noqa: E402

KNOWN = {
    "FIFO": "anchors/fifo.py",
    "LRU": "reference/lru.py",
    "SIEVE": "anchors/sieve.py",
    "ARC": "anchors/arc.py",
    "S3-FIFO": "anchors/s3fifo.py",
    "seed": "seed/policy.py",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure known cache eviction policies, and those given.")
    parser.add_argument("policy", nargs="*", type=Path, help="further policy.py files")
    parser.add_argument("--seed", type=int, default=1, help="chooses traces and keys (default %(default)s)")
    parser.add_argument("--requests", type=int, default=50_000, help="requests a case (default %(default)s)")
    parser.add_argument("--draws", type=int, default=2, help="traces a family and capacity (default %(default)s)")
    given = parser.parse_args()
    policies = {name: HERE / path for name, path in KNOWN.items()}
    policies |= {str(path): path.resolve() for path in given.policy}
    cases = benchmark.traces.cases(given.seed, requests=given.requests, draws=given.draws)
    columns = list(dict.fromkeys(case.name.rpartition("/")[0] for case in cases))
    print("| policy | gap_closed | cpu_us_per_access |", " | ".join(columns), "|")
    print("|---" * (3 + len(columns)) + "|")
    for name, path in policies.items():
        missed, gross_us, harness_us = benchmark.measure(path, cases, 60.0)
        closed = benchmark.gaps(cases, missed, HERE / "reference")
        net_us = statistics.median(benchmark.net(gross_us, harness_us))
        shares = [[share for case, share in closed.items() if case.startswith(f"{column}/")] for column in columns]
        cells = [f"{statistics.fmean(share):.2f}" if share else "-" for share in shares]
        print(
            f"| {name} | {statistics.fmean(closed.values()):.3f} | {net_us:.2f} |", " | ".join(cells), "|", flush=True
        )


if __name__ == "__main__":
    main()
