"""Attempts to get out of the sandbox: each fails, and the world outside is afterwards what it was before."""

from __future__ import annotations

import errno
import json
import os
import platform
import random
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import escapes
import pytest
from test_landlock import needs_landlock
from test_sandbox import needs_bubblewrap

from evaluators.results import read_bytes
from raysearch.errors import EvaluatorFault, Refused
from raysearch.process import clean_environment, strays
from raysearch.protocols import Completed
from raysearch.repository import Repository, Unfit
from raysearch.sandbox import Mount, Sandbox, Warm, cgroups, open_sandbox, read_untrusted, seccomp, warmed
from raysearch.target import SandboxLimits
from raysearch.workspace import _remove

EACH = [
    pytest.param(kind, marks=mark)
    for name, mark in (("bubblewrap", needs_bubblewrap), ("landlock", needs_landlock))
    for kind in (name, f"{name}, warm")
]
needs_groups = pytest.mark.skipif(cgroups.find() is None, reason="no control groups can be made here")
SETTINGS = [Path("/proc/sys/kernel", name) for name in ("core_pattern", "hostname", "domainname", "modprobe")]
COLUMN = 1 if platform.machine() == "aarch64" else 0
NORMAL = SandboxLimits(memory_mb=512, file_mb=64)


def calls() -> dict[str, int]:
    """Numbers of system calls on this machine."""
    tables = (seccomp.ALWAYS, seccomp.SHARED, seccomp.ATTRIBUTES, seccomp.ADDRESSED)
    known = {name: numbers[COLUMN] for table in tables for name, numbers in table.items()}
    known |= {"clone": seccomp.CLONE[COLUMN], "clone3": 435, "unshare": seccomp.UNSHARE[COLUMN]}
    known |= {"socket": seccomp.SOCKET[COLUMN], "socketpair": seccomp.SOCKETPAIR[COLUMN]}
    known |= {"personality": seccomp.PERSONALITY[COLUMN], "prlimit64": seccomp.PRLIMIT[COLUMN]}
    known |= {"execveat": (322, 281)[COLUMN]}
    return {name: number for name, number in known.items() if number is not None}


