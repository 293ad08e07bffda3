"""The journal and its lock on real files, with real processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raysearch.codec import encode
from raysearch.errors import LedgerError, RunError
from raysearch.facts import Entry, SessionClosed
from raysearch.ledger import JOURNAL, FileLedger, Owner, RunLock, read_journal, read_lines, torn_tail

LINES = [encode(Entry(seq, 1e9 + seq, float(seq), SessionClosed(f"reason {seq} é"))) for seq in range(1, 6)]


def entry(seq: int) -> Entry:
    return Entry(seq, 1e9 + seq, float(seq), SessionClosed(f"reason {seq} é"))


def written(folder: Path, data: bytes) -> Path:
    path = folder / JOURNAL
    path.write_bytes(data)
    return path


# -- appending ----------------------------------------------------------------------------------------------


def test_every_line_is_synced_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (sync(fd), synced.append(os.fstat(fd).st_size))[0])
    with FileLedger(tmp_path / JOURNAL) as ledger:
        for seq in range(1, 6):
            ledger.append(entry(seq))
            assert (tmp_path / JOURNAL).read_bytes() == b"".join(LINES[:seq])
    assert synced == [len(b"".join(LINES[:seq])) for seq in range(1, 6)]


def test_a_new_journal_s_name_is_synced_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (sync(fd), synced.append(Path(f"/proc/self/fd/{fd}").readlink()))[0])
    FileLedger(tmp_path / JOURNAL).close()
    assert tmp_path.resolve() in synced


def test_replay_gives_what_was_appended_and_appending_goes_on(tmp_path: Path) -> None:
    for seq in range(1, 4):
        with FileLedger(tmp_path / JOURNAL) as ledger:
            assert [e.seq for e in ledger.replay()] == list(range(1, seq))
            ledger.append(entry(seq))
    assert list(read_journal(tmp_path / JOURNAL)) == [entry(1), entry(2), entry(3)]
    assert list(tmp_path.glob("journal.torn-*")) == []


def test_a_journal_that_cannot_be_opened_or_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"journal.jsonl: No such file or directory"):
        FileLedger(tmp_path / "nowhere" / JOURNAL)
    with pytest.raises(LedgerError, match=r"journal.jsonl: No such file or directory"):
        list(read_journal(tmp_path / JOURNAL))


def test_a_failed_sync_leaves_nothing_of_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FileLedger(tmp_path / JOURNAL) as ledger:
        ledger.append(entry(1))

        def broken(fd: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            with pytest.raises(LedgerError, match="Input/output error"):
                ledger.append(entry(2))
        assert (tmp_path / JOURNAL).read_bytes() == LINES[0]
        ledger.append(entry(2))
    assert list(read_journal(tmp_path / JOURNAL)) == [entry(1), entry(2)]


FULL = """
import resource, signal, sys
from pathlib import Path
from raysearch.errors import LedgerError
from raysearch.facts import Entry, SessionClosed
from raysearch.ledger import FileLedger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with FileLedger(Path(sys.argv[1])) as ledger:
    for seq in range(1, 1000):
        try:
            ledger.append(Entry(seq, 0.0, 0.0, SessionClosed("x" * seq)))
        except LedgerError as error:
            print(seq, error)
            break
