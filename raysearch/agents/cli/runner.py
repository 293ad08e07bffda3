"""What agents with a program of their own have in common: from a call to a reply, in a sandbox, whatever happens."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, ClassVar, Self

from raysearch.agents import replies, sessions
from raysearch.agents.cli import programs
from raysearch.agents.cli.homes import ARCHIVE, Home, Homes, place, put, set_aside
from raysearch.agents.cli.inside import needed, open_folder, shown
from raysearch.agents.cli.meter import Meter, watched
from raysearch.agents.cli.output import from_file, plain, to_file
from raysearch.agents.cli.record import Record
from raysearch.agents.cli.turns import Heard, Start, Turn
from raysearch.agents.cli.ways import free_ports, relayed_server, require_address
from raysearch.agents.credentials import credential
from raysearch.agents.interface import SERVER_NAME, AgentFault, Answered, Call, Cause, Permission, Reply
from raysearch.agents.prices import priced, prices_of
from raysearch.errors import ConfigError, Fault
from raysearch.protocols import Completed, Guest, Relay, Workspace
from raysearch.types import Allowance, Usage

ERROR_CHARS = 600
LEAST_S = 1.0
"""A turn for which less time is left is not begun."""


class CliAgent(ABC):
    """An agent whose program runs in each workspace's sandbox. A context manager: its homes are removed at the end.

    Options
        model, effort: in the program's own words; empty: its defaults.
        program: its path, or its name on the PATH, if it is not where it usually is.
        base_url: another server than the provider's own. It gets no key but the one that ``key_from`` names.
        key_from: the variable, of the environment or of .env, that holds the key. It is added on the way to the
            server; the program never has it.
        turns_max: how often the model may be heard in one call.
        memory_mb, processes: what the program and all that it starts may use.
        readable: more files and folders of this machine that it may read, such as those of MCP servers.
        prices, no_price: what the run itself says about what models cost, and whether it matters.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    install: ClassVar[str]
    """How to get the program."""
    package: ClassVar[tuple[str, str] | None] = None
    """An installed Python package that carries it, and where."""
    skills_at: ClassVar[PurePosixPath]
    """Below HOME, where it discovers skills."""
    sets_aside: ClassVar[tuple[str, ...]] = ()
    """What would configure it if it stood in the program, which anybody may have written; the program does without."""
    holds_to_schema: ClassVar[bool] = False
    totals_of_session: ClassVar[bool] = False
    """Whether the usage that it reports is the whole conversation's, not that of the last turn."""
    accounts: ClassVar[str] = ""
    """Files below HOME (a pattern) in which it writes down what it spends while it works; see `spent`."""
    upstream: ClassVar[str]
    key_name: ClassVar[str]
    key_alias: ClassVar[str] = ""
    """Another name that the provider's key may have."""

    def __init__(
        self,
        model: str = "",
        *,
        effort: str = "",
        program: str = "",
        base_url: str = "",
        key_from: str = "",
        turns_max: int = 200,
        memory_mb: int = 8192,
        processes: int = 512,
        readable: Sequence[Path] = (),
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        no_price: bool = False,
    ) -> None:
        if not 1 <= turns_max <= 100_000:
            raise ConfigError(f"turns_max must be from 1 to 100,000, not {turns_max}")
        if not 256 <= memory_mb <= 100_000_000 or not 32 <= processes <= 1_000_000:
            raise ConfigError(f"memory_mb must be 256 or more, and processes 32, not {memory_mb} and {processes}")
        self.model = model
        self.effort = effort
        if base_url:
            require_address(base_url)
        self.address, key_name = self.server(base_url.rstrip("/"))
        self._key_from = key_from or key_name
        self._program = program or self.name
        self.turns_max = turns_max
        self.memory_mb, self.processes = memory_mb, processes
        self.readable = tuple(Path(folder).expanduser().absolute() for folder in readable)
        self.prices = prices_of(prices or {})
        self.no_price = no_price
        self.homes = Homes()

    def server(self, base_url: str) -> tuple[str, str]:
        """The server to ask (``base_url`` or the provider's own), and the name of the variable with its key.

        Raises ConfigError for options that make no sense together.
        """
        return (base_url, "") if base_url else (self.upstream, self.key_name)

    def schema(self, form: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """A JSON schema as the program takes it; None where it cannot."""
        return form

    @abstractmethod
    def headers(self, key: str) -> Mapping[str, str]:
        """What carries the key to the model's server."""

    @abstractmethod
    def start(self, turn: Turn) -> Start:
        """How the program is started for ``turn``; it gets the prompt on its standard input."""

    @abstractmethod
    def hear(self, completed: Completed, home: Path) -> Heard:
        """What its output means. ``home`` holds what it kept of the conversation, written by the agent: untrusted."""

    def spent(self, accounts: Sequence[str]) -> Usage:  # noqa: ARG002 - of one that keeps none
        """What all conversations of a HOME have cost, by its `accounts`: untrusted texts, maybe half written."""
        return Usage()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.homes.close()

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        """Answer ``call`` in ``workspace``. Raises AgentFault, and SandboxFault where it cannot be run.

        A session that is not known on this worker is begun anew; the reply names the one that it belongs to.
        """
        with (
            Record.of(workspace.artifacts, call, self.name, self.model) as record,
            self.homes.lent(call.session, workspace.artifacts) as home,
        ):
            if call.session != home.session:
                record.note(f"session {call.session} is not known here: a new one begins")
            asking = _Asking(self, workspace, call, record, home, time.monotonic() + call.timeout_s)
            try:
                reply = asking.reply()
            except Fault as fault:
                fault.usage = record.usage
                if isinstance(fault, AgentFault):
                    fault.transcript = record.transcript
                raise
            home.session = reply.session
            if call.keep and reply.session:
                file = workspace.artifacts / sessions.named(reply.session, ARCHIVE)
                if not sessions.pack(home.folder, file, home.totals):
                    record.note("the conversation is too large to be kept")
            return reply

    def lacking(self, sandbox: str) -> str:
        """What it would miss here, in the sandbox of that name; empty if nothing."""
        if sandbox == "landlock":
            return f"{self.title} needs the sandbox bubblewrap, and here it is landlock (or say --sandbox none)"
        try:
            self.found()
            self.relay(0)
        except AgentFault as fault:
            return str(fault)
        return ""

    def found(self) -> programs.Program:
        """The installed program. Raises AgentFault."""
        program = programs.find(self._program, None if self._program != self.name else self.package)
        if program is None:
            raise AgentFault(
                f"{self.title} is not installed here ({self._program}): {self.install}", cause="unavailable"
            )
        return program

    def relay(self, port: int) -> Relay:
        """The way to the model's server. Raises AgentFault without a key."""
        if not self._key_from:
            return Relay(port, self.address)
        alias = self.key_alias if self._key_from == self.key_name else ""
        key = credential(self._key_from) or (credential(alias) if alias else None)
        if key is None:
            raise AgentFault(
                f"{self.title}: {self._key_from} is neither in the environment nor in .env", cause="unavailable"
            )
        return Relay(port, self.address, self.headers(key))


@dataclass(slots=True)
class _Asking:
    """One call on its way to a reply."""

    agent: CliAgent
    workspace: Workspace
    call: Call[Any]
    record: Record
    home: Home
    until_s: float

    def reply(self) -> Reply[Any]:
        form = self.call.schema
        heard = self._heard(self._prompt(), self.home.session)
        if form is None:
            return self._reply(heard, None)
        try:
            return self._reply(heard, _read(form, heard))
        except replies.Unreadable as problem:
            self.record.note(f"unreadable: {problem}")
            first = str(problem)
        if not heard.session:
            raise self._fault(
                f"the reply could not be read, and there is no session to mend it in: {first}", "unreadable"
            )
        heard = self._heard(replies.mend(form, first), heard.session)
        try:
            return self._reply(heard, _read(form, heard))
        except replies.Unreadable as problem:
            raise self._fault(f"the reply could not be read, nor the second one: {problem}", "unreadable") from None

    def _prompt(self) -> str:
        form = self.call.schema
        if form is None or self._schema() is not None:
            return self.call.prompt
        return f"{self.call.prompt}\n\n{replies.wanted(form)}\n"

    def _schema(self) -> Mapping[str, Any] | None:
        """The form as the program takes it; None where it takes none."""
        if self.call.schema is None or not self.agent.holds_to_schema:
            return None
        return self.agent.schema(self.call.schema.model_json_schema())

    def _reply(self, heard: Heard, value: Any) -> Reply[Any]:
        return Reply(heard.text, value, self.record.usage, heard.session, self.record.transcript)

    def _fault(self, message: str, cause: Cause) -> AgentFault:
        return AgentFault(f"{self.agent.title}: {message}", cause=cause)

    def _heard(self, prompt: str, session: str) -> Heard:
        """What the program says to ``prompt``. Raises AgentFault unless that is a reply."""
        heard, completed = self._run(prompt, session)
        if heard.lost and session:
            self.record.note(f"session {session} is lost: a new one begins")
            self.agent.homes.renew(self.home)
            heard, completed = self._run(prompt, "")
        if completed.ended_by == "time":
            raise self._fault(f"no reply within {self.call.timeout_s:g} s", "time")
        if completed.ended_by == "cancelled":
            raise self._fault("it was cancelled", "cancelled")
        if completed.ended_by:
            raise self._fault(f"it went over its limit of {completed.ended_by}", "failed")
        if heard.failure:
            missing = completed.status in {126, 127} and not completed.stdout
            told = plain(heard.failure)[:ERROR_CHARS].strip()
            if not completed.stdout.strip():
                told += f": {plain(completed.stderr)[-ERROR_CHARS:].strip()}"
            raise self._fault(told, "unavailable" if missing else heard.cause)
        return heard

    def _run(self, prompt: str, session: str) -> tuple[Heard, Completed]:
        """Start the program once; its output is recorded, and what it cost, before anything is made of it."""
        agent, call = self.agent, self.call
        left_s = self.until_s - time.monotonic()
        if left_s < LEAST_S:
            raise self._fault(f"no reply within {call.timeout_s:g} s", "time")
        allowance = self._left()
        program = agent.found()
        if odd := [server.name for server in call.servers if not SERVER_NAME.fullmatch(server.name)]:
            raise self._fault(f"an MCP server cannot be called {odd[0]!r}: use letters, digits, - and _", "unavailable")
        with ExitStack() as stack:
            ports = free_ports(1 + sum(bool(server.url) for server in call.servers))
            relays, servers = [agent.relay(ports[0])], []
            for server in call.servers:
                relay, reached = relayed_server(server, ports[len(relays)]) if server.url else (None, server)
                relays += [relay] if relay else []
                servers.append(reached)
            folder = stack.enter_context(shown())
            turn = Turn(
                prompt=prompt,
                system=call.system,
                permission=call.permission,
                session=session,
                schema=self._schema(),
                servers=tuple(servers),
                url=f"http://127.0.0.1:{ports[0]}",
                folder=folder,
                cost_usd=allowance.cost_usd,
                turns_max=min(agent.turns_max, allowance.calls or agent.turns_max),
            )
            start = agent.start(turn)
            self._furnish(start)
            self.record.said(prompt)
            open_folder(folder)
            stack.enter_context(set_aside(self.workspace.path, agent.sets_aside))
            meter = stack.enter_context(watched(self._meter(allowance)))
            completed = self.workspace.host(
                Guest(
                    command=(*(to_file(start.output) if start.output else ()), *program.words, *start.arguments),
                    home=self.home.folder,
                    stdin=prompt.encode("utf-8", "replace"),
                    env={"TERM": "dumb", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", **start.env},
                    readable=needed(program, call.servers, folder, agent.readable),
                    relays=tuple(relays),
                    writable=call.permission is Permission.EDIT,
                    memory_mb=agent.memory_mb,
                    processes=agent.processes,
                ),
                timeout_s=left_s,
                cancel=meter.stop,
            )
        if start.output:
            completed = from_file(completed, self.home.folder, start.output)
        heard = self._counted(completed)
        if completed.ended_by == "cancelled" and meter.over:
            raise self._fault(f"its allowance is spent: {meter.over}", "budget")
        return heard, completed

    def _meter(self, allowance: Allowance) -> Meter:
        agent = self.agent
        return Meter(self.home.folder, agent.accounts, agent.spent, agent.model, agent.prices, allowance)

    def _furnish(self, start: Start) -> None:
        """Put into its HOME what it is to find there. Raises AgentFault."""
        try:
            place(self.home.folder, self.agent.skills_at, self.call.skills)
            for name, content in {**start.files, **({start.output: ""} if start.output else {})}.items():
                put(self.home.folder, PurePosixPath(name), content)
        except OSError as error:
            raise self._fault(f"its home cannot be furnished: {error}", "failed") from error

    def _counted(self, completed: Completed) -> Heard:
        heard = self.agent.hear(completed, self.home.folder)
        usage = heard.usage
        if self.agent.totals_of_session:
            usage, self.home.totals = _since(usage, self.home.totals), usage
        usage = replace(usage, model=usage.model or self.agent.model, session=heard.session, calls=usage.turns)
        self.record.heard(completed, priced(usage, self.agent.prices), heard.failure)
        return heard

    def _left(self) -> Allowance:
        """What is left of the allowance. Raises AgentFault if that is nothing."""
        allowed, used = self.workspace.allowance, self.record.usage
        cost_usd = None if allowed.cost_usd is None else allowed.cost_usd - used.cost_usd
        tokens = None if allowed.tokens is None else allowed.tokens - used.tokens_in - used.tokens_out
        calls = None if allowed.calls is None else allowed.calls - used.calls
        for left, what in ((cost_usd, "dollars"), (tokens, "tokens"), (calls, "calls")):
            if left is not None and left <= 0:
                raise self._fault(f"its allowance is spent: there are no {what} left", "budget")
        return Allowance(cost_usd, tokens, calls)


def _read(form: type[Any], heard: Heard) -> Any:
    """The reply in its form. Raises Unreadable."""
    if heard.value is not None:
        return replies.valid(form, heard.value)
    return replies.read(form, heard.text)


def _since(total: Usage, before: Usage) -> Usage:
    """What was added to a conversation's totals."""
    return replace(
        total,
        tokens_in=max(0, total.tokens_in - before.tokens_in),
        tokens_cached=max(0, total.tokens_cached - before.tokens_cached),
        tokens_out=max(0, total.tokens_out - before.tokens_out),
        turns=max(0, total.turns - before.turns),
    )