class World:
    """What a candidate might want: secrets, a hidden checker, another process, doors; and how all of it was."""

    def __init__(self, sandbox: Sandbox, folder: Path, stack: ExitStack) -> None:
        self.sandbox, self.folder = sandbox, folder
        self.secret_text = uuid.uuid4().hex
        self.candidate = self._mount("candidate")
        self.scratch = self._mount("scratch")
        self.hidden = folder / "hidden" / "checker.py"
        self.hidden.parent.mkdir()
        self.secret = folder / "secret"
        for file in (self.secret, self.hidden):
            file.write_text(self.secret_text)
        self.hidden.chmod(0o644)
        (self.candidate.source / "solution.py").write_text("print('right')")
        self._open_doors(stack)
        env = {**os.environ, "ESCAPE_API_KEY": self.secret_text}
        self.victim = stack.enter_context(subprocess.Popen(["sleep", "1000"], env=env, start_new_session=True))
        stack.callback(self.victim.kill)
        held = os.open(self.secret, os.O_RDWR)
        os.set_inheritable(held, True)
        stack.callback(os.close, held)
        self.before = self.state()

    def _mount(self, name: str) -> Mount:
        (self.folder / name).mkdir()
        return Mount(self.folder / name, f"/{name}")

    def _open_doors(self, stack: ExitStack) -> None:
        self.tcp = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
        self.udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.udp.bind(self.tcp.getsockname())
        self.named, self.abstract, self.datagrams = (
            stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
        )
        self.doors = Path(stack.enter_context(short_folder()))
        for door, name in ((self.named, "named"), (self.datagrams, "datagrams")):
            door.bind(str(self.doors / name))
            (self.doors / name).chmod(0o777)
        self.abstract.bind(f"\0{self.secret_text}")
        for door in (self.named, self.abstract):
            door.listen()
        for door in (self.tcp, self.udp, self.named, self.abstract, self.datagrams):
            door.setblocking(False)

    def facts(self) -> str:
        inside = self.sandbox.inside
        return json.dumps(
            {
                "calls": calls(),
                "candidate": inside(self.candidate),
                "scratch": inside(self.scratch),
                "secret": str(self.secret),
                "home": str(Path.home()),
                "hidden": str(self.hidden),
                "victim": self.victim.pid,
                "port": self.tcp.getsockname()[1],
                "address": outer_address(),
                "named": str(self.doors / "named"),
                "datagrams": str(self.doors / "datagrams"),
                "abstract": self.secret_text,
                "own_network": self.sandbox.name == "bubblewrap",
            }
        )

    def play(self, script: str, limits: SandboxLimits = NORMAL, timeout_s: float = 60.0) -> Completed:
        (self.candidate.source / "solution.py").write_text(escapes.PRELUDE + script)
        self.before = self.state()
        return self.sandbox.run(
            [sys.executable, *([] if isinstance(self.sandbox, Warm) else ["-I", "-S"]), "solution.py", self.facts()],
            cwd=self.candidate,
            readable=[self.candidate],
            writable=[self.scratch],
            env=clean_environment(),
            limits=limits,
            timeout_s=timeout_s,
        )

    def state(self) -> dict[str, object]:
        """All that a candidate must not change."""
        pid = self.victim.pid
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        files = [path for path in self.folder.rglob("*") if not path.is_relative_to(self.scratch.source)]
        return {
            "files": {str(path): (path.lstat()[:6], path.is_file() and path.read_bytes()) for path in sorted(files)},
            "changed": {str(path): path.stat().st_mtime_ns for path in files},
            "attributes": os.listxattr(self.secret),
            "victim": [line for line in status if line.startswith(("TracerPid", "Cpus_allowed", "Uid"))],
            "stopped": "(stopped)" in "".join(status),
            "limits": Path(f"/proc/{pid}/limits").read_text(),
            "priority": (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid)),
            "settings": [told(path) for path in SETTINGS],
            "mounts": sorted(line.split()[4] for line in told("/proc/self/mountinfo").splitlines()),
            "queues": [told(f"/proc/sysvipc/{name}").count(f" {0x5EC4E7} ") for name in ("shm", "msg", "sem")],
            "keys": told("/proc/keys").count("raysearch-escaped"),
            "planted": [str(path) for path in PLANTED if path.exists()],
        }

    def untouched(self, done: Completed) -> None:
        """Nothing was told, nothing changed, nobody came through a door, and nothing is left that could do it later."""
        assert [line for line in done.stdout.splitlines() if line.startswith("escaped")] == []
        assert self.secret_text not in done.stdout + done.stderr
        assert self.state() == self.before
        assert self.victim.poll() is None
        for door in (self.tcp, self.named, self.abstract):
            with pytest.raises(BlockingIOError):
                door.accept()
        for door in (self.udp, self.datagrams):
            with pytest.raises(BlockingIOError):
                door.recv(1)
        for path in self.scratch.source.rglob("*"):
            left = path.lstat()
            assert left.st_uid == os.geteuid()
            if not stat.S_ISDIR(left.st_mode):
                assert left.st_mode & (stat.S_ISUID | stat.S_ISGID) == 0
                assert left.st_nlink == 1
                assert stat.S_ISREG(left.st_mode) or stat.S_ISLNK(left.st_mode)
        _remove(self.scratch.source)
        assert not self.scratch.source.exists()


PLANTED = [
    Path(folder, name)
    for folder in (
        "/",
        "/usr/bin",
        "/usr/local",
        "/etc",
        "/run",
        "/tmp",
        "/var/tmp",
        "/dev/shm",
        "/run/lock",
        sys.prefix,
    )
    for name in ("escaped", "escaped.pth", "raysearch-escaped")
]
PLANTED += [
    Path("/etc/ld.so.preload"),
    Path("/etc/ld.so.conf.d/escaped.conf"),
    Path("/sys/fs/cgroup/raysearch-escaped"),
]


def told(path: str | Path) -> str:
    """Content of a file that not every kernel has."""
    return Path(path).read_text() if Path(path).exists() else ""


