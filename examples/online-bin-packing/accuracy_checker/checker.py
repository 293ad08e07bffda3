"""Does a heuristic keep the rules of online bin packing? OBJECTIVE.md states them.

Usage: checker.py --candidate DIR --reference DIR --seed N --result FILE

Small awkward instances first, where mistakes show at once, then short ones of the two families that are measured.
Which bin an item goes to is the heuristic's business: any bin that it fits is right.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import arena
import instances
import jail
import numpy as np
from contract import read_call, write_result

INTERFACE = (
    "heuristic.py defines priority(item, remaining): `item` is a float, `remaining` a read-only float64 array of the "
    "capacities left in the bins that the item fits; it returns one finite score a bin, as an array of that length. "
    "The item goes to the first bin with the highest score."
)


def verdict(heuristic: Path, seed: int, limit_s: float) -> dict[str, object]:
    """The verdict on a heuristic, as the result file holds it."""
    parts = {
        "awkward items": instances.awkward(seed),
        "measured families": instances.weibull(seed, draws=2, count=500) + instances.or3(seed, draws=2),
    }
    cases: list[dict[str, object]] = []
    conditions = {"isolation": "seccomp", "numpy": np.__version__, "python": platform.python_version()}
    result: dict[str, object] = {"schema": "raysearch.verdict/1", "cases": cases, "conditions": conditions}
    for title, given in parts.items():
        try:
            arena.judged(heuristic, given, seed, limit_s)
        except arena.Broken as broken:
            cases.append({"name": broken.rule, "passed": False, "detail": broken.detail})
            return {**result, "passed": False, "feedback": f"{broken}.\nThe interface: {INTERFACE}"}
        items = sum(len(instance.items) for instance in given)
        cases.append({"name": title, "passed": True, "detail": f"{len(given)} instances, {items:,} items"})
    return {**result, "passed": True, "feedback": "The heuristic kept every rule."}


def main() -> None:
    call = read_call(__doc__)
    try:
        write_result(call.result, verdict(call.heuristic, call.seed, call.limit_s))
    except jail.Unsupported as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
