"""Is a server there, is it ready, and what does it serve? Asked in the way that every OpenAI-compatible one knows."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

BODY_BYTES_MAX = 4_000_000
_ABSENT = {404, 405, 501}
"""A server that has no address for its health is well if it answers at all."""
_WINDOWS = ("max_model_len", "max_context_length", "context_length", "n_ctx")
"""What servers call the longest conversation, in the list of their models (the first is vLLM's)."""


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    window_tokens: int = 0


class Unready(Exception):
    """It does not serve (yet); the message says how that was seen."""


class Locked(Exception):
    """It tells nobody without a key what it serves."""


class WrongModel(Exception):
    """It serves, but not the model that is wanted."""


def health(url: str, timeout_s: float) -> None:
    """Raise Unready unless the server at ``url`` says that it is well."""
    status, _ = _get(url, "/health", timeout_s)
    if status != 200 and status not in _ABSENT:
        raise Unready(f"GET /health gave status {status}")


def models(url: str, timeout_s: float) -> list[Model]:
    """What it serves. Raises Unready, or Locked where one needs a key to ask."""
    status, body = _get(url, "/v1/models", timeout_s)
    if status in {401, 403}:
        raise Locked(f"GET /v1/models gave status {status}")
    if status != 200:
        raise Unready(f"GET /v1/models gave status {status}")
    try:
        listed = json.loads(body)["data"]
        found = [Model(str(model["id"]), _window(model)) for model in listed]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unready("GET /v1/models gave no list of models") from None
    if not found:
        raise Unready("GET /v1/models lists nothing")
    return found


def chosen(listed: list[Model], wanted: list[str], strict: bool) -> Model:
    """The first of ``listed`` that is ``wanted``; else simply the first, or WrongModel if ``strict``."""
    for name in filter(None, wanted):
        for model in listed:
            if model.name == name:
                return model
    if strict and any(wanted):
        names = ", ".join(model.name for model in listed[:10])
        raise WrongModel(f"it serves {names}, not {next(filter(None, wanted))}")
    return listed[0]


def _window(model: Mapping[str, Any]) -> int:
    meta = model.get("meta")
    for place in (model, meta if isinstance(meta, Mapping) else {}):
        for name in _WINDOWS:
            found = place.get(name)
            if isinstance(found, int) and not isinstance(found, bool) and found > 0:
                return found
    return 0


def _get(url: str, path: str, timeout_s: float) -> tuple[int, bytes]:
    """No proxy is asked: the server is one's own."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path.rstrip("/") + path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(BODY_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise Unready(f"GET {path}: {str(error) or type(error).__name__}") from None
    finally:
        connection.close()
