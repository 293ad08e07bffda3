"""GPT models, through OpenAI's SDK and its Responses API. Nothing is stored on the other side."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import openai

from raysearch.agents.api.failures import failure
from raysearch.agents.api.messages import Conversation, Message, ProviderError, Stop, Turn, clean, cleaned, tool_call
from raysearch.types import Usage

_REASONING = re.compile(r"(o\d|gpt-([5-9]|\d\d)|codex)(?!.*chat)")
"""Models that think, and whose thoughts are handed back between calls of tools, encrypted."""
_POLICY = {"bio_policy", "misalignment_policy_violation", "invalid_prompt", "content_filter"}


@dataclass(slots=True)
class Responses:
    """See `raysearch.agents.api.messages.Provider`."""

    client: openai.OpenAI
    model: str
    window_tokens: int = 128_000

    def keeps_schema(self, tools: bool) -> bool:  # noqa: ARG002 # with tools, too
        return True

    def complete(self, conversation: Conversation, *, timeout_s: float) -> Turn:
        heard: int | None = None
        try:
            with self.client.responses.create(**self._request(conversation), timeout=timeout_s) as events:
                for event in events:
                    heard = (heard or 0) + len(getattr(event, "delta", None) or "")
                    if event.type in {"response.completed", "response.incomplete", "response.failed"}:
                        return _turn(event.response, self.model)
                    if event.type == "error":
                        raise ProviderError(f"{event.code}: {event.message}", _kind(event.code))
            raise ProviderError("the answer broke off")
        except Exception as error:
            raise failure(error, heard) from None

    def close(self) -> None:
        self.client.close()

    def _request(self, conversation: Conversation) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "input": [item for message in conversation.messages for item in _items(message)],
            "max_output_tokens": conversation.output_max,
            "store": False,
            "stream": True,
        }
        if _REASONING.match(self.model):
            request["include"] = ["reasoning.encrypted_content"]
        if conversation.key:
            request["prompt_cache_key"] = conversation.key
        if conversation.system:
            request["instructions"] = conversation.system
        if conversation.effort:
            request["reasoning"] = {"effort": conversation.effort}
        if conversation.tools:
            request["tools"] = [
                {"type": "function", "name": t.name, "description": t.description, "parameters": dict(t.schema)}
                | {"strict": False}
                for t in conversation.tools
            ]
            request["tool_choice"] = "auto" if conversation.tools_allowed else "none"
            request["parallel_tool_calls"] = True
        if conversation.schema is not None:
            form = {"type": "json_schema", "name": "answer", "schema": dict(conversation.schema), "strict": True}
            request["text"] = {"format": form}
        return request


def _items(message: Message) -> Iterator[dict[str, Any]]:
    if isinstance(message.wire, tuple) and message.wire:
        yield from message.wire
        return
    for result in message.results:
        output = f"error: {result.text}" if result.failed else result.text
        yield {"type": "function_call_output", "call_id": result.id, "output": output}
    if message.text or not (message.results or message.calls):
        yield {"type": "message", "role": message.role, "content": message.text or "(nothing)"}
    for call in message.calls:
        yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.raw}


def _turn(response: Any, model: str) -> Turn:
    """The answer that a stream ended with. Raises ProviderError where it is none."""
    usage = _usage(response.usage, model)
    if response.status == "failed":
        code, message = _reason(response.error)
        if code in _POLICY:
            return Turn(message, stop="refused", usage=usage)
        raise ProviderError(f"{code}: {message}", _kind(code), usage=usage)
    texts: list[str] = []
    refusals: list[str] = []
    calls = []
    for item in response.output:
        if item.type == "message":
            texts += [part.text for part in item.content if part.type == "output_text"]
            refusals += [part.refusal for part in item.content if part.type == "refusal"]
        elif item.type == "function_call":
            calls.append(tool_call(clean(item.call_id), clean(item.name), item.arguments))
    stop: Stop = "tools" if calls else "end"
    if response.status == "incomplete":
        filtered = getattr(response.incomplete_details, "reason", "") == "content_filter"
        stop = "refused" if filtered else "length"
    if refusals:
        stop = "refused"
    text = clean("".join(texts) or "\n".join(refusals))
    return Turn(text, tuple(calls), stop, usage, wire=_wire(response.output))


def _wire(items: Sequence[Any]) -> tuple[Any, ...]:
    """The answer as it can be handed back: thoughts only with their encrypted content, arguments only if they parse."""
    found = [cleaned(item.model_dump(mode="json", exclude_none=True)) for item in items]
    for item in found:
        if item.get("type") == "function_call" and tool_call("", "", item["arguments"]).arguments is None:
            item["arguments"] = "{}"
    return tuple(item for item in found if item.get("type") != "reasoning" or item.get("encrypted_content"))


def _usage(usage: Any, model: str) -> Usage:
    if usage is None:
        return Usage()
    details = getattr(usage, "input_tokens_details", None)
    return Usage(
        tokens_in=int(usage.input_tokens),
        tokens_cached=int(getattr(details, "cached_tokens", None) or 0),
        tokens_out=int(usage.output_tokens),
        calls=1,
        model=model,
        turns=1,
    )


def _reason(error: Any) -> tuple[str, str]:
    return clean(str(getattr(error, "code", None) or "failed")), clean(str(getattr(error, "message", None) or ""))


def _kind(code: object) -> Any:
    if code == "context_length_exceeded":
        return "window"
    return "limited" if code == "rate_limit_exceeded" else "failed"
