"""The sandbox for machines without namespaces: what it withholds, what it still allows, where it refuses to be one."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_sandbox import reachable_python

from raysearch.errors import ConfigError, SandboxFault
from raysearch.process import clean_environment
from raysearch.protocols import Completed
from raysearch.sandbox import Mount, Sandbox, landlock, open_sandbox, opening, rulesets, seccomp, users
from raysearch.sandbox.stored import flatten, stored_bytes
from raysearch.target import SandboxLimits

needs_landlock = pytest.mark.skipif(rulesets.abi() < rulesets.SCOPED, reason="this kernel's Landlock is too old")
NORMAL = SandboxLimits()


class Place:
    """A program's folder and a scratch folder, and the sandbox to run in them."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.candidate = Mount(folder / "candidate", "/candidate")
        self.scratch = Mount(folder / "scratch", "/scratch")
        self.candidate.source.mkdir()
        self.scratch.source.mkdir()

    def run(self, *command: str, limits: SandboxLimits = NORMAL) -> Completed:
        return self.sandbox.run(
            command,
            cwd=self.candidate,
            readable=[self.candidate],
            writable=[self.scratch],
            env=clean_environment(),
            limits=limits,
            timeout_s=60.0,
        )

    def python(self, script: str, *words: str, limits: SandboxLimits = NORMAL) -> Completed:
        return self.run(sys.executable, "-c", script, *words, limits=limits)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(open_sandbox("landlock"), tmp_path)


@needs_landlock
def test_a_command_works_among_its_mounts(place: Place) -> None:
    """Paths stay where they are; the private folder is gone afterwards."""
    (place.candidate.source / "solution.py").write_text("print('answer')\n")
    scratch = place.sandbox.inside(place.scratch)
    assert scratch == str(place.scratch.source)
    done = place.run("sh", "-c", f"pwd; cat solution.py; mkdir {scratch}/a; echo made > {scratch}/a/out; echo $HOME")
    assert (done.status, done.stderr, done.ended_by) == (0, "", "")
    here, answer, home = done.stdout.splitlines()
    assert (here, answer) == (str(place.candidate.source), "print('answer')")
    assert (place.scratch.source / "a" / "out").read_text() == "made\n"
    assert not Path(home).exists()
    assert (place.scratch.source / "a").stat().st_uid == os.geteuid()


@needs_landlock
def test_python_has_its_packages_and_processes_their_pipes(place: Place) -> None:
    done = place.python(
        "import numpy, multiprocessing as m, socket\n"
        "child = m.Process(target=print, args=(int(numpy.ones(3).sum()),), daemon=True); child.start(); child.join()\n"
        "a, b = socket.socketpair(); a.send(b'through'); print(b.recv(9).decode())"
    )
    assert (done.status, done.stdout) == (0, "3\nthrough\n"), done.stderr


