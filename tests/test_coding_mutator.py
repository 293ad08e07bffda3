"""Coding agents as mutators: what they are told, what becomes of their answers, and the names that stand for them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from called import Call, call  # noqa: F401 # a fixture
from scripted_agents import FILE, USED, Opens
from toys import make_target

from evaluators.reviewer import Reviewer
from mutators.coding import CodingAgent, account
from raysearch.agents.interface import AgentFault
from raysearch.config.layers import Configuration, configure, flag_override, set_override
from raysearch.config.targets import load_target
from raysearch.errors import ConfigError, Fault, MutatorFault, PluginError, SandboxFault, boundary
from raysearch.facts import JobFailed, Mutated
from raysearch.ledger import JOURNAL, read_journal
from raysearch.plugins import known_names
from raysearch.run.agents import written_out
from raysearch.run.start import resolve
from raysearch.testing.conformance import MutatorConformance
from raysearch.testing.models import ModelServer, Request, Tokens, Turn, When, choose, key_digest
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import Brief


def coding(name: str = "Writes", **options: Any) -> CodingAgent:
    return CodingAgent(agent=f"{FILE}:{name}", **options)


@pytest.fixture
def workspace(tmp_path: Path) -> FolderWorkspace:
    return FolderWorkspace.make(tmp_path, {"answer.py": "VALUE = 3\n"})


def mutate(mutator: CodingAgent, workspace: FolderWorkspace, brief: Brief | None = None) -> Any:
    return mutator.mutate(workspace, brief or Brief(), random.Random(1))


class TestCoding(MutatorConformance):
    def make(self) -> CodingAgent:
        return coding()


def test_an_agent_is_told_and_believed_about_what_it_did_only(workspace: FolderWorkspace) -> None:
    mutator = coding(model="claude-opus-5-5", effort="high", timeout_s=77.0)
    mutation = mutate(mutator, workspace, Brief(feedback="guard: changed a.txt; only *.py may change"))
    assert mutation.summary == "VALUE is nearer to 42"
    assert mutation.memory == "larger was better"
    assert (workspace.path / "answer.py").read_text() == "VALUE = 40\n"
    agent = mutator._hired._agent
    assert (agent.model, agent.effort) == ("claude-opus-5-5", "high")  # type: ignore[attr-defined]
    asked = agent.calls[0]  # type: ignore[attr-defined]
    assert (asked.role, asked.permission, asked.timeout_s, asked.schema) == ("implementer", "edit", 77.0, None)
    assert "guard: changed a.txt; only *.py may change" in asked.prompt
    assert "never scores" in asked.system
    kept = {name: (workspace.artifacts / name).read_text() for name in ("prompt.md", "system.md")}
    assert kept == {"prompt.md": asked.prompt, "system.md": asked.system}
    used = mutation.usage
    assert used.cost_usd == pytest.approx((6000 * 4 + 4000 * 0.2 + 500 * 20) / 1e6)
    assert (used.tokens_in, used.tokens_out, used.calls) == (USED.tokens_in, USED.tokens_out, 1)


@pytest.mark.parametrize(
    ("text", "summary", "memory"),
    [
        ("SUMMARY: a\nMEMORY: b\nc", "a", "b\nc"),
        ("talk\n**SUMMARY:** a **b**\n\n**MEMORY**: nothing", "a **b**", ""),
        ("MEMORY: m\nSUMMARY: s", "s", "m"),
        ("SUMMARY: first\nmore\nSUMMARY: last\nMEMORY: N/A.", "last", ""),
        ("\n\nDone: faster now.\nReally.", "Done: faster now.", ""),
        ("- SUMMARY: a\x1b[2J\tb\r\n- MEMORY:\n\n x\x00y\n", "a [2J b", "x y"),
        ("", "", ""),
        ("SUMMARY:\nMEMORY:", "", ""),
        ("the SUMMARY: is inside", "the SUMMARY: is inside", ""),
    ],
)
def test_an_account_is_read_from_the_end_of_a_reply(text: str, summary: str, memory: str) -> None:
    assert account(text) == (summary, memory)


def test_an_account_stays_within_bounds() -> None:
    summary, memory = account(f"SUMMARY: {'s' * 10_000}\nMEMORY: {'m ' * 50_000}")
    assert len(summary) <= 300
    assert len(memory) <= 4_100


@pytest.mark.parametrize(
    ("kind", "fault", "message", "retried"),
    [
        ("agent", AgentFault, "the model declined", False),
        ("limited", AgentFault, "429", True),
        ("sandbox", SandboxFault, "no namespace", True),
        ("bug", AgentFault, "agent Breaks: KeyError: 'choices'", False),
    ],
)
def test_a_fault_passes_the_boundary_with_what_it_cost(
    workspace: FolderWorkspace, kind: str, fault: type[Fault], message: str, retried: bool
) -> None:
    mutator = coding("Breaks", agent_options={"kind": kind})
    with pytest.raises(fault) as raised, boundary(MutatorFault, "mutate 'x'"):
        mutate(mutator, workspace)
    assert str(raised.value) == message
    assert raised.value.retryable is retried
    assert bool(raised.value.usage.cost_usd) == (fault is AgentFault and kind != "bug")


def test_an_agent_that_is_a_context_is_entered_once(workspace: FolderWorkspace) -> None:
    Opens.log.clear()
    with coding("Opens") as mutator:
        used = type(mutator._hired._agent)
        used.log.clear()  # type: ignore[attr-defined] # the class as the loader has it
        mutate(mutator, workspace)
    assert used.log == ["out"]  # type: ignore[attr-defined]


def test_prices_of_ones_own_go_over_what_an_agent_reports(workspace: FolderWorkspace) -> None:
    options = {"agent_options": {"model": "mine"}}
    assert mutate(coding("Priced", **options), workspace).usage.cost_usd == 0.5
    own = {"mine": {"input": 3.0, "output": 9.0}}
    assert mutate(coding("Priced", prices=own, **options), workspace).usage.cost_usd == 3.0


def test_a_skill_is_a_folder_with_its_file(workspace: FolderWorkspace, tmp_path: Path) -> None:
    skill = tmp_path / "profiling"
    skill.mkdir()
    with pytest.raises(ConfigError, match=r"no SKILL\.md"):
        coding(skills=[skill])
    (skill / "SKILL.md").write_text("---\nname: profiling\n---\n")
    mutator = coding(skills=[skill])
    mutate(mutator, workspace)
    assert mutator._hired._agent.calls[0].skills == (skill,)  # type: ignore[attr-defined]


# -- names that stand for agents


def configured(*sets: str, **flags: Any) -> Configuration:
    overrides = [set_override(text) for text in sets]
    overrides += [flag_override(f"--{name.replace('_', '-')}", value) for name, value in flags.items()]
    return configure(None, overrides, known=known_names())


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the agents claude, codex and agent were installed, all of them the toy."""
    from raysearch import plugins

    real = plugins.available
    agents = dict.fromkeys(("claude", "codex", "agent"), f"{FILE}:Writes")

    def available(kind: Any) -> dict[str, str]:
        return agents if kind == "agents" else real(kind)

    def entry(kind: Any, name: str, real: Callable[[Any, str], tuple[str, str]] = plugins._entry) -> tuple[str, str]:
        return (FILE, "Writes") if kind == "agents" and name in agents else real(kind, name)

    monkeypatch.setattr(plugins, "available", available)
    monkeypatch.setattr(plugins, "_entry", entry)
    monkeypatch.setattr("raysearch.run.agents.available", available)


