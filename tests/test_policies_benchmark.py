"""The comparison of policies: all get the same hands, what its tables say, and that a second start repeats nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from raysearch.config.layers import Override, configure
from raysearch.config.targets import load_target
from raysearch.plugins import known_names
from raysearch.run.start import resolve
from raysearch.types import Objective

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
AXES = (Objective("speed", "max", "x"),)


@pytest.fixture(scope="module")
def policies():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import policies

        return policies
    finally:
        sys.path.remove(str(BENCHMARKS))


def made(policies, policy: str, number: int, *rows: tuple[int, float | None], example: str = "circle-packing"):
    """A run of which each row is the work so far and a value."""
    values = [[work, 0.0, None if value is None else [value]] for work, value in rows]
    axes = [[axis.name, axis.goal, axis.unit] for axis in AXES]
    head = {"example": example, "method": policy, "number": number, "candidates": 2, "seed": [2.0]}
    return policies.Run.read(json.dumps({**head, "objectives": axes, "rows": values}))


def test_the_tables_hold_medians_with_intervals(policies) -> None:
    runs = [made(policies, "best-of-n", n, (2, 3.0)) for n in range(3)]
    runs += [made(policies, "evolve", n, (1, None), (3, 3.0 + n), (4, None)) for n in range(3)]
    runs += [made(policies, f"evolve{policies.WITH_MODEL}", n, (3, 5.0)) for n in range(3)]
    rows = {line.split(" | ")[0]: line for line in policies.table(runs).splitlines()}
    assert rows["| best-of-n"] == "| best-of-n | 3 [3, 3] | 1.5 [1.5, 1.5] |  |  |  |"
    assert rows["| evolve"] == "| evolve | 4 [3, 5] | 2 [1.5, 2.5] | 2.5 of 3 | 2.5 [2.5, 2.5] | 1 |"
    assert len(rows) == 4, "policies without runs have no row"
    assert "### circle-packing: 2 candidates, 3 seeds, the seed program at 2" in policies.report(runs)


def test_the_picture_has_a_panel_a_target(policies, tmp_path: Path) -> None:
    runs = [made(policies, "evolve", n, (2, 3.0), example=example) for n in range(2) for example in policies.TARGETS]
    policies.draw(runs, tmp_path / "p.png")
    header = (tmp_path / "p.png").read_bytes()[:24]
    width, height = int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")
    assert width > 3 * height, "three beside each other"


@pytest.mark.parametrize("example", ["circle-packing", "online-bin-packing", "cache-eviction"])
def test_every_policy_gets_the_same_hands(policies, example: str) -> None:
    """And each configuration is one that `raysearch run` takes."""
    target, hands = load_target(BENCHMARKS.parent / "examples" / example), set()
    for name, method in policies.POLICIES.items():
        values = {"run.outer_loop": method.policy, "run.mutators": list(method.mutators), "run.seed": 1}
        values |= dict(method.settings)
        overrides = [Override(tuple(key.split(".")), value, "benchmark") for key, value in values.items()]
        search = resolve(configure(None, overrides, known=known_names()), target)
        if not name.startswith("portfolio"):
            hands.add(search.offers["mutators"])
            assert search.policy.options["portfolio"] == "uniform"
        else:
            assert "merge" in search.offers["mutators"]
    assert hands == {("tune", "genetic"), ("tune", "genetic", "model")}


@pytest.mark.slow
def test_a_played_model_is_paid_from_an_equal_budget(policies) -> None:
    run = policies.search("circle-packing", f"evolve{policies.WITH_MODEL}", 1, 9)
    assert policies.dollars_of(9) == pytest.approx(0.15)
    assert 3 <= len(run.rows) <= 27


@pytest.mark.slow
def test_what_is_there_is_not_run_again(policies, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--example", "circle-packing", "--policy", "best-of-n", "--policy", "generations"]
    words += ["--seeds", "1", "--candidates", "1"]
    places = ["--results", str(tmp_path / "r.jsonl"), "--picture", str(tmp_path / "p.png")]
    monkeypatch.setattr(sys, "argv", ["policies.py", *words, *places])
    assert policies.main() == 0
    first = capsys.readouterr().out
    runs = policies.read(tmp_path / "r.jsonl")
    assert [(run.method, run.number, run.seed[0] > 0.9) for run in runs] == [
        ("best-of-n", 0, True),
        ("generations", 0, True),
    ]
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert policies.main() == 0
    assert first.endswith(capsys.readouterr().out)
    assert policies.read(tmp_path / "r.jsonl") == runs


def test_without_results_there_is_nothing_to_report(policies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["policies.py", "--report", "--results", str(tmp_path / "none.jsonl")])
    with pytest.raises(SystemExit, match="no results yet"):
        policies.main()
