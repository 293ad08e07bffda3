"""What can go wrong between a model and whoever asks it: each a value that a turn may carry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpError:
    """Refused with ``status`` and an error in the dialect's own form.

    ``retry_after_s`` goes into the header of that name (Gemini: the error's details too). ``code`` replaces the
    provider's own word for the status, as in OpenAI's ``insufficient_quota`` (429, never to be retried).
    """

    status: int
    message: str = "scripted fault"
    retry_after_s: float | None = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class StreamError:
    """The status is 200, then the stream ends with an error event after ``after`` (0 to 1) of its events.

    Of an answer that is not streamed it makes status 500.
    """

    message: str = "scripted fault"
    after: float = 0.5


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection closes after ``after`` (0 to 1) of the body, always within an event, never between two.

    ``clean``: the transfer is ended properly all the same, so that only the missing end of the text tells.
    """

    after: float = 0.5
    clean: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection closes before anything was sent."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing more after ``after`` (0 to 1) of the body, with the connection open; 0: not even a status line."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Malformed:
    """The body, or one event in the middle of the stream, is no JSON."""


@dataclass(frozen=True, slots=True)
class InvalidUtf8:
    """Bytes that are no UTF-8 stand in the middle of the text."""


@dataclass(frozen=True, slots=True)
class Huge:
    """The text is filled up to ``size_bytes``."""

    size_bytes: int = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Shred:
    """No fault at all, but a trial: the body comes in pieces of ``size_bytes``, across events and characters."""

    size_bytes: int = 3


@dataclass(frozen=True, slots=True)
class Raw:
    """This body instead of an answer: the page of a proxy, an empty reply, another provider's dialect."""

    body: bytes
    status: int = 200
    content_type: str = "text/html"


Fault = HttpError | StreamError | Cut | Drop | Hang | Malformed | InvalidUtf8 | Huge | Shred | Raw

RATE_LIMITED = HttpError(429, "rate limit exceeded", retry_after_s=0.01)
"""Asks for the shortest wait: clients that are asked for none wait as long as they think best."""
SERVER_ERROR = HttpError(500, "internal error")
OVERLOADED = HttpError(529, "overloaded")
