"""Commands under a guard: what comes back, what bounds them, what they are told of the world."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.errors import SandboxFault
from raysearch.process import Confinement, clean_environment, run_guarded, strays, sweep
from raysearch.process.capture import Capture
from raysearch.protocols import Completed

PYTHON = [sys.executable, "-I", "-S", "-c"]


def sh(script: str, folder: Path, **more: object) -> Completed:
    options = {"cwd": folder, "env": clean_environment(), "timeout_s": 60.0, "grace_s": 0.1, **more}
    return run_guarded(["sh", "-c", script], **options)  # type: ignore[arg-type]


def test_output_and_status_come_back(tmp_path: Path) -> None:
    done = sh("echo out; echo err >&2; pwd; exit 3", tmp_path)
    assert done.status == 3
    assert done.stdout == f"out\n{tmp_path}\n"
    assert done.stderr == "err\n"
    assert (done.ended_by, done.leftovers) == ("", ())
    assert done.took_s > 0


def test_a_signal_is_a_negative_status(tmp_path: Path) -> None:
    assert sh("kill -KILL $$", tmp_path).status == -signal.SIGKILL


def test_output_that_is_not_text_is_kept_as_far_as_it_is(tmp_path: Path) -> None:
    assert sh(r"printf 'a\377b'", tmp_path).stdout == "a�b"


def test_stdin_is_what_is_given_or_empty(tmp_path: Path) -> None:
    assert sh("wc -c", tmp_path, stdin=b"x" * 300_000).stdout.strip() == "300000"
    assert sh("wc -c", tmp_path).stdout.strip() == "0"


def test_a_command_that_cannot_start_says_so_as_a_shell_does(tmp_path: Path) -> None:
    env = clean_environment()
    absent = run_guarded(["no-such-command"], cwd=tmp_path, env=env, timeout_s=60)
    assert absent.status == 127
    assert "no-such-command: No such file" in absent.stderr
    (tmp_path / "text").write_text("not a program")
    refused = run_guarded([str(tmp_path / "text")], cwd=tmp_path, env=env, timeout_s=60)
    assert refused.status == 126
    assert "Permission denied" in refused.stderr
    nowhere = run_guarded(["true"], cwd=tmp_path / "absent", env=env, timeout_s=60)
    assert nowhere.status == 127
    assert str(tmp_path / "absent") in nowhere.stderr


def test_the_environment_is_exactly_what_is_given(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "A": "1", "WORD": "ü = x\ny"}
    done = run_guarded(["env", "-0"], cwd=tmp_path, env=env, timeout_s=60)
    assert dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair) == env
    named = run_guarded(["env", "-0"], cwd=tmp_path, env=env, timeout_s=60, run="r")
    assert "RAYSEARCH_RUN=r" in named.stdout.split("\0")


def test_signals_are_as_a_program_expects_them(tmp_path: Path) -> None:
    """Python and the guard ignore some; a command that inherited that would not notice a closed pipe."""
    done = run_guarded(["cat", "/proc/self/status"], cwd=tmp_path, env=clean_environment(), timeout_s=60)
    masks = dict(line.split(":\t") for line in done.stdout.splitlines() if line.startswith("Sig"))
    of_the_c_library = 0b11 << 31  # signals 32 and 33, which nobody else may set; some parents leave them ignored
    assert int(masks["SigIgn"], 16) & ~of_the_c_library == 0
    assert int(masks["SigBlk"], 16) == 0


def test_a_command_inherits_only_the_files_that_it_is_given(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"word")
    os.close(write_end)
    try:
        script = (
            "import os, sys\n"
            "names = os.listdir('/proc/self/fd')\n"
            "still = [int(name) for name in names if os.path.exists('/proc/self/fd/' + name)]\n"
            "print(os.read(int(sys.argv[1]), 9), sorted(still))"
        )
        done = run_guarded(
            [*PYTHON, script, str(read_end)],
            cwd=tmp_path,
            env=clean_environment(),
            timeout_s=60,
            pass_fds=[read_end],
        )
    finally:
        os.close(read_end)
    assert done.stdout == f"b'word' {[0, 1, 2, read_end]}\n"


def test_clean_environment_lets_nothing_through_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "OPENAI_API_KEY", "LD_PRELOAD", "PYTHONPATH", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    env = clean_environment({"MINE": "1"}, home="/h")
    assert set(env) == {"PATH", "LANG", "LC_ALL", "TZ", "HOME", "CUDA_VISIBLE_DEVICES", "MINE"}
    assert (env["HOME"], env["LC_ALL"], env["CUDA_VISIBLE_DEVICES"]) == ("/h", "C.UTF-8", "")
    assert env["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert clean_environment({"CUDA_VISIBLE_DEVICES": "3"})["CUDA_VISIBLE_DEVICES"] == "3"


def test_time_ends_a_command_and_its_children(tmp_path: Path) -> None:
    run = uuid.uuid4().hex
    done = sh("setsid sleep 1000 & exec sleep 1000", tmp_path, timeout_s=0.3, run=run)
    assert done.ended_by == "time"
    assert done.status in (-signal.SIGTERM, -signal.SIGKILL)
    assert not strays(run)


def test_endless_output_ends_a_command(tmp_path: Path) -> None:
    done = sh("yes", tmp_path, output_kb=16)
    assert done.ended_by == "output"
    assert done.stdout.startswith("y\ny\n")
    assert len(done.stdout) < 17 * 1024


def test_long_output_keeps_beginning_and_end(tmp_path: Path) -> None:
    done = sh("seq 1 2000", tmp_path, output_kb=1)
    assert (done.status, done.ended_by) == (0, "")
    assert done.stdout.startswith("1\n2\n3\n")
    assert done.stdout.endswith("1999\n2000\n")
    assert "bytes dropped" in done.stdout


def test_cancelling_ends_a_command(tmp_path: Path) -> None:
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    assert sh("sleep 1000", tmp_path, cancel=cancel).ended_by == "cancelled"


def test_a_watch_ends_a_command_and_names_the_limit(tmp_path: Path) -> None:
    assert sh("sleep 1000", tmp_path, watch=lambda ended: "memory").ended_by == "memory"
    assert sh("true", tmp_path, watch=lambda ended: "memory" if ended else "").ended_by == "memory"


@pytest.mark.parametrize(
    ("script", "limit", "ended_by"),
    [
        ("while :; do :; done", (resource.RLIMIT_CPU, 1), "cpu"),
        ("trap '' XCPU; while :; do :; done", (resource.RLIMIT_CPU, 1), "cpu"),
        ("exec head -c 100000 /dev/zero > big", (resource.RLIMIT_FSIZE, 10_000), "files"),
    ],
)
def test_limits_of_the_kernel_are_named(script: str, limit: tuple[int, int], ended_by: str, tmp_path: Path) -> None:
    done = sh(script, tmp_path, confinement=Confinement(rlimits=(limit,)))
    assert done.status < 0
    assert done.ended_by == ended_by


def test_leftovers_are_named(tmp_path: Path) -> None:
    assert sh("setsid sleep 1000 & until grep -q sleep /proc/$!/comm; do :; done", tmp_path).leftovers == ("sleep",)


def test_an_enclosure_that_fails_is_a_fault_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(SandboxFault, match="exit status 9: no room"):
        sh("true", tmp_path, confinement=Confinement(enclosure=("sh", "-c", "echo no room >&2; exit 9")))
    with pytest.raises(SandboxFault, match="no-such-enclosure"):
        sh("true", tmp_path, confinement=Confinement(enclosure=("no-such-enclosure",)))


def test_many_at_once(tmp_path: Path) -> None:
    answers: dict[int, str] = {}

    def one(number: int) -> None:
        answers[number] = sh(f"echo {number}", tmp_path).stdout

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"{number}\n" for number in range(8)}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = open_files()
    sh("echo", tmp_path)
    sh("sleep 1000", tmp_path, timeout_s=0.05, stdin=b"x")
    with pytest.raises(SandboxFault):
        sh("true", tmp_path, confinement=Confinement(enclosure=("false",)))
    assert open_files() == before


def test_sweep_ends_what_a_dead_driver_left_and_nothing_else() -> None:
    dead, living = uuid.uuid4().hex, uuid.uuid4().hex
    processes = [
        subprocess.Popen(["sleep", "1000"], env={**os.environ, "RAYSEARCH_RUN": run}, start_new_session=True)
        for run in (dead, dead, living)
    ]
    try:
        while len(strays(dead)) < 2 or not strays(living):  # between fork and exec they carry our environment
            time.sleep(0.01)
        assert strays(dead) == sorted(process.pid for process in processes[:2])
        killer = threading.Thread(target=lambda: [process.wait() for process in processes[:2]])
        killer.start()
        assert sweep(dead) == sorted(process.pid for process in processes[:2])
        killer.join()
        assert strays(living) == [processes[2].pid]
        assert sweep(dead) == []
    finally:
        for process in processes:
            process.kill()
            process.wait()


@given(st.lists(st.binary(max_size=50)), st.integers(2, 40))
def test_capture_keeps_beginning_and_end(pieces: list[bytes], limit: int) -> None:
    capture = Capture(limit)
    for piece in pieces:
        capture.add(piece)
    whole = b"".join(pieces)
    assert capture.total_bytes == len(whole)
    half = limit // 2
    if len(whole) <= 2 * half:
        assert capture.text() == whole.decode("utf-8", "replace")
        assert capture.dropped_bytes == 0
        return
    dropped = len(whole) - 2 * half
    assert capture.dropped_bytes == dropped
    head, tail = whole[:half].decode("utf-8", "replace"), whole[-half:].decode("utf-8", "replace")
    assert capture.text() == f"{head}\n[... {dropped} bytes dropped ...]\n{tail}"
