"""All that looks on while a run goes, put together."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from raysearch import views
from raysearch.cli.chronicle import progress, roadmap
from raysearch.facts import Entry
from raysearch.jobs import Job
from raysearch.ledger import read_journal
from raysearch.protocols import Sink
from raysearch.run.folder import RunFolder
from raysearch.sinks.fanout import Fanout
from raysearch.sinks.files import AttemptFiles, BestBranch, ViewFiles, link
from raysearch.sinks.plain import PlainLines
from raysearch.sinks.progress import Progress
from raysearch.sinks.roundlog import RoundLogs
from raysearch.sinks.roundpages import RoundPages
from raysearch.sinks.runlog import RunLog
from raysearch.views.issues import issues

if TYPE_CHECKING:
    from rich.console import Console

    from raysearch.sinks.live import LiveView


PROGRESS, ROADMAP, USAGE = "progress.md", "roadmap.md", "logs/usage.jsonl"


def documents(run: views.Projection) -> Mapping[str, Iterable[bytes]]:
    """The files about a whole run, by name."""
    found: dict[str, Iterable[bytes]] = {
        "population.json": views.population(run),
        "rounds.json": views.rounds(run),
        "issues.json": issues(run.board, run.started.run if run.started else "", run.over),
        "state.json": [msgspec.json.format(msgspec.json.encode(views.summary(run))), b"\n"],
        PROGRESS: progress(run),
    }
    if run.book.roadmap:
        found[ROADMAP] = roadmap(run)
    return {**found, USAGE: views.usage(run)} if run.usage_rows else found


class Folding:
    """Keeps a projection up to date; stands first among sinks, so that the others find it so."""

    def __init__(self, projection: views.Projection) -> None:
        self._projection = projection

    def told(self, entry: Entry) -> None:
        self._projection.told(entry)

    def started(self, job: Job) -> None:
        pass

    def close(self) -> None:
        pass


class Watch:
    """Makes the sinks of a run when its folder is known, and keeps the projection for afterwards."""

    def __init__(self, notice: Callable[[], str]) -> None:
        self.projection = views.Projection()
        self.folder: RunFolder | None = None
        self.complaints: list[str] = []
        self._notice = notice

    def __call__(self, folder: RunFolder) -> Sink:
        """Catch up with the journal, then look on from there."""
        self.folder, run = folder, self.projection
        shown = Progress(lambda: run.skyline)
        folder.logs.mkdir(exist_ok=True)
        link(folder.logs, [name for name in documents(run) if "/" not in name])
        files, rounds = AttemptFiles(folder.attempts, views.attempt), RoundLogs(folder.logs, folder.attempts)
        if folder.journal.exists():
            for entry in read_journal(folder.journal):
                run.told(entry)
                shown.told(entry)
                files.told(entry)
                rounds.told(entry)
        log, view = RunLog(folder.logs), self._view(shown)

        def complain(text: str) -> None:
            self.complaints.append(text)
            view.note(text)
            log.note(text)

        best = BestBranch(folder.workspace, lambda: run.skyline.best)
        written = ViewFiles(folder.path, lambda: documents(run))
        told = RoundPages(folder.path / "rounds", lambda number: views.pages(run.book, number))
        return Fanout([Folding(run), log, view, files, rounds, told, written, best], complain)

    def _view(self, progress: Progress) -> PlainLines | LiveView:
        if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
            return PlainLines(sys.stderr, progress)
        from raysearch.sinks.live import LiveView

        return LiveView(console(stderr=True), progress, self._notice)


def console(*, stderr: bool = False) -> Console:
    """The terminal. Of its size in COLUMNS and LINES, what is no number does not count; rich would stumble on ²."""
    from rich.console import Console

    sizes = ("COLUMNS", "LINES")
    said = {name: value for name, value in os.environ.items() if name not in sizes or value.isdecimal()}
    return Console(stderr=stderr, _environ=said)