def outer_address() -> str:
    """This machine's address towards others, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # nothing is sent
        return str(probe.getsockname()[0])
    return "127.0.0.1"


class short_folder:
    """A folder with a path that is short enough for the name of a socket."""

    def __enter__(self) -> str:
        self.path = f"/tmp/rs-{os.getpid()}-{random.randrange(1 << 30)}"
        Path(self.path).mkdir()
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path)


@pytest.fixture(scope="module", params=EACH)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sandbox(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    run = uuid.uuid4().hex
    name, _, warm = kind.partition(", ")
    cold = open_sandbox(name, run=run)
    if warm:
        with warmed(cold, ["glob", "json"], readable=[], writable=[tmp_path_factory.getbasetemp()]) as kept:
            yield kept
            assert sum(zygote is not None and zygote.alive for zygote in kept._zygotes.values()) == 1
    else:
        yield cold
    assert strays(run) == []


@pytest.fixture
def world(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ExitStack() as stack:
        made = World(sandbox, tmp_path, stack)
        monkeypatch.setenv("ESCAPE_API_KEY", made.secret_text)
        yield made


def attempts(*groups: dict[str, str]) -> pytest.MarkDecorator:
    scripts = {name: script for group in groups for name, script in group.items()}
    return pytest.mark.parametrize("script", scripts.values(), ids=scripts)


@attempts(escapes.FILES, escapes.PROCESSES, escapes.NETWORK)
def test_it_tries_to(world: World, script: str) -> None:
    done = world.play(script)
    assert (done.status, done.ended_by, done.leftovers) == (0, "", ()), done.stderr
    world.untouched(done)


LOOSENS = "loosen its own limits"


@attempts({name: script for name, script in escapes.KERNEL.items() if name != LOOSENS})
def test_it_asks_the_kernel_to(world: World, script: str) -> None:
    before_s = time.time() - time.monotonic()
    done = world.play(script)
    assert (done.status, done.ended_by, done.leftovers) == (0, "", ()), done.stderr
    assert abs(time.time() - time.monotonic() - before_s) < 3600
    world.untouched(done)


@needs_groups
def test_it_tries_to_loosen_its_own_limits(world: World) -> None:
    done = world.play(escapes.KERNEL[LOOSENS], SandboxLimits(memory_mb=96))
    assert done.ended_by == "memory"
    world.untouched(done)


@pytest.mark.parametrize(
    ("name", "ended_by", "said"),
    [
        ("a tree too deep for paths", "files", ""),
        ("a hundred thousand empty files", "files", ""),
        ("a file of a terabyte", "", "File too large"),
        ("folders that nobody may enter", "", ""),
    ],
)
def test_it_leaves(world: World, name: str, ended_by: str, said: str) -> None:
    done = world.play(escapes.BOMBS[name], SandboxLimits(file_mb=8))
    assert done.ended_by == ended_by
    assert said in done.stderr
    world.untouched(done)


# Where others read what it wrote


RACE = """
import threading
place = W["scratch"] + "/result.json"
put(place + ".true", '{"schema": "raysearch.verdict/1", "passed": false}')
def swap():
    while True:
        for make in (lambda: os.symlink(W["secret"], place + ".new"), lambda: os.link(place + ".true", place + ".new"),
            lambda: os.mkfifo(place + ".new")):
            if can(make): can(os.rename, place + ".new", place)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        swap()
