"""Ways out of a sandbox, each to one server only; what must not be inside is added on the way.

`relayed` serves listening sockets, wherever in the machine's networks they were opened, from a thread of this process.
It speaks HTTP/1.1 on both sides (h11), hands on every piece of an answer as it comes, follows no redirect, and keeps
no record of what passes.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import h11

from raysearch.errors import SandboxFault
from raysearch.protocols import Relay

HEAD_BYTES_MAX = 64 * 1024
"""Of a request or an answer: its line and its headers."""
REQUEST_BYTES_MAX = 64 * 1024 * 1024
PIECE_BYTES = 64 * 1024
CONNECT_S = 30.0
SILENCE_S = 1800.0
"""How long either side may say nothing before its connection is given up."""
CREDENTIALS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"})
KEYS_IN_QUERY = frozenset({"key", "api_key", "api-key", "access_token"})
OF_ONE_CONNECTION = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
)
"""Headers that are about a connection, not about what it carries."""

Header = tuple[bytes, bytes]


class _Refusal(Exception):
    """A request that goes nowhere: its status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Upstream:
    """The one server that a relay leads to."""

    host: str
    port: int
    tls: bool
    base: str
    """Path that stands before every path asked for; without a slash at its end."""
    headers: tuple[Header, ...]
    dropped: frozenset[str]
    """Names of headers that come from outside only."""

    @classmethod
    def of(cls, relay: Relay) -> Upstream:
        """Raises SandboxFault unless ``relay.upstream`` is the plain address of a server."""
        try:
            address = urlsplit(relay.upstream)
            port = address.port
        except ValueError as error:
            raise SandboxFault(f"a relay cannot lead to {relay.upstream!r}: {error}") from None
        plain = not (address.query or address.fragment or "@" in address.netloc)
        if address.scheme not in {"http", "https"} or not address.hostname or not plain:
            raise SandboxFault(f"a relay leads to http(s)://HOST[:PORT][/PATH], not to {relay.upstream!r}")
        tls = address.scheme == "https"
        try:
            address.netloc.encode("ascii")
            given = tuple((name.encode("ascii"), value.encode("ascii")) for name, value in relay.headers.items())
            h11.Request(method="GET", target="/", headers=[(b"Host", b"-"), *given])
        except (UnicodeEncodeError, h11.LocalProtocolError):
            raise SandboxFault(f"a relay to {address.hostname} has a host or a header that HTTP cannot carry") from None
        dropped = {name.lower() for name in relay.headers} | (CREDENTIALS if relay.headers else set())
        base = address.path.rstrip("/")
        return cls(address.hostname, port or (443 if tls else 80), tls, base, given, frozenset(dropped))

    @property
    def authority(self) -> bytes:
        """As the header ``Host`` has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if self.tls else 80)
        return (host if usual else f"{host}:{self.port}").encode()

    def proxy(self) -> tuple[str, int] | None:
        """Host and port of the proxy that this process is told to use for it (``HTTPS_PROXY``), if any."""
        named = getproxies().get("https")
        if not self.tls or not named or proxy_bypass(self.host):
            return None
        address = urlsplit(named if "//" in named else f"//{named}")
        return (address.hostname, address.port or 80) if address.hostname else None

    def target(self, asked: bytes) -> bytes:
        """What to ask this server for. Raises _Refusal for another server's address, and for ways out of the base."""
        text = asked.decode("latin-1")
        path, mark, query = text.partition("?")
        if not path.startswith("/") or path.startswith("//") or "#" in text:
            raise _Refusal(400, "only paths of one server can be asked for")
        plain, before = unquote(path), path
        while plain != before:
            plain, before = unquote(plain), plain
        if "\\" in plain or not {".", ".."}.isdisjoint(plain.split("/")):
            raise _Refusal(400, "the path must be plain")
        if self.headers:
            query = _without_keys(query)
            mark = "?" if query else ""
        return f"{self.base}{path}{mark}{query}".encode("latin-1")

    def sent(self, request: h11.Request, body: bytes) -> h11.Request:
        """``request`` as this server gets it."""
        fields = [
            (name, value)
            for name, value in request.headers.raw_items()
            if name.lower().decode("latin-1") not in {*OF_ONE_CONNECTION, *self.dropped, "host", "content-length"}
        ]
        fields = [(b"Host", self.authority), *fields, *self.headers]
        if body or request.method not in {b"GET", b"HEAD", b"OPTIONS"}:
            fields.append((b"Content-Length", str(len(body)).encode()))
        return h11.Request(method=request.method, target=self.target(request.target), headers=fields)


