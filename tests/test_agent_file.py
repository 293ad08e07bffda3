"""``agent.toml``: what each section means, what is refused, and where it is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import make_target

from raysearch.cli.options import configuration_of
from raysearch.config.layers import Configuration, Override, configure, effective_configuration
from raysearch.config.settings import Settings
from raysearch.errors import ConfigError
from raysearch.plugins import known_names
from raysearch.run.agents import written_out

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(folder: Path, text: str, name: str = "agent.toml") -> Configuration:
    (folder / name).write_text(text)
    return configure(folder / name, known=known_names())


def refused(folder: Path, text: str, name: str = "agent.toml") -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, name)
    return str(caught.value)


def said(configuration: Configuration) -> dict[str, object]:
    """What is not as it is by default, and its line."""
    usual = Settings().tables()
    return {
        ".".join((*section, key)): (value, configuration.origin(*section, key).removeprefix("agent.toml:"))
        for section, values in configuration.settings.tables().items()
        for key, value in values.items()
        if value != usual.get(section, {}).get(key) and key not in ("runs_dir", "use")
    }


def test_a_program_keeps_its_own_model_unless_the_named_one_is_of_its_make(folder: Path) -> None:
    text = '[model]\nname = "claude-sonnet-4-6"\n[backend]\nname = "cuda"\n[agent]\ncli_provider = "{}"\n{}'
    assert said(read(folder, text.format("codex", ""))) == {
        "run.backend": ("cuda", "4"),
        "agents.backend": ("cli", "5"),
        "agents.provider": ("codex", "6"),
    }
    assert said(read(folder, text.format("claude", "")))["agents.model"] == ("claude-sonnet-4-6", "2")
    named = said(read(folder, text.format("codex", 'cli_model = "gpt-5-codex"\ncli_timeout = 1800')))
    assert named["agents.model"] == ("gpt-5-codex", "7")
    assert named["mutator.codex.timeout_s"] == (1800.0, "8")
    assert "limits.mutate_timeout_s" not in named


def test_a_long_call_has_time(folder: Path) -> None:
    assert said(read(folder, "[agent]\ncli_timeout = 4000\n"))["limits.mutate_timeout_s"] == (4800.0, "2")


def test_a_model_behind_an_address(folder: Path) -> None:
    found = said(
        read(
            folder,
            '[model]\nname = "mine"\nprovider = "openai-compatible"\n'
            '[providers.openai-compatible]\nbase_url = "http://127.0.0.1:1/v1"\napi_key = "EMPTY"\n'
            "[providers.anthropic]\n"
            '[agent]\nbackend = "deepagents"\n',
        )
    )
    options = {"provider": "openai-chat", "base_url": "http://127.0.0.1:1/v1"}
    assert found == {
        "agents.backend": ("deepagents", "9"),
        "agents.model": ("mine", "2"),
        "mutator.deepagents.agent_options": (options, "3"),
    }


def test_the_agent_of_the_file_is_the_one_that_writes(folder: Path) -> None:
    configuration = written_out(read(folder, '[agent]\ncli_provider = "gemini"\ncli_timeout = 60\n'))
    assert configuration.settings.run.mutators == ("gemini",)
    assert configuration.settings.mutator["gemini"].options == {"agent": "gemini", "timeout_s": 60.0}


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ('level = "minimal"', "minimal"),
        ("budget = -1", ""),
        ("budget = 0", "minimal"),
        ("budget = 4096", "low"),
        ("budget = 4097", "medium"),
        ("budget = 16385", "high"),
    ],
)
def test_thinking(folder: Path, thinking: str, effort: str) -> None:
    assert read(folder, f"[thinking]\n{thinking}\n").settings.agents.effort == effort


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[modle]\n", "agent.toml:1: unknown section 'modle'. Did you mean 'model'?"),
        ("[model]\nnmae = 'x'\nname = 'x'\n", "agent.toml:2: unknown key 'nmae' in [model]. Did you mean 'name'?"),
        ("[model]\n", "agent.toml:1: 'name' is missing in [model]"),
        ("[model]\nname = 'x'\nprovider = 'openia'\n", "Did you mean 'openai'?"),
        ("[thinking]\n", "agent.toml:1: thinking should have `level` or `budget`, one of them"),
        ("[thinking]\nlevel = 'low'\nbudget = 3\n", "one of them"),
        ("[thinking]\nbudget = -2\n", "thinking.budget should be greater than or equal to -1"),
        ("[providers.vertex]\n", "agent.toml:1: no provider is called 'vertex'. Did you mean 'vertex-ai'?"),
        ("[providers.vertex-ai]\njsn = 'x'\n", "Did you mean 'json'?"),
        ("[providers.vertex-ai]\njson = 'x.json'\n", "GOOGLE_APPLICATION_CREDENTIALS=x.json"),
        ("[providers.openai]\nproject = 'x'\n", "agent.toml:2: unknown key 'project' in [providers.openai]"),
        ("[providers.openai-compatible]\napi_key = 'sk-1'\n", "agent.toml:2: a configuration is kept with its run"),
        ("[backend]\nname = 'cude'\n", "Did you mean 'cuda'?"),
        ("[agent]\ncli_provder = 'codex'\n", "Did you mean 'cli_provider'?"),
        ("[agent]\nbackend = 'deepagent'\n", "Did you mean 'deepagents'?"),
        ("[agent]\ncli_timeout = 0\n", "agent.toml:2: agent.cli_timeout should be greater than 0"),
        ("[[perf_eval.load_levels]]\nrte = 1\n", "Did you mean 'rate'?"),
        (
            "[[perf_eval.load_levels]]\nrate = 0\n",
            "agent.toml:2: perf_eval.load_levels.#1.rate should be greater than 0",
        ),
        ("[perf_eval]\nload_levels = []\n", "perf_eval.load_levels should not be empty"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(folder: Path, text: str, expected: str) -> None:
    assert expected in refused(folder, text)


def test_it_is_known_by_its_sections_or_else_by_its_name(folder: Path) -> None:
    assert read(folder, "[agent]\ncli_provider = 'codex'\n", "other.toml").settings.agents.provider == "codex"
    assert read(folder, "[run]\nlanes = 3\n").settings.run.lanes == 3
    assert "unknown section 'agent'. Did you mean 'agents'?" in refused(folder, "[run]\nlanes = 3\n[agent]\n")


@pytest.mark.parametrize("place", ["target", "."])
def test_it_is_found_beside_the_target_or_where_one_works(
    folder: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    target = make_target(folder / "target")
    (folder / place / "agent.toml").write_text("[agent]\ncli_provider = 'codex'\n")
    for given_ref in (False, True):
        flags = {"ref": "target/reference", "acc_checker": "target/accuracy_checker", "bench": "target/benchmark"}
        found = configuration_of(None if given_ref else str(target), None, flags if given_ref else {})
        assert found.settings.agents.provider == "codex"
        assert "agents as " in capsys.readouterr().err
    (folder / "empty.toml").write_text("")
    assert configuration_of(str(target), "empty.toml", {}).settings.agents.provider == ""
    assert configuration_of(str(target), None, {"mutator": ("tune",)}).settings.agents.provider == ""
    assert configuration_of(str(target), None, {"cli_provider": "gemini"}).settings.agents.provider == "gemini"


def test_the_documented_file_is_accepted(folder: Path) -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    configuration = read(folder, text.split("```toml\n# agent.toml\n")[1].split("```")[0])
    assert configuration.settings.agents.backend == "deepagents"
    assert [level.rate_per_s for level in configuration.settings.perf_eval.levels()] == [1.0]


SECTIONS = st.sampled_from(
    ["model", "thinking", "providers.openai", "providers", "backend", "agent", "perf_eval", "run"]
)
KEYS = st.sampled_from(["name", "level", "budget", "backend", "base_url", "cli_timeout", "load_levels", "x"])
VALUES = st.sampled_from(['"x"', "1", "-1", "1e400", "[]", "[{rate = 1}]", "{}", '"cuda"', '"cli"', "true"])
LINES = st.one_of(
    SECTIONS.map(lambda name: f"[{name}]"),
    SECTIONS.map(lambda name: f"[[{name}]]"),
    st.tuples(KEYS, VALUES).map(" = ".join),
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=6).map("\n".join))
def test_nothing_makes_anything_but_a_configuration_or_an_error(folder: Path, text: str) -> None:
    """And a configuration finds the way back through run.toml."""
    (folder / "agent.toml").write_text(text)
    try:
        found = configure(folder / "agent.toml", [Override(("run", "runs_dir"), str(folder), "--runs-dir")])
    except ConfigError:
        return
    (folder / "run.toml").write_text(effective_configuration(found))
    assert configure(folder / "run.toml").settings == found.settings
