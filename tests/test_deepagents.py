"""The agent that drives the package deepagents, over LangChain and loopback, in every dialect."""

from __future__ import annotations

import os
import threading
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from api_agents import DIALECTS, NONE, READ, Asked, Opinion, asked
from test_sandbox import needs_bubblewrap
from toys import make_target

from raysearch.agents.api.deepagents import DeepAgent
from raysearch.agents.api.pacing import RealPace
from raysearch.agents.interface import AgentFault, Call, McpServer
from raysearch.config.layers import configure, flag_override
from raysearch.config.targets import load_target
from raysearch.errors import ConfigError
from raysearch.plugins import known_names
from raysearch.repository import Repository
from raysearch.run.agents import written_out
from raysearch.sandbox import open_sandbox
from raysearch.served.addresses import Addresses, write
from raysearch.testing.models import (
    SERVER_ERROR,
    Conversation,
    Drop,
    Hang,
    HttpError,
    ModelServer,
    Request,
    Tokens,
    ToolCall,
    Turn,
    key_digest,
)
from raysearch.testing.workspace import FolderWorkspace, write_files
from raysearch.types import Allowance
from raysearch.workspace import Checkout

pytest.importorskip("deepagents", reason="the extra is not installed: pip install 'raysearch[deepagents]'")
pytest.importorskip("langchain_openai", reason="the extra is not installed: pip install 'raysearch[deepagents]'")
ALL = pytest.mark.parametrize("dialect", DIALECTS)
CHANGE = ToolCall("edit_file", {"file_path": "/answer.py", "old_string": "VALUE = 3", "new_string": "VALUE = 41"})
LOOK = ToolCall("read_file", {"file_path": "/answer.py"})


def run(command: str, **given: Any) -> ToolCall:
    return ToolCall("execute", {"command": command, **given})


def told(it: Asked, number: int = 1) -> list[str]:
    """What the model was told of its tools by its n-th request."""
    return [result.text for result in it.server.requests[number].results]


@ALL
def test_edits_a_file_and_sums_up_what_it_cost(tmp_path: Path, dialect: str) -> None:
    counts = [Tokens(prompt=1000, written=800, output=50), Tokens(prompt=1100, cached=800, output=20)]
    turns = [
        Turn("Look.", calls=(LOOK, run("cat notes.txt; exit 3")), tokens=counts[0]),
        Turn("Now.", calls=(CHANGE,), tokens=counts[1]),
        Turn("It is nearer to 42.", tokens=counts[1]),
    ]
    with asked(tmp_path, Conversation(turns), "deepagents", dialect) as it:
        reply = it.ask(system="You improve programs.")
        assert it.file() == "VALUE = 41\n"
        assert reply.text == "It is nearer to 42."
        read, ran = told(it)
        assert read.endswith("VALUE = 3")
        assert "[exit status 3" in ran
        assert "fixed" in ran
        assert it.server.requests[0].system.startswith("You improve programs.")
        usage = reply.usage
        assert (usage.tokens_in, usage.tokens_cached, usage.tokens_out) == (3200, 1600, 90)
        assert (usage.calls, usage.turns, usage.model) == (3, 3, DIALECTS[dialect]["model"])
        if dialect == "anthropic":  # per million: 1 in, 0.1 cached, 1.25 written, 5 out
            assert usage.cost_usd == pytest.approx((800 * 1 + 1600 * 0.1 + 800 * 1.25 + 90 * 5) / 1e6)
        kinds = [line["kind"] for line in it.lines()]
        assert kinds == ["call", "asked", "asked", "turn", "tool", "tool", "turn", "tool", "turn", "ended"]
        assert it.lines()[-1]["how"] == "answered"


