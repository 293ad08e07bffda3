"""Guests of the sandbox for tests: a place to run in, and a server to ask."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent

from toys import make_target

from raysearch.config.targets import load_target, snapshot_target
from raysearch.process import strays
from raysearch.protocols import Completed, Guest, Relay
from raysearch.repository import Repository
from raysearch.sandbox import open_sandbox
from raysearch.target import Target
from raysearch.workspace import Checkout

KEY = "sk-planted-" + "9d1f" * 8


@dataclass(slots=True)
class Heard:
    """A request as a server got it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Server(ThreadingHTTPServer):
    """Says back what it heard. At /stream it sends pieces, each when it has leave, which /leave gives."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[Heard] = []
        self.connections = 0
        self.leave = threading.Semaphore(0)
        self.left = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def process_request(self, request: object, address: object) -> None:
        self.connections += 1
        super().process_request(request, address)  # type: ignore[arg-type]

    def handle_error(self, request: object, address: object) -> None:
        self.left.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.heard.append(Heard(self.command, self.path, headers, body))
        if self.path.endswith("/stream"):
            return self.stream()
        if self.path.endswith("/leave"):
            self.server.leave.release()
        if self.path.endswith("/cut"):
            return self.send(b"half", "8")
        if self.path.endswith("/away"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        told = json.dumps({"method": self.command, "path": self.path, "size": len(body)}).encode()
        return self.send(told, str(len(told)))

    do_POST = do_PUT = do_DELETE = do_GET

    def do_HEAD(self) -> None:
        self.send(b"", "1234")

    def send(self, body: bytes, length: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = len(body) < int(length) and self.command != "HEAD"

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            self.server.leave.acquire()
            piece = f"data: {number}\n\n".encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Place:
    """A workspace, a home, and a server behind a relay."""

    checkout: Checkout
    home: Path
    relay: Relay
    more: tuple[Relay, ...] = ()

    def run(
        self, command: Sequence[str], *, timeout_s: float = 60.0, cancel: threading.Event | None = None, **more: object
    ) -> Completed:
        guest = Guest(tuple(command), self.home, relays=(self.relay, *self.more), **more)  # type: ignore[arg-type]
        return self.checkout.host(guest, timeout_s=timeout_s, cancel=cancel)

    def python(self, script: str, *words: str, **more: object) -> Completed:
        return self.run([sys.executable, "-c", dedent(script), *words], **more)  # type: ignore[arg-type]


def a_target(folder: Path) -> Target:
    """A target some of which is hidden."""
    made = make_target(folder / "toy")
    for place in ("accuracy_checker/hidden", "accuracy_checker/data/hidden", "benchmark"):
        (made / place).mkdir(parents=True, exist_ok=True)
    (made / "accuracy_checker/hidden/cases.txt").write_text("hidden cases")
    (made / "accuracy_checker/data/hidden/more.txt").write_text("hidden cases")
    (made / "accuracy_checker/data/shown.txt").write_text("shown cases")
    (made / "benchmark/hidden").write_text("a hidden file")
    return snapshot_target(load_target(made), folder / "run" / "target")


def a_place(kind: str, folder: Path, port: int) -> Place:
    target = a_target(folder)
    repository = Repository.create(folder / "run" / "workspace")
    work = folder / "work"
    for name in ("program", "scratch", "home"):
        (work / name).mkdir(parents=True)
    (work / "program" / "x.txt").write_text("5")
    commit = repository.commit(repository.write_tree(work / "program"), (), "seed", 1e9)
    run = uuid.uuid4().hex
    sandbox = open_sandbox(kind, run=run)
    checkout = Checkout(work / "program", commit, work / "scratch", target, repository, sandbox)
    relay = Relay(free_port(), f"http://127.0.0.1:{port}/v1", {"x-api-key": KEY, "Authorization": f"Bearer {KEY}"})
    return Place(checkout, work / "home", relay)


ASK = """
import http.client, json, os, socket, sys, time, urllib.request
PORT = int(sys.argv[1])
def ask(path, method="GET", body=None, headers={}):
    way = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    way.request(method, path, body, headers)
    answer = way.getresponse()
    return answer.status, answer.read()
"""


def asking(place: Place, script: str, **more: object) -> Completed:
    """Run a script of a guest that asks its relay; it must end well."""
    done = place.run([sys.executable, "-c", ASK + dedent(script), str(place.relay.port)], **more)  # type: ignore[arg-type]
    assert (done.status, done.ended_by) == (0, ""), done
    return done


LINGER = """
import os, sys, time
print("begun", flush=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""


def left(place: Place) -> list[int]:
    return strays(place.checkout.sandbox.run_name)  # type: ignore[attr-defined, arg-type]


def wait_until(met: Callable[[], object], limit_s: float = 30.0) -> None:
    until_s = time.monotonic() + limit_s
    while not met():
        assert time.monotonic() < until_s
        time.sleep(0.01)