def _without_keys(query: str) -> str:
    fields = parse_qsl(query, keep_blank_values=True)
    kept = [(name, value) for name, value in fields if name.lower() not in KEYS_IN_QUERY]
    return query if len(kept) == len(fields) else urlencode(kept)


@contextmanager
def relayed(
    relays: Sequence[Relay], control: socket.socket, receive: Callable[[], list[socket.socket]]
) -> Iterator[None]:
    """Serve while the context lasts: what ``receive`` answers, from a thread, are listening sockets, one a relay.

    It may wait, until ``control`` is shut down (it then answers with none), which also ends the service. Every
    connection is broken at the end. Raises SandboxFault for a relay that makes no sense.
    """
    upstreams = [Upstream.of(relay) for relay in relays]

    def serve() -> None:
        listeners = receive()
        if listeners:
            asyncio.run(_serve(list(zip(listeners, upstreams, strict=True)), control))

    thread = threading.Thread(target=serve, name="relay", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            control.shutdown(socket.SHUT_RDWR)
        thread.join()


async def _serve(doors: Sequence[tuple[socket.socket, Upstream]], control: socket.socket) -> None:
    """Until ``control`` ends. What is under way then is cancelled."""
    context = ssl.create_default_context() if any(upstream.tls for _, upstream in doors) else None
    servers = []
    for listener, upstream in doors:
        visit = _Visits(upstream, context)
        servers.append(await asyncio.start_server(visit, sock=listener))
    control.setblocking(False)
    await asyncio.get_running_loop().sock_recv(control, 1)
    for server in servers:
        server.close()


@dataclass(frozen=True, slots=True)
class _Visits:
    """Receives the clients of one relay."""

    upstream: Upstream
    context: ssl.SSLContext | None

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Side(h11.Connection(h11.SERVER, HEAD_BYTES_MAX), reader, writer)
        visit = _Visit(self.upstream, self.context if self.upstream.tls else None, client)
        try:
            while await visit.exchange():
                client.http.start_next_cycle()
        except (OSError, h11.ProtocolError, asyncio.IncompleteReadError):
            pass  # the client is told by the connection's end
        finally:
            client.close()
            if visit.server:
                visit.server.close()


@dataclass(slots=True)
class _Side:
    """One end of a relay: the protocol's state and the connection."""

    http: h11.Connection
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def next(self) -> object:
        """The next event from over there."""
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self.http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            async with asyncio.timeout(SILENCE_S):
                self.http.receive_data(await self.reader.read(PIECE_BYTES))

    async def send(self, event: h11.Event) -> None:
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    def close(self) -> None:
        self.writer.close()


@dataclass(slots=True)
class _Visit:
    """One client's connection: its requests, one after the other, and the connection that they are handed on by."""

    upstream: Upstream
    context: ssl.SSLContext | None
    client: _Side
    server: _Side | None = None

    async def exchange(self) -> bool:
        """Serve one request; whether another may follow."""
        request = await self.client.next()
        if not isinstance(request, h11.Request):
            return False
        try:
            body = await self._body()
            answering = asyncio.ensure_future(self._answer(self.upstream.sent(request, body), body))
            if not await self._stays_until(answering):
                return False
        except _Refusal as refusal:
            await self._refuse(refusal)
        return self.client.http.our_state is h11.DONE and self.client.http.their_state is h11.DONE

    async def _body(self) -> bytes:
        pieces, size = [], 0
        while isinstance(event := await self.client.next(), h11.Data):
            pieces.append(bytes(event.data))
            size += len(event.data)
            if size > REQUEST_BYTES_MAX:
                raise _Refusal(413, f"a request may have {REQUEST_BYTES_MAX} bytes")
        return b"".join(pieces)

    async def _stays_until(self, answering: asyncio.Future[None]) -> bool:
        """Wait for the answer to be through; if the client leaves before, so do we, and False."""
        leaving = asyncio.ensure_future(self.client.reader.read(1))
        both: list[asyncio.Future[Any]] = [answering, leaving]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                early = leaving.result()
                if not early and not answering.done():
                    return False
                self.client.http.receive_data(early)
            await answering
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        return True

    async def _answer(self, request: h11.Request, body: bytes) -> None:
        """Ask the server and hand on what it says, piece by piece."""
        server, response = await self._asked(request, body)
        fields = [
            (name, value)
            for name, value in response.headers.raw_items()
            if name.lower().decode("latin-1") not in OF_ONE_CONNECTION
        ]
        await self.client.send(h11.Response(status_code=response.status_code, headers=fields, reason=response.reason))
        while isinstance(event := await server.next(), h11.Data):
            await self.client.send(h11.Data(data=event.data))
        await self.client.send(h11.EndOfMessage())
        if server.http.our_state is h11.DONE and server.http.their_state is h11.DONE:
            server.http.start_next_cycle()
        else:
            self._hang_up()

    async def _asked(self, request: h11.Request, body: bytes) -> tuple[_Side, h11.Response]:
        """The server, and the head of its answer. Raises _Refusal where there is none."""
        try:
            server = await self._connected()
            await server.send(request)
            if body:
                await server.send(h11.Data(data=body))
            await server.send(h11.EndOfMessage())
            while not isinstance(event := await server.next(), h11.Response):
                if not isinstance(event, h11.InformationalResponse):
                    raise _Refusal(502, "the server ended the connection without an answer")
        except (OSError, h11.ProtocolError) as error:
            self._hang_up()
            raise _Refusal(502, f"the server cannot be reached: {type(error).__name__}: {error}") from error
        return server, event

    async def _connected(self) -> _Side:
        """The connection to the server: that of the request before, if it is still open."""
        if self.server and (self.server.reader.at_eof() or self.server.reader.exception()):
            self._hang_up()
        if self.server is None:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await self._opened()
            self.server = _Side(h11.Connection(h11.CLIENT, HEAD_BYTES_MAX), reader, writer)
        return self.server

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection to the server, through the proxy that this process would use. Raises OSError."""
        upstream = self.upstream
        proxy = upstream.proxy()
        if proxy is None or self.context is None:
            name = upstream.host if self.context else None
            return await asyncio.open_connection(upstream.host, upstream.port, ssl=self.context, server_hostname=name)
        reader, writer = await asyncio.open_connection(*proxy)
        try:
            place = f"{upstream.host}:{upstream.port}".encode()
            writer.write(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (place, place))
            status = (await reader.readuntil(b"\r\n\r\n")).split(maxsplit=2)[1:2]
            if status != [b"200"]:
                raise ConnectionError(f"the proxy answers {b' '.join(status).decode('latin-1')}")
            await writer.start_tls(self.context, server_hostname=upstream.host)
        except asyncio.IncompleteReadError:
            writer.close()
            raise ConnectionError("the proxy does not answer") from None
        except BaseException:
            writer.close()
            raise
        return reader, writer

    def _hang_up(self) -> None:
        if self.server:
            self.server.close()
            self.server = None

    async def _refuse(self, refusal: _Refusal) -> None:
        if self.client.http.our_state is not h11.SEND_RESPONSE:
            raise ConnectionError from refusal  # the answer has begun: all that is left is to break off
        told = {"type": "error", "error": {"type": "relay_error", "message": f"relay: {refusal}"}}
        body = json.dumps(told).encode()
        fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        await self.client.send(h11.Response(status_code=refusal.status, headers=fields))
        await self.client.send(h11.Data(data=body))
        await self.client.send(h11.EndOfMessage())
