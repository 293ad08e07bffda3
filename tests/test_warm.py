"""Forked commands are what fresh ones are, program by program, and nothing passes from one to the next."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import toys
import warm_programs as programs
from test_landlock import needs_landlock
from test_sandbox import needs_bubblewrap, reachable_python

from raysearch.config.targets import load_target, snapshot_target
from raysearch.errors import SandboxFault, TargetError
from raysearch.jobs import Job
from raysearch.plugins import PluginSpec
from raysearch.process import Confinement, clean_environment, strays
from raysearch.process.forked import ZYGOTE, Refused, Zygote
from raysearch.protocols import Completed
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.run.search import create
from raysearch.sandbox import Mount, Sandbox, Warm, cgroups, describe, open_sandbox, opening, users, warmed
from raysearch.target import SandboxLimits
from raysearch.types import AttemptId, Stage, Verdict
from raysearch.worker import Worker, WorkerSpec

NORMAL = SandboxLimits()
PATIENCE_S = 60.0
MODULES = ("numpy", "numpy.random")
EACH = [pytest.param("bubblewrap", marks=needs_bubblewrap), pytest.param("landlock", marks=needs_landlock)]
ENV = clean_environment({"OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "7"})
needs_groups = pytest.mark.skipif(cgroups.find() is None, reason="no control groups can be made here")


class Pair:
    """One sandbox, cold and warm, and the same folders for both."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.run_name = uuid.uuid4().hex
        self.cold = open_sandbox(kind, run=self.run_name)
        self.warm = warmed(self.cold, MODULES, readable=[folder / "candidate"], writable=[folder / "jobs"])
        self.folder = folder
        self.candidate = Mount(folder / "candidate", "/candidate")
        self.candidate.source.mkdir()
        (folder / "jobs").mkdir()
        self.scratch = self.candidate

    def play(
        self,
        sandbox: Sandbox,
        script: str,
        *words: str,
        limits: SandboxLimits = NORMAL,
        timeout_s: float = 60.0,
        **more: str,
    ) -> Completed:
        """Run ``script`` with a scratch folder of its own, which is its first argument."""
        (self.candidate.source / "solution.py").write_text(textwrap.dedent(script))
        self.scratch = Mount(self.folder / "jobs" / uuid.uuid4().hex, "/scratch")
        self.scratch.source.mkdir()
        return sandbox.run(
            [sys.executable, "solution.py", sandbox.inside(self.scratch), *words],
            cwd=self.candidate,
            readable=[self.candidate],
            writable=[self.scratch],
            env={**ENV, **more},
            limits=limits,
            timeout_s=timeout_s,
        )

    def settled(self) -> list[int]:
        """Processes of the run once only zygotes are left: keepers end a moment after their last word."""
        end = time.monotonic() + PATIENCE_S
        while len(found := strays(self.run_name)) > len(self.warm._zygotes):
            assert time.monotonic() < end
            time.sleep(0.01)
        return found

    def serves(self) -> bool:
        """Whether there are zygotes, all of them alive."""
        zygotes = self.warm._zygotes.values()
        return bool(zygotes) and all(zygote is not None and zygote.alive for zygote in zygotes)


@pytest.fixture(scope="module", params=EACH)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(request.param, tmp_path_factory.mktemp("pair"))
    with made.warm:
        yield made
    assert strays(made.run_name) == []


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair("bubblewrap", tmp_path_factory.mktemp("boxed"))
    with made.warm:
        yield made
    assert strays(made.run_name) == []


def same(pair: Pair, first: Completed, second: Completed) -> None:
    """Equal in all but the time it took; what differs by design is written alike."""

    def seen(done: Completed) -> Completed:
        clean = [
            re.sub(r"/\S*/jobs/\w+|/tmp/raysearch-[\w-]+(/home)?|0x[0-9a-f]+|\b\d{9,10}\b|Thread-\d+", "*", text)
            for text in (done.stdout, done.stderr)
        ]
        return replace(done, stdout=clean[0], stderr=clean[1], took_s=0.0)

    assert seen(first) == seen(second)


@pytest.mark.parametrize("script", programs.ENDS.values(), ids=programs.ENDS)
def test_it_ends_as_it_would_have(pair: Pair, script: str) -> None:
    answers, late = [], []
    for sandbox in (pair.cold, pair.warm):
        answers.append(pair.play(sandbox, script))
        late.append({file.name: file.read_text() for file in pair.scratch.source.iterdir()})
    same(pair, *answers)
    assert late[0] == late[1]
    assert pair.serves()  # it served


