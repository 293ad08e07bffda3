"""What the agents that call an API have in common: whom they ask, within what, and how a call begins and ends."""

from __future__ import annotations

import errno
import random
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from raysearch.agents import credentials
from raysearch.agents.api.dialogue import Dialogue
from raysearch.agents.api.keeping import keep, kept
from raysearch.agents.api.messages import Conversation, Provider, ProviderError
from raysearch.agents.api.pacing import Breaker, Pace, RealPace, Retries
from raysearch.agents.api.program import FILE_BYTES, Program, Refused
from raysearch.agents.api.providers import Address, address, connect, missing
from raysearch.agents.api.served import Served, place
from raysearch.agents.api.spending import Spending
from raysearch.agents.api.transcript import Transcript
from raysearch.agents.interface import AgentFault, Answered, Call, Reply
from raysearch.agents.prices import prices_of, row_of
from raysearch.config.prices import PriceRow
from raysearch.errors import ConfigError, Fault
from raysearch.protocols import Workspace

SESSIONS_MAX = 16
"""Conversations that an agent keeps, so that a later call can go on with one; the oldest gives way."""


FREE = PriceRow(input=0.0, output=0.0)
"""A model on servers of one's own."""


class ApiAgent:
    """Answers calls by asking a model's API. A context manager: its connections are closed at the end.

    Options
        model: its name; ``claude-…``, ``gpt-…``, ``o3…`` and ``gemini-…`` say by themselves whose it is.
        effort: how hard it should think, in the provider's words; empty: its default.
        provider: anthropic, openai, openai-chat, gemini or vertex, where the model's name does not tell.
        base_url: another server than the provider's own, such as vLLM's or Ollama's (OpenAI-compatible ones end in
            ``/v1``). It gets no key but the one that ``key_from`` names.
        key_from: the variable, of the environment or of .env, that holds the key.
        project, region: of Vertex AI.
        window_tokens: most tokens of input and output together; 0: what is usual for the provider.
        output_tokens_max: most tokens of one answer, thinking included.
        retries_max: how often a failed request is tried again.
        server: a model server of the run, by its name, in place of ``base_url`` and, unless it is one of several,
            ``model``. It costs nothing unless a price is given.
        server_file: where servers are looked up; the run itself says it.
        prices, no_price: what the run itself says about what models cost, and whether it matters.
    """

    takes_servers: ClassVar[bool] = False
    """Whether it can use MCP servers."""

    def __init__(
        self,
        model: str = "",
        *,
        effort: str = "",
        provider: str = "",
        base_url: str = "",
        key_from: str = "",
        project: str = "",
        region: str = "",
        window_tokens: int = 0,
        output_tokens_max: int = 16_384,
        retries_max: int = 5,
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        no_price: bool = False,
        server: str = "",
        server_file: str = "",
    ) -> None:
        if output_tokens_max < 1:
            raise ConfigError(f"output_tokens_max must be 1 or more, not {output_tokens_max}")
        if not 0 <= retries_max <= 100:
            raise ConfigError(f"retries_max must be from 0 to 100, not {retries_max}")
        self.place = place(server, server_file)
        if self.place is None:
            self.address: Address = address(model, provider, base_url, key_from, project, region, window_tokens)
        elif base_url or project or region or provider not in {"", "openai-chat"}:
            raise ConfigError("server says whom to ask: leave base_url, provider, project and region out beside it")
        else:
            self.address = Address(model, "openai-chat", key_from=key_from, window_tokens=window_tokens)
        self.effort = effort
        self.output_max = output_tokens_max
        self.prices = prices_of(prices or {})
        self.no_price = no_price
        self.retries = Retries(retries_max)
        self.breaker = Breaker()
        self.pace: Pace = RealPace()
        self.rng = random.Random()
        self._provider: Provider | None = None
        self._sessions: OrderedDict[str, Conversation] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._provider is not None:
            self._provider.close()
            self._provider = None

    def lacking(self, sandbox: str) -> str:  # noqa: ARG002 - it needs none of its own
        """What it would miss here: its SDK, its key; empty if nothing."""
        return "" if self.place is not None else missing(self.address)

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        """Answer ``call`` in ``workspace``. Raises AgentFault, or a command's SandboxFault; both say what was spent."""
        began = self.pace.monotonic()
        hidden = (*credentials.secrets(), *filter(None, [credentials.credential(self.address.key_from or "-")]))
        spending = self._spending(workspace)
        transcript = Transcript(workspace.artifacts, call.role, hidden)
        ended = "broke off"
        try:
            with self._attributed(spending, transcript.path, hidden):
                self._require_tools(call)
                session = call.session or f"{call.role}-{secrets.token_hex(8)}"
                dialogue = self._dialogue(session, call, spending, transcript, began + call.timeout_s)
                reply = self._answer(dialogue, workspace, call)
                self._keep(session, dialogue.conversation)
                if call.keep:
                    keep(workspace.artifacts, session, dialogue.conversation)
            ended = "answered"
            usage = replace(spending.usage, session=session)
            return replace(reply, usage=usage, session=session, transcript=transcript.path)
        except AgentFault as fault:
            ended = f"{fault.cause}: {fault}"
            raise
        finally:
            transcript.write("ended", self.pace.monotonic() - began, how=ended, usage=_told(spending))
            transcript.close()

    def _require_tools(self, call: Call[Any]) -> None:
        """Raises AgentFault where MCP servers are given to an agent without tools."""
        if call.servers and not self.takes_servers:
            names = ", ".join(server.name for server in call.servers)
            message = f"an agent without tools can use no MCP server ({names}): leave them out, or take another agent"
            raise AgentFault(message, cause="unavailable")

    def _answer(self, dialogue: Dialogue, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        """The answer itself: its text and value."""
        raise NotImplementedError

    def _spending(self, workspace: Workspace) -> Spending:
        """The account of a call. Raises AgentFault where nobody knows the server that is meant."""
        model, prices = self.address.model, self.prices
        if self.place is not None:
            try:
                model = model or self.place.look().model
            except ProviderError as error:
                raise AgentFault(str(error), cause="unavailable") from None
            if row_of(model, prices) is None:
                prices = {**prices, model: FREE}
        return Spending(model, workspace.allowance, prices, self.no_price)

    def _dialogue(
        self, session: str, call: Call[Any], spending: Spending, transcript: Transcript, until: float
    ) -> Dialogue:
        if self._provider is None:
            where = replace(self.address, model=spending.model)
            self._provider = connect(where) if self.place is None else Served(where, self.place, self.pace)
        system, before = call.system, self._before(call.session, transcript.path.parent)
        conversation = Conversation(system=system, output_max=self.output_max, effort=self.effort, key=session)
        if before is not None:
            conversation = replace(conversation, messages=before.messages)
        dialogue = Dialogue(
            provider=self._provider,
            conversation=conversation,
            spending=spending,
            transcript=transcript,
            retries=self.retries,
            breaker=self.breaker,
            pace=self.pace,
            until=until,
            rng=self.rng,
        )
        dialogue.note("call", role=call.role, session=session, provider=self.address.provider, model=spending.model)
        if call.session and before is None:
            dialogue.note("note", text=f"session {session} is not known here: a new one begins")
        return dialogue

    def _before(self, session: str, artifacts: Path) -> Conversation | None:
        """What was said in a session, to this worker or to another one."""
        if not session:
            return None
        return self._sessions.get(session) or kept(artifacts, session)

    def _keep(self, session: str, conversation: Conversation) -> None:
        self._sessions[session] = conversation
        self._sessions.move_to_end(session)
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)

    @contextmanager
    def _attributed(self, spending: Spending, transcript: Path, hidden: tuple[str, ...]) -> Iterator[None]:
        """Every failure says what was spent, and no key."""
        try:
            yield
        except AgentFault as fault:
            fault.args = (credentials.redact(str(fault), hidden),)
            fault.usage, fault.transcript = spending.usage, transcript
            raise
        except Fault as fault:
            fault.usage = spending.usage + fault.usage
            raise
        except Refused as reason:  # of the program's own files, before a model was asked
            raise AgentFault(str(reason), spending.usage, transcript=transcript) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            message = credentials.redact(f"{type(error).__name__}: {error}", hidden)
            raise AgentFault(message, spending.usage, transcript=transcript) from error


def program_of(workspace: Workspace) -> Program:
    """The program in a workspace."""
    target = workspace.target
    return Program(workspace.path, target.editable, int(target.program_mb_max * 1e6))


def skills_of(call: Call[Any]) -> dict[str, Path]:
    """The skills' folders by name."""
    return {folder.name: folder for folder in call.skills}


def skill_text(folder: Path) -> str:
    """What a skill says of itself. Raises Refused."""
    return Program(folder, (), FILE_BYTES).read("SKILL.md")


def described(text: str) -> str:
    """The description in a skill's front matter, in one line; without one, its first line."""
    lines = [line.strip() for line in text.split("\n")]
    found = next((line.partition(":")[2].strip() for line in lines if line.startswith("description:")), "")
    return (found or next((line for line in lines if line.strip("-#")), ""))[:500]


def _told(spending: Spending) -> dict[str, object]:
    used = spending.usage
    return {
        "tokens_in": used.tokens_in,
        "tokens_cached": used.tokens_cached,
        "tokens_out": used.tokens_out,
        "calls": used.calls,
        "turns": used.turns,
        "cost_usd": round(used.cost_usd, 6),
    }
