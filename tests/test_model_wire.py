"""What the scripted model server puts on the wire, byte by byte, and its command line."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_scripts import TOKENS

from raysearch.testing.models import (
    Cut,
    Drop,
    Hang,
    HttpError,
    InvalidUtf8,
    Malformed,
    ModelServer,
    Shred,
    ToolCall,
    Turn,
)
from raysearch.testing.models.routes import WORDINGS
from raysearch.testing.models.wire import Wire, plan

SCRIPTS = Path(__file__).with_name("model_scripts.py")
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "anthropic": ("/v1/messages", {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}),
    "openai_chat": (
        "/v1/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream_options": {"include_usage": True}},
    ),
    "openai_responses": ("/v1/responses", {"model": "m", "input": "?"}),
    "gemini": ("/v1beta/models/m:streamGenerateContent?alt=sse", {"contents": [{"parts": [{"text": "?"}]}]}),
}


def _post(path: str, body: object, *headers: str, version: str = "1.1") -> bytes:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/{version}", "host: x", f"content-length: {len(sent)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + sent


@contextmanager
def _connected(server: ModelServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        yield connection


def _until_closed(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def _answer(server: ModelServer, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and what follows, read until the server closes; the client says that it will send no more."""
    with _connected(server) as connection:
        connection.sendall(request)
        head, _, rest = _until_closed(connection).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, rest


def _unchunked(body: bytes) -> tuple[bytes, bool]:
    """What chunks there are, and whether the last one, which is empty, is there."""
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        if int(size, 16) == 0:
            return b"".join(parts), True
        parts.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return b"".join(parts), False


def _streamed(dialect: str, turn: Turn) -> tuple[bytes, bool]:
    path, body = BODIES[dialect]
    with ModelServer(turn, clock=lambda: 1.8e9) as server:
        status, headers, rest = _answer(server, _post(path, {**body, "stream": True}, "connection: close"))
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    return _unchunked(rest)


