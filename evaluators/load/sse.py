"""Framing of streamed answers: server-sent events and lines, whatever pieces the network cuts them into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from evaluators.load.exchange import ServerTrouble

EVENT_BYTES_MAX = 4 << 20
"""An event or line that is longer is no answer."""


class Framing(Protocol):
    """Cuts a stream of bytes into messages."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that ``data`` completes. Raises ServerTrouble."""
        ...

    def end(self) -> Iterator[bytes]:
        """What the end of the stream completes."""
        ...


class Lines:
    """A message a line (NDJSON): ended by a line feed, blank lines left out, the last one with or without an end."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        _bounded(self._rest)
        for line in lines:
            if line.strip():
                yield line.strip()

    def end(self) -> Iterator[bytes]:
        yield from self.feed(b"\n")


class Events:
    """The ``data`` of server-sent events (WHATWG HTML, 9.2.6); other fields and comments are left out.

    Lines end with CR, LF or both; an event that the stream breaks off in is not one.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._bytes = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        text = (self._rest + data).replace(b"\r\n", b"\n")
        held = b""
        if text.endswith(b"\r"):  # its line feed may be on the way
            text, held = text[:-1], b"\r"
        *lines, rest = text.replace(b"\r", b"\n").split(b"\n")
        self._rest = rest + held
        _bounded(self._rest)
        for line in lines:
            if line:
                self._take(line)
            elif self._data:
                yield b"\n".join(self._data)
                self._data, self._bytes = [], 0

    def end(self) -> Iterator[bytes]:
        return iter(())

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._bytes += len(value)
            if self._bytes > EVENT_BYTES_MAX:
                _bounded(b"".join(self._data))


class Whole:
    """The body is one message."""

    def __init__(self) -> None:
        self._body = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._body += data
        _bounded(self._body)
        return iter(())

    def end(self) -> Iterator[bytes]:
        yield bytes(self._body)


def _bounded(data: bytes | bytearray) -> None:
    if len(data) > EVENT_BYTES_MAX:
        raise ServerTrouble(f"a message of more than {EVENT_BYTES_MAX >> 20} MB")
