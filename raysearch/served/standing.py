"""How a replica stands, and what looks after one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Phase(StrEnum):
    STARTING = "starting"
    """Its process is there, or its place is looked for; it does not serve yet."""
    READY = "ready"
    WAITING = "waiting"
    """It is to be started again when its time has come."""
    FAILED = "failed"
    """It will not be started again."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Standing:
    """``reason`` says why it is not ready, or what happened last, with the end of its log where that tells more."""

    phase: Phase
    url: str = ""
    """Where it serves, without ``/v1``; only while it is ready."""
    model: str = ""
    window_tokens: int = 0
    restarts: int = 0
    """How often it was started again in a row."""
    ready_after_s: float = 0.0
    """How long its last start took."""
    pid: int = 0
    reason: str = ""


class Keeper(Protocol):
    """Looks after one replica, wherever its process is."""

    def look(self) -> Standing:
        """Do what is due, such as a health check or a restart, and say how it stands. Called every second or so."""
        ...

    def close(self, drain_s: float) -> None:
        """Let requests under way end, for ``drain_s`` at most; then end the process and all that it started."""
        ...
