"""The Chat Completions dialect of OpenAI, which vLLM, Ollama and many more speak too."""

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
    parsed,
    required,
    split,
    text_of,
)
from raysearch.testing.models.faults import HttpError
from raysearch.testing.models.script import Message, Request, Tokens, Tool, ToolCall, ToolResult

DONE = b"data: [DONE]\n\n"
_KINDS = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    429: "rate_limit_exceeded",
}


class OpenAIChat:
    """See `raysearch.testing.models.dialect.Wording`."""

    def read(self, body: Mapping[str, Any]) -> Request:
        messages = required(body, "messages", list, "a list")
        if not messages:
            raise BadRequest("messages: at least one message is required")
        spoken = [_message(message, index) for index, message in enumerate(messages)]
        turns = merged([message for message in spoken if message.role != "system"])
        paired(turns)
        wanted = body.get("response_format") or {}
        return Request(
            number=0,
            dialect="openai_chat",
            model=required(body, "model", str, "a string"),
            messages=turns,
            system="\n".join(message.text for message in spoken if message.role == "system"),
            tools=tuple(_tool(tool) for tool in body.get("tools") or ()),
            stream=bool(body.get("stream")),
            schema=(wanted.get("json_schema") or {}).get("schema"),
            effort=str(body.get("reasoning_effort") or ""),
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        )

    def whole(self, answer: Answer) -> Json:
        refused = answer.stop == "refusal"
        message: Json = {
            "role": "assistant",
            "content": None if refused or not answer.text else answer.text,
            "refusal": answer.text if refused else None,
        }
        if answer.thinking:
            message["reasoning_content"] = answer.thinking
        if answer.calls:
            message["tool_calls"] = [_call(call, arguments(call)) for call in answer.calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _stop(answer)}
        return _shell(answer, "chat.completion") | {"choices": [choice], "usage": _usage(answer.tokens)}

    def events(self, answer: Answer) -> list[bytes]:
        field = "refusal" if answer.stop == "refusal" else "content"
        deltas: list[Json] = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning_content": part} for part in split(answer.thinking, answer.pieces)]
        deltas += [{field: part} for part in split(answer.text, answer.pieces)]
        for index, call in enumerate(answer.calls):
            deltas.append({"tool_calls": [{"index": index} | _call(call, "")]})
            for part in split(arguments(call), answer.pieces):
                deltas.append({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        sent = [_chunk(answer, delta, None) for delta in deltas]
        sent.append(_chunk(answer, {}, _stop(answer)))
        if (answer.request.body.get("stream_options") or {}).get("include_usage"):
            last = _shell(answer, "chat.completion.chunk") | {"choices": [], "usage": _usage(answer.tokens)}
            sent.append(event(last))
        return [*sent, DONE]

    def failing(self, answer: Answer, message: str, after: float) -> list[bytes]:
        return [*first(self.events(answer), after), event(self.error(HttpError(500, message)))]

    def error(self, error: HttpError) -> Json:
        usual = _KINDS.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
        kind = error.code or usual
        return {"error": {"message": error.message, "type": kind, "param": None, "code": kind}}

    def count(self, tokens: int) -> Json:
        return {"input_tokens": tokens}


def _message(message: Any, index: int) -> Message:
    role = message.get("role") if isinstance(message, dict) else None
    text = text_of(message.get("content")) if role else ""
    if role in {"system", "developer"}:
        return Message("system", text)
    if role == "user":
        return Message("user", text)
    if role == "tool":
        return Message("tool", results=(ToolResult(message["tool_call_id"], text),))
    if role == "assistant":
        calls = tuple(
            ToolCall(call["function"]["name"], parsed(call["function"]["arguments"]), call["id"])
            for call in message.get("tool_calls") or ()
        )
        thinking = str(message.get("reasoning_content") or "")
        return Message("assistant", text or str(message.get("refusal") or ""), calls, thinking=thinking)
    raise BadRequest(f"messages[{index}].role: {role!r} is none of system, developer, user, assistant, tool")


def _tool(tool: Mapping[str, Any]) -> Tool:
    function = tool.get("function") or {}
    return Tool(str(function.get("name", "")), str(function.get("description", "")), function.get("parameters") or {})


def _shell(answer: Answer, kind: str) -> Json:
    return {"id": f"chatcmpl-{answer.id}", "object": kind, "created": answer.at_s, "model": answer.model}


def _chunk(answer: Answer, delta: Json, finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return event(_shell(answer, "chat.completion.chunk") | {"choices": [choice]})


def _call(call: ToolCall, passed: str) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": passed}}


def _usage(tokens: Tokens) -> Json:
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.prompt + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    }


def _stop(answer: Answer) -> str:
    if answer.stop == "length":
        return "length"
    return "tool_calls" if answer.calls else "stop"
