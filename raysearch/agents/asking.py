"""Asking an agent for a mutator or a judge: what it was told is kept, what it cost is priced, keys stay out."""

from __future__ import annotations

import inspect
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from raysearch.agents.credentials import leaks, redact, scrub, secrets
from raysearch.agents.interface import SERVER_NAME, Agent, AgentFault, Answered, Call, McpServer, Permission, Reply
from raysearch.agents.issues import offered
from raysearch.agents.prices import Prices, priced, prices_of
from raysearch.agents.prompts import Prompt
from raysearch.errors import ConfigError, Fault
from raysearch.plugins import load
from raysearch.protocols import Workspace

PROMPT, SYSTEM = "prompt.md", "system.md"
"""Files among a job's artifacts: what the agent was told, word for word."""


class Hired:
    """An installed agent, or one by reference, with what its calls cost. A context manager as its agent is one.

    ``agent`` names it; ``options`` are its constructor's, to which ``model`` and ``effort`` are added where given.
    ``prices`` are the user's own rows, as `raysearch.config.prices.PriceRow` takes them, and ``no_price`` says that
    models of unknown price may be used; an agent gets both if its constructor takes them. Otherwise the rows go over
    what it reports. Raises PluginError.
    """

    def __init__(
        self,
        agent: str,
        options: Mapping[str, object] | None = None,
        model: str = "",
        effort: str = "",
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        no_price: bool = False,
    ) -> None:
        offers = {"prices": dict(prices or {}), "no_price": no_price}
        self._agent = cast(Agent, load("agents", agent, chosen(options, model, effort), offers=offers))
        accounts = "prices" in inspect.signature(type(self._agent)).parameters
        self._prices: Prices = {} if accounts else prices_of(prices or {})

    def lacking(self, sandbox: str) -> str:
        """What the agent would miss on this machine, in the sandbox of that name; empty if nothing that it knows of."""
        asked = getattr(self._agent, "lacking", None)
        return str(asked(sandbox)) if callable(asked) else ""

    def __enter__(self) -> Hired:
        if isinstance(self._agent, AbstractContextManager):
            self._agent = self._agent.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._agent, AbstractContextManager):
            self._agent.__exit__(kind, error, trace)

    def ask(self, workspace: Workspace, prompt: Prompt, call: Call[Answered]) -> Reply[Answered]:
        """The agent's reply to ``call``, its prompt being ``prompt``.

        No credential is left in the reply, in a fault, in the artifacts or, after a call that may edit, in the
        program. Raises AgentFault.
        """
        hidden = secrets()
        call = replace(call, system=redact(prompt.system, hidden), prompt=redact(prompt.text, hidden))
        desk = workspace.desk if getattr(self._agent, "takes_servers", True) else None
        with offered(desk, call) as call:
            (workspace.artifacts / SYSTEM).write_text(call.system, encoding="utf-8", errors="backslashreplace")
            (workspace.artifacts / PROMPT).write_text(call.prompt, encoding="utf-8", errors="backslashreplace")
            with self._accounted(workspace, hidden):
                reply = self._agent.ask(workspace, call)
        usage = priced(reply.usage, self._prices)
        found = leaks(workspace.path, hidden) if call.permission is Permission.EDIT else []
        if found:
            names = redact(", ".join(map(str, found[:5])), hidden)
            raise AgentFault(f"the agent wrote a credential into {names}: nothing of it is kept", usage)
        return replace(reply, text=redact(reply.text, hidden), usage=usage)

    @contextmanager
    def _accounted(self, workspace: Workspace, hidden: tuple[str, ...]) -> Iterator[None]:
        try:
            yield
        except Fault as fault:
            fault.usage = priced(fault.usage, self._prices)
            fault.args = (redact(str(fault), hidden),)
            raise
        except Exception as error:  # of an agent that breaks its contract, or a file of credentials that cannot be read
            message = redact(f"{type(error).__name__}: {error}", hidden)
            raise AgentFault(f"agent {type(self._agent).__name__}: {message}", cause="unavailable") from None
        finally:
            scrub(workspace.artifacts, hidden)


class Employer:
    """A plug-in whose agents are there for as long as it is entered; its constructor sets ``employed``."""

    employed: AbstractContextManager[object]

    def __enter__(self) -> Self:
        self.employed.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.employed.__exit__(kind, error, trace)


def chosen(options: Mapping[str, object] | None, model: str, effort: str) -> dict[str, object]:
    """An agent's options; those given by name go under those of its own table."""
    named = {"model": model, "effort": effort}
    return {**{name: value for name, value in named.items() if value}, **(options or {})}


def seat(common: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """What a member of a panel is: its own ``table`` over what members have in ``common``.

    An agent of its own has options of its own: of the common ones it gets none.
    """
    other = table.get("agent", common.get("agent")) != common.get("agent")
    shared = {} if other else common.get("agent_options") or {}
    return {**common, **table, "agent_options": {**shared, **(table.get("agent_options") or {})}}


def employed(options: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Whom a plug-in with these ``options`` asks: the options ``agent``, ``agent_options``, ``model`` and ``effort`` of
    each agent, and behind the plug-in's name which one it is.

    It is one, or, where ``panel`` has a table for each, they are its members. What is no such table is left to the
    plug-in to refuse.
    """
    if not options.get("agent"):
        return []
    common = {key: options[key] for key in ("agent", "agent_options", "model", "effort") if key in options}
    panel = options.get("panel")
    tables = panel if isinstance(panel, Sequence) and not isinstance(panel, str) else ()
    sound = [isinstance(t, Mapping) and isinstance(t.get("agent_options", {}), Mapping) for t in tables]
    if not tables or not all(sound):
        return [("", common)]
    return [(f", member {number} of the panel", seat(common, table)) for number, table in enumerate(tables, start=1)]


def servers_of(given: Mapping[str, str | Sequence[str]]) -> tuple[McpServer, ...]:
    """MCP servers as an option says them: a name, and a command or an address for each.

    A command's program is found as the shell of this process, or its Python environment, would find it. Raises
    ConfigError.
    """
    found = []
    for name, way in given.items():
        if not SERVER_NAME.fullmatch(name):
            raise ConfigError(f"servers: an MCP server cannot be called {name!r}: use letters, digits, - and _")
        if isinstance(way, str):
            if not re.match(r"https?://[^/]", way):
                raise ConfigError(
                    f"servers: {name} is at an address, as https://HOST/PATH, or a command: a list of words"
                )
            found.append(McpServer(name, url=way))
            continue
        if not way:
            raise ConfigError(f"servers: the command of {name} has no words")
        beside = Path(sys.executable).parent / way[0]
        first = shutil.which(way[0]) or (str(beside) if "/" not in way[0] and beside.is_file() else way[0])
        found.append(McpServer(name, (first, *way[1:])))
    return tuple(found)
