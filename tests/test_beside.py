"""Baselines in a run: evaluated first, through the same gates; and the best beside them and the seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raysearch.cli import main
from raysearch.facts import AttemptOpened, Compared
from raysearch.ledger import JOURNAL, read_journal
from raysearch.testing.audit import audit
from raysearch.testing.workspace import tiny_target, write_files

BASELINES = """
[[baselines]]
name = "near"
path = "near"
why = "what a person wrote"

[[baselines]]
name = "broken"
path = "broken"
"""
FLAGS = ("--pool", "inline", "--mutator", "tune", "--seed", "1", "--set", "audit.holdout=false")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    root = tiny_target(tmp_path / "target").root
    write_files(root / "near", {"answer.py": "VALUE = 30\n"})
    write_files(root / "broken", {"answer.py": "VALUE = 300\n"})
    (root / "target.toml").write_text((root / "target.toml").read_text() + BASELINES)
    text = (root / "objectives.toml").read_text()
    exact = text.replace('direction = "max"', 'direction = "max"\ndeterministic = true')
    (root / "objectives.toml").write_text(exact.replace('direction = "min"', 'direction = "min"\ndeterministic = true'))
    return root


def test_they_come_first_and_the_best_meets_them(
    target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", str(target), *FLAGS, "--max-candidates", "6", "--runs-dir", str(tmp_path / "runs")])
    assert end.value.code == 0
    page = capsys.readouterr().out
    (folder,) = (tmp_path / "runs").glob("*-target")
    entries = list(read_journal(folder / JOURNAL))
    assert audit(entries, slack_s=60) == []
    opened = [e.fact.proposal for e in entries if isinstance(e.fact, AttemptOpened)]
    assert [p.baseline for p in opened] == ["", "near", "broken", *[""] * 6]
    state = json.loads((folder / "state.json").read_text())
    assert "VALUE is [300]" in state["baselines_refused"]["baseline broken"]
    assert "baseline broken was refused: accuracy: VALUE is [300]" in page
    best = state["best"]["id"]
    assert best > 2
    score = {row["over"]: row for row in state["over"] if row["metric"] == "score"}
    assert set(score) == {"the seed", "baseline near"}
    assert all(row["low"] <= row["gain"] <= row["high"] for row in score.values())
    met = {int(e.fact.rival) for e in entries if isinstance(e.fact, Compared) and e.fact.attempt == best}
    assert {0, 1} <= met
    assert f"#{best} over the seed: better: score" in page
    assert f"#{best} over baseline near: " in page
