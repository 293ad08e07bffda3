"""What a person types while a run is driven; a driver of our own reads the inbox, acts, and answers."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cli_runs import MadeRun
from test_cli import Ran
from test_cli import call as call  # noqa: PLC0414 - a fixture

from raysearch.board import Action, Author, Board, Filing, Kind
from raysearch.facts import Filed, Steered
from raysearch.helm import Helm, heard
from raysearch.inbox import Inbox
from raysearch.ledger import RunLock
from raysearch.steering import Command
from raysearch.types import Limits

NAME = "20261127-120000-circles"


@dataclass
class Driver:
    """Holds the run's lock, writes down what it is told, and answers."""

    made: MadeRun
    helm: Helm = field(default_factory=Helm)
    board: Board = field(default_factory=Board)

    def drive(self, ended: threading.Event) -> None:
        lock, box = RunLock(self.made.path), Inbox(self.made.path)
        while not ended.is_set():
            for name, command in box.take():
                entry = self.made.journal.add(Steered(command))
                self.made.save()
                heard(entry, self.helm, self.board)
                box.answer(name, self.helm.receipts[name])
            ended.wait(0.005)
        lock.release()

    @property
    def told(self) -> list[Command]:
        return [entry.fact.command for entry in self.made.journal.entries if isinstance(entry.fact, Steered)]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeRun:
    monkeypatch.chdir(tmp_path)
    return MadeRun(tmp_path / "exp_env", NAME).begin()


@pytest.fixture
def run(made: MadeRun) -> Path:
    return made.path


@pytest.fixture
def driver(made: MadeRun) -> Iterator[Driver]:
    driver, ended = Driver(made), threading.Event()
    thread = threading.Thread(target=driver.drive, args=(ended,))
    thread.start()
    yield driver
    ended.set()
    thread.join()


def ok(ran: Ran) -> Ran:
    assert (ran.status, ran.err) == (0, "")
    return ran


def test_a_run_is_paused_steered_and_stopped(driver: Driver, call: Any) -> None:
    assert ok(call("pause", "circles", "--reason", "lunch")).out == f"{NAME}: no more work is handed out\n"
    assert driver.helm.paused
    ok(call("unpause", NAME))
    assert not driver.helm.paused
    said = ok(call("steer", "latest", "try SIMD", "--role", "implementer", "--lineage", "east", "--json")).object
    assert (said["run"], said["ok"], said["seq"]) == (NAME, True, len(driver.made.journal.entries))
    ok(call("stop", NAME))
    assert driver.helm.stop == "told to stop"
    assert [command.kind.value for command in driver.told] == ["pause", "unpause", "message", "stop"]
    pause, _, message, _ = driver.told
    assert (pause.text, message.text, message.role, message.lineage) == ("lunch", "try SIMD", "implementer", "east")
    assert message.id == said["id"]
    assert "@" in message.sender


def test_limits_change(driver: Driver, call: Any) -> None:
    time = ("--budget-time", "1h30m", "--budget-gpu-time", "2h")
    ok(call("budget", NAME, "--max-candidates", "50", *time, "--budget-usd", "12.5", "--lanes", "4"))
    assert driver.helm.limits == Limits(4, 50, 5400.0, 12.5, gpu_s=7200.0)
    ok(call("budget", NAME, "--budget-usd", "none", "--budget-tokens", "9000"))
    assert driver.helm.limits == Limits(4, 50, 5400.0, None, tokens=9000, gpu_s=7200.0)


def test_a_person_files_comments_and_decides(driver: Driver, call: Any) -> None:
    assert ok(call("issues", NAME)).out == "no issue yet\n"
    words = ["--kind", "perf", "--body", "line 1\n\tline 2 \x1b[2J", "--evidence", "40 ms"]
    assert ok(call("issues", NAME, "new", "too slow", *words, "--json")).object["issue"] == 1
    ok(call("issues", NAME, "new", "wrong", "--kind", "bug", "--priority", "-2"))
    ok(call("issues", NAME, "new", "worse", "--kind", "bug"))
    ok(call("issues", NAME, "comment", "1", "seen on both machines"))
    ok(call("issues", NAME, "priority", "2", "-3"))
    ok(call("issues", NAME, "close", "3", "--done", "--reason", "mended"))
    listed = [line.split() for line in ok(call("issues", NAME, "list")).out.splitlines()]
    assert listed == [
        ["kind", "status", "priority", "attempts", "title"],
        ["#2", "bug", "open", "-3", "wrong"],
        ["#1", "perf", "open", "too", "slow"],
        ["#3", "bug", "done", "worse"],
    ]
    page = ok(call("issues", NAME, "show", "1")).out
    assert "line 1\n   line 2 \\x1b[2J" in page
    assert "  seen on both machines" in page
    assert ok(call("issues", NAME, "show", "3", "--json")).object["status"] == "done"
    assert [row["number"] for row in ok(call("issues", "--json", NAME)).object["issues"]] == [2, 1, 3]
    only = ok(call("issues", NAME, "list", "--kind", "bug", "--status", "open", "--json")).object
    assert [row["number"] for row in only["issues"]] == [2]
    assert ok(call("issues", NAME, "list", "--kind", "feature")).out == "no such issue\n"
    ok(call("issues", NAME, "reopen", "3"))
    assert {command.filing.author.role for command in driver.told if command.filing} == {"person"}
    assert driver.board.issues[1].evidence == "40 ms"


