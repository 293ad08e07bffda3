"""One start of a program: what it is started for, how, and what its output meant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysearch.agents.interface import Cause, McpServer, Permission
from raysearch.types import Usage

NO_KEY = "the-key-is-added-outside"
"""What a program gets in place of a key."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a program is started for."""

    prompt: str
    system: str
    permission: Permission
    session: str
    """A conversation to go on with, which its HOME holds; empty: a new one."""
    schema: Mapping[str, Any] | None
    """What the last word must be, where the program itself sees to that."""
    servers: tuple[McpServer, ...]
    url: str
    """The model's server, as the program reaches it."""
    folder: Path
    """New and empty; what is written there, the program can read under the same path."""
    cost_usd: float | None
    """What it may spend; None: any amount."""
    turns_max: int


@dataclass(frozen=True, slots=True)
class Start:
    """How to start it: arguments, variables beside the usual ones, and files of its HOME.

    ``output`` is a file below HOME that gets what it prints, where that is how it tells what it spends meanwhile.
    """

    arguments: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    output: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a program's output says. Without a word that all went well, it did not."""

    text: str = ""
    value: Mapping[str, Any] | None = None
    """The reply in its form, where the program saw to that."""
    usage: Usage = Usage()
    session: str = ""
    failure: str = "it ended before its reply was complete"
    """Empty: there is a reply."""
    cause: Cause = "failed"
    lost: bool = False
    """The conversation to go on with is not there."""


def toml(value: str) -> str:
    """A text as TOML has it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
