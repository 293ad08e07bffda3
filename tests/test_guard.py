"""What a guard must never do is leak: whatever ends its owner, nothing of the command's tree may stay."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from raysearch.process import GuardedProcess, clean_environment, strays
from raysearch.process.guarded import GUARD

PATIENCE_S = 60.0

# Leaves a daemon that left its session, ignores SIGTERM and cleared its traces from the process group.
DAEMON = "setsid sh -c 'trap \"\" TERM HUP INT; touch ready; while :; do sleep 0.2; done' & "
OWNER = """
import sys, time
from raysearch.process import GuardedProcess, clean_environment
process = GuardedProcess.start(
    ["sh", "-c", sys.argv[2]], cwd=sys.argv[3], env=clean_environment(), grace_s=0.2, run=sys.argv[1]
)
print("started", flush=True)
{end}
"""


@pytest.fixture
def run() -> str:
    return uuid.uuid4().hex


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def guards(run: str) -> list[int]:
    """Guards of that run, found by their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"run={run}".encode() in words and str(GUARD).encode() in words:
            found.append(int(folder.name))
    return found


def nothing_left(run: str) -> bool:
    return until(lambda: not strays(run) and not guards(run))


def owner(run: str, command: str, folder: Path, end: str = "time.sleep(1000)") -> subprocess.Popen[bytes]:
    """A process that owns a guarded tree, once the tree is up."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(end=end), run, command, str(folder)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    assert until((folder / "ready").exists)
    process.stdout.close()
    return process


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_owner_killed_takes_the_whole_tree(run: str, tmp_path: Path, number: int) -> None:
    process = owner(run, DAEMON + "sleep 1000", tmp_path)
    assert len(strays(run)) >= 3
    process.send_signal(number)
    process.wait()
    assert nothing_left(run)


@pytest.mark.parametrize("end", ["sys.exit(0)", "import os; os._exit(3)", "raise RuntimeError"])
def test_owner_that_leaves_takes_the_whole_tree(run: str, tmp_path: Path, end: str) -> None:
    wait = "import pathlib\nwhile not pathlib.Path(sys.argv[3], 'ready').exists(): time.sleep(0.01)\n"
    with (tmp_path / "owner.err").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER.format(end=wait + end), run, DAEMON + "sleep 1000", str(tmp_path)],
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        process.wait()
    assert (tmp_path / "ready").exists()
    assert nothing_left(run)


def test_owner_and_its_process_group_killed_at_once(run: str, tmp_path: Path) -> None:
    """What Ray does to a worker that ends: its children and its process group are killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(end="time.sleep(1000)"), run, DAEMON + "sleep 1000", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert until((tmp_path / "ready").exists)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert nothing_left(run)


def test_owner_that_dies_with_words_unread(run: str, tmp_path: Path) -> None:
    """The socket then reports a reset instead of an end."""
    ours, theirs = socket.socketpair()
    words = [f"leash={theirs.fileno()}", "grace=0.1", "detach=1", f"cwd={tmp_path}", f"run={run}", "--"]
    with theirs:
        subprocess.run(
            [sys.executable, "-I", "-S", str(GUARD), *words, "sleep", "1000"], pass_fds=[theirs.fileno()], check=True
        )
    assert select.select([ours], [], [], PATIENCE_S)[0]  # its first word lies there
    assert until(lambda: bool(strays(run)))
    ours.close()
    assert nothing_left(run)


def test_terminate_asks_before_it_insists(run: str, tmp_path: Path) -> None:
    command = "trap 'echo asked > asked; exit 7' TERM; touch ready; while :; do sleep 0.05; done"
    with GuardedProcess.start(
        ["sh", "-c", command], cwd=tmp_path, env=clean_environment(), grace_s=PATIENCE_S, run=run
    ) as process:
        assert until((tmp_path / "ready").exists)
        process.terminate()
        ending = process.wait()
    assert ending is not None
    assert ending.status == 7
    assert (tmp_path / "asked").exists()
    assert nothing_left(run)


