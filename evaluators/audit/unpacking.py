"""What packed texts hold: the decoders of Python's own library, by their dotted names."""

from __future__ import annotations

import base64
import binascii
import codecs
import zlib
from collections.abc import Callable, Mapping

BYTES_MAX = 1_000_000


def _inflated(bits: int) -> Callable[[bytes], bytes]:
    return lambda data: zlib.decompressobj(bits).decompress(data, BYTES_MAX)


DECODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "base64.b64decode": base64.b64decode,
    "base64.standard_b64decode": base64.b64decode,
    "base64.urlsafe_b64decode": base64.urlsafe_b64decode,
    "base64.b32decode": base64.b32decode,
    "base64.b16decode": binascii.unhexlify,
    "base64.b85decode": base64.b85decode,
    "base64.a85decode": base64.a85decode,
    "binascii.a2b_base64": binascii.a2b_base64,
    "binascii.a2b_hex": binascii.unhexlify,
    "binascii.unhexlify": binascii.unhexlify,
    "builtins.bytes.fromhex": lambda data: binascii.unhexlify(data.replace(b" ", b"")),
    "zlib.decompress": _inflated(15),
    "gzip.decompress": _inflated(31),
}


def unpacked(function: str, data: str | bytes) -> bytes | None:
    """What ``function``, one of `DECODERS`, makes of ``data``; None where it fails."""
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "replace")
    try:
        return DECODERS[function](raw)
    except (ValueError, TypeError, zlib.error, OSError):
        return None


def decoded(data: str | bytes, codec: str) -> str | bytes | None:
    """``codecs.decode(data, codec)``; None where it fails."""
    try:
        found: object = codecs.decode(data, codec)  # type: ignore[arg-type] # some take text
    except (ValueError, TypeError, LookupError, zlib.error, OSError):
        return None
    return found if isinstance(found, str | bytes) else None
