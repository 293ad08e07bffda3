"""The two files between the driver and whoever files: a snapshot of the board, and an outbox to append to.

Several processes may append to one outbox: each looks at it and appends to it under the file's lock. What is read
from it may have been written by anybody, so no link is followed, no pipe waited for, and nothing read without end.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from raysearch.board.board import Snapshot
from raysearch.board.permissions import Permissions, permitted
from raysearch.board.types import Action, Author, Filing
from raysearch.errors import RaysearchError

OUTBOX_BYTES_MAX = 1 << 20
FILINGS_MAX = 200
"""Of one outbox."""
SNAPSHOT_BYTES_MAX = 64 << 20
SAMPLE_CHARS = 500
"""Of a line that cannot be read, kept with the refusal."""

_FILING = msgspec.json.Decoder(Filing)
_SNAPSHOT = msgspec.json.Decoder(Snapshot)


class Unfiled(RaysearchError):
    """The outbox, or the snapshot, cannot be used; nothing was filed."""


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Replace the file ``path``; whoever reads it sees the old or the new board. Anybody may read it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(msgspec.json.encode(snapshot))
    partial.chmod(0o644)
    partial.replace(path)


def read_snapshot(path: Path) -> Snapshot:
    """Raises Unfiled."""
    try:
        return _SNAPSHOT.decode(_content(path, SNAPSHOT_BYTES_MAX))
    except OSError as error:
        raise Unfiled(f"{path}: the board cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unfiled(f"{path} is no snapshot of a board: {error}") from error


def make_outbox(path: Path) -> None:
    """An empty outbox, to which every user of the machine may append who reaches its folder."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o666)
    finally:
        os.close(descriptor)


class Outbox:
    """The outbox open for filing, with its lock held by this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        size = os.fstat(descriptor).st_size
        self._content = os.pread(descriptor, OUTBOX_BYTES_MAX, 0)
        self._size = size

    @property
    def filings(self) -> list[Filing]:
        """What was filed so far, as far as it can be read."""
        return [filing for line in self._content.split(b"\n") if (filing := _read(line)) is not None]

    def append(self, filing: Filing) -> None:
        """Raises Unfiled, with the outbox as it was."""
        torn = b"" if not self._content or self._content.endswith(b"\n") else b"\n"
        try:
            line = torn + msgspec.json.encode(filing) + b"\n"
        except UnicodeEncodeError as error:
            raise Unfiled("the text holds half a character (a lone surrogate): send whole ones") from error
        if self._size + len(line) > OUTBOX_BYTES_MAX or len(self.filings) >= FILINGS_MAX:
            raise Unfiled(
                f"the outbox is full: {FILINGS_MAX} actions and {OUTBOX_BYTES_MAX >> 10} KB are taken at a time"
            )
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            raise Unfiled(f"the outbox cannot be written: {error.strerror}") from error
        if written != len(line):
            os.ftruncate(self._descriptor, self._size)
            raise Unfiled(f"the disk took {written} of {len(line)} bytes: it is full")
        self._content += line
        self._size += len(line)


@contextmanager
def opened(path: Path) -> Iterator[Outbox]:
    """The outbox, made if it is not there, for as long as nobody else files in it. Raises Unfiled."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        raise Unfiled(f"{path}: the outbox cannot be opened: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unfiled(f"{path} is no regular file, and so no outbox")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Outbox(descriptor)
    finally:
        os.close(descriptor)  # drops the lock


def read_outbox(path: Path, *, batch: str, allowed: Mapping[Author, Permissions]) -> tuple[Filing, ...]:
    """What was filed in the outbox at ``path``, as one batch of that name, oldest first; nothing if there is none.

    Whatever its lines say, authors are those of ``allowed``, and what they may not do is marked as refused; so is a
    line that cannot be read, and what goes beyond `FILINGS_MAX` or `OUTBOX_BYTES_MAX`. Raises nothing.
    """
    first = next(iter(allowed), Author("nobody"))
    try:
        content = _content(path, OUTBOX_BYTES_MAX, cut=True)
    except FileNotFoundError:
        return ()
    except OSError as error:
        why = f"the outbox cannot be read: {error.strerror or error}"
        return (Filing(Action.COMMENT, first, batch=batch, refused=why),)
    lines = [line for line in content.split(b"\n") if line.strip()]
    filings = [_read(line) or _unread(line, first) for line in lines[:FILINGS_MAX]]
    received = permitted(filings, batch=batch, allowed=allowed)
    more = len(lines) - FILINGS_MAX
    if more > 0 or len(content) >= OUTBOX_BYTES_MAX:
        why = f"the outbox holds more than {FILINGS_MAX} actions or {OUTBOX_BYTES_MAX >> 10} KB: the rest is left out"
        received += (Filing(Action.COMMENT, first, batch=batch, refused=why),)
    return received


def _content(path: Path, bytes_max: int, *, cut: bool = False) -> bytes:
    """Of a regular file, and no more than that. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:  # noqa: PTH123 - a number, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path.name} is no regular file")
        content = stream.read(bytes_max + 1)
    if len(content) > bytes_max and not cut:
        raise OSError(f"{path.name} is larger than {bytes_max >> 20} MB")
    return content[:bytes_max]


def _read(line: bytes) -> Filing | None:
    try:
        return _FILING.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _unread(line: bytes, author: Author) -> Filing:
    sample = line[: SAMPLE_CHARS * 4].decode("utf-8", "backslashreplace")[:SAMPLE_CHARS]
    return Filing(Action.COMMENT, author, text=sample, refused="a line of the outbox is no action, or cut short")
