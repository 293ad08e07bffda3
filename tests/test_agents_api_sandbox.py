"""The agent with tools in a real sandbox: what its commands change, see and cannot reach."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from api_agents import READ
from test_sandbox import needs_bubblewrap
from toys import make_target

from raysearch.agents.api.toolloop import ToolLoop
from raysearch.agents.interface import Call
from raysearch.config.targets import load_target
from raysearch.repository import Repository
from raysearch.sandbox import open_sandbox
from raysearch.testing.models import Conversation, ModelServer, ToolCall, Turn
from raysearch.testing.workspace import write_files
from raysearch.workspace import Checkout

pytestmark = needs_bubblewrap
COMMANDS = (
    "echo 7 > x.txt; echo kept > $SCRATCH/notes; cat $REFERENCE/x.txt",
    "cat $SCRATCH/notes; ls -d $TARGET/hidden; ls $TARGET; echo no > $TARGET/reference/x.txt",
    "cat /etc/shadow; ls /root; env | grep -c _KEY; (echo > /dev/tcp/127.0.0.1/80) 2>&1; nohup sleep 300 &",
)


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
    sandbox = open_sandbox("bubblewrap", run=f"api-{uuid.uuid4().hex}")
    workspace = Checkout(program, commit, scratch, target, repository, sandbox, kept=tmp_path / "artifacts")
    search = ToolCall("search", {"pattern": "42", "where": "@target"})
    calls = (*(ToolCall("run_command", {"command": command}) for command in COMMANDS), search)
    look = ToolCall("run_command", {"command": "echo 9 > x.txt"})
    turns = [Turn(calls=calls), Turn("Done.")], [Turn(calls=(look,)), Turn("Seen.")]
    with (
        ModelServer(lambda request: Conversation(turns[request.prompt == "Look."])(request)) as server,
        ToolLoop("claude-haiku-4-5", base_url=server.url) as agent,
    ):
        assert agent.ask(workspace, Call("implementer", "Improve it.")).text == "Done."
        told = [result.text for result in server.requests[1].results]
        assert (program / "x.txt").read_text() == "7\n"
        assert told[0].endswith("\n10")
        assert "kept" in told[1]
        assert ("/hidden: No such file" in told[1].replace("'", "")) or not hides
        assert "Read-only file system" in told[1] or "Permission denied" in told[1]
        assert "root:" not in told[2]
        assert "\n0\n" in told[2]
        assert "No such file" in told[2]
        assert told[3] == "no match\n"
        assert (target.reference / "x.txt").read_text() == "10\n"
        assert agent.ask(workspace, Call("judge", "Look.", permission=READ)).text == "Seen."
        assert (program / "x.txt").read_text() == "7\n"
