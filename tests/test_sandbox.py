"""The sandbox as its callers see it: what is mounted where, as whom a command runs, what they are told."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from raysearch.errors import ConfigError, EvaluatorFault, SandboxFault
from raysearch.process import clean_environment
from raysearch.protocols import Completed
from raysearch.sandbox import Mount, Sandbox, cgroups, describe, open_sandbox, opening, owners, read_untrusted
from raysearch.target import SandboxLimits

needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
NORMAL = SandboxLimits()
BOTH = [pytest.param("bubblewrap", marks=needs_bubblewrap), "none"]


class Place:
    """A program's folder and a scratch folder, and a sandbox to run in them."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.candidate = Mount(folder / "candidate", "/candidate")
        self.scratch = Mount(folder / "scratch", "/scratch")
        self.candidate.source.mkdir()
        self.scratch.source.mkdir()

    def run(self, *command: str, limits: SandboxLimits = NORMAL, **env: str) -> Completed:
        return self.sandbox.run(
            command,
            cwd=self.candidate,
            readable=[self.candidate],
            writable=[self.scratch],
            env=clean_environment(env),
            limits=limits,
            timeout_s=60.0,
        )

    def python(self, script: str, *words: str, limits: SandboxLimits = NORMAL) -> Completed:
        return self.run(sys.executable, "-c", script, *words, limits=limits)


@pytest.fixture(params=BOTH)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(open_sandbox(request.param), tmp_path)


@pytest.fixture
def boxed(tmp_path: Path) -> Place:
    return Place(open_sandbox("bubblewrap"), tmp_path)


def test_a_command_runs_among_its_mounts(place: Place) -> None:
    (place.candidate.source / "solution.py").write_text("print('answer')")
    seen = place.sandbox.inside(place.scratch)
    done = place.run("sh", "-c", f"pwd; cat solution.py; echo made > {seen}/out")
    assert (done.status, done.stderr, done.ended_by) == (0, "", "")
    assert done.stdout == f"{place.sandbox.inside(place.candidate)}\nprint('answer')"
    assert (place.scratch.source / "out").read_text() == "made\n"


def test_python_has_its_installed_packages(place: Place) -> None:
    done = place.python("import numpy, sys; print(sys.executable)")
    assert (done.status, done.stdout) == (0, f"{sys.executable}\n")


def test_the_environment_is_what_is_given_with_a_private_home(place: Place) -> None:
    done = place.run("env", "-0", A="1")
    env = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)
    given = clean_environment({"A": "1"})
    home = env.pop("HOME")
    assert env.pop("TMPDIR") == home
    env.pop("PWD", None)
    del given["HOME"]
    assert env == given
    if place.sandbox.name == "none":
        assert not Path(home).exists()


def test_a_bad_command_is_not_a_fault(place: Place) -> None:
    done = place.run("no-such-command")
    assert done.status == 127
    assert "no-such-command" in describe(done)


def test_the_run_is_named_in_the_environment(tmp_path: Path) -> None:
    run = uuid.uuid4().hex
    done = Place(open_sandbox("none", run=run), tmp_path).run("env")
    assert f"RAYSEARCH_RUN={run}\n" in done.stdout


def test_one_sandbox_serves_many_threads(place: Place) -> None:
    answers: dict[int, str] = {}

    def one(number: int) -> None:
        answers[number] = place.run("echo", str(number)).stdout

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"{number}\n" for number in range(6)}


@needs_bubblewrap
def test_readable_mounts_cannot_be_changed(boxed: Place) -> None:
    (boxed.candidate.source / "a").write_text("old")
    done = boxed.run("sh", "-c", "echo new > a; rm -f a; touch b; ln a /scratch/a; echo new > /etc/passwd")
    assert done.status != 0
    assert len(done.stderr.splitlines()) == 5
    assert "Read-only file system" in done.stderr
    assert [(file.name, file.read_text()) for file in boxed.candidate.source.iterdir()] == [("a", "old")]
    assert list(boxed.scratch.source.iterdir()) == []


