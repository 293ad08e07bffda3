"""Claude Code, headless (2.1.197 and later; tried with 2.1.332).

Known of it: an API error comes as ``subtype`` "success" with ``is_error``; ``total_cost_usd`` and ``modelUsage`` of a
resumed session are the session's, ``model_usage_since_last_result`` is the turn's; ``usage`` is empty after an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from raysearch.agents.cli.output import at, cause_of, count, events, mapping, number, plain, text
from raysearch.agents.cli.runner import CliAgent
from raysearch.agents.cli.turns import NO_KEY, Heard, Start, Turn
from raysearch.agents.interface import Cause, McpServer, Permission
from raysearch.agents.prices import row_of
from raysearch.protocols import Completed
from raysearch.types import Usage

TOOLS = {
    Permission.EDIT: "Bash,Edit,Glob,Grep,Read,Skill,Task,TodoWrite,Write",
    Permission.READ: "Bash,Glob,Grep,Read,Skill,Task,TodoWrite",
    Permission.NONE: "",
}
"""Built-in ones. None that reaches the web: what the provider fetches for a model would come past the sandbox."""
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_BUNDLED_SKILLS": "1",
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1",
    # A CLAUDE.md in the program was written by whoever wrote the program.
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS": "1",
    # Tools of MCP servers are offered at once, not behind a search for tools.
    "ENABLE_TOOL_SEARCH": "false",
    # It refuses to act without asking as root, unless it is told that it is confined.
    "IS_SANDBOX": "1",
    "CLAUDE_CODE_MAX_RETRIES": "2",
    "MAX_STRUCTURED_OUTPUT_RETRIES": "2",
}
CHARS_A_TOKEN = 4
_STOPPED: Mapping[str, Cause] = {"error_max_turns": "budget", "error_max_budget_usd": "budget"}
_FORMLESS = "error_max_structured_output_retries"


class Claude(CliAgent):
    """Claude Code. It reports its own cost, and stops at a limit in dollars or turns by itself."""

    name = "claude"
    title = "Claude Code"
    install = "pip install claude-agent-sdk, or npm install -g @anthropic-ai/claude-code"
    package = ("claude_agent_sdk", "_bundled/claude")
    skills_at = PurePosixPath(".claude/skills")
    holds_to_schema = True
    reports_cost = True
    accounts = ".claude/projects/**/*.jsonl"
    upstream = "https://api.anthropic.com"
    key_name = "ANTHROPIC_API_KEY"

    def headers(self, key: str) -> Mapping[str, str]:
        return {"x-api-key": key}

    def spent(self, accounts: Sequence[str]) -> Usage:
        answers: dict[str, Usage] = {}
        for event in (event for text_ in accounts for event in events(text_)):
            message = mapping(event, "message")
            if text(event, "type") == "assistant" and message.get("model") != "<synthetic>":
                answers[text(message, "id")] = _of_message(message)
        return sum(answers.values(), Usage())

    def start(self, turn: Turn) -> Start:
        words = ["-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"]
        words += ["--setting-sources", "user", "--strict-mcp-config", "--max-turns", str(turn.turns_max)]
        words += ["--tools", TOOLS[turn.permission]]
        words += ["--model", self.model] if self.model else []
        words += ["--effort", self.effort] if self.effort else []
        words += ["--max-budget-usd", f"{turn.cost_usd:.6f}"] if turn.cost_usd is not None else []
        words += ["--resume", turn.session] if turn.session else []
        words += ["--json-schema", json.dumps(turn.schema)] if turn.schema else []
        if turn.servers:
            file = turn.folder / "servers.json"
            file.write_text(json.dumps({"mcpServers": {server.name: _server(server) for server in turn.servers}}))
            words += ["--mcp-config", str(file)]
        if turn.system:
            file = turn.folder / "system.md"
            file.write_text(turn.system, encoding="utf-8", errors="replace")
            words += ["--append-system-prompt-file", str(file)]
        return Start(tuple(words), {**QUIET, "ANTHROPIC_BASE_URL": turn.url, "ANTHROPIC_API_KEY": NO_KEY})

    def hear(self, completed: Completed, home: Path) -> Heard:  # noqa: ARG002 - its output says all
        said = list(events(completed.stdout))
        result = next((event for event in reversed(said) if text(event, "type") == "result"), None)
        session = next((text(event, "session_id") for event in said if event.get("session_id")), "")
        if result is None:
            return Heard(usage=_of_messages(said), session=session)
        usage = replace(_of_result(result), turns=len(_answers(said)))
        reply = text(result, "result")
        errors = at(result, "errors")
        told = "; ".join(map(str, errors)) if isinstance(errors, list) and errors else reply or text(result, "subtype")
        subtype = text(result, "subtype")
        if "No conversation found" in told:
            return Heard(usage=usage, failure=told, lost=True)
        if subtype == _FORMLESS:
            return Heard(told, usage=usage, session=session, failure="")
        if result.get("is_error") is not False or subtype != "success":
            return Heard(reply, None, usage, session, told or "it failed", _cause(result, told))
        value = at(result, "structured_output")
        return Heard(reply, value if isinstance(value, dict) else None, usage, session, failure="")


def _cause(result: Mapping[str, Any], told: str) -> Cause:
    if (stopped := _STOPPED.get(text(result, "subtype"))) is not None:
        return stopped
    if text(result, "stop_reason") == "refusal":
        return "refused"
    return cause_of(f"{text(result, 'api_error_type')} {count(result, 'api_error_status') or ''} {told}")


def _server(server: McpServer) -> Mapping[str, object]:
    if server.url:
        return {"type": "http", "url": server.url}
    return {"type": "stdio", "command": server.command[0], "args": [*server.command[1:]], "env": dict(server.env)}


def _of_result(result: Mapping[str, Any]) -> Usage:
    """What the turn cost, as the program says at its end."""
    models = mapping(result, "model_usage_since_last_result") or mapping(result, "modelUsage")
    tokens = Usage()
    for name, used in models.items():
        read, written = count(used, "cacheReadInputTokens"), count(used, "cacheCreationInputTokens")
        tokens += Usage(
            _cost(name, used), count(used, "inputTokens") + read + written, read, count(used, "outputTokens")
        )
    main = max(models, key=lambda name: number(models[name], "outputTokens"), default="")
    return tokens + Usage(model=plain(main))


def _cost(model: str, used: object) -> float:
    """In dollars; nothing where the program only guesses at the price, and the list has it."""
    guessed = text(used, "costBasis") == "unknown"
    return 0.0 if guessed and row_of(model) is not None else number(used, "costUSD")


def _of_messages(said: Sequence[Mapping[str, Any]]) -> Usage:
    """What a turn cost that was cut short: all that was sent, and as much of the answers as came."""
    total = Usage()
    for pieces in _answers(said).values():
        out = sum(max(1, len(json.dumps(piece.get("content"))) // CHARS_A_TOKEN) for piece in pieces)
        total += replace(_of_message(pieces[0]), tokens_out=out)
    return total


def _of_message(message: Mapping[str, Any]) -> Usage:
    """Of one answer, as it says itself; one that is still coming does not know its own length yet."""
    used = mapping(message, "usage")
    cached, written = count(used, "cache_read_input_tokens"), count(used, "cache_creation_input_tokens")
    return Usage(
        tokens_in=count(used, "input_tokens") + cached + written,
        tokens_cached=cached,
        tokens_out=count(used, "output_tokens"),
        model=text(message, "model"),
        turns=1,
    )


def _answers(said: Sequence[Mapping[str, Any]]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The model's answers by their names, in the pieces that they came in; not what the program says in its place."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for event in said:
        message = mapping(event, "message")
        if text(event, "type") == "assistant" and message and message.get("model") != "<synthetic>":
            found.setdefault(text(message, "id"), []).append(message)
    return found
