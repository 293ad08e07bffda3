"""``logs/run-<timestamp>.log``: every fact, and every job handed out, in one readable line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TextIO

from raysearch.facts import Entry
from raysearch.jobs import Job
from raysearch.sinks.lines import describe, name_of, one_line


class RunLog:
    """One file a session; lines reach the file as they are written.

    Times are UTC; what follows them is the run's own time in seconds.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: TextIO | None = None

    def told(self, entry: Entry) -> None:
        self._write(entry.at_s, f"{entry.run_s:11.3f}  {describe(entry.fact)}")

    def started(self, job: Job) -> None:
        again = f", try {job.try_number + 1}" if job.try_number else ""
        self.note(f"{name_of(job.attempt)} {job.stage} {job.plugin} handed out{again}")

    def note(self, text: str) -> None:
        """A line that is no fact."""
        self._write(time.time(), f"{'':11}  {one_line(text, 2000)}")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, at_s: float, text: str) -> None:
        if self._file is None:
            self._file = self._open(at_s)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))
        self._file.write(f"{stamp}.{int(at_s % 1 * 1000):03}Z {text}\n")

    def _open(self, at_s: float) -> TextIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = time.strftime("run-%Y%m%d-%H%M%S", time.gmtime(at_s))
        path, number = self._folder / f"{name}.log", 1
        while path.exists():
            number += 1
            path = self._folder / f"{name}-{number}.log"
        return path.open("x", encoding="utf-8", errors="backslashreplace", buffering=1)
