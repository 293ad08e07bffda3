"""The Responses dialect of OpenAI: items in, items out."""

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
from raysearch.testing.models.openai_chat import OpenAIChat
from raysearch.testing.models.script import Message, Request, Tokens, Tool, ToolCall, ToolResult


class OpenAIResponses:
    """See `raysearch.testing.models.dialect.Wording`."""

    def read(self, body: Mapping[str, Any]) -> Request:
        items = _input(body)
        spoken = [_message(item, index) for index, item in enumerate(items)]
        turns = merged([message for message in spoken if message.role != "system"])
        paired(turns)
        told = [str(body.get("instructions") or ""), *(m.text for m in spoken if m.role == "system")]
        wanted = (body.get("text") or {}).get("format") or {}
        return Request(
            number=0,
            dialect="openai_responses",
            model=required(body, "model", str, "a string"),
            messages=turns,
            system="\n".join(part for part in told if part),
            tools=_tools([*(body.get("tools") or []), *_added_tools(items)]),
            stream=bool(body.get("stream")),
            schema=wanted.get("schema"),
            effort=str((body.get("reasoning") or {}).get("effort") or ""),
            max_tokens=body.get("max_output_tokens"),
        )

    def whole(self, answer: Answer) -> Json:
        return _response(answer, _status(answer), _items(answer))

    def events(self, answer: Answer) -> list[bytes]:
        opening = _response(answer, "in_progress", [])
        told: list[Json] = [
            {"type": "response.created", "response": opening},
            {"type": "response.in_progress", "response": opening},
        ]
        items = _items(answer)
        for index, item in enumerate(items):
            told += _item_events(item, index, answer.pieces)
        status = _status(answer)
        told.append({"type": f"response.{status}", "response": _response(answer, status, items)})
        return _numbered(told)

    def failing(self, answer: Answer, message: str, after: float) -> list[bytes]:
        failed = _response(answer, "failed", []) | {"error": {"code": "server_error", "message": message}}
        kept = first(self.events(answer), after)
        return [*kept, *_numbered([{"type": "response.failed", "response": failed}], len(kept))]

    def error(self, error: HttpError) -> Json:
        return OpenAIChat().error(error)

    def count(self, tokens: int) -> Json:
        return {"object": "response.input_tokens", "input_tokens": tokens}


