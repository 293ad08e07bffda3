"""Does a policy obey the rules of a cache? ``--help`` shows how to call it; README.md states the rules.

First small caches and awkward traces, where mistakes show at once; then traces like those that the benchmark
measures (the very same, if it is called with the same seed). The reference is not needed: the rules do not depend
on what another policy would do.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import arena
import jail
import numpy as np
import traces

CPU_US_MAX = 20.0
INTERFACE = (
    "policy.py defines class Policy with __init__(self, capacity) and access(self, key) -> the key that leaves the "
    "cache because of this request, or None. On a miss the key asked for comes in, unless access returns that very "
    "key. Keys are positive integers; at most one leaves a request."
)


def awkward(seed: int) -> list[traces.Case]:
    """Small caches, and traces that repeat, never repeat, or go round just beyond the capacity."""
    count = 2_000
    rng = np.random.default_rng([seed, len(traces.FAMILIES)])
    found = []
    for capacity in (1, 2, 3, 10, 64):
        shapes = {
            "uniform": rng.integers(0, 3 * capacity, count),
            "one key": np.zeros(count, np.int64),
            "all different": np.arange(count),
            "ring": np.arange(count) % (capacity + 1),
        }
        for shape, ids in shapes.items():
            found.append(traces.Case(f"{shape}/{capacity}", capacity, traces.salted(rng, ids)))
    return found


def run(policy: Path, cases: list[traces.Case], patience_s: float) -> float:
    """CPU microseconds per access. Raises `arena.Broken`."""
    used_s = 0.0
    with arena.Player(policy, [case.capacity for case in cases], patience_s=patience_s) as player:
        match = arena.Match(player, cases)
        for start, stop in arena.segments(match.rounds, 20):
            used_s += match.advance(start, stop)
        player.finish()
    return used_s / (match.rounds * len(cases)) * 1e6


def verdict(policy: Path, seed: int, *, requests: int, draws: int, patience_s: float) -> dict[str, object]:
    rounds = {
        "awkward traces": awkward(seed),
        "measured traces": traces.cases(seed, requests=requests, draws=draws),
    }
    passed: list[dict[str, object]] = []
    conditions = {"isolation": "seccomp"}
    try:
        for title, cases in rounds.items():
            used_us = run(policy, cases, patience_s)
            detail = f"{len(cases)} caches, {sum(len(case.requests) for case in cases):,} requests"
            passed.append({"name": title, "passed": True, "detail": detail})
        conditions["gross_cpu_us_per_access"] = f"{used_us:.3f}"
        if used_us > CPU_US_MAX:
            raise arena.Broken("too slow", f"{used_us:.1f} us of CPU per access; the limit is {CPU_US_MAX:g}")
    except arena.Broken as broken:
        failed = {"name": broken.rule, "passed": False, "detail": broken.detail}
        feedback = f"{broken}.\nThe interface: {INTERFACE}"
        return {"passed": False, "feedback": feedback, "cases": [*passed, failed], "conditions": conditions}
    feedback = "The policy kept every rule."
    return {"passed": True, "feedback": feedback, "cases": passed, "conditions": conditions}


def main() -> None:
    parser = argparse.ArgumentParser(description="Check that a cache eviction policy obeys the rules.")
    parser.add_argument("--candidate", type=Path, required=True, help="folder with policy.py")
    parser.add_argument("--reference", type=Path, help="not needed, accepted for the sake of the interface")
    parser.add_argument("--seed", type=int, required=True, help="chooses traces and keys; 0 or more")
    parser.add_argument("--result", type=Path, required=True, help="where the verdict goes (JSON)")
    parser.add_argument("--requests", type=int, default=50_000, help="requests a case (default %(default)s)")
    parser.add_argument("--draws", type=int, default=2, help="traces a family and capacity (default %(default)s)")
    parser.add_argument("--patience-s", type=float, default=20.0, help="longest wait for a twentieth of the requests")
    given = parser.parse_args()
    try:
        jail.check_machine()
        policy = (given.candidate / "policy.py").absolute()
        sizes = {"requests": given.requests, "draws": given.draws}
        found = verdict(policy, given.seed, **sizes, patience_s=given.patience_s)
    except jail.Unsupported as error:
        sys.exit(str(error))
    given.result.write_text(json.dumps({"schema": "raysearch.verdict/1", **found}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
