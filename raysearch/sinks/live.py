"""The live view: a picture of the run that redraws itself in place."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.live import Live

from raysearch.facts import Entry
from raysearch.jobs import Job
from raysearch.sinks.frame import frame
from raysearch.sinks.lines import one_line
from raysearch.sinks.progress import Progress


def quiet() -> str:
    """Nothing to say."""
    return ""


class LiveView:
    """Draws ``progress`` a few times a second on ``console``, from a thread of its own.

    ``progress`` is told here and nowhere else, under the lock that drawing takes. ``notice`` is asked at each
    drawing for what a person must know now. The picture goes away at the end.
    """

    def __init__(
        self,
        console: Console,
        progress: Progress,
        notice: Callable[[], str] = quiet,
        per_second: float = 4.0,
    ) -> None:
        self._console = console
        self._progress = progress
        self._notice = notice
        self._lock = threading.Lock()
        self._live = Live(
            get_renderable=self.picture,
            console=console,
            refresh_per_second=per_second,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what goes to a file or pipe must arrive there
            vertical_overflow="crop",
        )
        self._live.start()

    def picture(self) -> RenderableType:
        """What is on the screen now."""
        width, height = self._console.size
        with self._lock:
            return frame(self._progress, width, height - 1, self._notice())

    def told(self, entry: Entry) -> None:
        with self._lock:
            self._progress.told(entry)

    def started(self, job: Job) -> None:
        with self._lock:
            self._progress.handed_out(job)

    def note(self, text: str) -> None:
        """A line that stays, above the picture."""
        self._console.print(one_line(text), style="yellow", markup=False, highlight=False)

    def close(self) -> None:
        self._live.stop()
