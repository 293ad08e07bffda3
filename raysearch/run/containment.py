"""What a command in the sandbox can reach that it must not: tried, not assumed."""

from __future__ import annotations

import contextlib
import secrets
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from raysearch.errors import SandboxFault
from raysearch.run.findings import Finding, fail, note, ok, warn
from raysearch.workspace import Checkout

_PROBE = """
import socket, sys
places, name, port = sys.argv[1:-2], sys.argv[-2], int(sys.argv[-1])
for place in places:
    try:
        open(place + "/" + name, "w").close()
    except OSError:
        pass
try:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as line:
        line.sendall(name.encode())
except OSError:
    pass
"""


def probe(workspace: Checkout) -> list[Finding]:
    """Let a command try to write where it must not, and to reach a server on this machine; look what arrived."""
    name = f"raysearch-probe-{secrets.token_hex(8)}"
    bare = workspace.sandbox.name == "none"
    places = {
        "the program": workspace.path,
        "the target": workspace.target.root,
        "the home folder": Path.home(),
        "this machine's temporary folder": Path(tempfile.gettempdir()),
        "the working folder": Path.cwd(),
    }
    seen = ["{candidate}", "{target}", *map(str, list(places.values())[2:])]
    with _listening(name.encode()) as (port, heard):
        try:
            workspace.run(["python", "-I", "-S", "-c", _PROBE, *seen, name, str(port)], timeout_s=60.0)
        except SandboxFault as fault:
            return [fail("sandbox", str(fault), "see raysearch doctor")]
        finally:
            written = [what for what, place in places.items() if (place / name).exists()]
            for place in places.values():
                with contextlib.suppress(OSError):
                    (place / name).unlink()
    wrong = _unconfined if bare else _leaking
    if written:
        writes = wrong("writes", f"a command could write into {', '.join(written)}")
    else:
        writes = ok("writes", f"contained: nothing arrived in {', '.join(places)}")
    if workspace.target.limits.network:
        network = note("network", "allowed by `network = true` in target.toml", "leave it out if programs need none")
    elif heard:
        network = wrong("network", "a command reached a server on this machine")
    else:
        network = ok("network", "contained: a server on this machine was out of reach")
    return [writes, network]


def _unconfined(name: str, told: str) -> Finding:
    return warn(name, told, "without a sandbox nothing is contained: leave out --sandbox none")


def _leaking(name: str, told: str) -> Finding:
    return fail(name, told, "the sandbox leaks: please report it")


@contextlib.contextmanager
def _listening(secret: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server on the loopback device: its port, and what it heard of ``secret``."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    line, _ = server.accept()
                    with line:
                        line.settimeout(2.0)
                        data = line.recv(1024)
                        if data == secret:
                            heard.append(data)

        thread = threading.Thread(target=listen, name="probe")
        thread.start()
        try:
            yield server.getsockname()[1], heard
        finally:
            over.set()
            thread.join()
