"""Agents' own programs in a sandbox: what they see, what they reach, and that nothing of them stays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent

import pytest
from test_landlock import needs_landlock
from test_sandbox import needs_bubblewrap
from toys import make_target

from raysearch.config.targets import load_target, snapshot_target
from raysearch.errors import SandboxFault
from raysearch.process import strays
from raysearch.protocols import Completed, Guest, Relay
from raysearch.repository import Repository
from raysearch.sandbox import open_sandbox, warmed
from raysearch.sandbox.public import public_parts
from raysearch.sandbox.relay import relayed
from raysearch.sandbox.view import interpreter_folders
from raysearch.target import Target
from raysearch.workspace import Checkout

KEY = "sk-planted-" + "9d1f" * 8
BOTH = [pytest.param("bubblewrap", marks=needs_bubblewrap), "none"]


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


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


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


@pytest.fixture(params=BOTH)
def place(request: pytest.FixtureRequest, tmp_path: Path, server: Server) -> Place:
    return a_place(request.param, tmp_path, server.port)


@pytest.fixture
def boxed(tmp_path: Path, server: Server) -> Place:
    return a_place("bubblewrap", tmp_path, server.port)


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


def test_a_guest_edits_the_program_and_keeps_a_home(place: Place) -> None:
    done = place.run(
        ["sh", "-c", "cat; pwd; echo 6 > x.txt; echo kept > $HOME/note; echo $0 $1", "{candidate}", "{home}"],
        stdin=b"said\n",
    )
    assert (done.status, done.stderr, done.leftovers) == (0, "", ())
    seen = ("/candidate", "/home/agent")
    if place.checkout.sandbox.name == "none":
        seen = (str(place.checkout.path), str(place.home))
    assert done.stdout == f"said\n{seen[0]}\n{seen[0]} {seen[1]}\n"
    assert (place.checkout.path / "x.txt").read_text() == "6\n"
    assert (place.home / "note").read_text() == "kept\n"
    assert (place.home / "note").stat().st_uid == os.getuid()


def test_a_guest_that_may_not_write_changes_nothing(place: Place) -> None:
    done = place.run(["sh", "-c", "cat x.txt; echo 6 > x.txt; rm -f x.txt; touch y.txt; true"], writable=False)
    assert done.stdout == "5"
    assert [(file.name, file.read_text()) for file in place.checkout.path.iterdir()] == [("x.txt", "5")]


def test_its_environment_is_named(place: Place) -> None:
    done = place.run(["env", "-0"], env={"SAID": "yes"})
    env = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)
    assert env["SAID"] == "yes"
    assert Path(env["RAYSEARCH_REFERENCE"]).relative_to(env["RAYSEARCH_TARGET"]) == Path("reference")
    assert env["RAYSEARCH_CANDIDATE"] == env.get("PWD", str(place.checkout.path))
    assert not {name for name in env if "KEY" in name or "TOKEN" in name}


@needs_bubblewrap
def test_it_reads_public_parts_and_never_hidden_ones(boxed: Place) -> None:
    done = boxed.run(
        [
            "sh",
            "-c",
            "cd $RAYSEARCH_TARGET && find . -type f | sort; grep -r hidden . ; echo x > reference/y; echo x > z",
        ]
    )
    listed = [line for line in done.stdout.splitlines() if line.startswith("./")]
    assert "./OBJECTIVE.md" in listed
    assert "./accuracy_checker/data/shown.txt" in listed
    assert any(line.startswith("./reference/") for line in listed)
    assert not [line for line in listed if "hidden" in line or "target.toml" in line]
    assert "hidden" not in done.stdout
    assert done.stderr.count("Read-only file system") == 2


def test_what_is_public_of_a_target(tmp_path: Path) -> None:
    target = a_target(tmp_path)
    shown = {str(part.relative_to(target.root)) for part in public_parts(target)}
    assert {"OBJECTIVE.md", "reference", "seed", "accuracy_checker/data/shown.txt"} <= shown
    assert not {name for name in shown if "hidden" in name}
    assert "benchmark" not in shown  # something in it is hidden, so its files are shown one by one
    elsewhere = replace(target, root=tmp_path / "elsewhere")
    assert public_parts(elsewhere) == []


@needs_bubblewrap
def test_it_sees_nothing_else_of_the_machine(boxed: Place, tmp_path: Path) -> None:
    (tmp_path / "run" / "journal.jsonl").write_text("secret")
    other = tmp_path / "other"
    other.mkdir()
    places = [
        tmp_path,
        tmp_path / "run",
        boxed.checkout.path.parent,
        other,
        Path.home(),
        Path("/home"),
        Path("/var/lib"),
    ]
    script = (
        "import os, sys; print([p for p in sys.argv[1:] if os.path.exists(p)], os.listdir('/home'), os.listdir('/tmp'))"
    )
    done = boxed.python(script, *map(str, places))
    interpreter = {str(above) for folder in interpreter_folders() for above in folder.parents}
    seen = [place for place in map(str, places) if place not in {"/home", *interpreter}]
    assert not [place for place in seen if f"'{place}'" in done.stdout], done.stdout
    assert "['agent']" in done.stdout


@needs_bubblewrap
def test_what_is_readable_lies_where_it_lies(boxed: Place, tmp_path: Path) -> None:
    tool = tmp_path / "installed" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho tool\n")
    tool.chmod(0o755)
    done = boxed.run(["sh", "-c", f"{tool}; echo x > {tool}; ls {tmp_path}"], readable=(tool.parent,))
    assert done.stdout == "tool\ninstalled\n"
    assert "Read-only" in done.stderr
    with pytest.raises(SandboxFault, match="is not there"):
        boxed.run(["true"], readable=(tmp_path / "absent",))


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
def test_the_key_is_never_inside(boxed: Place) -> None:
    script = f"""
        ask("/models")
        wanted = {KEY[::-1]!r}[::-1].encode()
        found = []
        for root in ("/home", "/tmp", "/run", "/candidate", "/scratch", "/target", "/etc", "/dev/shm"):
            for place, folders, names in os.walk(root):
                folders[:] = [each for each in folders if os.path.join(place, each) != sys.prefix]
                for name in names:
                    try:
                        if wanted in open(os.path.join(place, name), "rb").read(1 << 20): found.append(name)
                    except OSError: pass
        for pid in {{*filter(str.isdigit, os.listdir("/proc"))}} - {{str(os.getpid())}}:
            for name in ("environ", "cmdline"):
                try:
                    if wanted in open(f"/proc/{{pid}}/{{name}}", "rb").read(): found.append(pid + name)
                except OSError: pass
        print(found, len([p for p in os.listdir("/proc") if p.isdigit()]))
        print(sorted(os.listdir("/proc/self/fd")))
    """
    done = asking(boxed, script)
    assert done.stdout.splitlines()[0] == "[] 2"  # the guard and the guest
    assert done.stdout.splitlines()[1] == "['0', '1', '2', '3']"  # 3 is the listing itself


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


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_a_server_is_known_by_its_certificate(
    boxed: Place, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    boxed.relay = replace(boxed.relay, upstream=f"https://localhost:{server.port}/v1")
    assert "(502," in asking(boxed, 'print(ask("/x"))').stdout
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    assert "(200," in asking(boxed, 'print(ask("/x"))').stdout
    assert [heard.headers["x-api-key"] for heard in server.heard] == [KEY]


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


def test_time_is_up_for_all_that_it_started_and_what_it_said_is_kept(place: Place) -> None:
    done = place.run([sys.executable, "-c", LINGER], timeout_s=1.0)
    assert (done.ended_by, done.stdout) == ("time", "begun\n")
    assert not left(place)


def test_it_can_be_cancelled(place: Place) -> None:
    cancel = threading.Event()
    cancel.set()
    done = place.run([sys.executable, "-c", LINGER], cancel=cancel)
    assert done.ended_by == "cancelled"
    assert not left(place)


WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_hosting as hosting
place = hosting.a_place(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
print(place.checkout.sandbox.run_name, flush=True)
place.run([sys.executable, "-c", hosting.LINGER.replace('print("begun", flush=True)', 'open("begun", "w")')])
"""


