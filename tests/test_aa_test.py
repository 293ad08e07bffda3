"""The A/A study, in small: who gets in through the comparison and who through fixed repeats."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

STUDY = Path(__file__).parents[1] / "benchmarks" / "aa_test.py"


def rows(*options: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, str(STUDY), *options], capture_output=True, text=True, check=True, timeout=100
    )
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    return {name: cells for name, *cells in lines[1:]}


def admitted(cell: str) -> int:
    return int(cell.partition("/")[0])


def test_nulls_stay_out_and_gains_come_in() -> None:
    found = rows("--nulls", "150", "--gains", "40", "--slower", "40")
    for name in ("library, fixed 0.01", "library, fixed 0.005", "library, e-lond 0.05"):
        nulls, gains, slower = (admitted(cell) for cell in found[name][:3])
        assert (nulls <= 2, gains >= 34, slower) == (True, True, 0)
    assert admitted(found["median of 5"][0]) > 15


def test_on_this_machine_it_runs() -> None:
    found = rows("--real", "c", "--nulls", "1", "--gains", "1", "--slower", "1", "--pairs-max", "20")
    assert "library, fixed 0.01" in found


def test_wrong_counts_are_said() -> None:
    done = subprocess.run([sys.executable, str(STUDY), "--nulls", "0"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "at least one candidate of each kind" in done.stderr
