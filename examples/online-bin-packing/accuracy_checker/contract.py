"""The command line and the result file of a checker or benchmark."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Call:
    """What the command was asked. ``heuristic`` is the candidate's program."""

    heuristic: Path
    seed: int
    result: Path
    limit_s: float


def read_call(description: str | None) -> Call:
    """Parse the command line: ``--candidate DIR --reference DIR --seed N --result FILE``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidate", type=Path, required=True, help="folder with heuristic.py")
    parser.add_argument("--reference", type=Path, help="not used: the rules and the L1 bound are absolute")
    parser.add_argument("--seed", type=int, required=True, help="chooses the items; 0 or more")
    parser.add_argument("--result", type=Path, required=True, help="where the answer goes (JSON)")
    parser.add_argument("--limit-s", type=float, default=20.0, help="wall time for each process (default %(default)s)")
    given = parser.parse_args()
    return Call((given.candidate / "heuristic.py").resolve(), given.seed, given.result, given.limit_s)


def write_result(path: Path, result: dict[str, object]) -> None:
    """Put ``result`` in place at once, whatever is there."""
    descriptor, fresh = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
    Path(fresh).chmod(0o644)
    Path(fresh).replace(path)