@needs_landlock
def test_what_is_not_mounted_is_out_of_reach(place: Place, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    done = place.run(
        *("sh", "-c"),
        f"cat {tmp_path}/secret; cat /etc/passwd; ls {tmp_path} /tmp /root /proc; touch {tmp_path}/new;"
        f" echo y > {tmp_path}/secret; echo y > {tmp_path}/candidate/new; ln {tmp_path}/secret {tmp_path}/scratch/s;"
        f" mv {tmp_path}/candidate {tmp_path}/scratch/c",
    )
    assert done.stdout == ""
    assert done.stderr.count("Permission denied") + done.stderr.count("cross-device") >= 9
    assert (tmp_path / "secret").read_text() == "x"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["candidate", "scratch", "secret"]
    assert list(place.candidate.source.iterdir()) == list(place.scratch.source.iterdir()) == []


@needs_landlock
def test_the_command_has_no_rights(place: Place) -> None:
    done = place.run("sh", "-c", "grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs|Seccomp):' /proc/self/status; id -G")
    assert "Permission denied" in done.stderr  # /proc is not there to read; ask the kernel
    done = place.python(
        "import ctypes\n"
        "libc = ctypes.CDLL(None)\n"
        "held = (ctypes.c_uint32 * 6)()\n"
        "libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), held)\n"
        "print(list(held), libc.prctl(39, 0, 0, 0, 0), libc.prctl(21, 0, 0, 0, 0))"
    )
    assert done.stdout == "[0, 0, 0, 0, 0, 0] 1 2\n"


@needs_landlock
def test_nothing_listens_and_nothing_is_reached(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10); print('reached')"
        port = str(server.getsockname()[1])
        assert "Operation not permitted" in place.python(script, port).stderr
        assert place.python(script, port, limits=SandboxLimits(network=True)).stdout == "reached\n"


@needs_landlock
def test_a_mount_that_is_missing_is_a_fault(place: Place, tmp_path: Path) -> None:
    place.candidate = Mount(tmp_path / "absent", "/candidate")
    with pytest.raises(SandboxFault, match="absent"):
        place.run("true")


PLAIN = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from raysearch.process import clean_environment
from raysearch.sandbox import Mount, open_sandbox
from raysearch.target import SandboxLimits

place = Path(sys.argv[1])
candidate, scratch = Mount(place / "candidate", "/candidate"), Mount(place / "scratch", "/scratch")
script = (
    f"id -u; : > {place}/scratch/made; touch made; chmod 777 {place}/keys; chmod 777 {place}/scratch/made;"
    f"cat {place}/keys; kill -9 {os.getpid()}; exec 2>/dev/null; while :; do :; done"
)
done = open_sandbox("landlock").run(
    ["sh", "-c", script],
    cwd=candidate, readable=[candidate], writable=[scratch],
    env=clean_environment(), limits=SandboxLimits(cpu_s=1), timeout_s=60,
)
print(done.ended_by, done.stdout.split(), (place / "scratch" / "made").exists(), oct((place / "keys").stat().st_mode))
print(done.stderr)
"""


@pytest.fixture
def plain_folder() -> Iterator[Path]:
    """A copy of raysearch, and folders, of a user who is nobody in particular."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(Path(opening.__file__).parents[1], folder / "raysearch")
        for part in ("candidate", "scratch"):
            (folder / part).mkdir()
        (folder / "keys").write_text("secret")
        (folder / "keys").chmod(0o600)
        for path in (folder, *folder.iterdir()):
            os.chown(path, users.NOBODY, users.NOBODY)
        yield folder


@needs_landlock
@pytest.mark.skipif(os.geteuid() != 0, reason="then all other tests are that")
@pytest.mark.skipif(not reachable_python(), reason="no interpreter that a plain user can reach")
def test_started_by_a_plain_user_it_guards_what_is_that_users(plain_folder: Path) -> None:
    """Who then has the same number as the candidate: its files' modes, its processes."""
    done = subprocess.run(
        [reachable_python(), "-c", PLAIN, str(plain_folder)],
        user=users.NOBODY,
        group=users.NOBODY,
        extra_groups=[],
        cwd=plain_folder,
        env={"PATH": os.environ["PATH"], "HOME": str(plain_folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    first, _, rest = done.stdout.partition("\n")
    assert (done.returncode, first) == (0, f"cpu ['{users.NOBODY}'] True 0o100600"), done.stderr
    assert rest.count("Operation not permitted") == 2  # chmod of the keys, and kill
    assert rest.count("Permission denied") == 2  # touch, cat


OTHER_USER = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from raysearch.process import clean_environment
from raysearch.sandbox import Mount, open_sandbox
from raysearch.target import SandboxLimits

place = Path(sys.argv[1])
scratch = Mount(place / "scratch", "/scratch")
box = open_sandbox("landlock")
for _ in range(2):
    done = box.run(
        ["sh", "-c", "id -u; id -G; touch made; chmod 4755 made; chmod 777 ../keys"],
        cwd=scratch, writable=[scratch], env=clean_environment(), limits=SandboxLimits(), timeout_s=60,
    )
    print(done.stdout.split(), done.stderr.count("Operation not permitted"), done.stderr.count("made"))
made = (place / "scratch" / "made").stat()
print(oct(made.st_mode), made.st_uid)
"""


@needs_landlock
@pytest.mark.skipif(users.find_users() is None, reason="only root's commands run as somebody else")
@pytest.mark.skipif(not reachable_python(), reason="no interpreter that another user can reach")
def test_started_by_root_each_command_is_another_user(plain_folder: Path) -> None:
    for path in (plain_folder, *plain_folder.iterdir()):
        os.chown(path, 0, 0)
    done = subprocess.run(
        [reachable_python(), "-c", OTHER_USER, str(plain_folder)],
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    first, second, mode = done.stdout.splitlines()
    numbers = [eval(line.rpartition("]")[0] + "]") for line in (first, second)]
    assert all(user == group and int(user) >= users.FREE_USERS for user, group in numbers), done.stderr
    assert numbers[0] != numbers[1]
    assert first.endswith(" 1 0")  # chmod of the other file, and nothing about its own
    assert mode == f"0o100755 {os.geteuid()}"  # ours again, and not set to run as us


MODES = """
import os, shutil, subprocess, sys
scratch, other = sys.argv[1:]
os.chdir(scratch)
def mode(path):
    return oct(os.stat(path).st_mode & 0o777)
open("a", "w").write("x")
os.chmod(f"{scratch}/a", 0o4750); print(mode("a"))
os.chmod("a", 0o700); print(mode("a"))
number = os.open("a", os.O_RDONLY); os.fchmod(number, 0o500); print(mode("a"))
os.chmod("a", 0o640, dir_fd=os.open(".", os.O_RDONLY)); print(mode("a"))
os.utime("a", (1, 2)); print(os.stat("a").st_mtime); os.utime(number); print(os.stat("a").st_mtime > 2)
shutil.copy2("a", "b"); print(mode("b"))
subprocess.run(["cp", "-p", "a", "c"], check=True); print(mode("c"))
open("program", "w").write("#!/bin/sh\\necho runs"); subprocess.run(["chmod", "+x", "program"], check=True)
print(subprocess.check_output(["./program"]).decode().strip())
os.symlink(other, "link"); os.mkdir("way"); os.symlink("/usr/bin", "way/out")
places = [other, "link", "way/out/env", "/usr/bin/env", "../secret", sys.executable, "/proc/self/fd/../../../" + other]
number = os.open("/usr/bin/env", os.O_RDONLY)
changes = [(os.chmod, place, 0o777) for place in (*places, "", "absent", "a" * 5000)]
changes += [(os.utime, place) for place in (*places, number)]
changes += [(os.fchmod, number, 0o777), (os.fchmod, 999, 0o777), (os.chown, "a", 1, 1)]
for change, *arguments in changes:
    try:
        change(*arguments); print("changed")
    except OSError:
        pass
"""


@needs_landlock
def test_modes_and_times_change_where_the_command_may_write(place: Place, tmp_path: Path) -> None:
    """Also where it has our own user number; there its guard does it, and nothing comes to run as its owner."""
    (tmp_path / "secret").write_text("x")
    files = [tmp_path / "secret", Path("/usr/bin/env"), Path(sys.executable)]
    before = [(path.stat().st_mode, path.stat().st_mtime_ns) for path in files]
    done = place.python(MODES, str(place.scratch.source), str(tmp_path / "secret"))
    assert done.status == 0, done.stderr
    assert done.stdout.split() == [*("0o750", "0o700", "0o500", "0o640", "2.0", "True", "0o640", "0o640", "runs")]
    assert [(path.stat().st_mode, path.stat().st_mtime_ns) for path in files] == before
    assert (place.scratch.source / "a").stat().st_mode & 0o6000 == 0


# Where it refuses


@pytest.mark.parametrize(
    ("version", "other_user", "reason"),
    [
        (0, True, "no Landlock"),
        (2, True, r"version 2: .* emptied; Linux 6\.2 or later"),
        (2, False, r"version 2: .* emptied; Linux 6\.12 or later"),
        (5, False, r"version 5: .* signals .*; Linux 6\.12 or later"),
        (3, True, ""),
        (6, False, ""),
    ],
)
def test_a_kernel_that_cannot_hold_it_is_refused(version: int, other_user: bool, reason: str) -> None:
    if not reason:
        landlock._require_kernel(version, other_user=other_user)
        return
    with pytest.raises(SandboxFault, match=reason):
        landlock._require_kernel(version, other_user=other_user)


@needs_landlock
def test_it_takes_the_place_of_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(opening, "STANDARD_PATH", str(tmp_path))
    assert open_sandbox("auto").name == "landlock"
    monkeypatch.setattr(rulesets, "abi", lambda: 0)
    with pytest.raises(ConfigError, match="apt install bubblewrap") as caught:
        open_sandbox("auto")
    assert "this kernel has no Landlock" in str(caught.value)
    assert str(caught.value).count("--sandbox none") == 1


# The filter, played by an interpreter of its instructions


ASKED = -2


def verdict(code: bytes, number: int, *arguments: int, arch: int = 0) -> int:
    """What the kernel would do with a call: 0 allow, an error number, -1 end the process, or ask its guard."""
    arch = arch or seccomp.ARCHITECTURES[platform.machine()]
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0, *(*arguments, *(0,) * (6 - len(arguments))))
    steps, at, held = list(struct.iter_unpack("=HBBI", code)), 0, 0
    while True:
        action, then, otherwise, value = steps[at]
        at += 1
        match action:
            case 0x20:
                (held,) = struct.unpack_from("=I", data, value)
            case 0x54:
                held &= value
            case 0x15 | 0x35:
                at += then if (held == value if action == 0x15 else held >= value) else otherwise
            case 0x05:
                at += value
            case 0x06:
                return {0x7FFF0000: 0, 0x80000000: -1, 0x7FC00000: ASKED}.get(value & 0xFFFF0000, value & 0xFFFF)


needs_filter = pytest.mark.skipif(not seccomp.supported(), reason="no filter for this machine")
TIGHT = seccomp.Profile(network=False, named_sockets=False, ipc=False, user=False)
COLUMN = 1 if platform.machine() == "aarch64" else 0


@needs_filter
@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
def test_the_filter_refuses_what_it_names(machine: str) -> None:
    column, arch = list(seccomp.ARCHITECTURES).index(machine), seccomp.ARCHITECTURES[machine]
    loose, tight = seccomp.program(seccomp.Profile(), machine), seccomp.program(TIGHT, machine)
    assert len(tight) // 8 <= 4096  # BPF_MAXINSNS
    for numbers in seccomp.ALWAYS.values():
        if (number := numbers[column]) is not None:
            assert verdict(loose, number, arch=arch) == verdict(tight, number, arch=arch) == seccomp.EPERM
    softer = dict.fromkeys(seccomp.UNSUPPORTED, seccomp.EOPNOTSUPP) | dict.fromkeys(seccomp.SUPERVISED, ASKED)
    for name, numbers in {**seccomp.SHARED, **seccomp.ATTRIBUTES, **seccomp.ADDRESSED}.items():
        if (number := numbers[column]) is not None:
            assert verdict(loose, number, arch=arch) == 0
            assert verdict(tight, number, arch=arch) == softer.get(name, seccomp.EPERM)
    assert verdict(loose, seccomp.KNOWN_MAX + 1, arch=arch) == seccomp.ENOSYS
    assert verdict(loose, seccomp.CLONE3[column], arch=arch) == seccomp.ENOSYS


@needs_filter
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_another_machines_calls_end_the_process(number: int, argument: int) -> None:
    assert verdict(seccomp.program(seccomp.Profile()), number, argument, arch=0x40000003) == -1  # i386
    assert verdict(seccomp.program(seccomp.Profile()), number | 0x40000000, argument) == seccomp.ENOSYS  # x32


@needs_filter
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_arguments_decide_by_what_the_kernel_reads_of_them(first: int, second: int, third: int) -> None:
    """Upper halves mean nothing to calls that take an int, so they must not slip past."""
    tight, own = seccomp.program(TIGHT), seccomp.program(seccomp.Profile())
    arguments, family = (first, second, third), first & 0xFFFFFFFF
    stream = second & 0xF in (1, 5)
    assert (verdict(tight, seccomp.SOCKETPAIR[COLUMN], *arguments) == 0) == (family == 1 and stream)
    assert verdict(tight, seccomp.SOCKET[COLUMN], *arguments) == seccomp.EPERM
    allowed = family == 1 or (family in (2, 10) and second & 0xF in (1, 2)) or (family == 16 and not third & 0xFFFFFFFF)
    assert (verdict(own, seccomp.SOCKET[COLUMN], *arguments) == 0) == allowed
    assert (verdict(own, seccomp.UNSHARE[COLUMN], first) == 0) == (not first & seccomp.NAMESPACES)
    typed = second & 0xFFFFFFFF in seccomp.PUSHES_INPUT
    assert (verdict(own, seccomp.IOCTL[COLUMN], *arguments) == seccomp.EPERM) == typed


@needs_filter
def test_ordinary_calls_pass() -> None:
    thread = 0x003D0F00  # what a C library asks for a thread
    for code in (seccomp.program(TIGHT), seccomp.program(seccomp.Profile())):
        assert verdict(code, seccomp.CLONE[COLUMN], thread | 17) == 0
        assert verdict(code, seccomp.CLONE[COLUMN], 0x10000000 | 17) == seccomp.EPERM  # a user namespace
        assert verdict(code, seccomp.PERSONALITY[COLUMN], 0xFFFFFFFF) == 0  # asks which
        assert verdict(code, seccomp.PERSONALITY[COLUMN], 0x0040000) == seccomp.EPERM  # addresses not at random
        assert verdict(code, seccomp.PRLIMIT[COLUMN], 0) == 0
        assert verdict(code, 63) == 0  # uname, read
    tight = seccomp.program(TIGHT)
    assert verdict(tight, seccomp.PRLIMIT[COLUMN], 4242) == seccomp.EPERM
    for call, (process, group) in seccomp.OF_MANY.items():
        assert verdict(tight, call[COLUMN], process, 0) == verdict(tight, call[COLUMN], group, 0) == 0
        assert verdict(tight, call[COLUMN], process, 4242) == seccomp.EPERM
        assert verdict(tight, call[COLUMN], group + 1, 0) == seccomp.EPERM  # all of this user


# What was written


def test_a_tree_too_deep_for_paths_is_counted_and_flattened(tmp_path: Path) -> None:
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d" * 200, dir_fd=place)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=place))
    os.close(place)
    assert stored_bytes(tmp_path) == float("inf")
    flatten(tmp_path)
    assert stored_bytes(tmp_path) < float("inf")
    assert len(list(tmp_path.rglob("*"))) == 301
    assert len(list(tmp_path.rglob("file"))) == 1
    shutil.rmtree(tmp_path)


def test_links_are_not_followed_and_empty_files_take_their_place(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "out").symlink_to("/usr")
    for number in range(9):
        (tmp_path / "here" / str(number)).touch()
    assert stored_bytes(tmp_path / "here") == 10 * 4096
    assert stored_bytes(tmp_path / "absent") == 0