def _events(body: bytes) -> list[tuple[str, Any]]:
    """Name and data of each server-sent event."""
    found = []
    for event in body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in event.split("\n"))
        data = fields["data"]
        found.append((fields.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return found


def test_the_events_of_a_message() -> None:
    turn = Turn("Hello", (ToolCall("f", {"x": 1}), ToolCall("g")), "Hm", TOKENS, pieces=1)
    body, ended = _streamed("anthropic", turn)
    assert ended
    events = _events(body)
    assert all(name == data["type"] for name, data in events)
    told = [data["delta"]["type"] if name == "content_block_delta" else name for name, data in events]
    block = ["content_block_start", "input_json_delta", "input_json_delta", "content_block_stop"]
    assert told == [
        *("message_start", "ping"),
        *("content_block_start", "thinking_delta", "signature_delta", "content_block_stop"),
        *("content_block_start", "text_delta", "content_block_stop"),
        *block,
        *block,
        *("message_delta", "message_stop"),
    ]
    assert [data["index"] for name, data in events if name == "content_block_start"] == [0, 1, 2, 3]
    assert events[0][1]["message"]["usage"]["input_tokens"] == 50  # of 100, 40 read from the cache and 10 written to it
    assert events[-2][1]["usage"]["output_tokens"] == 20


def test_the_events_of_a_response() -> None:
    turn = Turn("Hello", (ToolCall("f", {"x": 1}),), "Hm", TOKENS, pieces=1)
    events = _events(_streamed("openai_responses", turn)[0])
    assert all(name == data["type"] for name, data in events)
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    item = ["output_item.added", "output_item.done"]
    assert [name.removeprefix("response.") for name, _ in events] == [
        *("created", "in_progress"),
        *(item[0], "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", item[1]),
        *(item[0], "content_part.added", "output_text.delta", "output_text.done", "content_part.done", item[1]),
        *(item[0], "function_call_arguments.delta", "function_call_arguments.done", item[1]),
        "completed",
    ]
    assert events[-1][1]["response"]["usage"]["input_tokens_details"] == {"cached_tokens": 40, "cache_write_tokens": 10}


def test_the_chunks_of_a_chat_completion() -> None:
    turn = Turn("Hello", (ToolCall("f", {"x": 1}), ToolCall("g")), tokens=TOKENS, pieces=1)
    *chunks, (_, done) = _events(_streamed("openai_chat", turn)[0])
    assert done == "[DONE]"
    deltas = [data["choices"][0]["delta"] for _, data in chunks if data["choices"]]
    assert deltas[:2] == [{"role": "assistant", "content": ""}, {"content": "Hello"}]
    assert [(call["index"], call.get("id")) for delta in deltas for call in delta.get("tool_calls", [])] == [
        *((0, "call_0001_0"), (0, None)),
        *((1, "call_0001_1"), (1, None)),
    ]
    assert chunks[-2][1]["choices"][0]["finish_reason"] == "tool_calls"
    assert chunks[-1][1]["choices"] == []
    assert chunks[-1][1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 40}


def test_the_chunks_of_gemini() -> None:
    turn = Turn("Hello", (ToolCall("f", {"x": 1}), ToolCall("g")), "Hm", TOKENS, pieces=1)
    chunks = [data for _, data in _events(_streamed("gemini", turn)[0])]
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
    assert [next(iter(part)) for part in parts] == ["text", "text", "functionCall", "functionCall", "text"]
    assert ["thoughtSignature" in part for part in parts] == [False, False, True, False, False]
    assert ["finishReason" in chunk["candidates"][0] for chunk in chunks] == [False, False, False, True]
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 15, "totalTokenCount": 120}
    assert chunks[-1]["usageMetadata"] == usage | {"cachedContentTokenCount": 40, "thoughtsTokenCount": 5}


@pytest.mark.parametrize("dialect", BODIES)
def test_a_stream_is_cut_within_an_event(dialect: str) -> None:
    whole, _ = _streamed(dialect, Turn("One two three four"))
    for after in (0.0, 0.3, 0.99):
        body, ended = _streamed(dialect, Turn("One two three four", fault=Cut(after)))
        assert not ended
        assert whole.startswith(body)
        assert body == b"" if after == 0 else not body.endswith(b"\n")
        assert _streamed(dialect, Turn("One two three four", fault=Cut(after, clean=True))) == (body, True)


def test_a_body_is_cut_short_of_the_length_announced() -> None:
    path, body = BODIES["anthropic"]
    with ModelServer(Turn("Hello", fault=Cut(0.5))) as server:
        status, headers, rest = _answer(server, _post(path, body))
    assert status == 200
    assert 0 < len(rest) < int(headers["content-length"])
    assert [exchange.outcome for exchange in server.exchanges] == ["cut"]


def test_one_event_is_broken_and_the_rest_is_not() -> None:
    body, ended = _streamed("anthropic", Turn("One two three four", fault=Malformed()))
    broken = []
    for event in body.decode().split("\n\n")[:-1]:
        try:
            json.loads(event.partition("data: ")[2])
        except ValueError:
            broken.append(event)
    assert ended
    assert len(broken) == 1
    assert body.endswith(b'{"type":"message_stop"}\n\n')


@pytest.mark.parametrize("dialect", BODIES)
def test_the_bytes_that_are_no_text_stand_in_the_text(dialect: str) -> None:
    body, ended = _streamed(dialect, Turn("onetwo", fault=InvalidUtf8(), pieces=1))
    assert ended
    assert b"one\xff\xfe\xc3(two" in body
    with pytest.raises(UnicodeDecodeError):
        body.decode()


def test_nothing_at_all_is_sent_before_a_drop_or_a_hang() -> None:
    path, body = BODIES["openai_chat"]
    with ModelServer([Turn(fault=Drop()), Turn(fault=Hang())]) as server:
        with _connected(server) as dropped:
            dropped.sendall(_post(path, body))
            assert _until_closed(dropped) == b""
        with _connected(server) as hung:
            hung.sendall(_post(path, body))
            hung.settimeout(0.05)
            with pytest.raises(TimeoutError):
                hung.recv(1)
        assert server.wait_idle()  # it has noticed that the client went
    assert [(exchange.status, exchange.outcome) for exchange in server.exchanges] == [(0, "cut"), (0, "hung")]


def test_a_client_that_goes_while_the_model_thinks_is_noticed() -> None:
    path, body = BODIES["anthropic"]
    with ModelServer([Turn("late", delay_s=60), Turn("a b c d", pace_s=60)]) as server:
        for arrived in (1, 2):
            with _connected(server) as connection:
                connection.sendall(_post(path, {**body, "stream": True}))
                while len(server.requests) < arrived:
                    threading.Event().wait(0.002)
        assert server.wait_idle()
    assert [exchange.outcome for exchange in server.exchanges] == ["left", "left"]


def test_one_connection_serves_many_requests_also_those_sent_ahead() -> None:
    path, body = BODIES["openai_chat"]
    with ModelServer([Turn("one", delay_s=0.01), Turn("two"), Turn("three")]) as server:
        chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(json.dumps(body)), json.dumps(body).encode())
        requests = [
            _post(path, body),
            _post(path, b"", "transfer-encoding: chunked").replace(b"content-length: 0\r\n", b"") + chunked,
            _post(path, body, "connection: close"),
        ]
        status, _, rest = _answer(server, b"".join(requests))
    assert status == 200
    assert [rest.count(f'"content":"{word}"'.encode()) for word in ("one", "two", "three")] == [1, 1, 1]
    assert {exchange.outcome for exchange in server.exchanges} == {"complete"}


