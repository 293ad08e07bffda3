"""Simulate many seeds of every policy on all cores; print progress, and the line that replays each failure.

python benchmarks/soak.py --seeds 20000
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator

from raysearch.testing.scenario import POLICIES, options_of
from raysearch.testing.simulation import simulate

CHUNK = 100
"""Seeds that a process takes at once."""
FAILURES_MAX = 20
"""Failures after which it is time to look at them."""


def soaked(work: tuple[str, int, int]) -> tuple[str, int, int, list[str]]:
    """Policy, seeds and facts that were simulated, and what to print of each failure."""
    policy, first, count = work
    facts, failures = 0, []
    for seed in range(first, first + count):
        report = simulate(seed, policy, options_of(policy, seed))
        facts += len(report.entries)
        if report.problems:
            failures.append("\n  ".join([report.replay_line, *report.problems[:5]]))
    return policy, count, facts, failures


def chunks(policies: list[str], first: int, seeds: int) -> Iterator[tuple[str, int, int]]:
    """All work, the policies taking turns."""
    for start in range(first, first + seeds, CHUNK):
        for policy in policies:
            yield policy, start, min(CHUNK, first + seeds - start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000, help="how many, of each policy")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--policy", action="append", choices=list(POLICIES), help="repeatable; all if left out")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    policies = chosen.policy or list(POLICIES)
    began, shown, runs, facts, failures = time.monotonic(), 0.0, 0, 0, 0
    total = chosen.seeds * len(policies)
    with multiprocessing.Pool(chosen.processes) as pool:
        for policy, count, written, failed in pool.imap_unordered(soaked, chunks(policies, chosen.first, chosen.seeds)):
            runs, facts, failures = runs + count, facts + written, failures + len(failed)
            for failure in failed:
                print(f"FAILED under {policy}: {failure}", flush=True)
            took_s = time.monotonic() - began
            if took_s - shown >= 10.0 or runs == total:
                shown = took_s
                print(f"{runs:,} of {total:,} runs, {facts:,} facts, {failures} failures, {took_s:.0f} s", flush=True)
            if failures >= FAILURES_MAX:
                pool.terminate()
                break
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
