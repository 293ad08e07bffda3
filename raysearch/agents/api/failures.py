"""What went wrong, read off the exceptions of three SDKs that agree on little."""

from __future__ import annotations

import email.utils
import math
import re
import time
import traceback
from collections.abc import Mapping
from typing import Any

import httpx2

from raysearch.agents.api.messages import ErrorKind, ProviderError, clean, printable
from raysearch.types import Usage

_WINDOW = re.compile(
    r"context[ _-]?(length|window)|prompt (is )?too long|too many (input )?tokens|maximum (context|input)|"
    r"input token count.*exceeds",
    re.IGNORECASE,
)
_NO_MONEY = {"insufficient_quota", "billing_error", "billing_hard_limit_reached"}
_LIMITED = {"rate_limit_error", "rate_limit_exceeded", "overloaded_error"}
_MESSAGE_MAX = 500


def failure(error: Exception, heard: int | None = None, usage: Usage | None = None) -> ProviderError:
    """The exception of an SDK, or of reading what it gave, as a `ProviderError`.

    Streams that the SDK left half read are closed now, not whenever the exception is forgotten.
    """
    traceback.clear_frames(error.__traceback__)
    if isinstance(error, ProviderError):
        error.heard = heard if error.heard is None else error.heard
        error.usage = error.usage if error.usage.calls else usage or error.usage
        return error
    message, kind, wait_s = _read(error)
    return ProviderError(printable(clean(message))[:_MESSAGE_MAX], kind, retry_after_s=wait_s, heard=heard, usage=usage)


def _read(error: Exception) -> tuple[str, ErrorKind, float | None]:
    name = type(error).__name__
    if isinstance(error, httpx2.TimeoutException) or name == "APITimeoutError":
        return "no answer in time", "time", None
    told, code = _told(error)
    status = _status(error)
    if status is not None:
        wait_s = _retry_after_s(error)
        return f"{status}: {told or name}", _kind(status, told, code), wait_s
    if isinstance(error, httpx2.TransportError) or name == "APIConnectionError":
        reason = error.__cause__ or error
        return f"the connection failed: {reason}", "failed", None
    if type(error).__module__.startswith("google.auth") or name in {"CredentialsError", "DefaultCredentialsError"}:
        return f"no credentials: {error}", "unavailable", None
    if name == "APIError":  # an error that came within a stream
        return told or str(error), "limited" if code in _LIMITED else "failed", None
    return f"the answer cannot be read: {name}: {error}", "failed", None


def _kind(status: int, message: str, code: str) -> ErrorKind:
    if code in _NO_MONEY or status in {401, 402, 403}:
        return "unavailable"
    if status in {429, 529} or code in _LIMITED:
        return "limited"
    if status == 413 or (status in {400, 422} and (code == "context_length_exceeded" or _WINDOW.search(message))):
        return "window"
    return "rejected" if 300 <= status < 500 and status not in {408, 409, 425} else "failed"


def _status(error: Exception) -> int | None:
    found = getattr(error, "status_code", None) or getattr(error, "code", None)
    try:
        return int(str(found)) if found is not None else None
    except ValueError:
        return None


def _told(error: Exception) -> tuple[str, str]:
    """The provider's own message and its word for it."""
    body: Any = getattr(error, "body", None) or getattr(error, "details", None)
    inner = body.get("error", body) if isinstance(body, Mapping) else None
    if not isinstance(inner, Mapping):
        return str(getattr(error, "message", None) or error), ""
    code = next((str(inner[key]) for key in ("code", "type", "status") if isinstance(inner.get(key), str)), "")
    return str(inner.get("message") or error), code


def _retry_after_s(error: Exception) -> float | None:
    """How long the provider asks to wait, in seconds."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        if (found := _seconds(str(headers.get(name, "")), unit)) is not None:
            return found
    details: Any = getattr(error, "details", None)
    inner = details.get("error", details) if isinstance(details, Mapping) else {}
    listed = inner.get("details") if isinstance(inner, Mapping) else None
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping) and "retryDelay" in each:
            return _seconds(str(each["retryDelay"]).removesuffix("s"), 1.0)
    return None


def _seconds(text: str, unit: float) -> float | None:
    try:
        seconds = float(text) * unit
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