"""


def test_a_disk_that_takes_no_more_is_an_error_and_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    seq, _, message = done.stdout.strip().partition(" ")
    assert message == f"{path}: File too large"
    assert path.read_bytes().endswith(b"\n")
    assert [e.seq for e in read_journal(path)] == list(range(1, int(seq)))
    with FileLedger(path) as ledger:  # once there is room
        ledger.append(Entry(int(seq), 0.0, 0.0, SessionClosed("room again")))
    assert sum(1 for _ in read_journal(path)) == int(seq)


# -- torn tails ---------------------------------------------------------------------------------------------

TORN = {
    "a part of a line": LINES[2][:20],
    "a line without its end": LINES[2][:-1],
    "zeros": bytes(4096),
    "a part of a line and zeros": LINES[2][:20] + bytes(100),
    "a whole line's end lost in zeros": LINES[2][:-10] + bytes(9) + b"\n",
    "one byte": b"{",
}


@pytest.mark.parametrize("what", TORN)
def test_a_torn_tail_never_happened_and_is_kept_aside(tmp_path: Path, what: str) -> None:
    path = written(tmp_path, LINES[0] + LINES[1] + TORN[what])
    assert list(read_journal(path)) == [entry(1), entry(2)]  # whoever only reads sees the same
    with FileLedger(path) as ledger:
        assert list(ledger.replay()) == [entry(1), entry(2)]
        ledger.append(entry(3))
    assert path.read_bytes() == b"".join(LINES[:3])
    assert (tmp_path / "journal.torn-1").read_bytes() == TORN[what]
    written(tmp_path, LINES[0] + TORN[what])
    FileLedger(path).close()
    assert (tmp_path / "journal.torn-2").read_bytes() == TORN[what]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.integers(0, len(b"".join(LINES))), zeros=st.integers(0, 3))
def test_a_cut_at_any_byte_keeps_every_whole_line(tmp_path: Path, kept: int, zeros: int) -> None:
    path = written(tmp_path, b"".join(LINES)[:kept] + bytes(zeros))
    whole = b"".join(LINES)[:kept].count(b"\n")
    with FileLedger(path) as ledger:
        assert [e.seq for e in ledger.replay()] == list(range(1, whole + 1))
        ledger.append(entry(whole + 1))
    assert [e.seq for e in read_journal(path)] == list(range(1, whole + 2))


def test_whole_lines_have_no_torn_tail() -> None:
    assert torn_tail(b"") == b""
    assert torn_tail(LINES[0]) == b""
    assert torn_tail(b"".join(LINES)) == b""


# -- damage -------------------------------------------------------------------------------------------------

DAMAGED = {
    "bytes changed": ([LINES[0], b"#" + LINES[1], LINES[2]], "journal.jsonl:2: "),
    "zeros in the middle": ([LINES[0], LINES[1][:9] + bytes(9) + LINES[1][18:], LINES[2]], r"jsonl:2: damaged: zero"),
    "a line missing": ([LINES[0], LINES[2]], "jsonl:2: entry 3 where 2 was due: lines are missing or doubled"),
    "a line doubled": ([LINES[0], LINES[0], LINES[1]], "jsonl:2: entry 1 where 2 was due"),
    "an unknown fact": (
        [LINES[0], LINES[1].replace(b"session_closed", b"sessions_shut"), LINES[2]],
        "jsonl:2: unknown",
    ),
    "another version": ([LINES[0].replace(b'"v":1', b'"v":9'), LINES[1]], "jsonl:1: journal format 9"),
    "a damaged last line": ([LINES[0], b"{}\n"], "jsonl:2: "),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_line_is_named_by_its_number(tmp_path: Path, what: str) -> None:
    lines, says = DAMAGED[what]
    path = written(tmp_path, b"".join(lines))
    with pytest.raises(LedgerError, match=says):
        list(read_journal(path))
    with FileLedger(path) as ledger, pytest.raises(LedgerError, match=says):
        list(ledger.replay())
    assert path.read_bytes() == b"".join(lines)  # nothing is repaired behind anyone's back


def test_a_journal_that_grows_while_it_is_read_is_no_damage() -> None:
    """A reader may see a line before its end is written; the rest of it is another read's business."""

    def growing() -> Iterator[bytes]:
        yield LINES[0]
        yield LINES[1][:10]
        yield LINES[1][10:]

    assert list(read_lines(growing())) == [entry(1)]


# -- the lock -----------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from raysearch.ledger import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@contextmanager
def holding(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the run in ``folder``."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_a_second_driver_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with holding(tmp_path) as holder:
        owner = RunLock.owner(tmp_path)
        assert owner is not None
        assert (owner.host, owner.pid) == (os.uname().nodename, holder.pid)
        with pytest.raises(RunError, match=rf"driven by process {holder.pid} on {owner.host}; stop it first"):
            RunLock(tmp_path)
        assert RunLock.owner(tmp_path) == owner  # asking took nothing away


def test_a_dead_driver_s_run_is_taken_over_at_once(tmp_path: Path) -> None:
    with holding(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        lock = RunLock(tmp_path)
        owner = RunLock.owner(tmp_path)
        assert owner is not None
        assert owner.pid == os.getpid()
        lock.release()


def test_a_lock_that_was_let_go_names_nobody(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    lock.release()
    lock.release()  # twice does no harm
    assert RunLock.owner(tmp_path) is None
    RunLock(tmp_path).release()


def test_a_damaged_lock_file_does_not_stop_anyone(tmp_path: Path) -> None:
    (tmp_path / "driver.lock").write_bytes(b"\xff\0 not json")
    assert RunLock.owner(tmp_path) is None
    RunLock(tmp_path).release()


def foreign(folder: Path, age_s: float) -> None:
    """Leave the mark of a driver on another host, made ``age_s`` seconds ago."""
    path = folder / "driver.lock"
    path.write_text('{"host":"far-away","pid":7,"since_s":1.0}')
    os.utime(path, (time.time() - age_s,) * 2)


def test_a_foreign_driver_counts_as_alive_while_it_renews_its_mark(tmp_path: Path) -> None:
    foreign(tmp_path, age_s=5.0)
    with pytest.raises(RunError, match="driven by process 7 on far-away"):
        RunLock(tmp_path, stale_s=3600.0)
    assert RunLock.owner(tmp_path) == Owner("far-away", 7, 1.0)
    foreign(tmp_path, age_s=7200.0)
    lock = RunLock(tmp_path, stale_s=3600.0)
    owner = RunLock.owner(tmp_path)
    assert owner is not None
    assert owner.pid == os.getpid()
    os.utime(tmp_path / "driver.lock", (0, 0))
    lock.renew()
    assert (tmp_path / "driver.lock").stat().st_mtime > 1e9
    lock.release()


def test_the_lock_does_not_pass_to_child_processes(tmp_path: Path) -> None:
    """A child that outlives its driver must not keep the run locked."""
    lock = RunLock(tmp_path)
    child = subprocess.Popen(["sleep", "600"], close_fds=False)
    try:
        lock.release()
        RunLock(tmp_path).release()
    finally:
        child.kill()
        child.wait()
