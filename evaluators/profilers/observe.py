"""Run a command and watch it from beside, in its own sandbox: a script of its own, on the standard library alone.

    python -I -S observe.py --report FILE [--stacks FOLDER] [--root PATH ...] -- COMMAND...

It times the command, asks the kernel what it used (wait4, and ``/proc`` of every process and thread below, read every
few milliseconds), and where asked puts a sampler of Python stacks (``hook/sitecustomize.py``) on the module path of
the command. The exit status is the command's own. Needs no right beyond those of any command: no ptrace, no
perf_event_open.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import stat
import sys
import time
from pathlib import Path

HOOK = Path(__file__).resolve().parent / "hook"
SET_CHILD_SUBREAPER = 36
THREADS_MAX = 4000
STACK_FILES_MAX = 200
FILE_BYTES_MAX = 4_000_000
LINES_MAX = 400
TICK_S = 1 / (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)


class Watched:
    """What is known of one thread."""

    def __init__(self, pid: int, tid: int) -> None:
        self.pid, self.tid = pid, tid
        self.name = ""
        self.user_s = self.system_s = self.queued_s = 0.0
        self.states: dict[str, int] = {}
        self.waits: dict[str, int] = {}

    def see(self, place: Path, *, count: bool) -> None:
        """Raises OSError where it is gone."""
        text = (place / "stat").read_text(errors="replace")
        begin, end = text.index("("), text.rindex(")")
        self.name, fields = text[begin + 1 : end], text[end + 2 :].split()
        self.user_s, self.system_s = int(fields[11]) * TICK_S, int(fields[12]) * TICK_S
        if not count:
            return
        state = fields[0]
        self.states[state] = self.states.get(state, 0) + 1
        if state in "SD":
            with contextlib.suppress(OSError):
                wait = (place / "wchan").read_text(errors="replace") or "0"
                self.waits[wait] = self.waits.get(wait, 0) + 1
        with contextlib.suppress(OSError, ValueError, IndexError):
            self.queued_s = int((place / "schedstat").read_text().split()[1]) / 1e9

    def told(self) -> dict[str, object]:
        return {
            "pid": self.pid,
            "tid": self.tid,
            "name": self.name,
            "user_s": self.user_s,
            "system_s": self.system_s,
            "queued_s": self.queued_s,
            "states": self.states,
            "waits": dict(sorted(self.waits.items(), key=lambda item: -item[1])[:5]),
        }


class Watch:
    """All threads below one process, while it lives."""

    def __init__(self) -> None:
        self.threads: dict[tuple[int, int], Watched] = {}
        self.polls = 0
        self.unreadable = ""

    def poll(self, root: int) -> None:
        self.polls += 1
        try:
            self._tree(root, set())
        except OSError as error:
            self.unreadable = f"/proc: {error.strerror}"

    def _tree(self, pid: int, seen: set[int]) -> None:
        if pid in seen or len(seen) > THREADS_MAX:
            return
        seen.add(pid)
        tasks = Path("/proc", str(pid), "task")
        for task in os.listdir(tasks):  # noqa: PTH208 - names alone
            children = ""
            try:
                if len(self.threads) < THREADS_MAX:
                    self.threads.setdefault((pid, int(task)), Watched(pid, int(task))).see(tasks / task, count=True)
                children = (tasks / task / "children").read_text()
            except OSError:
                continue
            for child in children.split():
                try:
                    self._tree(int(child), seen)
                except OSError:
                    continue


def main(argv: list[str]) -> int:
    given = _arguments(argv)
    environment = dict(os.environ)
    if given.stacks:
        Path(given.stacks).mkdir(parents=True, exist_ok=True)
        environment["RAYSEARCH_STACKS"] = given.stacks
        environment["RAYSEARCH_STACKS_MS"] = str(given.sample_ms)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HOOK), environment.get("PYTHONPATH")]))
    if sys.platform == "linux":  # what loses its parent stays below us, where it is seen
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    watch = Watch()
    began = time.perf_counter()
    try:
        child = os.posix_spawnp(given.command[0], given.command, environment)
    except OSError as error:
        print(f"{given.command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    status, used = _until_it_ends(child, watch, given.poll_ms / 1000 if given.poll_ms else 0.0)
    wall_s = time.perf_counter() - began
    report = {
        "wall_s": wall_s,
        "status": status,
        "user_s": used.ru_utime,
        "system_s": used.ru_stime,
        "minor_faults": used.ru_minflt,
        "major_faults": used.ru_majflt,
        "voluntary": used.ru_nvcsw,
        "involuntary": used.ru_nivcsw,
        "blocks_in": used.ru_inblock,
        "blocks_out": used.ru_oublock,
        "polls": watch.polls,
        "unreadable": watch.unreadable,
        "roots": given.root,
        "threads": [watched.told() for watched in watch.threads.values()],
        **(_stacks(Path(given.stacks)) if given.stacks else {}),
    }
    Path(given.report).write_text(json.dumps(report))
    return _as_it_ended(status)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a command and watch it.", allow_abbrev=False)
    parser.add_argument("--report", required=True)
    parser.add_argument("--stacks", default="")
    parser.add_argument("--sample-ms", type=float, default=5.0)
    parser.add_argument("--poll-ms", type=float, default=0.0, help="0: do not look into /proc")
    parser.add_argument("--root", action="append", default=[])
    parser.add_argument("command", nargs="+")
    return parser.parse_args(argv)


def _until_it_ends(child: int, watch: Watch, poll_s: float):  # type: ignore[no-untyped-def] # resource.struct_rusage
    """Exit status (as in `subprocess`) and what it and all that it waited for used."""
    if not poll_s:
        _, status, used = os.wait4(child, 0)
        return os.waitstatus_to_exitcode(status), used
    wait_s = 0.002  # a command of a few milliseconds is seen too
    while True:
        watch.poll(child)
        time.sleep(wait_s)
        wait_s = min(poll_s, wait_s * 1.5)
        done, status, used = os.wait4(child, os.WNOHANG)
        if done == child:
            return os.waitstatus_to_exitcode(status), used


def _stacks(folder: Path) -> dict[str, object]:
    """What the samplers of all processes wrote, and the source lines that they name most."""
    processes: list[dict[str, object]] = []
    wanted: dict[tuple[str, int], float] = {}
    files = sorted(folder.glob("stacks-*.json"))
    for file in files[:STACK_FILES_MAX]:
        try:
            said = json.loads(_plain(file))
            for line, frames, on, off, _ in said["stacks"]:
                if frames and isinstance(line, int):
                    place = (said["frames"][frames[0]][0], line)
                    wanted[place] = wanted.get(place, 0.0) + on + off
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            continue  # torn: its process was ended while it wrote, or the program made it
        processes.append(said)
    top = sorted(wanted, key=lambda place: -wanted[place])[:LINES_MAX]
    lines = _Lines()
    source = [[name, line, lines.text(name, line)] for name, line in top]
    return {"processes": processes, "processes_left_out": max(0, len(files) - STACK_FILES_MAX), "source": source}


def _plain(path: Path) -> bytes:
    """Content of a plain file that the command may have put there, or linked to elsewhere. Raises OSError."""
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(opened, "rb") as file:  # noqa: PTH123 - a number, not a path
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(f"{path} is no plain file")
        return file.read(FILE_BYTES_MAX)


class _Lines:
    """Lines of source files, read once; none of what is no plain file, for the names are the command's word."""

    def __init__(self) -> None:
        self.files: dict[str, list[bytes]] = {}

    def text(self, name: str, number: int) -> str:
        if name not in self.files:
            try:
                self.files[name] = _plain(Path(os.path.realpath(name))).splitlines()
            except (OSError, ValueError):
                self.files[name] = []
        lines = self.files[name]
        if not 0 < number <= len(lines):
            return ""
        return lines[number - 1].decode("utf-8", "replace").strip()[:200]


def _as_it_ended(status: int) -> int:
    if status >= 0:
        return status
    signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
    os.kill(os.getpid(), -status)
    return 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
