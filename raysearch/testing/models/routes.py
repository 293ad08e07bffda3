"""Which address means what, and what of a request may be kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from raysearch.testing.models.anthropic import Anthropic
from raysearch.testing.models.dialect import Wording
from raysearch.testing.models.gemini import Gemini
from raysearch.testing.models.openai_chat import OpenAIChat
from raysearch.testing.models.openai_responses import OpenAIResponses
from raysearch.testing.models.script import Dialect

WORDINGS: Mapping[Dialect, Wording] = {
    "anthropic": Anthropic(),
    "openai_chat": OpenAIChat(),
    "openai_responses": OpenAIResponses(),
    "gemini": Gemini(),
}
_SECRET = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)
_GEMINI = re.compile(r"models/(?P<model>[^/:]+):(?P<verb>\w+)$")
_VERBS = {"generateContent": False, "streamGenerateContent": True, "rawPredict": False, "streamRawPredict": True}


@dataclass(frozen=True, slots=True)
class Route:
    """What an address asks for; ``model`` and ``stream`` where the address says it, not the body."""

    dialect: Dialect
    wants: Literal["turn", "count", "models"]
    model: str = ""
    stream: bool | None = None


def route(method: str, path: str, headers: Mapping[str, str]) -> Route | None:
    """Where ``path`` (without its query) leads; None: nowhere."""
    path = path.rstrip("/")
    if method in {"GET", "HEAD"}:
        return _listing(path, headers)
    if method != "POST":
        return None
    if path.endswith("/messages"):
        return Route("anthropic", "turn")
    if path.endswith("/messages/count_tokens"):
        return Route("anthropic", "count")
    if path.endswith("/chat/completions"):
        return Route("openai_chat", "turn")
    if path.endswith("/responses"):
        return Route("openai_responses", "turn")
    if path.endswith("/responses/input_tokens"):
        return Route("openai_responses", "count")
    if (found := _GEMINI.search(path)) is None:
        return None
    model, verb = found["model"], found["verb"]
    if verb == "countTokens":
        return Route("gemini", "count", model)
    if verb not in _VERBS:
        return None
    return Route("anthropic" if verb.endswith("awPredict") else "gemini", "turn", model, _VERBS[verb])


def _listing(path: str, headers: Mapping[str, str]) -> Route | None:
    """Models are listed at one address by three providers; a header tells them apart."""
    head, mark, name = path.partition("/models")
    if not mark or (name and not re.fullmatch(r"/[^/]+", name)):
        return None
    google = head.endswith(("v1beta", "v1beta1")) or "x-goog-api-key" in headers
    claude = "anthropic-version" in headers or ("x-api-key" in headers and "authorization" not in headers)
    return Route("gemini" if google else "anthropic" if claude else "openai_chat", "models", name[1:])


def listed(names: Iterable[str], chosen: Route) -> object:
    """The models in the form of the dialect: all, or the one that the address names (None if there is no such)."""
    each = [_card(name, chosen.dialect) for name in names if chosen.model in {"", name}]
    if chosen.model:
        return each[0] if each else None
    if chosen.dialect == "gemini":
        return {"models": each}
    paging = {"has_more": False, "first_id": None, "last_id": None} if chosen.dialect == "anthropic" else {}
    return {"object": "list", "data": each} | paging


def _card(name: str, dialect: Dialect) -> object:
    if dialect == "gemini":
        verbs = ["generateContent", "countTokens"]
        return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": verbs}
    if dialect == "anthropic":
        born = "2026-01-01T00:00:00Z"
        return {"type": "model", "id": name, "display_name": name, "created_at": born, "lifecycle": "active"}
    return {"id": name, "object": "model", "created": 1767225600, "owned_by": "raysearch"}


def key_digest(key: str) -> str:
    """What is kept of a key: enough to tell two apart, and no more. Empty for no key."""
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:16] if key else ""


def key_of(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The key that was sent, wherever the dialects put it."""
    bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
    others = (headers.get(name, "") for name in ("x-api-key", "x-goog-api-key", "api-key"))
    return next((key for key in (*others, bearer, query.get("key", "")) if key), "")


def redacted(fields: Mapping[str, str]) -> dict[str, str]:
    """Headers or a query with a digest in place of whatever may be secret."""
    return {
        name: key_digest(value.removeprefix("Bearer ").strip()) if _SECRET.search(name) else value
        for name, value in fields.items()
    }
