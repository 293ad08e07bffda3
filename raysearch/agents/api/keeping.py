"""A conversation in a file, for the next worker that goes on with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raysearch.agents import sessions
from raysearch.agents.api.messages import Conversation, Message, ToolCall, ToolResult

SUFFIX = ".json"


def keep(artifacts: Path, session: str, conversation: Conversation) -> bool:
    """Write down what was said in ``session``; whether it could be, being small enough and of plain data.

    An answer as its provider sent it is kept where it is plain data; otherwise its text and calls are.
    """
    told = [{**asdict(message), "wire": _plain(message.wire)} for message in conversation.messages]
    if not any(message.text or message.calls for message in conversation.messages):
        return False  # of a package that has its own form of them
    text = json.dumps({"messages": told}, default=str)
    if len(text) > sessions.BYTES_MAX:
        return False
    file = artifacts / sessions.named(session, SUFFIX)
    part = file.with_suffix(".part")
    part.write_text(text, encoding="ascii")
    part.replace(file)
    return True


def kept(artifacts: Path, session: str) -> Conversation | None:
    """What was said in a session that was kept in this run; None if it is not there, or cannot be read."""
    file = sessions.found(artifacts, session, SUFFIX)
    try:
        told = json.loads(file.read_text(encoding="ascii")) if file else None
        return None if told is None else Conversation(tuple(map(_message, told["messages"])))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _message(told: Mapping[str, Any]) -> Message:
    return Message(
        told["role"],
        told["text"],
        tuple(ToolCall(**call) for call in told["calls"]),
        tuple(ToolResult(**result) for result in told["results"]),
        None if told["wire"] is None else tuple(told["wire"]),
    )


def _plain(wire: object) -> object:
    return list(wire) if isinstance(wire, tuple) and all(isinstance(item, dict) for item in wire) else None
