"""Leases hold between real processes, whatever becomes of their holders and whatever lies in the folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from raysearch.devices import Gpu, Inventory, Request, aside, inventory, leased
from raysearch.devices.leases import on_cpus
from raysearch.devices.locks import Locks
from raysearch.errors import EvaluatorFault, Void
from raysearch.process import Hold
from raysearch.sandbox import Held, Mount, Sandbox, open_sandbox, warmed
from raysearch.target import SandboxLimits

LINUX = sys.platform == "linux"
TWO = Inventory(gpus=(Gpu("GPU-a", 0), Gpu("GPU-b", 1)))
ONE = Inventory(gpus=TWO.gpus[:1])
A_GPU = Request(cores=0, gpus=1)
SHORT_S = 0.2

PRELUDE = """
import os, sys, time
from pathlib import Path
from raysearch.devices import Gpu, Inventory, Request, leased
folder = Path(sys.argv[1])
def mine(gpus, offered):
    found = tuple(Gpu(f"GPU-{name}", number) for number, name in enumerate(offered))
    return leased(Request(cores=0, gpus=gpus), folder=folder / "locks", offered=Inventory(gpus=found), timeout_s=60)
"""


def start(script: str, folder: Path, *words: str) -> subprocess.Popen[str]:
    code = PRELUDE + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *words], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


@contextmanager
def holder(script: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it holds its device."""
    process = start(script, folder)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def free(folder: Path, offered: Inventory = ONE, timeout_s: float = SHORT_S) -> bool:
    try:
        with leased(A_GPU, folder=folder / "locks", offered=offered, timeout_s=timeout_s):
            return True
    except Void:
        return False


