"""The wire format of OpenAI's chat completions and completions, as vLLM, SGLang, llama.cpp and others speak it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evaluators.load.exchange import Piece, Request, ServerTrouble
from evaluators.load.sse import Events, Whole
from evaluators.load.wire import Post


@dataclass(frozen=True, slots=True)
class Completions:
    """``POST /v1/completions``, greedy.

    Where an exact length is asked for, ``ignore_eos`` and ``min_tokens`` (extensions that vLLM and SGLang understand)
    say so. ``extra`` is merged into the body and wins; a value of None removes a key that a server does not bear.
    """

    model: str
    stream: bool = True
    path: str = "/v1/completions"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def encode(self, request: Request) -> Post:
        return _post(self, request, {"prompt": request.prompt})

    def decode(self, message: bytes) -> Piece:
        return _piece(message, self.stream, lambda choice: choice.get("text"))


@dataclass(frozen=True, slots=True)
class Chat:
    """``POST /v1/chat/completions``, greedy, one message of the user's; otherwise as `Completions`.

    ``fields`` of a message hold its text; add ``reasoning_content`` where a server puts some of it there.
    """

    model: str
    stream: bool = True
    path: str = "/v1/chat/completions"
    extra: Mapping[str, Any] = field(default_factory=dict)
    fields: tuple[str, ...] = ("content",)

    def encode(self, request: Request) -> Post:
        return _post(self, request, {"messages": [{"role": "user", "content": request.prompt}]})

    def decode(self, message: bytes) -> Piece:
        return _piece(message, self.stream, self._text)

    def _text(self, choice: Mapping[str, Any]) -> str:
        told = choice.get("delta" if self.stream else "message") or {}
        return "".join(told.get(name) or "" for name in self.fields)


def _post(dialect: Completions | Chat, request: Request, asked: Mapping[str, Any]) -> Post:
    body = {"model": dialect.model, **asked, "max_tokens": request.tokens, "temperature": 0}
    if request.exact:
        body |= {"ignore_eos": True, "min_tokens": request.tokens}
    if dialect.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    body |= dialect.extra
    sent = {name: value for name, value in body.items() if value is not None}
    return Post(dialect.path, json.dumps(sent).encode(), Events if dialect.stream else Whole)


def _piece(message: bytes, stream: bool, text_of: Any) -> Piece:
    """A message. A stream is whole at its finish reason or at ``[DONE]``, a body by itself."""
    if stream and message.strip() == b"[DONE]":
        return Piece(last=True)
    try:
        told = json.loads(message)
        if told.get("error"):
            raise ServerTrouble(f"it answered with an error: {json.dumps(told['error'])[:300]}")
        choices = told.get("choices") or []
        usage = (told.get("usage") or {}).get("completion_tokens")
        text = "".join(text_of(choice) or "" for choice in choices)
        finish = next((choice["finish_reason"] for choice in choices if choice.get("finish_reason")), "")
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        start = message[:200].decode("utf-8", "replace")
        raise ServerTrouble(f"no {'chunk' if stream else 'answer'} of this protocol: {start!r}") from None
    return Piece(
        text=text,
        last=not stream or bool(finish),
        usage_tokens=usage if isinstance(usage, int) and not isinstance(usage, bool) else None,
        finish=str(finish),
    )
