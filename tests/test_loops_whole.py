"""Every loop on a real target with models that play good, bad, lazy, cheating and crashing parts: whole, and killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from loops_cast import cast

from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    ConsultationOpened,
    Consulted,
    Entry,
    Judged,
    Mutated,
    RunEnded,
    SessionOpened,
    Unanswered,
)
from raysearch.ledger import JOURNAL, read_journal
from raysearch.process import strays
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.state import State
from raysearch.testing.audit import audit
from raysearch.testing.models import ModelServer
from raysearch.testing.workspace import tiny_target
from raysearch.types import SEED, Outcome

LIMIT_S = 600.0
CONFIG = """
[run]
mutators = ["diff"]
pool = "inline"
lanes = {lanes}
seed = 7
[limits]
max_candidates = {candidates}
budget_usd = 5.0
[confirm]
on = false
[audit]
holdout = false
traced = false
[mutator.diff]
use = "coding"
agent = "diff"
model = "claude-haiku-4-5"
agent_options = {{ base_url = "{url}", provider = "anthropic", retries_max = 0 }}
"""
LOOPS = ("agent", "plain", "evolve", "profile-guided", "portfolio", "best-of-n", "chain")


class Run:
    """A driver of one loop in a process of its own."""

    def __init__(self, tmp_path: Path, loop: str, url: str, candidates: int = 10, lanes: int = 2) -> None:
        self.target = tiny_target(tmp_path / "target").root
        self.runs = tmp_path / "runs"
        self.config = tmp_path / "loop.toml"
        self.config.write_text(CONFIG.format(url=url, candidates=candidates, lanes=lanes))
        self.loop = loop

    def start(self) -> subprocess.Popen[str]:
        words = ["run", str(self.target), "--config", str(self.config), "--outer-loop", self.loop]
        words = ["resume"] if self.journals else words
        return subprocess.Popen(
            [sys.executable, "-m", "raysearch", *words, "--runs-dir", str(self.runs), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "ANTHROPIC_API_KEY": "sk-ant-of-a-test-0123456789"},
        )

    @property
    def journals(self) -> list[Path]:
        return list(self.runs.glob(f"*/{JOURNAL}"))

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.journals[0].parent)

    def lines(self) -> int:
        return sum(path.read_bytes().count(b"\n") for path in self.journals)

    def finish(self, driver: subprocess.Popen[str]) -> dict[str, object]:
        out, err = driver.communicate(timeout=LIMIT_S)
        assert driver.returncode == 0, err[-3000:]
        return dict(json.loads(out.splitlines()[-1]))

    def check(self, said: dict[str, object]) -> list[Entry]:
        """Journal, views and git agree; nothing was paid twice; nobody is left."""
        entries = list(read_journal(self.folder.journal))
        assert audit(entries, slack_s=60) == []
        state = State()
        for entry in entries:
            state.apply(entry)
        facts = [entry.fact for entry in entries]
        assert isinstance(facts[-1], RunEnded)
        repository = Repository(self.folder.workspace)
        for fact in facts:
            if isinstance(fact, Mutated):
                assert repository.commit_of(fact.attempt) == fact.change.commit
        closed = Counter(f.outcome for f in facts if isinstance(f, AttemptClosed) and f.attempt != SEED)
        assert {outcome.value: said[outcome.value] for outcome in Outcome} == {o.value: closed[o] for o in Outcome}
        assert said["cost_usd"] == pytest.approx(state.cost_usd)
        population = json.loads((self.folder.path / "population.json").read_text())
        assert {row["id"] for row in population["candidates"]} == {int(number) for number in state.candidates}
        asked = [f.consultation for f in facts if isinstance(f, ConsultationOpened)]
        answered = [f.consultation for f in facts if isinstance(f, Consulted | Unanswered)]
        assert asked == list(range(1, len(asked) + 1))
        assert sorted(answered) == asked
        assert not strays(self.folder.identity)
        return entries


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_comes_through_with_such_a_cast(loop: str, tmp_path: Path) -> None:
    with ModelServer(cast) as server:
        run = Run(tmp_path, loop, server.url)
        entries = run.check(run.finish(run.start()))
    facts = [entry.fact for entry in entries]
    opened = [fact for fact in facts if isinstance(fact, AttemptOpened)]
    assert len(opened) > 3
    assert any(isinstance(fact, AttemptClosed) and fact.candidate and fact.attempt for fact in facts)
    roles = {fact.question.role for fact in facts if isinstance(fact, ConsultationOpened)}
    if loop == "agent":
        assert {"triage", "planner"} <= roles
        assert "planner: `consultations/" in (run.folder.path / "rounds" / "001.md").read_text()
    if loop == "plain":
        assert "performance_evaluator" in roles
        issues = json.loads((run.folder.path / "issues.json").read_text())
        assert issues["issues"]
    if loop == "profile-guided":
        assert "profiler" in roles


@pytest.mark.slow
@pytest.mark.loops
@pytest.mark.timeout(900)
@pytest.mark.parametrize("loop", ["agent", "plain", "evolve", "profile-guided"])
def test_a_loop_that_is_killed_again_and_again_pays_for_nothing_twice(loop: str, tmp_path: Path) -> None:
    """Twenty kills at random moments."""
    rng = random.Random(loop)
    with ModelServer(cast) as server:
        run = Run(tmp_path, loop, server.url, candidates=30)
        kills, driver = 0, run.start()
        end_s = time.monotonic() + LIMIT_S
        while kills < 20 and driver.poll() is None:
            goal = run.lines() + rng.randint(1, 6)
            while run.lines() < goal and driver.poll() is None:
                assert time.monotonic() < end_s
                time.sleep(0.005)
            time.sleep(rng.random() * 0.05)
            driver.send_signal(signal.SIGKILL)
            driver.communicate()
            kills += 1
            driver = run.start()
        entries = run.check(run.finish(driver))
    assert kills == 20
    facts = [entry.fact for entry in entries]
    assert sum(isinstance(fact, SessionOpened) for fact in facts) == 21
    paid = Counter((f.attempt, f.judge) for f in facts if isinstance(f, Judged) and f.reused_from is None)
    assert set(paid.values()) == {1}
