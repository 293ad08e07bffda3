"""What the tests of model servers share."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from raysearch.process import strays
from raysearch.served.replica import Patience, Replica
from raysearch.served.spec import ServerSpec
from raysearch.served.standing import Phase, Standing

FAKE = (sys.executable, "-S", str(Path(__file__).with_name("fake_model_server.py")), "{host}", "{port}")
QUICK = Patience(probe_s=0.5, check_every_s=0.05, misses_max=2, first_s=0.05, longest_s=0.1, grace_s=0.2)
LIMIT_S = 60.0


def spec(*args: str, name: str = "local", model: str = "fake-7b", **more: Any) -> ServerSpec:
    return ServerSpec(name, model, command=FAKE, args=args, **more)


def until(met: Callable[[], bool]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not met():
        assert time.monotonic() < end_s, "nothing happened"
        time.sleep(0.02)


def looked(replica: Replica, *phases: Phase) -> Standing:
    """How it stands when it has come to one of ``phases``."""
    until(lambda: replica.look().phase in phases)
    return replica.standing()


def get(url: str, path: str, timeout_s: float = 10.0) -> Any:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def poke(url: str, path: str) -> None:
    """Ask for what gets no answer."""
    try:
        get(url, path, 1.0)
    except (OSError, http.client.HTTPException):
        return


def nothing_left(run: str) -> None:
    until(lambda: strays(run) == [])