def test_it_finds_the_same_world(pair: Pair) -> None:
    """Arguments, environment, files, limits, rights, mounts, processes, devices, signals."""
    seen = []
    for sandbox in (pair.cold, pair.warm):
        done = pair.play(sandbox, programs.WORLD, "word", "two words", PYTHONDONTWRITEBYTECODE="1", ODD="ä")
        assert done.status == 0, done.stderr
        private = json.loads(done.stdout)["environ"]["HOME"]
        text = done.stdout.replace(str(pair.scratch.source), "SCRATCH")
        seen.append(json.loads(text.replace(private, "PRIVATE") if private != "/tmp" else text))
    cold, warm = seen
    loader = cold["main"].pop("__loader__"), warm["main"].pop("__loader__")
    assert [text.partition(" object")[0] for text in loader] == ["<_frozen_importlib_external.SourceFileLoader"] * 2
    assert {name: (cold[name], warm[name]) for name in cold if cold[name] != warm[name]} == {}


# Held by the same bounds


def bounded(pair: Pair, script: str, limits: SandboxLimits = NORMAL, timeout_s: float = 60.0) -> str:
    """Run cold and warm; how both are described."""
    answers = [pair.play(sandbox, script, limits=limits, timeout_s=timeout_s) for sandbox in (pair.cold, pair.warm)]
    told = [re.sub(r"after \S+ s", "after * s", describe(done, limits)) for done in answers]
    assert told[0] == told[1]
    assert answers[0].ended_by == answers[1].ended_by
    assert len(pair.settled()) == len(pair.warm._zygotes)
    return told[0]


@needs_groups
def test_memory(pair: Pair) -> None:
    script = "hoard = [bytearray(1 << 20) for _ in range(4096)]"
    assert bounded(pair, script, SandboxLimits(memory_mb=96)) == "ended: used more than 96 MB of memory"


@needs_groups
def test_memory_of_many_processes(pair: Pair) -> None:
    script = """
        import os, time
        for _ in range(8):
            if os.fork() == 0:
                hoard = bytearray(b"x") * (24 << 20)
                time.sleep(1000)
        time.sleep(1000)
    """
    assert bounded(pair, script, SandboxLimits(memory_mb=96)) == "ended: used more than 96 MB of memory"


@needs_groups
def test_memory_in_files(boxed: Pair) -> None:
    script = """
        for place in ("/tmp/a", "/dev/shm/a", "/tmp/b", "/dev/shm/b"):
            with open(place, "wb") as file:
                for _ in range(30):
                    file.write(bytes(1 << 20))
    """
    assert bounded(boxed, script, SandboxLimits(memory_mb=96)) == "ended: used more than 96 MB of memory"


@needs_groups
def test_a_fork_bomb(pair: Pair) -> None:
    script = """
        import os, signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            try:
                if os.fork() == 0:
                    os.setsid()
            except OSError:
                pass
    """
    assert bounded(pair, script, SandboxLimits(processes=30)) == "ended: had more than 30 processes at once"


def test_processor_time(pair: Pair) -> None:
    assert bounded(pair, "while True: pass", SandboxLimits(cpu_s=1)) == "ended: used more than 1 s of processor time"


def test_wall_time(pair: Pair) -> None:
    assert bounded(pair, "import time; time.sleep(1000)", timeout_s=0.4) == "ended after * s: time limit"


def test_output(pair: Pair) -> None:
    script = "import sys\nfor _ in range(1024): sys.stdout.write('x' * (1 << 20))"
    assert bounded(pair, script, SandboxLimits(output_kb=64)) == "ended: printed more than 1024 KB"


def test_one_large_file(pair: Pair) -> None:
    script = "import sys\nfile = open(sys.argv[1] + '/big', 'wb')\nfor _ in range(64): file.write(bytes(1 << 20))"
    assert bounded(pair, script, SandboxLimits(file_mb=2)) == "exit status 1: OSError: [Errno 27] File too large"