time.sleep(0.2)
"""


def test_it_swaps_its_result_while_that_is_read(world: World) -> None:
    """Nothing of it lives any more when the result is read, so there is no race; and no link is followed."""
    done = world.play(RACE)
    assert len(done.leftovers) == 3
    place = world.scratch.source / "result.json"
    first = place.lstat()
    for read in (lambda: read_bytes(place), lambda: read_untrusted(world.scratch.source, "result.json")):
        with suppress(EvaluatorFault, Refused):
            assert world.secret_text not in read().decode()
    assert place.lstat()[:3] == first[:3]


def bind_to(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(place))


@pytest.mark.parametrize("read", [read_bytes, lambda at: read_untrusted(at.parent, at.name)])
@pytest.mark.parametrize(
    "make",
    [
        lambda at, secret: at.symlink_to(secret),
        lambda at, secret: os.mkfifo(at),
        lambda at, secret: at.mkdir(),
        lambda at, secret: at.write_bytes(b" " * (1 << 21)),
        lambda at, secret: bind_to(at),
    ],
    ids=["link", "pipe", "folder", "flood", "socket"],
)
def test_its_result_is_no_result(
    make: Callable[[Path, Path], object], read: Callable[[Path], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("secret")
    make(Path("result.json"), tmp_path / "secret")
    with pytest.raises(EvaluatorFault):
        read(tmp_path / "result.json")


HOOK = "#!/bin/sh\ntouch {place}/escaped\n"
CONFIG = '[core]\n\tfsmonitor = "touch {place}/escaped"\n\tsshCommand = touch {place}/escaped\n\thooksPath = hooks\n'
FILTER = '[filter "out"]\n\tclean = touch {place}/escaped\n\tsmudge = touch {place}/escaped\n'
PLANTS = {
    "hooks": {".git/hooks/post-checkout": HOOK, ".git/HEAD": "ref: refs/heads/main\n"},
    "settings": {".git/config": CONFIG + FILTER},
    "a repository inside": {"inner/.git/config": CONFIG, "inner/.git/hooks/post-checkout": HOOK},
    "a repository elsewhere": {".git": "gitdir: {place}/elsewhere\n"},
    "another spelling": {".GIT/config": CONFIG},
    "a submodule": {"sub/.git": "gitdir: ../.git/modules/sub\n", ".gitmodules": '[submodule "sub"]\n\tpath = sub\n'},
}
HARMLESS = {
    "filters": {".gitattributes": "* filter=out diff=out merge=out\n", "a.txt": "x", ".gitconfig": FILTER},
    "modules without a repository": {
        ".gitmodules": '[submodule "sub"]\n\tpath = sub\n\turl = ext::sh -c "touch {place}/escaped"\n'
    },
    "hooks without a repository": {"hooks/post-checkout": HOOK, ".githooks/pre-commit": HOOK},
}


def planted(folder: Path, files: dict[str, str], place: Path) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.replace("{place}", str(place)))
        (folder / name).chmod(0o755)


@pytest.mark.parametrize("files", PLANTS.values(), ids=PLANTS)
def test_it_plants_a_repository(files: dict[str, str], tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "run")
    planted(tmp_path / "program", files, tmp_path)
    with pytest.raises(Unfit, match="inside a program"):
        repository.write_tree(tmp_path / "program")
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("files", HARMLESS.values(), ids=HARMLESS)
def test_it_plants_what_git_would_obey(files: dict[str, str], tmp_path: Path) -> None:
    """Such files are content like any other: nothing runs when they are committed, compared or checked out."""
    repository = Repository.create(tmp_path / "run")
    planted(tmp_path / "program", files, tmp_path)
    tree = repository.write_tree(tmp_path / "program")
    commit = repository.commit(tree, (), "planted", 0.0)
    repository.name("best", commit)
    repository.show_best(commit)
    repository.checkout(commit, tmp_path / "copy")
    assert repository.write_tree(tmp_path / "copy") == tree
    assert repository.diff(commit, commit) == ""
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("goal", ["/etc/passwd", "../secret", "inner/../../secret", "loop", "/proc/self/environ"])
def test_it_commits_a_link_that_leads_out(goal: str, tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "run")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "program" / "inner").mkdir(parents=True)
    (tmp_path / "program" / ("loop" if goal == "loop" else "link")).symlink_to(goal)
    with pytest.raises(Unfit, match="leads outside"):
        repository.write_tree(tmp_path / "program")


def test_it_commits_what_is_no_file(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "run")
    (tmp_path / "program").mkdir()
    os.mkfifo(tmp_path / "program" / "pipe")
    answers: list[str] = []

    def write() -> None:
        try:
            repository.write_tree(tmp_path / "program")
        except Unfit as error:
            answers.append(str(error))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(60)
    assert answers == ["pipe is neither file, folder nor link"]
    assert errno.EPERM == seccomp.EPERM