def test_no_two_processes_ever_hold_the_same_device(tmp_path: Path) -> None:
    """Some want one of three devices, some two, some all: nobody finds another's mark, and everybody has a turn."""
    script = """
    gpus, turns = int(sys.argv[2]), int(sys.argv[3])
    sys.stdin.readline()
    for turn in range(turns):
        with mine(gpus, "abc") as lease:
            assert len(lease.devices) == gpus
            for device in lease.devices:
                os.close(os.open(folder / device.name, os.O_CREAT | os.O_EXCL))  # fails where somebody else is
            time.sleep(0.001 * (turn % 3))
            for device in lease.devices:
                (folder / device.name).unlink()
    """
    processes = [start(script, tmp_path, str(gpus), "12") for gpus in (1, 1, 2, 2, 3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0


def test_a_killed_holder_frees_its_device_at_once(tmp_path: Path) -> None:
    with holder("with mine(1, 'a'): print('held', flush=True); time.sleep(60)", tmp_path) as process:
        assert not free(tmp_path)
        assert free(tmp_path, TWO)  # the other one is not concerned
        process.kill()
        process.wait()
        assert free(tmp_path)


def test_who_waits_is_told_who_has_it(tmp_path: Path) -> None:
    script = """
    found = Inventory(gpus=(Gpu("GPU-a", 0),))
    with leased(Request(cores=0, gpus=1), folder=folder / "locks", offered=found, label="night"):
        print("held", flush=True)
        time.sleep(60)
    """
    with (
        holder(script, tmp_path) as process,
        pytest.raises(Void, match=rf"gpu-a is held by night, process {process.pid} of ") as caught,
        leased(A_GPU, folder=tmp_path / "locks", offered=ONE, timeout_s=SHORT_S),
    ):
        pass
    assert caught.value.retryable


def test_a_child_that_outlives_its_holder_keeps_the_device(tmp_path: Path) -> None:
    script = """
    with mine(1, "a"):
        child = os.fork()
        if child == 0:
            time.sleep(60)
        print("held", flush=True)
        print(child, flush=True)
        time.sleep(60)
    """
    with holder(script, tmp_path) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        assert not free(tmp_path)
        os.kill(child, signal.SIGKILL)
        assert free(tmp_path, timeout_s=30.0)


def test_a_guard_keeps_the_device_until_nothing_is_left_of_its_command(tmp_path: Path) -> None:
    """The holder dies; its command asks for time to end; nobody has the device before it has ended."""
    script = """
    import sys
    from raysearch.process import Confinement, run_guarded
    command = f"trap '' TERM; echo $$ > {folder}/pid; echo held >&2; while :; do sleep 0.01; done"
    with mine(1, "a") as lease:
        run_guarded(["sh", "-c", f"{command} & wait"], cwd=folder, env=dict(os.environ), timeout_s=60, grace_s=0.5,
                    confinement=Confinement(hold=lease.hold))
    """
    process = start(script, tmp_path)
    pid_file = tmp_path / "pid"
    while not (pid_file.exists() and pid_file.read_text().endswith("\n")):
        assert process.poll() is None
        time.sleep(0.01)
    command = int(pid_file.read_text())
    process.kill()
    process.communicate()
    with leased(A_GPU, folder=tmp_path / "locks", offered=ONE, timeout_s=30.0), pytest.raises(ProcessLookupError):
        os.kill(command, 0)


def test_leases_in_one_process_exclude_one_another_too(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    with leased(A_GPU, folder=folder, offered=TWO) as one, leased(A_GPU, folder=folder, offered=TWO) as other:
        assert {*one.devices, *other.devices} == set(TWO.gpus)
        assert not free(tmp_path, TWO)
    assert free(tmp_path)


@pytest.mark.parametrize("turn", [False, True])
def test_one_at_a_time_holds_devices_while_it_waits_for_more(tmp_path: Path, turn: bool) -> None:
    """Whose turn it is keeps what it has got, or others would always be quicker; the rest keep nothing."""
    second = Inventory(gpus=TWO.gpus[1:])
    locks = Locks.open(tmp_path / "locks")
    another = None if turn else locks.take("turn", "another search")
    with leased(A_GPU, folder=tmp_path / "locks", offered=ONE):
        waiting = start("with mine(2, 'ab'): print('both', flush=True)", tmp_path)
        assert waiting.stdin is not None
        end_s = time.monotonic() + 60
        while not locks.taken("gpu-b"):  # for a moment at least
            assert time.monotonic() < end_s
        if turn:
            assert not free(tmp_path, second)
        else:
            assert free(tmp_path, second, timeout_s=30.0)
    if another is not None:
        os.close(another)
    assert waiting.communicate()[0] == "both\n"
    locks.close()


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "dangling link"])
def test_what_others_leave_in_the_folder_is_not_touched(tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    Locks.open(tmp_path / "locks").close()
    place = tmp_path / "locks" / "gpu-a"
    match kind:
        case "link":
            place.symlink_to(victim)
        case "hard link":
            place.hardlink_to(victim)
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case _:
            place.symlink_to(tmp_path / "made by the lock")
    with (
        pytest.raises(Void, match="gpu-a is held by cannot be used"),
        leased(A_GPU, folder=tmp_path / "locks", offered=ONE, timeout_s=0.0),
    ):
        pass
    assert free(tmp_path, TWO)  # another one does
    assert victim.read_text() == "precious"
    assert not (tmp_path / "made by the lock").exists()


def test_the_folder_itself_must_be_everybodys_and_no_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(EvaluatorFault, match="must be a folder"):
        Locks.open(tmp_path / "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluatorFault, match="must be a folder"):
        Locks.open(tmp_path / "file")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)  # anybody may remove anybody's locks
    with pytest.raises(EvaluatorFault, match="chmod 1777"):
        Locks.open(tmp_path / "open")
    locks = Locks.open(tmp_path / "new")
    locks.close()
    assert (tmp_path / "new").stat().st_mode & 0o7777 == 0o1777


def test_a_lock_file_that_was_swept_away_is_made_anew(tmp_path: Path) -> None:
    """Who holds a file that has no name any more does not keep others from the new one, nor believes to have it."""
    locks = Locks.open(tmp_path / "locks")
    first = locks.take("core-0", "first")
    assert first is not None
    assert locks.taken("core-0")
    os.close(first)
    (tmp_path / "locks" / "core-0").unlink()
    second = locks.take("core-0", "second\x1b[31m")
    assert second is not None
    assert locks.take("core-0", "third") is None
    assert locks.note("core-0") == "second [31m"  # nothing that a terminal obeys
    os.close(second)
    assert not locks.taken("core-0")
    locks.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="two users are needed")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_users_share_the_locks(umask: int) -> None:
    """Root and somebody else, each with the other's files: Linux refuses some ways of opening those."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        share_the_locks(Path(place), umask)


def share_the_locks(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "locks"

    def as_nobody(expression: str) -> str:
        script = f"""
        from raysearch.devices.locks import Locks
        os.umask({umask})
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        locks = Locks.open(folder / "locks")
        print({expression})
        """
        return start(script, tmp_path).communicate()[0].strip()

    before = os.umask(umask)
    try:
        locks = Locks.open(folder)
        assert as_nobody("locks.take('theirs', '') is not None") == "True"
        number = locks.take("theirs", "mine now")
        assert number is not None
        assert as_nobody("locks.take('theirs', ''), locks.note('theirs')") == "None mine now"
        os.close(number)
        ours = locks.take("ours", "root")
        assert ours is not None
        assert as_nobody("locks.take('ours', '')") == "None"
        os.close(ours)
        assert as_nobody("locks.take('ours', '') is not None") == "True"
        locks.close()
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("resources", "request_"),
    [
        ({}, Request(1)),
        ({"CPU": 0.25}, Request(1)),
        ({"CPU": 0}, Request(1)),
        ({"CPU": 2.5, "GPU": 0.5}, Request(3, 1)),
        ({"CPU": 4, "GPU": 2, "apple": 1, "memory": 1e9}, Request(4, 2, apple=True)),
    ],
)
def test_fractions_are_whole_devices(resources: dict[str, float], request_: Request) -> None:
    assert Request.of(resources) == request_


def test_what_a_machine_does_not_have_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(EvaluatorFault, match="asks for 3 GPU"), leased(Request(0, 3), folder=tmp_path, offered=TWO):
        pass
    with pytest.raises(EvaluatorFault, match="Apple"), leased(Request(0, apple=True), folder=tmp_path, offered=TWO):
        pass


def test_a_machine_with_fewer_cores_gives_all_that_it_has(tmp_path: Path) -> None:
    here = inventory(environ={"CUDA_VISIBLE_DEVICES": ""})
    with leased(Request(cores=10_000), folder=tmp_path / "locks", offered=here) as lease:
        assert len(lease.cores) == len(here.cores)
        assert not lease.whole
        assert "fewer" in lease.provenance()["cores"]


@pytest.mark.skipif(not LINUX, reason="affinity is Linux's")
def test_a_search_keeps_to_its_own_mask(tmp_path: Path) -> None:
    """What a cpuset or a batch system leaves to a process is all that it leases."""
    one = max(os.sched_getaffinity(0))
    with on_cpus({one}):
        assert [core.cpus for core in inventory().cores] == [(one,)]
        with leased(folder=tmp_path / "locks") as lease:
            assert lease.affinity == (one,)
            assert os.sched_getaffinity(0) == {one}  # nowhere else to go


@pytest.mark.skipif(not LINUX, reason="affinity is Linux's")
def test_other_work_is_kept_off_what_is_leased(tmp_path: Path) -> None:
    folder, before = tmp_path / "locks", os.sched_getaffinity(0)
    with leased(folder=folder) as lease:
        rest = before - set(lease.affinity) or before
        assert os.sched_getaffinity(0) == rest
        with lease.pinned():
            assert os.sched_getaffinity(0) == set(lease.affinity)
        assert os.sched_getaffinity(0) == rest
        with on_cpus(before), aside(folder=folder) as hold:  # as another process would
            assert os.sched_getaffinity(0) == set(hold.cpus) == rest
    assert os.sched_getaffinity(0) == before
    with aside(folder=folder) as hold:
        assert set(hold.cpus) == before
    first, last = inventory().cores[0], inventory().cores[-1]
    with aside(folder=folder, reserved=1) as hold:
        assert last.cpus[0] not in hold.cpus or first == last
    with leased(folder=folder) as lease:
        assert lease.cores == (last,)  # which is the one that leases take first
    assert os.sched_getaffinity(0) == before


@pytest.fixture(params=["none", "bubblewrap", "landlock", "warm bubblewrap", "warm landlock"])
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sandbox]:
    warm, _, kind = request.param.rpartition(" ")
    with ExitStack() as stack:
        box = open_sandbox(kind)
        (tmp_path / "program").mkdir()
        if warm:
            box = stack.enter_context(warmed(box, ["json"], readable=[tmp_path], writable=[]))
        yield box


@pytest.mark.skipif(not LINUX, reason="affinity is Linux's")
def test_a_command_is_kept_to_its_cores_and_never_sees_the_locks(sandbox: Sandbox, tmp_path: Path) -> None:
    program = tmp_path / "program"
    (program / "look.py").write_text(
        "import os\n"
        "print(sorted(os.sched_getaffinity(0)), os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "for number in range(3, 100):\n"
        "    try:\n"
        "        print(number, os.fstat(number))\n"
        "    except OSError:\n"
        "        pass\n"
        "sum(range(10**6))\n"
    )
    mount = Mount(program, "/candidate")
    offered = Inventory(inventory().cores, ONE.gpus)
    with leased(Request(1, 1), folder=tmp_path / "locks", offered=offered) as lease:
        held = Held(sandbox, lease.hold)
        for _ in range(2):
            done = held.run(
                [sys.executable, f"{held.inside(mount)}/look.py"],
                cwd=mount,
                readable=[mount],
                env={"CUDA_VISIBLE_DEVICES": ""},
                limits=SandboxLimits(),
                timeout_s=60.0,
            )
            assert (done.status, done.stderr) == (0, "")
            assert done.stdout == f"{sorted(lease.affinity)} GPU-a\n"
        spent_s = lease.spending.cpu_s
        assert spent_s > 0
        assert lease.spending.roots == ()
        assert not free(tmp_path)
    assert free(tmp_path)  # no guard, and no zygote, kept it


def test_a_hold_of_its_own_goes_before_the_sandboxs() -> None:
    seen: list[Hold] = []

    class Recording:
        name = "none"

        def inside(self, mount: Mount) -> str:
            return mount.inside

        def run(self, command: object, *, hold: Hold, **_: object) -> None:
            seen.append(hold)

    usual, other = Hold(cpus=(0,)), Hold(cpus=(1,))
    held = Held(Recording(), usual)  # type: ignore[arg-type]
    for words in ({}, {"hold": other}):
        with suppress(TypeError):
            held.run([], cwd=Mount(Path(), "/"), env={}, limits=SandboxLimits(), timeout_s=1.0, **words)
    assert seen == [usual, other]