def test_files_are_those_of_the_program(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    files = {"answer.py": "a = 1\nb = 1\n", "notes.txt": "fixed\n", "sub/one.py": "a = 2\n", "sub/two.py": ""}
    calls = (
        run(f"ln -s {secret} out.py; ln -s / all; ln -s answer.py in.py"),
        ToolCall("read_file", {"file_path": "/out.py"}),
        ToolCall("write_file", {"file_path": "/out.py", "content": "x"}),
        ToolCall("read_file", {"file_path": "/all/etc/hostname"}),
        ToolCall("read_file", {"file_path": str(secret)}),
        ToolCall("write_file", {"file_path": "/other.txt", "content": "mine"}),
        ToolCall("write_file", {"file_path": "/../escaped.py", "content": "x"}),
        ToolCall("edit_file", {"file_path": "/answer.py", "old_string": "c", "new_string": "d"}),
        ToolCall("delete", {"file_path": "/notes.txt"}),
        ToolCall("ls", {"path": "/"}),
        ToolCall("glob", {"pattern": "*.py"}),
        ToolCall("grep", {"pattern": "a = ", "output_mode": "content"}),
        ToolCall("read_file", {"file_path": "/@reference/answer.py"}),
        ToolCall("grep", {"pattern": "VALUE", "path": "/@reference", "output_mode": "content"}),
        ToolCall("read_file", {"file_path": "/@target/../../etc/passwd"}),
    )
    # What changes files comes alone: several changes of one file in an answer are refused by the package itself.
    edit = ToolCall(
        "edit_file", {"file_path": "/answer.py", "old_string": "= 1", "new_string": "= 7", "replace_all": True}
    )
    turns = [Turn(calls=calls), Turn(calls=(edit,)), Turn(calls=(ToolCall("delete", {"file_path": "/sub"}),))]
    with asked(tmp_path / "it", Conversation([*turns, Turn("Done.")]), "deepagents", files=files) as it:
        it.ask()
        said = told(it)
        assert "leads out" in said[1]
        assert "leads out" in said[2]
        assert secret.read_text() == "secret"
        assert "leads out" in said[3]
        assert "no file" in said[4]
        assert "may not change; only *.py may" in said[5]
        assert "traversal" in said[6]
        assert "old does not stand in answer.py" in said[7]
        assert "may not change" in said[8]
        assert all(name in said[9] for name in ("answer.py", "notes.txt", "/sub/", "/@target/", "/@reference/"))
        assert "/sub/one.py" in said[10]
        assert "notes" not in said[10]
        assert "/sub/one.py" in said[11]
        assert "a = 2" in said[11]
        assert "VALUE = 0" in said[12]
        assert "/@reference/answer.py" in said[13]
        assert "root:" not in said[14]
        assert it.file() == "a = 7\nb = 7\n"
        assert it.file("notes.txt") == "fixed\n"
        assert not (it.workspace.path / "sub/one.py").exists()
        assert not (tmp_path / "escaped.py").exists()


def test_who_only_looks_is_offered_no_more(tmp_path: Path) -> None:
    turns = [Turn(calls=(ToolCall("write_file", {"file_path": "/answer.py", "content": "x"}), LOOK)), Turn("Seen.")]
    with asked(tmp_path, Conversation(turns), "deepagents") as it:
        assert it.ask(permission=READ).text == "Seen."
        names = {tool.name for tool in it.server.requests[0].tools}
        assert names == {"ls", "read_file", "glob", "grep", "execute", "task"}
        assert "not a valid tool" in told(it)[0]
        assert it.file() == "VALUE = 3\n"
    with asked(tmp_path / "none", [Turn("So be it.")], "deepagents") as it:
        assert it.ask(permission=NONE).text == "So be it."
        assert not it.server.requests[0].tools


@pytest.mark.parametrize(
    ("allowance", "said"),
    [
        (Allowance(calls=2), "all 2 calls of the model are used up"),
        (Allowance(tokens=4000), "of 4000 tokens"),
        (Allowance(cost_usd=0.005), "of $0.0050"),
    ],
)
def test_the_budget_stops_it(tmp_path: Path, allowance: Allowance, said: str, caplog: pytest.LogCaptureFixture) -> None:
    turn = Turn(calls=(run("true"),), tokens=Tokens(prompt=1500, output=100))
    with asked(tmp_path, lambda _: turn, "deepagents", allowance=allowance) as it:
        fault = it.fault()
        assert fault.cause == "budget"
        assert said in str(fault)
        assert len(it.server.requests) == fault.usage.calls == 2
        assert fault.usage.cost_usd == pytest.approx(2 * (1500 + 500) / 1e6)
        most = [request.body["max_tokens"] for request in it.server.requests]
        assert (most[0] > most[1]) == (allowance.calls is None)
        assert it.lines()[-1]["how"].startswith("budget: ")
        assert not caplog.records


def test_subagents_and_summaries_are_on_the_account(tmp_path: Path) -> None:
    """One model plays all of them, and is told apart by what it is asked."""

    def script(request: Request) -> Turn:
        prompt = request.messages[0].text
        if "Find out" in prompt:
            return Turn("It is 3.") if request.results else Turn(calls=(LOOK,))
        if not request.results:
            return Turn(calls=(ToolCall("task", {"description": "Find out", "subagent_type": "general-purpose"}),))
        return Turn("The helper says 3.")

    with asked(tmp_path, script, "deepagents") as it:
        reply = it.ask()
        assert reply.text == "The helper says 3."
        assert reply.usage.calls == len(it.server.requests) == 4
        assert [line["name"] for line in it.lines() if line["kind"] == "tool"] == ["read_file", "task"]
    with asked(tmp_path / "few", script, "deepagents", turns_max=2) as it:
        fault = it.fault()
        assert "not done after 2 answers" in str(fault)
        assert (fault.cause, fault.retryable, fault.usage.turns) == ("failed", False, 2)


def test_a_long_conversation_is_summed_up_within_the_account(tmp_path: Path) -> None:
    looks = iter(range(9))

    def script(request: Request) -> Turn:
        if not request.tools:
            return Turn("They looked at files.", tokens=Tokens(prompt=500, output=10))
        if next(looks) < 8:
            return Turn("x" * 8000, calls=(LOOK,), tokens=Tokens(prompt=9000, output=2000))
        return Turn("Done.")

    with asked(tmp_path, script, "deepagents", window_tokens=16_000, output_tokens_max=1000) as it:
        reply = it.ask()
        summaries = [request for request in it.server.requests if not request.tools]
        assert summaries
        assert reply.text == "Done."
        assert reply.usage.calls == len(it.server.requests)
        assert sorted(path.name for path in it.workspace.path.iterdir()) == ["answer.py", "notes.txt"]


@ALL
def test_a_server_that_stands_still_is_left_in_time(tmp_path: Path, dialect: str) -> None:
    turns = [Turn("Hello."), Turn("word " * 50, fault=Hang(0.5)), Turn(fault=Hang())]
    with asked(tmp_path, turns, "deepagents", dialect) as it:
        it.agent.pace = RealPace()
        it.ask(permission=NONE)  # which takes a while, the first time
        for number in (2, 3):
            fault = it.fault(permission=NONE, timeout_s=0.5)
            assert fault.cause == "time"
            assert not fault.retryable
            assert fault.usage.calls == 1
            assert it.lines(number)[-1]["kind"] == "ended"


def test_a_server_that_only_drips_is_left_in_time(tmp_path: Path) -> None:
    """Every piece comes long before a read would time out; all of them would take a minute."""

    class Drips(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "500")
            self.end_headers()
            with suppress(OSError):
                while not ended.wait(0.1):
                    self.wfile.write(b" ")

        def log_message(self, *said: object) -> None: ...

    ended = threading.Event()
    workspace = FolderWorkspace.make(tmp_path, {"answer.py": ""})
    with ThreadingHTTPServer(("127.0.0.1", 0), Drips) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with (
            DeepAgent("claude-haiku-4-5", base_url=f"http://127.0.0.1:{server.server_port}") as agent,
            pytest.raises(AgentFault) as caught,
        ):
            agent.ask(workspace, Call("implementer", "Hello?", permission=NONE, timeout_s=1.0))
        ended.set()
        server.shutdown()
    assert caught.value.cause == "time"
    assert caught.value.usage.calls == 1


def test_time_is_up_between_answers_too(tmp_path: Path) -> None:
    """The clock of these tests moves when someone sleeps, here the server that is asked."""

    def script(_: Request) -> Turn:
        it.pace.sleep(60)
        return Turn(calls=(CHANGE,))

    with asked(tmp_path, script, "deepagents") as it:
        assert it.fault(timeout_s=100).cause == "time"
        assert len(it.server.requests) == 2
        assert it.lines()[-1]["how"].startswith("time: ")
    with asked(tmp_path / "tool", [Turn(calls=(run("sleep 60", timeout=1),)), Turn("Ok.")], "deepagents") as it:
        it.ask()
        assert "ended by the limit on time of 1 s" in told(it)[0]


@ALL
def test_failures_are_tried_again_and_then_given_up(tmp_path: Path, dialect: str) -> None:
    with asked(tmp_path, [Turn(fault=SERVER_ERROR), Turn(fault=Drop()), Turn("Hello.")], "deepagents", dialect) as it:
        assert it.ask(permission=NONE).text == "Hello."
        assert len(it.pace.slept) == 2
    cases = {429: "limited", 401: "unavailable", 400: "failed", 500: "failed"}
    for status, cause in cases.items():
        script = lambda _, status=status: Turn(fault=HttpError(status))  # noqa: E731
        with asked(tmp_path / str(status), script, "deepagents", dialect, retries_max=1) as it:
            fault = it.fault(permission=NONE)
            assert (status, fault.cause) == (status, cause)
            assert fault.retryable == (status in {429, 500})
            assert len(it.server.requests) == (2 if status in {429, 500} else 1)
            assert fault.usage.calls == 0


@ALL
def test_a_reply_of_the_wrong_form_costs_a_repair_turn(tmp_path: Path, dialect: str) -> None:
    texts = ["I think it is fine.", 'Here: {"passed": "perhaps"}']
    with asked(tmp_path, [Turn(texts[0]), Turn('```json\n{"passed": true}\n```')], "deepagents", dialect) as it:
        assert it.ask(schema=Opinion, permission=READ).value == Opinion(passed=True)
        assert "could not be read: it is no JSON" in it.server.requests[1].prompt
    with asked(tmp_path / "again", [Turn(text) for text in texts], "deepagents", dialect) as it:
        fault = it.fault(schema=Opinion, permission=NONE)
        assert fault.cause == "unreadable"
        assert "passed: Input should be a valid boolean" in str(fault)
        assert fault.usage.calls == 2


@ALL
def test_a_model_that_declines(tmp_path: Path, dialect: str) -> None:
    with asked(tmp_path, [Turn("I must not.", stop="refusal")], "deepagents", dialect) as it:
        fault = it.fault()
        assert fault.cause == "refused"
        assert fault.usage.calls == 1


def test_sessions_go_on_and_skills_are_found(tmp_path: Path) -> None:
    skill = tmp_path / "skills" / "profiling"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: profiling\ndescription: How to find what is slow\n---\nUse perf.\n")
    open_it = ToolCall("read_file", {"file_path": "/@skills/profiling/SKILL.md"})
    with asked(tmp_path / "it", [Turn(calls=(open_it,)), Turn("Read."), Turn("As I said.")], "deepagents") as it:
        first = it.ask("Look.", skills=(skill,))
        assert "How to find what is slow" in it.server.requests[0].system
        assert "Use perf." in told(it)[0]
        second = it.ask("And why?", session=first.session)
        assert second.session == first.session
        assert [m.role for m in it.server.requests[2].messages] == ["user", "assistant", "tool", "assistant", "user"]


@ALL
def test_keys_go_to_the_server_alone(tmp_path: Path, dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, other = "sk-planted-0123456789abcdef", "sk-other-0123456789abcdef"
    monkeypatch.setenv("MY_SECRET_KEY", key)
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, other)
    turns = [Turn(f"It is {key}.", calls=(run("env"),)), Turn(fault=HttpError(401, f"the key {key} is not known"))]
    with asked(tmp_path, Conversation(turns), "deepagents", dialect, key_from="MY_SECRET_KEY") as it:
        fault = it.fault(f"Here: {key}")
        assert it.server.requests[0].key == key_digest(key)
        assert key not in str(fault)
        said = [path.read_text() for path in it.workspace.artifacts.iterdir()]
        assert said
        assert all(key not in text and other not in text for text in said)
        assert any("[redacted]" in text for text in said)
        assert key not in it.server.requests[1].results[0].text
    with asked(tmp_path / "none", [Turn("Hello.")], "deepagents", dialect) as it:
        it.ask(permission=NONE)
        assert it.server.requests[0].key == key_digest("none")


def test_what_cannot_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    workspace = FolderWorkspace.make(tmp_path / "it", {"answer.py": ""})
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"model": "claude-haiku-4-5"}, {}, "no key for claude-haiku-4-5: set ANTHROPIC_API_KEY"),
        ({"model": "gemini-2.5-pro", "provider": "vertex"}, {}, "vertex cannot be asked"),
        ({"model": "claude-haiku-4-5"}, {"servers": (McpServer("board", ("x",)),)}, "board"),
        ({"model": "claude-haiku-4-5", "base_url": "http://127.0.0.1:1", "effort": "wild"}, {}, "wild"),
    ]
    for options, call, said in cases:
        with DeepAgent(**options) as agent, pytest.raises(AgentFault, match=said) as caught:
            agent.ask(workspace, Call("implementer", "Improve it.", **call))
        assert caught.value.cause == "unavailable"


