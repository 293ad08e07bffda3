"""What the tests of agents over APIs share: a scripted server, agents that ask it, and time that does not pass."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from raysearch.agents.api.agent import ApiAgent
from raysearch.agents.api.deepagents import DeepAgent
from raysearch.agents.api.diff import Diff
from raysearch.agents.api.rewrite import Rewrite
from raysearch.agents.api.toolloop import ToolLoop
from raysearch.agents.interface import AgentFault, Call, Permission, Reply
from raysearch.testing.models import ModelServer, Scripted
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import UNLIMITED, Allowance

DIALECTS: Mapping[str, Mapping[str, str]] = {
    "anthropic": {"model": "claude-haiku-4-5", "provider": "anthropic"},
    "openai": {"model": "gpt-6-luna", "provider": "openai", "path": "/v1"},
    "openai-chat": {"model": "llama", "provider": "openai-chat", "path": "/v1"},
    "gemini": {"model": "gemini-2.5-pro", "provider": "gemini"},
}
KINDS = {"agent": ToolLoop, "deepagents": DeepAgent, "diff": Diff, "rewrite": Rewrite}


class Opinion(BaseModel):
    """A reply that a judge might give."""

    passed: bool
    reasons: list[str] = []


@dataclass
class Still:
    """A clock that moves only when someone sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Asked:
    """A server, an agent that asks it, and the workspace that it does so in."""

    server: ModelServer
    agent: ApiAgent
    workspace: FolderWorkspace
    pace: Still

    def ask(self, prompt: str = "Improve it.", **call: Any) -> Reply[Any]:
        return self.agent.ask(self.workspace, Call("implementer", prompt, **call))

    def fault(self, prompt: str = "Improve it.", **call: Any) -> AgentFault:
        """The fault that asking ends in."""
        try:
            reply = self.ask(prompt, **call)
        except AgentFault as fault:
            return fault
        raise AssertionError(f"there is a reply: {reply}")

    def file(self, name: str = "answer.py") -> str:
        return (self.workspace.path / name).read_text()

    def lines(self, number: int = 1) -> list[dict[str, Any]]:
        """The transcript of the n-th call."""
        path = self.workspace.artifacts / f"implementer-{number}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


@contextmanager
def asked(
    root: Path,
    script: Scripted,
    kind: str = "agent",
    dialect: str = "anthropic",
    files: Mapping[str, str] | None = None,
    allowance: Allowance = UNLIMITED,
    **options: Any,
) -> Iterator[Asked]:
    """An agent that asks a server with ``script``; leaving raises what the script raised."""
    where = DIALECTS[dialect]
    workspace = FolderWorkspace.make(root, files or {"answer.py": "VALUE = 3\n", "notes.txt": "fixed\n"})
    workspace = replace(workspace, allowance=allowance)
    with ModelServer(script) as server:
        base_url = server.url + where.get("path", "")
        with KINDS[kind](where["model"], provider=where["provider"], base_url=base_url, **options) as agent:
            agent.pace = pace = Still()
            agent.rng = random.Random(1)
            yield Asked(server, agent, workspace, pace)


READ, NONE = Permission.READ, Permission.NONE
