"""The real SDKs behind one small face, so that one test asks the same of every dialect, streamed and not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import anthropic
import httpx2
import openai
from google import genai
from google.genai import types as genai_types

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
DIALECTS = ("anthropic", "openai_chat", "openai_responses", "gemini")


@dataclass(frozen=True)
class Heard:
    """What an SDK made of an answer."""

    text: str
    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    thinking: str
    tokens: tuple[int, int, int]
    """Prompt, cached part of it, output."""
    stop: str
    raw: Any = field(repr=False, compare=False, default=None)


class Client(Protocol):
    """A conversation: `ask` puts a prompt, `tell` the results of the tools that the last answer called."""

    def ask(self, prompt: str) -> Heard: ...

    def tell(self, results: list[str]) -> Heard: ...


@contextmanager
def client(dialect: str, url: str, *, stream: bool, timeout_s: float = 20.0, retries: int = 0) -> Iterator[Client]:
    """A client of ``dialect`` that offers one tool, ``add``. No certificates are loaded, which takes long."""
    http = httpx2.Client(verify=False)
    common: Any = {"max_retries": retries, "timeout": timeout_s, "http_client": http}
    if dialect == "anthropic":
        with anthropic.Anthropic(base_url=url, api_key="sk-a", **common) as sdk:
            yield _Anthropic(sdk, stream)
    elif dialect == "gemini":
        options = genai_types.HttpOptions(
            base_url=url,
            timeout=int(timeout_s * 1000),
            client_args={"verify": False},
            async_client_args={"verify": False},
            retry_options=genai_types.HttpRetryOptions(attempts=retries + 1, initial_delay=0, jitter=0),
        )
        google = genai.Client(api_key="sk-g", http_options=options)
        yield _Gemini(google, stream)
        google.close()
    else:
        kind = _Chat if dialect == "openai_chat" else _Responses
        with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-o", **common) as sdk2:
            yield kind(sdk2, stream)


class _Anthropic:
    def __init__(self, sdk: anthropic.Anthropic, stream: bool) -> None:
        self._sdk, self._stream, self._messages, self._ids = sdk, stream, [], []

    def ask(self, prompt: str) -> Heard:
        self._messages.append({"role": "user", "content": prompt})
        asked = {
            "model": "claude-x",
            "max_tokens": 5000,
            "system": "Be brief.",
            "messages": self._messages,
            "tools": [{"name": "add", "description": "adds", "input_schema": SCHEMA}],
            "thinking": {"type": "enabled", "budget_tokens": 2000},
        }
        if self._stream:
            with self._sdk.messages.stream(**asked) as stream:
                said = stream.get_final_message()
        else:
            said = self._sdk.messages.create(**asked)
        self._messages.append({"role": "assistant", "content": said.content})
        calls = [block for block in said.content if block.type == "tool_use"]
        self._ids = [block.id for block in calls]
        usage = said.usage
        prompt_tokens = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
        return Heard(
            "".join(block.text for block in said.content if block.type == "text"),
            tuple((block.name, block.input) for block in calls),
            "".join(block.thinking for block in said.content if block.type == "thinking"),
            (prompt_tokens, usage.cache_read_input_tokens, usage.output_tokens),
            said.stop_reason,
            said,
        )

    def tell(self, results: list[str]) -> Heard:
        blocks = [
            {"type": "tool_result", "tool_use_id": name, "content": result}
            for name, result in zip(self._ids, results, strict=True)
        ]
        return self.ask(blocks)


class _Chat:
    def __init__(self, sdk: openai.OpenAI, stream: bool) -> None:
        self._sdk, self._stream, self._ids = sdk, stream, []
        self._messages = [{"role": "system", "content": "Be brief."}]

    def ask(self, prompt: str | None) -> Heard:
        if prompt is not None:
            self._messages.append({"role": "user", "content": prompt})
        tool = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": SCHEMA}}
        asked = {"model": "gpt-x", "messages": self._messages, "tools": [tool]}
        if self._stream:
            with self._sdk.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
                for _ in stream:
                    pass
                said = stream.get_final_completion()
        else:
            said = self._sdk.chat.completions.create(**asked)
        message, usage = said.choices[0].message, said.usage
        calls = message.tool_calls or []
        self._ids = [call.id for call in calls]
        kept = {"role": "assistant", "content": message.content}
        if calls:
            names = ("id", "type", "function")
            kept["tool_calls"] = [{n: v for n, v in call.to_dict().items() if n in names} for call in calls]
        self._messages.append(kept)
        return Heard(
            message.content or message.refusal or "",
            tuple((call.function.name, json.loads(call.function.arguments)) for call in calls),
            getattr(message, "reasoning_content", None) or "",
            (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens),
            said.choices[0].finish_reason,
            said,
        )

    def tell(self, results: list[str]) -> Heard:
        for name, result in zip(self._ids, results, strict=True):
            self._messages.append({"role": "tool", "tool_call_id": name, "content": result})
        return self.ask(None)


class _Responses:
    def __init__(self, sdk: openai.OpenAI, stream: bool) -> None:
        self._sdk, self._stream, self._items, self._ids = sdk, stream, [], []

    def ask(self, prompt: str | None) -> Heard:
        if prompt is not None:
            self._items.append({"role": "user", "content": prompt})
        asked = {
            "model": "gpt-x",
            "input": self._items,
            "instructions": "Be brief.",
            "tools": [{"type": "function", "name": "add", "description": "adds", "parameters": SCHEMA, "strict": True}],
            "reasoning": {"effort": "high"},
            "store": False,
        }
        if self._stream:
            with self._sdk.responses.stream(**asked) as stream:
                for _ in stream:
                    pass
                said = stream.get_final_response()
        else:
            said = self._sdk.responses.create(**asked)
        self._items += [item.to_dict() for item in said.output]
        for item in self._items:
            item.pop("parsed_arguments", None)
        calls = [item for item in said.output if item.type == "function_call"]
        self._ids = [call.call_id for call in calls]
        usage = said.usage
        return Heard(
            said.output_text,
            tuple((call.name, json.loads(call.arguments)) for call in calls),
            "".join(part.text for item in said.output if item.type == "reasoning" for part in item.summary),
            (usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens),
            said.status,
            said,
        )

    def tell(self, results: list[str]) -> Heard:
        for name, result in zip(self._ids, results, strict=True):
            self._items.append({"type": "function_call_output", "call_id": name, "output": result})
        return self.ask(None)


class _Gemini:
    def __init__(self, sdk: genai.Client, stream: bool) -> None:
        self._sdk, self._stream, self._contents, self._calls = sdk, stream, [], []

    def ask(self, prompt: str | None) -> Heard:
        if prompt is not None:
            self._contents.append(genai_types.Content(role="user", parts=[genai_types.Part(text=prompt)]))
        declared = genai_types.FunctionDeclaration(name="add", description="adds", parameters_json_schema=SCHEMA)
        config = genai_types.GenerateContentConfig(
            system_instruction="Be brief.", tools=[genai_types.Tool(function_declarations=[declared])]
        )
        asked = {"model": "gemini-x", "contents": self._contents, "config": config}
        models = self._sdk.models
        said = [*models.generate_content_stream(**asked)] if self._stream else [models.generate_content(**asked)]
        parts = [part for chunk in said for part in chunk.candidates[0].content.parts or []]
        self._contents.append(genai_types.Content(role="model", parts=parts))
        self._calls = [part.function_call for part in parts if part.function_call]
        usage = said[-1].usage_metadata
        return Heard(
            "".join(part.text for part in parts if part.text and not part.thought),
            tuple((call.name, call.args) for call in self._calls),
            "".join(part.text for part in parts if part.thought),
            (
                usage.prompt_token_count,
                usage.cached_content_token_count or 0,
                usage.candidates_token_count + (usage.thoughts_token_count or 0),
            ),
            said[-1].candidates[0].finish_reason.value,
            said[-1],
        )

    def tell(self, results: list[str]) -> Heard:
        parts = [
            genai_types.Part.from_function_response(name=call.name, response={"output": result})
            for call, result in zip(self._calls, results, strict=True)
        ]
        self._contents.append(genai_types.Content(role="user", parts=parts))
        return self.ask(None)
