"""What an agent is asked, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

from raysearch.errors import Fault
from raysearch.protocols import Workspace
from raysearch.types import Usage

Answered = TypeVar("Answered", bound=BaseModel)


class Permission(StrEnum):
    """What an agent may do to the program's files while it answers."""

    EDIT = "edit"
    """Change files of the program and run commands."""
    READ = "read"
    """Look at files and run commands that change nothing."""
    NONE = "none"
    """Answer from the prompt alone."""


SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
"""What an MCP server can be called, so that every agent can say it."""


@dataclass(frozen=True, slots=True)
class McpServer:
    """A Model Context Protocol server that the agent may call: a command (stdio) or an address (streamable HTTP)."""

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call(Generic[Answered]):
    """One question to an agent."""

    role: str
    """Who it is to be: ``implementer``, ``judge``, ``planner``, ...; names the transcript, too."""
    prompt: str
    system: str = ""
    permission: Permission = Permission.EDIT
    schema: type[Answered] | None = None
    """What the reply must be; without one any text will do."""
    session: str = ""
    """A session of an earlier reply of this role, to go on with; empty for a new one."""
    keep: bool = False
    """Whether it may be gone on with by another worker, too: the conversation is kept among the job's artifacts."""
    skills: tuple[Path, ...] = ()
    """Agent Skills folders (each holds a SKILL.md) that the agent should discover; never part of the commit."""
    servers: tuple[McpServer, ...] = ()
    timeout_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class Reply(Generic[Answered]):
    """What an agent answered. Its claims are notes, never scores."""

    text: str
    value: Answered | None = None
    """The reply, validated, where the call had a schema."""
    usage: Usage = Usage()
    session: str = ""
    transcript: Path | None = None
    """Below `Workspace.artifacts`."""


Cause = Literal["failed", "refused", "time", "budget", "limited", "unreadable", "cancelled", "unavailable"]


class AgentFault(Fault):
    """An agent gave no usable reply. ``usage`` is what it cost all the same; ``cause`` says which kind it is.

    ``failed`` (its program or the API broke), ``refused`` (the model declined), ``time``, ``budget`` (its allowance
    is spent), ``limited`` (the provider's rate limit, retries used up), ``unreadable`` (no reply that fits the
    schema, even after a repair turn), ``cancelled``, ``unavailable`` (no program, no key). Only ``limited``,
    ``failed`` and ``unavailable`` may go better at another time.
    """

    def __init__(
        self, message: str, usage: Usage | None = None, *, cause: Cause = "failed", transcript: Path | None = None
    ) -> None:
        super().__init__(message, usage)
        self.cause = cause
        self.transcript = transcript
        self.retryable = cause in {"limited", "failed"}


class Agent(Protocol):
    """Answers calls, one at a time. Built once in a worker; may be a context manager."""

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        """Answer ``call``, in ``workspace``, within its time and ``workspace.allowance``. Raises AgentFault.

        With `Permission.EDIT` the program's files are left as the agent made them. The transcript is kept below
        ``workspace.artifacts`` whatever happens.
        """
        ...
