"""Commands on their way to a driver: whole, in order, answered, and carried out once, whoever dies in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch import inbox
from raysearch.board import Action, Author, Board, Filing, Refusal
from raysearch.errors import RunError
from raysearch.inbox import Inbox, receipt, send, wait, withdraw
from raysearch.steering import CHANGEABLE, Command, Receipt, Steer, changed, fault
from raysearch.types import Limits

PAUSE = Command(Steer.PAUSE)


def waiting(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "inbox").glob("*.json"))


def answered(folder: Path, name: str) -> Receipt:
    found = receipt(folder, name)
    assert found is not None
    return found


def test_what_is_sent_is_taken_once_in_order_and_answered(tmp_path: Path) -> None:
    commands = [Command(Steer.MESSAGE, text=str(number), role="judge") for number in range(20)]
    names = [send(tmp_path, command) for command in commands]
    driver = Inbox(tmp_path)
    taken = driver.take()
    assert [name for name, _ in taken] == names == sorted(names)
    assert [command.text for _, command in taken] == [command.text for command in commands]
    assert [command.id for _, command in taken] == names
    assert driver.take() == []
    assert waiting(tmp_path) == []
    for name, command in taken:
        assert receipt(tmp_path, name) is None
        driver.answer(name, Receipt(True, command.text, seq=7))
        assert answered(tmp_path, name) == Receipt(True, command.text, seq=7)
    assert driver.take() == []
    assert not list((tmp_path / "inbox" / "taken").iterdir())


def test_order_survives_a_clock_that_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = send(tmp_path, PAUSE)
    monkeypatch.setattr(inbox.time, "time_ns", lambda: 5)
    assert first < send(tmp_path, PAUSE) < send(tmp_path, PAUSE)


def test_a_command_is_carried_out_once_wherever_its_driver_dies(tmp_path: Path) -> None:
    """Before it is recorded, between that and the answer, and after the answer."""
    names = [send(tmp_path, replace(PAUSE, text=text)) for text in ("a", "b", "c")]
    first = Inbox(tmp_path)
    assert len(first.take()) == 3
    first.answer(names[2], Receipt(True, "answered by the first"))
    journal = {names[1]: Receipt(True, "recorded by the first")}
    second = Inbox(tmp_path)
    assert [name for name, _ in second.take(journal)] == [names[0]]
    assert second.take(journal) == []
    assert answered(tmp_path, names[1]).text == "recorded by the first"
    assert answered(tmp_path, names[2]).text == "answered by the first"
    second.answer(names[0], Receipt(True, "by the second"))
    assert Inbox(tmp_path).take(journal) == []


def test_a_driver_that_died_after_answering_left_no_command(tmp_path: Path) -> None:
    name = send(tmp_path, PAUSE)
    Inbox(tmp_path).take()
    copy = (tmp_path / "inbox" / "taken" / f"{name}.json").read_bytes()
    Inbox(tmp_path).answer(name, Receipt(True))
    (tmp_path / "inbox" / "taken" / f"{name}.json").write_bytes(copy)
    assert Inbox(tmp_path).take() == []
    assert not list((tmp_path / "inbox" / "taken").iterdir())


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("half", b'{"kind":"pau', "it is no command"),
        ("other", b'{"kind":"explode"}', "Invalid enum value 'explode'"),
        ("bytes", b"\xff\xfe", "it is no command"),
        ("empty", b"", "it is no command"),
        ("silent", b'{"kind":"message"}', "a message needs a text"),
        ("idle", b'{"kind":"budget"}', "no limit is given"),
        ("alias", b'{"kind":"pause","id":"another"}', "they must be the same"),
        ("large", b" " * (2 << 20), "larger than 1 MB"),
        ("odd name\n", b'{"kind":"pause"}', "is named with letters"),
    ],
)
def test_what_is_no_command_is_answered_and_set_aside(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    driver = Inbox(tmp_path)
    (tmp_path / "inbox" / f"{name}.json").write_bytes(content)
    assert driver.take() == []
    found = answered(tmp_path, name)
    assert not found.ok
    assert told in found.text
    assert (tmp_path / "inbox" / "refused" / f"{name}.json").read_bytes() == content
    assert waiting(tmp_path) == []


def test_what_is_no_file_is_set_aside(tmp_path: Path) -> None:
    driver, secret = Inbox(tmp_path), tmp_path / "secret.json"
    secret.write_text('{"kind":"pause"}')
    (tmp_path / "inbox" / "link.json").symlink_to(secret)
    os.mkfifo(tmp_path / "inbox" / "pipe.json")
    (tmp_path / "inbox" / "folder.json").mkdir()
    (tmp_path / "inbox" / ".hidden.json").write_text("x")
    (tmp_path / "inbox" / ("n" * 250 + ".json")).write_text('{"kind":"pause"}')
    assert driver.take() == []
    assert "cannot be read" in answered(tmp_path, "link").text
    assert "no regular file" in answered(tmp_path, "pipe").text
    assert waiting(tmp_path) == [".hidden.json", "folder.json"]


def test_a_command_by_hand_is_one_too(tmp_path: Path) -> None:
    driver = Inbox(tmp_path)
    (tmp_path / "inbox" / "mine.json").write_text('{"kind":"message","text":"by hand"}')
    assert driver.take() == [("mine", Command(Steer.MESSAGE, id="mine", text="by hand"))]


def test_where_nobody_drives_a_command_is_withdrawn(tmp_path: Path) -> None:
    name = send(tmp_path, PAUSE)
    with pytest.raises(RunError, match=r"not being driven.*withdrawn"):
        wait(tmp_path, name, 0.0, lambda: False)
    assert Inbox(tmp_path).take() == []


def test_where_somebody_drives_it_stays(tmp_path: Path) -> None:
    name = send(tmp_path, PAUSE)
    with pytest.raises(RunError, match="has not answered within 0 s"):
        wait(tmp_path, name, 0.0, lambda: True)
    assert [taken for taken, _ in Inbox(tmp_path).take()] == [name]
    assert not withdraw(tmp_path, name)
    with pytest.raises(RunError, match="took the command and died"):
        wait(tmp_path, name, 0.0, lambda: False)


def test_an_answer_is_waited_for(tmp_path: Path) -> None:
    name = send(tmp_path, PAUSE)
    driver = Inbox(tmp_path)

    def drive(_: float) -> None:
        for taken, command in driver.take():
            driver.answer(taken, Receipt(True, f"{command.kind} done"))

    assert wait(tmp_path, name, 60.0, lambda: True, sleep=drive).text == "pause done"
    late = send(tmp_path, PAUSE)
    taken_late = Inbox(tmp_path)
    taken_late.take()

    def answers_now() -> bool:
        taken_late.answer(late, Receipt(True, "just so"))
        return False

    assert wait(tmp_path, late, 0.0, answers_now).text == "just so"


def test_what_cannot_be_sent_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="a message needs a text"):
        send(tmp_path, Command(Steer.MESSAGE, text="  "))
    with pytest.raises(RunError, match="not whole"):
        send(tmp_path, Command(Steer.MESSAGE, text="\udcff"))
    with pytest.raises(RunError, match="nothing can be sent"):
        send(tmp_path / "absent", PAUSE)
    monkeypatch.setattr(inbox, "PENDING_MAX", 2)
    send(tmp_path, PAUSE)
    send(tmp_path, PAUSE)
    with pytest.raises(RunError, match="2 commands wait"):
        send(tmp_path, PAUSE)


def test_old_answers_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "ANSWERS_MAX", 3)
    names = [send(tmp_path, PAUSE) for _ in range(6)]
    driver = Inbox(tmp_path)
    for name, _ in driver.take():
        driver.answer(name, Receipt(True))
    assert [receipt(tmp_path, name) is not None for name in names] == [False] * 3 + [True] * 3


def test_many_send_at_once(tmp_path: Path) -> None:
    """A driver takes while they send; each order is kept, and nothing is lost or doubled."""
    senders, each = 4, 15

    def one(sender: str) -> None:
        for number in range(each):
            send(tmp_path, Command(Steer.MESSAGE, sender=sender, text=str(number)))

    threads = [threading.Thread(target=one, args=(f"s{number}",)) for number in range(senders)]
    driver, taken = Inbox(tmp_path), []
    for thread in threads:
        thread.start()
    while len(taken) < senders * each:
        for name, command in driver.take():
            taken.append((command.sender, int(command.text)))
            driver.answer(name, Receipt(True))
        if not any(thread.is_alive() for thread in threads) and not waiting(tmp_path):
            break
    for thread in threads:
        thread.join()
    assert sorted(taken) == [(f"s{sender}", number) for sender in range(senders) for number in range(each)]
    for sender in range(senders):
        assert [number for who, number in taken if who == f"s{sender}"] == list(range(each))


DRIVER = """
import sys
from pathlib import Path
from raysearch.inbox import Inbox
from raysearch.steering import Receipt
folder, journal = Path(sys.argv[1]), Path(sys.argv[2])
box = Inbox(folder)
recorded = {line: Receipt(True, "recorded") for line in journal.read_text().split()}
die_at = int(sys.argv[3])
step = 0
def point():
    global step
    step += 1
    if step == die_at:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
