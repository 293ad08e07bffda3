"""OpenCode, headless (tried with 1.18.33).

Known of it: it tells what each step cost where it knows the model's price; it tries a failing request again for about a
minute; its limit on steps is a request to the model, not a limit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from raysearch.agents.cli.output import cause_of, count, events, mapping, number, text
from raysearch.agents.cli.runner import CliAgent
from raysearch.agents.cli.turns import NO_KEY, Heard, Start, Turn
from raysearch.agents.interface import McpServer, Permission
from raysearch.errors import ConfigError, nearest
from raysearch.protocols import Completed
from raysearch.types import Usage


@dataclass(frozen=True, slots=True)
class Provider:
    """Whose models OpenCode knows, and how it reaches their server."""

    upstream: str
    key_name: str
    header: str
    path: str = ""
    """What its client adds to a server's address."""


PROVIDERS: Mapping[str, Provider] = {
    "anthropic": Provider("https://api.anthropic.com", "ANTHROPIC_API_KEY", "x-api-key", "/v1"),
    "openai": Provider("https://api.openai.com/v1", "OPENAI_API_KEY", "authorization"),
    "google": Provider("https://generativelanguage.googleapis.com", "GEMINI_API_KEY", "x-goog-api-key", "/v1beta"),
}
OWN = "raysearch"
"""What OpenCode calls a server that is none of these: one that speaks OpenAI's chat completions."""
QUIET = {
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    # Settings and instructions in the program were written by whoever wrote the program.
    "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
    "OPENCODE_DISABLE_CLAUDE_CODE": "1",
    "OPENCODE_DISABLE_EXTERNAL_SKILLS": "1",
}
OUTPUT = ".raysearch/output.jsonl"
CONTEXT_TOKENS, OUTPUT_TOKENS = 128_000, 16_384
"""Of a model that OpenCode does not know."""


class OpenCode(CliAgent):
    """OpenCode. ``model`` is provider/name: anthropic, openai or google; with a ``base_url``, any name that is served
    there over OpenAI's chat completions, unless it begins with one of those.

    For a limit in dollars or turns, what it prints is looked at while it works. ``effort`` is the name of a model's
    variant.
    """

    name = "opencode"
    title = "OpenCode"
    install = "npm install -g opencode-ai"
    skills_at = PurePosixPath(".config/opencode/skills")
    sets_aside = (".opencode", "opencode.json", "opencode.jsonc")  # its own switch for these is not always heeded
    accounts = OUTPUT
    upstream = ""
    key_name = ""

    def server(self, base_url: str) -> tuple[str, str]:
        if base_url:
            return base_url, ""
        provider, mark, _ = self.model.partition("/")
        if not mark or provider not in PROVIDERS:
            wanted = nearest(provider, PROVIDERS) if mark else ""
            raise ConfigError(
                f"OpenCode needs a model as provider/name, not {self.model!r}, or a base_url that serves it.{wanted}"
            )
        return PROVIDERS[provider].upstream, PROVIDERS[provider].key_name

    @property
    def provider(self) -> str:
        named = self.model.partition("/")[0]
        return named if "/" in self.model and named in PROVIDERS else OWN

    def headers(self, key: str) -> Mapping[str, str]:
        known = PROVIDERS.get(self.provider)
        if known is None or known.header == "authorization":
            return {"authorization": f"Bearer {key}"}
        return {known.header: key}

    def start(self, turn: Turn) -> Start:
        known, provider = PROVIDERS.get(self.provider), self.provider
        model = self.model.partition("/")[2] if known else self.model
        options = {"baseURL": turn.url + (known.path if known else ""), "apiKey": NO_KEY}
        offered: dict[str, Any] = {"options": options, "models": {model: {}}}
        if known is None:
            limit = {"context": CONTEXT_TOKENS, "output": OUTPUT_TOKENS}
            offered |= {"npm": "@ai-sdk/openai-compatible", "name": OWN, "models": {model: {"limit": limit}}}
        tools = {
            "*": "allow",
            "webfetch": "deny",
            "websearch": "deny",
            "question": "deny",
            "external_directory": "allow",
        }
        settings: dict[str, Any] = {
            "share": "disabled",
            "autoupdate": False,
            "enabled_providers": [provider],
            "provider": {provider: offered},
            "model": f"{provider}/{model}",
            "small_model": f"{provider}/{model}",
            "permission": {"*": "deny"} if turn.permission is Permission.NONE else tools,
            "agent": {"build": {"steps": turn.turns_max}},
            "mcp": {server.name: _server(server) for server in turn.servers},
        }
        if turn.system:
            file = turn.folder / "system.md"
            file.write_text(turn.system, encoding="utf-8", errors="replace")
            settings["instructions"] = [str(file)]
        (turn.folder / "opencode.json").write_text(json.dumps(settings))
        words = ["run", "--format", "json", "--model", f"{provider}/{model}", "--title", "raysearch"]
        words += ["--variant", self.effort] if self.effort else []
        words += ["--session", turn.session] if turn.session else []
        return Start(tuple(words), {**QUIET, "OPENCODE_CONFIG": str(turn.folder / "opencode.json")}, output=OUTPUT)

    def spent(self, accounts: Sequence[str]) -> Usage:
        return sum((_usage(step) for account in accounts for step in _steps(list(events(account)))), Usage())

    def hear(self, completed: Completed, home: Path) -> Heard:  # noqa: ARG002 - its output says all
        said = list(events(completed.stdout))
        session = next((text(event, "sessionID") for event in said if event.get("sessionID")), "")
        steps = _steps(said)
        usage = sum(map(_usage, steps), Usage())
        failed = next((event for event in reversed(said) if text(event, "type") == "error"), None)
        if failed is not None:
            status = count(failed, "error", "data", "statusCode")
            told = text(failed, "error", "data", "message") or text(failed, "error", "name") or "it failed"
            return Heard("", None, usage, session, told, cause_of(f"{status or ''} {told}"))
        if not said and "Session not found" in completed.stderr:
            return Heard(failure="Session not found", lost=True)
        last = text(steps[-1], "messageID") if steps else ""
        texts = [mapping(event, "part") for event in said if text(event, "type") == "text"]
        reply = "\n".join(text(part, "text") for part in texts if part.get("messageID") == last)
        if not steps or text(steps[-1], "reason") in {"tool-calls", "error", "unknown"} or completed.ended_by:
            return Heard(reply, None, usage, session)
        if text(steps[-1], "reason") == "length":
            return Heard(reply, None, usage, session, "the answer reached the model's limit on output")
        if text(steps[-1], "reason") == "content-filter" or (len(steps) == 1 and not reply):
            return Heard(reply, None, usage, session, "the model answered nothing", "refused")
        return Heard(reply, None, usage, session, failure="")


def _steps(said: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [mapping(event, "part") for event in said if text(event, "type") == "step_finish"]


def _server(server: McpServer) -> Mapping[str, object]:
    if server.url:
        return {"type": "remote", "url": server.url, "enabled": True, "oauth": False}
    return {"type": "local", "command": [*server.command], "environment": dict(server.env), "enabled": True}


def _usage(step: Mapping[str, Any]) -> Usage:
    tokens = mapping(step, "tokens")
    cached, written = count(tokens, "cache", "read"), count(tokens, "cache", "write")
    return Usage(
        cost_usd=number(step, "cost"),
        tokens_in=count(tokens, "input") + cached + written,
        tokens_cached=cached,
        tokens_out=count(tokens, "output") + count(tokens, "reasoning"),
        turns=1,
    )
