"""From a turn to the bytes that go out, with whatever is to go wrong on the way. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from raysearch.testing.models.dialect import Answer, Wording, compact, prepare
from raysearch.testing.models.faults import (
    Cut,
    Drop,
    Hang,
    HttpError,
    Huge,
    InvalidUtf8,
    Malformed,
    Raw,
    Shred,
    StreamError,
)
from raysearch.testing.models.script import Request, Turn

_BROKEN = "\ue0ff"
"""Stands in a text for bytes that are none; private use, so that no real text has it."""
_FILLER = "All work and no play makes Jack a dull boy. "


@dataclass(frozen=True, slots=True)
class Wire:
    """What is sent, piece by piece.

    ``length_bytes`` is announced, whatever then comes; None: the transfer is chunked. ``head`` false: not even the
    status line is sent. ``ending``: the transfer is ended as it should be, or breaks off, or stays open.
    """

    chunks: tuple[bytes, ...]
    length_bytes: int | None
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0
    pace_s: float = 0.0
    head: bool = True
    ending: Literal["complete", "cut", "hang"] = "complete"


def document(body: object, status: int = 200) -> Wire:
    """One JSON document."""
    sent = compact(body).encode()
    return Wire((sent,), len(sent), status)


def refusal(wording: Wording, error: HttpError) -> Wire:
    """A refusal in the dialect's form."""
    wire = document(wording.error(error), error.status)
    if error.retry_after_s is None:
        return wire
    return replace(wire, headers=(("retry-after", f"{error.retry_after_s:g}"),))


def plan(turn: Turn, request: Request, wording: Wording, at_s: int) -> tuple[Wire, Answer]:
    """How ``turn`` goes out as the answer to ``request``, and the answer that it is, at ``at_s`` since 1970."""
    turn = _retold(turn)
    answer = prepare(turn, request, at_s)
    wire = _broken(turn, _sound(answer, wording), answer, wording)
    return replace(wire, delay_s=turn.delay_s, pace_s=turn.pace_s), answer


def _retold(turn: Turn) -> Turn:
    """The turn as its fault changes what is said."""
    match turn.fault:
        case Huge(size_bytes):
            missing = max(0, size_bytes - len(turn.text))
            return replace(turn, text=turn.text + (_FILLER * (missing // len(_FILLER) + 1))[:missing])
        case InvalidUtf8():
            middle = len(turn.text) // 2
            return replace(turn, text=turn.text[:middle] + _BROKEN + turn.text[middle:])
        case _:
            return turn


def _sound(answer: Answer, wording: Wording) -> Wire:
    """The answer as it should be."""
    if not answer.request.stream:
        return document(wording.whole(answer))
    return Wire(tuple(wording.events(answer)), None, content_type="text/event-stream")


def _broken(turn: Turn, wire: Wire, answer: Answer, wording: Wording) -> Wire:
    """``wire`` as the turn's fault leaves it."""
    match turn.fault:
        case None | Huge():
            return wire
        case HttpError() as error:
            return refusal(wording, error)
        case StreamError(message, after):
            if not answer.request.stream:
                return refusal(wording, HttpError(500, message))
            return replace(wire, chunks=tuple(wording.failing(answer, message, after)))
        case Cut(after, clean):
            chunks = _part(wire.chunks, after)
            if not clean:
                return replace(wire, chunks=chunks, ending="cut")
            length = None if wire.length_bytes is None else sum(map(len, chunks))
            return replace(wire, chunks=chunks, length_bytes=length)
        case Drop():
            return replace(wire, chunks=(), head=False, ending="cut")
        case Hang(after):
            return replace(wire, chunks=_part(wire.chunks, after), head=after > 0, ending="hang")
        case Malformed():
            chunks = _unreadable(wire.chunks)
            return replace(wire, chunks=chunks, length_bytes=wire.length_bytes and sum(map(len, chunks)))
        case InvalidUtf8():
            return _with_bytes(wire, b"\xff\xfe\xc3(")
        case Shred(size_bytes):
            body = b"".join(wire.chunks)
            pieces = (body[start : start + size_bytes] for start in range(0, len(body), size_bytes))
            return replace(wire, chunks=tuple(pieces))
        case Raw(body, status, content_type):
            return Wire((body,), len(body), status, content_type)


def _part(chunks: Sequence[bytes], after: float) -> tuple[bytes, ...]:
    """The first ``after`` of the body; of several events, up to the middle of the one that this falls into."""
    if after <= 0:
        return ()
    if len(chunks) == 1:
        return (chunks[0][: min(max(1, int(len(chunks[0]) * after)), len(chunks[0]) - 1)],)
    index = min(int(len(chunks) * after), len(chunks) - 1)
    return (*chunks[:index], chunks[index][: len(chunks[index]) // 2])


def _unreadable(chunks: Sequence[bytes]) -> tuple[bytes, ...]:
    """The body, or the data of the event in the middle, without its second half."""
    if len(chunks) == 1:
        return (chunks[0][: len(chunks[0]) // 2],)
    middle = len(chunks) // 2
    head, mark, data = chunks[middle].partition(b"data: ")
    return (*chunks[:middle], head + mark + data[: len(data) // 2] + b"\n\n", *chunks[middle + 1 :])


def _with_bytes(wire: Wire, broken: bytes) -> Wire:
    """Every stand-in replaced, whichever way it was written."""
    chunks = wire.chunks
    for stand_in in (_BROKEN.encode(), json.dumps(_BROKEN)[1:-1].encode()):
        chunks = tuple(chunk.replace(stand_in, broken) for chunk in chunks)
    length = None if wire.length_bytes is None else sum(map(len, chunks))
    return replace(wire, chunks=chunks, length_bytes=length)