def test_many_files(pair: Pair) -> None:
    script = "import sys\nfor n in range(5): open(f'{sys.argv[1]}/{n}', 'wb').write(bytes(1 << 20))"
    assert bounded(pair, script, SandboxLimits(file_mb=2)) == "ended: wrote more than 2 MB of files"


def test_a_full_private_folder(boxed: Pair) -> None:
    script = "for n in range(64): open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))"
    assert (
        bounded(boxed, script, SandboxLimits(file_mb=2)) == "exit status 1: OSError: [Errno 28] No space left on device"
    )


def test_a_daemon(pair: Pair) -> None:
    script = """
        import os, signal
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.execvp("sleep", ["sleep", "1000"])
            os._exit(0)
        os.close(writer)
        os.read(reader, 1)
    """
    assert bounded(pair, script) == "left a process running: 'sleep'"


def test_what_it_may_not_touch(pair: Pair) -> None:
    """Everything is tried; what became of each is printed."""
    answers = [pair.play(sandbox, programs.TOUCHES) for sandbox in (pair.cold, pair.warm)]
    told = [dict(line.split(" ", 1) for line in done.stdout.splitlines()) for done in answers]
    for answer in told:
        answer.pop("within")  # where there is no zygote there is no such folder
    assert told[0] == told[1]
    assert not any(outcome.lstrip("-").isdigit() and outcome != "-1" for outcome in told[1].values()), told[1]
    assert [file.name for file in pair.candidate.source.iterdir()] == ["solution.py"]


