"""MCP servers of agents over an API: started in the sandbox, or reached by address; tools beside the agent's own."""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import mcp_sums
import pytest
from api_agents import NONE, READ, asked
from hosted import a_place, left
from scripted_agents import FILE
from sums_over_http import Sums
from test_sandbox import needs_bubblewrap

from mutators.coding import CodingAgent
from raysearch.agents.api.servers import named
from raysearch.agents.api.toolloop import ToolLoop
from raysearch.agents.asking import servers_of
from raysearch.agents.interface import AgentFault, Call, McpServer
from raysearch.errors import ConfigError
from raysearch.testing.models import ModelServer, Request, ToolCall, Turn
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import Brief

ADD = "mcp__sums__add"
UNRULY = Path(__file__).with_name("mcp_unruly.py")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "servers" / "mcp_sums.py"
    file.parent.mkdir()
    file.write_text(Path(mcp_sums.__file__).read_text())
    return file


def test_a_tool_of_a_server_is_called_in_the_sandbox(place_kind: str, script: Path, tmp_path: Path) -> None:
    place = a_place(place_kind, tmp_path, 1)
    turns = [
        Turn(calls=(ToolCall(ADD, {"a": 40, "b": 2}), ToolCall(ADD, {"a": "x"}), ToolCall("mcp__sums__sub", {}))),
        Turn("Done."),
    ]
    server = McpServer("sums", (sys.executable, str(script)), env={"SAID": "yes"})
    with ModelServer(lambda request: turns[request.step]) as models, ToolLoop("m-1", base_url=models.url + "/v1") as it:
        assert it.ask(place.checkout, Call("implementer", "Add.", servers=(server,))).text == "Done."
        offered = {tool.name for tool in models.requests[0].tools}
        told = [result.text for result in models.requests[1].results]
    assert {ADD, "run_command", "read_file"} <= offered
    assert told[0] == "the sum is 42"
    assert "the server 'sums' failed" in told[1]  # it fell over, and says no more
    assert "there is no tool 'mcp__sums__sub'" in told[2]
    assert not left(place)


@pytest.fixture(params=[pytest.param("bubblewrap", marks=needs_bubblewrap), "none"])
def place_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@needs_bubblewrap
def test_what_a_server_sees_and_cannot_change(tmp_path: Path) -> None:
    """It is where the agent's commands are: no network, no other folder, the program read-only for who may not edit."""
    place = a_place("bubblewrap", tmp_path, 1)
    secret = tmp_path / "secret.txt"
    secret.write_text("42\n")
    calls = tuple(
        ToolCall("mcp__unruly__sh", {"command": each}) for each in (f"cat {secret}", "cat x.txt", "echo 9 > x.txt; id")
    )
    turns = [Turn(calls=calls), Turn("Done.")]
    server = McpServer("unruly", (sys.executable, str(UNRULY)))
    with ModelServer(lambda request: turns[request.step]) as models, ToolLoop("m-1", base_url=models.url + "/v1") as it:
        it.ask(place.checkout, Call("judge", "Look.", permission=READ, servers=(server,)))
        told = [result.text for result in models.requests[1].results]
    assert "No such file" in told[0]
    assert told[1].strip() == "5"
    assert "Read-only" in told[2] or "ermission denied" in told[2]
    assert (place.checkout.path / "x.txt").read_text() == "5"


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("huge", "characters left out"),
        ("ansi", "plain words"),
        ("picture", "[image, not shown]"),
        ("nothing", "(it answered nothing)"),
        ("wrong", "it went wrong"),
        ("structured", '{"n": 1}'),
        ("sleeps", "did not answer within 1 s"),
        ("garbage", "failed"),
        ("dies", "failed"),
    ],
)
def test_what_a_server_may_answer(tmp_path: Path, tool: str, said: str) -> None:
    place = a_place("none", tmp_path, 1)
    turns = [Turn(calls=(ToolCall(f"mcp__unruly__{tool}", {}),)), Turn("Done.")]
    server = McpServer("unruly", (sys.executable, str(UNRULY)))
    with (
        ModelServer(lambda request: turns[request.step]) as models,
        ToolLoop("m-1", base_url=models.url + "/v1", command_timeout_s=1.0, output_kb=1.0) as it,
    ):
        assert it.ask(place.checkout, Call("implementer", "Go.", servers=(server,))).text == "Done."
        told = models.requests[1].results[0].text
    assert said in told
    assert len(told) < 1200
    assert "\x1b" not in told
    assert not left(place)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("no-such-program-anywhere",), "No such file"),
        ((sys.executable, "-c", "import sys; sys.exit('it has no licence')"), "it has no licence"),
        ((sys.executable, "-c", "print('hello'); print('{}')"), "unruly"),
    ],
)
def test_a_server_that_does_not_start(tmp_path: Path, command: tuple[str, ...], said: str) -> None:
    place = a_place("none", tmp_path, 1)
    with ModelServer(lambda _: Turn("Done.")) as models, ToolLoop("m-1", base_url=models.url + "/v1") as it:
        with pytest.raises(AgentFault, match="MCP server 'unruly' does not start") as caught:
            it.ask(place.checkout, Call("implementer", "Go.", servers=(McpServer("unruly", command),)))
        assert not models.requests
    assert caught.value.cause == "unavailable"
    assert said in str(caught.value)
    assert not left(place)


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Sums) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}/tools/mcp"
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["agent", "deepagents"])
def test_a_server_is_reached_by_its_address(tmp_path: Path, url: str, kind: str) -> None:
    with asked(tmp_path, [Turn(calls=(ToolCall(ADD, {"a": 1, "b": 2}),)), Turn("Done.")], kind) as it:
        it.ask(servers=(McpServer("sums", url=url),))
        assert it.server.requests[1].results[0].text == "the sum is 3"


