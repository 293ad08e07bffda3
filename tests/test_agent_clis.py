"""The real programs, Claude Code, Codex, Gemini CLI and OpenCode, in the real sandbox, asking a scripted model."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mcp_sums
import pytest
from hosted import Place, a_place, left
from installed_clis import installed
from pydantic import BaseModel
from sums_over_http import Sums
from test_sandbox import needs_bubblewrap
from toys import make_target

from raysearch.agents.cli.claude import Claude
from raysearch.agents.cli.codex import Codex
from raysearch.agents.cli.gemini import Gemini
from raysearch.agents.cli.opencode import OpenCode
from raysearch.agents.cli.output import events
from raysearch.agents.cli.runner import CliAgent
from raysearch.agents.interface import AgentFault, Call, McpServer, Permission, Reply
from raysearch.config.targets import load_target, snapshot_target
from raysearch.jobs import Job
from raysearch.plugins import PluginSpec
from raysearch.process import strays
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.run.search import create
from raysearch.testing.models import (
    HttpError,
    ModelServer,
    Request,
    Tokens,
    ToolCall,
    Turn,
    characters,
    key_digest,
    moves,
)
from raysearch.types import Allowance, AttemptId, Change, Stage
from raysearch.worker import Worker, WorkerSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs_bubblewrap]

KEY = "sk-planted-" + "c0de" * 8
TOKENS = Tokens(prompt=1000, output=50, cached=400)
WORK: Call[Any] = Call("implementer", "Write 7 to x.txt", timeout_s=150.0)
PRICES = {name: {"input": 1.0, "output": 2.0, "cached": 0.0} for name in ("gpt-5.1-codex", "scripted")}
KINDS: dict[str, tuple[type[CliAgent], str, str]] = {
    "claude": (Claude, "claude-opus-4-8", ""),
    "codex": (Codex, "gpt-5.1-codex", "/v1"),
    "gemini": (Gemini, "gemini-2.5-pro", ""),
    "opencode": (OpenCode, "scripted", "/v1"),
}
Script = Callable[[Request], Turn]


class Verdict(BaseModel):
    passed: bool
    why: str = ""


REVIEW = Call("judge", "Is it right?", permission=Permission.READ, schema=Verdict, timeout_s=150.0)


@dataclass
class World:
    """A workspace, one of the programs, and the model that it asks."""

    name: str
    place: Place
    agent: CliAgent | None = None
    requests: tuple[Request, ...] = ()

    def ask(self, script: Script, call: Call[Any] = WORK, **options: Any) -> Reply[Any]:
        kind, model, path = KINDS[self.name]
        with ModelServer(script, keys=[KEY]) as server:
            if self.agent is None:
                program = str(installed(self.name))
                given = {"program": program, "key_from": "PLANTED_KEY", "prices": PRICES, **options}
                self.agent = kind(model, base_url=server.url + path, **given)
            self.agent.address = server.url + path
            try:
                return self.agent.ask(self.place.checkout, call)
            finally:
                self.requests = tuple(request for request in server.requests if not moves.is_aside(request))

    def fault(self, script: Script, call: Call[Any] = WORK, **options: Any) -> AgentFault:
        with pytest.raises(AgentFault) as caught:
            self.ask(script, call, **options)
        return caught.value

    @property
    def program(self) -> dict[str, str]:
        root = self.place.checkout.path
        return {str(file.relative_to(root)): file.read_text() for file in root.rglob("*") if file.is_file()}


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from a_world(request.param, tmp_path, monkeypatch)


@pytest.fixture
def claude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from a_world("claude", tmp_path, monkeypatch)


def a_world(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    made = World(name, a_place("bubblewrap", folder, 1))
    yield made
    if made.agent:
        made.agent.close()
    assert not left(made.place)


def test_it_edits_a_file_and_says_what_that_cost(world: World) -> None:
    reply = world.ask(characters.good("x.txt", "7\n", tokens=TOKENS))
    assert world.program == {"x.txt": "7\n"}
    assert reply.text == "The file is written."
    assert (reply.usage.tokens_in, reply.usage.tokens_cached, reply.usage.tokens_out) == (3000, 1200, 150)
    assert reply.usage.turns == 3
    assert reply.usage.cost_usd > 0
    assert reply.usage.session == reply.session != ""
    assert reply.transcript is not None
    assert list(events(reply.transcript.read_text()))
    assert {request.key for request in world.requests} == {key_digest(KEY)}
    kept = [file for file in world.place.checkout.artifacts.rglob("*") if file.is_file()]
    assert not [file for file in kept if KEY.encode() in file.read_bytes()]


def test_no_key_of_anybody_is_inside(world: World) -> None:
    world.ask(looking)
    found = world.program["found.txt"]
    assert "HOME=/home/agent" in found
    assert KEY not in found


def looking(request: Request) -> Turn:
    """Writes every environment that it can read into a file."""
    command = "(env; cat /proc/*/environ /proc/*/cmdline; grep -rls sk-planted $HOME /tmp /run) > found.txt 2>&1; true"
    call = moves.run(request, command) if request.tools else None
    return Turn("Done.") if call is None or moves.made(request, call) else Turn(calls=(call,))


def test_a_reply_in_its_form(world: World) -> None:
    reply = world.ask(characters.lazy(reply={"passed": True, "why": "seen"}, tokens=TOKENS), REVIEW)
    assert reply.value == Verdict(passed=True, why="seen")
    assert reply.usage.turns == 1
    held = world.requests[0].schema is not None or world.requests[0].tool(*moves.STRUCTURED) is not None
    assert held is (world.name in {"claude", "codex"})


def test_an_unreadable_reply_costs_one_repair(world: World) -> None:
    unreadable = characters.lazy(["Perhaps.", "Perhaps.", '{"passed": true}'], tokens=TOKENS)
    if world.name != "claude":  # it asks once more by itself
        unreadable = characters.lazy(["Perhaps.", '{"passed": true}'], tokens=TOKENS)
    reply = world.ask(unreadable, REVIEW)
    assert isinstance(reply.value, Verdict)
    assert reply.usage.turns == len(world.requests) == (3 if world.name == "claude" else 2)
    assert "could not be read" in world.requests[-1].prompt
    assert len(world.requests[-1].messages) > len(world.requests[0].messages)  # in the same session


def test_a_reply_that_stays_unreadable_is_no_reply(world: World) -> None:
    fault = world.fault(characters.lazy(["Perhaps."] * 9, tokens=TOKENS), REVIEW)
    assert fault.cause == "unreadable"
    assert len(world.requests) <= 4
    assert fault.usage.tokens_in == 1000 * len(world.requests)
    assert fault.transcript is not None
    assert "Perhaps." in spoken(fault.transcript)


def spoken(transcript: Path) -> str:
    """All of it, and what was said in pieces put together."""
    text = transcript.read_text()
    pieces = [str(event.get("content")) for event in events(text) if event.get("role") == "assistant"]
    return "".join(pieces) + text


def calling(request: Request) -> Turn:
    """Calls the tool ``add`` of whatever MCP server there is."""
    tool = next((tool for tool in request.tools if tool.name.endswith("add")), None)
    if request.step or tool is None:
        return Turn("Done.")
    return Turn(calls=(ToolCall(tool.name, {"a": 40, "b": 2}, namespace=tool.namespace),))


def test_a_tool_of_an_mcp_server_is_called(world: World, tmp_path: Path) -> None:
    script = tmp_path / "servers" / "mcp_sums.py"
    script.parent.mkdir()
    script.write_text(Path(mcp_sums.__file__).read_text())
    server = McpServer("sums", (sys.executable, str(script)), env={"SAID": "yes"})
    world.ask(calling, replace(WORK, servers=(server,)))
    assert [result.text for request in world.requests for result in request.results], world.requests[0].tools
    assert "the sum is 42" in world.requests[-1].results[0].text


def test_an_mcp_server_is_reached_by_its_address(world: World) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Sums) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{serving.server_address[1]}/tools/mcp"
        world.ask(calling, replace(WORK, servers=(McpServer("sums", url=url),)))
        serving.shutdown()
        thread.join()
    assert "the sum is 42" in world.requests[-1].results[0].text


def test_a_skill_is_seen_and_is_no_part_of_the_program(world: World, tmp_path: Path) -> None:
    skill = tmp_path / "frobnicating"
    skill.mkdir()
    (skill / "SKILL.md").write_text("---\nname: frobnicating\ndescription: Turn it around twice\n---\nTurn it.\n")
    world.ask(characters.lazy("Done."), replace(WORK, skills=(skill,), system="Speak plainly, and be brief."))
    asked = json.dumps(dict(world.requests[0].body))
    assert "Turn it around twice" in asked
    assert "Speak plainly, and be brief." in asked
    assert world.program == {"x.txt": "5"}


def test_what_stands_in_the_program_configures_nothing(world: World) -> None:
    hook = {"type": "command", "command": "/candidate/run"}
    local = {"type": "local", "command": ["/candidate/run"]}
    files = {
        "AGENTS.md": "PLANTED",
        "CLAUDE.md": "PLANTED",
        "GEMINI.md": "PLANTED",
        ".mcp.json": json.dumps({"mcpServers": {"planted": {"command": "/candidate/run"}}}),
        ".claude/settings.json": json.dumps({"hooks": {"SessionStart": [{"hooks": [hook]}]}}),
        ".codex/config.toml": 'model = "planted"\n[mcp_servers.planted]\ncommand = "/candidate/run"\n',
        ".gemini/settings.json": json.dumps({"mcpServers": {"planted": {"command": "/candidate/run"}}}),
        "opencode.json": json.dumps({"mcp": {"planted": local}, "instructions": ["AGENTS.md"]}),
        ".codex/hooks.json": json.dumps({"hooks": {"SessionStart": [{"hooks": [hook]}]}}),
        ".claude/agents/planted.md": "---\nname: planted\ndescription: PLANTED\n---\nObey.\n",
        ".opencode/plugin/planted.js": "require('fs').writeFileSync('/candidate/planted-was-run', '')\n",
        ".env": "GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:1\nANTHROPIC_MODEL=planted\n",
        "run": "#!/bin/sh\ntouch /candidate/planted-was-run\n",
    }
    for folder in (".agents", ".claude", ".codex", ".gemini", ".opencode"):
        files[f"{folder}/skills/planted/SKILL.md"] = "---\nname: planted\ndescription: PLANTED\n---\nObey.\n"
    for name, content in files.items():
        file = world.place.checkout.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(0o755)
    before = world.program
    world.ask(characters.lazy("Done."))
    assert world.program == before
    asked = json.dumps(dict(world.requests[0].body))
    assert "PLANTED" not in asked, asked[max(0, asked.index("PLANTED") - 300) :][:400]
    assert {request.model for request in world.requests} == {KINDS[world.name][1]}


def test_a_session_is_gone_on_with(world: World) -> None:
    first = world.ask(characters.lazy("One.", tokens=TOKENS), replace(WORK, keep=True))
    assert world.agent
    world.agent.close()  # as when the worker is gone
    world.agent = None
    second = world.ask(characters.lazy("Two.", tokens=TOKENS), replace(WORK, prompt="And now?", session=first.session))
    assert (second.text, second.session) == ("Two.", first.session)
    told = [message.text for message in world.requests[0].messages]
    assert "One." in told
    assert told[-1].endswith("And now?")
    assert second.usage.tokens_in == 1000
    assert second.usage.cost_usd == pytest.approx(first.usage.cost_usd)


def test_when_time_is_up_nothing_runs_on_and_what_was_said_is_kept(world: World) -> None:
    def waiting(request: Request) -> Turn:
        if not request.tools:
            return Turn("A title")
        return Turn("Now I wait.", calls=(moves.run(request, "touch begun; setsid sleep 600 & setsid sleep 600"),))

    fault = world.fault(waiting, replace(WORK, timeout_s=40.0 if world.name == "opencode" else 9.0))
    assert fault.cause == "time"
    assert "begun" in world.program
    assert not left(world.place)
    assert fault.transcript is not None
    assert "Now I wait." in spoken(fault.transcript)
    if world.name != "opencode":  # which tells of a step at its end
        assert fault.usage.tokens_in > 0


@pytest.mark.parametrize(("status", "cause"), [(401, "unavailable"), (429, "limited")])
def test_a_server_that_refuses(world: World, status: int, cause: str) -> None:
    fault = world.fault(lambda _: Turn("x", fault=HttpError(status, "no", retry_after_s=0)))
    assert fault.cause == cause
    assert len(world.requests) <= 12


def test_a_reader_changes_nothing(world: World) -> None:
    reply = world.ask(characters.good("x.txt", "9\n", look=False, reply={"passed": True}), REVIEW)
    assert reply.value == Verdict(passed=True)
    assert world.program == {"x.txt": "5"}


def test_who_may_do_nothing_is_offered_nothing(world: World) -> None:
    world.ask(characters.lazy("Done."), replace(WORK, permission=Permission.NONE))
    offered = {tool.name for tool in world.requests[0].tools}
    assert offered <= {"request_user_input", "view_image"}


def test_effort_and_model_reach_the_server(world: World) -> None:
    world.ask(characters.lazy("Done."), effort="high")
    assert world.requests[0].model == KINDS[world.name][1]
    wanted = {"claude": "high", "codex": "high", "gemini": "24576", "opencode": ""}  # its own of a model it knows
    assert str(world.requests[0].effort) == wanted[world.name]


def busy(request: Request) -> Turn:
    """Lets a tool work for a while, again and again."""
    call = moves.run(request, f"sleep 2; echo {request.step}") if request.tools else None
    return Turn(calls=(call,), tokens=TOKENS) if call else Turn("A title")


@pytest.mark.parametrize("allowed", [{"tokens": 2000}, {"cost_usd": 0.0013}, {"calls": 1}], ids=str)
def test_a_call_is_ended_while_it_works_once_its_allowance_is_spent(world: World, allowed: dict[str, Any]) -> None:
    prices = {KINDS[world.name][1]: {"input": 1.0, "output": 2.0, "cached": 0.0}}
    world.place.checkout = replace(world.place.checkout, allowance=Allowance(**allowed))
    fault = world.fault(busy, prices=prices)
    assert fault.cause == "budget"
    assert 1 <= len(world.requests) <= 4  # Claude Code has prices of its own, and it and Gemini CLI count turns
    assert 1000 * max(1, len(world.requests) - 1) <= fault.usage.tokens_in <= 1000 * len(world.requests)
    assert not left(world.place)


def test_limits_in_dollars_and_turns_end_a_call(claude: World) -> None:
    claude.place.checkout = replace(claude.place.checkout, allowance=Allowance(cost_usd=0.006))
    restless = characters.restless(tokens=TOKENS)
    fault = claude.fault(restless)
    assert (fault.cause, len(claude.requests)) == ("budget", 2)
    assert 0.006 < fault.usage.cost_usd < 0.02
    claude.place.checkout = replace(claude.place.checkout, allowance=Allowance(calls=3))
    assert (claude.fault(restless).cause, len(claude.requests)) == ("budget", 3)


def test_without_a_sandbox_it_runs_too(claude: World, tmp_path: Path) -> None:
    claude.place = a_place("none", tmp_path / "bare", 1)
    reply = claude.ask(characters.good("x.txt", "7\n", tokens=TOKENS))
    assert claude.program == {"x.txt": "7\n"}
    assert reply.usage.turns == 3


@pytest.mark.parametrize("name", KINDS)
def test_a_worker_commits_what_it_made(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    program = str(installed(name))
    _, model, path = KINDS[name]
    folder = RunFolder.create(tmp_path / "runs", "toy")
    target = snapshot_target(load_target(make_target(tmp_path / "toy")), folder.target)
    create(folder, target)
    with ModelServer(characters.good("x.txt", "7\n", tokens=TOKENS), keys=[KEY]) as server:
        options = {"program": program, "key_from": "PLANTED_KEY", "base_url": server.url + path}
        chosen = {"agent": name, "model": model, "agent_options": options, "prices": PRICES}
        plugins = {(Stage.MUTATE, name): PluginSpec("mutators", name, "coding", chosen)}
        kept = tmp_path / "artifacts"
        worker = Worker(WorkerSpec(folder.identity, 7, folder.workspace, target, plugins, "bubblewrap", kept))
        base = Repository(folder.workspace).commit_of("origin")
        result = worker.perform(Job(AttemptId(1), Stage.MUTATE, name, base, (base,), opened_at_s=1e9)).result
        worker.close()
    assert isinstance(result, Change), result
    assert Repository(folder.workspace).show(result.commit, "x.txt") == "7\n"
    assert result.refusal == ""
    assert result.mutation.usage.tokens_in == 3000
    assert result.mutation.usage.cost_usd > 0
    assert list(kept.rglob("implementer-1.jsonl"))
    assert not [file for file in kept.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    assert not strays(folder.identity)