@pytest.mark.usefixtures("installed")
def test_an_agents_name_stands_for_the_mutator_that_asks_it() -> None:
    configuration = written_out(configured(mutator=("claude", "tune"), model="claude-opus-5-5"))
    assert configuration.settings.run.mutators == ("claude", "tune")
    table = configuration.settings.mutator["claude"]
    assert table.use == "coding"
    assert table.options == {"agent": "claude", "model": "claude-opus-5-5"}
    assert configuration.origin("mutator", "claude", "model") == "--model"
    assert configuration.origin("mutator", "claude", "agent") == "--mutator"
    assert written_out(configuration) == configuration


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("flags", "mutators"),
    [
        ({"agent_backend": "cli"}, ("claude",)),
        ({"agent_backend": "cli", "cli_provider": "codex"}, ("codex",)),
        ({"cli_provider": "codex"}, ("codex",)),
        ({"agent_backend": "api"}, ("agent",)),
        ({"agent_backend": "api", "mutator": ("tune",)}, ("tune", "agent")),
        ({"agent_backend": "api", "mutator": ("agent", "tune")}, ("agent", "tune")),
        ({"agent_backend": "cli", "mutator": ("auto",)}, ("auto", "claude")),
    ],
)
def test_flags_name_an_agent(flags: dict[str, Any], mutators: tuple[str, ...]) -> None:
    configuration = written_out(configured(**flags))
    assert configuration.settings.run.mutators == mutators
    assert {t.use for name, t in configuration.settings.mutator.items() if name != "tune"} == {"coding"}