def test_a_server_of_the_run_is_asked(tmp_path: Path) -> None:
    workspace = FolderWorkspace.make(tmp_path / "it", {"answer.py": "VALUE = 3\n"})
    with ModelServer([Turn("Hello.")]) as server:
        write(tmp_path / "servers.json", {"mine": Addresses("llama", (server.url,), window_tokens=8000)})
        with DeepAgent(server="mine", server_file=str(tmp_path / "servers.json")) as agent:
            reply = agent.ask(workspace, Call("implementer", "Improve it.", permission=NONE))
            assert (reply.text, reply.usage.model, reply.usage.cost_usd) == ("Hello.", "llama", 0.0)


@needs_bubblewrap
@pytest.mark.parametrize("hides", [False, True])
def test_commands_in_the_sandbox(tmp_path: Path, hides: bool) -> None:
    target = load_target(make_target(tmp_path / "target"))
    if hides:
        write_files(tmp_path / "target" / "accuracy_checker" / "hidden", {"answers.txt": "42\n"})
        write_files(tmp_path / "target" / "hidden", {"answers.txt": "42\n"})
    program = write_files(tmp_path / "program", {"x.txt": "5\n"})
    repository, scratch = Repository.create(tmp_path / "run"), tmp_path / "scratch"
    scratch.mkdir()
    commit = repository.commit(repository.write_tree(program), (), "a program", 0.0)
    sandbox = open_sandbox("bubblewrap", run=f"deep-{uuid.uuid4().hex}")
    workspace = Checkout(program, commit, scratch, target, repository, sandbox, kept=tmp_path / "artifacts")
    calls = (
        run("echo 7 > x.txt; cat $REFERENCE/x.txt; ls $TARGET; ls -d $TARGET/hidden; echo no > $TARGET/new"),
        run("cat /etc/shadow; ls /root; env | grep -c _KEY; (echo > /dev/tcp/127.0.0.1/80) 2>&1"),
        ToolCall("grep", {"pattern": "42", "path": "/@target", "output_mode": "content"}),
        ToolCall("read_file", {"file_path": "/@target/hidden/answers.txt"}),
    )
    turns = [Turn(calls=calls), Turn("Done.")], [Turn(calls=(run("echo 9 > x.txt"),)), Turn("Seen.")]
    with (
        ModelServer(lambda request: Conversation(turns["Look." in request.messages[0].text])(request)) as server,
        DeepAgent("claude-haiku-4-5", base_url=server.url) as agent,
    ):
        assert agent.ask(workspace, Call("implementer", "Improve it.")).text == "Done."
        said = [result.text for result in server.requests[1].results]
        assert (program / "x.txt").read_text() == "7\n"
        assert "\n10\n" in said[0]
        assert ("/hidden: No such file" in said[0].replace("'", "")) or not hides
        assert not (target.root / "new").exists()
        assert "root:" not in said[1]
        assert "\n0\n" in said[1]
        assert all("42" not in each for each in said[2:]) or not hides
        assert agent.ask(workspace, Call("judge", "Look.", permission=READ)).text == "Seen."
        assert (program / "x.txt").read_text() == "7\n"


def test_a_flag_names_it() -> None:
    def configured(**flags: str) -> Any:
        given = [flag_override(f"--{name.replace('_', '-')}", value) for name, value in flags.items()]
        return written_out(configure(None, given, known=known_names()))

    settings = configured(agent_backend="deepagents", model="claude-haiku-4-5").settings
    assert settings.run.mutators == ("deepagents",)
    assert settings.mutator["deepagents"].options == {"agent": "deepagents", "model": "claude-haiku-4-5"}
    with pytest.raises(ConfigError, match=r"--cli-provider.*'deepagents' has none"):
        configured(agent_backend="deepagents", cli_provider="codex")
