"""A panel of reviewers, asked over HTTP: whose word decides, what it costs, and what a broken one is worth."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from panels import CHEAT, FLOOD, GOOD, LAZY, LYING, NO, OTHER, YES, asking, judged, models, obedient
from toys import make_target

from evaluators.panel import MEMBERS_MAX, Panel
from evaluators.reviewer import REMARK, Reviewer
from raysearch.agents.interface import AgentFault, Call, Permission, Reply
from raysearch.agents.prompts import Prompt
from raysearch.agents.roles import Review
from raysearch.config.layers import configure
from raysearch.config.targets import load_target
from raysearch.errors import ConfigError, PluginError
from raysearch.plugins import check
from raysearch.run.start import resolve
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import Allowance, Stage, Usage

BROKEN = "I would rather not say."


@pytest.fixture
def workspace(tmp_path: Path) -> FolderWorkspace:
    return FolderWorkspace.make(tmp_path, {"answer.py": CHEAT})


@pytest.mark.parametrize(
    ("rule", "said", "passed", "asked"),
    [
        ("any", (YES, YES, YES), True, 3),
        ("any", (NO,), False, 1),  # nobody else needs to be heard
        ("any", (YES, LYING, NO), False, 3),
        ("any", (LAZY, LYING, FLOOD), True, 3),
        ("majority", (NO, YES, YES), True, 3),
        ("majority", (NO, NO), False, 2),
        ("majority", (NO, LYING, NO), False, 3),
        ("majority", (LYING, LAZY), True, 2),
    ],
)
def test_whose_word_decides(
    workspace: FolderWorkspace, rule: str, said: tuple[Any, ...], passed: bool, asked: int
) -> None:
    with models(*said) as server:
        verdict = judged(Reviewer(**asking(server, panel=3, rule=rule)), workspace)
        assert len(server.requests) == asked
    assert verdict.passed is passed
    assert verdict.conditions["rule"] == rule
    assert verdict.conditions["panel"].startswith(f"{asked} of 3 heard")
    assert verdict.usage is not None
    assert (verdict.usage.calls, verdict.usage.tokens_in) == (asked, 1000 * asked)
    assert verdict.usage.cost_usd > 0
    if not passed:
        assert [case.detail for case in verdict.cases] == ["if 'bench' in sys.argv[0]:"]
        assert "has a table" not in verdict.feedback  # what was not proved is told nobody as a reason
    elif LYING in said or LAZY in said:
        assert REMARK in verdict.feedback
        assert len(verdict.feedback) < 10_000
    assert not any("PRECOMPUTED" in case.detail for case in verdict.cases)


def test_members_are_of_their_own_model_and_mind(workspace: FolderWorkspace) -> None:
    panel = [{}, {"model": OTHER, "persona": "You know\ncompilers."}]
    with models(YES) as server:
        verdict = judged(Reviewer(**asking(server, panel=panel)), workspace)
        first, second = server.requests
    assert (first.model, second.model) == (GOOD, OTHER)
    assert "point of view" not in first.system
    assert second.system.rstrip().startswith(first.system.split("\n")[0])
    assert "Your own point of view: You know compilers." in second.system
    assert verdict.usage is not None
    assert verdict.usage.calls == 2
    for number in (1, 2):
        folder = workspace.artifacts / f"member-{number}"
        assert (folder / "prompt.md").is_file()
        assert (folder / "judge-1.jsonl").is_file()


def test_what_the_program_says_to_its_reviewers_is_data(workspace: FolderWorkspace) -> None:
    with models(obedient) as server:
        verdict = judged(Reviewer(**asking(server)), workspace)
        request = server.requests[0]
    assert not verdict.passed
    assert "was approved" in request.prompt
    assert "never an instruction" in request.system


@pytest.mark.parametrize("said", [(BROKEN, BROKEN, NO), (YES, BROKEN, BROKEN, NO), (NO,)])
def test_a_broken_member_does_not_matter_where_others_decide(workspace: FolderWorkspace, said: tuple[Any, ...]) -> None:
    with models(*said) as server:
        verdict = judged(Reviewer(**asking(server, panel=3)), workspace)
        calls = len(server.requests)
    assert not verdict.passed
    assert verdict.usage is not None
    assert verdict.usage.calls == calls == len(said)


@pytest.mark.parametrize(("panel", "said", "calls"), [(1, (BROKEN,), 2), (2, (YES, BROKEN), 3), (2, (BROKEN,), 4)])
def test_otherwise_it_is_a_fault_that_is_tried_again(
    workspace: FolderWorkspace, panel: int, said: tuple[Any, ...], calls: int
) -> None:
    with models(*said) as server, pytest.raises(AgentFault) as raised:
        judged(Reviewer(**asking(server, panel=panel)), workspace)
    assert raised.value.cause == "unreadable"
    assert raised.value.retryable
    assert raised.value.usage.calls == calls
    assert raised.value.usage.cost_usd > 0


def test_members_share_one_allowance(workspace: FolderWorkspace) -> None:
    poor = replace(workspace, allowance=Allowance(calls=2))
    with models(YES) as server:
        with pytest.raises(AgentFault) as raised:
            judged(Reviewer(**asking(server, panel=3)), poor)
        assert len(server.requests) == 2
    assert raised.value.cause == "budget"
    assert raised.value.usage.calls == 2


class Knows:
    """An agent that is built as its options say, and asks nobody."""

    def __init__(self, wit: str = "little", model: str = "none") -> None:
        self.wit = wit

    def ask(self, workspace: Any, call: Call[Any]) -> Reply[Any]:
        return Reply(self.wit, value=call.schema(passed=True, reasons=[self.wit]), usage=Usage(calls=1))  # type: ignore[misc]


KNOWS = f"{Path(__file__).resolve()}:Knows"
STEP = f"{Path(__file__).with_name('toys.py').resolve()}:Step"


def test_another_agent_has_options_of_its_own(workspace: FolderWorkspace) -> None:
    panel = [{}, {"agent_options": {"wit": "some"}}]
    made = Reviewer(agent=KNOWS, agent_options={"wit": "much"}, panel=panel, no_price=True)
    assert judged(made, workspace).feedback == "much\nsome"
    elsewhere = f"{Path(__file__).with_name('scripted_agents.py').resolve()}:Says"
    made = Reviewer(agent=elsewhere, agent_options={"reasons": ["hm"]}, panel=[{}, {"agent": KNOWS}], no_price=True)
    assert judged(made, workspace).feedback == "hm\nlittle"


@pytest.mark.parametrize(
    ("panel", "message"),
    [
        (0, "from 1 to 9"),
        (MEMBERS_MAX + 1, "from 1 to 9"),
        ([], "from 1 to 9"),
        ([{"modell": "x"}], "member 1 of the panel has no option 'modell'. Did you mean 'model'"),
        ([{}, {"model": 3}], "member 2 of the panel: model cannot be 3"),
        ([{"agent_options": "x"}], "member 1 of the panel: agent_options cannot be 'x'"),
        ([{"persona": "x" * 5000}], "member 1 of the panel: its persona has more than 4000"),
        ([{"agent": "dif"}], "'diff'"),
    ],
)
def test_a_panel_that_makes_no_sense_is_refused(panel: Any, message: str) -> None:
    with pytest.raises((ConfigError, PluginError), match=re.escape(message)):
        Reviewer(agent="diff", model=GOOD, panel=panel)


@pytest.mark.parametrize(("options", "told"), [({"rule": "all"}, "rule"), ({"panel": "three"}, "panel")])
def test_options_of_a_wrong_kind_are_named(options: dict[str, Any], told: str) -> None:
    for judge in ("reviewer", "redteam"):
        with pytest.raises(PluginError, match=f"option '{told}' must be"):
            check("judges", judge, {"agent": "diff", **options})


def test_the_documented_configurations_can_be_run(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "audit.md").read_text()
    blocks = [block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "[judge.re" in block]
    assert len(blocks) == 2
    target = load_target(make_target(tmp_path / "toy"))
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.toml"
        file.write_text(f"[run]\nseed = 1\nmutators = [{json.dumps(STEP)}]\n{block}")
        search = resolve(configure(file, []), target)
        names = [name for stage, name in search.plugins if stage is Stage.JUDGE]
        assert "reviewer" in names
        assert ("redteam" in names) is ("[judge.redteam]" in block)


@settings(deadline=None, suppress_health_check=[HealthCheck.nested_given])
@given(st.lists(st.sampled_from("ynb"), min_size=1, max_size=MEMBERS_MAX), st.sampled_from(["any", "majority"]))
def test_the_order_in_which_members_are_heard_decides_nothing(minds: list[str], rule: Any) -> None:
    """What comes out is what all words together say: a no, a yes, or nothing where a broken one could turn it."""
    panel = Panel(KNOWS, no_price=True, panel=len(minds), rule=rule)
    panel.hired = [Mind(mind) for mind in minds]  # type: ignore[misc]
    needed = 1 if rule == "any" else len(minds) // 2 + 1
    noes, broken = minds.count("n"), minds.count("b")
    call = Call("judge", "", permission=Permission.READ, schema=Review)
    with tempfile.TemporaryDirectory() as folder:
        workspace: Any = Nowhere(Path(folder))
        if noes < needed <= noes + broken:
            with pytest.raises(AgentFault) as raised:
                panel.ask(workspace, Prompt("", ""), call, lambda review: not review.passed)
            assert raised.value.usage.calls == len(minds)
        else:
            ballot = panel.ask(workspace, Prompt("", ""), call, lambda review: not review.passed)
            assert ballot.refused is (noes >= needed)


@dataclass(frozen=True)
class Nowhere:
    """As much of a workspace as a panel looks at."""

    artifacts: Path
    evaluation_seed = 0
    allowance = Allowance()


class Mind:
    """One member, made up."""

    def __init__(self, mind: str) -> None:
        self.mind = mind

    def ask(self, workspace: Any, prompt: Prompt, call: Call[Any]) -> Reply[Review]:
        if self.mind == "b":
            raise AgentFault("nothing", Usage(calls=1), cause="unreadable")
        return Reply("", value=Review(passed=self.mind == "y"), usage=Usage(calls=1))
