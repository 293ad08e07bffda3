"""What is said to a model and what it answers, in no provider's dialect."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from raysearch.types import Usage

Stop = Literal["end", "tools", "length", "refused", "window"]
"""Why a model stopped: it was done, it wants tools run, its answer or the window was full, it declined."""
ErrorKind = Literal["failed", "limited", "rejected", "window", "unavailable", "time"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool run. ``arguments`` is None where ``raw``, what it passed, is no JSON object."""

    id: str
    name: str
    arguments: Mapping[str, Any] | None
    raw: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered to the call of that id."""

    id: str
    name: str
    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One side's contribution; the user's side carries the results of tools."""

    role: Literal["user", "assistant"]
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    wire: object = None
    """An assistant's message as its provider sent it (thoughts and signatures included), to be handed back so."""

    @property
    def length(self) -> int:
        """Characters, those of calls and results included."""
        return (
            len(self.text)
            + sum(len(call.name) + len(call.raw) for call in self.calls)
            + sum(len(result.text) for result in self.results)
        )


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool on offer; ``schema`` is the JSON schema of its arguments, an object."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    """All that a model is shown, and how it is to answer."""

    messages: tuple[Message, ...] = ()
    system: str = ""
    tools: tuple[Tool, ...] = ()
    tools_allowed: bool = True
    """False: the tools stay described, but the model must answer without them."""
    schema: Mapping[str, Any] | None = None
    """The JSON schema that the text of the answer must match."""
    output_max: int = 16_384
    """Most tokens of an answer, thinking included."""
    effort: str = ""
    """How hard to think, in the provider's own words; empty: its default."""
    key: str = ""
    """Names the conversation for the provider's prompt cache."""

    def plus(self, message: Message) -> Conversation:
        """One message more; what the user's side says twice in a row is one message."""
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != message.role or message.role == "assistant":
            return replace(self, messages=(*self.messages, message))
        text = "\n\n".join(part for part in (last.text, message.text) if part)
        both = Message("user", text, results=(*last.results, *message.results))
        return replace(self, messages=(*self.messages[:-1], both))

    @property
    def length(self) -> int:
        """Characters of all that is shown."""
        offered = sum(len(tool.description) + len(json.dumps(dict(tool.schema))) for tool in self.tools)
        return len(self.system) + offered + sum(message.length for message in self.messages)


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer.

    ``usage`` has the tokens of this answer and one call; its cost is not filled in. ``written`` are those of its
    input tokens that were put into the provider's cache.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    stop: Stop = "end"
    usage: Usage = Usage()
    written: int = 0
    wire: object = None

    @property
    def message(self) -> Message:
        return Message("assistant", self.text, self.calls, wire=self.wire)


class ProviderError(Exception):
    """No answer, or none that could be read.

    ``failed`` and ``limited`` may go better when tried again, ``limited`` after ``retry_after_s``; ``rejected``: the
    request itself is at fault; ``window``: it is too long for the model; ``unavailable``: no key, no right, no money,
    no such model; ``time``: the time given was up. ``heard`` is how many characters of an answer had come by then,
    None if not even its beginning; ``usage`` what the provider had said of its cost.
    """

    def __init__(
        self,
        message: str,
        kind: ErrorKind = "failed",
        *,
        retry_after_s: float | None = None,
        heard: int | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.heard = heard
        self.usage = usage or Usage()


class Provider(Protocol):
    """One model of one provider, ready to be asked."""

    @property
    def model(self) -> str: ...
    @property
    def window_tokens(self) -> int:
        """Most tokens of input and output together."""
        ...

    def keeps_schema(self, tools: bool) -> bool:
        """Whether answers are held to `Conversation.schema` by the provider, where tools are on offer or not."""
        ...

    def complete(self, conversation: Conversation, *, timeout_s: float) -> Turn:
        """The model's answer to the conversation, once, within ``timeout_s``. Raises ProviderError."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Call:
    """A call of a tool that is still coming in, piece by piece."""

    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    def done(self, number: int) -> ToolCall:
        """The whole; where a server gave no id, one made from its ``number`` in the answer."""
        return tool_call(self.id or f"call-{number}", self.name, "".join(self.pieces))


def tool_call(id_: str, name: str, raw: str) -> ToolCall:
    """A call whose arguments came as text."""
    raw = clean(raw)
    try:
        arguments = cleaned(json.loads(raw)) if raw.strip() else {}
    except (ValueError, RecursionError):
        arguments = None
    return ToolCall(id_, name, arguments if isinstance(arguments, dict) else None, raw)


def clean(text: str) -> str:
    """``text`` as it can be sent anywhere: no half of a surrogate pair, no NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def cleaned(value: Any, depth: int = 64) -> Any:
    """A JSON value of clean texts (`clean`) and finite numbers. Raises ValueError if it is nested more deeply."""
    if depth < 0:
        raise ValueError("it is nested too deeply")
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [cleaned(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {clean(str(key)): cleaned(item, depth - 1) for key, item in value.items()}
    return value


_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """``text`` without what would steer a terminal; lines end in a newline only."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))
