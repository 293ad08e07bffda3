"""A run folder opened for reading: its projection, and its programs."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raysearch.cli.suggest import RUNS_DIR
from raysearch.errors import RunError
from raysearch.facts import AttemptOpened, Entry, Mutated
from raysearch.ledger import RunLock, read_journal
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.types import SEED, AttemptId, Commit
from raysearch.views import Projection, entries_of, fold

DIGITS_MAX = 18
"""Of an attempt's number; no run comes so far."""


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """What the reading verbs share. Nothing here writes; a driver may be at work meanwhile."""

    folder: RunFolder
    projection: Projection

    @classmethod
    def find(cls, reference: str | None, runs_dir: str) -> OpenedRun:
        """Raises RunError, and LedgerError for a damaged journal."""
        folder = RunFolder.find(reference, Path(runs_dir))
        return cls(folder, fold(read_journal(folder.journal)))

    def standing(self) -> str:
        """Whether the run is driven, over, or waiting to be resumed, in words."""
        run = self.projection
        owner = RunLock.owner(self.folder.path)
        if run.ended:
            return f"over: {run.stopped_by}"
        if owner is not None and (owner.host != socket.gethostname() or _alive(owner.pid)):
            paused = f"; paused: `raysearch unpause {self.folder.name}` lets it go on" if run.paused else ""
            return f"driven by process {owner.pid} on {owner.host}{paused}"
        why = run.stopped_by or "its driver is gone"
        return f"stopped: {why}. Go on with: {resume_hint(self.folder)}"

    def trace(self, attempt: AttemptId) -> list[Entry]:
        """The entries of one attempt. Raises RunError."""
        trace = entries_of(read_journal(self.folder.journal), attempt)
        if not trace:
            last = self.projection.attempts
            raise RunError(f"{self.folder.name} has no attempt {attempt}; it has 1 to {last}, and 0 for a seed")
        return trace

    def repository(self) -> Repository:
        return Repository(self.folder.workspace)

    def number(self, name: str) -> AttemptId:
        """An attempt by its number, ``seed`` or ``best``. Raises RunError."""
        best = self.projection.skyline.best
        if name == "best" and best is not None:
            return best.id
        if name == "seed":
            return SEED
        bare = name.removeprefix("#")
        if bare.isdecimal() and len(bare) <= DIGITS_MAX:
            return AttemptId(int(bare))
        raise RunError(f"{name!r} is no attempt of {self.folder.name}: give a number, seed or best")

    def change(self, trace: Sequence[Entry]) -> tuple[Commit, Commit] | None:
        """Where an attempt's program started from, and its commit; None before it has one."""
        opened = trace[0].fact
        commit = next((e.fact.change.commit for e in trace if isinstance(e.fact, Mutated)), None)
        start = self.projection.started
        if commit is None or start is None or not isinstance(opened, AttemptOpened) or opened.attempt == SEED:
            return None
        proposal = opened.proposal
        if proposal.repair is not None:
            return self.repository().commit_of(proposal.repair), commit
        if proposal.parents:
            return self.repository().commit_of(proposal.parents[0]), commit
        return start.origin, commit


def resume_hint(folder: RunFolder) -> str:
    """The command that goes on with a run, as it must be typed in the working directory."""
    if folder.path.parent == Path(RUNS_DIR).resolve():
        return f"raysearch resume {folder.name}"
    try:
        return f"raysearch resume {folder.path.relative_to(Path.cwd())}"
    except (ValueError, OSError):
        return f"raysearch resume {folder.path}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
