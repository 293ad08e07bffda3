"""From a call to a reply through an agent's own program: what is kept, repaired, gone on with, refused.

The program is a small one of these tests' own, in the real sandbox, asking a scripted model.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hosted import Place, a_place, left
from pydantic import BaseModel
from test_sandbox import needs_bubblewrap

from raysearch.agents.cli.output import count, events, mapping, text
from raysearch.agents.cli.runner import CliAgent
from raysearch.agents.cli.turns import Heard, Start, Turn
from raysearch.agents.interface import AgentFault, Call, McpServer, Permission, Reply
from raysearch.errors import ConfigError, SandboxFault
from raysearch.protocols import Completed, Relay
from raysearch.testing.models import HttpError, ModelServer, Request, Tokens, ToolCall, key_digest
from raysearch.testing.models import Turn as Answer
from raysearch.types import Allowance, Usage

PROGRAM = Path(__file__).with_name("agent_program.py")
KEY = "sk-planted-" + "7be2" * 8
TOKENS = Tokens(prompt=1000, output=50, cached=400)
WORK: Call[Any] = Call("implementer", "Write 7 to x.txt", timeout_s=60.0)


class Verdict(BaseModel):
    passed: bool
    why: str = ""


REVIEW = Call("judge", "Is it right?", permission=Permission.READ, schema=Verdict, timeout_s=60.0)


def used_by(answers: Sequence[Mapping[str, Any]]) -> Usage:
    return Usage(
        tokens_in=sum(count(each, "input_tokens") + count(each, "cache_read_input_tokens") for each in answers),
        tokens_cached=sum(count(each, "cache_read_input_tokens") for each in answers),
        tokens_out=sum(count(each, "output_tokens") for each in answers),
        turns=len(answers),
    )


class Tiny(CliAgent):
    """An agent for the small program."""

    name = "tiny-agent-of-the-tests"
    title = "Tiny"
    install = "it comes with the tests"
    skills_at = PurePosixPath(".tiny/skills")
    upstream = "https://api.invalid"
    key_name = "TINY_AGENT_KEY"
    accounts = "*.jsonl"
    turns: list[Turn]

    def spent(self, accounts: Sequence[str]) -> Usage:
        return used_by([each for text_ in accounts for each in events(text_)])

    def headers(self, key: str) -> Mapping[str, str]:
        return {"x-api-key": key}

    def start(self, turn: Turn) -> Start:
        self.turns = [*getattr(self, "turns", []), turn]
        return Start((turn.session,) if turn.session else (), {"AGENT_URL": turn.url})

    def hear(self, completed: Completed, home: Path) -> Heard:
        said = list(events(completed.stdout))
        session = next((text(event, "session") for event in said if event.get("type") == "begun"), "")
        used = [mapping(event, "usage") for event in said if event.get("type") == "answer"]
        usage = used_by(used)
        last = said[-1] if said else {}
        if last.get("type") == "lost":
            return Heard(lost=True)
        if last.get("type") == "failed":
            return Heard(usage=usage, session=session, failure=text(last, "message"))
        if last.get("type") == "done":
            return Heard(text(last, "text"), None, usage, session, failure="")
        return Heard(usage=usage, session=session)


Script = Callable[[Request], Answer]


class World:
    """A workspace, an agent, and the model that it asks."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.place: Place = a_place(kind, folder, 1)
        self.file = folder / "installed" / "agent"
        self.file.parent.mkdir()
        self.file.write_text(f"#!{sys.executable}\n{PROGRAM.read_text()}")
        self.file.chmod(0o755)
        self.agent: Tiny | None = None
        self.requests: tuple[Request, ...] = ()

    def ask(self, script: Script, call: Call[Any] = WORK, **options: Any) -> Reply[Any]:
        with ModelServer(script, keys=[KEY]) as server:
            if self.agent is None:
                known = {"tiny-model": {"input": 1.0, "output": 2.0, "cached": 0.0}}
                given = {"program": str(self.file), "key_from": "PLANTED_KEY", "prices": known, **options}
                self.agent = Tiny("tiny-model", base_url=server.url, **given)
            self.agent.address = server.url
            try:
                return self.agent.ask(self.place.checkout, call)
            finally:
                self.requests = server.requests

    def fault(self, script: Script, call: Call[Any] = WORK, **options: Any) -> AgentFault:
        with pytest.raises(AgentFault) as caught:
            self.ask(script, call, **options)
        return caught.value

    def allow(self, **limits: Any) -> None:
        self.place.checkout = replace(self.place.checkout, allowance=Allowance(**limits))

    @property
    def artifacts(self) -> Path:
        return self.place.checkout.artifacts

    @property
    def program(self) -> dict[str, str]:
        root = self.place.checkout.path
        return {str(file.relative_to(root)): file.read_text() for file in root.rglob("*") if file.is_file()}


