"""From bytes to pieces: framing, OpenAI's protocol, and HTTP over a real socket."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from evaluators.load import (
    Chat,
    ClosedLoop,
    Completions,
    Events,
    Exchange,
    HttpWire,
    Lines,
    Piece,
    Post,
    Prompts,
    Request,
    Scenario,
    ServerTrouble,
    Whole,
    Window,
    measure_over,
)
from evaluators.load.driver import perform
from evaluators.load.http import blame
from evaluators.load.precise import precise_loop
from evaluators.load.sse import Framing
from raysearch.errors import TargetError

ASKED = Request(1, "How are you?", 5)


def messages(framing: Framing, data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    found = [message for a, b in itertools.pairwise(edges) for message in framing.feed(data[a:b])]
    return [*found, *framing.end()]


payloads = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1), max_size=6)
cuts = st.lists(st.integers(0, 10_000), max_size=12)


@given(payloads, cuts, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_events_come_whole_however_the_network_cuts_them(
    texts: list[str], where: list[int], end: str, noise: bool
) -> None:
    extra = f": keep alive{end}event: delta{end}id: 1{end}" if noise else ""
    stream = "".join(f"{extra}data: {text}{end}{end}" for text in texts).encode()
    if end == "\r" and stream:
        stream += b":"  # a carriage return alone is an end only when the next byte has come
    assert messages(Events(), stream, where) == [text.encode() for text in texts]


@given(payloads, cuts)
def test_lines_come_whole_with_or_without_an_end(texts: list[str], where: list[int]) -> None:
    for stream in ("\n".join(texts).encode(), "".join(f"{text}\n" for text in texts).encode()):
        assert messages(Lines(), stream, where) == [text for text in (t.encode().strip() for t in texts) if text]


@given(st.binary(), cuts)
def test_a_whole_body_is_one_message(body: bytes, where: list[int]) -> None:
    assert messages(Whole(), body, where) == [body]


def test_data_of_several_lines_is_one_event_and_a_broken_off_one_is_none() -> None:
    assert messages(Events(), b"data: a\ndata: b\n\ndata: c\n", []) == [b"a\nb"]


@pytest.mark.parametrize("framing", [Events, Lines, Whole])
def test_a_message_without_end_is_given_up(framing: Callable[[], Framing]) -> None:
    cutter = framing()

    def flood(data: bytes) -> None:
        while True:
            list(cutter.feed(data))

    with pytest.raises(ServerTrouble, match="more than 4 MB"):
        flood(b"x" * 2**20)


def test_an_event_of_too_many_lines_is_given_up() -> None:
    cutter = Events()

    def flood() -> None:
        while True:
            list(cutter.feed(b"data:" + b"x" * 2**19 + b"\n"))

    with pytest.raises(ServerTrouble, match="more than 4 MB"):
        flood()


def test_chat_asks_for_an_exact_length_as_such_servers_understand_it() -> None:
    post = Chat("m", extra={"seed": 3, "stream_options": None}).encode(ASKED)
    assert post.path == "/v1/chat/completions"
    assert json.loads(post.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "How are you?"}],
        "max_tokens": 5,
        "temperature": 0,
        "ignore_eos": True,
        "min_tokens": 5,
        "stream": True,
        "seed": 3,
    }
    plain = json.loads(Completions("m", stream=False).encode(Request(1, "Hm", 5, exact=False)).body)
    assert plain == {"model": "m", "prompt": "Hm", "max_tokens": 5, "temperature": 0}


def test_chunks_say_what_they_say() -> None:
    chat, completions = Chat("m", fields=("reasoning_content", "content")), Completions("m")
    assert chat.decode(b'{"choices": [{"delta": {"role": "assistant", "content": null}}]}') == Piece()
    assert chat.decode(b'{"choices": [{"delta": {"content": "a", "reasoning_content": "b"}}]}') == Piece("ba")
    assert chat.decode(b'{"choices": [], "usage": {"completion_tokens": 7}}') == Piece(usage_tokens=7)
    assert chat.decode(b"[DONE]") == Piece(last=True)
    ended = completions.decode(b'{"choices": [{"text": "x", "finish_reason": "length"}]}')
    assert ended == Piece("x", last=True, finish="length")
    whole = Chat("m", stream=False).decode(b'{"choices": [{"message": {"content": "x"}}], "usage": null}')
    assert whole == Piece("x", last=True)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b'{"choices": 3}',
        b'{"choices": [3]}',
        b'{"choices": [{"delta": {"content": 3}}]}',
        b"\xff",
        b'{"choices": [{"delta": "no"}]}',
        b'{"usage": 3}',
        b'{"error": {"message": "full"}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_chunk_is_the_server_s_trouble(message: bytes) -> None:
    with pytest.raises(ServerTrouble):
        Chat("m").decode(message)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncGenerator[str, None]:
    """The address of a server whose every answer is ``handler``'s."""
    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def asked(handler: Handler, dialect: Any = None, timeout_s: float = 20.0, times: int = 1) -> list[Exchange]:
    """What becomes of a request to ``handler``."""

    async def run() -> list[Exchange]:
        async with serving(handler) as url, HttpWire(url, dialect or Chat("m")) as wire:
            now = asyncio.get_running_loop().time
            return [await perform(wire, ASKED, now(), timeout_s, now) for _ in range(times)]

    with asyncio.Runner(loop_factory=precise_loop) as runner:
        return runner.run(run())


def told(text: str = "", finish: str = "") -> bytes:
    return (
        f"data: {json.dumps({'choices': [{'delta': {'content': text}, 'finish_reason': finish or None}]})}\n\n".encode()
    )


