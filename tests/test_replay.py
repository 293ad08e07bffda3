"""`replay`: what was seen when the run went, from its journal. `brief`: what an attempt was told, word for word."""

from __future__ import annotations

import json
import math
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from called import Call, call
from cli_runs import MadeRun
from journals import Journal, commit_of, lively
from toys import make_target

from raysearch.cli.replaying import Replay, ScaledClock
from raysearch.facts import AttemptOpened, Entry, SessionOpened
from raysearch.jobs import Job
from raysearch.ledger import read_journal
from raysearch.protocols import Sink
from raysearch.sinks.progress import Progress
from raysearch.types import SEED, AttemptId, Brief, Commit, Inspiration, Limits, Proposal, Stage

__all__ = ["call"]


class FakeTime:
    """A clock that goes on only when someone sleeps."""

    def __init__(self) -> None:
        self.now_s, self.slept = 100.0, []

    def now(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
def made(tmp_path: Path) -> MadeRun:
    """Seed, candidate 1, refused 2, candidate 3 (the best), in exp_env."""
    run = MadeRun(tmp_path / "exp_env").begin()
    run.admit((1.5, 18.0))
    run.reject("circles 3 and 4 overlap by 0.0012")
    run.admit((2.5, 25.0))
    make_target(run.path / "target")
    return run


# -- time -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.5, 1.0, 10.0])
def test_the_runs_time_passes_so_many_times_as_fast(speed: float) -> None:
    ours = FakeTime()
    clock = ScaledClock(speed, ours.now)
    clock.wait_until(20.0, ours.sleep)
    assert clock() == pytest.approx(20.0)
    assert ours.now_s - 100.0 == pytest.approx(20.0 / speed)
    assert max(ours.slept) <= 0.25, "Ctrl-C must be heard"
    clock.wait_until(5.0, ours.sleep)  # entries of one instant, or out of order
    assert clock() == pytest.approx(20.0)
    clock.wait_until(30.0, ours.sleep)
    assert ours.now_s - 100.0 == pytest.approx(30.0 / speed)


def test_time_that_drawing_took_is_not_waited_for_again() -> None:
    ours = FakeTime()
    clock = ScaledClock(1.0, ours.now)
    clock.wait_until(10.0, ours.sleep)
    ours.now_s += 3.0  # the picture took so long
    assert clock() == pytest.approx(10.0), "nothing happens between entries but waiting"
    clock.wait_until(12.0, ours.sleep)
    assert clock() == pytest.approx(12.0)


def test_at_full_speed_nobody_waits() -> None:
    ours = FakeTime()
    clock = ScaledClock(math.inf, ours.now)
    clock.wait_until(1e6, ours.sleep)
    assert (clock(), ours.slept) == (1e6, [])


# -- what is shown ----------------------------------------------------------------------------------------------


def shown(entries: list[Entry]) -> Progress:
    replay = Replay(math.inf)
    for entry in entries:
        replay.told(entry)
    replay.close()
    return replay.progress


def test_the_end_is_what_the_run_itself_showed() -> None:
    entries = list(lively(60))
    watched = Progress(lambda: replayed.skyline)
    replayed = Replay(math.inf).projection
    for entry in entries:
        replayed.told(entry)
        watched.told(entry)
    found = shown(entries)
    assert found.counts == watched.counts
    assert found.members == watched.members
    assert found.recent == watched.recent
    assert found.over == watched.over == "200 candidates"
    assert found.elapsed_s() == watched.elapsed_s()


def test_jobs_are_known_from_what_follows_from_the_journal() -> None:
    """They are not written down, since the driver hands out what follows from what is."""
    journal = Journal()
    journal.begin()
    first = journal.open()
    assert shown(journal.entries).lanes[first].stage is Stage.MUTATE
    journal.mutate(first)
    assert shown(journal.entries).lanes[first].stage is Stage.JUDGE
    journal.fail(first, retry=True)
    second = journal.open()
    lanes = shown(journal.entries).lanes
    assert (lanes[first].stage, lanes[second].stage) == (Stage.JUDGE, Stage.MUTATE)
    journal.judge(first, True)
    assert shown(journal.entries).lanes[first].stage is Stage.BENCHMARK
    journal.session(2)
    assert shown(journal.entries).lanes[first].stage is Stage.BENCHMARK, "a new driver hands everything out again"


def test_jobs_are_those_that_a_real_run_handed_out(call: Call, tmp_path: Path) -> None:
    from raysearch.cli.options import configuration_of
    from raysearch.engine import never
    from raysearch.run.start import start

    handed: list[Job] = []

    class Listening:
        def told(self, entry: Entry) -> None: ...
        def started(self, job: Job) -> None:
            handed.append(job)

        def close(self) -> None: ...

    def listening(_: object) -> Sink:
        return Listening()

    toys = Path(__file__).with_name("toys.py")
    flags = {"mutator": (f"{toys}:Step",), "pool": "inline", "sandbox": "none", "max_candidates": 4, "seed": 3}
    make_target(tmp_path / "toy")
    summary = start(configuration_of("toy", None, flags), listening, never)
    replay, again = Replay(math.inf, quiet=True), []
    for entry in read_journal(summary.folder.journal):
        replay.told(entry)
        again += list(replay._next_jobs(entry)) if not isinstance(entry.fact, SessionOpened) else []
    assert again == handed


def test_the_verb_prints_lines_where_there_is_no_terminal(call: Call, made: MadeRun) -> None:
    ran = call("replay", "--speed", "1000x")
    assert ran.status == 0
    assert "#2 rejected   accuracy: circles 3 and 4 overlap by 0.0012" in ran.out
    assert ran.out.splitlines()[-1] == "the journal ends here; the run is not over"


def test_at_full_speed_only_the_last_picture_is_printed(call: Call, made: MadeRun) -> None:
    made.journal.end("3 candidates")
    made.save()
    ran = call("replay", "circles", "--speed", "max")
    assert ran.status == 0
    assert ran.out.startswith("raysearch 20261127-120000-circles")
    assert "3 closed  2 admitted  1 rejected" in ran.out
    assert "journal ends here" not in ran.out
    asked = call("replay", "--speed", "max", "--json")
    assert (asked.object["admitted"], asked.object["status"]) == (2, "ended")


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan"])
def test_a_speed_is_above_zero(call: Call, made: MadeRun, speed: str) -> None:
    ran = call("replay", "--speed", speed)
    assert (ran.status, "is no speed: give a number above 0" in ran.told) == (2, True)


def test_it_redraws_itself_on_a_terminal(made: MadeRun, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "raysearch", "replay", "--speed", "5"]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    text, until_s = b"", time.monotonic() + 60
    while time.monotonic() < until_s and select.select([ours], [], [], 60)[0]:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other side is gone
            break
        if not piece:
            break
        text += piece
    assert process.wait(60) == 0
    os.close(ours)
    assert b"\x1b[?25l" in text, "the cursor is hidden while the picture moves"
    assert b"\x1b[?25h" in text, "and shown again"
    assert b"under way" in text
    assert b"3 closed" in text


# -- what an attempt was told -----------------------------------------------------------------------------------


def briefed(made: MadeRun) -> tuple[AttemptId, Brief]:
    """One more attempt, told everything that there is to tell."""
    seed, first = made.repository.commit_of(0), made.repository.commit_of(1)
    inspirations = (
        Inspiration(AttemptId(1), first, {"sum_radii": 1.5}, "value for 1"),
        Inspiration(SEED, seed, {"sum_radii": 0.96}, "the first program"),
    )
    told = Brief(
        "Move circle 7.\nIt is too low.",
        "they overlap",
        inspirations,
        ("not too far",),
        "tried 3 \x1b[31m",
        parents=(Inspiration(AttemptId(3), Commit(""), {"sum_radii": 1.25, "moves": 4.0}, "value for 3"),),
        frontier=(Inspiration(AttemptId(1), Commit(""), {"sum_radii": 1.5}),),
        profile="60 % overlaps()",
    )
    opened = made.journal.open(proposal=Proposal((AttemptId(3),), "an-agent", told, AttemptId(2), "island-1"))
    made.save()
    return opened, told


def test_what_an_attempt_was_told_is_printed_word_for_word(call: Call, made: MadeRun) -> None:
    attempt, _ = briefed(made)
    ran = call("brief", "circles", str(attempt))
    assert ran.status == 0
    for words in (
        f"attempt    #{attempt} of 20261127-120000-circles",
        "mutator    an-agent  island-1",
        "the files of #2, which was refused, to be mended",
        "── the goal (OBJECTIVE.md)\nMake the number in x.txt near 10, yet small.\n",
        "── the task\nMove circle 7.\nIt is too low.\n",
        "── why the program that it starts from was refused\nthey overlap\n",
        "── parent #3: sum_radii 1.25, moves 4\nvalue for 3\n",
        "── what a profiler found about the parent\n60 % overlaps()\n",
        "── the frontier, a few of its members\n#1: sum_radii 1.5\n",
        "── inspiration #1: sum_radii 1.5\nvalue for 1\n",
        "-    return 2\n+    return 1\n",
        "── inspiration seed: sum_radii 0.96\n",
        "+    return 0\n",
        "── lesson 1 of 1\nnot too far\n",
        "── what the lineage wished to remember\ntried 3 �[31m\n",
    ):
        assert words in ran.out
    assert "\x1b" not in ran.out, "a program's words do not move the cursor"


def test_as_json_nothing_is_left_out_or_changed(call: Call, made: MadeRun) -> None:
    attempt, told = briefed(made)
    found = call("brief", str(attempt), "--json").object
    assert found["start"] == made.repository.commit_of(2)
    assert found["objective"] == "Make the number in x.txt near 10, yet small.\n"
    assert (found["task"], found["feedback"], found["memory"]) == (told.task, told.feedback, told.memory)
    assert found["lessons"] == list(told.lessons)
    assert found["scores"] == [{"id": 3, "scores": {"sum_radii": 1.25, "moves": 4.0}, "summary": "value for 3"}]
    assert (found["frontier"], found["profile"]) == ([{"id": 1, "scores": {"sum_radii": 1.5}}], told.profile)
    assert [shown["id"] for shown in found["inspirations"]] == [1, 0]
    for shown, inspiration in zip(found["inspirations"], told.inspirations, strict=True):
        assert shown["diff"] == made.repository.diff(made.repository.commit_of(2), inspiration.commit)
    assert json.dumps(found)


def test_an_attempt_that_was_told_little(call: Call, made: MadeRun) -> None:
    ran = call("brief", "1")
    assert "── the task\nmove one circle\n" in ran.out
    assert "── lesson 1 of 1\ndo not overlap\n" in ran.out
    assert not {"inspiration", "parent", "profiler", "frontier"} & set(ran.out.split())
    assert "nobody was told anything" in call("brief", "seed").out
    assert "#3 of" in call("brief", "best").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("brief",), "brief takes [RUN] N"),
        (("brief", "99"), "has no attempt 99; it has 1 to 3"),
        (("brief", "circles", "first"), "'first' is no attempt"),
        (("brief", "nowhere", "1"), "no run 'nowhere' in exp_env/."),
        (("replay", "nowhere"), "no run 'nowhere' in exp_env/."),
    ],
)
def test_a_mistake_is_one_message_and_status_2(
    call: Call, made: MadeRun, arguments: tuple[str, ...], words: str
) -> None:
    ran = call(*arguments)
    assert (ran.status, words in ran.told) == (2, True), ran.told


def test_limits_of_a_run_that_is_not_over_are_shown() -> None:
    journal = Journal(limits=Limits(open_max=2, attempts_max=7))
    journal.begin()
    progress = shown(
        [*journal.entries, Entry(len(journal.entries) + 1, 0.0, 9.0, AttemptOpened(AttemptId(1), Proposal((SEED,))))]
    )
    assert progress.limits.attempts_max == 7
    assert progress.lanes[AttemptId(1)].stage is Stage.MUTATE
    assert commit_of(0)
