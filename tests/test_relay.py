"""The way from a sandbox to a model's server: what is added and dropped, and that it leads nowhere else."""

from __future__ import annotations

import contextlib
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from hosted import KEY, Place, Server, a_place, asking, free_port
from test_sandbox import needs_bubblewrap

from raysearch.errors import SandboxFault
from raysearch.protocols import Relay
from raysearch.sandbox.relay import relayed

BOTH = [pytest.param("bubblewrap", marks=needs_bubblewrap), "none"]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture(params=BOTH)
def place(request: pytest.FixtureRequest, tmp_path: Path, server: Server) -> Place:
    return a_place(request.param, tmp_path, server.port)


@pytest.fixture
def boxed(tmp_path: Path, server: Server) -> Place:
    return a_place("bubblewrap", tmp_path, server.port)


def test_the_key_is_added_outside(place: Place, server: Server) -> None:
    script = """
        own = {"X-Api-Key": "mine", "authorization": "Bearer mine", "X-Goog-Api-Key": "mine", "cookie": "mine"}
        own["X-Other"] = "o"
        print(ask("/models?key=mine&a=1", "POST", b"{}", own))
    """
    done = asking(place, script)
    assert "/v1/models?a=1" in done.stdout
    (heard,) = server.heard
    assert heard.headers["x-api-key"] == KEY
    assert heard.headers["authorization"] == f"Bearer {KEY}"
    assert heard.headers["x-other"] == "o"
    assert heard.headers["host"] == f"127.0.0.1:{server.port}"
    assert not [value for value in heard.headers.values() if "mine" in value]


@needs_bubblewrap
def test_the_relay_leads_to_one_server_only(boxed: Place, server: Server) -> None:
    elsewhere = free_port()
    script = f"""
        def reached(host, port):
            try: socket.create_connection((host, port), 2).close()
            except OSError: return False
            return True
        others = [("127.0.0.1", {server.port}), ("127.0.0.1", {elsewhere}), ("10.0.0.1", 80), ("::1", {server.port})]
        print([other for other in others if reached(*other)])
        def raw(text):
            with socket.create_connection(("127.0.0.1", PORT)) as way:
                way.sendall(text.encode()); way.settimeout(20)
                return way.recv(100).split(b"\\r\\n")[0].decode()
        for wish in ("http://127.0.0.1:{server.port}/v1/x", "//evil/x", "/../x", "/a/../../x", "/%2e%2e/x",
                     "/%252e%252e/x", "/..%2fx", "/a%5c..%5cx", "/./x", "*"):
            print(wish, raw(f"GET {{wish}} HTTP/1.1\\r\\nHost: evil\\r\\nConnection: close\\r\\n\\r\\n"))
        print(raw("CONNECT 127.0.0.1:{server.port} HTTP/1.1\\r\\nHost: evil\\r\\n\\r\\n"))
        print(ask("/away")[0], ask("/ok", headers={{"Host": "evil"}})[0])
    """
    done = asking(boxed, script)
    lines = done.stdout.splitlines()
    assert lines[0] == "[]"
    assert lines[1:-1], done
    assert all(" 400 " in line for line in lines[1:-1]), lines
    assert lines[-1] == "302 200"
    assert [heard.path for heard in server.heard] == ["/v1/away", "/v1/ok"]


def test_answers_come_as_they_are_sent(place: Place) -> None:
    script = """
        way = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        way.request("GET", "/stream")
        ask("/leave")
        answer = way.getresponse()
        for _ in range(3):
            size, data, _, _ = (answer.fp.readline() for _ in range(4))
            print(data, answer.getheader("transfer-encoding"))
            ask("/leave")
    """
    done = asking(place, script)
    assert done.stdout.splitlines() == [f"b'data: {number}\\n' chunked" for number in range(3)]


def test_a_connection_serves_many_requests(place: Place, server: Server) -> None:
    script = """
        way = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        for number in range(3):
            pieces, framing = iter([b"a" * 1000, b"b" * 100_000]), {"Transfer-Encoding": "chunked"}
            way.request("POST", f"/{number}", pieces, framing, encode_chunked=True)
            print(json.loads(way.getresponse().read())["size"])
        way.request("HEAD", "/head")
        answer = way.getresponse()
        print(answer.status, answer.getheader("content-length"), answer.read())
        way.request("PUT", "/put", b"p")
        print(way.getresponse().read())
    """
    done = asking(place, script)
    assert done.stdout.splitlines()[:4] == ["101000"] * 3 + ["200 1234 b''"]
    assert server.connections == 1


def test_a_broken_answer_stays_broken(place: Place) -> None:
    script = """
        try: print(ask("/cut"))
        except http.client.IncompleteRead as error: print("half of it:", error.partial)
    """
    assert asking(place, script).stdout == "half of it: b'half'\n"