def test_what_ignores_the_request_is_killed(run: str, tmp_path: Path) -> None:
    command = "trap '' TERM; touch ready; while :; do sleep 0.05; done"
    with GuardedProcess.start(
        ["sh", "-c", command], cwd=tmp_path, env=clean_environment(), grace_s=0.1, run=run
    ) as process:
        assert until((tmp_path / "ready").exists)
        process.terminate()
        ending = process.wait()
    assert ending is not None
    assert ending.status == -signal.SIGKILL
    assert nothing_left(run)


def test_leaving_the_block_ends_the_command(run: str, tmp_path: Path) -> None:
    with GuardedProcess.start(
        ["sh", "-c", DAEMON + "sleep 1000"], cwd=tmp_path, env=clean_environment(), grace_s=0.1, run=run
    ) as process:
        assert process.poll() is None
        assert process.wait(0.0) is None
        assert until((tmp_path / "ready").exists)
    assert process.ending is not None
    assert not strays(run)
    assert nothing_left(run)


def test_leftovers_are_named_and_ended(run: str, tmp_path: Path) -> None:
    with GuardedProcess.start(
        ["sh", "-c", "setsid sleep 1000 & until grep -q sleep /proc/$!/comm; do :; done; exit 3"],
        cwd=tmp_path,
        env=clean_environment(),
        grace_s=0.1,
        run=run,
    ) as process:
        ending = process.wait()
        assert not strays(run)
    assert ending is not None
    assert (ending.status, ending.leftovers) == (3, ("sleep",))
    assert nothing_left(run)


def test_a_child_that_ends_in_a_moment_is_no_leftover(run: str, tmp_path: Path) -> None:
    with GuardedProcess.start(
        ["sh", "-c", "(sleep 0.02) & exit 0"], cwd=tmp_path, env=clean_environment(), run=run
    ) as process:
        ending = process.wait()
    assert ending is not None
    assert ending.leftovers == ()


def test_only_the_leash_ends_a_guard(run: str, tmp_path: Path) -> None:
    with GuardedProcess.start(
        ["sh", "-c", "touch ready; until test -e go; do sleep 0.05; done; exit 5"],
        cwd=tmp_path,
        env=clean_environment(),
        run=run,
    ) as process:
        assert until((tmp_path / "ready").exists)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            for guard in guards(run):
                os.kill(guard, number)
        (tmp_path / "go").touch()
        ending = process.wait()
    assert ending is not None
    assert (ending.status, ending.lost) == (5, False)


def test_a_guard_that_is_killed_is_noticed(run: str, tmp_path: Path) -> None:
    with GuardedProcess.start(["sleep", "1000"], cwd=tmp_path, env=clean_environment(), run=run) as process:
        assert until(lambda: bool(strays(run)))
        (guard,) = guards(run)
        os.kill(guard, signal.SIGKILL)
        ending = process.wait()
    assert ending is not None
    assert ending.lost
    assert nothing_left(run)


def test_a_process_that_moves_all_the_time_is_caught(run: str, tmp_path: Path) -> None:
    """Every few microseconds it forks and only the child lives on, under a new number."""
    hopper = textwrap.dedent("""
        import os, pathlib
        os.setsid() if os.fork() == 0 else None
        pathlib.Path("ready").touch()
        while True:
            if os.fork():
                os._exit(0)
    """)
    with GuardedProcess.start(
        [sys.executable, "-I", "-S", "-c", hopper], cwd=tmp_path, env=clean_environment(), grace_s=0.1, run=run
    ):
        assert until((tmp_path / "ready").exists)
    assert nothing_left(run)


def test_the_account_covers_the_whole_tree(run: str, tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    with GuardedProcess.start(
        ["sh", "-c", '"$0" -I -S -c "$1" & "$0" -I -S -c "$1"; wait', sys.executable, burn],
        cwd=tmp_path,
        env=clean_environment(),
        run=run,
    ) as process:
        ending = process.wait()
    assert ending is not None
    assert ending.status == 0
    assert ending.cpu_s > 0.5
    assert ending.peak_mb > 1
