"""Whole runs over programs that differ by a comment, in small: who gets onto the frontier."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[1] / "benchmarks" / "aa_runs.py"


def rows(*options: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, str(STUDY), *options], capture_output=True, text=True, check=True, timeout=600
    )
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    return {name: cells for name, *cells in lines[1:]}


def share(cell: str) -> tuple[int, int]:
    admitted, _, count = cell.partition(" ")[0].partition("/")
    return int(admitted), int(count)


def test_what_is_four_times_as_fast_gets_onto_the_frontier_of_a_run() -> None:
    (nulls, gains, *_) = rows("--rule", "median-3", "--nulls", "6", "--gains", "6", "--gain", "3")["median-3"]
    admitted, count = share(gains)
    assert admitted == count > 0
    assert share(nulls)[1] + count == 12


@pytest.mark.slow
def test_nulls_do_not_get_onto_the_frontier_of_a_run() -> None:
    (nulls, gains, *_) = rows("--rule", "raysearch", "--nulls", "30", "--gains", "8", "--gain", "0.1")["raysearch"]
    assert share(nulls)[0] <= 1
    admitted, count = share(gains)
    assert admitted >= 0.6 * count


def test_wrong_counts_are_said() -> None:
    done = subprocess.run([sys.executable, str(STUDY), "--gains", "0"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "one gain" in done.stderr