class Stored:
    """Answers that a later request goes on from with ``previous_response_id``."""

    def __init__(self) -> None:
        self._items: dict[str, list[Any]] = {}

    def continued(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """``body`` with all that went before it, too. `BadRequest` (404) if that is unknown."""
        before = body.get("previous_response_id")
        if not before:
            return body
        if before not in self._items:
            raise BadRequest(f"Previous response with id {before!r} not found.", 404)
        return {**body, "input": self._items[before] + _input(body)}

    def keep(self, body: Mapping[str, Any], answer: Answer) -> None:
        """Remember ``answer`` to ``body`` (`continued`), unless it asks for that not to be done."""
        if body.get("store") is not False:
            self._items[f"resp_{answer.id}"] = _input(body) + _items(answer)


def _input(body: Mapping[str, Any]) -> list[Any]:
    items = body.get("input")
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    if not isinstance(items, list) or not items:
        raise BadRequest("input: must be a string, or a list of at least one item")
    return items


def _message(item: Any, index: int) -> Message:
    kind = item.get("type", "message") if isinstance(item, dict) else None
    if kind == "additional_tools":
        return Message("system")
    if kind == "message":
        role, text = item.get("role"), text_of(item.get("content"), ("input_text", "output_text", "text"))
        if role in {"system", "developer"}:
            return Message("system", text)
        if role in {"user", "assistant"}:
            return Message(role, text)
    if kind in {"function_call", "custom_tool_call"}:
        passed = parsed(item["arguments"]) if kind == "function_call" else item["input"]
        return Message(
            "assistant", calls=(ToolCall(item["name"], passed, item["call_id"], item.get("namespace") or ""),)
        )
    if kind in {"function_call_output", "custom_tool_call_output"}:
        return Message("tool", results=(ToolResult(item["call_id"], text_of(item["output"])),))
    if kind == "reasoning":
        said = [*(item.get("summary") or []), *(item.get("content") or [])]
        return Message("assistant", thinking="\n".join(str(part.get("text", "")) for part in said))
    raise BadRequest(f"input[{index}]: an item of type {kind!r} cannot be read")


def _added_tools(items: list[Any]) -> list[Any]:
    """Tools that come as an item of the input, as Codex sends them."""
    return [tool for item in items if item.get("type") == "additional_tools" for tool in item.get("tools") or []]


def _tools(offered: list[Mapping[str, Any]]) -> tuple[Tool, ...]:
    """The tools, those of a namespace taken out of it."""
    found = []
    for tool in offered:
        if tool.get("type") == "namespace":
            inner = [_tool(each, str(tool.get("name", ""))) for each in tool.get("tools") or []]
            found += inner
        else:
            found.append(_tool(tool, ""))
    return tuple(found)


def _tool(tool: Mapping[str, Any], namespace: str) -> Tool:
    name = str(tool.get("name") or tool.get("type"))
    described, free_form = str(tool.get("description", "")), tool.get("type") == "custom"
    return Tool(name, described, tool.get("parameters") or {}, free_form, namespace)


def _items(answer: Answer) -> list[Json]:
    items: list[Json] = []
    if answer.thinking:
        summary = [{"type": "summary_text", "text": answer.thinking}]
        items.append({"id": f"rs_{answer.id}", "type": "reasoning", "summary": summary})
    if answer.text:
        part = (
            {"type": "refusal", "refusal": answer.text}
            if answer.stop == "refusal"
            else {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        )
        status = "incomplete" if answer.stop == "length" else "completed"
        items.append(
            {"id": f"msg_{answer.id}", "type": "message", "role": "assistant", "status": status, "content": [part]}
        )
    return items + [_call(answer, call, index) for index, call in enumerate(answer.calls)]


def _call(answer: Answer, call: ToolCall, index: int) -> Json:
    free = call.name in answer.free_form
    item = {"id": f"{'ctc' if free else 'fc'}_{answer.id}_{index}", "call_id": call.id, "name": call.name}
    item |= {"namespace": call.namespace} if call.namespace else {}
    if free:
        return item | {"type": "custom_tool_call", "status": "completed", "input": arguments(call)}
    return item | {"type": "function_call", "status": "completed", "arguments": arguments(call)}


def _status(answer: Answer) -> str:
    return "incomplete" if answer.stop == "length" else "completed"


def _response(answer: Answer, status: str, items: list[Json]) -> Json:
    ended = status in {"completed", "incomplete"}
    body = answer.request.body
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": answer.at_s,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": answer.request.max_tokens,
        "metadata": body.get("metadata") or {},
        "model": answer.model,
        "output": items,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": _usage(answer.tokens) if ended else None,
    }


def _usage(tokens: Tokens) -> Json:
    return {
        "input_tokens": tokens.prompt,
        "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": tokens.written},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.prompt + tokens.output,
    }


def _item_events(item: Json, index: int, pieces: int) -> list[Json]:
    """One item as it grows: announced empty, its parts filled, then whole."""
    kind, at = item["type"], {"item_id": item["id"], "output_index": index}
    grown: list[Json]
    if kind == "message":
        part = item["content"][0]
        field = "text" if part["type"] == "output_text" else "refusal"
        name, at = part["type"], at | {"content_index": 0}
        extra: Json = {"logprobs": []} if field == "text" else {}
        grown = [
            {"type": "response.content_part.added", "part": part | {field: ""}} | at,
            *({"type": f"response.{name}.delta", "delta": d} | extra | at for d in split(part[field], pieces)),
            {"type": f"response.{name}.done", field: part[field]} | extra | at,
            {"type": "response.content_part.done", "part": part} | at,
        ]
        empty = item | {"content": [], "status": "in_progress"}
    elif kind == "reasoning":
        part, at = item["summary"][0], at | {"summary_index": 0}
        name = "response.reasoning_summary_text"
        grown = [
            {"type": "response.reasoning_summary_part.added", "part": part | {"text": ""}} | at,
            *({"type": f"{name}.delta", "delta": delta} | at for delta in split(part["text"], pieces)),
            {"type": f"{name}.done", "text": part["text"]} | at,
            {"type": "response.reasoning_summary_part.done", "part": part} | at,
        ]
        empty = item | {"summary": []}
    else:
        field = "arguments" if kind == "function_call" else "input"
        name = "response.function_call_arguments" if kind == "function_call" else "response.custom_tool_call_input"
        grown = [
            *({"type": f"{name}.delta", "delta": delta} | at for delta in split(item[field], pieces)),
            {"type": f"{name}.done", field: item[field]} | at,
        ]
        empty = item | {field: "", "status": "in_progress"}
    added = {"type": "response.output_item.added", "output_index": index, "item": empty}
    return [added, *grown, {"type": "response.output_item.done", "output_index": index, "item": item}]


def _numbered(told: list[Json], start: int = 0) -> list[bytes]:
    return [event(one | {"sequence_number": number}, one["type"]) for number, one in enumerate(told, start)]
