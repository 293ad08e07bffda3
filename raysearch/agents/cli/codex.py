"""Codex, headless (tried with 0.163.0 and 0.171.0).

Known of it: it tells no price; the usage that it reports is the whole thread's; how many answers there were, and what a
turn cost that was cut short, stands only in the thread's file below its HOME. Its HOME must not lie below /tmp.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from raysearch.agents.cli.output import cause_of, count, events, mapping, text
from raysearch.agents.cli.runner import CliAgent
from raysearch.agents.cli.turns import NO_KEY, Heard, Start, Turn, toml
from raysearch.agents.interface import McpServer, Permission
from raysearch.agents.replies import portable
from raysearch.errors import EvaluatorFault
from raysearch.protocols import Completed
from raysearch.sandbox import read_untrusted
from raysearch.types import Usage

PROVIDER = "raysearch"
KEY = "RAYSEARCH_MODEL_KEY"
THREADS = PurePosixPath(".codex/sessions")
THREAD_KB_MAX = 65_536
SETTINGS = (
    'web_search="disabled"',
    "analytics.enabled=false",
    "feedback.enabled=false",
    "check_for_update_on_startup=false",
    'history.persistence="none"',
    "project_doc_max_bytes=0",  # an AGENTS.md in the program was written by whoever wrote the program
    *(f"features.{name}=false" for name in ("apps", "goals", "image_generation", "multi_agent", "plugins")),
)
"""Nothing that looks for another server than the model's: it waits for each in vain."""
TOOLLESS = tuple(f"features.{name}=false" for name in ("shell_tool", "unified_exec"))


class Codex(CliAgent):
    """Codex. It knows no limit in dollars or turns: its accounts are looked at while it works."""

    name = "codex"
    title = "Codex"
    install = "pip install openai-codex, or npm install -g @openai/codex"
    package = ("codex_cli_bin", "bin/codex")
    skills_at = PurePosixPath(".agents/skills")
    sets_aside = (".agents", ".codex")
    holds_to_schema = True
    totals_of_session = True
    accounts = f"{THREADS}/**/*.jsonl"
    upstream = "https://api.openai.com/v1"
    key_name = "OPENAI_API_KEY"

    def headers(self, key: str) -> Mapping[str, str]:
        return {"authorization": f"Bearer {key}"}

    def schema(self, form: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return portable(form)

    def spent(self, accounts: Sequence[str]) -> Usage:
        return sum(map(_account, accounts), Usage())

    def start(self, turn: Turn) -> Start:
        provider = {
            "name": toml(PROVIDER),
            "base_url": toml(turn.url),
            "env_key": toml(KEY),
            "wire_api": toml("responses"),
            "request_max_retries": "2",
            "stream_max_retries": "1",
        }
        settings = [f"model_provider={toml(PROVIDER)}", f"model_providers.{PROVIDER}={_table(provider)}", *SETTINGS]
        settings += TOOLLESS if turn.permission is Permission.NONE else ()
        settings += [f"model_reasoning_effort={toml(self.effort)}"] if self.effort else []
        settings += [f"developer_instructions={toml(turn.system)}"] if turn.system else []
        settings += [f"mcp_servers.{server.name}={_server(server)}" for server in turn.servers]
        words = ["exec", *(["resume"] if turn.session else []), "--json", "--skip-git-repo-check"]
        words += ["--dangerously-bypass-approvals-and-sandbox"]
        words += [word for setting in settings for word in ("-c", setting)]
        words += ["-m", self.model] if self.model else []
        if turn.schema:
            file = turn.folder / "schema.json"
            file.write_text(json.dumps(turn.schema))
            words += ["--output-schema", str(file)]
        return Start((*words, *([turn.session] if turn.session else []), "-"), {KEY: NO_KEY})

    def hear(self, completed: Completed, home: Path) -> Heard:
        said = list(events(completed.stdout))
        thread = next((text(event, "thread_id") for event in said if text(event, "type") == "thread.started"), "")
        kept = _kept(home, thread)
        ended = next(
            (event for event in reversed(said) if text(event, "type") in {"turn.completed", "turn.failed"}), None
        )
        used = mapping(ended, "usage")
        usage = _usage(used, kept) if used else kept
        if not said and "no rollout found" in completed.stderr:
            return Heard(failure=completed.stderr, lost=True)
        items = [mapping(event, "item") for event in said if text(event, "type") == "item.completed"]
        messages = [text(item, "text") for item in items if text(item, "type") == "agent_message"]
        if ended is None:
            return Heard("\n".join(messages[-1:]), None, usage, thread)
        if ended.get("type") == "turn.failed":
            told = text(ended, "error", "message") or "the turn failed"
            return Heard("\n".join(messages[-1:]), None, usage, thread, told, cause_of(told))
        if not messages:
            return Heard("", None, usage, thread, "the model answered nothing", "refused")
        return Heard(messages[-1], None, usage, thread, failure="")


def _table(fields: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}={value}" for name, value in fields.items()) + "}"


def _server(server: McpServer) -> str:
    if server.url:
        return _table({"url": toml(server.url), "required": "true"})
    words = ", ".join(toml(word) for word in server.command[1:])
    env = _table({toml(name): toml(value) for name, value in server.env.items()})
    return _table({"command": toml(server.command[0]), "args": f"[{words}]", "env": env, "required": "true"})


def _usage(used: Mapping[str, Any], kept: Usage) -> Usage:
    return Usage(
        tokens_in=count(used, "input_tokens"),
        tokens_cached=count(used, "cached_input_tokens"),
        tokens_out=count(used, "output_tokens"),
        model=kept.model,
        turns=max(1, kept.turns),
    )


def _kept(home: Path, thread: str) -> Usage:
    """What the thread has cost so far, as its file says; nothing where there is none to read."""
    return _account(_thread(home, thread))


def _account(written: str) -> Usage:
    """There every answer has a record of its own, which older versions lack: they note the total after each."""
    each: dict[str, Usage] = {}
    total, model, turns = Usage(), "", 0
    for event in events(written):
        kind, payload = text(event, "type"), mapping(event, "payload")
        if kind == "turn_context":
            model = text(payload, "model") or model
        elif kind == "token_usage_record":
            each[text(payload, "response_id")] = _usage(mapping(payload, "usage"), Usage(turns=1))
        elif text(payload, "type") == "token_count" and (used := mapping(payload, "info", "total_token_usage")):
            turns += 1
            total = _usage(used, Usage(turns=turns))
    return replace(sum(each.values(), Usage()) if each else total, model=model)


def _thread(home: Path, thread: str) -> str:
    if not thread:
        return ""
    for name in _files(home / THREADS):
        if name.endswith(f"{thread}.jsonl"):
            try:
                return read_untrusted(home, f"{THREADS}/{name}", limit_kb=THREAD_KB_MAX).decode("utf-8", "replace")
            except (EvaluatorFault, OSError):
                return ""
    return ""


def _files(folder: Path) -> Iterator[str]:
    """Of a tree of folders, relative to it; links are not followed."""
    for place, _, names in os.walk(folder):
        for name in names:
            yield str(Path(place, name).relative_to(folder))
