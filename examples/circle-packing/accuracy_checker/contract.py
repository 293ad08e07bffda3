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
    """What the command was asked."""

    candidate: Path
    result: Path
    limit_s: float


def read_call(description: str | None) -> Call:
    """Parse the command line: ``--candidate DIR --reference DIR --seed N --result FILE``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidate", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True, help="not used: check and score are absolute")
    parser.add_argument("--seed", type=int, required=True, help="not used: nothing is drawn")
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--limit-s", type=float, default=60.0, help="seconds that pack() may take")
    arguments = parser.parse_args()
    return Call(arguments.candidate, arguments.result, arguments.limit_s)


def write_result(path: Path, result: dict[str, object]) -> None:
    """Replace whatever is at ``path``: a link or a file that a candidate left there included."""
    descriptor, fresh = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(result, file)
    Path(fresh).chmod(0o644)
    Path(fresh).replace(path)
