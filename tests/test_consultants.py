"""Whom policies ask: typed replies of models and tools, and whole runs in which they are asked."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from panels import GOOD, asking, models

from evaluators.consultants.asked import LessonsWriter, Planner, Triage
from evaluators.consultants.performance import PerformanceEvaluator
from evaluators.consultants.profiler import Profiling
from raysearch.agents.interface import AgentFault
from raysearch.board.types import Action, Kind
from raysearch.cli import main
from raysearch.config.layers import Override, configure
from raysearch.config.targets import load_target
from raysearch.consultation import Decision, Reply
from raysearch.errors import ConfigError, Refused
from raysearch.facts import ConsultationOpened, Consulted, Unanswered
from raysearch.ledger import JOURNAL, read_journal
from raysearch.run.start import resolve
from raysearch.state import State
from raysearch.testing.audit import audit
from raysearch.testing.workspace import PROGRAM, FolderWorkspace, tiny_target
from raysearch.types import Brief, Stage

ASKED = Brief("What comes next?", memory="Threads did not help.", messages=("leave the parser alone",))
TASK = {
    "title": "nearer",
    "change": "Make VALUE 41.",
    "hypothesis": "42 is best",
    "falsifier": "the score falls",
    "metric": "score",
    "minimum_gain": 0.1,
    "pass_criteria": ["VALUE is whole"],
    "revert_to_round": 2,
    "roadmap": "1. nearer",
}


@pytest.fixture
def workspace(tmp_path: Path) -> FolderWorkspace:
    return FolderWorkspace.make(tmp_path, PROGRAM)


def told(made: Any, workspace: FolderWorkspace, brief: Brief = ASKED) -> Reply:
    with made:
        reply = made.consult(workspace, brief, random.Random(1))
    assert isinstance(reply, Reply)
    return reply


def test_a_planner_answers_one_task(workspace: FolderWorkspace) -> None:
    with models(TASK) as server:
        reply = told(Planner(**asking(server)), workspace)
        (request,) = server.requests
    assert reply.task is not None
    assert (reply.task.title, reply.task.revert_to_round, reply.task.minimum_gain) == ("nearer", 2, 0.1)
    assert reply.task.pass_criteria == ("VALUE is whole",)
    assert reply.usage.cost_usd > 0
    for part in ("What comes next?", "Threads did not help.", "leave the parser alone", "Assign VALUE"):
        assert part in request.prompt, part


def test_triage_and_lessons_are_typed(workspace: FolderWorkspace) -> None:
    with models({"profile": True, "focus": "the loop", "why": "nothing is known"}) as server:
        assert told(Triage(**asking(server)), workspace).decision == Decision(True, "the loop", "nothing is known")
    with models({"lessons": ["200 is too much"], "direction": "go down"}) as server:
        reply = told(LessonsWriter(**asking(server)), workspace)
    assert (reply.lessons, reply.text) == (("200 is too much",), "go down")


@pytest.mark.parametrize(
    "said", ["no", "{}", '{"title": "", "change": "x"}', json.dumps({**TASK, "minimum_gain": -1}), '{"title": "x"}']
)
def test_what_is_no_task_is_a_fault(workspace: FolderWorkspace, said: str) -> None:
    with models(said) as server, pytest.raises(AgentFault):
        told(Planner(**asking(server)), workspace)


def test_the_performance_evaluator_measures_first_and_files_what_it_is_told(workspace: FolderWorkspace) -> None:
    issue = {"kind": "perf", "title": "far from 42", "body": "VALUE is 3", "evidence": "score -39", "priority": 5}
    with models({"explanation": "it is far off", "issues": [issue]}) as server:
        reply = told(PerformanceEvaluator(**asking(server)), workspace)
        (request,) = server.requests
    assert "score -39 points" in request.prompt
    (level,) = reply.levels
    assert {m.name: m.value for m in level.measurements} == {"score": -39.0, "size": float(len(PROGRAM["answer.py"]))}
    (filing,) = reply.filings
    assert (filing.action, filing.kind, filing.title, filing.priority) == (Action.CREATE, Kind.PERF, "far from 42", 5)
    alone = told(PerformanceEvaluator(), workspace)
    assert alone.levels == reply.levels
    assert not alone.filings


def test_a_benchmark_that_heeds_loads_is_run_under_each(tmp_path: Path) -> None:
    root = tiny_target(tmp_path / "target").root
    rules = root / "target.toml"
    rules.write_text(rules.read_text().replace("[benchmark]", "[benchmark]\nheeds_load = true"))
    script = next(root.glob("bench*/*.py"))
    script.write_text(
        script.read_text().replace("-abs(value - 42)", "-float(__import__('os').environ['RAYSEARCH_LOAD_RATE_PER_S'])")
    )
    workspace = FolderWorkspace.make(tmp_path / "work", PROGRAM, load_target(root))
    levels = told(PerformanceEvaluator(), workspace).levels
    assert [level.name for level in levels] == [f"{rate} requests/s for 20 s" for rate in (1, 4, 8)]
    assert [level.measurements[0].value for level in levels] == [-1.0, -4.0, -8.0]


def test_a_program_that_cannot_run_is_refused(tmp_path: Path) -> None:
    broken = FolderWorkspace.make(tmp_path, {"answer.py": "VALUE = \n"})
    with pytest.raises(Refused):
        told(PerformanceEvaluator(), broken)


def test_a_profile_is_a_reply(workspace: FolderWorkspace) -> None:
    reply = Profiling().consult(workspace, ASKED, random.Random(1))
    assert reply.profile is not None
    assert reply.profile.findings


def search(settings: Mapping[tuple[str, ...], object], tmp_path: Path) -> Any:
    root = tiny_target(tmp_path / "target").root
    overrides = [Override(keys, value, "test") for keys, value in {("run", "target"): str(root), **settings}.items()]
    return resolve(configure(None, [*overrides, Override(("run", "seed"), 1, "test")]), load_target(root))


def test_without_an_agent_only_tools_are_asked(tmp_path: Path) -> None:
    found = search({}, tmp_path)
    assert [(step.plugin, step.stage) for step in found.asked] == [
        ("profiler", Stage.BENCHMARK),
        ("performance_evaluator", Stage.BENCHMARK),
    ]
    assert [step.plugin for step in search({("consultant", "profiler", "on"): False}, tmp_path).asked] == [
        "performance_evaluator"
    ]


def test_an_agent_of_the_run_is_asked_in_every_role(tmp_path: Path) -> None:
    mine = {
        ("run", "mutators"): ["diff"],
        ("agents", "model"): GOOD,
        ("consultant", "planner", "model"): "claude-opus-5-5",
    }
    found = search(mine, tmp_path)
    assert [step.plugin for step in found.asked] == [
        "triage",
        "planner",
        "lessons_writer",
        "profiler",
        "performance_evaluator",
    ]
    assert found.consultants["planner"].options["model"] == "claude-opus-5-5"
    assert found.consultants["triage"].options["model"] == GOOD


def test_a_role_that_nobody_asks_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^test: no policy asks a 'planer'.*'planner'"):
        search({("consultant", "planer", "on"): True}, tmp_path)


QUICK = ("--set", "confirm.on=false", "--set", "audit.holdout=false", "--set", "audit.traced=false")
POLICY = """
    from dataclasses import dataclass, field
    from raysearch import Consultation, Proposal
    from raysearch.facts import Consulted, Unanswered

    @dataclass
    class Curious:
        \"\"\"Asks everybody once, then proposes what it was told.\"\"\"
        mutators: tuple = ()
        said: list = field(default_factory=list)

        def ask(self, view, slots, rng):
            roles = [step.plugin for step in view.plan.consultants] + ["profiler"]
            if view.consulting or view.open:
                return []
            if len(self.said) < len(roles):
                return [Consultation(roles[len(self.said)], max(view.candidates))]
            return [Proposal((max(view.candidates),), self.mutators[0])]

        def tell(self, fact):
            if isinstance(fact, (Consulted, Unanswered)):
                self.said.append(fact)

        def best(self, view):
            return sorted(view.candidates)