@needs_bubblewrap
def test_a_file_can_be_mounted_and_a_mount_lies_anywhere(boxed: Place, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("beside")
    (tmp_path / "one").write_text("1")
    done = boxed.sandbox.run(
        ["sh", "-c", "cat /tmp/deep/er/one; ls /tmp/deep/er"],
        cwd=boxed.scratch,
        readable=[Mount(tmp_path / "one", "/tmp/deep/er/one")],
        writable=[boxed.scratch],
        env=clean_environment(),
        limits=SandboxLimits(),
        timeout_s=60,
    )
    assert done.stdout == "1one\n"


@needs_bubblewrap
def test_a_mount_that_is_missing_is_a_fault(boxed: Place, tmp_path: Path) -> None:
    boxed.candidate = Mount(tmp_path / "absent", "/candidate")
    with pytest.raises(SandboxFault, match="absent"):
        boxed.run("true")


@needs_bubblewrap
def test_the_command_has_no_rights(boxed: Place) -> None:
    done = boxed.python(
        "import os\n"
        "print(os.getuid(), os.geteuid(), os.getgroups())\n"
        "print(*[line.strip() for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapPrm', 'NoNew'))])"
    )
    ids, rights = done.stdout.splitlines()
    assert not ids.startswith("0 ")
    assert rights.split() == ["CapPrm:", "0" * 16, "CapEff:", "0" * 16, "NoNewPrivs:", "1"]


@needs_bubblewrap
def test_what_the_command_wrote_belongs_to_us_again(boxed: Place, tmp_path: Path) -> None:
    (tmp_path / "outside").touch()
    done = boxed.run("sh", "-c", f"mkdir -p /scratch/a/b; touch /scratch/a/b/c; ln -s {tmp_path}/outside /scratch/link")
    assert done.status == 0
    for path in (boxed.scratch.source, *boxed.scratch.source.rglob("*")):
        assert path.lstat().st_uid == os.geteuid()
    shutil.rmtree(boxed.scratch.source)


@needs_bubblewrap
@pytest.mark.skipif(os.geteuid() != 0, reason="only root's commands run as somebody else")
def test_a_folder_that_only_root_may_read_is_explained(boxed: Place) -> None:
    boxed.candidate.source.chmod(0o700)
    with pytest.raises(SandboxFault, match=r"can be read by root only.*chmod -R o\+rX"):
        boxed.run("true")


@needs_bubblewrap
def test_a_commands_own_words_are_in_no_other_process(boxed: Place) -> None:
    """A seed among an evaluator's arguments is for that process, which can forget it; its guard has forgotten it."""
    look = """
import glob, os, sys
for place in glob.glob("/proc/[0-9]*/cmdline"):
    if place != f"/proc/{os.getpid()}/cmdline":
        print(place, open(place, "rb").read())
"""
    done = boxed.python(look, "--seed", "987654321")
    assert "/proc/1/cmdline" in done.stdout
    assert done.status == 0, done.stderr
    assert "987654321" not in done.stdout


def test_the_network_is_there_where_it_is_allowed(boxed: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10); print('reached')"
        port = str(server.getsockname()[1])
        assert boxed.python(script, port, limits=SandboxLimits(network=True)).stdout == "reached\n"
        assert boxed.python(script, port).stderr.endswith("Connection refused\n")


PLAIN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from raysearch.process import clean_environment
from raysearch.sandbox import Mount, open_sandbox
from raysearch.target import SandboxLimits

place = Path(sys.argv[1])
candidate, scratch = Mount(place / "candidate", "/candidate"), Mount(place / "scratch", "/scratch")
done = open_sandbox("bubblewrap").run(
    ["sh", "-c", "id -u; touch /scratch/made; touch made; setsid sleep 1000 & "
     "until grep -q sleep /proc/$!/comm; do :; done; unshare --user true"],
    cwd=candidate, readable=[candidate], writable=[scratch],
    env=clean_environment(), limits=SandboxLimits(), timeout_s=60,
)
print(done.status != 0, done.stdout.strip(), done.leftovers, (place / "scratch" / "made").exists())
print(done.stderr)
"""


def reachable_python() -> str:
    """An interpreter outside anybody's home, new enough for us."""
    for place in ("/usr/bin/python3", "/usr/local/bin/python3"):
        asked = [place, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        if Path(place).exists() and subprocess.run(asked, check=False).returncode == 0:
            return place
    return ""


@needs_bubblewrap
@pytest.mark.skipif(os.geteuid() != 0, reason="then all other tests are that")
@pytest.mark.skipif(not reachable_python(), reason="no interpreter that a plain user can reach")
def test_started_by_a_plain_user_it_is_as_tight() -> None:
    user = 65534
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(Path(opening.__file__).parents[1], folder / "raysearch")
        for part in ("candidate", "scratch"):
            (folder / part).mkdir()
        for path in (folder, *folder.iterdir()):
            os.chown(path, user, user)
        done = subprocess.run(
            [reachable_python(), "-c", PLAIN, name],
            user=user,
            group=user,
            extra_groups=[],
            cwd=name,
            env={"PATH": os.environ["PATH"], "HOME": name, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    first, _, rest = done.stdout.partition("\n")
    assert (done.returncode, first) == (0, f"True {user} ('sleep',) True"), done.stderr
    assert "'made': Read-only file system" in rest
    assert "unshare failed" in rest


@pytest.mark.parametrize("kind", ["bubblewrp", "", "docker"])
def test_an_unknown_kind_is_a_users_error(kind: str) -> None:
    with pytest.raises(ConfigError, match="unknown sandbox"):
        open_sandbox(kind)


def test_without_bubblewrap_the_run_refuses_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(opening, "STANDARD_PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="apt install bubblewrap") as caught:
        open_sandbox("bubblewrap")
    assert "--sandbox none" in str(caught.value)
    assert open_sandbox("none").name == "none"


def test_where_bubblewrap_is_forbidden_the_run_says_what_is_in_the_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ConfigError, match="No permissions to create new namespace") as caught:
        open_sandbox("bubblewrap")
    assert "is installed but cannot make a sandbox here" in str(caught.value)
    assert "--sandbox none" in str(caught.value)


# Control groups of version 2, played on ordinary files: few test machines let a test make real ones.


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """A cgroup 2 tree in which a session's own group has no controllers but its parent has."""
    root = tmp_path / "cgroup"
    session = root / "user.slice" / "session.scope"
    session.mkdir(parents=True)
    (root / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (root / "user.slice" / "cgroup.subtree_control").write_text("memory pids\n")
    (session / "cgroup.subtree_control").write_text("\n")
    (tmp_path / "own").write_text("0::/user.slice/session.scope\n")
    return root


def test_version_2_groups_are_made_beside_our_own(
    unified: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {"memory.max", "memory.swap.max", "pids.max", "cgroup.procs", "cgroup.kill"}
    mkdir, rmdir = Path.mkdir, Path.rmdir

    def make(folder: Path) -> None:
        mkdir(folder)
        for name in files:
            (folder / name).touch()

    def remove(folder: Path) -> None:
        for file in folder.glob("*"):
            file.unlink()
        rmdir(folder)

    monkeypatch.setattr(Path, "mkdir", make)
    monkeypatch.setattr(Path, "rmdir", remove)
    home = cgroups.find(unified, tmp_path / "own")
    assert home is not None
    assert home.folders == {"": unified / "user.slice"}
    group = home.create(SandboxLimits(memory_mb=3, processes=7, cpu_s=2))
    (folder,) = group.folders
    assert (folder / "memory.max").read_text() == str(3 * 1024 * 1024)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "pids.max").read_text() == "7"
    assert group.reached() == ""
    (folder / "cpu.stat").write_text("usage_usec 1999999\nuser_usec 1\n")
    (folder / "pids.events").write_text("max 0\n")
    (folder / "memory.events").write_text("low 0\nmax 12\noom 1\noom_kill 0\noom_group_kill 0\n")
    assert group.reached() == ""
    (folder / "cpu.stat").write_text("usage_usec 2000001\n")
    assert group.reached() == "cpu"
    (folder / "pids.events").write_text("max 1\n")
    assert group.reached() == "processes"
    (folder / "memory.events").write_text("oom_kill 1\n")
    assert group.reached() == "memory"
    group.remove()
    assert not folder.exists()


def test_without_controllers_there_are_no_groups(unified: Path, tmp_path: Path) -> None:
    for file in unified.rglob("cgroup.subtree_control"):
        file.write_text("cpuset\n")
    assert cgroups.find(unified, tmp_path / "own") is None
    assert cgroups.find(unified, tmp_path / "absent") is None


def test_groups_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    root = tmp_path / "memory" / "some" / "slice"
    root.mkdir(parents=True)
    mine = owners.identity(os.getpid())
    space, pid, started = mine.split("-")
    names = {
        "living": f"raysearch-{mine}-0a",
        "dead": f"raysearch-{space}-{pid}-{int(started) - 1}-0a",
        "unborn": f"raysearch-{space}-4194304000-1-0a",
        "elsewhere": f"raysearch-1-{pid}-1-0a",
        "other": "raysearch",
    }
    for name in names.values():
        (root / name).mkdir()
    assert {folder.name for folder in cgroups.sweep(tmp_path)} == {names["dead"], names["unborn"]}
    assert {folder.name for folder in root.iterdir()} == {names["living"], names["elsewhere"], names["other"]}


def test_private_folders_of_the_dead_are_removed_and_those_of_the_living_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine = owners.make_private()
    space, pid, started = owners.identity(os.getpid()).split("-")
    dead = tmp_path / f"{owners.PRIVATE}{space}-{pid}-{int(started) - 1}-abc"
    elsewhere = tmp_path / f"{owners.PRIVATE}1-{pid}-1-abc"
    (dead / "closed").mkdir(parents=True)
    (dead / "closed").chmod(0)
    elsewhere.mkdir()
    assert owners.sweep_private() == [dead]
    assert set(tmp_path.iterdir()) == {mine, elsewhere}


DONE = Completed(status=0, stdout="", stderr="", took_s=10.0)
LIMITS = SandboxLimits(memory_mb=512, processes=64, cpu_s=9, output_kb=10, file_mb=7)


@pytest.mark.parametrize(
    ("done", "text"),
    [
        (DONE, "exit status 0"),
        (replace(DONE, ended_by="time"), "ended after 10 s: time limit"),
        (replace(DONE, ended_by="memory", status=-9), "ended: used more than 512 MB of memory"),
        (replace(DONE, ended_by="processes"), "ended: had more than 64 processes at once"),
        (replace(DONE, ended_by="cpu"), "ended: used more than 9 s of processor time"),
        (replace(DONE, ended_by="output"), "ended: printed more than 160 KB"),
        (replace(DONE, ended_by="files"), "ended: wrote more than 7 MB of files"),
        (replace(DONE, ended_by="cancelled"), "ended after 10 s: cancelled"),
        (replace(DONE, leftovers=("sleep",)), "left a process running: 'sleep'"),
        (replace(DONE, leftovers=("a", "a", "b")), "left processes running: 'a', 'b'"),
        (replace(DONE, status=1, stderr="x\nValueError: no\n\n"), "exit status 1: ValueError: no"),
        (replace(DONE, status=-11), "ended by signal SIGSEGV"),
        (replace(DONE, status=-40), "ended by signal 40"),
        (replace(DONE, status=2, leftovers=("a",)), "exit status 2; left a process running: 'a'"),
        (replace(DONE, status=1, stderr="x" * 1000), "exit status 1: " + "x" * 300 + "…"),
    ],
)
def test_endings_are_described_in_one_sentence(done: Completed, text: str) -> None:
    assert describe(done, LIMITS) == text


def test_a_limit_is_described_without_its_figure_too() -> None:
    assert describe(replace(DONE, ended_by="memory")) == "ended: used more than its share of memory"


def test_what_a_candidate_wrote_is_read_with_care(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (folder / "sub" / "result").write_text("fine")
    (folder / "big").write_bytes(b"x" * 2049)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "away").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    assert read_untrusted(folder, "sub/result") == b"fine"
    with pytest.raises(FileNotFoundError):
        read_untrusted(folder, "absent")
    for name in ("link", "away/secret", "pipe", "sub", "../secret", str(tmp_path / "secret"), ""):
        with pytest.raises(EvaluatorFault):
            read_untrusted(folder, name)
    with pytest.raises(EvaluatorFault, match="larger than 2 KB"):
        read_untrusted(folder, "big", limit_kb=2)
