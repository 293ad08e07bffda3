"""The dialect of Gemini, of its own service and of Vertex AI: ``models/NAME:generateContent`` and its siblings."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from raysearch.testing.models.dialect import (
    Answer,
    BadRequest,
    Json,
    compact,
    event,
    first,
    merged,
    paired,
    raw_arguments,
    required,
    signature,
    split,
)
from raysearch.testing.models.faults import HttpError
from raysearch.testing.models.script import Message, Request, Tokens, Tool, ToolCall, ToolResult

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Gemini:
    """See `raysearch.testing.models.dialect.Wording`. ``body`` has the model and ``stream`` beside what was sent."""

    def read(self, body: Mapping[str, Any]) -> Request:
        inner = _field(body, "generateContentRequest") or body
        contents = required(inner, "contents", list, "a list")
        if not contents:
            raise BadRequest("contents: at least one is required")
        turns = merged(_named([_message(content, index) for index, content in enumerate(contents)]))
        paired(turns)
        config = _field(inner, "generationConfig") or {}
        thinking = _field(config, "thinkingConfig") or {}
        effort = _field(thinking, "thinkingLevel") or _field(thinking, "thinkingBudget")
        system = _field(inner, "systemInstruction") or {}
        return Request(
            number=0,
            dialect="gemini",
            model=required(body, "model", str, "a string"),
            messages=turns,
            system=_text(system.get("parts") or []),
            tools=tuple(
                _tool(each) for tool in inner.get("tools") or () for each in _field(tool, "functionDeclarations") or ()
            ),
            stream=bool(body.get("stream")),
            schema=_field(config, "responseJsonSchema") or _field(config, "responseSchema"),
            effort="" if effort is None else str(effort),
            max_tokens=_field(config, "maxOutputTokens"),
        )

    def whole(self, answer: Answer) -> Json:
        parts = [*_thought(answer.thinking, 1), *_said(answer, 1), *_calls(answer)]
        return _chunk(answer, parts, _finish(answer))

    def events(self, answer: Answer) -> list[bytes]:
        parts = [*_thought(answer.thinking, answer.pieces), *_said(answer, answer.pieces)]
        calls = _calls(answer)
        sent = [event(_chunk(answer, [part], "")) for part in parts]
        if calls:
            sent.append(event(_chunk(answer, calls, "")))
        return [*sent, event(_chunk(answer, [{"text": ""}], _finish(answer)))]

    def failing(self, answer: Answer, message: str, after: float) -> list[bytes]:
        return [*first(self.events(answer), after), event(self.error(HttpError(503, message)))]

    def error(self, error: HttpError) -> Json:
        usual = _STATUS.get(error.status, "UNAVAILABLE" if error.status >= 500 else "INVALID_ARGUMENT")
        told: Json = {"code": error.status, "message": error.message, "status": error.code or usual}
        if error.retry_after_s is not None:
            delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{error.retry_after_s:g}s"}
            told["details"] = [delay]
        return {"error": told}

    def count(self, tokens: int) -> Json:
        return {"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}


def _field(fields: Mapping[str, Any], name: str) -> Any:
    """A field by its name in camel case or, as this service takes it too, with underscores."""
    return fields.get(name, fields.get(re.sub("[A-Z]", lambda found: "_" + found[0].lower(), name)))


def _message(content: Any, index: int) -> Message:
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        raise BadRequest(f"contents[{index}].parts: must be a list of at least one part")
    role = content.get("role") or "user"
    if role not in {"user", "model", "function"}:
        raise BadRequest(f"contents[{index}].role: {role!r} is neither 'user' nor 'model'")
    calls = tuple(
        ToolCall(call["name"], call.get("args") or {}, call.get("id") or "")
        for call in (_field(part, "functionCall") for part in parts)
        if call
    )
    results = tuple(_result(told) for told in (_field(part, "functionResponse") for part in parts) if told)
    thinking = "".join(str(part.get("text", "")) for part in parts if part.get("thought"))
    speaker: Any = "assistant" if role == "model" else "tool" if results else "user"
    between = "" if role == "model" else "\n"  # a stream comes back in the pieces in which it went out
    text = _text([part for part in parts if not part.get("thought")], between)
    return Message(speaker, text, calls, results, thinking)


def _result(response: Mapping[str, Any]) -> ToolResult:
    told = response.get("response") or {}
    text = told.get("output", told.get("result", told.get("error")))
    name = response.get("id") or f"{response['name']}?"
    return ToolResult(name, text if isinstance(text, str) else compact(told), "error" in told)


def _named(messages: Sequence[Message]) -> list[Message]:
    """Calls and results without ids paired in order, which is how this dialect pairs them then."""
    named: list[Message] = []
    for index, message in enumerate(messages):
        calls = tuple(
            ToolCall(call.name, call.arguments, call.id or f"{index}.{number}.{call.name}")
            for number, call in enumerate(message.calls)
        )
        results = message.results
        if any(result.id.endswith("?") for result in results) and named:
            ids = [call.id for call in named[-1].calls]
            if len(ids) != len(results):
                raise BadRequest(f"contents[{index}]: {len(results)} function responses to {len(ids)} function calls")
            results = tuple(ToolResult(i, r.text, r.is_error) for i, r in zip(ids, results, strict=True))
        named.append(Message(message.role, message.text, calls, results, message.thinking))
    return named


def _text(parts: Sequence[Mapping[str, Any]], between: str = "\n") -> str:
    known = {"functionCall", "functionResponse", "function_call", "function_response"}
    return between.join(
        str(part["text"]) if "text" in part else f"[{next(iter(part), 'empty')}]"
        for part in parts
        if not known & set(part)
    )


def _tool(declared: Mapping[str, Any]) -> Tool:
    schema = _field(declared, "parametersJsonSchema") or declared.get("parameters") or {}
    return Tool(str(declared.get("name", "")), str(declared.get("description", "")), schema)


def _thought(thinking: str, pieces: int) -> list[Json]:
    return [{"text": part, "thought": True} for part in split(thinking, pieces)]


def _said(answer: Answer, pieces: int) -> list[Json]:
    return [] if answer.stop == "refusal" else [{"text": part} for part in split(answer.text, pieces)]


def _calls(answer: Answer) -> list[Json]:
    """The calls; as the real models do, the first of them alone carries the signature of the thought behind them."""
    parts: list[Json] = [
        {"functionCall": {"id": call.id, "name": call.name, "args": raw_arguments(call)}} for call in answer.calls
    ]
    if parts:
        parts[0]["thoughtSignature"] = base64.b64encode(signature(answer.thinking).encode()).decode()
    return parts


def _finish(answer: Answer) -> str:
    return {"length": "MAX_TOKENS", "refusal": "SAFETY", "auto": "STOP"}[answer.stop]


def _chunk(answer: Answer, parts: list[Json], finish: str) -> Json:
    candidate: Json = {"index": 0, "content": {"role": "model", "parts": parts}}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(answer.tokens),
        "modelVersion": answer.model,
        "responseId": answer.id,
    }


def _usage(tokens: Tokens) -> Json:
    """Thinking is counted beside the candidates here, not within them."""
    spoken = max(0, tokens.output - tokens.reasoning)
    usage = {
        "promptTokenCount": tokens.prompt,
        "candidatesTokenCount": spoken,
        "totalTokenCount": tokens.prompt + tokens.output,
    }
    usage |= {"cachedContentTokenCount": tokens.cached} if tokens.cached else {}
    return usage | ({"thoughtsTokenCount": tokens.reasoning} if tokens.reasoning else {})
