"""Agents' own programs in a sandbox: what they see, what they reach, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hosted import KEY, LINGER, Place, Server, a_place, a_target, asking, left, wait_until
from test_landlock import needs_landlock
from test_sandbox import needs_bubblewrap

from raysearch.errors import SandboxFault
from raysearch.process import strays
from raysearch.sandbox import warmed
from raysearch.sandbox.public import public_parts
from raysearch.sandbox.view import interpreter_folders

BOTH = [pytest.param("bubblewrap", marks=needs_bubblewrap), "none"]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture(params=BOTH)
def place(request: pytest.FixtureRequest, tmp_path: Path, server: Server) -> Place:
    return a_place(request.param, tmp_path, server.port)


@pytest.fixture
def boxed(tmp_path: Path, server: Server) -> Place:
    return a_place("bubblewrap", tmp_path, server.port)


def test_a_guest_edits_the_program_and_keeps_a_home(place: Place) -> None:
    done = place.run(
        ["sh", "-c", "cat; pwd; echo 6 > x.txt; echo kept > $HOME/note; echo $0 $1", "{candidate}", "{home}"],
        stdin=b"said\n",
    )
    assert (done.status, done.stderr, done.leftovers) == (0, "", ())
    seen = ("/candidate", "/home/agent")
    if place.checkout.sandbox.name == "none":
        seen = (str(place.checkout.path), str(place.home))
    assert done.stdout == f"said\n{seen[0]}\n{seen[0]} {seen[1]}\n"
    assert (place.checkout.path / "x.txt").read_text() == "6\n"
    assert (place.home / "note").read_text() == "kept\n"
    assert (place.home / "note").stat().st_uid == os.getuid()


def test_a_guest_that_may_not_write_changes_nothing(place: Place) -> None:
    done = place.run(["sh", "-c", "cat x.txt; echo 6 > x.txt; rm -f x.txt; touch y.txt; true"], writable=False)
    assert done.stdout == "5"
    assert [(file.name, file.read_text()) for file in place.checkout.path.iterdir()] == [("x.txt", "5")]


def test_its_environment_is_named(place: Place) -> None:
    done = place.run(["env", "-0"], env={"SAID": "yes"})
    env = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)
    assert env["SAID"] == "yes"
    assert Path(env["RAYSEARCH_REFERENCE"]).relative_to(env["RAYSEARCH_TARGET"]) == Path("reference")
    assert env["RAYSEARCH_CANDIDATE"] == env.get("PWD", str(place.checkout.path))
    assert not {name for name in env if "KEY" in name or "TOKEN" in name}


@needs_bubblewrap
def test_it_reads_public_parts_and_never_hidden_ones(boxed: Place) -> None:
    done = boxed.run(
        [
            "sh",
            "-c",
            "cd $RAYSEARCH_TARGET && find . -type f | sort; grep -r hidden . ; echo x > reference/y; echo x > z",
        ]
    )
    listed = [line for line in done.stdout.splitlines() if line.startswith("./")]
    assert "./OBJECTIVE.md" in listed
    assert "./accuracy_checker/data/shown.txt" in listed
    assert any(line.startswith("./reference/") for line in listed)
    assert not [line for line in listed if "hidden" in line or "target.toml" in line]
    assert "hidden" not in done.stdout
    assert done.stderr.count("Read-only file system") == 2


def test_what_is_public_of_a_target(tmp_path: Path) -> None:
    target = a_target(tmp_path)
    shown = {str(part.relative_to(target.root)) for part in public_parts(target)}
    assert {"OBJECTIVE.md", "reference", "seed", "accuracy_checker/data/shown.txt"} <= shown
    assert not {name for name in shown if "hidden" in name}
    assert "benchmark" not in shown  # something in it is hidden, so its files are shown one by one
    elsewhere = replace(target, root=tmp_path / "elsewhere")
    assert public_parts(elsewhere) == []


@needs_bubblewrap
def test_it_sees_nothing_else_of_the_machine(boxed: Place, tmp_path: Path) -> None:
    (tmp_path / "run" / "journal.jsonl").write_text("secret")
    other = tmp_path / "other"
    other.mkdir()
    places = [
        tmp_path,
        tmp_path / "run",
        boxed.checkout.path.parent,
        other,
        Path.home(),
        Path("/home"),
        Path("/var/lib"),
    ]
    script = (
        "import os, sys; print([p for p in sys.argv[1:] if os.path.exists(p)], os.listdir('/home'), os.listdir('/tmp'))"
    )
    done = boxed.python(script, *map(str, places))
    interpreter = {str(above) for folder in interpreter_folders() for above in folder.parents}
    seen = [place for place in map(str, places) if place not in {"/home", *interpreter}]
    assert not [place for place in seen if f"'{place}'" in done.stdout], done.stdout
    assert "['agent']" in done.stdout


@needs_bubblewrap
def test_what_is_readable_lies_where_it_lies(boxed: Place, tmp_path: Path) -> None:
    tool = tmp_path / "installed" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho tool\n")
    tool.chmod(0o755)
    done = boxed.run(["sh", "-c", f"{tool}; echo x > {tool}; ls {tmp_path}"], readable=(tool.parent,))
    assert done.stdout == "tool\ninstalled\n"
    assert "Read-only" in done.stderr
    with pytest.raises(SandboxFault, match="is not there"):
        boxed.run(["true"], readable=(tmp_path / "absent",))


@needs_bubblewrap
def test_the_key_is_never_inside(boxed: Place) -> None:
    script = f"""
        ask("/models")
        wanted = {KEY[::-1]!r}[::-1].encode()
        found = []
        for root in ("/home", "/tmp", "/run", "/candidate", "/scratch", "/target", "/etc", "/dev/shm"):
            for place, folders, names in os.walk(root):
                folders[:] = [each for each in folders if os.path.join(place, each) != sys.prefix]
                for name in names:
                    try:
                        if wanted in open(os.path.join(place, name), "rb").read(1 << 20): found.append(name)
                    except OSError: pass
        for pid in {{*filter(str.isdigit, os.listdir("/proc"))}} - {{str(os.getpid())}}:
            for name in ("environ", "cmdline"):
                try:
                    if wanted in open(f"/proc/{{pid}}/{{name}}", "rb").read(): found.append(pid + name)
                except OSError: pass
        print(found, len([p for p in os.listdir("/proc") if p.isdigit()]))
        print(sorted(os.listdir("/proc/self/fd")))
    """
    done = asking(boxed, script)
    assert done.stdout.splitlines()[0] == "[] 2"  # the guard and the guest
    assert done.stdout.splitlines()[1] == "['0', '1', '2', '3']"  # 3 is the listing itself


def test_time_is_up_for_all_that_it_started_and_what_it_said_is_kept(place: Place) -> None:
    done = place.run([sys.executable, "-c", LINGER], timeout_s=1.0)
    assert (done.ended_by, done.stdout) == ("time", "begun\n")
    assert not left(place)


def test_it_can_be_cancelled(place: Place) -> None:
    cancel = threading.Event()
    cancel.set()
    done = place.run([sys.executable, "-c", LINGER], cancel=cancel)
    assert done.ended_by == "cancelled"
    assert not left(place)


WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import hosted as hosting
place = hosting.a_place(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
print(place.checkout.sandbox.run_name, flush=True)
place.run([sys.executable, "-c", hosting.LINGER.replace('print("begun", flush=True)', 'open("begun", "w")')])
"""


