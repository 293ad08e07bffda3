"""``replay``: a run's live view again, from its journal."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from raysearch.cli import completing
from raysearch.cli.suggest import Command, as_json, runs_dir

if TYPE_CHECKING:
    from raysearch.facts import Entry
    from raysearch.jobs import Job
    from raysearch.sinks.live import LiveView
    from raysearch.sinks.plain import PlainLines
    from raysearch.sinks.progress import Progress

SLOWEST = 0.01
"""Times as fast as it was."""
LONGEST_WAIT_S = 0.25
"""Between looks at the clock, so that Ctrl-C is heard."""


class Speed(click.ParamType):  # type: ignore[type-arg] # generic only from click 8.4 on
    """How many times faster than it happened: ``1``, ``10``, ``2.5x``; ``max`` is at once."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().lower()
        try:
            speed = math.inf if text == "max" else float(text.removesuffix("x"))
        except ValueError:
            speed = math.nan
        if not speed >= SLOWEST:
            self.fail(
                f"{value!r} is no speed: give a number above 0 ({SLOWEST} or more), as in 10, or max.", param, ctx
            )
        return speed


@click.command("replay", cls=Command)
@click.argument("run", required=False, shell_complete=completing.runs)
@click.option(
    "--speed", type=Speed(), default="10", show_default=True, help="Times as fast as it was; max: the end only."
)
@runs_dir
@as_json
def replay(run: str | None, speed: float, runs_dir: str, as_json: bool) -> None:
    """Watch RUN again as it was seen when it went, from its journal; the latest run if left out.

    It need not be over: what is written so far is shown. With --speed max only the last picture is.
    """
    from pathlib import Path

    from raysearch.cli.reading import print_json
    from raysearch.ledger import read_journal
    from raysearch.run.folder import RunFolder
    from raysearch.views import summary

    folder = RunFolder.find(run, Path(runs_dir))
    showing = Replay(math.inf if as_json else speed, quiet=as_json)
    try:
        for entry in read_journal(folder.journal):
            showing.told(entry)
    finally:
        showing.close()
    if as_json:
        print_json({**summary(showing.projection), "path": str(folder.path)})
    else:
        showing.last_picture()


class ScaledClock:
    """The run's own time, passing ``speed`` times as fast as ours; ``at_s`` is where it stands."""

    def __init__(self, speed: float, now: Callable[[], float] = time.monotonic) -> None:
        self._speed, self._now = speed, now
        self._base_s, self._since_s = 0.0, now()
        self._until_s = 0.0

    def __call__(self) -> float:
        if math.isinf(self._speed):
            return self._until_s
        return min(self._base_s + (self._now() - self._since_s) * self._speed, self._until_s)

    def wait_until(self, run_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """Return when the run's time is ``run_s``; time that has passed already is not made up for."""
        begun_s = self()
        self._base_s, self._since_s, self._until_s = begun_s, self._now(), max(run_s, begun_s)
        while not math.isinf(self._speed) and (left_s := (self._until_s - self()) / self._speed) > 0:
            sleep(min(left_s, LONGEST_WAIT_S))


class Replay:
    """Shows entry after entry, each when its time has come, and what its attempt does next."""

    def __init__(self, speed: float, *, quiet: bool = False) -> None:
        from raysearch.sinks.progress import Progress
        from raysearch.state import State
        from raysearch.views import Projection

        self.clock = ScaledClock(speed)
        self.projection = Projection()
        self.progress = Progress(lambda: self.projection.skyline, self.clock)
        self._state = State()
        self._view = None if quiet or math.isinf(speed) else _view(self.progress)

    def told(self, entry: Entry) -> None:
        self.clock.wait_until(entry.run_s)
        self._state.apply(entry)
        self.projection.told(entry)
        (self._view or self.progress).told(entry)
        for job in self._next_jobs(entry):
            (self._view.started if self._view else self.progress.handed_out)(job)

    def _next_jobs(self, entry: Entry) -> Iterator[Job]:
        """What the driver handed out then: it is not in the journal, since it follows from it."""
        from raysearch.facts import SessionOpened
        from raysearch.jobs import Job
        from raysearch.lifecycle import advance

        number = getattr(entry.fact, "attempt", None)
        attempts = list(self._state.open) if isinstance(entry.fact, SessionOpened) else [number]
        for attempt in attempts:
            if attempt is not None and attempt in self._state.open:
                step = advance(self._state, self._state.open[attempt])
                if isinstance(step, Job):
                    yield step

    def close(self) -> None:
        if self._view is not None:
            self._view.close()

    def last_picture(self) -> None:
        """Print where the journal ends, to standard output."""
        from raysearch.cli.watching import console
        from raysearch.sinks.frame import frame

        terminal = console()
        terminal.print(frame(self.progress, terminal.width, max(terminal.height - 1, 20)))
        if not self.progress.over:
            click.echo("the journal ends here; the run is not over")


def _view(progress: Progress) -> PlainLines | LiveView:
    from raysearch.sinks.plain import PlainLines

    if not sys.stdout.isatty():
        return PlainLines(sys.stdout, progress)
    from raysearch.cli.watching import console
    from raysearch.sinks.live import LiveView

    return LiveView(console(), progress)