def test_an_old_client_gets_the_stream_unchunked() -> None:
    path, body = BODIES["anthropic"]
    with ModelServer(Turn("Hello")) as server:
        _, headers, rest = _answer(server, _post(path, {**body, "stream": True}, version="1.0"))
    assert "transfer-encoding" not in headers
    assert rest.endswith(b'data: {"type":"message_stop"}\n\n')


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (_post("/v1/messages", b"{"), 400, "the body is no JSON"),
        (_post("/v1/messages", [1]), 400, "must be a JSON object"),
        (_post("/v1/messages", {"model": "m", "messages": []}), 400, "at least one message"),
        (_post("/v1/messages", {"model": "m", "messages": [{"role": "user", "content": "?"}]}), 400, "max_tokens"),
        (_post("/v1/messages", {"messages": [{"role": "bot"}], "max_tokens": 1}), 400, "messages.0.role"),
        (_post("/v1/messages", {**BODIES["anthropic"][1], "tools": ["x"]}), 400, "cannot be read"),
        (_post("/v1/messages", BODIES["anthropic"][1], "content-encoding: zstd"), 415, "zstd"),
        (_post("/v1/chat/completions", {"messages": [{"role": "user", "content": 7}]}), 400, "a list of parts"),
        (
            _post("/v1/chat/completions", {"messages": [{"role": "tool", "tool_call_id": "c"}], "model": "m"}),
            400,
            "'c'",
        ),
        (_post("/v1/responses", {"model": "m"}), 400, "input"),
        (_post("/v1/responses", {"model": "m", "input": [{"type": "odd"}]}), 400, "'odd'"),
        (_post("/v1/models/m:generateContent", {"contents": [{"role": "x", "parts": [{"text": ""}]}]}), 400, "'x'"),
        (_post("/v1/models/m:streamGenerateContent", BODIES["gemini"][1]), 400, "alt=sse"),
        (_post("/v1/models/m:embedContent", {}), 404, "no such address"),
        (_post("/v1/embeddings", {}), 404, "no such address"),
        (b"GET /v1/responses HTTP/1.1\r\nhost: x\r\n\r\n", 404, "no such address"),
    ],
)
def test_what_a_provider_would_refuse_is_refused(request_: bytes, status: int, reason: str) -> None:
    with ModelServer(Turn("never said")) as server:
        got, _, body = _answer(server, request_.replace(b"host: x\r\n", b"host: x\r\nconnection: close\r\n"))
    assert got == status
    assert reason in json.loads(body)["error"]["message"]
    assert server.requests == ()
    assert [exchange.status for exchange in server.exchanges] == [status]


