"""Candidates that misbehave: each is contained, named in one sentence, and leaves nothing running."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from raysearch.process import clean_environment, strays
from raysearch.protocols import Completed
from raysearch.sandbox import Mount, Sandbox, cgroups, describe, open_sandbox, owners, rulesets
from raysearch.target import SandboxLimits

NORMAL = SandboxLimits()
PATIENCE_S = 60.0
needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
needs_groups = pytest.mark.skipif(cgroups.find() is None, reason="no control groups can be made here")
needs_landlock = pytest.mark.skipif(rulesets.abi() < rulesets.SCOPED, reason="this kernel's Landlock is too old")
EACH = [
    pytest.param("bubblewrap", marks=needs_bubblewrap),
    pytest.param("landlock", marks=needs_landlock),
    "none",
]


def groups_of(pid: int) -> list[Path]:
    """Control groups of that process of raysearch."""
    pattern = f"**/{cgroups.PREFIX}{owners.identity(pid)}-*"
    while True:
        try:
            return list(cgroups.ROOT.glob(pattern))
        except FileNotFoundError:  # another process's group went away while we looked
            continue


class Arena:
    """A candidate, a checker beside it, a scratch folder; what runs carries a name to be found by."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.run_name = uuid.uuid4().hex
        self.sandbox: Sandbox = open_sandbox(kind, run=self.run_name)
        self.folder = folder
        self.candidate = self._mount("candidate")
        self.checker = self._mount("checker")
        self.scratch = self._mount("scratch")
        (self.checker.source / "check.py").write_text("print('strict')")

    def _mount(self, name: str) -> Mount:
        (self.folder / name).mkdir()
        return Mount(self.folder / name, f"/{name}")

    def play(self, script: str, *words: str, limits: SandboxLimits = NORMAL, timeout_s: float = 60.0) -> Completed:
        """Run ``script`` as the candidate."""
        (self.candidate.source / "solution.py").write_text(textwrap.dedent(script))
        return self.sandbox.run(
            [sys.executable, "-I", "solution.py", *words],
            cwd=self.candidate,
            readable=[self.candidate, self.checker],
            writable=[self.scratch],
            env=clean_environment(),
            limits=limits,
            timeout_s=timeout_s,
        )


def arena(kind: str, folder: Path) -> Iterator[Arena]:
    made = Arena(kind, folder)
    yield made
    assert strays(made.run_name) == []
    assert groups_of(os.getpid()) == []


@pytest.fixture(params=EACH)
def any_of_them(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arena]:
    yield from arena(request.param, tmp_path)


@pytest.fixture
def boxed(tmp_path: Path) -> Iterator[Arena]:
    yield from arena("bubblewrap", tmp_path)


# What it may touch


@needs_bubblewrap
@pytest.mark.parametrize("path", ["/candidate/solution.py", "/checker/check.py", "/usr/bin/env", "/etc/passwd", "/x"])
def test_it_writes_outside_its_folder(boxed: Arena, path: str) -> None:
    done = boxed.play(f"open({path!r}, 'w').write('loose')")
    assert done.status == 1
    assert describe(done).startswith("exit status 1: ")
    assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr


@needs_bubblewrap
def test_it_edits_the_checker(boxed: Arena) -> None:
    done = boxed.play("""
        import os, pathlib, shutil
        tries = [
            lambda: pathlib.Path("/checker/check.py").write_text("print('lenient')"),
            lambda: os.chmod("/checker/check.py", 0o777),
            lambda: os.unlink("/checker/check.py"),
            lambda: os.rename("/checker", "/scratch/checker"),
            lambda: os.symlink("/scratch", "/checker/more"),
            lambda: os.link("/checker/check.py", "/scratch/check.py"),
        ]
        for attempt in tries:
            try:
                attempt()
                print("done")
            except OSError as error:
                print("refused")
    """)
    assert done.stdout.split() == ["refused"] * 6
    assert [(file.name, file.read_text()) for file in boxed.checker.source.iterdir()] == [
        ("check.py", "print('strict')")
    ]


@needs_bubblewrap
def test_it_loosens_its_mounts(boxed: Arena) -> None:
    done = boxed.play("""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        REMOUNT, BIND = 32, 4096
        print(libc.mount(None, b"/checker", None, REMOUNT | BIND, None), libc.umount2(b"/checker", 2))
    """)
    assert done.stdout == "-1 -1\n"


