"""Does a kernel multiply matrices? OBJECTIVE.md states the rules.

Usage: checker.py --candidate DIR --reference DIR --seed N --result FILE
"""

from __future__ import annotations

import platform
import sys
import tempfile
from pathlib import Path

import accuracy
import build
import numpy as np
from cases import cases
from contract import read_call, write_result
from process import Kernel


def verdict(candidate: Path, seed: int, patience_s: float) -> dict[str, object]:
    """The verdict on the kernel in ``candidate``, as the result file holds it. Raises `build.Unsupported`."""
    passed: list[dict[str, object]] = []
    conditions = {"flags": " ".join(build.OPTIMISE), "machine": platform.machine(), "numpy": np.__version__}
    result: dict[str, object] = {"schema": "raysearch.verdict/1", "conditions": conditions}
    where = ""
    try:
        with tempfile.TemporaryDirectory() as folder:
            program = build.build(build.source_of(candidate), Path(folder), "kernel")
            passed.append({"name": "build", "passed": True})
            with Kernel(program, patience_s) as kernel:
                for case in cases(seed):
                    where = f"case {case.name}: "
                    for at_end in (False, True):
                        product = kernel.multiply(case.a, case.b, at_end=at_end)
                        accuracy.check(case.a, case.b, product.c, random=case.random)
                    passed.append({"name": case.name, "passed": True})
                where = ""
                kernel.finish()
    except build.Broken as broken:
        failed = {"name": broken.rule, "passed": False, "detail": f"{where}{broken.detail}"}
        feedback = f"{broken.rule}: {where}{broken.detail}"
        return {**result, "passed": False, "feedback": feedback, "cases": [*passed, failed]}
    return {**result, "passed": True, "feedback": "The kernel is right on every case.", "cases": passed}


def main() -> None:
    call = read_call(__doc__)
    try:
        write_result(call.result, verdict(call.candidate, call.seed, call.patience_s))
    except build.Unsupported as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
