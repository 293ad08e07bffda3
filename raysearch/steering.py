"""What a person may tell a run while it is driven, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from raysearch.board.types import TEXT_MAX, Filing, flaw
from raysearch.errors import nearest
from raysearch.types import Limits


class Steer(StrEnum):
    """What a command is about."""

    PAUSE = "pause"
    """Hand out no more jobs; those under way go on."""
    UNPAUSE = "unpause"
    MESSAGE = "message"
    """A text for the briefs to come."""
    STOP = "stop"
    """Let go in order, as after one Ctrl-C."""
    BUDGET = "budget"
    """Other limits from now on."""
    FILING = "filing"
    """Something for the issue board."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command. Only what belongs to its kind is given."""

    kind: Steer
    id: str = ""
    """Its name in the inbox, unique for ever: a command whose id is recorded has been carried out."""
    sent_at_s: float = 0.0
    """Seconds since 1970."""
    sender: str = ""
    """For people: who sent it, from where."""
    text: str = ""
    """A message; why to pause or stop."""
    role: str = ""
    """A message is for agents of this role alone; empty: of all."""
    lineage: str = ""
    """A message is for this lineage alone; empty: for all."""
    limits: Mapping[str, int | float | None] = field(default_factory=dict)
    """Fields of `raysearch.types.Limits` and their new values; None: no limit."""
    filing: Filing | None = None

    def concerns(self, role: str, lineage: str) -> bool:
        """Whether a message is for agents of ``role`` at work on ``lineage``."""
        return self.role in {"", role} and self.lineage in {"", lineage}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a command."""

    ok: bool
    text: str = ""
    """What was done, or why not."""
    issue: int | None = None
    """The issue that was acted on."""
    seq: int | None = None
    """The entry of the journal that records it."""


WHOLE = frozenset({"open_max", "attempts_max", "tokens", "calls", "candidate_tokens", "candidate_calls"})
CHANGEABLE = WHOLE | {"run_s", "cost_usd", "gpu_s", "candidate_usd", "drain_s"}
"""The limits that can change while a run is driven."""
_ALWAYS = frozenset({"open_max", "drain_s"})
"""Limits that there must be."""


def fault(command: Command) -> str:
    """Why ``command`` cannot be meant, whatever the run; empty if it can."""
    for what, text, most in (
        ("text", command.text, TEXT_MAX),
        ("sender", command.sender, 200),
        ("role", command.role, 100),
        ("lineage", command.lineage, 200),
    ):
        if len(text) > most:
            return f"the {what} has {len(text):,} characters; at most {most:,} are taken"
    match command.kind:
        case Steer.MESSAGE:
            return "" if command.text.strip() else "a message needs a text"
        case Steer.BUDGET:
            return _limits_fault(command.limits)
        case Steer.FILING:
            return flaw(command.filing) if command.filing is not None else "a filing is missing: say what to file"
        case Steer.PAUSE | Steer.UNPAUSE | Steer.STOP:
            return ""


def _limits_fault(limits: Mapping[str, int | float | None]) -> str:
    if not limits:
        return f"no limit is given; there are {', '.join(sorted(CHANGEABLE))}"
    for name, value in limits.items():
        if name not in CHANGEABLE:
            return f"there is no limit {name!r} to change.{nearest(name, CHANGEABLE)}"
        if value is None:
            if name in _ALWAYS:
                return f"{name} must have a value"
        elif isinstance(value, bool) or not math.isfinite(value) or value < 0 or value > 1e15:
            return f"{name} must be a number from 0 on, not {value}"
        elif name in WHOLE and value != int(value):
            return f"{name} must be a whole number, not {value}"
    if limits.get("open_max", 1) == 0:
        return "open_max must be 1 at least; `raysearch pause` keeps a run from going on"
    return ""


def changed(limits: Limits, command: Command) -> Limits:
    """``limits`` with what a budget command changes. The command has no `fault`."""
    given: dict[str, Any] = {
        name: int(value) if value is not None and name in WHOLE else value for name, value in command.limits.items()
    }
    return replace(limits, **given)
