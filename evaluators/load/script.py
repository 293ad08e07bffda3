"""The frame of a target's benchmark script: its arguments, its result, its exit status."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from evaluators.call import VOID_STATUS, Call, hide_memory, read_call
from evaluators.load.measuring import Outcome
from raysearch.errors import Refused, UserError


def run_benchmark(bench: Callable[[Call], Outcome | Sequence[Outcome]], argv: Sequence[str] | None = None) -> NoReturn:
    """Call ``bench`` with this script's arguments and write what it found; ends the process.

    Exit status 0 and a result: the measurements of all outcomes, or why the program is refused (an outcome's word, or
    `raysearch.errors.Refused`, which `Server` raises). Status 75, no result and the reason on stderr: the measurement
    is void. Status 2: the target's author must change something.
    """
    call = read_call(argv, "Measure a server under load.")
    hide_memory()
    try:
        found = bench(call)
    except Refused as no:
        found = Outcome(refused=str(no))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    outcomes = (found,) if isinstance(found, Outcome) else tuple(found)
    refused = next((outcome.refused for outcome in outcomes if outcome.refused), "")
    void = next((outcome.void for outcome in outcomes if outcome.void), "")
    if void and not refused:
        print(f"void: {void}", file=sys.stderr)
        sys.exit(VOID_STATUS)
    write_result(call.result, outcomes, refused)
    sys.exit(0)


def write_result(path: Path, outcomes: Sequence[Outcome], refused: str = "") -> None:
    """Write a ``raysearch.metrics/1`` to ``path``, whole or not at all: the metrics of ``outcomes``, or ``refused``."""
    result: dict[str, object] = {"schema": "raysearch.metrics/1"}
    if refused:
        result["refused"] = refused
    else:
        result["metrics"] = [
            {
                "name": measurement.name,
                "samples": list(measurement.samples),
                "unit": measurement.unit,
                "direction": measurement.goal,
                "conditions": dict(measurement.conditions),
            }
            for outcome in outcomes
            for measurement in outcome.measurements
        ]
    result["conditions"] = conditions(outcomes)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(result, allow_nan=False), "utf-8")
    draft.replace(path)


def conditions(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Of all outcomes; where there are several, each name tells its place."""
    if len(outcomes) == 1:
        return outcomes[0].conditions
    return {
        f"{name} ({number})": told
        for number, outcome in enumerate(outcomes, 1)
        for name, told in outcome.conditions.items()
    }
