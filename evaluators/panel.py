"""Several models, or several draws of one, that are asked the same: what they cost, and what their words come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal

from evaluators.audit.rerun import Rerun
from raysearch.agents.asking import Hired, seat
from raysearch.agents.interface import AgentFault, Answered, Call
from raysearch.agents.prompts import Prompt
from raysearch.errors import ConfigError, EvaluatorFault, Fault, nearest
from raysearch.protocols import Workspace
from raysearch.types import Allowance, Usage

MEMBERS_MAX = 9
PERSONA_CHARS = 4000
Rule = Literal["any", "majority"]
"""``any``: one no that is proved is enough; ``majority``: more than half of the members must give one."""
_KEYS = ("agent", "agent_options", "model", "effort", "persona")
_ARE: Mapping[str, type] = {"agent_options": Mapping}


@dataclass(frozen=True, slots=True)
class Said(Generic[Answered]):
    """One member's word."""

    member: int
    """From 1."""
    reply: Answered
    proved: bool
    """Whether it is a no, with evidence that was found."""


@dataclass(frozen=True, slots=True)
class Ballot(Generic[Answered]):
    """What a panel came to; ``usage`` is of all members that were asked, whatever became of them."""

    refused: bool
    words: tuple[Said[Answered], ...]
    usage: Usage
    seats: int
    broken: int = 0
    """Members that gave no usable reply, and did not matter."""

    def told(self, rule: Rule) -> dict[str, str]:
        """As conditions of a verdict; nothing for a panel of one."""
        if self.seats == 1:
            return {}
        nos = sum(said.proved for said in self.words)
        parts = [f"{len(self.words)} of {self.seats} heard", f"{nos} no with evidence"]
        return {"panel": ", ".join([*parts, *([f"{self.broken} broken"] if self.broken else [])]), "rule": rule}


class Panel:
    """Those who are asked, one after the other, until it is decided. A context manager.

    ``panel`` is a number of draws of one agent (1 to 9), or a table for each member: any of ``agent``,
    ``agent_options`` (over the common ones), ``model``, ``effort``, and ``persona``, which is told to that member
    alone. The other arguments are what members have in common. Raises ConfigError, and PluginError for an agent.
    """

    def __init__(
        self,
        agent: str,
        agent_options: Mapping[str, object] | None = None,
        model: str = "",
        effort: str = "",
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        no_price: bool = False,
        panel: int | Sequence[Mapping[str, object]] = 1,
        rule: Rule = "any",
    ) -> None:
        common: dict[str, Any] = {"agent": agent, "agent_options": dict(agent_options or {})}
        common |= {"model": model, "effort": effort}
        tables = [_member(common, table, number) for number, table in enumerate(_tables(panel), start=1)]
        self.rule = rule
        self.personas = [str(table["persona"]) for table in tables]
        asked = [(t["agent"], t["agent_options"], t["model"], t["effort"]) for t in tables]
        self.hired: list[Hired] = []
        for number, words in enumerate(asked):  # draws of one agent share it
            same = asked.index(words)
            self.hired.append(self.hired[same] if same < number else Hired(*words, prices, no_price))
        self._stack = ExitStack()

    def __enter__(self) -> Panel:
        for number, hired in enumerate(self.hired):
            if hired not in self.hired[:number]:
                self._stack.enter_context(hired)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def ask(
        self, workspace: Workspace, prompt: Prompt, call: Call[Answered], proved: Callable[[Answered], bool]
    ) -> Ballot[Answered]:
        """Ask members until their words decide; ``proved`` says whether a reply is a no with evidence.

        A member without a usable reply says nothing about the program: its fault is raised, with what all have cost,
        unless the others decide without it.
        """
        seats, usage = len(self.hired), Usage()
        words: list[Said[Answered]] = []
        faults: list[Fault] = []
        for number, hired in enumerate(self.hired, start=1):
            seat = workspace if seats == 1 else _seat(workspace, number, usage)
            try:
                reply = hired.ask(seat, _spoken(prompt, self.personas[number - 1]), call)
                usage += reply.usage
                if reply.value is None:
                    raise EvaluatorFault(f"the agent answered a {call.role}'s call without the object asked for")
            except Fault as fault:
                usage += fault.usage
                faults.append(fault)
                continue
            words.append(Said(number, reply.value, proved(reply.value)))
            refused = self._decided(words, seats)
            if refused is not None:
                return Ballot(refused, tuple(words), usage, seats, len(faults))
        first = faults[0]
        first.usage = usage
        if isinstance(first, AgentFault) and first.cause == "unreadable":
            first.retryable = True  # another draw may be readable; the program is not to blame either way
        raise first

    def _decided(self, words: Sequence[Said[Answered]], seats: int) -> bool | None:
        """Whether it is a no; None as long as those who were not heard could turn it."""
        nos = sum(said.proved for said in words)
        needed = 1 if self.rule == "any" else seats // 2 + 1
        if nos >= needed:
            return True
        return False if len(words) - nos > seats - needed else None


@dataclass(frozen=True, slots=True)
class Seat(Rerun):
    """One member's place: a folder of its own for what it leaves, and what the members before it left to spend."""

    folder: Path = Path()
    left: Allowance = Allowance()

    @property
    def artifacts(self) -> Path:
        return self.folder

    @property
    def allowance(self) -> Allowance:
        return self.left


def _seat(workspace: Workspace, number: int, spent: Usage) -> Seat:
    folder = workspace.artifacts / f"member-{number}"
    folder.mkdir(exist_ok=True)
    allowed = workspace.allowance
    left = Allowance(
        None if allowed.cost_usd is None else max(0.0, allowed.cost_usd - spent.cost_usd),
        None if allowed.tokens is None else max(0, allowed.tokens - spent.tokens_in - spent.tokens_out),
        None if allowed.calls is None else max(0, allowed.calls - spent.calls),
    )
    return Seat(workspace, workspace.evaluation_seed, folder=folder, left=left)


def _spoken(prompt: Prompt, persona: str) -> Prompt:
    return replace(prompt, system=f"{prompt.system}\n\nYour own point of view: {persona}") if persona else prompt


def _tables(panel: int | Sequence[Mapping[str, object]]) -> Sequence[Mapping[str, object]]:
    """A table for each member."""
    tables: Sequence[Mapping[str, object]] = [{}] * panel if isinstance(panel, int) else panel
    if not 1 <= len(tables) <= MEMBERS_MAX:
        raise ConfigError(f"panel must be a number from 1 to {MEMBERS_MAX}, or a list of so many members")
    return tables


def _member(common: Mapping[str, Any], table: Mapping[str, object], number: int) -> dict[str, Any]:
    """What one member is, with what it has in common with the others. Raises ConfigError."""
    for key, value in table.items():
        if key not in _KEYS:
            raise ConfigError(f"member {number} of the panel has no option {key!r}.{nearest(key, _KEYS)}")
        if not isinstance(value, _ARE.get(key, str)):
            raise ConfigError(f"member {number} of the panel: {key} cannot be {value!r}")
    persona = " ".join(str(table.get("persona", "")).split())
    if len(persona) > PERSONA_CHARS:
        raise ConfigError(f"member {number} of the panel: its persona has more than {PERSONA_CHARS} characters")
    return {**seat(common, table), "persona": persona}
