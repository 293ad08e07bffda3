"""The comparison with equal budgets: what is counted, what a gain is, and that a second start repeats nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from journals import Journal

from raysearch.config.targets import load_target
from raysearch.facts import AttemptClosed, AttemptOpened, Judged, Measured, RunStarted
from raysearch.types import (
    AttemptId,
    Candidate,
    Commit,
    Measurement,
    Objective,
    Outcome,
    Plan,
    Proposal,
    Tree,
    Verdict,
)

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
AXES = (Objective("speed", "max", "x"), Objective("size", "min"))


@pytest.fixture(scope="module")
def equal():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import equal_budget

        return equal_budget
    finally:
        sys.path.remove(str(BENCHMARKS))


def row(work: int, seconds: float, values: tuple[float, ...] | None):
    from records import Row  # which `equal` has found

    return Row(work, seconds, values)


def measured(speed: float, size: float) -> tuple[Measurement, ...]:
    return Measurement("size", (size,), goal="min"), Measurement("speed", (speed,))


def test_work_is_what_evaluators_did(equal) -> None:
    """Refused: one run. Measured: two. Known already: none. The seed: not counted."""
    journal, record = Journal(), equal.Record()
    journal.add(
        RunStarted("r", 1, "t", "d", AXES, Plan(()), Commit("c" * 40), Tree("e" * 40), seeded=True),
    )
    no, yes = Verdict(False, "wrong"), Verdict(True)
    for attempt, verdict, reused in ((0, yes, None), (1, yes, None), (2, no, None), (3, yes, AttemptId(1))):
        number = AttemptId(attempt)
        journal.add(AttemptOpened(number, Proposal()))
        journal.add(Judged(number, "accuracy", verdict, reused, took_s=0.5))
        candidate = None
        if verdict.passed:
            values = measured(2.0 + attempt, 4.0)
            journal.add(Measured(number, "benchmark", values, reused, took_s=1.0))
            candidate = Candidate(number, Commit("c" * 40), Tree("e" * 40), (), values)
        outcome = Outcome.ADMITTED if candidate else Outcome.REJECTED
        journal.add(AttemptClosed(number, outcome, "", candidate))
    for entry in journal.entries:
        record.told(entry)
    assert record.seed == (2.0, 4.0)
    assert record.rows == [
        row(2, 1.5, (3.0, 4.0)),
        row(3, 2.0, None),
        row(3, 2.0, (5.0, 4.0)),
    ]


def made(equal, method: str, number: int, *rows: tuple[int, tuple[float, ...] | None], axes=AXES, seed=(2.0, 4.0)):
    return equal.Run(
        "cache-eviction", method, number, 2, axes, seed, tuple(row(work, 0.0, values) for work, values in rows)
    )


def test_the_gain_is_the_volume_in_units_of_the_seeds(equal) -> None:
    run = made(equal, "tune", 0, (2, (4.0, 4.0)), (3, None), (5, (1.0, 2.0)), (7, (9.0, 9.0)))
    assert run.gain([]) == pytest.approx(1.0)
    assert run.gain(run.at_candidates()) == pytest.approx(2.0), "twice as fast, and as large"
    assert run.gain(run.at_work(4)) == pytest.approx(2.0)
    assert run.gain(run.at_work(5)) == pytest.approx(2.0 + 0.5 * 0.5), "half as fast, and half as large"
    assert run.gain(run.at_work(7)) == pytest.approx(2.25), "more than twice as large counts for nothing"
    assert run.best(run.at_candidates()) == 4.0
    assert equal.curve(run, range(6)) == pytest.approx([1, 1, 2, 2, 2, 2.25])
    less = made(equal, "tune", 0, (2, (3.0,)), axes=(Objective("miss", "min"),), seed=(4.0,))
    assert (less.best(less.rows), less.gain(less.rows)) == (3.0, pytest.approx(1.25))
    assert equal.Run.read(run.written()) == run


def test_methods_are_paired_by_seed(equal) -> None:
    assert equal.ahead({0: 1.0, 1: 2.0, 2: 2.0, 9: 5.0}, {0: 0.5, 1: 2.0, 2: 3.0}) == "1.5 of 3"
    runs = [made(equal, "random", n, (2, (3.0, 4.0))) for n in range(3)]
    runs += [made(equal, "best-of-n", n, (2, (2.0, 4.0))) for n in range(3)]
    runs += [made(equal, "tune", n, (1, None), (3, (3.0 + n, 4.0)), (4, None)) for n in range(3)]
    rows = {line.split(" | ")[0]: line for line in equal.table(runs).splitlines()}
    assert rows["| tune"] == "| tune | 4 [3, 5] | 2 [1.5, 2.5] | 2 [1.5, 2.5] | 3 | 2.5 of 3 | 3 of 3 |"
    assert rows["| random"].endswith("|  | 3 of 3 |")
    assert rows["| best-of-n"].endswith("| 0 of 3 |  |")
    assert "### cache-eviction: 2 candidates, the seed at 2, evaluators with `--requests" in equal.report(runs)


def test_gains_are_in_units_of_the_seeds_median(equal) -> None:
    runs = [made(equal, "tune", number, seed=(2.0, size)) for number, size in ((0, 4.0), (0, 9.0), (0, 5.0), (1, 8.0))]
    assert [run.seed for run in equal.levelled(runs)] == [(2.0, 5.0)] * 3 + [(2.0, 8.0)]


def test_lighter_evaluators_are_those_of_the_example_with_arguments(equal, tmp_path: Path) -> None:
    light = load_target(equal.lightened("cache-eviction", tmp_path))
    extra = tuple(equal.EXAMPLES["cache-eviction"].lighter.split())
    assert tuple(light.checker.command[-4:]) == tuple(light.benchmark.command[-4:]) == extra
    assert equal.lightened("circle-packing", tmp_path) == BENCHMARKS.parent / "examples" / "circle-packing"


def test_what_is_there_is_not_run_again(equal, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--example", "circle-packing", "--method", "random", "--method", "tune"]
    words += ["--seeds", "1", "--candidates", "1"]
    places = ["--results", str(tmp_path / "r.jsonl"), "--picture", str(tmp_path / "p.png")]
    monkeypatch.setattr(sys, "argv", ["equal_budget.py", *words, *places])
    assert equal.main() == 0
    first = capsys.readouterr().out
    runs = equal.read(tmp_path / "r.jsonl")
    assert [(run.method, run.number, run.seed[0] > 0.9) for run in runs] == [("random", 0, True), ("tune", 0, True)]
    assert all(run.rows[-1].work >= 2 for run in runs), "as much work as one whole evaluation"
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "### circle-packing: 1 candidates, the seed at 0.9649" in first
    assert equal.main() == 0
    again = capsys.readouterr().out
    assert first.endswith(again)
    assert equal.read(tmp_path / "r.jsonl") == runs


def test_without_results_there_is_nothing_to_report(equal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["equal_budget.py", "--report", "--results", str(tmp_path / "none.jsonl")])
    with pytest.raises(SystemExit, match="no results yet"):
        equal.main()
