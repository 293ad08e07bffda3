"""The live view: one picture of the run that fits any screen, whatever the programs under test print."""

from __future__ import annotations

import io

import pytest
from journals import Journal, commit_of, lively
from rich.console import Console
from test_sinks import JOB, Clock, told, watched

from raysearch.facts import AttemptOpened, Entry
from raysearch.jobs import Job
from raysearch.sinks.frame import frame
from raysearch.sinks.live import LiveView
from raysearch.sinks.progress import Progress
from raysearch.types import SEED, AttemptId, Limits, Objective, Proposal, Stage


def drawn(progress: Progress, width: int = 80, height: int = 23, notice: str = "") -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(frame(progress, width, height, notice))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def test_a_lane_says_what_it_is_doing() -> None:
    clock, journal = Clock(), Journal()
    journal.begin()
    attempt = journal.open()
    progress = told(journal.entries, clock)
    assert progress.lanes[attempt].stage is None
    clock.now_s = 3.0
    progress.handed_out(Job(attempt, Stage.JUDGE, "accuracy", commit_of(0), try_number=1))
    clock.now_s = 10.0
    assert [line.strip() for line in drawn(progress) if "accuracy" in line] == [
        "#1  judging  accuracy (try 2)  from seed  0:07"
    ]


@pytest.mark.parametrize(("width", "height"), [(80, 23), (140, 39), (40, 12), (30, 6), (300, 100)])
@pytest.mark.parametrize("attempts", [0, 1, 60])
def test_the_picture_fits_the_screen(width: int, height: int, attempts: int) -> None:
    entries = list(lively(attempts))[:-1]
    progress = told(entries)
    seq, first = entries[-1].seq, progress.attempts
    for more in range(1, 40):  # more lanes than there is room for
        opened = AttemptOpened(AttemptId(first + more), Proposal((SEED,), "a/long/path/to/a/mutator.py:Class" * 2))
        progress.told(Entry(seq + more, 0.0, 1.0, opened))
    for notice in ("", "stopping " * 40):
        lines = drawn(progress, width, height, notice)
        assert len(lines) <= height
        assert all(len(line) <= width for line in lines)


def test_the_picture_shows_budgets_frontier_and_reasons() -> None:
    text = "\n".join(drawn(told(list(lively(60))[:-1]), 100, 40, "stopping"))
    for words in (
        "60 / 200",
        "/ 3:00",
        "/ $5.00",
        "stopping",
        "sum_radii ↑",
        "latency ↓ ms",
        "circles 3 and 4 overlap",
    ):
        assert words in text
    assert "no budget" in "\n".join(drawn(told(list(lively(3, limits=Limits()))[:-1])))


def test_what_looks_like_markup_is_shown_as_it_is() -> None:
    journal = Journal(objectives=(Objective("[red]speed[/]", "max", "[b]ms"),))
    journal.begin(seeded=False)
    journal.admit(journal.open(), (1.0,))
    journal.reject(journal.open(), "[/oops] [bold]no\x1b[31m")
    lane = journal.open()
    progress = told(journal.entries)
    progress.handed_out(Job(lane, Stage.MUTATE, "[link=x]m", commit_of(0)))
    text = "\n".join(drawn(progress, 100))
    for words in ("[red]speed[/] ↑ [b]ms", "[link=x]m", "[/oops] [bold]no [31m"):
        assert words in text


def test_the_live_view_draws_and_goes_away() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=30, color_system=None)
    projection, progress = watched()
    view = LiveView(console, progress, lambda: "hold on", per_second=50.0)
    for entry in list(lively(10))[:-1]:
        projection.told(entry)
        view.told(entry)
    view.started(JOB)
    view.note("[bold]mind this")
    with console.capture() as captured:
        console.print(view.picture())
    view.close()
    assert "10 closed" in captured.get()
    assert "hold on" in captured.get()
    assert "[bold]mind this" in console.file.getvalue()  # type: ignore[attr-defined]
