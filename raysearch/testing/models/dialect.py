"""What the four dialects share: what each must be able to do, and how pieces of an answer are made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from raysearch.testing.models.faults import HttpError
from raysearch.testing.models.script import Message, Request, Stop, Tokens, Tool, ToolCall, Turn

Json = dict[str, Any]


class BadRequest(Exception):
    """What the provider would refuse, and why: 400, or ``status``."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """A turn made ready for the wire: ids given out, tokens counted."""

    id: str
    """Letters and digits, another for every answer."""
    request: Request
    model: str
    text: str
    thinking: str
    calls: tuple[ToolCall, ...]
    free_form: frozenset[str]
    """Names of the tools among ``calls`` that take text, not JSON."""
    tokens: Tokens
    stop: Stop
    pieces: int
    at_s: int
    """When, in seconds since 1970."""


class Wording(Protocol):
    """One provider's dialect, stateless."""

    def read(self, body: Mapping[str, Any]) -> Request:
        """What ``body`` asks. `BadRequest` where the provider would refuse it.

        Its number, headers, key and address are filled in elsewhere.
        """

    def whole(self, answer: Answer) -> Json:
        """The body of an answer that is not streamed."""

    def events(self, answer: Answer) -> list[bytes]:
        """The server-sent events of a streamed one, the last of them ending it."""

    def failing(self, answer: Answer, message: str, after: float) -> list[bytes]:
        """The events of a stream that ends with an error after ``after`` (0 to 1) of them."""

    def error(self, error: HttpError) -> Json:
        """The body of a refusal."""

    def count(self, tokens: int) -> Json:
        """The answer to how many tokens a prompt has."""


def prepare(turn: Turn, request: Request, at_s: int) -> Answer:
    """``turn`` as the answer to ``request``."""
    offered = {tool.name: tool for tool in reversed(request.tools)}
    calls = []
    for index, call in enumerate(turn.calls):
        tool = offered.get(call.name, Tool(call.name))
        name = call.id or f"call_{request.number:04d}_{index}"
        calls.append(replace(call, id=name, namespace=call.namespace or tool.namespace))
    return Answer(
        id=f"{request.number:08d}",
        request=request,
        model=request.model,
        text=turn.text,
        thinking=turn.thinking,
        calls=tuple(calls),
        free_form=frozenset(call.name for call in calls if call.name in offered and offered[call.name].free_form),
        tokens=turn.tokens or estimate(request, turn),
        stop=turn.stop,
        pieces=turn.pieces,
        at_s=at_s,
    )


def estimate(request: Request, turn: Turn) -> Tokens:
    """A token for every four characters, which is near enough for English and for code."""
    spoken = len(turn.text) + sum(len(call.name) + len(arguments(call)) for call in turn.calls)
    return Tokens(
        prompt=prompt_tokens(request),
        output=max(1, (spoken + len(turn.thinking)) // 4),
        reasoning=len(turn.thinking) // 4,
    )


def prompt_tokens(request: Request) -> int:
    """The estimated length of a prompt: all that the model is shown."""
    said = len(request.system)
    for message in request.messages:
        said += len(message.text) + len(message.thinking) + sum(len(result.text) for result in message.results)
        said += sum(len(call.name) + len(arguments(call)) for call in message.calls)
    said += sum(len(tool.description) + len(compact(tool.schema)) for tool in request.tools)
    return max(1, said // 4)


def arguments(call: ToolCall) -> str:
    """What a call passes, as text."""
    return call.arguments if isinstance(call.arguments, str) else compact(call.arguments)


def raw_arguments(call: ToolCall) -> Any:
    """What a call passes, as a JSON value: an object, or wrongly the text that a script put in its place."""
    return call.arguments if isinstance(call.arguments, str) else dict(call.arguments)


def compact(value: object) -> str:
    """JSON without spaces, in the script's own characters; half a surrogate pair is escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def event(data: object, name: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {compact(data)}\n\n".encode()


def first(events: Sequence[bytes], share: float) -> Sequence[bytes]:
    """The first ``share`` (0 to 1) of ``events``, at least one."""
    return events[: max(1, int(len(events) * share))]


def split(text: str, pieces: int) -> Iterator[str]:
    """``text`` in at most ``pieces`` parts of about equal length, none of them empty."""
    size = max(1, -(-len(text) // max(1, pieces)))
    return (text[start : start + size] for start in range(0, len(text), size))


def signature(thinking: str) -> str:
    """What proves that a thought handed back is one that this server had."""
    return hashlib.sha256(thinking.encode("utf-8", "replace")).hexdigest()


def required(body: Mapping[str, Any], name: str, kind: type, article: str) -> Any:
    """A field that must be there; `BadRequest` says what is missing."""
    value = body.get(name)
    if not isinstance(value, kind):
        raise BadRequest(f"{name}: {'a field is required' if name not in body else f'must be {article}'}")
    return value


def text_of(content: object, kinds: Sequence[str] = ("text", "input_text", "output_text")) -> str:
    """The text of a message's content: a string, or a list of parts of which others than text are named only."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise BadRequest("content: must be a string or a list of parts")
    parts = [str(part.get("text", "")) if part.get("type") in kinds else f"[{part.get('type')}]" for part in content]
    return "\n".join(parts)


def parsed(text: object) -> Mapping[str, Any] | str:
    """Arguments that came as JSON text: the object, or the text itself where it is none."""
    try:
        value = json.loads(str(text))
    except ValueError:
        return str(text)
    return value if isinstance(value, dict) else str(text)


def merged(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Neighbouring pieces of one assistant turn, or of the results that answer it, as one message."""
    joined: list[Message] = []
    for message in messages:
        last = joined[-1] if joined else None
        if last is None or last.role != message.role or message.role not in {"assistant", "tool"}:
            joined.append(message)
            continue
        joined[-1] = Message(
            message.role,
            "\n".join(part for part in (last.text, message.text) if part),
            last.calls + message.calls,
            last.results + message.results,
            "\n".join(part for part in (last.thinking, message.thinking) if part),
        )
    return tuple(joined)


def paired(messages: Sequence[Message]) -> None:
    """Raise `BadRequest` unless every call is answered right after it, and every answer has its call."""
    for index, message in enumerate(messages):
        following = messages[index + 1] if index + 1 < len(messages) else Message("tool")
        answered = {result.id for result in following.results}
        if message.calls and (missing := [call.id for call in message.calls if call.id not in answered]):
            raise BadRequest(f"messages.{index}: no tool output found for the call {missing[0]!r}")
        before = {call.id for call in messages[index - 1].calls} if index else set()
        if stray := [result.id for result in message.results if result.id not in before]:
            raise BadRequest(f"messages.{index}: tool output {stray[0]!r} answers no call of the message before it")