def test_the_network_is_there_where_it_is_allowed(pair: Pair) -> None:
    script = """
        import socket, sys
        socket.create_connection(("127.0.0.1", int(sys.argv[2])), 10)
        print("reached")
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        for sandbox in (pair.cold, pair.warm):
            done = pair.play(sandbox, script, port, limits=SandboxLimits(network=True))
            assert (done.stdout, done.stderr) == ("reached\n", "")
            assert pair.play(sandbox, script, port).stdout == ""


def test_threads_that_a_library_ends_before_a_fork_come_back(pair: Pair) -> None:
    script = "import numpy\na = numpy.ones((600, 600))\nprint((a @ a)[0, 0])"
    more = {"OPENBLAS_NUM_THREADS": "2"}
    assert [pair.play(sandbox, script, **more).stdout for sandbox in (pair.cold, pair.warm)] == ["600.0\n"] * 2


# From one to the next


def test_nothing_passes_from_one_to_the_next(pair: Pair) -> None:
    """Files, processes, environment, shared memory, queues, keys, names, module state, open files, random numbers."""
    drawn = []
    for _ in range(2):
        left = pair.play(pair.warm, programs.LEAVE)
        assert left.leftovers, left.stderr
        drawn.append(left.stdout)
        done = pair.play(pair.warm, programs.FIND, str(os.nice(0)))
        assert done.status == 0, done.stderr
        world, number = done.stdout.splitlines()
        assert {name: found for name, found in json.loads(world).items() if found} == {}
        drawn.append(number)
    assert drawn[0] == drawn[2]  # seeded by the program itself
    assert drawn[1] != drawn[3]
    assert not Path("/dev/shm/left").exists()


def test_programs_in_a_row_are_different_users(boxed: Pair) -> None:
    if users.find_users() is None:
        pytest.skip("only root's commands run as somebody else")
    seen = {boxed.play(boxed.warm, "import os; print(os.getuid(), os.getgid())").stdout for _ in range(3)}
    assert len(seen) == 3


def test_a_program_cannot_reach_the_process_that_it_came_from(pair: Pair) -> None:
    """Neither by file, nor by signal, nor by its pid, which the owner knows but the program does not."""
    play = pair.play(pair.warm, "print()")
    assert play.status == 0
    pids = [str(pid) for pid in pair.settled()]
    assert pids
    script = """
        import ctypes, os, signal, sys
        libc = ctypes.CDLL(None, use_errno=True)
        for pid in map(int, sys.argv[2:]):
            for attempt in (
                lambda: os.kill(pid, signal.SIGKILL), lambda: open(f"/proc/{pid}/mem", "r+b"),
                lambda: os.listdir(f"/proc/{pid}/fd"), lambda: os.sched_setaffinity(pid, {0}),
                lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
            ):
                try:
                    attempt()
                    print("reached")
                except OSError:
                    pass
            print(libc.ptrace(16, pid, 0, 0), libc.syscall(302, pid, 0, ctypes.byref((ctypes.c_uint64 * 2)(9, 9)), 0))
        try:
            os.kill(-1, signal.SIGKILL)
        except OSError:
            pass
    """
    done = pair.play(pair.warm, script, *pids)
    assert done.stdout == "-1 -1\n" * len(pids)
    assert done.status == 0
    assert [str(pid) for pid in pair.settled()] == pids
    assert pair.serves()


# What is not forked


def cold_reasons(pair: Pair, caplog: pytest.LogCaptureFixture, *command: str, **env: str) -> str:
    caplog.clear()
    with caplog.at_level("DEBUG", "raysearch.sandbox.warm"):
        done = pair.warm.run(
            command,
            cwd=pair.candidate,
            readable=[pair.candidate],
            env={**ENV, **env},
            limits=NORMAL,
            timeout_s=60.0,
        )
    assert (done.status, done.stdout) == (0, "fine\n"), done.stderr
    return caplog.text


def test_what_would_differ_in_a_fork_starts_afresh(
    boxed: Pair, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (boxed.candidate.source / "solution.py").write_text("print('fine')")
    python = sys.executable
    assert "cold" not in cold_reasons(boxed, caplog, python, "solution.py")
    assert "cold" not in cold_reasons(boxed, caplog, python, "/candidate/solution.py")
    assert "not a Python script" in cold_reasons(boxed, caplog, "echo", "fine")
    assert "not a Python script" in cold_reasons(boxed, caplog, python, "-O", "solution.py")
    assert "not a Python script" in cold_reasons(boxed, caplog, python, "-c", "print('fine')")
    assert "PYTHONPATH" in cold_reasons(boxed, caplog, python, "solution.py", PYTHONPATH="/candidate")
    (boxed.candidate.source / "json.py").write_text("raise SystemExit('mine')")
    try:
        assert "json lies beside" in cold_reasons(boxed, caplog, python, "solution.py")
    finally:
        (boxed.candidate.source / "json.py").unlink()
    elsewhere = Mount(tmp_path / "elsewhere", "/elsewhere")
    elsewhere.source.mkdir()
    (elsewhere.source / "solution.py").write_text("print('elsewhere')")
    done = boxed.warm.run(
        [python, "solution.py"], cwd=elsewhere, readable=[elsewhere], env=ENV, limits=NORMAL, timeout_s=60
    )
    assert done.stdout == "elsewhere\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()", "1 threads"),
        ("import os\nkept = os.open('/dev/null', os.O_RDONLY)", "files open: /dev/null"),
        ("import mmap\nkept = mmap.mmap(-1, 4096)", "shared memory"),
        ("import os, time\nif os.fork() == 0: time.sleep(99)", "processes running"),
    ],
)
def test_modules_that_would_be_shared_are_refused(tmp_path: Path, source: str, reason: str) -> None:
    (tmp_path / "left.py").write_text(source)
    env = clean_environment({"PYTHONPATH": str(tmp_path)})
    with pytest.raises(Refused, match=f"left: importing it leaves .*{reason}"):
        Zygote.open(["left"], script=str(ZYGOTE), env=env, run="", confinement=Confinement())


@pytest.mark.parametrize("kind", EACH)
def test_refused_modules_are_imported_afresh_each_time(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> Zygote:
        raise Refused("numpy: importing it leaves 3 threads running")

    monkeypatch.setattr(Zygote, "open", refuse)
    pair = Pair(kind, tmp_path)
    with pair.warm:
        assert [pair.play(pair.warm, "print('fine')").stdout for _ in range(2)] == ["fine\n"] * 2
    assert caplog.text.count("not kept warm: numpy: importing it leaves 3 threads running") == 1


@pytest.mark.parametrize("kind", EACH)
def test_a_module_that_is_not_there_is_named(kind: str, tmp_path: Path) -> None:
    pair = Pair(kind, tmp_path)
    misspelt = warmed(pair.cold, ["numpyy"], readable=[], writable=[tmp_path])
    with misspelt, pytest.raises(SandboxFault, match="cannot import numpyy: ModuleNotFoundError: No module named"):
        pair.play(misspelt, "print()")


def test_without_a_sandbox_nothing_is_kept_warm() -> None:
    with pytest.raises(SandboxFault, match="could reach into the process"):
        warmed(open_sandbox("none"), ["numpy"], readable=[], writable=[])


# Its own life and death


@pytest.mark.parametrize("kind", EACH)
def test_a_zygote_that_dies_is_replaced(kind: str, tmp_path: Path) -> None:
    pair = Pair(kind, tmp_path)
    with pair.warm:
        assert pair.play(pair.warm, "print('fine')").stdout == "fine\n"
        for pid in strays(pair.run_name):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        assert pair.play(pair.warm, "print('fine again')").stdout == "fine again\n"
    assert strays(pair.run_name) == []


@pytest.mark.parametrize("kind", EACH)
def test_nothing_outlives_the_owner(kind: str, tmp_path: Path) -> None:
    run = uuid.uuid4().hex
    owner = subprocess.Popen([sys.executable, "-c", programs.OWNER, kind, run, str(tmp_path)])
    end = time.monotonic() + PATIENCE_S
    try:
        while not (tmp_path / "scratch" / "ready").exists():
            assert owner.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        assert len(strays(run)) >= 3
    finally:
        owner.kill()
        owner.wait()
    while strays(run):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.skipif(os.geteuid() != 0, reason="then all other tests are that")
@pytest.mark.skipif(not reachable_python(), reason="no interpreter that a plain user can reach")
def test_started_by_a_plain_user_it_is_as_tight(kind: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(Path(opening.__file__).parents[1], folder / "raysearch")
        for part in ("candidate", "scratch"):
            (folder / part).mkdir()
        for path in (folder, *folder.iterdir()):
            os.chown(path, users.NOBODY, users.NOBODY)
        done = subprocess.run(
            [reachable_python(), "-c", programs.PLAIN, name, kind],
            user=users.NOBODY,
            group=users.NOBODY,
            extra_groups=[],
            cwd=name,
            env={"PATH": os.environ["PATH"], "HOME": name, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line.split() for line in done.stdout.splitlines()]
    killed = (
        ["done"] if kind == "bubblewrap" else []
    )  # process 1 of its namespace, which the kernel does not let it end
    assert lines == [["0", str(users.NOBODY), "True", "False", *killed, "True"]] * 2, done.stdout + done.stderr


# In a run


def test_a_target_says_what_to_import(tmp_path: Path) -> None:
    toys.make_target(tmp_path / "target", target_toml='[warm]\nimports = ["numpy", "json.decoder"]\n')
    target = load_target(tmp_path / "target")
    assert target.warm == ("numpy", "json.decoder")
    assert snapshot_target(target, tmp_path / "copy").warm == target.warm
    (tmp_path / "target" / "target.toml").write_text('[warm]\nimports = ["my module"]\n')
    with pytest.raises(TargetError, match=r"warm\.imports should name installed modules, which 'my module' is not"):
        load_target(tmp_path / "target")


@needs_bubblewrap
def test_a_worker_evaluates_alike_from_warm_and_from_cold(tmp_path: Path) -> None:
    answers = []
    for number, text in enumerate(("", '[warm]\nimports = ["json", "argparse"]\n')):
        folder = RunFolder.create(tmp_path / f"runs{number}", f"toy-{uuid.uuid4().hex}")
        target = load_target(toys.make_target(tmp_path / f"toy{number}", target_toml=text))
        create(folder, snapshot_target(target, folder.target))
        plugins = {
            (Stage.JUDGE, "accuracy"): PluginSpec("judges", "accuracy", "accuracy"),
            (Stage.BENCHMARK, "benchmark"): PluginSpec("benchmarks", "benchmark", "benchmark"),
        }
        worker = Worker(
            WorkerSpec(folder.identity, 7, folder.workspace, load_target(folder.target), plugins, "bubblewrap")
        )
        base = Repository(folder.workspace).commit_of("origin")
        for stage, plugin in plugins:
            job = Job(AttemptId(1), stage, plugin, base, (base,), opened_at_s=1e9)
            answers.append([worker.perform(job).result for _ in range(2)])
        if text:
            assert isinstance(worker._evaluations, Warm)
            assert len(worker._evaluations._zygotes) == 1  # judge and benchmark share it
        worker.close()
        assert strays(folder.name) == []
    assert answers[:2] == answers[2:]
    assert isinstance(answers[0][0], Verdict)
    assert answers[0][0].passed