@pytest.mark.usefixtures("installed")
def test_a_section_goes_over_the_flags() -> None:
    sets = ("mutator.claude.model=claude-haiku-4-5", "mutator.claude.timeout_s=60.0")
    options = written_out(configured(*sets, agent_backend="cli", model="claude-opus-5-5", effort="high"))
    assert options.settings.mutator["claude"].options == {
        "agent": "claude",
        "model": "claude-haiku-4-5",
        "timeout_s": 60.0,
        "effort": "high",
    }


@pytest.mark.usefixtures("installed")
def test_a_mutator_of_that_name_is_that_mutator() -> None:
    configuration = written_out(configured("mutator.claude.use=tune", mutator=("claude",)))
    assert configuration.settings.mutator["claude"].use == "tune"
    assert "agent" not in configuration.settings.mutator["claude"].options


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--model claude-opus-5-5 is for coding agents"):
        written_out(configured(mutator=("tune",), model="claude-opus-5-5"))
    with pytest.raises(ConfigError, match=r"--cli-provider.*chooses among the programs"):
        configured(agent_backend="api", cli_provider="codex")
    with pytest.raises(ConfigError, match="no mutator is called 'cluade'"):
        configured(mutator=("cluade",))


def start(tmp_path: Path, *sets: str, **flags: Any) -> Any:
    """The search that a configuration with the toy agent ``Writes`` resolves to."""
    target = load_target(make_target(tmp_path / "target"))
    mine = ("mutator.mine.use=coding", f"mutator.mine.agent={FILE}:Writes", "run.seed=1")
    return resolve(configured(*mine, *sets, **{"mutator": ("mine",), **flags}), target)


def test_an_agent_is_examined_before_anything_is_spent(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"no class 'Wrote'.*Did you mean 'Writes'"):
        start(tmp_path, f"mutator.mine.agent={FILE}:Wrote")
    with pytest.raises(PluginError, match=r"--set: agent .*Writes' has no option 'modle'.*'model'"):
        start(tmp_path, "mutator.mine.agent_options.modle=x")
    with pytest.raises(PluginError, match=r"option 'modality' must be"):
        start(tmp_path, "mutator.mine.modality=smell")
    with pytest.raises(PluginError, match="no agent is called 'cluade'"):
        start(tmp_path, "mutator.mine.agent=cluade")
    with pytest.raises(PluginError, match="'coding' needs the option 'agent'"):
        start(tmp_path, mutator=("coding",))
    with pytest.raises(PluginError, match=r"refuses its options \(.*--set.*\): .*timeout_s must be from 1"):
        start(tmp_path, "mutator.mine.timeout_s=0.5", no_price=True)
    with pytest.raises(ConfigError, match="whose model 'mine' is cannot be told"):
        start(tmp_path, "mutator.mine.agent=diff", model="mine", no_price=True)