@pytest.fixture(params=[pytest.param("bubblewrap", marks=needs_bubblewrap), "none"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    made = World(tmp_path, request.param)
    yield made
    if made.agent:
        made.agent.close()


@pytest.fixture
def boxed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    made = World(tmp_path, "bubblewrap")
    yield made
    if made.agent:
        made.agent.close()


def bash(command: str) -> Answer:
    return Answer(calls=(ToolCall("Bash", {"command": command}),), tokens=TOKENS)


def working(request: Request) -> Answer:
    return Answer("Done.", tokens=TOKENS) if request.step else bash("echo 7 > x.txt")


def test_the_files_are_as_the_agent_left_them_and_what_it_cost_is_known(world: World) -> None:
    reply = world.ask(working)
    assert reply.text == "Done."
    assert world.program == {"x.txt": "7\n"}
    used = Usage(0.0, 2000, 800, 100, 2, "tiny-model", 2, reply.session)
    assert replace(reply.usage, cost_usd=0.0) == used
    assert reply.usage.cost_usd == pytest.approx((1200 * 1.0 + 100 * 2.0) / 1e6)
    assert reply.transcript is not None
    assert reply.transcript.parent == world.artifacts


@needs_bubblewrap
def test_what_is_kept_of_a_call(boxed: World) -> None:
    reply = boxed.ask(working)
    assert reply.transcript == boxed.artifacts / "implementer-1.jsonl"
    assert [event["type"] for event in events(reply.transcript.read_text())] == ["begun", "answer", "answer", "done"]
    told = json.loads((boxed.artifacts / "implementer-1.call.json").read_text())
    assert (told["agent"], told["role"], told["ended"]) == (Tiny.name, "implementer", "answered")
    assert told["usage"]["tokens_in"] == 2000
    assert told["turns"][0]["prompt"] == WORK.prompt
    boxed.ask(working)
    assert (boxed.artifacts / "implementer-2.jsonl").exists()


def test_the_key_reaches_the_server_and_nothing_else(world: World) -> None:
    world.ask(lambda request: Answer("Done.") if request.step else bash("env; cat /proc/*/environ /proc/*/cmdline"))
    assert {request.key for request in world.requests} == {key_digest(KEY)}
    assert world.agent is not None
    kept = [*world.artifacts.rglob("*"), *world.place.checkout.path.rglob("*"), *world.agent.homes._root.rglob("*")]  # type: ignore[union-attr]
    files = [file for file in kept if file.is_file()]
    assert len(files) >= 4
    if world.place.checkout.sandbox.name != "none":  # there, a guest may look at the worker itself
        assert not [file for file in files if KEY.encode() in file.read_bytes()]


@needs_bubblewrap
def test_a_reply_in_its_form(boxed: World) -> None:
    reply = boxed.ask(lambda _: Answer('It is.\n```json\n{"passed": true, "why": "seen"}\n```'), REVIEW)
    assert reply.value == Verdict(passed=True, why="seen")
    assert '"passed"' in boxed.requests[0].prompt
    assert boxed.requests[0].prompt.startswith(REVIEW.prompt)


def test_an_unreadable_reply_costs_one_repair_in_the_same_session(world: World) -> None:
    answers = iter(['{"passed": "perhaps"}', '{"passed": false}'])
    reply = world.ask(lambda _: Answer(next(answers), tokens=TOKENS), REVIEW)
    assert reply.value == Verdict(passed=False)
    assert (reply.usage.turns, reply.usage.tokens_in) == (2, 2000)
    second = world.requests[1]
    assert "passed: Input should be a valid boolean" in second.prompt
    assert [message.role for message in second.messages] == ["user", "assistant", "user"]
    assert reply.transcript is not None
    assert reply.transcript.read_text().count('"done"') == 2


@needs_bubblewrap
def test_a_reply_that_stays_unreadable_is_a_fault_after_one_repair(boxed: World) -> None:
    fault = boxed.fault(lambda _: Answer("Perhaps.", tokens=TOKENS), REVIEW)
    assert fault.cause == "unreadable"
    assert not fault.retryable
    assert len(boxed.requests) == 2
    assert (fault.usage.turns, fault.usage.tokens_out) == (2, 100)
    assert fault.transcript is not None
    assert fault.transcript.read_text().count("Perhaps.") == 4
    assert "unreadable" in json.loads((boxed.artifacts / "judge-1.call.json").read_text())["ended"]


def test_a_session_is_gone_on_with(world: World) -> None:
    first = world.ask(lambda _: Answer("One."))
    second = world.ask(lambda _: Answer("Two."), replace(WORK, prompt="And now?", session=first.session))
    assert second.session == first.session
    assert [message.text for message in world.requests[0].messages] == [WORK.prompt, "One.", "And now?"]
    third = world.ask(lambda _: Answer("Three."))
    assert third.session != first.session
    assert len(world.requests[0].messages) == 1


@needs_bubblewrap
def test_a_session_that_is_not_known_begins_anew(boxed: World) -> None:
    reply = boxed.ask(working, replace(WORK, session="of-another-worker"))
    assert reply.session not in {"", "of-another-worker"}
    assert "not known here" in (boxed.artifacts / "implementer-1.call.json").read_text()


@needs_bubblewrap
def test_a_session_that_the_program_has_lost_begins_anew(boxed: World) -> None:
    first = boxed.ask(lambda request: Answer("One.") if request.step else bash("echo rm -f $HOME/*.json > $HOME/x"))
    assert boxed.agent is not None
    (home,) = boxed.agent.homes._kept.values()
    for file in home.folder.glob("*.json"):
        file.unlink()
    second = boxed.ask(working, replace(WORK, session=first.session))
    assert second.text == "Done."
    assert second.session != first.session
    assert "is lost" in (boxed.artifacts / "implementer-2.call.json").read_text()


def test_when_time_is_up_nothing_runs_on_and_what_was_said_is_kept(world: World) -> None:
    waiting = bash("echo begun > begun; setsid sleep 600 & setsid sleep 600")
    fault = world.fault(lambda _: waiting, replace(WORK, timeout_s=4.0))
    assert fault.cause == "time"
    assert fault.usage.tokens_in == 1000
    assert fault.transcript is not None
    assert [event["type"] for event in events(fault.transcript.read_text())] == ["begun", "answer"]
    assert not left(world.place)
    assert world.agent is not None
    assert not world.agent.homes._kept


@needs_bubblewrap
def test_a_failure_of_the_server_is_told(boxed: World) -> None:
    fault = boxed.fault(
        lambda request: Answer("x", fault=HttpError(500, "out of order")) if request.step else working(request)
    )
    assert (fault.cause, fault.retryable) == ("failed", True)
    assert "out of order" in str(fault)
    assert fault.usage.tokens_in == 1000


def test_a_reader_changes_nothing(world: World) -> None:
    def meddling(request: Request) -> Answer:
        return Answer('{"passed": true}') if request.step else bash("cat x.txt; echo 9 > x.txt; touch y")

    assert world.ask(meddling, REVIEW).value == Verdict(passed=True)
    assert world.program == {"x.txt": "5"}


@needs_bubblewrap
def test_an_allowance_that_is_spent_asks_nothing(boxed: World) -> None:
    for limit in ({"cost_usd": 0.0}, {"tokens": 0}, {"calls": 0}):
        boxed.allow(**limit)
        assert boxed.fault(working).cause == "budget"
        assert boxed.requests == ()


@pytest.mark.parametrize("limit", [{"tokens": 1500}, {"cost_usd": 0.001}, {"calls": 1}], ids=str)
def test_a_call_is_ended_while_it_works_once_its_allowance_is_spent(world: World, limit: dict[str, Any]) -> None:
    """The program itself would go on for ever; what it wrote of its spending is read meanwhile."""
    world.allow(**limit)
    fault = world.fault(lambda _: bash("sleep 0.4"))
    assert (fault.cause, "allowance is spent" in str(fault)) == ("budget", True)
    assert 2 <= fault.usage.turns <= len(world.requests) <= fault.usage.turns + 1 <= 9
    assert fault.transcript is not None
    assert not left(world.place)


@needs_bubblewrap
def test_what_an_agent_makes_of_its_accounts_harms_nobody(boxed: World) -> None:
    """In their place: a pipe, a link, what is no account; a call that keeps to its allowance is answered."""
    boxed.allow(tokens=2100)
    spoil = "cd; mkfifo p.jsonl; ln -s /dev/zero l.jsonl; mkdir d.jsonl; head -c 999 /dev/urandom > x.jsonl"
    answers = iter([bash(f"{spoil}; sleep 1.2"), Answer("Done.", tokens=TOKENS)])
    assert boxed.ask(lambda _: next(answers)).text == "Done."


@needs_bubblewrap
def test_no_repair_beyond_the_allowance(boxed: World) -> None:
    boxed.allow(cost_usd=0.0001)
    fault = boxed.fault(lambda _: Answer("Perhaps.", tokens=TOKENS), REVIEW)
    assert fault.cause == "budget"
    assert len(boxed.requests) == 1
    assert fault.usage.cost_usd > 0.0001


def test_the_program_is_told_its_limits(boxed: World) -> None:
    boxed.allow(cost_usd=0.5, calls=3)
    boxed.ask(lambda _: Answer("x"), replace(WORK, system="Be brief."), turns_max=7)
    assert boxed.agent is not None
    (turn,) = boxed.agent.turns
    assert (turn.cost_usd, turn.turns_max, turn.system) == (0.5, 3, "Be brief.")
    assert not turn.folder.exists()


def test_skills_lie_where_they_are_looked_for_and_not_in_the_program(boxed: World, tmp_path: Path) -> None:
    skill = tmp_path / "profiling"
    skill.mkdir()
    (skill / "SKILL.md").write_text("How to profile.")
    look = lambda request: Answer("Done.") if request.step else bash("cat $HOME/.tiny/skills/profiling/SKILL.md")  # noqa: E731
    first = boxed.ask(look, replace(WORK, skills=(skill,)))
    assert boxed.requests[-1].results[0].text == "How to profile."
    assert boxed.program == {"x.txt": "5"}
    boxed.ask(look, replace(WORK, session=first.session))
    assert "No such file" in boxed.requests[-1].results[0].text


def test_without_a_key_nothing_is_started(boxed: World) -> None:
    fault = boxed.fault(working, key_from="ABSENT_KEY_OF_THE_TESTS")
    assert fault.cause == "unavailable"
    assert "ABSENT_KEY_OF_THE_TESTS" in str(fault)
    assert boxed.requests == ()


def test_another_server_gets_no_key_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_AGENT_KEY", KEY)
    assert Tiny().relay(1).headers == {"x-api-key": KEY}
    assert Tiny(base_url="http://localhost:1/v1/").relay(1) == Relay(1, "http://localhost:1/v1")
    assert Tiny(base_url="http://localhost:1", key_from="TINY_AGENT_KEY").relay(1).headers == {"x-api-key": KEY}


def test_a_program_that_is_not_installed_says_how_to_get_it(boxed: World) -> None:
    fault = boxed.fault(working, program="no-such-program-anywhere")
    assert fault.cause == "unavailable"
    assert Tiny.install in str(fault)


def test_where_there_is_no_sandbox_there_is_no_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raysearch.testing.workspace import FolderWorkspace

    monkeypatch.setenv("TINY_AGENT_KEY", KEY)
    agent = Tiny(program=sys.executable)
    with pytest.raises(SandboxFault, match="needs a sandbox"):
        agent.ask(FolderWorkspace.make(tmp_path, {"x.txt": "5"}), WORK)
    agent.close()


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "api.example.com"},
        {"base_url": "ftp://api.example.com"},
        {"base_url": "http://"},
        {"turns_max": 0},
        {"memory_mb": 1},
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Tiny(**options)


def test_an_mcp_server_needs_a_plain_name(boxed: World) -> None:
    fault = boxed.fault(working, replace(WORK, servers=(McpServer("a.b", ("true",)),)))
    assert fault.cause == "unavailable"
