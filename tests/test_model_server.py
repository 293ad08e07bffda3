"""The scripted model server, asked by the real SDKs: what arrives, what breaks, and what is on record."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import anthropic
import httpx2
import model_clients
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types
from model_clients import DIALECTS
from model_scripts import TOKENS, WORDS, adding
from pydantic import BaseModel

from raysearch.testing.models import (
    Conversation,
    Hang,
    Message,
    ModelServer,
    Queue,
    Request,
    ScriptError,
    ToolCall,
    Turn,
    When,
    choose,
    key_digest,
)

ERRORS = (anthropic.AnthropicError, openai.OpenAIError, genai_errors.APIError, httpx2.HTTPError, ValueError)
"""What the SDKs raise of an answer that cannot be had or read (a broken JSON or encoding is a ValueError)."""

each_way = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@each_way
@each_dialect
def test_a_turn_arrives_as_it_was_scripted(dialect: str, stream: bool) -> None:
    calls = (ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": -3, "b": 10**12}))
    turn = Turn(WORDS, calls, thinking="Well, wöll.", tokens=TOKENS, pieces=5)
    with ModelServer(turn) as server, model_clients.client(dialect, server.url, stream=stream) as client:
        heard = client.ask(f"Say {WORDS}")
    assert heard.text == WORDS
    assert heard.calls == (("add", {"a": 1, "b": 2}), ("add", {"a": -3, "b": 10**12}))
    assert heard.thinking == "Well, wöll."
    assert heard.tokens == (100, 40, 20)
    stops = {"anthropic": "tool_use", "openai_chat": "tool_calls", "openai_responses": "completed", "gemini": "STOP"}
    assert heard.stop == stops[dialect]
    (request,) = server.requests
    assert (request.dialect, request.stream, request.system) == (dialect, stream, "Be brief.")
    assert request.prompt == f"Say {WORDS}"
    assert [(tool.name, tool.description, tool.schema) for tool in request.tools] == [
        ("add", "adds", model_clients.SCHEMA)
    ]
    assert request.key == key_digest({"anthropic": "sk-a", "gemini": "sk-g"}.get(dialect, "sk-o"))


@each_way
@each_dialect
def test_a_conversation_with_parallel_tools(dialect: str, stream: bool) -> None:
    with ModelServer(adding) as server, model_clients.client(dialect, server.url, stream=stream) as client:
        heard = client.ask("1 + 2, 3 + 4?")
        assert len(heard.calls) == 2
        assert client.tell([str(call["a"] + call["b"]) for _, call in heard.calls]).text == "3 and 7."
    first, second = server.requests
    assert (first.step, second.step) == (0, 1)
    assert [message.role for message in second.messages] == ["user", "assistant", "tool"]
    assert [call.arguments for call in second.calls] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert [result.text for result in second.results] == ["3", "7"]
    assert second.result_of(second.calls[1]) == second.results[1]
    assert second.messages[1].text == "Let me add."
    thoughts = {"openai_chat": ""}  # the only dialect that does not hand them back
    assert second.messages[1].thinking.replace("\n", "") == thoughts.get(dialect, "Two sums, then.")


@each_dialect
def test_the_next_prompt_starts_the_count_again(dialect: str) -> None:
    with ModelServer(adding) as server, model_clients.client(dialect, server.url, stream=False) as client:
        for _ in range(2):
            assert len(client.ask("1 + 2, 3 + 4?").calls) == 2
            assert client.tell(["3", "7"]).text == "3 and 7."
    assert [request.step for request in server.requests] == [0, 1, 0, 1]
    assert [len(request.calls) for request in server.requests] == [0, 2, 0, 2]


@each_way
@each_dialect
@pytest.mark.parametrize("stop", ["length", "refusal"])
def test_a_model_that_stops_early(dialect: str, stream: bool, stop: Any) -> None:
    turn = Turn("I cannot", stop=stop)
    with ModelServer(turn) as server, model_clients.client(dialect, server.url, stream=stream) as client:
        if (stop, stream) == ("length", True) and dialect.startswith("openai"):  # its helper for streams takes none
            with pytest.raises((openai.LengthFinishReasonError, RuntimeError)):
                client.ask("go on")
            return
        heard = client.ask("go on")
    expected = {
        "anthropic": {"length": "max_tokens", "refusal": "refusal"},
        "openai_chat": {"length": "length", "refusal": "stop"},
        "openai_responses": {"length": "incomplete", "refusal": "completed"},
        "gemini": {"length": "MAX_TOKENS", "refusal": "SAFETY"},
    }
    assert heard.stop == expected[dialect][stop]
    if (dialect, stop) == ("openai_responses", "refusal"):
        assert heard.raw.output[0].content[0].refusal == "I cannot"
    elif (dialect, stop) != ("gemini", "refusal"):
        assert heard.text == "I cannot"


class Sum(BaseModel):
    a: int
    b: int


def test_structured_output_as_each_sdk_asks_for_it() -> None:
    with ModelServer(Turn('{"a": 1, "b": 2}')) as server:
        with anthropic.Anthropic(base_url=server.url, api_key="k") as claude:
            question = [{"role": "user", "content": "?"}]
            parsed = claude.messages.parse(model="m", max_tokens=9, messages=question, output_format=Sum)
            assert parsed.parsed_output == Sum(a=1, b=2)
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="k") as gpt:
            chat = gpt.chat.completions.parse(model="m", messages=question, response_format=Sum)
            assert chat.choices[0].message.parsed == Sum(a=1, b=2)
            assert gpt.responses.parse(model="m", input="?", text_format=Sum).output_parsed == Sum(a=1, b=2)
        google = genai.Client(api_key="k", http_options=genai_types.HttpOptions(base_url=server.url))
        config = genai_types.GenerateContentConfig(response_mime_type="application/json", response_schema=Sum)
        assert google.models.generate_content(model="m", contents="?", config=config).parsed == Sum(a=1, b=2)
        google.close()
    for request in server.requests:
        assert request.schema is not None
        assert set(request.schema["properties"]) == {"a", "b"}


def test_models_are_listed_and_tokens_counted_in_each_dialect() -> None:
    with ModelServer(Turn(), models=("m1", "m2")) as server:
        with anthropic.Anthropic(base_url=server.url, api_key="k") as claude:
            assert [model.id for model in claude.models.list()] == ["m1", "m2"]
            assert claude.models.retrieve("m2").id == "m2"
            with pytest.raises(anthropic.NotFoundError):
                claude.models.retrieve("m3")
            count = claude.messages.count_tokens(model="m", messages=[{"role": "user", "content": "four" * 10}])
            assert count.input_tokens == 10
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="k") as gpt:
            assert [model.id for model in gpt.models.list()] == ["m1", "m2"]
            assert gpt.responses.input_tokens.count(model="m", input="four" * 10).input_tokens == 10
        google = genai.Client(api_key="k", http_options=genai_types.HttpOptions(base_url=server.url))
        assert [model.name for model in google.models.list()] == ["models/m1", "models/m2"]
        assert google.models.count_tokens(model="m", contents="four" * 10).total_tokens == 10
        google.close()
    assert server.requests == ()  # none of this asks for a turn
    assert {exchange.status for exchange in server.exchanges} == {200, 404}


def test_a_stored_response_is_continued_and_an_unknown_one_refused() -> None:
    with ModelServer(adding) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="k") as gpt:
        first = gpt.responses.create(model="m", input="1 + 2, 3 + 4?")
        outputs = [
            {"type": "function_call_output", "call_id": item.call_id, "output": "0"}
            for item in first.output
            if item.type == "function_call"
        ]
        second = gpt.responses.create(model="m", input=outputs, previous_response_id=first.id)
        assert second.output_text == "3 and 7."
        unkept = gpt.responses.create(model="m", input="again?", store=False)
        for unknown in ("resp_x", unkept.id):
            with pytest.raises(openai.NotFoundError, match="not found"):
                gpt.responses.create(model="m", input="and?", previous_response_id=unknown)
    assert server.requests[1].step == 1


@each_dialect
def test_a_call_without_its_result_is_refused(dialect: str) -> None:
    with ModelServer(adding) as server, model_clients.client(dialect, server.url, stream=False) as client:
        client.ask("1 + 2, 3 + 4?")
        with pytest.raises(ERRORS) as caught:
            client.ask("never mind")
    assert 400 in {getattr(caught.value, "status_code", 0), getattr(caught.value, "code", 0)}
    assert "no tool output found for the call" in str(caught.value)
    assert len(server.requests) == 1


def test_a_thought_that_was_altered_is_refused() -> None:
    turn = Turn("Yes.", thinking="secret")
    with ModelServer(turn) as server, model_clients.client("anthropic", server.url, stream=False) as client:
        client.ask("?").raw.content[0].thinking = "altered"
        with pytest.raises(anthropic.BadRequestError, match="signature"):
            client.ask("?")


def test_many_at_once_each_get_their_own_conversation() -> None:
    """Twenty-five conversations of two turns in parallel, and a queue of which each turn is given once."""

    def count(request: Request) -> Turn:
        return Turn(calls=(ToolCall("add", {"of": request.prompt}),)) if request.step == 0 else Turn(request.prompt)

    async def converse(client: anthropic.AsyncAnthropic, name: str) -> str:
        messages: list[Any] = [{"role": "user", "content": name}]
        tools = [{"name": "add", "input_schema": {"type": "object"}}]
        asked = {"model": "m", "max_tokens": 9, "tools": tools}
        said = await client.messages.create(messages=messages, **asked)
        result = {"type": "tool_result", "tool_use_id": said.content[0].id, "content": "1"}
        messages += [{"role": "assistant", "content": said.content}, {"role": "user", "content": [result]}]
        async with client.messages.stream(messages=messages, **asked) as stream:
            return await stream.get_final_text()

    async def all_of_them(url: str) -> list[str]:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0) as client:
            return await asyncio.gather(*(converse(client, f"lane {number}") for number in range(25)))

    with ModelServer(count) as server:
        assert asyncio.run(all_of_them(server.url)) == [f"lane {number}" for number in range(25)]
    assert [request.number for request in server.requests] == list(range(1, 51))

    queue, inside, most = Queue([Turn(str(number)) for number in range(40)]), [], []

    def alone(request: Request) -> Turn:
        inside.append(request)
        threading.Event().wait(0.001)
        most.append(len(inside))
        inside.remove(request)
        return queue(request)

    def ask(http: httpx2.Client) -> str:
        body = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
        answer = http.post("/v1/chat/completions", json=body, timeout=30).json()
        return str(answer["choices"][0]["message"]["content"])

    with (
        ModelServer(alone) as server,
        httpx2.Client(base_url=server.url) as http,
        ThreadPoolExecutor(40) as threads,
    ):
        got = list(threads.map(ask, [http] * 40))
    assert sorted(got, key=int) == [str(number) for number in range(40)]
    assert set(most) == {1}  # a script is never asked twice at once


def test_keys_are_checked_and_never_kept() -> None:
    planted = "sk-planted-0123456789"
    with ModelServer(Turn("ok"), keys=[planted]) as server, ExitStack() as stack:
        with (
            model_clients.client("anthropic", server.url, stream=False) as other,
            pytest.raises(anthropic.AuthenticationError),
        ):
            other.ask("?")
        http = stack.enter_context(httpx2.Client(base_url=server.url))
        for headers, query in (
            ({"x-api-key": planted}, ""),
            ({"authorization": f"Bearer {planted}"}, ""),
            ({"x-goog-api-key": planted}, ""),
            ({"cookie": f"session={planted}", "api-key": planted}, ""),
            ({}, f"?key={planted}"),
        ):
            body = {"contents": [{"parts": [{"text": "?"}]}]}
            answer = http.post(f"/v1beta/models/m:generateContent{query}", json=body, headers=headers)
            assert answer.status_code == 200
    assert {request.key for request in server.requests} == {key_digest(planted)}
    assert planted not in repr((server.requests, server.exchanges))
    assert server.exchanges[0].status == 401


def test_rules_choose_by_model_prompt_system_and_dialect() -> None:
    script = choose(
        When([Turn("o1"), Turn("o2")], model="opus"),
        When(Turn("title"), system="title generator"),
        When(lambda request: Turn(f"hears {request.prompt}"), prompt="^repeat"),
        When(Turn("google"), dialect="gemini"),
        otherwise=Turn("none"),
    )

    def asked(model: str, prompt: str, system: str = "", dialect: Any = "anthropic") -> str:
        return script(Request(1, dialect, model, (Message("user", prompt),), system)).text

    assert [asked("claude-OPUS-5", "?"), asked("claude-opus-5", "?")] == ["o1", "o2"]
    assert asked("m", "?", "You are a title generator") == "title"
    assert asked("m", "Repeat this") == "hears Repeat this"
    assert asked("m", "?", dialect="gemini") == "google"
    assert asked("m", "?") == "none"
    with pytest.raises(ScriptError, match="no rule for a request to m"):
        choose(When(Turn(), model="x"))(Request(1, "gemini", "m", ()))


def _fails(request: Request) -> Turn:
    raise KeyError("lost")


def _answers_nothing(request: Request) -> Any:
    return None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (_fails, "KeyError: 'lost'"),
        (_answers_nothing, "must return a Turn, not NoneType"),
        (Queue([]), "all 0 turns were given; still asked: 'well'"),
        (Conversation([]), "0 turns a prompt, but m was asked for one more"),
    ],
)
def test_a_script_that_fails_is_told_to_the_client_and_to_the_test(script: Any, reason: str) -> None:
    def use() -> None:
        with ModelServer(script) as server:
            body = {"model": "m", "input": "well"}
            answer = httpx2.post(f"{server.url}/v1/responses", json=body)
            assert answer.status_code == 400
            assert reason in answer.json()["error"]["message"]
            assert len(server.script_errors) == 1

    with pytest.raises(ScriptError, match=reason.replace("(", r"\(")):
        use()


def test_leaving_ends_what_hangs_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    failures: list[BaseException] = []

    def wait(url: str) -> None:
        try:
            httpx2.post(f"{url}/v1/responses", json={"model": "m", "input": "?", "stream": True}, timeout=60)
        except httpx2.HTTPError as error:
            failures.append(error)

    with ModelServer(Turn(fault=Hang())) as server:
        waiting = [threading.Thread(target=wait, args=(server.url,)) for _ in range(5)]
        for thread in waiting:
            thread.start()
        while len(server.requests) < 5:
            threading.Event().wait(0.005)
    for thread in waiting:
        thread.join(30)
    assert len(failures) == 5
    assert [exchange.outcome for exchange in server.exchanges] == ["hung"] * 5
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert {thread for thread in threading.enumerate() if thread.name == "model-server"} == set()


def test_tokens_are_estimated_where_none_are_given() -> None:
    with ModelServer(Turn("x" * 400)) as server:
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "y" * 800}]}
        usage = httpx2.post(f"{server.url}/v1/messages", json=body).json()["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (200, 0, 100)