@needs_bubblewrap
def test_it_looks_at_the_machine(boxed: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = uuid.uuid4().hex
    monkeypatch.setenv("SOME_API_KEY", secret)
    (boxed.folder / "secret").write_text(secret)
    done = boxed.play(
        """
        import glob, json, os, sys
        found = []
        for place in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline") + [sys.argv[1]]:
            try:
                found.append(open(place, "rb").read().decode("utf-8", "replace"))
            except OSError:
                pass
        print(json.dumps({
            "text": "".join(found),
            "processes": len(glob.glob("/proc/[0-9]*")),
            "homes": [name for place in ("/root", "/home") if os.path.isdir(place) for name in os.listdir(place)],
            "hidden": [place for place in ("/sys", "/var", "/etc/shadow", "/etc/hostname") if os.path.exists(place)],
            "host": os.uname().nodename,
        }))
        """,
        str(boxed.folder / "secret"),
    )
    seen = json.loads(done.stdout)
    assert secret not in seen["text"]
    assert seen["processes"] == 2  # the guard and the candidate
    assert seen["hidden"] == []
    assert seen["host"] == "sandbox"
    own = [part for place in (sys.prefix, sys.base_prefix) for part in Path(place).parts]
    assert set(seen["homes"]) <= set(own)


@needs_bubblewrap
def test_it_interferes_with_its_guard(boxed: Arena) -> None:
    done = boxed.play("""
        import ctypes, os, signal
        libc = ctypes.CDLL(None)
        PTRACE_ATTACH = 16
        print(libc.ptrace(PTRACE_ATTACH, 1, 0, 0))
        for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
            try:
                os.kill(1, number)
            except PermissionError:
                pass
        try:
            print(os.listdir("/proc/1/fd"))
        except PermissionError:
            print("closed")
        raise SystemExit(6)
    """)
    assert (done.status, done.stdout) == (6, "-1\nclosed\n")


@needs_bubblewrap
def test_it_opens_a_socket(boxed: Arena) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as named:
        named.bind(f"\0{boxed.run_name}")
        named.listen()
        done = boxed.play(
            """
            import socket, sys
            try:
                socket.socket(socket.AF_UNIX).connect("\\0" + sys.argv[2])
                print("reached")
            except OSError as error:
                print(error.strerror)
            socket.create_connection(("127.0.0.1", int(sys.argv[1])))
            """,
            str(server.getsockname()[1]),
            boxed.run_name,
        )
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert done.stdout == "Connection refused\n"
    assert describe(done) == "exit status 1: ConnectionRefusedError: [Errno 111] Connection refused"


# What it may use


@needs_groups
def test_it_forks_ten_thousand_processes(any_of_them: Arena) -> None:
    limits = SandboxLimits(processes=40)
    done = any_of_them.play(
        """
        import os, time
        for _ in range(10_000):
            try:
                if os.fork() == 0:
                    time.sleep(1000)
            except OSError:
                time.sleep(0.01)
        """,
        limits=limits,
    )
    assert done.ended_by == "processes"
    assert describe(done, limits) == "ended: had more than 40 processes at once"


@needs_groups
def test_it_is_a_fork_bomb(any_of_them: Arena) -> None:
    """Every child forks too, ignores SIGTERM and leaves its session."""
    done = any_of_them.play(
        """
        import os, signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            try:
                if os.fork() == 0:
                    os.setsid()
            except OSError:
                pass
        """,
        limits=SandboxLimits(processes=30),
    )
    assert done.ended_by == "processes"


@needs_groups
def test_it_eats_memory(any_of_them: Arena) -> None:
    limits = SandboxLimits(memory_mb=96)
    done = any_of_them.play("hoard = [bytearray(1 << 20) for _ in range(4096)]", limits=limits)
    assert done.ended_by == "memory"
    assert describe(done, limits) == "ended: used more than 96 MB of memory"


@needs_groups
def test_it_eats_memory_in_many_processes(any_of_them: Arena) -> None:
    """None of them alone is over the limit."""
    done = any_of_them.play(
        """
        import os, time
        for _ in range(8):
            if os.fork() == 0:
                hoard = bytearray(b"x") * (24 << 20)
                time.sleep(1000)
        time.sleep(1000)
        """,
        limits=SandboxLimits(memory_mb=96),
    )
    assert done.ended_by == "memory"


@needs_bubblewrap
@needs_groups
def test_it_eats_memory_in_a_memory_file_system(boxed: Arena) -> None:
    done = boxed.play(
        """
        for place in ("/tmp/a", "/dev/shm/a", "/tmp/b", "/dev/shm/b"):
            with open(place, "wb") as file:
                for _ in range(30):
                    file.write(bytes(1 << 20))
        """,
        limits=SandboxLimits(memory_mb=96),
    )
    assert done.ended_by == "memory"


@needs_groups
def test_it_burns_processor_time_in_many_processes(any_of_them: Arena) -> None:
    limits = SandboxLimits(cpu_s=1)
    done = any_of_them.play(
        """
        import os
        for _ in range(3):
            if os.fork() == 0:
                break
        while True:
            pass
        """,
        limits=limits,
    )
    assert done.ended_by == "cpu"
    assert describe(done, limits) == "ended: used more than 1 s of processor time"


def test_it_sleeps_for_ever(any_of_them: Arena) -> None:
    done = any_of_them.play("import time; time.sleep(10_000)", timeout_s=0.5)
    assert done.ended_by == "time"
    assert describe(done).endswith("s: time limit")


def test_it_prints_ten_gigabytes(any_of_them: Arena) -> None:
    limits = SandboxLimits(output_kb=64)
    done = any_of_them.play(
        "import sys\nfor _ in range(10 * 1024): sys.stdout.write('x' * (1 << 20))",
        limits=limits,
    )
    assert done.ended_by == "output"
    assert len(done.stdout) < 66 * 1024
    assert describe(done, limits) == "ended: printed more than 1024 KB"


def test_it_leaves_a_daemon(any_of_them: Arena) -> None:
    done = any_of_them.play("""
        import os, signal, time
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.execvp("sleep", ["sleep", "1000"])
            os._exit(0)
        os.close(writer)
        os.read(reader, 1)  # ends when the daemon has become what it is
    """)
    assert (done.status, done.ended_by) == (0, "")
    assert describe(done) == "left a process running: 'sleep'"


def test_it_fills_the_disk_with_one_file(any_of_them: Arena) -> None:
    place = any_of_them.sandbox.inside(any_of_them.scratch)
    done = any_of_them.play(
        f"file = open({place!r} + '/big', 'wb')\nfor _ in range(64): file.write(bytes(1 << 20))",
        limits=SandboxLimits(file_mb=2),
    )
    assert describe(done) == "exit status 1: OSError: [Errno 27] File too large"
    assert (any_of_them.scratch.source / "big").stat().st_size <= 2 << 20


def test_it_fills_the_disk_with_many_files(any_of_them: Arena) -> None:
    place = any_of_them.sandbox.inside(any_of_them.scratch)
    limits = SandboxLimits(file_mb=2)
    done = any_of_them.play(
        f"""
        import time
        for number in range(5):
            open({place!r} + f"/{{number}}", "wb").write(bytes(1 << 20))
        time.sleep(1000)
        """,
        limits=limits,
    )
    assert done.ended_by == "files"
    assert describe(done, limits) == "ended: wrote more than 2 MB of files"


@needs_bubblewrap
def test_it_fills_the_private_temporary_folder(boxed: Arena) -> None:
    done = boxed.play(
        """
        for number in range(64):
            open(f"/tmp/{number}", "wb").write(bytes(1 << 20))
        """,
        limits=SandboxLimits(file_mb=2),
    )
    assert describe(done) == "exit status 1: OSError: [Errno 28] No space left on device"


# The owner dies


OWNER = """
import sys
from pathlib import Path
from raysearch.process import clean_environment
from raysearch.sandbox import Mount, open_sandbox
from raysearch.target import SandboxLimits

kind, run, folder = sys.argv[1:]
scratch = Mount(Path(folder), "/scratch")
sandbox = open_sandbox(kind, run=run)
place = sandbox.inside(scratch)
sandbox.run(
    ["sh", "-c", f"setsid sh -c 'trap \\"\\" TERM HUP; touch {place}/ready; while :; do sleep 0.2; done' & sleep 1000"],
    cwd=scratch, writable=[scratch], env=clean_environment(), limits=SandboxLimits(), timeout_s=1000,
)
"""


@pytest.mark.parametrize("kind", EACH)
def test_the_owner_is_killed(kind: str, tmp_path: Path) -> None:
    """Nothing keeps running; the next sandbox that is opened removes the empty control group."""
    run = uuid.uuid4().hex
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    owner = subprocess.Popen([sys.executable, "-c", OWNER, kind, run, str(scratch)])
    try:
        end = time.monotonic() + PATIENCE_S
        while not (scratch / "ready").exists():
            assert owner.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        assert len(strays(run)) >= 3
        groups = groups_of(owner.pid)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    while strays(run):
        assert time.monotonic() < end
        time.sleep(0.02)
    open_sandbox("none")
    assert not any(group.exists() for group in groups)
    assert list(Path(tempfile.gettempdir()).glob(f"{owners.PRIVATE}*-{owner.pid}-*")) == []


@needs_bubblewrap
def test_bubblewrap_is_killed(boxed: Arena) -> None:
    """By the machine's own out-of-memory killer, say: the kernel takes process 1 with it, and that everything."""
    (boxed.scratch.source / "run").mkdir()
    process = subprocess.Popen([sys.executable, "-c", OWNER, "bubblewrap", boxed.run_name, str(boxed.scratch.source)])
    end = time.monotonic() + PATIENCE_S
    try:
        while not (boxed.scratch.source / "ready").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 1
        os.kill(int(children[0]), signal.SIGKILL)
        while strays(boxed.run_name):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert process.wait() == 1  # the fault that run() raises
    finally:
        process.kill()
        process.wait()


@needs_bubblewrap
def test_the_search_goes_on_after_all_that(boxed: Arena) -> None:
    boxed.play("import os\nwhile True: os.fork()", limits=SandboxLimits(processes=20))
    done = boxed.play("print('fine')")
    assert (done.status, done.stdout, describe(done)) == (0, "fine\n", "exit status 0")
