"""Accuracy checker: is what `pack()` returns a packing of 26 circles in the unit square? Exactly.

Usage: checker.py --candidate DIR --reference DIR --seed N --result FILE
"""

from __future__ import annotations

import math
import platform
from pathlib import Path

from candidate import BadCandidate, run_pack
from contract import read_call, write_result
from exact import Violation, overlaps, radius_violations, wall_violations

RULES = ("runs", "shape", "finite", "radii", "walls", "overlaps")


def verdict(folder: Path, limit_s: float) -> dict[str, object]:
    """The verdict on the candidate in ``folder``, as the result file holds it."""
    try:
        packing = run_pack(folder, limit_s)
    except BadCandidate as refusal:
        return _no({refusal.rule: str(refusal)}, str(refusal))
    found = {
        "radii": radius_violations(packing.radii),
        "walls": wall_violations(packing.centers, packing.radii),
        "overlaps": overlaps(packing.centers, packing.radii),
    }
    if any(found.values()):
        return _no({rule: _summary(broken) for rule, broken in found.items() if broken}, _feedback(found))
    total = math.fsum(packing.radii)
    return _result(True, {}, f"Valid, exactly. The sum of the radii is {total:.12f}.")


def _summary(broken: list[Violation]) -> str:
    """The worst of ``broken`` and how many there are."""
    worst = max(broken, key=lambda violation: violation.amount)
    return worst.detail if len(broken) == 1 else f"{worst.detail}, the worst of {len(broken)}"


def _feedback(found: dict[str, list[Violation]]) -> str:
    """What to mend, the worst first."""
    broken = sorted((v for rule in found.values() for v in rule), key=lambda v: -v.amount)
    lines = [f"Not a packing: {len(broken)} violations, the largest {broken[0].amount:.3g}. The tolerance is zero."]
    lines += [f"- {violation.detail}" for violation in broken[:5]]
    if broken[0].amount < 1e-6:
        lines.append("This is rounding: shrink the radii by a little more than the largest violation.")
    return "\n".join(lines)


def _no(failed: dict[str, str], feedback: str) -> dict[str, object]:
    return _result(False, failed, feedback)


def _result(passed: bool, failed: dict[str, str], feedback: str) -> dict[str, object]:
    """Rules after one that left nothing to check are not listed."""
    last = next((rule for rule in RULES[:3] if rule in failed), RULES[-1])
    checked = RULES[: RULES.index(last) + 1]
    return {
        "schema": "raysearch.verdict/1",
        "passed": passed,
        "feedback": feedback,
        "cases": [{"name": rule, "passed": rule not in failed, "detail": failed.get(rule, "")} for rule in checked],
        "conditions": {"tolerance": "0", "arithmetic": "rational", "python": platform.python_version()},
    }


def main() -> None:
    call = read_call(__doc__)
    write_result(call.result, verdict(call.candidate, call.limit_s))


if __name__ == "__main__":
    main()