@pytest.mark.parametrize("kind", BOTH)
def test_a_worker_that_is_killed_leaves_nothing(kind: str, tmp_path: Path, server: Server) -> None:
    words = [sys.executable, "-c", WORKER, str(Path(__file__).parent), kind, str(tmp_path), str(server.port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        run = worker.stdout.readline().strip()
        wait_until((tmp_path / "work" / "program" / "begun").exists)
        assert strays(run)
        worker.send_signal(signal.SIGKILL)
    wait_until(lambda: not strays(run))


@needs_bubblewrap
def test_runtimes_of_agents_find_what_they_need(boxed: Place) -> None:
    """Threads by the hundred, far more addresses than memory, and memory for code made at run time."""
    script = """
        import ctypes, mmap, threading
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        reserved = libc.mmap(None, ctypes.c_size_t(1 << 40), 0, 0x4022, -1, 0)
        code = libc.mmap(None, ctypes.c_size_t(1 << 16), 7, 0x22, -1, 0)
        gate = threading.Event()
        threads = [threading.Thread(target=gate.wait) for _ in range(200)]
        [thread.start() for thread in threads]
        gate.set()
        print(reserved not in (None, 2**64 - 1), code not in (None, 2**64 - 1))
    """
    assert boxed.python(script).stdout == "True True\n"


@needs_bubblewrap
def test_a_guest_is_behind_the_same_bars_as_a_candidate(boxed: Place) -> None:
    script = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        def refused(answer): return answer < 0
        print(os.getuid() != 0, refused(libc.unshare(0x10000000)), refused(libc.mount(b"/", b"/tmp", None, 4096, None)))
        print(refused(libc.ptrace(16, 1, 0, 0)), not os.access("/proc/1/environ", os.R_OK))
        try: os.kill(1, 9)
        except OSError: pass
        print(open("/proc/self/status").read().count("CapEff:\\t0000000000000000"))
    """
    assert boxed.python(script).stdout == "True True True\nTrue True\n1\n"


@needs_bubblewrap
def test_more_processes_than_allowed_end_it(boxed: Place) -> None:
    script = """
        import subprocess
        started = []
        try:
            while True: started.append(subprocess.Popen(["sleep", "60"]))
        except OSError:
            print(len(started))
    """
    done = boxed.python(script, processes=20)
    assert done.ended_by == "processes" or int(done.stdout) < 20
    assert not left(boxed)


def test_what_cannot_be_started_says_so(place: Place) -> None:
    done = place.run(["no-such-agent", "-p"])
    assert done.status in {126, 127}  # a PATH may lead through folders of others
    assert "cannot run no-such-agent" in done.stderr


@needs_landlock
def test_landlock_does_not_host(tmp_path: Path, server: Server) -> None:
    with pytest.raises(SandboxFault, match=r"landlock.*bubblewrap"):
        a_place("landlock", tmp_path, server.port).run(["true"])


@needs_bubblewrap
def test_a_warm_sandbox_hosts_as_its_own_one(boxed: Place) -> None:
    warm = warmed(
        boxed.checkout.sandbox, (), readable=[boxed.checkout.target.root], writable=[boxed.checkout.path.parent]
    )
    boxed.checkout = replace(boxed.checkout, sandbox=warm)
    with warm:
        assert "(200," in asking(boxed, 'print(ask("/x"))').stdout