"""


def test_a_policy_asks_during_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tools on the workers that measure; their replies in the journal, in the right order, and in the log."""
    root = tiny_target(tmp_path / "target").root
    (tmp_path / "target" / "seed" / "answer.py").write_text(PROGRAM["answer.py"])
    policy = tmp_path / "curious.py"
    policy.write_text(dedent(POLICY))
    words = [
        "run",
        str(root),
        "--pool",
        "inline",
        "--outer-loop",
        f"{policy}:Curious",
        "--mutator",
        "tune",
        "--seed",
        "1",
    ]
    with pytest.raises(SystemExit) as end:
        main([*words, "--runs-dir", str(tmp_path / "runs"), "--max-candidates", "3", "--seed", "1", *QUICK])
    capsys.readouterr()
    assert end.value.code == 0
    (folder,) = (tmp_path / "runs").glob("*-target")
    entries = list(read_journal(folder / JOURNAL))
    assert audit(entries, slack_s=60) == []
    asked = [e.fact.question.role for e in entries if isinstance(e.fact, ConsultationOpened)]
    assert asked == ["profiler", "performance_evaluator", "profiler"]
    replies = [e.fact.reply for e in entries if isinstance(e.fact, Consulted)]
    assert replies[0].profile is not None
    assert [level.name for level in replies[1].levels] == ["benchmark"]
    assert not [e for e in entries if isinstance(e.fact, Unanswered)]
    state = State()
    for entry in entries:
        state.apply(entry)
    assert state.counsel.total == 3
    assert not state.consulting
    assert (folder / "consultations").is_dir()
    assert any("?1 answered" in log.read_text() for log in folder.rglob("*.log"))
