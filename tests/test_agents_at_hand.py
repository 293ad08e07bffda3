"""Before a run begins: what an agent lacks is one clear error, and each of several models becomes a mutator."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from called import Call, call  # noqa: F401 # a fixture
from scripted_agents import FILE
from test_sandbox import needs_bubblewrap
from toys import make_target

from raysearch.agents.api.toolloop import ToolLoop
from raysearch.agents.asking import employed
from raysearch.config.layers import Configuration, configure, set_override
from raysearch.errors import ConfigError
from raysearch.plugins import PluginSpec, known_names
from raysearch.run.agents import require_at_hand, written_out
from raysearch.run.folder import RunFolder
from raysearch.run.serving import pointed
from raysearch.testing.models import ModelServer, Request, Tokens, Turn
from raysearch.types import Stage

KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")


@pytest.fixture(autouse=True)
def poor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a key, and without programs but the usual ones."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").touch()  # the nearest, so that no other is found
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def run_with(calling: Call, *more: str) -> Any:
    make_target(Path("target"))
    return calling("run", "target", "--sandbox", "none", "--max-candidates", "2", *more)


@needs_bubblewrap
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("diff", "--model", "claude-haiku-4-5"), "no key for claude-haiku-4-5: set ANTHROPIC_API_KEY"),
        (("agent", "--model", "gpt-6.1-sol"), "no key for gpt-6.1-sol: set OPENAI_API_KEY"),
        (("rewrite", "--model", "gemini-2.5-pro"), "set GEMINI_API_KEY or GOOGLE_API_KEY"),
        (("gemini", "--model", "gemini-2.5-pro"), "Gemini CLI is not installed here (gemini): npm install"),
        (("opencode", "--model", "openai/gpt-6.1-sol"), "OpenCode is not installed here"),
    ],
)
def test_what_is_missing_ends_the_command_before_there_is_a_run(
    call: Call,  # noqa: F811
    words: tuple[str, ...],
    said: str,
) -> None:
    called = run_with(call, "--pool", "inline", "--mutator", *words)
    assert called.status == 2
    assert f"mutator '{words[0]}': " in called.told
    assert said in called.told
    assert not list(Path().rglob("journal.jsonl"))


def test_everything_that_is_missing_is_named_at_once() -> None:
    told = {"model": "claude-haiku-4-5", "prices": {}, "no_price": False, "judges": ("accuracy",)}
    plugins = {
        (Stage.MUTATE, "one"): PluginSpec("mutators", "one", "coding", {"agent": "diff", **told}),
        (Stage.JUDGE, "two"): PluginSpec("judges", "two", "reviewer", {"agent": "claude", **told}),
        (Stage.MUTATE, "mine"): PluginSpec("mutators", "mine", "coding", {"agent": f"{FILE}:Writes", **told}),
        (Stage.MUTATE, "tune"): PluginSpec("mutators", "tune", "tune", {}),
    }
    with pytest.raises(ConfigError) as caught:
        require_at_hand(plugins.values(), "landlock", here=True)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["mutator 'one'", "judge 'two'"]
    assert "needs the sandbox bubblewrap" in lines[1]
    require_at_hand(plugins.values(), "landlock", here=False)


def test_members_of_a_panel_are_looked_at_one_by_one() -> None:
    told = {"agent": f"{FILE}:Writes", "prices": {}, "no_price": True}
    panel = [{}, {"agent": "diff", "model": "claude-haiku-4-5"}, {"agent": "gemini"}]
    plugins = [
        PluginSpec("judges", judge, reference, {**told, "panel": panel})
        for judge, reference in (("review", "reviewer"), ("attack", "redteam"))
    ]
    with pytest.raises(ConfigError) as caught:
        require_at_hand(plugins, "bubblewrap", here=True)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"judge {judge!r}, member {number} of the panel" for judge in ("review", "attack") for number in (2, 3)
    ]
    assert "set ANTHROPIC_API_KEY" in lines[0]
    assert "Gemini CLI is not installed here" in lines[1]
    require_at_hand([PluginSpec("judges", "review", "reviewer", {**told, "panel": 3})], "bubblewrap", here=True)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ('{ model = "" }', "judge 'mine', member 2 of the panel: no model is named for the agent 'agent'"),
        (
            '{ model = "nobody-knows-me" }',
            "judge 'mine', member 2 of the panel: nothing says what the model 'nobody-knows-me'",
        ),
        ('{ agent_options = { server = "mine" } }', "judge 'mine', member 2 of the panel: no model server is called"),
        ('{ agent = "dif" }', "Did you mean 'diff'?"),
        ('{ agent_options = { base = "x" } }', "run.toml:11"),
        ('{ modell = "x" }', "member 2 of the panel has no option 'modell'. Did you mean 'model'?"),
        ("{ agent_options = 3 }", "member 2 of the panel: agent_options cannot be 3"),
    ],
)
@pytest.mark.parametrize("judge", ["reviewer", "redteam"])
def test_what_is_wrong_with_a_member_is_one_clear_error_before_there_is_a_run(
    call: Call,  # noqa: F811
    judge: str,
    member: str,
    said: str,
) -> None:
    make_target(Path("target"))
    Path("run.toml").write_text(
        '[run]\ntarget = "target"\nmutators = ["tune"]\npool = "inline"\nsandbox = "none"\nseed = 3\n'
        f'[judge.mine]\nuse = "{judge}"\nagent = "agent"\nmodel = "claude-haiku-4-5"\n'
        f"panel = [{{}}, {member}]\n"
    )
    called = call("run", "--config", "run.toml")
    assert called.status == 2
    assert said in called.told
    assert not list(Path().rglob("journal.jsonl"))


def test_members_of_a_panel_are_told_where_their_server_is(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    asking = {"agent": "agent", "agent_options": {"server": "mine"}}
    panel = [{}, {"agent_options": {"server": "other"}}, {"model": "m"}]
    spec = PluginSpec("judges", "review", "reviewer", {**asking, "panel": panel})
    untouched = PluginSpec("judges", "novelty", "novelty", {"panel": 3})
    found = pointed({"review": spec, "novelty": untouched}, folder)
    assert found["novelty"] == untouched
    members = [given["agent_options"] for _, given in employed(found["review"].options)]
    place = str(tmp_path / "model-servers.json")
    assert members == [{"server": name, "server_file": place} for name in ("mine", "other", "mine")]


def test_a_server_of_ones_own_needs_no_key_and_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ToolLoop("llama", base_url="http://127.0.0.1:1/v1").lacking("none") == ""
    assert "set MY_KEY" in ToolLoop("llama", base_url="http://127.0.0.1:1/v1", key_from="MY_KEY").lacking("none")
    monkeypatch.setenv("MY_KEY", "sk-mine-0123456789")
    assert ToolLoop("llama", base_url="http://127.0.0.1:1/v1", key_from="MY_KEY").lacking("none") == ""
    assert ToolLoop("gemini-2.5-pro", provider="vertex").lacking("none") == ""
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "pip install 'raysearch[agents]'" in ToolLoop("llama", base_url="http://127.0.0.1:1/v1").lacking("none")


# -- several models


def configured(*sets: str) -> Configuration:
    return written_out(configure(None, [set_override(text) for text in sets], known=known_names()))


def test_each_of_several_models_is_a_mutator_of_its_own() -> None:
    sets = ('run.mutators=["diff","tune"]', 'mutator.diff.models=["claude-haiku-4-5","openai/gpt-6-luna"]')
    found = configured(*sets, "mutator.diff.timeout_s=60.0", "agents.model=unused", "agents.effort=low")
    assert found.settings.run.mutators == ("diff-claude-haiku-4-5", "diff-openai-gpt-6-luna", "tune")
    assert {name: table.options for name, table in found.settings.mutator.items()} == {
        "diff-claude-haiku-4-5": {"agent": "diff", "timeout_s": 60.0, "effort": "low", "model": "claude-haiku-4-5"},
        "diff-openai-gpt-6-luna": {"agent": "diff", "timeout_s": 60.0, "effort": "low", "model": "openai/gpt-6-luna"},
    }
    assert found.origin("mutator", "diff-claude-haiku-4-5", "model") == "--set"
    assert written_out(found) == found


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (("mutator.diff.models=[]",), "must be a list of models' names"),
        (('mutator.diff.models="claude-haiku-4-5"',), "must be a list of models' names"),
        (('mutator.diff.models=["a","a"]',), "two mutators one name"),
        (('mutator.diff.models=["a/b","a b"]',), "two mutators one name"),
        (('mutator.diff.models=["a"]', "mutator.diff.model=b"), "leave one out"),
    ],
)
def test_models_that_make_no_sense(sets: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        configured('run.mutators=["diff"]', *sets)


@pytest.mark.slow
def test_a_run_gives_credit_to_models(call: Call, tmp_path: Path) -> None:  # noqa: F811
    """Both are asked, and what they cost and brought stands by their names."""
    make_target(Path("target"))
    patch = "x.txt\n<<<<<<< SEARCH\n{now}\n=======\n{new:g}\n>>>>>>> REPLACE\nSUMMARY: more\n"

    def model(request: Request) -> Turn:
        now = re.findall(r"^(\d+(?:\.\d+)?)$", request.prompt, re.MULTILINE)[-1]
        return Turn(patch.format(now=now, new=float(now) + 0.5), tokens=Tokens(prompt=1000, output=100))

    with ModelServer(model) as server:
        models = '["claude-haiku-4-5", "claude-opus-5-5"]'
        Path("run.toml").write_text(
            '[run]\ntarget = "target"\nmutators = ["diff"]\npool = "inline"\nsandbox = "none"\nseed = 3\n'
            f'[mutator.diff]\nmodels = {models}\nagent_options = {{ base_url = "{server.url}" }}\n'
        )
        found = call("run", "--config", "run.toml", "--max-candidates", "4", "--json").object
    spent = {row["plugin"]: (row["model"], row["calls"]) for row in found["spending"] if row["role"] == "mutate"}
    assert spent.keys() == {"diff-claude-haiku-4-5", "diff-claude-opus-5-5"}
    assert {model for model, _ in spent.values()} == {"claude-haiku-4-5", "claude-opus-5-5"}
    assert sum(calls for _, calls in spent.values()) == 4
    assert "diff-claude-opus-5-5" in call("show").out