def test_who_may_do_nothing_is_offered_nothing(tmp_path: Path, url: str) -> None:
    with asked(tmp_path, [Turn("Done.")]) as it:
        it.ask(servers=(McpServer("sums", url=url),), permission=NONE)
        assert it.server.requests[0].tools == ()


@pytest.mark.parametrize("kind", ["diff", "rewrite"])
def test_an_agent_without_tools_takes_no_server(tmp_path: Path, kind: str) -> None:
    with asked(tmp_path, [], kind) as it:
        fault = it.fault(servers=(McpServer("board", ("x",)),))
        assert (fault.cause, "board" in str(fault)) == ("unavailable", True)
        assert fault.transcript == it.workspace.artifacts / "implementer-1.jsonl"


def test_names_of_tools_are_those_that_every_provider_takes() -> None:
    assert named("sums", "add") == ADD
    odd = [named("sums", "a.b"), named("sums", "a/b"), named("sums", "x" * 100), named("sums", "x" * 99 + "y")]
    assert len({*odd}) == 4
    assert all(len(name) <= 64 and set(name) <= {*"abcdefghijklmnopqrstuvwxyz0123456789_-"} for name in odd)


def test_all_servers_and_tools_are_told_in_the_transcript(tmp_path: Path, url: str) -> None:
    def model(request: Request) -> Turn:
        return Turn("Done.") if request.step else Turn(calls=(ToolCall(ADD, {"a": 1, "b": 2}),))

    with asked(tmp_path, model) as it:
        it.ask(servers=(McpServer("sums", url=url),))
        assert ADD in json.dumps(it.lines())


def test_a_mutator_says_which_servers_its_agent_gets(tmp_path: Path) -> None:
    given = {
        "sums": [sys.executable, "sums.py"],
        "profile": ["raysearch-profile-mcp"],
        "docs": "http://127.0.0.1:9/mcp",
    }
    mutator = CodingAgent(agent=f"{FILE}:Writes", servers=given)
    mutator.mutate(FolderWorkspace.make(tmp_path, {"answer.py": "VALUE = 3\n"}), Brief(), random.Random(1))
    sums, profile, docs = mutator._hired._agent.calls[0].servers  # type: ignore[attr-defined]
    assert (sums.name, sums.command) == ("sums", (sys.executable, "sums.py"))
    assert profile.command == (str(Path(sys.executable).parent / "raysearch-profile-mcp"),)
    assert (docs.command, docs.url) == ((), "http://127.0.0.1:9/mcp")


@pytest.mark.parametrize(
    ("given", "said"),
    [({"a b": ["x"]}, "cannot be called 'a b'"), ({"x": "sums.py"}, "x is at an address"), ({"x": []}, "no words")],
)
def test_servers_that_make_no_sense(given: dict[str, str | list[str]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        servers_of(given)
