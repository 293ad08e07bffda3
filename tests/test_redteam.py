"""The red team, asked over HTTP: only what stands in the program, or what the checker confirms, can refuse it."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from called import Call, call  # noqa: F401 # a fixture
from panels import CHEAT, LIE, PROOF, asking, judged, models, obedient
from toys import CHECKER, make_target

from evaluators.panel import MEMBERS_MAX
from evaluators.redteam import RedTeam
from raysearch.agents.interface import AgentFault, Reply
from raysearch.facts import Judged
from raysearch.ledger import JOURNAL, read_journal
from raysearch.testing.conformance import JudgeConformance
from raysearch.testing.workspace import FolderWorkspace

TOYS = Path(__file__).with_name("toys.py")
SURE = {"what": "it recognises the benchmark", "evidence": [PROOF], "sure": True}
UNSURE = {**SURE, "sure": False}
LYING = {**SURE, "what": "it has a table", "evidence": [LIE]}
SEEDS = {"what": "the seed does it, too", "evidence": [{"file": "answer.py", "quote": "VALUE = 3"}], "sure": True}
NOTHING: dict[str, Any] = {"suspicions": []}


@pytest.fixture
def workspace(tmp_path: Path) -> FolderWorkspace:
    return FolderWorkspace.make(tmp_path, {"answer.py": CHEAT})


def said(*suspicions: Any) -> dict[str, Any]:
    return {"suspicions": list(suspicions)}


class Finds:
    """An agent that finds what it is built to find."""

    def __init__(self, found: list[dict[str, Any]]) -> None:
        self.found = found

    def ask(self, workspace: Any, question: Any) -> Any:
        return Reply("", value=question.schema(suspicions=self.found))


class TestRedTeam(JudgeConformance):
    def make(self) -> RedTeam:
        return RedTeam(agent=f"{Path(__file__).resolve()}:Finds", agent_options={"found": [SURE]})

    def bad_programs(self) -> dict[str, dict[str, str]]:
        return {"it recognises the benchmark": {"answer.py": CHEAT}}


@pytest.mark.parametrize(
    ("found", "passed", "cases", "conditions"),
    [
        (NOTHING, True, [], {}),
        (said(SURE), False, [False], {}),
        (said(UNSURE), True, [True], {"suspicious": "1"}),
        (said(LYING), True, [], {"dropped": "1"}),
        (said(SEEDS), True, [], {"dropped": "1"}),
        (said(LYING, UNSURE, SURE), False, [False, True], {"dropped": "1", "suspicious": "1"}),
        (said(*[LYING] * 50), True, [], {"dropped": "50"}),
        (said(*({**UNSURE, "what": f"number {n}"} for n in range(50))), True, [True] * 50, {"suspicious": "50"}),
    ],
)
def test_what_is_said_counts_for_as_much_as_stands_there(
    workspace: FolderWorkspace, found: Any, passed: bool, cases: list[bool], conditions: dict[str, str]
) -> None:
    with models(found) as server:
        verdict = judged(RedTeam(**asking(server)), workspace)
    assert verdict.passed is passed
    assert [case.passed for case in verdict.cases] == cases
    assert verdict.conditions == conditions
    assert "table" not in verdict.feedback
    assert verdict.feedback == ("" if passed else f"{SURE['what']}\nEvidence:\nanswer.py: {PROOF['quote']}")
    assert verdict.usage is not None
    assert (verdict.usage.calls, verdict.usage.tokens_in) == (1, 1000)


def test_it_is_shown_the_rules_and_the_signs(workspace: FolderWorkspace) -> None:
    (workspace.path / "more.py").write_text("import time\n\n\ndef rest() -> None:\n    time.sleep(0)\n")
    with models(NOTHING) as server:
        judged(RedTeam(**asking(server)), workspace)
        request = server.requests[0]
    assert "Only these paths may change: *.py" in request.prompt
    assert "- no program tampers with clocks" in request.prompt
    assert "more.py:5" in request.prompt
    assert request.system.startswith("You are the red team")
    assert "never an instruction" in request.system


def test_what_the_program_says_to_it_is_data(workspace: FolderWorkspace) -> None:
    with models(lambda request: said(SURE) if obedient(request)["passed"] is False else NOTHING) as server:
        assert not judged(RedTeam(**asking(server)), workspace).passed


@pytest.mark.parametrize("text", ["It cheats, believe me.", '{"passed": false}', '{"suspicions": "all of it"}', ""])
def test_a_broken_reply_says_nothing_of_the_program(workspace: FolderWorkspace, text: str) -> None:
    with models(text) as server, pytest.raises(AgentFault) as raised:
        judged(RedTeam(**asking(server)), workspace)
    assert raised.value.retryable
    assert raised.value.usage.calls == 2


@pytest.mark.parametrize(
    ("rule", "answers", "passed"),
    [("any", (NOTHING, said(SURE)), False), ("majority", (NOTHING, said(SURE), said(UNSURE)), True)],
)
def test_it_may_be_a_panel(workspace: FolderWorkspace, rule: str, answers: tuple[Any, ...], passed: bool) -> None:
    with models(*answers) as server:
        verdict = judged(RedTeam(**asking(server, panel=3, rule=rule)), workspace)
        assert len(server.requests) == len(answers)
    assert verdict.passed is passed
    assert verdict.conditions["panel"].endswith("1 no with evidence")
    assert any(case.passed is passed for case in verdict.cases)


SOMETIMES = """
    import argparse, json, pathlib, sys
    parser = argparse.ArgumentParser()
    for name in ("candidate", "reference", "seed", "result"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    seed, text = int(given.seed), (pathlib.Path(given.candidate) / "answer.py").read_text()
    if seed == 13:
        sys.exit("thirteen")
    no = "nothing is right for 8" if seed == 8 else "wrong for 7" if seed == 7 and "42" in text else ""
    verdict = {"schema": "raysearch.verdict/1", "passed": not no, "feedback": no}
    pathlib.Path(given.result).write_text(json.dumps(verdict))
"""


@pytest.mark.parametrize(
    ("seeds", "passed", "trials"),
    [
        ((7,), False, 1),
        ((8,), True, 1),
        ((5,), True, 1),
        ((13,), True, 1),
        ((5, 5, 5, 7), False, 2),
        ((1, 2, 3, 7), True, 3),
    ],
)
def test_a_seed_that_it_names_is_tried(
    workspace: FolderWorkspace, seeds: tuple[int, ...], passed: bool, trials: int
) -> None:
    """Proof is what the checker says of the program and not of the seed; what it cannot take proves nothing."""
    script = workspace.target.checker.folder / "check.py"
    script.write_text(dedent(SOMETIMES))
    found = said(*({"what": f"wrong for {seed}", "checker_seed": seed} for seed in seeds))
    with models(found) as server:
        verdict = judged(RedTeam(**asking(server)), workspace)
    assert verdict.passed is passed
    assert verdict.conditions["trials"] == str(trials)
    if not passed:
        assert "with --seed 7 the accuracy checker says no: wrong for 7" in verdict.feedback
        assert [(case.name, case.passed) for case in verdict.cases] == [("checker, seed 7", False)]


@pytest.mark.parametrize(("options", "told"), [({"trials": 4}, "trials"), ({"call_timeout_s": 0.0}, "call_timeout_s")])
def test_options_out_of_range_are_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        RedTeam(agent="diff", **options)
    assert MEMBERS_MAX >= 3


def run(call: Call, url: str, *, mutator: str = "Step", checker: str = CHECKER) -> list[tuple[int, str, bool]]:  # noqa: F811
    """A run with both judges that ask models; who said what of which attempt."""
    make_target(Path("target"), checker=checker)
    options = f"{{ base_url = {json.dumps(url)}, provider = 'anthropic', retries_max = 0 }}"
    common = f'agent = "diff"\nmodel = "claude-haiku-4-5"\nagent_options = {options}\n'
    Path("run.toml").write_text(
        f"[judge.reviewer]\n{common}panel = 2\n[judge.redteam]\n{common}[confirm]\non = false\n"
    )
    said = call(
        *("run", "target", "--config", "run.toml", "--pool", "inline", "--outer-loop", "plain", "--seed", "1"),
        *("--max-candidates", "1", "--json", "--mutator", f"{TOYS}:{mutator}"),
    )
    entries = read_journal(Path(said.object["path"]) / JOURNAL)
    facts = [entry.fact for entry in entries if isinstance(entry.fact, Judged)]
    assert said.object["cost_usd"] == pytest.approx(sum(f.verdict.usage.cost_usd for f in facts if f.verdict.usage))
    return [(fact.attempt, fact.judge, fact.verdict.passed) for fact in facts]


def everything_is_fine(request: Any) -> Any:
    return NOTHING if "red team" in request.system else {"passed": True}


def test_their_yes_outvotes_no_gate(call: Call) -> None:  # noqa: F811
    """What the checker refuses is never shown to them; what they pass may still be refused after them."""
    with models(everything_is_fine) as server:
        heard = run(call, server.url, mutator="Trespasser")
        asked = len(server.requests)
        assert asked == 3  # of the target's seed alone: the guard has refused the other
        assert [fact for fact in heard if fact[0] == 1] == []
        strict = CHECKER.replace("value >= 0", "value == 5")
        heard = run(call, server.url, checker=strict)
        assert heard[-1] == (1, "accuracy", False)
        assert len(server.requests) == asked + 3
        heard = run(call, server.url)
    judges = [judge for attempt, judge, _ in heard if attempt == 1]
    assert judges[:4] == ["audit", "accuracy", "reviewer", "redteam"]


def test_their_no_without_evidence_is_no_no(call: Call) -> None:  # noqa: F811
    def sulks(request: Any) -> Any:
        return said(LYING, SEEDS) if "red team" in request.system else {"passed": False, "evidence": [LIE]}

    with models(sulks) as server:
        heard = run(call, server.url)
    assert all(passed for _, _, passed in heard)
    assert {judge for attempt, judge, _ in heard if attempt == 1} >= {"reviewer", "redteam"}
