"""``rounds/<n>.md``: a page for each round of a search that works in them, kept up to date while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    ConsultationOpened,
    Consulted,
    Entry,
    RunEnded,
    SessionClosed,
    Unanswered,
)
from raysearch.jobs import Job
from raysearch.sinks.files import write


class RoundPages:
    """Writes pages that have changed. ``pages`` gives those of the rounds from a number on, as text by number.

    It is asked for all of them when it comes and when it goes, and in between for the latest two: what one brings is
    known for good when the next has begun. A search without rounds leaves no folder.
    """

    def __init__(self, folder: Path, pages: Callable[[int], Mapping[int, str]]) -> None:
        self._folder = folder
        self._pages = pages
        self._written: dict[int, str] = {}

    def told(self, entry: Entry) -> None:
        match entry.fact:
            case ConsultationOpened() | Consulted() | Unanswered() | AttemptOpened() | AttemptClosed():
                self._write(max(self._written, default=1) - 1)
            case RunEnded() | SessionClosed():
                self._write(1)
            case _:
                pass

    def started(self, job: Job) -> None:
        pass

    def close(self) -> None:
        self._write(1)

    def _write(self, since: int) -> None:
        for number, text in self._pages(since).items():
            if self._written.get(number) == text:
                continue
            self._folder.mkdir(exist_ok=True)
            write(self._folder / f"{number:03}.md", [text.encode(errors="backslashreplace")])
            self._written[number] = text