def test_heads_and_vertex_addresses() -> None:
    vertex = "/v1/projects/p/locations/l/publishers/anthropic/models/claude-x"
    asked = {"anthropic_version": "vertex-2023-10-16", **BODIES["anthropic"][1]}
    del asked["model"]
    with ModelServer(Turn("Hi")) as server:
        assert _answer(server, b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")[::2] == (200, b"")
        whole = _answer(server, _post(f"{vertex}:rawPredict", asked, "connection: close"))[2]
        streamed = _answer(server, _post(f"{vertex}:streamRawPredict", asked, "connection: close"))[2]
    assert json.loads(whole)["content"] == [{"type": "text", "text": "Hi"}]
    assert _unchunked(streamed)[0].startswith(b"event: message_start\n")
    assert [(request.model, request.stream) for request in server.requests] == [("claude-x", False), ("claude-x", True)]


def _said(dialect: str, events: list[tuple[str, Any]]) -> tuple[str, list[str]]:
    """Text, and the arguments of each call, put together from the deltas of a stream."""
    text: list[str] = []
    passed: dict[int, str] = {}
    for _, data in events:
        if dialect == "anthropic" and data["type"] == "content_block_delta":
            text.append(data["delta"].get("text", ""))
            if "partial_json" in data["delta"]:
                passed[data["index"]] = passed.get(data["index"], "") + data["delta"]["partial_json"]
        elif dialect == "openai_chat" and data != "[DONE]" and data["choices"]:
            delta = data["choices"][0]["delta"]
            text.append(delta.get("content") or "")
            for call in delta.get("tool_calls", []):
                passed[call["index"]] = passed.get(call["index"], "") + call["function"]["arguments"]
        elif dialect == "openai_responses":
            text.append(data["delta"] if data["type"] == "response.output_text.delta" else "")
            if data["type"] == "response.function_call_arguments.delta":
                passed[data["output_index"]] = passed.get(data["output_index"], "") + data["delta"]
        elif dialect == "gemini":
            for part in data["candidates"][0]["content"]["parts"]:
                text.append(part.get("text", ""))
                if "functionCall" in part:
                    passed[len(passed)] = json.dumps(part["functionCall"]["args"])
    return "".join(text), list(passed.values())


def _planned(dialect: str, turn: Turn, stream: bool = True) -> Wire:
    body = BODIES[dialect][1]
    wording = WORDINGS[dialect]  # type: ignore[index]
    return plan(turn, wording.read({**body, "model": "m", "stream": stream}), wording, 0)[0]


arguments = st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=9), st.lists(st.none())))


@settings(max_examples=60, deadline=None)
@given(
    dialect=st.sampled_from(list(BODIES)),
    text=st.text(max_size=40),
    calls=st.lists(arguments, max_size=3),
    pieces=st.integers(1, 9),
    size=st.integers(1, 50),
)
def test_a_stream_says_what_was_scripted_whatever_that_is(
    dialect: str, text: str, calls: list[Mapping[str, Any]], pieces: int, size: int
) -> None:
    turn = Turn(text, tuple(ToolCall("f", passed) for passed in calls), pieces=pieces)
    wire = _planned(dialect, turn)
    said, passed = _said(dialect, _events(b"".join(wire.chunks)))
    assert said == text
    assert [json.loads(each) for each in passed] == calls
    shredded = _planned(dialect, Turn(text, turn.calls, pieces=pieces, fault=Shred(size)))
    assert b"".join(shredded.chunks) == b"".join(wire.chunks)
    assert {len(chunk) for chunk in shredded.chunks[:-1]} <= {size}


@settings(max_examples=60, deadline=None)
@given(dialect=st.sampled_from(list(BODIES)), stream=st.booleans(), after=st.floats(0, 1), text=st.text(max_size=40))
def test_a_cut_is_always_a_true_part_that_ends_within_an_event(
    dialect: str, stream: bool, after: float, text: str
) -> None:
    whole = _planned(dialect, Turn(text), stream)
    for fault in (Cut(after), Hang(after)):
        cut = _planned(dialect, Turn(text, fault=fault), stream)
        body = b"".join(cut.chunks)
        assert b"".join(whole.chunks).startswith(body)
        assert not body.endswith((b"\n\n", b"}\n"))
        assert len(body) < sum(map(len, whole.chunks))
        assert cut.length_bytes == whole.length_bytes


def test_half_a_character_survives_as_an_escape() -> None:
    wire = _planned("anthropic", Turn("\ud83e"), stream=False)
    assert json.loads(wire.chunks[0])["content"][0]["text"] == "\ud83e"


def test_an_unknown_status_has_a_kind_of_its_own_in_each_dialect() -> None:
    kinds = {
        "anthropic": ("invalid_request_error", "api_error"),
        "openai_chat": ("invalid_request_error", "server_error"),
        "openai_responses": ("invalid_request_error", "server_error"),
        "gemini": ("INVALID_ARGUMENT", "UNAVAILABLE"),
    }
    for dialect, expected in kinds.items():
        told = [
            json.loads(_planned(dialect, Turn(fault=HttpError(status))).chunks[0])["error"] for status in (418, 599)
        ]
        assert tuple(error.get("status", error.get("type")) for error in told) == expected
