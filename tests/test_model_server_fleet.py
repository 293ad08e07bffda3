"""All model servers of a run together: started, made known to agents, looked after, ended."""

from __future__ import annotations

import logging
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_agents import Still
from model_servers import QUICK, nothing_left, poke, spec, until

from raysearch.agents.api.diff import Diff
from raysearch.agents.interface import AgentFault, Call
from raysearch.errors import ConfigError, RunError
from raysearch.process import strays
from raysearch.served import addresses, fleet
from raysearch.served.addresses import FILE, Addresses
from raysearch.served.fleet import Fleet
from raysearch.served.replica import Replica
from raysearch.served.spec import ServerSpec
from raysearch.testing.models import ModelServer, Request, Tokens, Turn
from raysearch.testing.workspace import FolderWorkspace

PATCH = "answer.py\n<<<<<<< SEARCH\nVALUE = 3\n=======\nVALUE = 4\n>>>>>>> REPLACE\nSUMMARY: more\n"


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "LOOK_S", 0.02)
    monkeypatch.setattr(fleet, "START_LOOK_S", 0.02)
    monkeypatch.setattr(fleet, "TOLD_EVERY_S", 0.05)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[str]:
    name = f"fleet-{tmp_path.name}-{os.getpid()}"
    yield name
    nothing_left(name)


def fleet_of(folder: Path, run: str, *servers: ServerSpec, told: list[str] | None = None) -> Fleet:
    def keep(server: ServerSpec, number: int) -> Replica:
        return Replica(server, number, folder, run=run, patience=QUICK)

    return Fleet(servers, keep, folder / FILE, (told if told is not None else []).append)


