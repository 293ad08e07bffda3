"""Mutators, judges and agents that file on the board, each in its own way."""

from __future__ import annotations

import random
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import mcp.client.stdio
from mcp import StdioServerParameters
from mcp.client import Client
from toys import Step

from raysearch.agents.interface import AgentFault, Answered, Call, Reply
from raysearch.board.desk import Desk
from raysearch.protocols import Workspace
from raysearch.types import Brief, Mutation, Verdict

FILE = str(Path(__file__).resolve())
Action = tuple[str, dict[str, Any]]


def called(transport: Any, actions: Sequence[Action]) -> int:
    """How many of ``actions`` were taken."""

    async def call() -> int:
        async with Client(transport) as client:
            answers = [await client.call_tool(name, arguments) for name, arguments in actions]
        return sum(not answer.is_error for answer in answers)

    return anyio.run(call)


def by_process(desk: Desk, actions: Sequence[Action]) -> int:
    """The same through a ``raysearch-issue-mcp`` of one's own."""
    program = shutil.which("raysearch-issue-mcp", path=str(Path(sys.executable).parent))
    assert program is not None
    words = [str(desk.snapshot), f"--outbox={desk.outbox}", f"--role={desk.author.role}", f"--name={desk.author.name}"]
    return called(mcp.client.stdio.stdio_client(StdioServerParameters(command=program, args=words)), actions)


class StepsAndFiles(Step):
    """Comments on issue 1, if there is one by now, and says how often it could."""

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        made = super().mutate(workspace, brief, rng)
        assert workspace.desk is not None
        said = [("comment_issue", {"issue": "1", "text": f"{workspace.desk.author}: {n}"}) for n in range(3)]
        return Mutation(f"{made.summary}; filed {by_process(workspace.desk, said)}")


class Doubts:
    """Files a bug about every program, and passes it."""

    def judge(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Verdict:
        assert workspace.desk is not None
        title = f"{workspace.desk.author} is odd"
        bug = [("create_issue", {"kind": "bug", "title": title}), ("comment_issue", {"issue": "new-1", "text": "look"})]
        return Verdict(True, f"filed {by_process(workspace.desk, bug)}")


class Slow(Step):
    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        time.sleep(0.2)
        return super().mutate(workspace, brief, rng)


class Asks:
    """An agent that files through the server that it was offered; then it breaks, if told so."""

    def __init__(self, breaks: bool = False) -> None:
        self.breaks = breaks
        self.calls: list[Call[Any]] = []

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        self.calls.append(call)
        actions: list[Action] = [("create_issue", {"kind": "bug", "title": f"a {call.role} wonders"})]
        if call.schema is None:
            actions.insert(0, ("comment_issue", {"issue": "1", "text": "I am on it"}))
        for server in call.servers:
            called(server.url, actions)
        if self.breaks:
            raise AgentFault("it went away", cause="failed")
        if call.schema is not None:
            return Reply("{}", value=call.schema.model_validate({"passed": True}))
        file = workspace.path / "x.txt"
        file.write_text(f"{float(file.read_text()) + 0.5:g}\n")
        return Reply("SUMMARY: half more")
