"""The judge that is a model: what it is shown, what its word counts for, and what it costs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from called import Call, call  # noqa: F401 # a fixture
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_agents import FILE
from toys import make_target

from evaluators.evidence import Sources, difference, quoted
from evaluators.panel import Ballot, Said
from evaluators.reviewer import REMARK, Reviewer, proved, verdict
from raysearch.agents.interface import AgentFault
from raysearch.agents.roles import Quote, Review
from raysearch.facts import Judged
from raysearch.ledger import JOURNAL, read_journal
from raysearch.testing.conformance import JudgeConformance
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import Brief, Usage, Verdict

TOYS = str(Path(__file__).with_name("toys.py"))
CHEAT = "import sys\nif 'bench' in sys.argv[0]:\n    VALUE = 42  # only for the benchmark\nelse:\n    VALUE = 3\n"
QUOTES = st.text(max_size=40) | st.sampled_from(["def solve(x):", "solve(x): return x", "def  solve(y):", "return"])
PROOF = {"file": "answer.py", "quote": "if 'bench' in sys.argv[0]:"}


@pytest.fixture
def workspace(tmp_path: Path) -> FolderWorkspace:
    return FolderWorkspace.make(tmp_path, {"answer.py": CHEAT})


def reviewer(passed: bool = True, reasons: tuple[str, ...] = (), evidence: tuple[Any, ...] = ()) -> Reviewer:
    options = {"passed": passed, "reasons": list(reasons), "evidence": list(evidence)}
    return Reviewer(agent=f"{FILE}:Says", agent_options=options)


def judge(made: Reviewer, workspace: FolderWorkspace) -> Verdict:
    return made.judge(workspace, Brief(), random.Random(1))


class TestReviewer(JudgeConformance):
    def make(self) -> Reviewer:
        return reviewer(False, ("it recognises the benchmark",), (PROOF,))

    def bad_programs(self) -> dict[str, dict[str, str]]:
        return {"it recognises the benchmark": {"answer.py": CHEAT}}


def test_a_no_with_evidence_is_a_no(workspace: FolderWorkspace) -> None:
    said = judge(reviewer(False, ("it recognises the benchmark",), (PROOF,)), workspace)
    assert not said.passed
    assert said.feedback == f"it recognises the benchmark\nEvidence:\nanswer.py: {PROOF['quote']}"
    assert [(case.name, case.passed, case.detail) for case in said.cases] == [("answer.py", False, PROOF["quote"])]
    assert said.usage is not None
    assert said.usage.cost_usd > 0


@pytest.mark.parametrize(
    "evidence",
    [
        (),
        ({"file": "answer.py", "quote": "if 'benchmark' in os.environ:"},),
        ({"file": "answer.py", "quote": "VALUE"},),
        ({"file": "answer.py", "quote": "VALUE = 3"},),  # stands in the seed, too
        ({"file": "answer.py", "quote": " \n\t "},),
        ({"file": "../../etc/passwd", "quote": "root:x:0:0:root"},),
    ],
)
def test_a_no_without_evidence_is_a_yes_with_a_remark(workspace: FolderWorkspace, evidence: tuple[Any, ...]) -> None:
    said = judge(reviewer(False, ("I do not like it",), evidence), workspace)
    assert said.passed
    assert said.feedback == f"{REMARK}: I do not like it"
    assert said.usage is not None


@pytest.mark.parametrize(
    "quote",
    [
        "if 'bench' in sys.argv[0]:\n    VALUE = 42",
        "  if 'bench'   in sys.argv[0]:  ",
        "VALUE = 42  # only for the benchmark",
        "+if 'bench' in sys.argv[0]:\n+    VALUE = 42",
    ],
)
def test_white_space_and_the_files_name_are_not_looked_at(workspace: FolderWorkspace, quote: str) -> None:
    assert Sources.of(workspace).holds(Quote(file="elsewhere.py", quote=quote))


def test_a_yes_says_what_it_noticed(workspace: FolderWorkspace) -> None:
    assert judge(reviewer(True, ("the loop could be shorter",)), workspace).feedback == "the loop could be shorter"
    assert judge(reviewer(True), workspace).passed


def test_it_is_shown_what_makes_the_program_differ(workspace: FolderWorkspace) -> None:
    (workspace.path / "more.py").write_text("X = 1\n")
    (workspace.path / "data.py").write_bytes(b"\0\1\2")
    (workspace.path / "notes.txt").write_text("of no account: only *.py may change\n")
    (workspace.path / "link.py").symlink_to("/etc/passwd")
    before, change = difference(workspace)
    assert before == "the target's seed program"
    for line in (
        "--- a/answer.py\n+++ b/answer.py",
        "-VALUE = 3  # tune: int 0..100",
        "+if 'bench' in sys.argv[0]:",
        "--- /dev/null\n+++ b/more.py",
        "+X = 1",
        "bytes that are not shown",
    ):
        assert line in change, line
    assert "of no account" not in change
    assert "root:" not in change
    made = reviewer()
    judge(made, workspace)
    asked = made._panel.hired[0]._agent.calls[0]  # type: ignore[attr-defined]
    assert change in asked.prompt
    assert workspace.target.objective.strip() in asked.prompt
    assert asked.role == "judge"
    assert (workspace.artifacts / "prompt.md").read_text() == asked.prompt


def test_the_same_program_has_no_difference(tmp_path: Path) -> None:
    workspace = FolderWorkspace.make(tmp_path, {"answer.py": "VALUE = 3  # tune: int 0..100\n"})
    assert difference(workspace)[1] == ""


def test_a_large_difference_is_cut(workspace: FolderWorkspace) -> None:
    (workspace.path / "big.py").write_text("".join(f"X{n} = {n}\n" for n in range(50_000)))
    change = difference(workspace)[1]
    assert len(change) < 61_000
    assert change.endswith("more lines)")


def test_an_agent_that_fails_is_no_verdict(workspace: FolderWorkspace) -> None:
    with pytest.raises(AgentFault, match="the model declined") as raised:
        judge(Reviewer(agent=f"{FILE}:Breaks", agent_options={"kind": "agent"}), workspace)
    assert raised.value.usage.cost_usd > 0


FILES = Sources(("def solve(x): return x",), ("def solve(y): return 1",))


@settings(deadline=None)
@given(
    st.booleans(),
    st.lists(st.text(max_size=40), max_size=3),
    st.lists(st.builds(Quote, file=st.text(max_size=20), quote=QUOTES), max_size=3),
)
def test_only_what_stands_in_the_files_can_refuse(passed: bool, reasons: list[str], evidence: list[Quote]) -> None:
    review = Review(passed=passed, reasons=tuple(reasons), evidence=tuple(evidence))
    no = proved(review, FILES)
    said = verdict(Ballot(no, (Said(1, review, no),), Usage(), 1), FILES, "any")
    assert said.passed is (passed or not quoted(evidence, FILES))
    assert not any("solve(y)" in case.detail for case in said.cases)
    assert said.passed or said.feedback


RUN = ("run", "target", "--pool", "inline", "--outer-loop", "plain", "--seed", "1", "--max-candidates", "1", "--json")


def with_reviewer(evidence: str, mutator: str) -> tuple[str, ...]:
    make_target(Path("target"))
    options = f'passed = false, reasons = ["always no"], evidence = [{evidence}]'
    sets = ("judge.reviewer.call_timeout_s=60.0", f"judge.reviewer.agent={FILE}:Says")
    named = [word for text in (*sets, f"judge.reviewer.agent_options={{{options}}}") for word in ("--set", text)]
    return (*RUN, "--mutator", f"{FILE if mutator == 'Negative' else TOYS}:{mutator}", *named)


def test_its_word_is_in_the_journal_with_its_price(call: Call) -> None:  # noqa: F811
    found = call(*with_reviewer("", "Step")).object
    assert found["admitted"] == 1
    entries = read_journal(Path(found["path"]) / JOURNAL)
    said = [e.fact for e in entries if isinstance(e.fact, Judged) and e.fact.judge == "reviewer"]
    assert len(said) == 2  # the seed's, too
    assert all(fact.verdict.passed and fact.verdict.feedback.startswith(REMARK) for fact in said)
    costs = [fact.verdict.usage.cost_usd for fact in said if fact.verdict.usage]
    assert found["cost_usd"] == pytest.approx(sum(costs))
    assert found["spending"][0]["role"] == "judge"
    assert found["spending"][0]["plugin"] == "reviewer"
    shown = call("show", "1", "--json").object
    assert shown["verdicts"][2]["usage"]["cost_usd"] == pytest.approx(costs[0])


def test_what_the_checker_refuses_is_not_reviewed(call: Call) -> None:  # noqa: F811
    found = call(*with_reviewer("", "Negative")).object
    assert found["rejected"] == 1
    entries = read_journal(Path(found["path"]) / JOURNAL)
    judged = [(e.fact.attempt, e.fact.judge) for e in entries if isinstance(e.fact, Judged)]
    assert judged == [(0, "audit"), (0, "accuracy"), (0, "reviewer"), (1, "audit"), (1, "accuracy")]
