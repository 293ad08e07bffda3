"""Conversations that go on where their worker is gone: kept among the artifacts, found by their name alone."""

from __future__ import annotations

import os
import random
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_agents import DIALECTS, asked
from scripted_agents import FILE
from test_agent_runner import KEY, TOKENS, WORK, World
from test_sandbox import needs_bubblewrap

from mutators.coding import CodingAgent, parted
from raysearch.agents import sessions
from raysearch.agents.api.keeping import kept
from raysearch.agents.credentials import scrub
from raysearch.testing.models import Request, ToolCall, Turn
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import Brief, Usage


@needs_bubblewrap
def test_a_programs_conversation_goes_on_with_another_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    world = World(tmp_path, "bubblewrap")
    first = world.ask(lambda _: Turn("One.", tokens=TOKENS), replace(WORK, keep=True))
    assert world.agent
    world.agent.close()
    world.agent = None
    world.place.checkout = replace(world.place.checkout, kept=world.artifacts.parent / "mutate-x-2")
    second = world.ask(lambda _: Turn("Two."), replace(WORK, prompt="And now?", session=first.session))
    assert second.session == first.session
    assert [message.text for message in world.requests[0].messages] == [WORK.prompt, "One.", "And now?"]
    assert world.agent
    world.agent.close()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_conversation_over_an_api_goes_on_with_another_worker(tmp_path: Path, dialect: str) -> None:
    def model(request: Request) -> Turn:
        if len(request.messages) == 1:
            return Turn("I look.", calls=(ToolCall("read_file", {"path": "answer.py"}),))
        return Turn("Done.")

    with asked(tmp_path / "it", model, dialect=dialect) as it:
        first = it.ask("Improve it.", keep=True)
    with asked(tmp_path / "again", model, dialect=dialect) as again:
        second = again.ask("And now?", session=first.session)
        assert second.session == first.session
        shown = again.server.requests[0].messages
        assert [message.text for message in shown if message.role == "user" and message.text] == [
            "Improve it.",
            "And now?",
        ]
        assert [result.text for message in shown for result in message.results] == ["VALUE = 3\n"]
        assert "Done." in [message.text for message in shown]


def test_what_is_not_kept_or_cannot_be_read_begins_anew(tmp_path: Path) -> None:
    with asked(tmp_path / "it", [Turn("One."), Turn("Two.")]) as it:
        first = it.ask()
        artifacts = it.workspace.artifacts
        assert not list(artifacts.glob("session-*"))
        for text in ("", "{", "[]", '{"messages": 3}', '{"messages": [{"role": 1}]}'):
            (artifacts / sessions.named("known", ".json")).write_text(text)
            assert kept(artifacts, "known") is None
        it.agent._sessions.clear()
        assert it.ask(session="known").session == "known"
        assert len(it.server.requests[1].messages) == 1
        assert first.session != "known"


def test_of_a_home_only_plain_files_are_kept(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "a" / "b").mkdir(parents=True)
    (home / "a" / "b" / "chat.jsonl").write_bytes(b"\xff\x00said")
    (home / "link").symlink_to("/etc/passwd")
    (home / "folder").symlink_to("/etc")
    os.mkfifo(home / "pipe")
    file = tmp_path / "session.tar"
    assert sessions.pack(home, file, Usage(tokens_in=7))
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert sessions.unpack(file, fresh) == Usage(tokens_in=7)
    assert [str(place.relative_to(fresh)) for place in fresh.rglob("*") if place.is_file()] == ["a/b/chat.jsonl"]
    assert (fresh / "a" / "b" / "chat.jsonl").read_bytes() == b"\xff\x00said"


def test_a_large_home_is_not_kept_and_one_with_a_key_in_it_is_of_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, fresh = tmp_path / "home", tmp_path / "fresh"
    home.mkdir()
    fresh.mkdir()
    (home / "said.txt").write_text(f"the key is {KEY}")
    file = tmp_path / "kept" / "session.tar"
    file.parent.mkdir()
    assert sessions.pack(home, file, Usage())
    assert scrub(file.parent, [KEY])
    assert KEY.encode() not in file.read_bytes()
    sessions.unpack(file, fresh)
    assert all(KEY.encode() not in place.read_bytes() for place in fresh.iterdir())
    monkeypatch.setattr(sessions, "BYTES_MAX", 10)
    assert not sessions.pack(home, tmp_path / "large.tar", Usage())


@pytest.mark.parametrize("name", ["home/../../out", "home", "../home/out", "elsewhere/out"])
def test_an_archive_of_somebody_elses_leads_nowhere(tmp_path: Path, name: str) -> None:
    home, file = tmp_path / "inner" / "home", tmp_path / "session.tar"
    home.mkdir(parents=True)
    with tarfile.open(file, "w") as archive:
        (tmp_path / "totals.json").write_text("{}")
        archive.add(tmp_path / "totals.json", "totals.json")
        archive.add(tmp_path / "totals.json", name)
    assert sessions.unpack(file, home) == Usage()
    assert not list(home.iterdir())
    assert {place.name for place in tmp_path.iterdir()} == {"inner", "session.tar", "totals.json"}


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\0" * 10_240])
def test_what_is_no_archive_is_no_session(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "session.tar").write_bytes(content)
    assert sessions.unpack(tmp_path / "session.tar", tmp_path) is None


def calls_of(mutator: CodingAgent) -> list[Any]:
    found: list[Any] = mutator._hired._agent.calls  # type: ignore[attr-defined]
    return found


def test_a_mutator_goes_on_with_the_conversation_of_its_lineage(tmp_path: Path) -> None:
    workspace = FolderWorkspace.make(tmp_path, {"answer.py": "VALUE = 3\n"})
    keeps = CodingAgent(agent=f"{FILE}:Writes", session="lineage")
    first = keeps.mutate(workspace, Brief(), random.Random(1))
    assert (calls_of(keeps)[0].session, calls_of(keeps)[0].keep) == ("", True)
    memory, session = parted(first.memory)
    assert (memory, session) == ("larger was better", "writes-1")
    keeps.mutate(workspace, Brief(memory=first.memory), random.Random(1))
    assert calls_of(keeps)[1].session == session
    assert "larger was better" in calls_of(keeps)[1].prompt
    assert session not in calls_of(keeps)[1].prompt


def test_without_that_each_attempt_is_a_conversation_of_its_own(tmp_path: Path) -> None:
    workspace = FolderWorkspace.make(tmp_path, {"answer.py": "VALUE = 3\n"})
    alone = CodingAgent(agent=f"{FILE}:Writes")
    mutation = alone.mutate(workspace, Brief(memory="x\nSESSION: stolen"), random.Random(1))
    assert (calls_of(alone)[0].session, calls_of(alone)[0].keep) == ("", False)
    assert mutation.memory == "larger was better"


@pytest.mark.parametrize(
    ("memory", "parts"),
    {
        "": ("", ""),
        "a\nb": ("a\nb", ""),
        "a\nSESSION: s": ("a", "s"),
        "SESSION: old\na\nSESSION: new": ("a", "new"),
        "SESSION: ": ("", ""),
        "a SESSION: b": ("a SESSION: b", ""),
    }.items(),
)
def test_a_memory_and_its_session(memory: str, parts: tuple[str, str]) -> None:
    assert parted(memory) == parts
