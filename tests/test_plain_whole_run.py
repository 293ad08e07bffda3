"""The plain loop on a real target, with git, sandbox and evaluators, killed at twenty random moments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drivers import Driver, check, kill_at_random, sigkill
from toys import make_target

from raysearch.facts import AttemptClosed, AttemptOpened, Consulted, Entry, Filed, Judged, Measured, Mutated, RunEnded

PARTS = str(Path(__file__).with_name("plain_parts.py"))
FLAGS = (
    *("--pool", "inline", "--outer-loop", "plain", "--seed", "3", "--max-rounds", "4"),
    *("--set", f"consultant.performance_evaluator.use={PARTS}:Evaluator"),
)


def driver(folder: Path) -> Driver:
    made = Driver(make_target(folder / "toy"), folder / "runs", FLAGS)
    made.mutator = "Parts"
    return made


def story(entries: list[Entry]) -> list[object]:
    """What was tried, on which issue, from where, and what came of it."""
    found: list[object] = []
    for fact in (entry.fact for entry in entries):
        if isinstance(fact, AttemptOpened):
            proposal = fact.proposal
            found.append((fact.attempt, proposal.issue, proposal.parents, proposal.repair, proposal.brief.task))
        elif isinstance(fact, AttemptClosed):
            found.append((fact.attempt, fact.outcome, fact.reason))
        elif isinstance(fact, Consulted):
            found.append((fact.consultation, fact.reply.text, len(fact.filings)))
    return found


@pytest.mark.slow
@pytest.mark.loops
def test_killed_twenty_times_it_tells_the_same_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.TOYS", PARTS)
    whole, killed = driver(tmp_path / "whole"), driver(tmp_path / "killed")
    whole.start()
    whole.finish()
    kill_at_random(killed, kills=20, seed=4, strike=sigkill, lines_max=3, rest_s=0.03)
    killed.finish()
    entries = killed.entries()
    assert story(entries) == story(whole.entries())
    attempts = max(fact.attempt for fact in (e.fact for e in entries) if isinstance(fact, AttemptOpened))
    check(killed, attempts)
    paid = [
        (type(fact).__name__, fact.attempt, getattr(fact, "judge", getattr(fact, "benchmark", "")))
        for fact in (e.fact for e in entries)
        if isinstance(fact, Mutated | Judged | Measured)
    ]
    assert len(set(paid)) == len(paid)
    assert isinstance(entries[-1].fact, RunEnded)
    assert "brought no new one" in entries[-1].fact.reason
    board = json.loads((killed.folder / "issues.json").read_text())
    assert {issue["status"] for issue in board["issues"]} <= {"done", "blocked", "closed"}
    assert any(issue["status"] == "blocked" for issue in board["issues"])
    closings = [e.fact.filing.issue for e in entries if isinstance(e.fact, Filed) and e.fact.filing.outcome == "done"]
    assert sorted(closings) == [issue["number"] for issue in board["issues"] if issue["status"] == "done"]
