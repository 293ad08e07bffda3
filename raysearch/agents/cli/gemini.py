"""Gemini CLI, headless (tried with 0.61.0).

Known of it: it tells no price and no number of answers; thinking is in the total of tokens only; SIGTERM does not end
it while a tool runs; it does not work in a folder that it must not trust. What a turn cost that was cut short stands in
the chat's file below its HOME.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from raysearch.agents.cli.output import cause_of, count, events, mapping, text
from raysearch.agents.cli.runner import CliAgent
from raysearch.agents.cli.turns import NO_KEY, Heard, Start, Turn
from raysearch.agents.interface import Cause, McpServer, Permission
from raysearch.errors import ConfigError, EvaluatorFault
from raysearch.protocols import Completed
from raysearch.sandbox import read_untrusted
from raysearch.types import Usage

CHATS = ".gemini/tmp"
CHAT_KB_MAX = 65_536
OFF_LIMITS = ("google_web_search", "web_fetch")
"""What the provider fetches for a model would come past the sandbox."""
ANY_CHAT = "chat-base"
"""What its settings of every model it talks to are derived from."""
BUDGETS = {"low": 1024, "medium": 8192, "high": 24_576}
"""Tokens of thinking that an effort stands for, for models that count them."""


class Gemini(CliAgent):
    """Gemini CLI. It stops at a limit in turns; for one in dollars its accounts are looked at while it works.

    ``effort``, low, medium or high, is for a model that is named.
    """

    name = "gemini"
    title = "Gemini CLI"
    install = "npm install -g @google/gemini-cli"
    skills_at = PurePosixPath(".gemini/skills")
    accounts = f"{CHATS}/*/chats/**/*.jsonl"
    sets_aside = (".agents", ".gemini", "GEMINI.md")
    upstream = "https://generativelanguage.googleapis.com"
    key_name = "GEMINI_API_KEY"
    key_alias = "GOOGLE_API_KEY"

    def server(self, base_url: str) -> tuple[str, str]:
        if self.effort and not self.model:
            raise ConfigError("Gemini CLI: how hard to think is said for a model: name one beside `effort`")
        return super().server(base_url)

    def headers(self, key: str) -> Mapping[str, str]:
        return {"x-goog-api-key": key}

    def spent(self, accounts: Sequence[str]) -> Usage:
        return _account(accounts)

    def start(self, turn: Turn) -> Start:
        settings: dict[str, Any] = {
            "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
            "general": {"enableAutoUpdate": False, "maxAttempts": 3},
            "privacy": {"usageStatisticsEnabled": False},
            "telemetry": {"enabled": False},
            "model": {"maxSessionTurns": turn.turns_max},
            "tools": {"exclude": [*OFF_LIMITS]},
            "mcpServers": {server.name: _server(server) for server in turn.servers},
        }
        if turn.permission is Permission.NONE:
            settings["tools"] = {"core": ["none"]}
        if self.effort:
            thinking = {"generateContentConfig": {"thinkingConfig": _thinking(self.model, self.effort)}}
            settings["modelConfigs"] = {"overrides": [{"match": {"model": ANY_CHAT}, "modelConfig": thinking}]}
        files = {".gemini/settings.json": json.dumps(settings), ".gemini/GEMINI.md": turn.system}
        env = {
            "GEMINI_API_KEY": NO_KEY,
            "GOOGLE_GEMINI_BASE_URL": turn.url,
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
        }
        words = ["--output-format", "stream-json", "--approval-mode", "yolo", "--skip-trust"]
        words += ["--model", self.model] if self.model else []
        words += ["--resume", turn.session] if turn.session else []
        return Start(tuple(words), env, files)

    def hear(self, completed: Completed, home: Path) -> Heard:
        said = list(events(completed.stdout))
        session = next((text(event, "session_id") for event in said if text(event, "type") == "init"), "")
        model = next((text(event, "model") for event in said if text(event, "type") == "init"), "")
        result = next((event for event in reversed(said) if text(event, "type") == "result"), None)
        if result is None:
            lost = "Error resuming session" in completed.stderr
            partial = Heard(usage=_of_chat(home, session), session=session, lost=lost)
            return replace(partial, failure=completed.stderr) if lost else partial
        stats = mapping(result, "stats")
        answers = _answers(said)
        usage = Usage(
            tokens_in=count(stats, "input_tokens"),
            tokens_cached=count(stats, "cached"),
            tokens_out=max(0, count(stats, "total_tokens") - count(stats, "input_tokens")),
            model=model,
            turns=len(answers) or min(1, count(stats, "total_tokens")),
        )
        reply = answers[-1] if answers else ""
        if result.get("status") == "success":
            if not answers:
                return Heard("", None, usage, session, "the model answered nothing", "refused")
            return Heard(reply, None, usage, session, failure="")
        told = [text(result, "error", "message")]
        told += [text(event, "message") for event in said if text(event, "type") == "error"]
        reason = "; ".join(filter(None, told)) or "it failed"
        return Heard(reply, None, usage, session, reason, _cause(text(result, "error", "type"), reason))


def _cause(kind: str, reason: str) -> Cause:
    if kind == "FatalTurnLimitedError":
        return "budget"
    # What it adds to every 429. Google says of a limit a minute what others say of an empty account.
    return "limited" if "increase your limits" in reason else cause_of(reason)


def _thinking(model: str, effort: str) -> Mapping[str, object]:
    if model.startswith(("gemini-1", "gemini-2")) and effort in BUDGETS:
        return {"thinkingBudget": BUDGETS[effort]}
    return {"thinkingLevel": effort.upper()}


def _server(server: McpServer) -> Mapping[str, object]:
    if server.url:
        return {"httpUrl": server.url, "trust": True}
    return {"command": server.command[0], "args": [*server.command[1:]], "env": dict(server.env), "trust": True}


def _answers(said: Sequence[Mapping[str, Any]]) -> list[str]:
    """The text of each answer of the model: what it says until a tool has answered, or it has ended."""
    answers: list[str] = []
    begun = False
    for event in said:
        speaks = text(event, "type") == "message" and event.get("role") == "assistant"
        if speaks or text(event, "type") == "tool_use":
            answers += [] if begun else [""]
            begun = True
            answers[-1] += text(event, "content") if speaks else ""
        elif text(event, "type") == "tool_result":
            begun = False
    return answers


def _of_chat(home: Path, session: str) -> Usage:
    """What a chat has cost, as its file says; nothing where there is none to read."""
    return _account([_chat(home, session)])


def _account(chats: Sequence[str]) -> Usage:
    sent: dict[str, Usage] = {}
    for event in (event for chat in chats for event in events(chat)):
        used = mapping(event, "tokens")
        if text(event, "type") == "gemini" and used:
            sent[text(event, "id")] = Usage(
                tokens_in=count(used, "input"),
                tokens_cached=count(used, "cached"),
                tokens_out=count(used, "output") + count(used, "thoughts"),
                model=text(event, "model"),
                turns=1,
            )
    return sum(sent.values(), Usage())


def _chat(home: Path, session: str) -> str:
    if not session:
        return ""
    for file in sorted((home / CHATS).glob(f"*/chats/session-*-{session[:8]}.jsonl")):
        try:
            return read_untrusted(home, str(file.relative_to(home)), limit_kb=CHAT_KB_MAX).decode("utf-8", "replace")
        except (EvaluatorFault, OSError):
            continue
    return ""
