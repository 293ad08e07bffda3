"""How many bins more than the L1 bound does a heuristic take?

Usage: benchmark.py --candidate DIR --reference DIR --seed N --result FILE

``excess_weibull`` and ``excess_or3``: bins taken over all instances of a family, above the sum of their L1 bounds,
in percent of it. Exact for a seed, so one sample each. A heuristic that breaks a rule here is refused.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "accuracy_checker"))

import arena
import instances
import jail
import numpy as np
from contract import read_call, write_result


def excess(heuristic: Path, families: Sequence[Sequence[instances.Instance]], seed: int, limit_s: float) -> list[float]:
    """Excess of each family, in percent. Raises `arena.Broken`."""
    given = [instance for family in families for instance in family]
    used = iter(arena.judged(heuristic, given, seed, limit_s))
    found = []
    for family in families:
        taken = sum(next(used) for _ in family)
        found.append(100.0 * (taken / sum(instance.bound for instance in family) - 1.0))
    return found


def metrics(heuristic: Path, seed: int, limit_s: float) -> dict[str, object]:
    """The measurement of a heuristic, as the result file holds it."""
    families = [instances.weibull(seed), instances.or3(seed)]
    conditions = {"numpy": np.__version__, "python": platform.python_version()}
    for family in families:
        conditions[family[0].family] = (
            f"{len(family)} instances of {len(family[0].items):,} items, L1 bound {sum(i.bound for i in family):,}"
        )
    result: dict[str, object] = {"schema": "raysearch.metrics/1", "conditions": conditions}
    try:
        found = excess(heuristic, families, seed, limit_s)
    except arena.Broken as broken:
        return {**result, "refused": f"the heuristic broke a rule while it was measured; {broken}"}
    names = ("excess_weibull", "excess_or3")
    measured = [
        {"name": name, "unit": "%", "direction": "min", "samples": [value]}
        for name, value in zip(names, found, strict=True)
    ]
    return {**result, "metrics": measured}


def main() -> None:
    call = read_call(__doc__)
    try:
        write_result(call.result, metrics(call.heuristic, call.seed, call.limit_s))
    except jail.Unsupported as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
