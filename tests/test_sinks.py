"""Sinks: what people see while a run goes on, and that none of it can hurt the run."""

from __future__ import annotations

import io
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_runs import MadeRun
from journals import Journal, commit_of, lively

from raysearch import views
from raysearch.facts import AttemptClosed, Entry, SessionClosed
from raysearch.jobs import Job
from raysearch.sinks.fanout import Fanout
from raysearch.sinks.files import AttemptFiles, BestBranch, ViewFiles, write
from raysearch.sinks.lines import aligned, budget, describe, duration, number, one_line
from raysearch.sinks.plain import LINES_MAX, PlainLines
from raysearch.sinks.progress import Progress
from raysearch.sinks.runlog import RunLog
from raysearch.types import AttemptId, Limits, Outcome, Stage


class Clock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Witness:
    """Remembers what it was told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.seen: list[str] = []
        self._error = error

    def told(self, entry: Entry) -> None:
        self._see(f"told {entry.seq}")

    def started(self, job: Job) -> None:
        self._see(f"started {job.attempt}")

    def tick(self) -> None:
        self._see("tick")

    def close(self) -> None:
        self._see("close")

    def _see(self, what: str) -> None:
        self.seen.append(what)
        if self._error is not None:
            raise self._error


JOB = Job(AttemptId(1), Stage.MUTATE, "tune", commit_of(0))


def watched(clock: Callable[[], float] | None = None) -> tuple[views.Projection, Progress]:
    projection = views.Projection()
    return projection, Progress(lambda: projection.skyline, clock or Clock())


def told(entries: list[Entry], clock: Clock | None = None) -> Progress:
    projection, progress = watched(clock)
    for entry in entries:
        projection.told(entry)
        progress.told(entry)
    return progress


# -- fan-out ----------------------------------------------------------------------------------------------------


def test_a_broken_sink_is_reported_once_and_the_others_are_told() -> None:
    complaints: list[str] = []
    broken, sound = Witness(OSError("disk full")), Witness()
    fan = Fanout([broken, sound], complaints.append, tick_s=None)
    for entry in list(lively(1))[:3]:
        fan.told(entry)
    fan.started(JOB)
    fan.tick()
    fan.close()
    assert sound.seen == broken.seen == ["told 1", "told 2", "told 3", "started 1", "tick", "close"]
    assert complaints == ["Witness: OSError: disk full (the run goes on)"]


def test_a_complaint_that_cannot_be_made_is_dropped() -> None:
    def complain(text: str) -> None:
        raise OSError("nor can this")

    Fanout([Witness(ValueError("x"))], complain, tick_s=None).started(JOB)


def test_an_interrupt_in_a_sink_is_no_error_of_the_sink() -> None:
    class Interrupted(Witness):
        def _see(self, what: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Fanout([Interrupted()], print, tick_s=None).started(JOB)


def test_ticks_come_from_one_thread_until_closed() -> None:
    witness, ticked = Witness(), threading.Event()
    witness.tick = ticked.set  # type: ignore[method-assign]
    fan = Fanout([witness], print, tick_s=0.001)
    assert ticked.wait(30.0)
    fan.close()
    assert not any(thread.name == "sinks" for thread in threading.enumerate())
    assert witness.seen == ["close"]


# -- words ------------------------------------------------------------------------------------------------------


def test_nothing_that_a_program_writes_moves_the_cursor() -> None:
    assert one_line("a\x1b[2Jb\r\n\tc\x07\u202ed") == "a [2Jb c d"
    assert one_line("x" * 600) == "x" * 499 + "…"


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.63598308, "2.635983"), (117.0, "117"), (1.204e-07, "1.204e-07"), (-0.5, "-0.5"), (1e300, "1e+300")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_numbers_below_each_other_have_equally_many_decimals_and_no_noise() -> None:
    assert aligned([2.63598308, 2.5]) == ["2.6359831", "2.5000000"]
    assert aligned([22.99262, 7.7, 105.0], noise=0.01) == ["23.0", "7.7", "105.0"]
    assert aligned([12345.678, 9.1], noise=0.05) == ["12346", "9"]
    assert aligned([1e-7, 2.5e-7]) == ["1e-07", "2.5e-07"]
    assert aligned([]) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (67.0, "1:07"), (3661.0, "1:01:01"), (90_061.0, "1 d 01:01:01"), (-3.0, "0:00")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_every_fact_is_one_readable_line() -> None:
    journal = Journal()
    journal.begin()
    journal.reject(journal.open(), "first line\nsecond line")
    journal.fail(attempt := journal.open(), retry=True)
    journal.mutate(attempt, refusal="changed checker.py")
    journal.add(SessionClosed("interrupted"))
    journal.end()
    lines = [describe(entry.fact) for entry in journal.entries]
    assert all(line and "\n" not in line for line in lines)
    for words in (
        "run 20261127-120000-circles: target circle-packing dddddddddddd, seed 7, sum_radii (max), latency (min, ms)",
        "session 1 on box, process 4242, raysearch 0.1.0: budget 200 candidates, 3:00, $5; lanes 2",
        "#1 accuracy says no: first line second line (1 of 2 cases passed) [0.10 s by worker-2]",
        "#2 benchmark benchmark broke: TimedOut: no answer in 60 s; may be asked again [0.00 s]",
        "session closed: interrupted",
        "run ended: 200 candidates",
    ):
        assert words in lines
    assert any(line.startswith("seed benchmark measures sum_radii 0.96, latency 20 ms") for line in lines)
    assert any("refused: changed checker.py" in line for line in lines)
    assert budget(Limits()) == "no limit"


# -- files ------------------------------------------------------------------------------------------------------


def test_the_log_has_a_line_a_fact_and_a_file_a_session(tmp_path: Path) -> None:
    entries = list(lively(5))
    for _ in range(2):
        log = RunLog(tmp_path / "logs")
        for entry in entries:
            log.told(entry)
        log.started(JOB)
        log.note("a note\nof two lines")
        log.close()
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["run-20261127-120000-2.log", "run-20261127-120000.log"]
    lines = files[0].read_text().splitlines()
    assert len(lines) == len(entries) + 2
    assert lines[0].startswith("2026-11-27T12:00:00.250Z       0.250  run 20261127-120000-circles: target")
    assert lines[-1].endswith("a note of two lines")


def test_attempt_files_are_written_at_the_end_of_an_attempt_and_caught_up_after_a_crash(tmp_path: Path) -> None:
    entries = list(lively(12))
    closed = [e for e in entries if isinstance(e.fact, AttemptClosed)]
    cut = closed[6].seq
    files = AttemptFiles(tmp_path, views.attempt)
    for entry in entries[:cut]:
        files.told(entry)
    (tmp_path / "6" / "attempt.json").unlink()  # as if the driver had died before it got there
    kept = (tmp_path / "3" / "attempt.json").stat().st_mtime_ns
    again = AttemptFiles(tmp_path, views.attempt)
    for entry in entries:
        again.told(entry)
    for attempt in range(13):
        said = json.loads((tmp_path / str(attempt) / "attempt.json").read_text())
        assert said == views.attempt(views.entries_of(entries, AttemptId(attempt)))
    assert (tmp_path / "3" / "attempt.json").stat().st_mtime_ns == kept
    assert not list(tmp_path.rglob("*.partial"))


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write(path, [b"old"])

    def broken() -> list[bytes]:
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        write(path, (piece for piece in broken()))
    assert path.read_bytes() == b"old"


def test_view_files_are_written_at_most_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    clock, written = Clock(), []

    def documents() -> dict[str, list[bytes]]:
        written.append(clock.now_s)
        clock.now_s += 0.5  # writing takes half a second: the next time is fifty seconds later
        return {"state.json": [b"{}"]}

    sink = ViewFiles(tmp_path, documents, every_s=2.0, clock=clock)
    entries = list(lively(20))
    for entry in entries:
        sink.told(entry)
        clock.now_s += 1.0
    assert len(entries) > 60
    assert written[:2] == [0.0, 50.5]
    assert len(written) == 1 + int(len(entries) / 50)
    sink.close()
    assert (tmp_path / "state.json").read_bytes() == b"{}"
    count = len(written)
    clock.now_s += 1000.0
    sink.tick()
    assert len(written) == count  # nothing has changed


def test_a_tick_writes_what_the_pause_held_back(tmp_path: Path) -> None:
    clock = Clock()
    projection = views.Projection()
    sink = ViewFiles(tmp_path, lambda: {"rounds.json": views.rounds(projection)}, clock=clock)
    for entry in lively(4):
        projection.told(entry)
        sink.told(entry)
    assert json.loads((tmp_path / "rounds.json").read_text())["rounds"] == []
    clock.now_s += 2.0
    sink.tick()
    assert len(json.loads((tmp_path / "rounds.json").read_text())["rounds"]) == 5


def test_the_best_branch_follows_the_best_candidate(tmp_path: Path) -> None:
    made, clock = MadeRun(tmp_path).begin(), Clock()
    made.admit((1.5, 20.0))
    run = views.fold(made.journal.entries)
    sink = BestBranch(made.folder.workspace, lambda: run.skyline.best, every_s=5.0, clock=clock)
    closed = [e for e in made.journal.entries if isinstance(e.fact, AttemptClosed)]
    sink.told(closed[-1])
    source = made.folder.workspace / "solution.py"
    assert source.read_text() == "def pack():\n    return 1\n"
    made.admit((2.5, 20.0))
    run = views.fold(made.journal.entries)
    sink.told(closed[-1])
    assert "return 1" in source.read_text()  # too soon
    sink.close()
    assert "return 2" in source.read_text()
    log = subprocess.run(
        ["git", "log", "--format=%s", "best"], cwd=made.folder.workspace, capture_output=True, text=True, check=True
    )
    assert log.stdout.split("\n")[:3] == ["attempt 2", "attempt 1", "attempt 0"]
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=made.folder.workspace, capture_output=True, text=True, check=True
    )
    assert status.stdout == ""


def test_without_a_candidate_there_is_no_branch_to_move(tmp_path: Path) -> None:
    BestBranch(tmp_path / "missing", lambda: None).close()


# -- progress ---------------------------------------------------------------------------------------------------


def test_progress_counts_what_the_projection_counts() -> None:
    entries = list(lively(60))
    progress, run = told(entries), views.fold(entries)
    assert progress.counts == run.counts
    assert progress.cost_usd == pytest.approx(run.cost_usd)
    assert progress.attempts == 60
    assert progress.members == tuple(run.skyline.members)
    assert progress.over == "200 candidates"
    assert not progress.lanes


def test_time_goes_on_between_facts_and_stands_still_at_the_end() -> None:
    clock, journal = Clock(), Journal()
    journal.begin()
    progress = told(journal.entries, clock)
    clock.now_s += 10.0
    assert progress.elapsed_s() == pytest.approx(journal.run_s + 10.0)
    progress.told(journal.add(SessionClosed("interrupted"), after_s=12.0))
    clock.now_s += 10.0
    assert progress.elapsed_s() == pytest.approx(journal.run_s)


def test_what_is_left_is_the_nearest_limit() -> None:
    clock, journal = Clock(), Journal(limits=Limits(attempts_max=4, run_s=1000.0))
    journal.begin()
    progress = told(journal.entries, clock)
    assert progress.left_s() == pytest.approx(1000.0 - journal.run_s)
    attempt = journal.open()
    journal.run_s += 60.0 - journal.run_s - 0.25
    journal.close(attempt, Outcome.REJECTED, "no")
    progress = told(journal.entries, clock)
    session_s = 60.0 - 0.5
    assert progress.per_minute() == pytest.approx(60.0 / session_s)
    assert progress.left_s() == pytest.approx(3 * session_s)


# -- plain lines ------------------------------------------------------------------------------------------------


def test_plain_lines_tell_the_story_without_colours() -> None:
    clock, stream = Clock(), io.StringIO()
    projection, progress = watched(clock)
    view = PlainLines(stream, progress)
    for entry in lively(8):
        projection.told(entry)
        view.told(entry)
        clock.now_s += 1.0
    view.started(JOB)
    view.note("mind this")
    view.close()
    text = stream.getvalue()
    lines = text.splitlines()
    assert "\x1b" not in text
    assert "raysearch 20261127-120000-circles: target circle-packing, seed 7; budget 200 candidates" in lines[0]
    assert "seed admitted * sum_radii 0.96, latency 20 ms" in text
    assert sum(" #" in line and "------" not in line for line in lines) == 8
    assert lines[-2].endswith("over: 200 candidates")
    assert lines[-1].endswith("mind this")


def test_a_summary_comes_with_time_though_nothing_happens() -> None:
    clock, stream = Clock(), io.StringIO()
    _, progress = watched(clock)
    view = PlainLines(stream, progress, summary_every_s=30.0)
    view.tick()
    assert stream.getvalue() == ""
    clock.now_s = 31.0
    view.tick()
    view.tick()
    assert stream.getvalue().count("0 closed") == 1


def test_a_flood_of_attempts_is_counted_not_printed() -> None:
    clock, stream = Clock(), io.StringIO()
    view = PlainLines(stream, watched(clock)[1])
    journal = Journal()
    journal.begin(seeded=False)
    for _ in range(50):
        journal.close(journal.open(), Outcome.REJECTED, "no")
    journal.end()
    for entry in journal.entries:
        view.told(entry)
    text = stream.getvalue()
    assert text.count("rejected   no") == LINES_MAX
    assert "30 lines left out" in text


def test_a_reader_who_goes_away_is_no_reason_to_stop() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as stream:
        view = PlainLines(stream, watched()[1])
        for entry in list(lively(3)):
            view._say(str(entry.seq))
        view.close()
        with pytest.raises(BrokenPipeError):
            stream.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
