"""The owner's side of a zygote: a Python from which guarded commands are forked instead of started."""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from raysearch.errors import SandboxFault
from raysearch.process.guarded import Confinement, GuardedProcess

ZYGOTE = Path(__file__).with_name("zygote.py")
ROOMS = Path(__file__).with_name("rooms.py")
"""Part of the zygote, to lie beside it."""
IMPORT_S = 120.0
"""How long the imports may take."""


class Room(TypedDict):
    """Namespaces of a command's own, and what is in them."""

    network: bool
    """Whether the machine's network is shared."""
    private_bytes: int
    """Size of /tmp and of /dev/shm."""
    mounts: list[tuple[str, str, bool]]
    """Folder as the zygote sees it, as the command sees it, and whether it may be changed; outer ones first."""
    cover: str
    """The folder below which the zygote sees more than the command may."""


class Request(TypedDict):
    """What a zygote is asked for; open files come beside it: stdin, stdout, stderr, then ``files``."""

    script: list[str]
    """A Python script and its arguments."""
    words: list[str]
    files: list[str]
    """What the guard is told, and given open."""
    room: Room | None
    known: str
    """The script as the zygote sees it, where that may be compiled once for all commands; else empty."""


class Refused(Exception):
    """The zygote would carry something from one command to the next, and will not serve."""


class Zygote:
    """A running zygote. Serves many threads; close it when nothing that it forked runs any more."""

    def __init__(self, process: GuardedProcess, channel: socket.socket, loaded: frozenset[str]) -> None:
        self.loaded = loaded
        """Names of modules (their first parts) that every command finds imported."""
        self._process = process
        self._channel = channel
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        modules: Sequence[str],
        *,
        script: str,
        env: Mapping[str, str],
        run: str,
        confinement: Confinement,
    ) -> Zygote:
        """Start one; ``script`` is this package's ``zygote.py`` as seen in the confinement's enclosure.

        ``env`` is the environment of every command. Raises Refused, and SandboxFault if it cannot start or a module
        cannot be imported.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        said, says = os.pipe()
        try:
            try:
                process = GuardedProcess.start(
                    [sys.executable, script, str(theirs.fileno()), *modules],
                    cwd="/",
                    env=env,
                    stdout=says,  # pipes, as a command's are: Python looks at them when it starts
                    stderr=says,
                    pass_fds=[theirs.fileno()],
                    grace_s=0.0,
                    run=run,
                    confinement=confinement,
                )
            finally:
                os.close(says)
                theirs.close()
            return cls._answered(process, ours, said)
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(said)

    @classmethod
    def _answered(cls, process: GuardedProcess, channel: socket.socket, said: int) -> Zygote:
        """After its first word."""
        try:
            answer: dict[str, str] = {}
            if select.select([channel], [], [], IMPORT_S)[0]:
                answer = json.loads(channel.recv(1 << 20) or b"{}")
            if "ready" in answer:
                return cls(process, channel, frozenset(answer["ready"]))
            if "refused" in answer:
                raise Refused(answer["refused"])
            process.terminate()
            process.wait(5.0)
            os.set_blocking(said, False)
            last = _tail(said)
            raise SandboxFault(f"cannot import {answer['failed']}" if answer else f"imports did not end well: {last}")
        except BaseException:
            process.close()
            raise

    @property
    def root(self) -> int:
        """At the top of its processes, and of all that it forks."""
        return self._process.root

    @property
    def alive(self) -> bool:
        return not self.ends_within(0.0)

    def ends_within(self, limit_s: float) -> bool:
        with self._lock:
            return self._process.wait(limit_s) is not None

    def start(
        self,
        script: Sequence[str],
        *,
        cwd: str | Path,
        streams: tuple[int, int, int],
        grace_s: float,
        run: str,
        confinement: Confinement,
        room: Room | None,
        known: str = "",
    ) -> GuardedProcess:
        """Fork a command: a Python script and its arguments, under what the confinement lays on it.

        ``streams``: stdin, stdout, stderr. ``known``: see `Request`. Like `GuardedProcess.start`. Raises SandboxFault.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs, confinement.opened() as files:
                files.append(("leash", theirs.fileno()))
                request: Request = {
                    "script": list(script),
                    "words": confinement.words(cwd=cwd, grace_s=grace_s, run=run, locale=True),
                    "files": [word for word, _ in files],
                    "room": room,
                    "known": known,
                }
                numbers = [*streams, *(number for _, number in files)]
                socket.send_fds(self._channel, [json.dumps(request).encode()], numbers)
        except OSError as error:
            ours.close()
            raise SandboxFault(f"the zygote does not answer: {error.strerror}") from error
        return GuardedProcess.await_start(_Forked(self), ours, grace_s, enclosed=room is not None)

    def close(self) -> None:
        """End it, and whatever it forked."""
        self._channel.close()
        self._process.terminate(at_once=True)
        self._process.close()


class _Forked:
    """What started a forked command: the zygote, which goes on."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote

    @property
    def pid(self) -> int:
        return self._zygote.root

    def wait(self) -> int:
        return 0

    def kill(self) -> None:
        self._zygote.close()


def _tail(said: int) -> str:
    end = time.monotonic() + 1.0
    text = b""
    while time.monotonic() < end:
        try:
            piece = os.read(said, 1 << 16)
        except BlockingIOError:
            break
        if not piece:
            break
        text = (text + piece)[-2000:]
    return text.decode("utf-8", "replace").strip()
