"""What people have told the run, and what was filed on its board: parts of its state."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from raysearch.board.board import Board
from raysearch.board.types import Refusal
from raysearch.errors import require
from raysearch.facts import Consulted, Entry, Filed, JobFailed, Judged, Mutated, SessionOpened, Steered
from raysearch.steering import Command, Receipt, Steer, changed, fault
from raysearch.types import Limits

MESSAGES_MAX = 20
"""The latest ones that a brief holds."""


@dataclass(slots=True)
class Helm:
    """Limits, pause and messages, as sessions and people have set them."""

    limits: Limits = Limits()
    """In force."""
    asked: Limits = Limits()
    """Those that the latest session came with."""
    paused: bool = False
    stop: str = ""
    """Why the driver is to let go; empty: it is not."""
    messages: list[Command] = field(default_factory=list)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    """By the command's id: what came of it. Such a command has been carried out."""

    def session(self, limits: Limits, first: bool) -> None:
        """A driver comes, with limits: those that differ from the last session's are in force now, and of the others
        what people made of them since. A pause ends, for somebody wanted the run to go on.
        """
        given: dict[str, Any] = {
            axis.name: getattr(limits, axis.name)
            for axis in fields(limits)
            if first or getattr(limits, axis.name) != getattr(self.asked, axis.name)
        }
        self.limits, self.asked = replace(self.limits, **given), limits
        self.paused, self.stop = False, ""

    def steered(self, command: Command, seq: int, board: Board) -> None:
        """Carry a command out, at entry ``seq`` of the journal."""
        require(command.id not in self.receipts, "a command is carried out once")
        self.receipts[command.id] = replace(self._done(command, seq, board), seq=seq)

    def _done(self, command: Command, seq: int, board: Board) -> Receipt:
        if wrong := fault(command):
            return Receipt(False, wrong)
        match command.kind:
            case Steer.PAUSE:
                was, self.paused = self.paused, True
                return Receipt(True, "it was paused already" if was else "no more work is handed out")
            case Steer.UNPAUSE:
                was, self.paused = self.paused, False
                return Receipt(True, "it goes on" if was else "it was not paused")
            case Steer.STOP:
                self.stop = command.text.strip() or "told to stop"
                return Receipt(True, "the driver lets go; the run can be resumed")
            case Steer.MESSAGE:
                self.messages.append(command)
                return Receipt(True, "it stands in the briefs from now on")
            case Steer.BUDGET:
                self.limits = changed(self.limits, command)
                return Receipt(True, "the limits are changed")
            case Steer.FILING:
                assert command.filing is not None
                became = board.apply(command.filing, seq)
                if isinstance(became, Refusal):
                    return Receipt(False, became.reason)
                return Receipt(True, f"issue {became.number} is {became.status}", became.number)

    def said_to(self, role: str, lineage: str) -> tuple[str, ...]:
        """Messages for agents of ``role`` at work on ``lineage``, newest last."""
        return tuple(m.text for m in self.messages if m.concerns(role, lineage))[-MESSAGES_MAX:]


def heard(entry: Entry, helm: Helm, board: Board) -> None:
    """Fold in what was told and filed with one entry; most have nothing of the kind."""
    match entry.fact:
        case SessionOpened(session, limits):
            helm.session(limits, first=session == 1)
        case Steered(command):
            helm.steered(command, entry.seq, board)
        case Filed(filing):
            board.apply(filing, entry.seq)
        case Mutated() | Judged() | JobFailed() | Consulted():
            for filing in entry.fact.filings:
                board.apply(filing, entry.seq)
        case _:
            pass
