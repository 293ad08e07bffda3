"""How good is a policy, and what does it cost? ``--help`` shows how to call it.

``gap_closed``: misses saved against LRU, as a share of what Belady's MIN saves, averaged over the cases: LRU
is 0, the optimum 1. Exact for a seed, so one sample.
``cpu_us_per_access``: CPU time of the policy's process, read from outside it, less that of a policy that lets
nothing in, which plays the same requests in turn. One sample for each segment of the trace but the first.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "accuracy_checker"))

import arena  # noqa: E402
import jail  # noqa: E402
import traces  # noqa: E402

SEGMENTS = 20
CPU_US_MIN = 0.01
"""Below this a difference of two clocks says nothing (a policy that only returns its argument is the harness)."""


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def misses(policy: type, case: traces.Case) -> int:
    """What a trusted policy misses, run in this process."""
    referee = arena.Referee(case.name, case.capacity)
    access = policy(case.capacity).access
    referee.judge(case.requests, [access(key) or 0 for key in case.requests])
    return referee.misses


def gaps(cases: list[traces.Case], missed: list[int], reference: Path) -> dict[str, float]:
    """By case: the share of the gap between LRU and MIN that was closed. Cases without a gap are left out."""
    lru, belady = load(reference / "lru.py"), load(reference / "belady.py")
    closed = {}
    for case, mine in zip(cases, missed, strict=True):
        floor, ceiling = misses(lru.Policy, case), belady.misses(case.requests, case.capacity)
        if floor > ceiling:
            closed[case.name] = (floor - mine) / (floor - ceiling)
    return closed


def measure(policy: Path, cases: list[traces.Case], patience_s: float) -> tuple[list[int], list[float], list[float]]:
    """Misses by case; CPU microseconds per access of the policy and of the harness alone, by segment."""
    capacities = [case.capacity for case in cases]
    gross_us, harness_us = [], []
    with (
        arena.Player(policy, capacities, patience_s=patience_s) as player,
        arena.Player(HERE / "nothing.py", capacities, patience_s=patience_s) as idle,
    ):
        match, floor = arena.Match(player, cases), arena.Match(idle, cases)
        for start, stop in arena.segments(match.rounds, SEGMENTS):
            accesses = (stop - start) * len(cases)
            gross_us.append(match.advance(start, stop) / accesses * 1e6)
            harness_us.append(floor.advance(start, stop) / accesses * 1e6)
        player.finish()
    return [referee.misses for referee in match.referees], gross_us[1:], harness_us[1:]


def net(gross_us: list[float], harness_us: list[float]) -> list[float]:
    """What the policy alone cost, by segment."""
    return [round(max(CPU_US_MIN, gross - own), 4) for gross, own in zip(gross_us, harness_us, strict=True)]


def metrics(policy: Path, reference: Path, cases: list[traces.Case], patience_s: float) -> dict[str, object]:
    missed, gross_us, harness_us = measure(policy, cases, patience_s)
    closed = gaps(cases, missed, reference)
    if not closed:
        sys.exit("too few requests: LRU is optimal on every case, so there is no gap to close")
    by_group: dict[str, list[float]] = {}
    for name, share in closed.items():
        by_group.setdefault(name.rpartition("/")[0], []).append(share)
    conditions = {
        "cases": f"{len(cases)} of {len(cases[0].requests):,} requests",
        "harness_us_per_access": f"{statistics.median(harness_us):.3f}",
        "python": platform.python_version(),
        **{f"gap_closed {name}": f"{statistics.fmean(shares):.3f}" for name, shares in by_group.items()},
    }
    return {
        "schema": "raysearch.metrics/1",
        "metrics": [
            {"name": "gap_closed", "unit": "share", "direction": "max", "samples": [statistics.fmean(closed.values())]},
            {"name": "cpu_us_per_access", "unit": "us", "direction": "min", "samples": net(gross_us, harness_us)},
        ],
        "conditions": conditions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a cache eviction policy.")
    parser.add_argument("--candidate", type=Path, required=True, help="folder with policy.py")
    parser.add_argument("--reference", type=Path, required=True, help="folder with lru.py and belady.py")
    parser.add_argument("--seed", type=int, required=True, help="chooses traces and keys; 0 or more")
    parser.add_argument("--result", type=Path, required=True, help="where the metrics go (JSON)")
    parser.add_argument("--requests", type=int, default=50_000, help="requests a case (default %(default)s)")
    parser.add_argument("--draws", type=int, default=2, help="traces a family and capacity (default %(default)s)")
    parser.add_argument("--patience-s", type=float, default=20.0, help="longest wait for a twentieth of the requests")
    given = parser.parse_args()
    try:
        policy = (given.candidate / "policy.py").absolute()
        cases = traces.cases(given.seed, requests=given.requests, draws=given.draws)
        found = metrics(policy, given.reference, cases, given.patience_s)
    except jail.Unsupported as error:
        sys.exit(str(error))
    except arena.Broken as broken:
        sys.exit(f"the policy broke a rule while it was measured; {broken}")
    given.result.write_text(json.dumps(found, indent=1), "utf-8")


if __name__ == "__main__":
    main()
