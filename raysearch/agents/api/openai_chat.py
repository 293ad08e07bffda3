"""Any model behind the Chat Completions API: vLLM, Ollama and many more speak it beside OpenAI itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import openai

from raysearch.agents.api.failures import failure
from raysearch.agents.api.messages import Call, Conversation, Message, ProviderError, Stop, Turn, clean
from raysearch.types import Usage

_STOPS: dict[str, Stop] = {
    "stop": "end",
    "tool_calls": "tools",
    "function_call": "tools",
    "length": "length",
    "content_filter": "refused",
}


@dataclass(slots=True)
class Chat:
    """See `raysearch.agents.api.messages.Provider`."""

    client: openai.OpenAI
    model: str
    window_tokens: int = 32_768
    official: bool = False
    """OpenAI's own service, which no longer knows ``max_tokens``; other servers know nothing else."""

    def keeps_schema(self, tools: bool) -> bool:
        """Servers that hold to a schema cannot leave the model free to call tools at the same time."""
        return not tools

    def complete(self, conversation: Conversation, *, timeout_s: float) -> Turn:
        heard = _Heard()
        try:
            with self.client.chat.completions.create(**self._request(conversation), timeout=timeout_s) as chunks:
                for chunk in chunks:
                    heard.take(chunk)
            return heard.turn(self.model)
        except Exception as error:
            raise failure(error, heard.length, heard.usage(self.model)) from None

    def close(self) -> None:
        self.client.close()

    def _request(self, conversation: Conversation) -> dict[str, Any]:
        messages = [{"role": "system", "content": conversation.system}] if conversation.system else []
        messages += [sent for message in conversation.messages for sent in _messages(message)]
        request: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens" if self.official else "max_tokens": conversation.output_max,
        }
        if conversation.effort:
            request["reasoning_effort"] = conversation.effort
        if conversation.tools:
            request["tools"] = [
                {
                    "type": "function",
                    "function": {"name": t.name, "description": t.description, "parameters": dict(t.schema)},
                }
                for t in conversation.tools
            ]
            request["tool_choice"] = "auto" if conversation.tools_allowed else "none"
        if conversation.schema is not None:
            form = {"name": "answer", "schema": dict(conversation.schema), "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": form}
        return request


def _messages(message: Message) -> Iterator[dict[str, Any]]:
    for result in message.results:
        content = f"error: {result.text}" if result.failed else result.text
        yield {"role": "tool", "tool_call_id": result.id, "content": content}
    if message.role == "user":
        if message.text or not message.results:
            yield {"role": "user", "content": message.text or "(nothing)"}
        return
    sent: dict[str, Any] = {"role": "assistant", "content": message.text or (None if message.calls else "(nothing)")}
    if message.calls:
        sent["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                # servers parse what is handed back: what was no JSON is said in the tool's result
                "function": {"name": call.name, "arguments": call.raw if call.arguments else "{}"},
            }
            for call in message.calls
        ]
    yield sent


@dataclass(slots=True)
class _Heard:
    """An answer as it comes in."""

    length: int | None = None
    """Characters so far; None before the first event."""
    texts: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    calls: dict[int, Call] = field(default_factory=dict)
    finish: str = ""
    tokens: Any = None

    def take(self, chunk: Any) -> None:
        self.length = self.length or 0
        self.tokens = getattr(chunk, "usage", None) or self.tokens
        for choice in (chunk.choices or ())[:1]:
            self.finish = choice.finish_reason or self.finish
            delta = choice.delta
            if delta is None:
                continue
            for piece, into in ((delta.content, self.texts), (getattr(delta, "refusal", None), self.refusals)):
                if piece:
                    into.append(piece)
                    self.length += len(piece)
            self.length += len(str(getattr(delta, "reasoning_content", None) or ""))
            for number, part in enumerate(delta.tool_calls or ()):
                self._grow(number if part.index is None else part.index, part)

    def turn(self, model: str) -> Turn:
        """The whole answer. Raises ProviderError where it is none."""
        if not self.finish:
            raise ProviderError("the answer broke off")
        calls = tuple(call.done(index) for index, call in sorted(self.calls.items()))
        stop = "tools" if calls and self.finish == "stop" else _STOPS.get(self.finish, "end")
        if self.refusals:
            stop = "refused"
        text = clean("".join(self.texts) or "".join(self.refusals))
        return Turn(text, calls, stop, self.usage(model))

    def usage(self, model: str) -> Usage:
        """What the server counted; nothing where it did not say."""
        if self.tokens is None:
            return Usage()
        details = getattr(self.tokens, "prompt_tokens_details", None)
        return Usage(
            tokens_in=int(self.tokens.prompt_tokens),
            tokens_cached=int(getattr(details, "cached_tokens", None) or 0),
            tokens_out=int(self.tokens.completion_tokens or 0),
            calls=1,
            model=model,
            turns=1,
        )

    def _grow(self, index: int, part: Any) -> None:
        call = self.calls.setdefault(index, Call())
        call.id = clean(part.id or "") or call.id
        if part.function is None:
            return
        call.name = clean(part.function.name or "") or call.name
        if part.function.arguments:
            call.pieces.append(part.function.arguments)
            self.length = (self.length or 0) + len(part.function.arguments)