@pytest.mark.parametrize("kind", BOTH)
def test_a_worker_that_is_killed_leaves_nothing(kind: str, tmp_path: Path, server: Server) -> None:
    words = [sys.executable, "-c", WORKER, str(Path(__file__).parent), kind, str(tmp_path), str(server.port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        run = worker.stdout.readline().strip()
        wait_until((tmp_path / "work" / "program" / "begun").exists)
        assert strays(run)
        worker.send_signal(signal.SIGKILL)
    wait_until(lambda: not strays(run))


def wait_until(met: Callable[[], object], limit_s: float = 30.0) -> None:
    until_s = time.monotonic() + limit_s
    while not met():
        assert time.monotonic() < until_s
        time.sleep(0.01)


@needs_bubblewrap
def test_runtimes_of_agents_find_what_they_need(boxed: Place) -> None:
    """Threads by the hundred, far more addresses than memory, and memory for code made at run time."""
    script = """
        import ctypes, mmap, threading
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        reserved = libc.mmap(None, ctypes.c_size_t(1 << 40), 0, 0x4022, -1, 0)
        code = libc.mmap(None, ctypes.c_size_t(1 << 16), 7, 0x22, -1, 0)
        gate = threading.Event()
        threads = [threading.Thread(target=gate.wait) for _ in range(200)]
        [thread.start() for thread in threads]
        gate.set()
        print(reserved not in (None, 2**64 - 1), code not in (None, 2**64 - 1))
    """
    assert boxed.python(script).stdout == "True True\n"


@needs_bubblewrap
def test_a_guest_is_behind_the_same_bars_as_a_candidate(boxed: Place) -> None:
    script = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        def refused(answer): return answer < 0
        print(os.getuid() != 0, refused(libc.unshare(0x10000000)), refused(libc.mount(b"/", b"/tmp", None, 4096, None)))
        print(refused(libc.ptrace(16, 1, 0, 0)), not os.access("/proc/1/environ", os.R_OK))
        try: os.kill(1, 9)
        except OSError: pass
        print(open("/proc/self/status").read().count("CapEff:\\t0000000000000000"))
    """
    assert boxed.python(script).stdout == "True True True\nTrue True\n1\n"


@needs_bubblewrap
def test_more_processes_than_allowed_end_it(boxed: Place) -> None:
    script = """
        import subprocess
        started = []
        try:
            while True: started.append(subprocess.Popen(["sleep", "60"]))
        except OSError:
            print(len(started))
    """
    done = boxed.python(script, processes=20)
    assert done.ended_by == "processes" or int(done.stdout) < 20
    assert not left(boxed)


def test_what_cannot_be_started_says_so(place: Place) -> None:
    done = place.run(["no-such-agent", "-p"])
    assert done.status in {126, 127}  # a PATH may lead through folders of others
    assert "cannot run no-such-agent" in done.stderr


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


@needs_landlock
def test_landlock_does_not_host(tmp_path: Path, server: Server) -> None:
    with pytest.raises(SandboxFault, match=r"landlock.*bubblewrap"):
        a_place("landlock", tmp_path, server.port).run(["true"])


@needs_bubblewrap
def test_a_warm_sandbox_hosts_as_its_own_one(boxed: Place) -> None:
    warm = warmed(
        boxed.checkout.sandbox, (), readable=[boxed.checkout.target.root], writable=[boxed.checkout.path.parent]
    )
    boxed.checkout = replace(boxed.checkout, sandbox=warm)
    with warm:
        assert "(200," in asking(boxed, 'print(ask("/x"))').stdout


def test_a_relay_whose_doors_never_open_ends(server: Server) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, relayed([Relay(1, f"http://127.0.0.1:{server.port}")], ours, lambda: ours.recv(1) and []):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "relay"]