point()
for name, command in box.take(recorded):
    point()
    with journal.open("a") as file:
        file.write(name + "\\n")
    point()
    box.answer(name, Receipt(True, "done"))
    point()
"""


def test_killed_anywhere_it_does_nothing_twice(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.touch()
    names = [send(tmp_path, PAUSE) for _ in range(2)]
    statuses = []
    for die_at in (1, 2, 3, 3, 3, 99):
        words = [sys.executable, "-c", DRIVER, str(tmp_path), str(journal), str(die_at)]
        statuses.append(subprocess.run(words, check=False).returncode)
    assert statuses[:3] == [-signal.SIGKILL] * 3
    assert statuses[-1] == 0
    assert journal.read_text().split() == names
    assert all(answered(tmp_path, name).ok for name in names)


LIMITS = st.dictionaries(
    st.sampled_from([*sorted(CHANGEABLE), "silence_s", "open"]),
    st.one_of(st.none(), st.integers(-2, 10**16), st.floats(), st.just(2.0)),
    max_size=4,
)


@given(LIMITS)
def test_limits_that_are_good_change_and_read_back(given_limits: dict[str, int | float | None]) -> None:
    command = Command(Steer.BUDGET, limits=given_limits)
    if fault(command):
        return
    limits = changed(Limits(), command)
    assert {name: getattr(limits, name) for name in given_limits} == given_limits
    assert msgspec.json.decode(msgspec.json.encode(limits), type=Limits) == limits
    assert msgspec.json.decode(msgspec.json.encode(command), type=Command) == command


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"cost": 3}, "Did you mean 'cost_usd'?"),
        ({"open_max": None}, "must have a value"),
        ({"open_max": 0}, "raysearch pause"),
        ({"tokens": 1.5}, "whole number"),
        ({"run_s": float("nan")}, "from 0 on"),
        ({"run_s": -1}, "from 0 on"),
    ],
)
def test_limits_that_are_not_say_why(limits: dict[str, int | float | None], told: str) -> None:
    assert told in fault(Command(Steer.BUDGET, limits=limits))


def test_a_message_is_for_whom_it_is_for() -> None:
    everyone, judges, line = (
        Command(Steer.MESSAGE, text="x", **scope) for scope in ({}, {"role": "judge"}, {"lineage": "east"})
    )
    assert everyone.concerns("judge", "east")
    assert judges.concerns("judge", "")
    assert not judges.concerns("planner", "east")
    assert line.concerns("planner", "east")
    assert not line.concerns("planner", "west")


def test_a_filing_reaches_the_board(tmp_path: Path) -> None:
    filing = Filing(Action.CREATE, Author("person", "ann"), title="do this first", priority=5)
    send(tmp_path, Command(Steer.FILING, filing=filing))
    driver, board = Inbox(tmp_path), Board()
    for name, command in driver.take():
        assert command.filing is not None
        became = board.apply(command.filing, 9)
        assert not isinstance(became, Refusal)
        driver.answer(name, Receipt(True, became.title, became.number, 9))
    assert board.issues[1].author == Author("person", "ann")
    assert json.loads(next((tmp_path / "inbox" / "answers").iterdir()).read_text())["issue"] == 1
    assert "filing is missing" in fault(Command(Steer.FILING))
    assert "needs a title" in fault(Command(Steer.FILING, filing=replace(filing, title="")))
