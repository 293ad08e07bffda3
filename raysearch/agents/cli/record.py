"""What is kept of a call: the program's output as it came, and what it cost, written as soon as it is known."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from raysearch.agents.interface import AgentFault, Call
from raysearch.protocols import Completed
from raysearch.types import Usage

STDERR_CHARS = 100_000


@dataclass(slots=True)
class Record:
    """Files beside one another in a job's artifacts.

    ``ROLE-N.jsonl`` is all that the program printed, turn after turn, byte for byte but for what a limit on output
    dropped; ``ROLE-N.stderr.txt`` the same of its other stream; ``ROLE-N.call.json`` says who was asked, how each turn
    ended, and what it cost.
    """

    transcript: Path
    told: dict[str, Any]
    began_s: float
    usage: Usage = Usage()
    turns: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path, call: Call[Any], agent: str, model: str) -> Record:
        """A new one, for the first, second, ... call of its role in this job."""
        role = re.sub(r"[^A-Za-z0-9_.-]+", "-", call.role).strip(".-") or "agent"
        number = 1
        while True:
            transcript = folder / f"{role}-{number}.jsonl"
            try:
                transcript.open("xb").close()
            except FileExistsError:
                number += 1
                continue
            told = {"agent": agent, "model": model, "role": call.role, "permission": str(call.permission)}
            return cls(transcript, told, time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = "answered"
        if error is not None:
            ended = f"{error.cause}: {error}" if isinstance(error, AgentFault) else f"{type(error).__name__}: {error}"
        self._write(ended)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def said(self, prompt: str) -> None:
        """The program is about to be started."""
        self.turns.append({"prompt": prompt})
        self._write("under way")

    def heard(self, completed: Completed, usage: Usage, failure: str) -> None:
        """It has ended."""
        with self.transcript.open("a", encoding="utf-8", errors="replace") as file:
            file.write(completed.stdout)
            file.write("" if completed.stdout.endswith("\n") or not completed.stdout else "\n")
        if completed.stderr:
            with self.transcript.with_suffix(".stderr.txt").open("a", encoding="utf-8", errors="replace") as file:
                file.write(completed.stderr[-STDERR_CHARS:])
        self.usage = self.usage + usage
        self.turns[-1] |= {
            "status": completed.status,
            "ended_by": completed.ended_by,
            "took_s": round(completed.took_s, 3),
            "failure": failure,
            "usage": asdict(usage),
        }
        self._write("under way")

    def _write(self, ended: str) -> None:
        told = {
            **self.told,
            "ended": ended,
            "took_s": round(time.monotonic() - self.began_s, 3),
            "usage": asdict(self.usage),
            "notes": self.notes,
            "turns": self.turns,
        }
        place = self.transcript.with_suffix(".call.json")
        part = place.with_suffix(".part")
        part.write_text(json.dumps(told, indent=1) + "\n", encoding="ascii")
        part.replace(place)
