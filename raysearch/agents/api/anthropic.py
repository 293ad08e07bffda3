"""Claude, through Anthropic's SDK: its own service, and Vertex AI."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import anthropic

from raysearch.agents.api.failures import failure
from raysearch.agents.api.messages import (
    Conversation,
    Message,
    ProviderError,
    Stop,
    ToolCall,
    Turn,
    clean,
    cleaned,
    tool_call,
)
from raysearch.types import Usage

_STOPS: dict[str, Stop] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "pause_turn": "end",
    "tool_use": "tools",
    "max_tokens": "length",
    "refusal": "refused",
    "model_context_window_exceeded": "window",
}
_CACHED = {"type": "ephemeral"}


@dataclass(slots=True)
class Claude:
    """See `raysearch.agents.api.messages.Provider`."""

    client: anthropic.Anthropic | anthropic.AnthropicVertex
    model: str
    window_tokens: int = 200_000

    def keeps_schema(self, tools: bool) -> bool:  # noqa: ARG002 # with tools, too
        return True

    def complete(self, conversation: Conversation, *, timeout_s: float) -> Turn:
        heard = _Heard()
        try:
            with self.client.messages.create(**self._request(conversation), timeout=timeout_s) as events:
                for event in events:
                    heard.take(event)
            return heard.turn(self.model)
        except Exception as error:
            raise failure(error, heard.length, heard.usage(self.model)) from None

    def close(self) -> None:
        self.client.close()

    def _request(self, conversation: Conversation) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "max_tokens": conversation.output_max,
            "messages": _messages(conversation.messages),
            "stream": True,
        }
        if conversation.system:
            request["system"] = [{"type": "text", "text": conversation.system, "cache_control": _CACHED}]
        if conversation.tools:
            request["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": dict(tool.schema)}
                for tool in conversation.tools
            ]
            request["tool_choice"] = {"type": "auto" if conversation.tools_allowed else "none"}
        output: dict[str, Any] = {"effort": conversation.effort} if conversation.effort else {}
        if conversation.schema is not None:
            output["format"] = {"type": "json_schema", "schema": dict(conversation.schema)}
        if output:
            request["output_config"] = output
        return request


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The conversation in blocks; the last two of the user's side end what is worth caching.

    What went before the last message was cached when it was the last itself, and is found again that way.
    """
    sent: list[dict[str, Any]] = []
    for message in messages:
        blocks = list(_blocks(message))
        sent.append({"role": message.role, "content": blocks or [{"type": "text", "text": "(nothing)"}]})
    for message_sent in [each for each in sent if each["role"] == "user"][-2:]:
        message_sent["content"][-1] = {**message_sent["content"][-1], "cache_control": _CACHED}
    return sent


def _blocks(message: Message) -> Iterator[dict[str, Any]]:
    if isinstance(message.wire, tuple):
        yield from message.wire
        return
    for result in message.results:
        text = result.text or "(no output)"
        yield {"type": "tool_result", "tool_use_id": result.id, "content": text, "is_error": result.failed}
    if message.text.strip():
        yield {"type": "text", "text": message.text}
    for call in message.calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments or {})}


@dataclass(slots=True)
class _Heard:
    """An answer as it comes in."""

    blocks: dict[int, dict[str, Any]] = field(default_factory=dict)
    pieces: dict[int, list[str]] = field(default_factory=dict)
    """What each block says: text, a thought, or JSON of a tool's arguments."""
    length: int | None = None
    """Characters so far; None before the first event."""
    stop: str = ""
    detail: str = ""
    ended: bool = False
    tokens: dict[str, int] = field(default_factory=dict)

    def take(self, event: Any) -> None:
        match event.type:
            case "message_start":
                self.length = 0
                self._count(event.message.usage)
            case "content_block_start":
                self.blocks[event.index] = event.content_block.model_dump(mode="json", exclude_none=True)
            case "content_block_delta":
                self._grow(event.index, event.delta)
            case "message_delta":
                self.stop = event.delta.stop_reason or self.stop
                self.detail = str(getattr(getattr(event.delta, "stop_details", None), "explanation", None) or "")
                self._count(event.usage)
            case "message_stop":
                self.ended = True
            case _:
                pass

    def turn(self, model: str) -> Turn:
        """The whole answer. Raises ProviderError where it is none."""
        if not self.ended:
            raise ProviderError("the answer broke off")
        calls: list[ToolCall] = []
        texts: list[str] = []
        wire: list[dict[str, Any]] = []
        for index, block in sorted(self.blocks.items()):
            said = "".join(self.pieces.get(index, ()))
            if block["type"] == "tool_use":
                calls.append(_call(block, said))
                block |= {"input": dict(calls[-1].arguments or {})}
            elif block["type"] in {"text", "thinking"}:
                block[block["type"]] += said
            if block["type"] == "text":
                texts.append(block["text"])
            if block["type"] != "text" or block["text"].strip():
                wire.append(cleaned(block))
        text, stop = clean("".join(texts)), _STOPS.get(self.stop, "end")
        if stop == "refused":
            text = text or clean(self.detail)
        written = self.tokens.get("cache_creation_input_tokens", 0)
        return Turn(text, tuple(calls), stop, self.usage(model), written, tuple(wire))

    def usage(self, model: str) -> Usage:
        """What it cost in tokens as far as is known; nothing before the first event."""
        if self.length is None:
            return Usage()
        cached = self.tokens.get("cache_read_input_tokens", 0)
        fresh = self.tokens.get("input_tokens", 0) + self.tokens.get("cache_creation_input_tokens", 0)
        out = self.tokens.get("output_tokens", 0)
        if not self.ended:
            out = max(out, self.length // 4)
        return Usage(tokens_in=fresh + cached, tokens_cached=cached, tokens_out=out, calls=1, model=model, turns=1)

    def _grow(self, index: int, delta: Any) -> None:
        piece = ""
        match delta.type:
            case "text_delta":
                piece = delta.text
            case "input_json_delta":
                piece = delta.partial_json
            case "thinking_delta":
                piece = delta.thinking
            case "signature_delta":
                self.blocks[index]["signature"] = delta.signature
            case _:
                pass
        self.pieces.setdefault(index, []).append(piece)
        self.length = (self.length or 0) + len(piece)

    def _count(self, usage: Any) -> None:
        for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"):
            found = getattr(usage, name, None)
            if isinstance(found, int) and found >= 0:
                self.tokens[name] = found


def _call(block: dict[str, Any], pieces: str) -> ToolCall:
    given = block.get("input")
    raw = pieces or (json.dumps(given) if given else "")
    return tool_call(clean(str(block["id"])), clean(str(block["name"])), raw)
