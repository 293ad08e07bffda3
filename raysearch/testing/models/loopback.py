"""HTTP/1.1 on loopback: a thread for each connection, and connections that break as they are told to."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl, urlsplit

from raysearch.testing.models.script import Request, Turn
from raysearch.testing.models.wire import Wire

Outcome = Literal["complete", "cut", "hung", "left"]
"""All was sent, or broke off or stood still as scripted, or the client went away before that."""
_CLOSING_S = 10.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in; names of headers in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What is to be sent, and the request for a turn that it answers, if it was one."""

    wire: Wire
    request: Request | None = None
    turn: Turn | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of it; ``status`` 0: not even a status line went out."""

    status: int
    outcome: Outcome
    body_bytes: int


class Service(Protocol):
    """Whoever answers; called from many threads."""

    def begin(self) -> None: ...

    def reply(self, asked: Asked) -> Reply: ...

    def end(self, asked: Asked | None, reply: Reply | None, sent: Sent | None) -> None: ...


class Loopback(ThreadingHTTPServer):
    """Knows its open connections, so that it can end them."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, service: Service) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.service = service
        self._open: set[socket.socket] = set()
        self._closed = threading.Condition()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._closed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._closed:
            self._open.discard(request)
            self._closed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is what this server is for; `Sent.outcome` tells."""

    def hang_up(self) -> None:
        """Break every open connection and wait until their threads have seen it."""
        with self._closed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._closed.wait_for(lambda: not self._open, _CLOSING_S)


class _Connection(BaseHTTPRequestHandler):
    """One client's connection: requests one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Loopback

    def do_POST(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the service keeps its own record."""

    def _serve(self) -> None:
        service = self.server.service
        asked, reply, sent = None, None, None
        service.begin()
        try:
            asked = self._asked()
            reply = service.reply(asked)
            sent = self._send(reply.wire)
        finally:
            service.end(asked, reply, sent)

    def _asked(self) -> Asked:
        address = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        return Asked(self.command, address.path, query, headers, self._body(headers))

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _send(self, wire: Wire) -> Sent:
        """Send ``wire``, as far as the client stays."""
        status, sent_bytes = 0, 0
        outcome: Outcome = "left"
        try:
            if not self._wait(wire.delay_s):
                self.close_connection = True
                return Sent(status, outcome, sent_bytes)
            if wire.head:
                self._head(wire)
                status = wire.status
            for index, chunk in enumerate(wire.chunks if self.command != "HEAD" else ()):
                if index and not self._wait(wire.pace_s):
                    break
                self._piece(chunk, wire.length_bytes is None)
                sent_bytes += len(chunk)
            else:
                outcome = self._finish(wire)
        except OSError:  # the client has gone
            outcome = "left"
        self.close_connection = self.close_connection or outcome != "complete"
        return Sent(status, outcome, sent_bytes)

    def _finish(self, wire: Wire) -> Outcome:
        """End the body, or do not."""
        if wire.ending == "hang":
            self._wait(None)
            return "hung"
        if wire.ending == "cut":
            return "cut"
        if wire.length_bytes is None and self._chunked and self.command != "HEAD":
            self.wfile.write(b"0\r\n\r\n")
        return "complete"

    @property
    def _chunked(self) -> bool:
        return self.request_version >= "HTTP/1.1"

    def _head(self, wire: Wire) -> None:
        self.send_response(wire.status)
        self.send_header("content-type", wire.content_type)
        self.send_header("request-id", "req_scripted")
        self.send_header("x-request-id", "req_scripted")
        for name, value in wire.headers:
            self.send_header(name, value)
        if wire.length_bytes is not None:
            self.send_header("content-length", str(wire.length_bytes))
        elif self._chunked:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.close_connection = True
        self.end_headers()

    def _piece(self, chunk: bytes, streamed: bool) -> None:
        framed = b"%x\r\n%b\r\n" % (len(chunk), chunk) if streamed and self._chunked else chunk
        self.wfile.write(framed if chunk else b"")

    def _wait(self, seconds: float | None) -> bool:
        """Wait so long (None: for ever), or until the client or this server ends the connection: then False."""
        if seconds is not None and seconds <= 0:
            return True
        until = None if seconds is None else time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        while True:
            left_ms = None if until is None else max(0, int((until - time.monotonic()) * 1000))
            if not poll.poll(left_ms):
                return True
            if not self.connection.recv(1, socket.MSG_PEEK):
                return False
            poll.modify(self.connection, 0)  # it sends its next request already: only a hang-up wakes from here on
