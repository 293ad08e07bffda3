"""Where agents' programs are found, what lies in their homes, and how they are told of servers."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath

import pytest

from raysearch.agents.cli import programs
from raysearch.agents.cli.gemini import Gemini
from raysearch.agents.cli.homes import KEPT_MAX, Homes, place, put, set_aside
from raysearch.agents.cli.opencode import OpenCode
from raysearch.agents.cli.turns import NO_KEY, toml
from raysearch.agents.cli.ways import free_ports, relayed_server
from raysearch.agents.interface import McpServer
from raysearch.errors import ConfigError
from raysearch.protocols import Relay


def test_gemini_thinks_harder_only_with_a_model_that_is_named() -> None:
    with pytest.raises(ConfigError, match="name one"):
        Gemini(effort="high", base_url="http://localhost:1")
    assert Gemini("gemini-2.5-pro", effort="high").address.startswith("https://")


def test_gemini_has_a_key_by_either_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    monkeypatch.setenv("GOOGLE_API_KEY", "one")
    assert Gemini().relay(1).headers == {"x-goog-api-key": "one"}
    monkeypatch.setenv("GEMINI_API_KEY", "two")
    assert Gemini().relay(1).headers == {"x-goog-api-key": "two"}


def test_opencode_needs_to_know_whose_model_it_is() -> None:
    with pytest.raises(ConfigError, match="anthropic"):
        OpenCode("antropic/claude-opus-4-8")
    with pytest.raises(ConfigError, match="provider/name"):
        OpenCode("claude-opus-4-8")
    assert OpenCode("anthropic/claude-opus-4-8").headers("k") == {"x-api-key": "k"}
    assert OpenCode("served/locally", base_url="http://localhost:1/v1").headers("k") == {"authorization": "Bearer k"}


def test_a_link_that_an_agent_left_leads_nowhere(tmp_path: Path) -> None:
    """What is put into a home again must not be written where a link in it points to."""
    home, outside, skill = tmp_path / "home", tmp_path / "outside", tmp_path / "skill"
    for folder in (home, outside, skill):
        folder.mkdir()
    (skill / "SKILL.md").write_text("s")
    (outside / "settings.json").write_text("theirs")
    (home / ".agent").symlink_to(outside)
    put(home, PurePosixPath(".agent/settings.json"), "ours")
    place(home, PurePosixPath(".agent/skills"), [skill])
    (home / ".agent/skills/more").symlink_to(outside)
    (home / ".agent/settings.json").unlink()
    (home / ".agent/settings.json").symlink_to(outside / "settings.json")
    put(home, PurePosixPath(".agent/settings.json"), "again")
    place(home, PurePosixPath(".agent/skills"), [])
    assert (outside / "settings.json").read_text() == "theirs"
    assert [entry.name for entry in outside.iterdir()] == ["settings.json"]
    assert (home / ".agent/settings.json").read_text() == "again"
    assert not list((home / ".agent/skills").iterdir())


def test_what_is_set_aside_comes_back_unless_it_was_made_anew(tmp_path: Path) -> None:
    (tmp_path / ".agent").mkdir()
    (tmp_path / ".agent/settings").write_text("planted")
    (tmp_path / "AGENT.md").symlink_to("/nowhere")
    with set_aside(tmp_path, (".agent", "AGENT.md", "absent")):
        assert not list(tmp_path.iterdir())
        (tmp_path / "AGENT.md").write_text("new")
    assert (tmp_path / ".agent/settings").read_text() == "planted"
    assert (tmp_path / "AGENT.md").read_text() == "new"


def test_homes_are_few_and_go_with_their_agent() -> None:
    homes = Homes()
    folders = []
    for number in range(KEPT_MAX + 3):
        with homes.lent("") as home:
            home.session = str(number)
            folders.append(home.folder)
    assert sum(folder.exists() for folder in folders) == KEPT_MAX
    with homes.lent("5") as home:
        assert home.folder == folders[5]
    with pytest.raises(RuntimeError), homes.lent("5"):
        raise RuntimeError
    assert not folders[5].exists()
    homes.close()
    assert not any(folder.exists() for folder in folders)


def test_programs_are_found_with_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = tmp_path / "lib/node_modules"
    script = modules / "agent/bin/agent.js"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/usr/bin/env -S {Path(sys.executable).name} --flag\n")
    script.chmod(0o755)
    shims = tmp_path / "bin"
    shims.mkdir()
    (shims / "agent").symlink_to(script)
    (shims / Path(sys.executable).name).write_text("#!/bin/sh\nexec a-version-manager\n")
    (shims / Path(sys.executable).name).chmod(0o755)
    (shims / "binary").write_bytes(b"\x7fELF")
    (shims / "binary").chmod(0o755)
    monkeypatch.setenv("PATH", f"{shims}:{Path(sys.executable).parent}")
    engine = str(Path(sys.executable).resolve())
    found = programs.find("agent")
    assert found == programs.Program((engine, str(script)), (modules, Path(engine)))
    assert programs.find("binary") == programs.Program((str(shims / "binary"),), (shims / "binary",))
    assert programs.find("absent") is None
    packaged = programs.find("absent", ("pydantic", "__init__.py"))
    assert packaged is not None
    assert packaged.needs == (Path(packaged.words[-1]).parent,)
    assert programs.find("absent", ("no_such_package_at_all", "x")) is None


def test_the_way_to_an_mcp_server() -> None:
    relay, inside = relayed_server(McpServer("docs", url="https://example.com:8443/tools/mcp?v=2"), 4321)
    assert relay == Relay(4321, "https://example.com:8443/tools")
    assert inside.url == "http://127.0.0.1:4321/mcp?v=2"
    with pytest.raises(ConfigError):
        relayed_server(McpServer("docs", url="example.com"), 1)
    assert len(set(free_ports(5))) == 5


def test_texts_in_toml() -> None:
    import tomllib

    for said in ('plain "quoted" \\ back', "line\nbreak\ttab", "\x00\x1f\x7f", "ünïcode 🎉", ""):
        assert tomllib.loads(f"a = {toml(said)}") == {"a": said}
    assert NO_KEY
