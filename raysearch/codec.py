"""Journal lines: one entry as one JSON object, strictly typed in both directions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

import msgspec

from raysearch.facts import Entry, Fact

VERSION = 1
"""Of the line format. Fields may be added with defaults; anything else needs a new number."""


class CodecError(ValueError):
    """A line that is no entry of this version."""


@dataclass(frozen=True, slots=True)
class _Line:
    v: int
    seq: int
    at_s: float
    run_s: float
    kind: str
    fact: msgspec.Raw


def kind_of(fact: type[Fact] | Fact) -> str:
    """``AttemptOpened`` is written as ``attempt_opened``."""
    name = fact.__name__ if isinstance(fact, type) else type(fact).__name__
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_KINDS: dict[type, str] = {cls: kind_of(cls) for cls in get_args(Fact)}
_DECODERS: dict[str, msgspec.json.Decoder[Fact]] = {kind: msgspec.json.Decoder(cls) for cls, kind in _KINDS.items()}
_LINE = msgspec.json.Decoder(_Line)
_ENCODER = msgspec.json.Encoder()


def encode(entry: Entry) -> bytes:
    """The line for ``entry``, newline included."""
    body = _ENCODER.encode(entry.fact)
    kind = _KINDS[type(entry.fact)]
    return b'{"v":%d,"seq":%d,"at_s":%b,"run_s":%b,"kind":"%b","fact":%b}\n' % (
        VERSION,
        entry.seq,
        repr(round(entry.at_s, 3)).encode(),
        repr(round(entry.run_s, 3)).encode(),
        kind.encode(),
        body,
    )


def check(fact: Fact) -> None:
    """Raise CodecError unless ``fact`` reads back as itself: not a number that JSON lacks, no broken text or type."""
    try:
        same = _DECODERS[_KINDS[type(fact)]].decode(_ENCODER.encode(fact)) == fact
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"{kind_of(fact)} cannot be written down: {error}") from error
    if not same:
        raise CodecError(f"{kind_of(fact)} reads back as something else: a list where a tuple is due, perhaps")


def decode(line: bytes) -> Entry:
    """The entry on ``line``. Raises CodecError."""
    try:
        envelope = _LINE.decode(line)
        if envelope.v != VERSION:
            raise CodecError(f"journal format {envelope.v}; this raysearch reads {VERSION}")
        decoder = _DECODERS.get(envelope.kind)
        if decoder is None:
            raise CodecError(f"unknown fact {envelope.kind!r}")
        return Entry(envelope.seq, envelope.at_s, envelope.run_s, decoder.decode(envelope.fact))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(str(error)) from error
