"""The journal: one JSON object a line, appended and synced, never rewritten; one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import msgspec

from raysearch.codec import CodecError, decode, encode
from raysearch.errors import LedgerError, RunError
from raysearch.facts import Entry

JOURNAL = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who drives a run."""

    host: str
    pid: int
    since_s: float


class RunLock:
    """At most one driver of a run folder.

    The kernel drops the lock with its process, so a dead driver's run is taken over at once. On a file system
    shared between hosts whose locks do not reach other hosts, a foreign owner counts as alive while it has
    renewed its mark within the last ``stale_s`` seconds.
    """

    def __init__(self, folder: Path, stale_s: float = 60.0) -> None:
        self._path = folder / "driver.lock"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        held = self.owner(folder)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise RunError(self._refusal(folder, held)) from error
        foreign = held is not None and held.host != socket.gethostname()
        if foreign and time.time() - self._path.stat().st_mtime < stale_s:
            os.close(self._fd)
            raise RunError(self._refusal(folder, held))
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, msgspec.json.encode(Owner(socket.gethostname(), os.getpid(), time.time())), 0)

    @staticmethod
    def owner(folder: Path) -> Owner | None:
        """Who holds, or last held, the run in ``folder``."""
        try:
            return msgspec.json.decode((folder / "driver.lock").read_bytes(), type=Owner)
        except (OSError, msgspec.DecodeError):
            return None

    @staticmethod
    def _refusal(folder: Path, held: Owner | None) -> str:
        who = "another driver" if held is None else f"process {held.pid} on {held.host}"
        return f"{folder.name} is being driven by {who}; stop it first, or wait until it ends"

    def renew(self) -> None:
        """Say that the driver is alive, for other hosts."""
        os.utime(self._fd)

    def release(self) -> None:
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


@dataclass(slots=True)
class FileLedger:
    """The journal open for writing; the caller holds the run's lock."""

    path: Path
    _fd: int = field(default=-1, init=False)
    _size: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._size = self._set_torn_tail_aside()
            _sync_folder(self.path.parent)  # a new journal's name must outlive a power cut too
        except OSError as error:
            raise LedgerError(f"{self.path}: {error.strerror}") from error

    def append(self, entry: Entry) -> None:
        line = encode(entry)
        try:
            written = os.pwrite(self._fd, line, self._size)
            if written != len(line):
                written += os.pwrite(self._fd, line[written:], self._size + written)
            (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(self._fd)  # macOS has only fsync
        except OSError as error:
            self._forget_from(self._size)
            raise LedgerError(f"{self.path}: {error.strerror}") from error
        if written != len(line):
            self._forget_from(self._size)
            raise LedgerError(f"{self.path}: the disk took {written} of {len(line)} bytes")
        self._size += len(line)

    def replay(self) -> Iterator[Entry]:
        return read_journal(self.path)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget_from(self, size: int) -> None:
        with contextlib.suppress(OSError):  # the next opening sets a torn line aside all the same
            os.ftruncate(self._fd, size)

    def _set_torn_tail_aside(self) -> int:
        """A crash can leave part of a line; it was never acknowledged, so it never happened."""
        data = self.path.read_bytes()
        whole = len(data) - len(torn_tail(data))
        if whole != len(data):
            number = sum(1 for _ in self.path.parent.glob("journal.torn-*")) + 1
            (self.path.parent / f"journal.torn-{number}").write_bytes(data[whole:])
            os.ftruncate(self._fd, whole)
            os.fsync(self._fd)
        return whole


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def torn_tail(data: bytes) -> bytes:
    """What follows the last whole line; a last line that a power cut filled with zeros is not whole."""
    end = data.rfind(b"\n") + 1
    if end == len(data) and end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        if b"\0" in data[start:end]:
            return data[start:]
    return data[end:]


def read_journal(path: Path) -> Iterator[Entry]:
    """The entries of a journal, which may be growing; a torn last line is left out.

    Raises LedgerError, with the line's number, for a damaged line before the last.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror}") from error
    with file:
        yield from read_lines(file, str(path))


def read_lines(lines: Iterable[bytes], name: str = "journal") -> Iterator[Entry]:
    """The entries on ``lines``; the journal is called ``name`` in what `read_journal` raises."""
    zeros = 0
    for number, line in enumerate(lines, start=1):
        if zeros:
            raise LedgerError(f"{name}:{zeros}: damaged: zero bytes, with whole lines after them")
        if not line.endswith(b"\n"):
            return
        if b"\0" in line:
            zeros = number
            continue
        try:
            entry = decode(line)
        except CodecError as error:
            raise LedgerError(f"{name}:{number}: {error}") from error
        if entry.seq != number:
            raise LedgerError(
                f"{name}:{number}: entry {entry.seq} where {number} was due: lines are missing or doubled"
            )
        yield entry