def test_a_model_needs_a_price_or_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mutator 'mine': no model is named.*--model NAME.*--no-price"):
        start(tmp_path)
    with pytest.raises(ConfigError, match=r"mutator 'mine': nothing says what the model 'claude-opus-5-6' costs.*5-5"):
        start(tmp_path, model="claude-opus-5-6")
    for flags, sets in (
        ({"model": "claude-opus-5-5"}, ()),
        ({"model": "mine", "no_price": True}, ()),
        ({"no_price": True}, ()),
        ({"model": "mine"}, ("prices.mine.input=1.0", "prices.mine.output=2.0")),
    ):
        options = start(tmp_path, *sets, **flags).plugins["mutate", "mine"].options
        assert options["judges"] == ("accuracy",)
        assert options["no_price"] is flags.get("no_price", False)
        assert options["prices"] == ({"mine": {"input": 1.0, "output": 2.0, "dated": "", "source": ""}} if sets else {})
    assert start(tmp_path, f"mutator.mine.agent={FILE}:Priced")  # says itself what it cost
    assert start(tmp_path, f"mutator.mine.agent={FILE}:Learns")  # asks no model


def documented(language: str) -> list[str]:
    text = (Path(__file__).parents[1] / "docs/agents.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_documented_configuration_is_accepted(tmp_path: Path) -> None:
    skill = tmp_path / "skills" / "profiling"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: profiling\n---\n")
    blocks = documented("toml")
    assert len(blocks) == 3
    (tmp_path / "run.toml").write_text("\n".join(blocks))
    configuration = configure(tmp_path / "run.toml", [set_override("run.seed=1")], known=known_names())
    plugins = resolve(configuration, load_target(make_target(tmp_path / "target"))).plugins
    judges = {"audit", "accuracy", "reviewer", "holdout"}
    assert {name for _, name in plugins} == {"fast", "deep", "tune", "benchmark"} | judges


def test_the_documented_agent_is_one(workspace: FolderWorkspace, tmp_path: Path) -> None:
    (code,) = documented("python")
    (tmp_path / "mine.py").write_text(code)
    mutation = mutate(CodingAgent(agent=f"{tmp_path / 'mine.py'}:Mine"), workspace)
    assert mutation.summary == "what I did"
    assert mutation.usage.tokens_in == 900


def test_the_documentation_names_every_option() -> None:
    import inspect

    text = (Path(__file__).parents[1] / "docs/agents.md").read_text(encoding="utf-8")
    for found in (CodingAgent, Reviewer):
        for name in set(inspect.signature(found).parameters) - {"judges", "prices", "no_price"}:
            assert f"`{name}`" in text, name


# -- whole runs

TOYS = ("--pool", "inline", "--sandbox", "auto", "--outer-loop", "plain", "--seed", "1", "--mutator", "mine", "--json")
TOYS += ("--set", "policy.when_idle=improve", "--set", "consultant.performance_evaluator.on=false")


def run_with(calling: Call, agent: str, *more: str) -> Any:
    make_target(Path("target"))
    sets = ("--set", "mutator.mine.use=coding", "--set", f"mutator.mine.agent={FILE}:{agent}")
    return calling("run", "target", *TOYS, *sets, *more)


def test_a_refusal_reaches_the_next_brief(call: Call) -> None:  # noqa: F811
    found = run_with(call, "Learns", "--max-candidates", "2").object
    assert (found["rejected"], found["admitted"]) == (1, 1)
    reason = "guard: changed other.txt; only x.txt may change"
    folder = Path(found["path"])
    first, second = ((folder / f"attempts/{n}/mutate-mine-1/prompt.md").read_text() for n in (1, 2))
    assert reason not in first
    assert reason in second
    told = call("brief", found["run"], "2", "--json").object
    (parent,) = told["scores"]
    assert f"## The seed program\n\nWhat was measured of it:\n\n- near: {parent['scores']['near']:g}" in second
    assert [prompt["prompt"] for prompt in told["prompts"]] == [second]
    assert told["prompts"][0]["system"] == (folder / "attempts/2/mutate-mine-1/system.md").read_text()
    page = call("brief", "2").out
    assert all(line in page for line in second.splitlines())
    usage = 2 * (6000 * 4 + 4000 * 0.2 + 500 * 20) / 1e6
    assert found["cost_usd"] == pytest.approx(usage)
    row = found["spending"][0]
    spent = tuple(row[key] for key in ("role", "plugin", "model", "calls", "tokens_in", "tokens_out"))
    assert spent == ("mutate", "mine", "claude-opus-5-5", 2, 20_000, 1000)
    assert found["gain"] == pytest.approx(1.0)  # the second went on from the first's files
    assert found["gain_per_usd"] == pytest.approx(1.0 / usage)
    page = call("show").out
    assert "mutate  mine  claude-opus-5-5" in page
    assert "brought: near 1 better for $0.0696" in page


def test_what_failed_is_counted_as_spent(call: Call) -> None:  # noqa: F811
    options = ("--set", "mutator.mine.agent_options.kind=limited", "--set", "limits.retries_max=1")
    found = run_with(call, "Breaks", *options, "--max-candidates", "1").object
    assert found["failed"] == 1
    entries = list(read_journal(Path(found["path"]) / JOURNAL))
    failed = [e.fact for e in entries if isinstance(e.fact, JobFailed)]
    assert [(f.fault, f.message, f.retry) for f in failed] == [("AgentFault", "429", True)] * 2
    assert found["cost_usd"] == pytest.approx(sum(f.usage.cost_usd for f in failed))
    assert found["cost_usd"] > 0
    assert found["spending"][0]["calls"] == 2
    assert not [e for e in entries if isinstance(e.fact, Mutated) and e.fact.attempt]
    prompts = call("brief", "1", "--json").object["prompts"]
    assert [prompt["job"] for prompt in prompts] == ["mutate-mine-1", "mutate-mine-2"]


def test_a_run_with_an_agent_is_taken_up_again(call: Call) -> None:  # noqa: F811
    found = run_with(call, "Learns", "--max-candidates", "1").object
    again = call("resume", "--max-candidates", "3", "--json").object
    assert again["run"] == found["run"]
    assert again["attempts"] == 3, again["stopped_by"]


def test_diff_and_a_reviewer_on_the_scripted_server(call: Call) -> None:  # noqa: F811
    """From prompt to patch, commit, verdict and bill, with the key of a server of one's own."""

    def better(request: Request) -> Turn:
        now = re.findall(r"^(\d+(?:\.\d+)?)$", request.prompt, re.MULTILINE)[-1]
        block = f"x.txt\n<<<<<<< SEARCH\n{now}\n=======\n{float(now) + 0.5:g}\n>>>>>>> REPLACE\n"
        return Turn(f"{block}\nSUMMARY: half more\nMEMORY: it was {now}\n", tokens=Tokens(prompt=1000, output=100))

    doubt = {"passed": False, "reasons": ["I doubt it"], "evidence": []}
    review = Turn(json.dumps(doubt), tokens=Tokens(prompt=2000, output=50))
    make_target(Path("target"))
    Path(".env").write_text("HOUSE_KEY=sk-of-the-house-0123456789\n")
    script = choose(When(better, system="^You improve a program"), When(review, system="^You review a change"))
    with ModelServer(script) as server:
        way = f'agent_options = {{ base_url = "{server.url}", key_from = "HOUSE_KEY" }}'
        Path("run.toml").write_text(
            '[run]\ntarget = "target"\nmutators = ["diff"]\nouter_loop = "agent"\npool = "inline"\nseed = 1\n'
            '[policy]\ninner_loop = "single-agent"\n'
            f'[agents]\nmodel = "claude-haiku-4-5"\n[mutator.diff]\n{way}\n'
            f'[judge.reviewer]\nagent = "diff"\nmodel = "claude-opus-5-5"\n{way}\n'
        )
        found = call("run", "--config", "run.toml", "--max-candidates", "2", "--json").object
        assert {request.key for request in server.requests} == {key_digest("sk-of-the-house-0123456789")}
    assert found["admitted"] == 2
    assert found["best"]["metrics"] == {"near": -4.0, "small": 6.0}
    spent = {(row["role"], row["plugin"], row["model"]): row["cost_usd"] for row in found["spending"]}
    assert spent == {
        ("judge", "reviewer", "claude-opus-5-5"): pytest.approx(3 * (2000 * 4 + 50 * 20) / 1e6),
        ("mutate", "diff", "claude-haiku-4-5"): pytest.approx(2 * (1000 * 1 + 100 * 5) / 1e6),
    }
    assert found["cost_usd"] == pytest.approx(sum(spent.values()))
    second = call("brief", "2", "--json").object["prompts"][0]["prompt"]
    assert "it was 5" in second
