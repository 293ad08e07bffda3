"""The Messages dialect of Anthropic: ``/v1/messages``, and Vertex AI's ``:rawPredict`` of the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysearch.testing.models.dialect import (
    Answer,
    BadRequest,
    Json,
    arguments,
    event,
    first,
    merged,
    paired,
    raw_arguments,
    required,
    signature,
    split,
    text_of,
)
from raysearch.testing.models.faults import HttpError
from raysearch.testing.models.script import Message, Request, Role, Tokens, Tool, ToolCall, ToolResult

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Anthropic:
    """See `raysearch.testing.models.dialect.Wording`."""

    def read(self, body: Mapping[str, Any]) -> Request:
        messages = required(body, "messages", list, "a list")
        if not messages:
            raise BadRequest("messages: at least one message is required")
        spoken = [_message(message, index) for index, message in enumerate(messages)]
        turns = merged([message for message in spoken if message.role != "system"])
        paired(turns)
        config = body.get("output_config") or {}
        wanted = config.get("format") or body.get("output_format") or {}
        return Request(
            number=0,
            dialect="anthropic",
            model=required(body, "model", str, "a string"),
            messages=turns,
            system="\n".join([text_of(body.get("system")), *(m.text for m in spoken if m.role == "system")]),
            tools=tuple(_tool(tool) for tool in body.get("tools") or ()),
            stream=bool(body.get("stream")),
            schema=wanted.get("schema"),
            effort=str(config.get("effort") or ""),
            max_tokens=required(body, "max_tokens", int, "a number"),
        )

    def whole(self, answer: Answer) -> Json:
        content: list[Json] = []
        if answer.thinking:
            block = {"type": "thinking", "thinking": answer.thinking, "signature": signature(answer.thinking)}
            content.append(block)
        if answer.text:
            content.append({"type": "text", "text": answer.text})
        content += [_call(call, raw_arguments(call)) for call in answer.calls]
        return _shell(answer) | {
            "content": content,
            "stop_reason": _stop(answer),
            "usage": _usage(answer.tokens, answer.tokens.output),
        }

    def events(self, answer: Answer) -> list[bytes]:
        start = _shell(answer) | {"content": [], "stop_reason": None, "usage": _usage(answer.tokens, 1)}
        sent = [_event("message_start", message=start), _event("ping")]
        index = 0
        if answer.thinking:
            deltas = [{"type": "thinking_delta", "thinking": part} for part in split(answer.thinking, answer.pieces)]
            deltas.append({"type": "signature_delta", "signature": signature(answer.thinking)})
            sent += _block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas)
            index += 1
        if answer.text:
            deltas = [{"type": "text_delta", "text": part} for part in split(answer.text, answer.pieces)]
            sent += _block(index, {"type": "text", "text": ""}, deltas)
            index += 1
        for number, call in enumerate(answer.calls, start=index):
            parts = ["", *split(arguments(call), answer.pieces)]
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
            sent += _block(number, _call(call, {}), deltas)
        end = {"stop_reason": _stop(answer), "stop_sequence": None}
        usage = _usage(answer.tokens, answer.tokens.output)
        return [*sent, _event("message_delta", delta=end, usage=usage), _event("message_stop")]

    def failing(self, answer: Answer, message: str, after: float) -> list[bytes]:
        return [*first(self.events(answer), after), event(self.error(HttpError(529, message)), "error")]

    def error(self, error: HttpError) -> Json:
        usual = _KINDS.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
        told = {"type": error.code or usual, "message": error.message}
        return {"type": "error", "error": told, "request_id": "req_scripted"}

    def count(self, tokens: int) -> Json:
        return {"input_tokens": tokens}


def _message(message: Any, index: int) -> Message:
    role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
    if role not in {"user", "assistant", "system"}:
        raise BadRequest(f"messages.{index}.role: must be 'user' or 'assistant', is {role!r}")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise BadRequest(f"messages.{index}.content: must be a string or a list of blocks")
    calls = tuple(
        ToolCall(block["name"], block["input"], block["id"]) for block in content if block.get("type") == "tool_use"
    )
    results = tuple(
        ToolResult(block["tool_use_id"], text_of(block.get("content")), bool(block.get("is_error")))
        for block in content
        if block.get("type") == "tool_result"
    )
    thoughts = [block for block in content if block.get("type") == "thinking"]
    for block in thoughts:
        if block.get("signature") != signature(block.get("thinking", "")):
            raise BadRequest(f"messages.{index}.content: Invalid `signature` in `thinking` block")
    others = [block for block in content if block.get("type") not in {"tool_use", "tool_result", "thinking"}]
    speaker: Role = "tool" if results else role
    return Message(speaker, text_of(others), calls, results, "\n".join(block["thinking"] for block in thoughts))


def _tool(tool: Mapping[str, Any]) -> Tool:
    return Tool(str(tool.get("name", "")), str(tool.get("description", "")), tool.get("input_schema") or {})


def _shell(answer: Answer) -> Json:
    return {
        "id": f"msg_{answer.id}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {},
    }


def _call(call: ToolCall, input_: Any) -> Json:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": input_}


def _usage(tokens: Tokens, output: int) -> Json:
    return {
        "input_tokens": max(0, tokens.prompt - tokens.cached - tokens.written),
        "cache_creation_input_tokens": tokens.written,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": tokens.written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
    }


def _stop(answer: Answer) -> str:
    if answer.stop == "length":
        return "max_tokens"
    return "refusal" if answer.stop == "refusal" else "tool_use" if answer.calls else "end_turn"


def _event(kind: str, **fields: Any) -> bytes:
    return event({"type": kind} | fields, kind)


def _block(index: int, empty: Json, deltas: list[Json]) -> list[bytes]:
    return [
        _event("content_block_start", index=index, content_block=empty),
        *(_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        _event("content_block_stop", index=index),
    ]
