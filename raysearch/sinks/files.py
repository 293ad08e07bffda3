"""Files written from the journal, for people and other tools; never read back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from raysearch.facts import AttemptClosed, AttemptOpened, Compared, Entry, JobFailed, Judged, Measured, Mutated
from raysearch.jobs import Job
from raysearch.repository import Repository
from raysearch.types import AttemptId, Candidate, Commit

Clock = Callable[[], float]


def write(path: Path, pieces: Iterable[bytes]) -> None:
    """Replace ``path`` in one step, so that a reader sees the old or the new content, never part of one."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.writelines(pieces)
    partial.replace(path)


def link(folder: Path, names: Iterable[str]) -> None:
    """Make the files ``names``, which lie above ``folder``, to be found in it as well."""
    for name in names:
        with contextlib.suppress(OSError):  # there already, or a file system without links
            (folder / name).symlink_to(Path("..", name))


class AttemptFiles:
    """``attempts/<n>/attempt.json``, written when an attempt closes.

    Told a journal from its start, it writes what is missing: what a driver that died did not get to.
    """

    def __init__(self, folder: Path, view: Callable[[Sequence[Entry]], Mapping[str, object]]) -> None:
        self._folder = folder
        self._view = view
        self._traces: dict[AttemptId, list[Entry]] = {}

    def told(self, entry: Entry) -> None:
        match entry.fact:
            case AttemptOpened(attempt):
                self._traces[attempt] = [entry]
            case Mutated() | Judged() | Measured() | Compared() | JobFailed():
                self._traces[entry.fact.attempt].append(entry)
            case AttemptClosed(attempt):
                self._write(attempt, [*self._traces.pop(attempt), entry])
            case _:
                pass  # of the whole run

    def started(self, job: Job) -> None:
        pass

    def close(self) -> None:
        pass

    def _write(self, attempt: AttemptId, trace: Sequence[Entry]) -> None:
        path = self._folder / str(attempt) / "attempt.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, [msgspec.json.format(msgspec.json.encode(self._view(trace))), b"\n"])


class Throttle:
    """Says when to do again what took so long: after ``every_s``, and never more than a hundredth of the time."""

    def __init__(self, every_s: float, clock: Clock) -> None:
        self._every_s = every_s
        self._clock = clock
        self._due_s = clock()

    def due(self) -> bool:
        return self._clock() >= self._due_s

    def do(self, work: Callable[[], None]) -> None:
        """Do it now."""
        began_s = self._clock()
        try:
            work()
        finally:
            now_s = self._clock()
            self._due_s = now_s + max(self._every_s, 100 * (now_s - began_s))


class ViewFiles:
    """Documents of the whole run (``state.json`` and its like): every few seconds while it changes, and at the end.

    Each is written whole, so the pause grows with the time that writing takes.
    """

    def __init__(
        self,
        folder: Path,
        documents: Callable[[], Mapping[str, Iterable[bytes]]],
        every_s: float = 2.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._folder = folder
        self._documents = documents
        self._throttle = Throttle(every_s, clock)
        self._seq = 0
        self._written_seq = -1

    def told(self, entry: Entry) -> None:
        self._seq = entry.seq
        self.tick()

    def started(self, job: Job) -> None:
        pass

    def tick(self) -> None:
        if self._seq != self._written_seq and self._throttle.due():
            self._throttle.do(self._write)

    def close(self) -> None:
        self._write()

    def _write(self) -> None:
        for name, pieces in self._documents().items():
            write(self._folder / name, pieces)
        self._written_seq = self._seq


class BestBranch:
    """Keeps the workspace's branch ``best`` and its files at the best candidate, with a pause between moves."""

    def __init__(
        self,
        workspace: Path,
        best: Callable[[], Candidate | None],
        every_s: float = 5.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._workspace = workspace
        self._best = best
        self._throttle = Throttle(every_s, clock)
        self._repository: Repository | None = None
        self._shown: Commit | None = None

    def told(self, entry: Entry) -> None:
        if isinstance(entry.fact, AttemptClosed):
            self.tick()

    def started(self, job: Job) -> None:
        pass

    def tick(self) -> None:
        if self._throttle.due():
            self._move()

    def close(self) -> None:
        self._move()

    def _move(self) -> None:
        best = self._best()
        if best is None or best.commit == self._shown:
            return
        if self._repository is None:  # one of its own: ticks come from another thread than the driver's
            self._repository = Repository(self._workspace)
        repository = self._repository
        self._throttle.do(lambda: repository.show_best(best.commit))
        self._shown = best.commit
