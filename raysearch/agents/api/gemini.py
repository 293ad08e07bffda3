"""Gemini, through Google's SDK: its own service, and Vertex AI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google import genai
from google.genai import types

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
)
from raysearch.agents.api.wire import Wire
from raysearch.types import Usage

_BROKEN = {
    "FINISH_REASON_UNSPECIFIED",
    "MALFORMED_FUNCTION_CALL",
    "MALFORMED_RESPONSE",
    "MISSING_THOUGHT_SIGNATURE",
    "OTHER",
    "UNEXPECTED_TOOL_CALL",
}
_STOPS: dict[str, Stop] = {
    "STOP": "end",
    "MAX_TOKENS": "length",
    "TOO_MANY_TOOL_CALLS": "end",
    "CONTINUATION": "length",
}
_OURS = "call-"
"""Begins the ids of calls that came without one."""


@dataclass(slots=True)
class Gemini:
    """See `raysearch.agents.api.messages.Provider`."""

    client: genai.Client
    http: Wire
    """The client's own way out, which it does not close itself."""
    model: str
    window_tokens: int = 1_000_000

    def keeps_schema(self, tools: bool) -> bool:
        """Not beside tools."""
        return not tools

    def complete(self, conversation: Conversation, *, timeout_s: float) -> Turn:
        heard = _Heard()
        try:
            chunks = self.client.models.generate_content_stream(
                model=self.model,
                contents=[_content(message) for message in conversation.messages],
                config=_config(conversation, timeout_s),
            )
            for chunk in chunks:
                heard.take(chunk)
            return heard.turn(self.model)
        except Exception as error:
            raise failure(error, heard.length, heard.usage(self.model)) from None

    def close(self) -> None:
        self.client.close()
        self.http.close()


def _config(conversation: Conversation, timeout_s: float) -> types.GenerateContentConfig:
    config: dict[str, Any] = {
        "max_output_tokens": conversation.output_max,
        "automatic_function_calling": {"disable": True},
        "http_options": {"timeout": max(1, int(timeout_s * 1000))},
    }
    if conversation.system:
        config["system_instruction"] = conversation.system
    if conversation.effort:
        config["thinking_config"] = {"thinking_level": conversation.effort.upper()}
    if conversation.tools:
        declared = [
            {"name": tool.name, "description": tool.description, "parameters_json_schema": dict(tool.schema)}
            for tool in conversation.tools
        ]
        config["tools"] = [{"function_declarations": declared}]
        mode = "AUTO" if conversation.tools_allowed else "NONE"
        config["tool_config"] = {"function_calling_config": {"mode": mode}}
    if conversation.schema is not None:
        config |= {"response_mime_type": "application/json", "response_json_schema": dict(conversation.schema)}
    return types.GenerateContentConfig.model_validate(config)


def _content(message: Message) -> types.Content:
    if isinstance(message.wire, tuple) and message.wire:
        return types.Content.model_validate_json(json.dumps({"role": "model", "parts": list(message.wire)}))
    return types.Content(role="model" if message.role == "assistant" else "user", parts=list(_parts(message)))


def _parts(message: Message) -> Iterator[types.Part]:
    for result in message.results:
        said = {"error" if result.failed else "output": result.text}
        named = None if result.id.startswith(_OURS) else result.id
        yield types.Part(function_response=types.FunctionResponse(id=named, name=result.name, response=said))
    for call in message.calls:
        named = None if call.id.startswith(_OURS) else call.id
        yield types.Part(function_call=types.FunctionCall(id=named, name=call.name, args=dict(call.arguments or {})))
    if message.text or not (message.results or message.calls):
        yield types.Part(text=message.text or "(nothing)")


@dataclass(slots=True)
class _Heard:
    """An answer as it comes in."""

    length: int | None = None
    """Characters so far; None before the first event."""
    parts: list[types.Part] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    """Of the text, or the thought, that is coming in; not yet among the parts."""
    thought: bool = False
    """Whether ``pieces`` are a thought."""
    finish: str = ""
    blocked: str = ""
    tokens: types.GenerateContentResponseUsageMetadata | None = None

    def take(self, chunk: types.GenerateContentResponse) -> None:
        self.length = self.length or 0
        self.tokens = chunk.usage_metadata or self.tokens
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason is not None:
            self.blocked = _name(chunk.prompt_feedback.block_reason)
        for candidate in (chunk.candidates or ())[:1]:
            if candidate.finish_reason is not None:
                self.finish = _name(candidate.finish_reason)
            for part in (candidate.content.parts if candidate.content else None) or ():
                self.length += len(part.text or "")
                self._add(part)

    def turn(self, model: str) -> Turn:
        """The whole answer. Raises ProviderError where it is none."""
        if self.blocked:
            return Turn(f"the prompt was blocked: {self.blocked}", stop="refused", usage=self.usage(model))
        if not self.finish:
            raise ProviderError("the answer broke off")
        self._end_text()
        if self.finish in _BROKEN:
            raise ProviderError(f"the model gave no proper answer: {self.finish}")
        calls = tuple(
            _call(part.function_call, number)
            for number, part in enumerate(self.parts)
            if part.function_call is not None
        )
        text = clean("".join(part.text or "" for part in self.parts if not part.thought))
        stop: Stop = _STOPS.get(self.finish, "refused")
        if stop == "refused":
            return Turn(text or f"stopped: {self.finish}", stop="refused", usage=self.usage(model))
        return Turn(text, calls, "tools" if calls and stop == "end" else stop, self.usage(model), wire=self._wire())

    def usage(self, model: str) -> Usage:
        """What the service counted so far; thinking is output here, as it is on the bill."""
        told = self.tokens
        if told is None:
            return Usage()
        return Usage(
            tokens_in=(told.prompt_token_count or 0) + (told.tool_use_prompt_token_count or 0),
            tokens_cached=told.cached_content_token_count or 0,
            tokens_out=(told.candidates_token_count or 0) + (told.thoughts_token_count or 0),
            calls=1,
            model=model,
            turns=1,
        )

    def _add(self, part: types.Part) -> None:
        """Pieces of one text become one part; what carries a signature stays as it is."""
        if part.text is None or part.thought_signature is not None:
            self._end_text()
            self.parts.append(part)
            return
        if bool(part.thought) != self.thought:
            self._end_text()
        self.thought = bool(part.thought)
        self.pieces.append(part.text)

    def _end_text(self) -> None:
        if text := "".join(self.pieces):
            self.parts.append(types.Part(text=text, thought=self.thought or None))
        self.pieces = []

    def _wire(self) -> tuple[Any, ...]:
        return tuple(_sendable(part).model_dump(mode="json", exclude_none=True) for part in self.parts)


def _sendable(part: types.Part) -> types.Part:
    if part.function_call is not None:
        call = part.function_call.model_copy(update={"args": cleaned(part.function_call.args or {})})
        return part.model_copy(update={"function_call": call})
    return part if part.text is None else part.model_copy(update={"text": clean(part.text)})


def _call(call: types.FunctionCall, number: int) -> ToolCall:
    arguments = cleaned(call.args or {})
    return ToolCall(clean(call.id or f"{_OURS}{number}"), clean(call.name or ""), arguments, str(arguments))


def _name(reason: object) -> str:
    return clean(str(getattr(reason, "value", reason)))