def test_what_the_driver_refuses_is_said(driver: Driver, call: Any) -> None:
    ran = call("issues", NAME, "close", "7")
    assert (ran.status, ran.out) == (2, "")
    assert f"{NAME}: there is no issue 7; there is none yet" in ran.err
    assert "has no issue 7" in call("issues", NAME, "show", "7").err


def test_a_text_is_read_from_standard_input(driver: Driver) -> None:
    words = [sys.executable, "-c", "from raysearch.cli import main; main()", "steer", NAME, "-"]
    done = subprocess.run(words, input="two\nlines — ü\n".encode(), capture_output=True, check=True)
    assert done.stdout.decode() == f"{NAME}: it stands in the briefs from now on\n"
    assert driver.told[0].text == "two\nlines — ü\n"


def test_where_nobody_drives_it_says_so_and_nothing_is_left(run: Path, call: Any) -> None:
    ran = call("pause", NAME, "--timeout", "0")
    assert ran.status == 2
    assert f"{NAME} is not being driven" in ran.err
    assert "raysearch resume" in ran.err
    assert Inbox(run).take() == []


def test_without_waiting_it_is_left_for_the_next_driver(run: Path, call: Any) -> None:
    left = ok(call("steer", NAME, "later", "--no-wait", "--json")).object
    assert left["ok"] is None
    assert ok(call("issues", NAME, "new", "later too", "--no-wait")).out.startswith(f"left in the inbox of {NAME}, as ")
    taken = Inbox(run).take()
    assert (taken[0][0], taken[0][1].text) == (left["id"], "later")
    assert taken[1][1].filing is not None


def test_a_driver_that_is_busy_keeps_the_command(run: Path, call: Any) -> None:
    lock = RunLock(run)
    ran = call("pause", NAME, "--timeout", "0")
    assert ran.status == 2
    assert "has not answered within 0 s; the command stays" in ran.err
    assert len(Inbox(run).take()) == 1
    lock.release()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("pause", "sircles"), "no run 'sircles'"),
        (("pause",), "Missing argument 'RUN'"),
        (("steer", NAME, " "), "a message needs a text"),
        (("steer", NAME, "x", "--role", "juge"), "no role 'juge'. Did you mean 'judge'?"),
        (("budget", NAME), "budget needs at least one of --max-candidates"),
        (("budget", NAME, "--lanes", "none"), "--lanes must have a value"),
        (("budget", NAME, "--lanes", "two"), "'two' is not a whole number, nor none"),
        (("budget", NAME, "--budget-usd", "-1"), "--budget-usd must be a number from 0 on"),
        (("budget", NAME, "--budget-time", "soon"), "is no duration"),
        (("issues", NAME, "lst"), "no command 'lst'. Did you mean 'list'?"),
        (("issues", NAME, "new", "x", "--kind", "bugs"), "Did you mean 'bug'?"),
        (("issues", NAME, "new", " "), "an issue needs a title"),
        (("issues", NAME, "priority", "1", "5000"), "is not within"),
        (("issues", NAME, "show", "x"), "not a valid integer"),
        (("issues", NAME, "list", "--runs-dir", "elsewhere"), "no runs in elsewhere/"),
    ],
)
def test_mistakes_are_answered_and_send_nothing(run: Path, arguments: tuple[str, ...], told: str, call: Any) -> None:
    ran = call(*arguments)
    assert ran.status == 2
    assert told in ran.err
    assert "Traceback" not in ran.err
    assert Inbox(run).take() == []


def test_a_run_says_what_was_made_of_it(driver: Driver, call: Any) -> None:
    assert "issues" not in ok(call("show", NAME)).out
    ok(call("issues", NAME, "new", "too slow", "--kind", "perf"))
    ok(call("budget", NAME, "--max-candidates", "77"))
    ok(call("pause", NAME))
    page = ok(call("show", NAME)).out
    assert "issues     1 open" in page
    assert "77 candidates" in page
    assert f"paused: `raysearch unpause {NAME}` lets it go on" in page
    found = ok(call("show", NAME, "--json")).object
    assert (found["status"], found["limits"]["attempts_max"], found["issues"]["open"]) == ("paused", 77, 1)
    ok(call("unpause", NAME))
    assert ok(call("show", NAME, "--json")).object["status"] == "open"


def test_what_an_agent_wrote_moves_no_cursor(made: MadeRun, call: Any) -> None:
    evil = Filing(Action.CREATE, Author("judge\x1b[2J"), kind=Kind.BUG, title="a\x1b[2Jb", text="\x1b[2J\r\n\x9b2J")
    made.journal.add(Filed(evil))
    made.journal.add(Filed(replace(evil, action=Action.CLAIM, issue=1)))
    made.save()
    for words in (("issues", NAME), ("issues", NAME, "show", "1")):
        out = ok(call(*words)).out
        assert all(character.isprintable() or character == "\n" for character in out)
    assert ok(call("issues", NAME, "show", "1", "--json")).object["status"] == "in_progress"
