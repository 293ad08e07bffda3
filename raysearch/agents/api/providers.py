"""Which provider a model is of, and the way to it."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, get_args

from raysearch.agents.api.messages import Provider
from raysearch.agents.credentials import credential
from raysearch.agents.interface import AgentFault
from raysearch.errors import ConfigError, nearest

Name = Literal["anthropic", "openai", "openai-chat", "gemini", "vertex"]
_KNOWN: tuple[tuple[str, Name], ...] = (
    (r"claude-", "anthropic"),
    (r"(gpt-|chatgpt-|codex-|o\d)", "openai"),
    (r"gemini-", "gemini"),
)
"""How the names of a provider's models begin."""
_KEYS: Mapping[Name, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openai-chat": ("OPENAI_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "vertex": (),
}
_SDKS: Mapping[Name, str] = {
    "anthropic": "anthropic",
    "openai": "openai",
    "openai-chat": "openai",
    "gemini": "google.genai",
    "vertex": "google.genai",
}
_NO_KEY = "none"
"""What is sent to a server of one's own, which wants no key; the SDKs insist on one."""


@dataclass(frozen=True, slots=True)
class Address:
    """A model, and where it is asked.

    ``key_from`` names the variable (of the environment, or of ``.env``) that holds the key. A provider's own key goes
    to the provider's own address only: another ``base_url`` gets the key that is named for it, or none.
    ``project`` and ``region`` are Vertex AI's.
    """

    model: str
    provider: Name
    base_url: str = ""
    key_from: str = ""
    project: str = ""
    region: str = ""
    window_tokens: int = 0
    """Most tokens of input and output together; 0: what is usual for the provider."""


def address(
    model: str,
    provider: str = "",
    base_url: str = "",
    key_from: str = "",
    project: str = "",
    region: str = "",
    window_tokens: int = 0,
) -> Address:
    """Where ``model`` is asked, its provider found by its name unless ``provider`` says it. Raises ConfigError."""
    names: tuple[Name, ...] = get_args(Name)
    if not model:
        raise ConfigError("an agent needs a model: say which, as in model = 'claude-sonnet-5' (--model)")
    if base_url and not re.match(r"https?://[^/]", base_url):
        raise ConfigError(f"base_url must begin with http:// or https:// and a host, not {base_url!r}")
    if window_tokens < 0:
        raise ConfigError(f"window_tokens must be 0 or more, not {window_tokens}")
    found: Name | None = next((name for name in names if name == provider), None)
    if provider and found is None:
        raise ConfigError(f"no provider is called {provider!r}.{nearest(provider, names)}")
    if found is None:
        found = _detected(model, base_url)
    if found == "vertex" and not re.match(r"(claude-|gemini-)", model):
        raise ConfigError(f"on Vertex AI, models are called claude-… or gemini-…, not {model!r}")
    return Address(model, found, base_url, key_from, project, region, window_tokens)


def _detected(model: str, base_url: str) -> Name:
    found = next((name for pattern, name in _KNOWN if re.match(pattern, model)), None)
    if base_url and found in {None, "openai"}:
        return "openai-chat"  # what servers of all makes speak
    if found is None:
        raise ConfigError(
            f"whose model {model!r} is cannot be told by its name (claude-…, gpt-…, o3…, gemini-…): "
            f"say provider ({', '.join(get_args(Name))}), or base_url for an OpenAI-compatible server"
        )
    return found


def missing(where: Address) -> str:
    """What is not here to ask that model, its SDK or its key; empty if nothing. Nothing is loaded for this."""
    name: Name = "anthropic" if where.provider == "vertex" and where.model.startswith("claude-") else where.provider
    package = _SDKS[name]
    if importlib.util.find_spec(package.partition(".")[0]) is None:
        return f"{where.model} is asked through the package {package}: pip install 'raysearch[agents]'"
    if where.provider == "vertex" and not where.key_from:
        return ""  # Google's own credentials, which Google's SDK looks for
    try:
        _key(where)
    except AgentFault as fault:
        return str(fault)
    return ""


