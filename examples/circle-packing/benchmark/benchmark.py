"""Benchmark: the sum of the radii, of a packing that is run and verified afresh.

Usage: benchmark.py --candidate DIR --reference DIR --seed N --result FILE

Refuses a candidate whose `pack()` does not return a valid packing this time: the accuracy checker comes first, so such
a candidate answers differently from call to call.
"""

from __future__ import annotations

import math
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "accuracy_checker"))

from candidate import BadCandidate, run_pack
from contract import read_call, write_result
from exact import overlaps, radius_violations, wall_violations


def sum_radii(folder: Path, limit_s: float) -> float:
    """Sum of the radii, rounded once. Raises BadCandidate where the packing is not valid."""
    packing = run_pack(folder, limit_s)
    broken = [
        *radius_violations(packing.radii),
        *wall_violations(packing.centers, packing.radii),
        *overlaps(packing.centers, packing.radii),
    ]
    if broken:
        worst = max(broken, key=lambda violation: violation.amount)
        raise BadCandidate(worst.rule, worst.detail)
    return math.fsum(packing.radii)


def metrics(folder: Path, limit_s: float) -> dict[str, object]:
    """The measurement of the candidate in ``folder``, as the result file holds it."""
    conditions = {"tolerance": "0", "arithmetic": "rational", "python": platform.python_version()}
    result: dict[str, object] = {"schema": "raysearch.metrics/1", "conditions": conditions}
    try:
        total = sum_radii(folder, limit_s)
    except BadCandidate as refusal:
        return {**result, "refused": f"pack() gave no valid packing when it was called for measuring: {refusal}"}
    metric = {"name": "sum_radii", "unit": "1", "direction": "max", "samples": [total], "conditions": {}}
    return {**result, "metrics": [metric]}


def main() -> None:
    call = read_call(__doc__)
    write_result(call.result, metrics(call.candidate, call.limit_s))


if __name__ == "__main__":
    main()