async def streamed(request: web.Request, parts: list[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for part in parts:
        await response.write(part)
        await asyncio.sleep(0)
    return response


def test_an_answer_is_put_together_from_its_stream() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        assert body["messages"][0]["content"] == ASKED.prompt
        usage = b'data: {"choices": [], "usage": {"completion_tokens": 4}}\n\n'
        return await streamed(request, [told("Well "), told(" enough"), told("", "length"), usage, b"data: [DONE]\n\n"])

    [done] = asked(handler)
    assert (done.text, done.trouble, done.usage_tokens, done.finish) == ("Well  enough", "", 4, "length")
    assert sum(done.sizes) == len(done.text)
    assert list(done.arrived_s) == sorted(done.arrived_s)
    assert done.due_s <= done.sent_s <= done.arrived_s[0] <= done.ended_s


def test_connections_are_used_again() -> None:
    peers = []

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return await streamed(request, [told("x", "stop"), b"data: [DONE]\n\n"])

    assert all(not done.trouble for done in asked(handler, times=5))
    assert len(set(peers)) == 1


async def broken_off(request: web.Request) -> web.StreamResponse:
    response = await streamed(request, [told("Half an ")])
    assert request.transport is not None
    request.transport.abort()
    return response


async def unavailable(request: web.Request) -> web.StreamResponse:
    return web.Response(status=503, text="come back later")


async def webpage(request: web.Request) -> web.StreamResponse:
    return await streamed(request, [b"data: <html>\n\n"])


async def half(request: web.Request) -> web.StreamResponse:
    return await streamed(request, [told("Half")])


TROUBLES: dict[str, tuple[Handler, str]] = {
    "status": (unavailable, "status 503: come back later"),
    "no chunk": (webpage, "no chunk of this protocol: '<html>'"),
    "no end": (half, "the stream broke off before its end"),
    "connection": (broken_off, ""),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_is_told(name: str) -> None:
    handler, expected = TROUBLES[name]
    [done] = asked(handler)
    assert done.trouble == "server"
    assert expected in done.reason


def test_an_answer_that_hangs_is_left() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = await streamed(request, [told("One ")])
        await asyncio.sleep(100)
        return response

    [done] = asked(handler, timeout_s=0.2)
    assert (done.trouble, done.text) == ("time", "One ")


def test_nobody_there_is_the_server_s_trouble_and_no_socket_ours() -> None:
    async def run() -> Exchange:
        async with HttpWire("http://127.0.0.1:9", Chat("m")) as wire:  # the discard port: nobody listens
            now = asyncio.get_running_loop().time
            return await perform(wire, ASKED, now(), 20.0, now)

    assert asyncio.run(run()).trouble == "server"
    assert type(blame(OSError(errno.EMFILE, "Too many open files"))).__name__ == "GeneratorTrouble"
    assert type(blame(ConnectionResetError(errno.ECONNRESET, "reset"))).__name__ == "ServerTrouble"


def test_a_wire_must_be_opened() -> None:
    async def run() -> None:
        async for _ in HttpWire("http://127.0.0.1:9", Chat("m")).exchange(ASKED):
            pass

    with pytest.raises(TargetError, match="open the wire first"):
        asyncio.run(run())


class Shout:
    """A target's own protocol: a plain text body, answered line by line."""

    def encode(self, request: Request) -> Post:
        return Post("/shout", f"{request.tokens} {request.prompt}".encode(), Lines, {"Content-Type": "text/plain"})

    def decode(self, message: bytes) -> Piece:
        return Piece(last=True) if message == b"." else Piece(message.decode() + " ")


def test_a_target_s_own_protocol() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.path == "/shout"
        count = int((await request.text()).split()[0])
        return await streamed(request, [*(b"WORD\n" for _ in range(count)), b".\n"])

    [done] = asked(handler, Shout())
    assert (done.text, done.trouble) == ("WORD " * 5, "")


def test_a_load_over_a_real_socket() -> None:
    """Everything but the clock's figures: counts, tokens, evidence."""

    async def handler(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        parts = [told("word ") for _ in range(body["max_tokens"])]
        return await streamed(request, [*parts, told("", "length"), b"data: [DONE]\n\n"])

    async def run() -> Any:
        scenario = Scenario(ClosedLoop(2), Window(0.1, 0.5), Prompts(words=8, tokens=6))
        async with serving(handler) as url, HttpWire(url, Chat("m")) as wire:
            return await measure_over(wire, scenario, seed=1)

    with asyncio.Runner(loop_factory=precise_loop) as runner:
        outcome = runner.run(run())
    assert not outcome.refused or "asked again" in outcome.refused  # whatever this machine is doing meanwhile
    assert {timed.tokens for timed in outcome.requests} == {6}
    assert len({timed.exchange.request.prompt for timed in outcome.requests}) == len(outcome.requests)
    assert all(timed.failure == "" for timed in outcome.requests)
    assert all(first.exchange.text == second.exchange.text for first, second in outcome.repeats)


@pytest.fixture
def _without_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)


@pytest.mark.usefixtures("_without_aiohttp")
def test_without_the_client_there_is_one_sentence() -> None:
    async def run() -> None:
        async with HttpWire("http://127.0.0.1:9", Chat("m")):
            pass

    with pytest.raises(TargetError, match=r"pip install 'raysearch\[serving\]'"):
        asyncio.run(run())


def test_the_library_loads_nothing_heavy() -> None:
    import subprocess

    script = (
        "import sys, evaluators.load; print([m for m in ('aiohttp', 'pydantic', 'numpy', 'ray') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == "[]"
