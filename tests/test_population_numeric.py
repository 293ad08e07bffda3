"""The comparison with NSGA-II: that it compares the same number of evaluations, repeats itself, and can be read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "numeric.py"


@pytest.fixture(scope="module")
def numeric():
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import numeric

        return numeric
    finally:
        sys.path.remove(str(SCRIPT.parent))


@pytest.mark.parametrize("name", ["zdt1", "dtlz2"])
def test_both_evaluate_equally_often_and_repeat_themselves(numeric, name: str) -> None:
    ours = [numeric.evolved(name, 3, 150) for _ in range(2)]
    theirs = [numeric.nsga2(name, 3, 200)[0] for _ in range(2)]
    assert 145 <= len(ours[0]) <= 150, "a program that is known already is an attempt, but not evaluated"
    assert len(theirs[0]) == 200
    assert np.array_equal(*ours)
    assert np.array_equal(*theirs)
    assert not np.array_equal(ours[0], numeric.evolved(name, 4, 150))


def test_the_search_is_better_than_chance(numeric) -> None:
    searched = [numeric.volume(numeric.evolved("dtlz2", seed, 400)) for seed in range(3)]
    assert sum(searched) > 1.5 * sum(numeric.volume(numeric.drawn("dtlz2", seed, 400)) for seed in range(3))


def test_the_true_frontier_has_the_volume_that_is_said(numeric) -> None:
    for name in ("zdt1", "zdt2"):
        at = np.linspace(0, 1, 3000)
        frontier = np.column_stack([at, 1 - np.sqrt(at) if name == "zdt1" else 1 - at**2])
        assert numeric.volume(frontier) == pytest.approx(numeric.PROBLEMS[name][1], abs=1e-3)
        assert numeric.volume(frontier + 2) == 0.0


def test_the_verdict_follows_the_medians(numeric) -> None:
    line, reached = numeric.verdict("zdt1", [3.0, 4.0, 5.0], [1.0, 2.0, 2.5])
    assert (reached, "evolve is ahead of NSGA-II, by +2.0000 [" in line, "chance" in line) == (True, True, False)
    line, reached = numeric.verdict("zdt1", [1.0, 2.0, 9.0], [1.0, 2.1, 9.0])
    assert (reached, "is behind NSGA-II, by -0.1000" in line, "chance" in line) == (False, True, True)


def test_the_quick_table_can_be_read() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--problem", "dtlz2"], capture_output=True, text=True, check=True
    )
    assert "dtlz2, 400 evaluations, 2 seeds; hypervolume, of 0.8074 at most" in done.stdout
    rows = re.findall(r"^  (\S.*?) +(\d\.\d{4})  \[\d\.\d{4}, \d\.\d{4}\]  \d\.\d{4} to \d\.\d{4}$", done.stdout, re.M)
    assert [title for title, _ in rows] == [
        "evolve",
        "evolve, NSGA-II's variation",
        "NSGA-II",
        "NSGA-II, last population",
        "random",
    ]
    assert "dtlz2: evolve is ahead of NSGA-II, by +" in done.stdout


def test_lanes_evaluate_equally_often_and_count_what_is_missed(numeric) -> None:
    found = {lanes: numeric.searched("dtlz2", 3, 150, lanes=lanes) for lanes in (1, 8)}
    assert found[1][1].most == 0
    assert 4 < found[8][1].mean < 9, "each lane's child is passed by about one of every other lane"
    assert all(145 <= len(points) <= 150 for points, _ in found.values())
    assert np.array_equal(found[8][0], numeric.searched("dtlz2", 3, 150, lanes=8)[0])
    options = {"generational": True, "children_per_generation": 8}
    assert numeric.searched("dtlz2", 3, 150, lanes=8, **options)[1].most <= 7


def test_the_table_of_lanes_can_be_read(numeric, capsys) -> None:
    numeric.compare_lanes("dtlz2", 2, [100, 200], 4)
    said = capsys.readouterr().out
    assert "dtlz2, 200 evaluations, 2 seeds" in said
    for way in ("1 lane", "4 lanes", "generations of 4"):
        assert len(re.findall(rf"^  evolve, {way} +\d\.\d{{4}}  \[", said, re.M)) == 2
        assert f"  {way}: a child missed " in said
    assert len(re.findall(r"dtlz2: 4 lanes are (?:ahead of|behind) 1 lane, by [+-]", said)) == 2