def test_a_server_that_is_not_there_is_a_bad_gateway(place: Place) -> None:
    place.relay = replace(place.relay, upstream=f"http://127.0.0.1:{free_port()}")
    assert '(502, b\'{"type": "error"' in asking(place, 'print(ask("/x"))').stdout


def test_who_leaves_is_not_waited_for(place: Place, server: Server) -> None:
    """A model that nobody listens to any more must not go on generating."""
    script = """
        way = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        way.request("GET", "/stream")
        ask("/leave")
        way.getresponse().fp.readline()
    """
    asking(place, script)
    until_s = time.monotonic() + 20
    while not server.left.is_set() and time.monotonic() < until_s:
        server.leave.release()
        time.sleep(0.01)
    assert server.left.is_set()


def test_a_guest_may_have_several_relays(place: Place, server: Server) -> None:
    other = Relay(free_port(), f"http://127.0.0.1:{server.port}/other")
    place.more = (other,)
    script = f"""
        print(ask("/x")[0])
        PORT = {other.port}
        print(ask("/y?key=kept", headers={{"authorization": "own"}})[0])
    """
    asking(place, script)
    assert [heard.path for heard in server.heard] == ["/v1/x", "/other/y?key=kept"]
    assert server.heard[1].headers["authorization"] == "own"  # nothing is put in its place


@pytest.fixture
def certified(tmp_path: Path, server: Server) -> Path:
    """A certificate, which the server now has."""
    if shutil.which("openssl") is None:
        pytest.skip("makes certificates with openssl, which is not installed")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return cert


def test_a_server_is_known_by_its_certificate(
    boxed: Place, server: Server, certified: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxed.relay = replace(boxed.relay, upstream=f"https://localhost:{server.port}/v1")
    assert "(502," in asking(boxed, 'print(ask("/x"))').stdout
    monkeypatch.setenv("SSL_CERT_FILE", str(certified))
    assert "(200," in asking(boxed, 'print(ask("/x"))').stdout
    assert [heard.headers["x-api-key"] for heard in server.heard] == [KEY]


class Tunnel(socketserver.StreamRequestHandler):
    """A proxy that lets through what it is asked for, and keeps the line that asked."""

    asked: ClassVar[list[bytes]] = []

    def handle(self) -> None:
        self.asked.append(self.rfile.readline())
        while self.rfile.readline().strip():
            pass
        host, _, port = self.asked[-1].split()[1].decode().rpartition(":")
        if host != "localhost":
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        with socket.create_connection((host, int(port))) as far:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pour, args=(far, self.connection))
            back.start()
            pour(self.connection, far)
            back.join()


def pour(source: socket.socket, into: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            into.sendall(piece)
    with contextlib.suppress(OSError):
        into.shutdown(socket.SHUT_WR)


def test_the_way_to_a_server_may_lead_through_a_proxy(
    boxed: Place, server: Server, certified: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certified))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.02,)).start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.server_address[1]}")
        boxed.relay = replace(boxed.relay, upstream=f"https://localhost:{server.port}/v1")
        assert "(200," in asking(boxed, 'print(ask("/x"))').stdout
        boxed.relay = replace(boxed.relay, upstream="https://elsewhere.invalid/v1")
        assert "the proxy answers 403" in asking(boxed, 'print(ask("/x"))').stdout
        proxy.shutdown()
    assert Tunnel.asked[0] == f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode()
    assert not [line for line in Tunnel.asked if KEY.encode() in line]
    assert [heard.headers["x-api-key"] for heard in server.heard] == [KEY]


@pytest.mark.parametrize(
    "upstream", ["ftp://host/", "http://", "http://user:pass@host/", "http://host/?key=1", "http://host:x/"]
)
def test_a_relay_must_lead_somewhere(boxed: Place, upstream: str) -> None:
    boxed.relay = replace(boxed.relay, upstream=upstream)
    with pytest.raises(SandboxFault, match="relay"):
        boxed.run(["true"])


def test_a_key_that_is_no_header_is_refused_without_being_told(boxed: Place) -> None:
    boxed.relay = replace(boxed.relay, headers={"x-api-key": "planted\r\nevil: 1"})
    with pytest.raises(SandboxFault) as caught:
        boxed.run(["true"])
    assert "planted" not in str(caught.value)


def test_a_port_that_is_taken_is_a_fault_of_the_sandbox(tmp_path: Path, server: Server) -> None:
    place = a_place("none", tmp_path, server.port)
    place.relay = replace(place.relay, port=server.port)
    with pytest.raises(SandboxFault, match="port"):
        place.run(["true"])


@needs_bubblewrap
def test_inside_no_port_is_taken_by_another(boxed: Place, server: Server) -> None:
    boxed.relay = replace(boxed.relay, port=server.port)
    assert "(200," in asking(boxed, 'print(ask("/x"))').stdout


def test_a_relay_whose_doors_never_open_ends(server: Server) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, relayed([Relay(1, f"http://127.0.0.1:{server.port}")], ours, lambda: ours.recv(1) and []):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "relay"]