def test_agents_are_told_of_every_replica_that_serves(
    tmp_path: Path, run: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    servers = spec(replicas=2), spec("--model", "other", name="more", model="other")
    with fleet_of(tmp_path, run, *servers, told=told).start() as running:
        first, second = told[0].split("; ")
        assert first == "model server local: starting 2 replicas of fake-7b"
        assert second == "model server more: starting one replica of other"
        assert any(line.startswith("model server local: fake-7b is ready after ") for line in told)
        found = addresses.read(tmp_path / FILE, "local")
        assert (found.model, len(found.urls), found.window_tokens) == ("fake-7b", 2, 2048)
        assert addresses.read(tmp_path / FILE, "more").model == "other"
        with caplog.at_level(logging.WARNING):
            poke(found.urls[0], "/crash")
            until(lambda: addresses.read(tmp_path / FILE, "local").urls == found.urls[1:])
            until(lambda: addresses.read(tmp_path / FILE, "local").urls == found.urls)
            until(lambda: "is there again" in caplog.text)
        assert "model server local (replica 0) is lost, and is started again: it ended by itself" in caplog.text
        assert {standing.restarts for standing in running.standings().values()} == {0, 1}
    assert addresses.read(tmp_path / FILE, "local") == Addresses("fake-7b", why="the run has ended it")
    assert strays(run) == []
    running.close()


def test_one_that_does_not_start_ends_all_and_says_why(tmp_path: Path, run: str) -> None:
    broken = spec("--say", "no such model", "--fail", "2", name="broken")
    with pytest.raises(RunError, match=r"(?s)model server 'broken' \(replica 0\).*exit status 2.*no such model"):
        fleet_of(tmp_path, run, spec(), broken).start()
    assert strays(run) == []


def test_waiting_is_shown_and_can_be_stopped(tmp_path: Path, run: str) -> None:
    told: list[str] = []
    with fleet_of(tmp_path, run, spec("--loads"), told=told).start(lambda: "stop" if len(told) > 3 else ""):
        assert told[2].startswith("model server local: 0 of 1 ready, 0 s: ")
        assert addresses.read(tmp_path / FILE, "local").coming
    assert strays(run) == []


def test_a_server_that_is_lost_for_good_is_known_to_be(
    tmp_path: Path, run: str, caplog: pytest.LogCaptureFixture
) -> None:
    with fleet_of(tmp_path, run, spec(restarts_max=0)).start(), caplog.at_level(logging.WARNING):
        poke(addresses.read(tmp_path / FILE, "local").urls[0], "/crash")
        until(lambda: addresses.read(tmp_path / FILE, "local").why != "")
        until(lambda: not addresses.read(tmp_path / FILE, "local").coming)
        found = addresses.read(tmp_path / FILE, "local")
        assert (found.urls, found.why) == ((), "it ended by itself, with exit status 3. It printed nothing")
        until(lambda: "is lost, and is not started again" in caplog.text)
        with pytest.raises(AgentFault, match=r"'local' is gone: it ended by itself, with exit status 3") as fault:
            ask(tmp_path)
        assert (fault.value.cause, fault.value.retryable) == ("unavailable", False)


def test_an_address_file_says_what_it_lacks(tmp_path: Path) -> None:
    addresses.write(tmp_path / FILE, {"a": Addresses("m", ("http://h:1",), 7, False, "")})
    assert addresses.read(tmp_path / FILE, "a") == Addresses("m", ("http://h:1",), 7)
    for text in ("", "[]", "{}", '{"b": {}}', '{"b": {"model": 1}}', '{"b": {"urls": [], "model": "m", "x": 1}}'):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(ValueError, match="has no model server 'b'"):
            addresses.read(tmp_path / FILE, "b")


# -- agents


def ask(folder: Path, pace: Still | None = None, **options: Any) -> Any:
    """A call of a `diff` agent through the server ``local``."""
    workspace = FolderWorkspace.make(Path(tempfile.mkdtemp(dir=folder)), {"answer.py": "VALUE = 3\n"})
    with Diff(server="local", server_file=str(folder / FILE), **options) as agent:
        agent.rng = random.Random(1)
        agent.pace = pace or Still()
        reply = agent.ask(workspace, Call("implementer", "Improve it.", timeout_s=20.0))
    assert (workspace.path / "answer.py").read_text() == "VALUE = 4\n"
    return reply


def answers(request: Request) -> Turn:
    return Turn(PATCH, tokens=Tokens(prompt=1000, output=100))


def known(folder: Path, *urls: str, **more: Any) -> None:
    addresses.write(folder / FILE, {"local": Addresses("scripted-model", urls, **more)})


def test_a_server_costs_nothing_unless_a_price_is_given(tmp_path: Path) -> None:
    with ModelServer(answers) as server:
        known(tmp_path, server.url)
        used = ask(tmp_path).usage
        assert (used.model, used.tokens_in, used.tokens_out, used.calls) == ("scripted-model", 1000, 100, 1)
        assert used.cost_usd == 0.0
        priced = ask(tmp_path, prices={"scripted-model": {"input": 1.0, "output": 10.0}}).usage
        assert priced.cost_usd == pytest.approx(0.002)
        other = ask(tmp_path, model="adapter").usage
        assert other.model == "adapter"
        assert [request.model for request in server.requests] == ["scripted-model", "scripted-model", "adapter"]
        assert {request.dialect for request in server.requests} == {"openai_chat"}


def test_conversations_take_their_turns_among_replicas_and_stay_with_one(tmp_path: Path) -> None:
    def first_wrong(request: Request) -> Turn:
        return Turn("Nothing.") if len(request.messages) < 3 else answers(request)

    with ModelServer(first_wrong) as one, ModelServer(first_wrong) as two:
        known(tmp_path, one.url, two.url)
        workspace = FolderWorkspace.make(tmp_path, {"answer.py": "VALUE = 3\n"})
        with Diff(server="local", server_file=str(tmp_path / FILE)) as agent:
            for _ in range(4):
                (workspace.path / "answer.py").write_text("VALUE = 3\n")
                agent.ask(workspace, Call("implementer", "Improve it."))
        for server in (one, two):
            lengths = [len(request.messages) for request in server.requests]
            assert lengths == [1, 3, 1, 3], "each call and its repair are at the same one"


def test_the_windows_of_servers_are_kept_to(tmp_path: Path) -> None:
    with ModelServer(answers) as server:
        known(tmp_path, server.url, window_tokens=2048)
        ask(tmp_path)
        assert server.requests[-1].max_tokens is not None
        assert server.requests[-1].max_tokens < 2048


def test_a_replica_that_is_gone_is_left_for_another(tmp_path: Path) -> None:
    with ModelServer(answers) as server:
        known(tmp_path, "http://127.0.0.1:1", server.url)
        for _ in range(2):
            ask(tmp_path)
        assert len(server.requests) == 2


class Changes(Still):
    """Time that passes only while it is waited, and then the server has another address."""

    def __init__(self, folder: Path, *urls: str) -> None:
        super().__init__()
        self.folder, self.urls = folder, urls

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.urls:
            known(self.folder, *self.urls)


def test_a_server_that_is_started_again_is_waited_for_at_its_new_address(tmp_path: Path) -> None:
    with ModelServer(answers) as server:
        known(tmp_path, coming=True, why="it ended by itself")
        pace = Changes(tmp_path, server.url)
        ask(tmp_path, pace=pace)
        assert len(server.requests) == 1
        assert pace.slept == [0.5]


def test_waiting_for_a_server_ends_with_the_call(tmp_path: Path) -> None:
    known(tmp_path, coming=True, why="it ended by itself")
    with pytest.raises(AgentFault, match=r"'local' is not there: it ended by itself") as fault:
        ask(tmp_path, pace=Changes(tmp_path))
    assert fault.value.cause == "time"


def test_a_server_that_nobody_has_told_of_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(AgentFault, match=r"the model server 'local' is not known here: .*No such file") as fault:
        ask(tmp_path)
    assert fault.value.cause == "unavailable"
    addresses.write(tmp_path / FILE, {"other": Addresses("m")})
    with pytest.raises(AgentFault, match=r"has no model server 'local'"):
        ask(tmp_path)


def test_a_server_says_whom_to_ask() -> None:
    for options in ({"base_url": "http://h"}, {"provider": "anthropic"}, {"project": "p"}, {"region": "r"}):
        with pytest.raises(ConfigError, match="server says whom to ask"):
            Diff(server="local", server_file="f", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`server` must say which"):
        Diff("claude-opus-5-5", server_file="f")
    Diff(server="local", server_file="f", provider="openai-chat")