def connect(where: Address) -> Provider:
    """The way to a model. Raises AgentFault (``unavailable``) without its SDK or its key."""
    with ExitStack() as stack:
        try:
            wire = importlib.import_module("raysearch.agents.api.wire")
            http = wire.Wire(tls=not where.base_url.startswith("http://"))
            stack.callback(http.close)
            provider = _CONNECTORS[where.provider](where, http)
        except ImportError as error:
            raise AgentFault(
                f"{where.model} is asked through the package {error.name}, which is not installed: "
                "pip install 'raysearch[agents]'",
                cause="unavailable",
            ) from None
        except ValueError as error:  # an SDK's word for what it misses, such as Vertex AI's region
            raise AgentFault(f"{where.model} cannot be asked: {error}", cause="unavailable") from None
        if where.window_tokens:
            provider.window_tokens = where.window_tokens
        stack.pop_all()
    found: Provider = provider
    return found


def _key(where: Address) -> str:
    names = (where.key_from,) if where.key_from else _KEYS[where.provider]
    if where.base_url and not where.key_from:
        return _NO_KEY
    found = next((key for key in map(credential, names) if key), None)
    if found is None:
        raise AgentFault(
            f"no key for {where.model}: set {' or '.join(names)} in the environment or in .env", cause="unavailable"
        )
    return found


def _anthropic(where: Address, http: Any) -> Any:
    from anthropic import Anthropic

    from raysearch.agents.api.anthropic import Claude

    base_url = where.base_url or None
    return Claude(Anthropic(api_key=_key(where), base_url=base_url, max_retries=0, http_client=http), where.model)


def _openai(where: Address, http: Any) -> Any:
    from openai import OpenAI

    from raysearch.agents.api.openai import Responses
    from raysearch.agents.api.openai_chat import Chat

    client = OpenAI(api_key=_key(where), base_url=where.base_url or None, max_retries=0, http_client=http)
    if where.provider == "openai":
        return Responses(client, where.model)
    if where.base_url:
        return Chat(client, where.model)
    return Chat(client, where.model, window_tokens=128_000, official=True)


def _gemini(where: Address, http: Any) -> Any:
    from google.genai import Client
    from google.genai.types import HttpOptions

    from raysearch.agents.api.gemini import Gemini

    options = HttpOptions(base_url=where.base_url or None, httpx_client=http)
    return Gemini(Client(vertexai=False, api_key=_key(where), http_options=options), http, where.model)


def _vertex(where: Address, http: Any) -> Any:
    """Google's own credentials, or an access token in the variable that ``key_from`` names."""
    token = _key(where) if where.key_from else None
    if where.model.startswith("claude-"):
        return _vertex_claude(where, http, token)
    from google.genai import Client
    from google.genai.types import HttpOptions
    from google.oauth2.credentials import Credentials

    from raysearch.agents.api.gemini import Gemini

    client = Client(
        vertexai=True,
        project=where.project or None,
        location=where.region or None,
        credentials=Credentials(token) if token else None,  # type: ignore[no-untyped-call] # google.oauth2
        http_options=HttpOptions(base_url=where.base_url or None, httpx_client=http),
    )
    return Gemini(client, http, where.model)


def _vertex_claude(where: Address, http: Any, token: str | None) -> Any:
    from anthropic import AnthropicVertex

    from raysearch.agents.api.anthropic import Claude

    options: dict[str, Any] = {"project_id": where.project} if where.project else {}
    options |= {"region": where.region} if where.region else {}
    client = AnthropicVertex(
        access_token=token, base_url=where.base_url or None, max_retries=0, http_client=http, **options
    )
    return Claude(client, where.model)


_CONNECTORS: Mapping[Name, Callable[[Address, Any], Any]] = {
    "anthropic": _anthropic,
    "openai": _openai,
    "openai-chat": _openai,
    "gemini": _gemini,
    "vertex": _vertex,
}
