"""The owner's side of a guard: start a command under one, end it, hear how it ended."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from raysearch.errors import SandboxFault
from raysearch.process.hold import NOTHING, Hold, parent_of

GUARD = Path(__file__).with_name("guard.py")
BARS = Path(__file__).with_name("bars.py")
"""Part of the guard, to lie beside it."""
RUN_VARIABLE = "RAYSEARCH_RUN"
"""Names, in the environment of every guarded command, the run that it belongs to."""
PATIENCE_S = 30.0
"""Beyond the grace, how long a guard may take to end a tree before the owner gives up on it."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What the guard lays on its command before it starts.

    ``enclosure`` is a command prefix that makes the guard process 1 of a pid namespace (bubblewrap); without it
    the guard detaches from its owner. ``guard`` is the guard's file as seen in there. ``rlimits`` are pairs of
    a ``resource.RLIMIT_*`` number and a bound in that limit's own unit. ``cgroup_fds`` are open ``cgroup.procs``
    files; ``uid`` is the user and group to become (root only). ``ruleset`` is an open Landlock ruleset, ``filter``
    a seccomp program (an array of ``struct sock_filter``); calls that it hands on change modes and times of files, if
    these lie below ``writable``. ``fds`` are for the enclosure itself. ``hold`` is what the command has to itself.
    """

    enclosure: tuple[str, ...] = ()
    guard: str = str(GUARD)
    rlimits: tuple[tuple[int, int], ...] = ()
    cgroup_fds: tuple[int, ...] = ()
    uid: int | None = None
    ruleset: int | None = None
    filter: bytes = b""
    writable: tuple[str, ...] = ()
    fds: tuple[int, ...] = ()
    hold: Hold = NOTHING

    def words(self, *, cwd: str | Path, grace_s: float, run: str, locale: bool) -> list[str]:
        """What a guard is told, beside what it is given open (see `opened`)."""
        words = [f"grace={grace_s}", f"cwd={cwd}"]
        words += [f"rlimit={which}:{most}" for which, most in self.rlimits]
        words += [f"uid={self.uid}"] if self.uid is not None else []
        words += [f"writable={folder}" for folder in self.writable]
        words += [f"cpus={','.join(map(str, self.hold.cpus))}"] if self.hold.cpus else []
        words += [] if self.enclosure else ["detach=1"]
        words += [f"run={run}"] if run else []
        return words if locale else [*words, "locale=0"]

    @contextmanager
    def opened(self) -> Iterator[list[tuple[str, int]]]:
        """Open files that a guard is given: the word for each, and its number."""
        files = [("join", number) for number in self.cgroup_fds]
        files += [("fence", number) for number in self.hold.fences]
        files += [("ruleset", self.ruleset)] if self.ruleset is not None else []
        if not self.filter:
            yield files
            return
        number = os.memfd_create("filter")
        try:
            os.write(number, self.filter)
            yield [*files, ("filter", number)]
        finally:
            os.close(number)


UNCONFINED = Confinement()
"""Under a guard of its own, nothing else."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended; when this is known, nothing of its tree is left.

    ``status`` is negative for the signal that ended it. ``leftovers`` are names of processes that it left
    running. ``cpu_s`` is of the whole tree, ``peak_mb`` (resident) of its largest process. ``lost``: the guard
    itself was killed and could give no account.
    """

    status: int
    leftovers: tuple[str, ...] = ()
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    lost: bool = False


class Starter(Protocol):
    """What started a guard and ends with it."""

    @property
    def pid(self) -> int:
        """At the top of an enclosure's processes, as this machine sees it."""
        ...

    def wait(self) -> int: ...
    def kill(self) -> None: ...


class GuardedProcess:
    """A command under a guard: a short one, or a server or agent that lives for hours.

    A context manager: leaving it ends the command and everything that it started. An enclosure may end with the
    thread that started it (bubblewrap's ``--die-with-parent`` does), so start it from one that lives as long.
    """

    def __init__(self, starter: Starter, leash: socket.socket, grace_s: float, enclosed: bool) -> None:
        self.pid = 0
        """Of the command, as its guard sees it (in its own pid namespace, if it has one)."""
        self.root = starter.pid if enclosed else 0
        """A process of this machine below which the whole tree is, the guard's or one above it; 0: it is gone."""
        self._starter = starter
        self._leash = leash
        self._grace_s = grace_s
        self._enclosed = enclosed
        self._heard = b""
        self._leftovers: list[str] = []
        self._ending: Ending | None = None

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        cwd: str | Path,
        env: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
        grace_s: float = 1.0,
        run: str = "",
        confinement: Confinement = UNCONFINED,
    ) -> GuardedProcess:
        """Start ``argv``; its environment is ``env`` and, where ``run`` is given, the name of the run.

        ``grace_s`` is the time between SIGTERM and SIGKILL. A command that cannot be started says so on its
        stderr and ends with status 127 (not found) or 126. Raises SandboxFault if not even a guard can start.
        """
        ours, theirs = socket.socketpair()
        python = (sys.executable, "-I", "-S", "-B", confinement.guard)
        try:
            with confinement.opened() as files:
                files.append(("leash", theirs.fileno()))
                words = [f"{word}={number}" for word, number in files]
                words += confinement.words(cwd=cwd, grace_s=grace_s, run=run, locale="LC_CTYPE" in env)
                starter = subprocess.Popen(
                    [*confinement.enclosure, *python, *words, "--", *argv],
                    env=dict(env),
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=(*(number for _, number in files), *confinement.fds, *pass_fds),
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            ours.close()
            raise SandboxFault(f"cannot start a guard for {argv[0]}: {error}") from error
        finally:
            theirs.close()
        return cls.await_start(starter, ours, grace_s, enclosed=bool(confinement.enclosure))

    @classmethod
    def await_start(cls, starter: Starter, leash: socket.socket, grace_s: float, *, enclosed: bool) -> GuardedProcess:
        """The process at the other end of ``leash``, once its guard has started it. Raises SandboxFault."""
        process = cls(starter, leash, grace_s, enclosed)
        try:
            process._await_start()
        except BaseException:
            process.close()
            raise
        return process

    def _await_start(self) -> None:
        """Until the guard has named its command's process; its forking parent is then gone."""
        end = time.monotonic() + PATIENCE_S
        while not self.pid and self._ending is None:
            if not self._hear(end - time.monotonic()):
                raise SandboxFault(f"the guard did not start within {PATIENCE_S:g} s")
        if not self.pid:
            raise SandboxFault(f"the guard did not start: exit status {self._starter.wait()}")
        if not self._enclosed:
            self._starter.wait()

    def fileno(self) -> int:
        """For select: readable when the guard has something to say (call `poll` then)."""
        return self._leash.fileno()

    @property
    def ending(self) -> Ending | None:
        """How the command ended; None while anything of it is alive."""
        return self._ending

    def terminate(self, *, at_once: bool = False) -> None:
        """Ask the guard to end the tree: SIGTERM, the grace, SIGKILL; or SIGKILL ``at_once``."""
        with suppress(OSError):  # it may have ended meanwhile
            self._leash.send(b"K" if at_once else b"T")

    def poll(self) -> Ending | None:
        """Hear what the guard has said so far, without waiting."""
        while self._ending is None and self._hear(0.0):
            pass
        return self._ending

    def wait(self, timeout_s: float | None = None) -> Ending | None:
        """How the command ended, or None if it has not within ``timeout_s`` (None: for ever)."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while self._ending is None:
            if not self._hear(None if end is None else end - time.monotonic()):
                return None
        return self._ending

    def close(self) -> None:
        """End the command if it has not ended, and let go. Raises SandboxFault if it cannot be ended."""
        try:
            if self._ending is None:
                self.terminate()
                if self.wait(self._grace_s + PATIENCE_S) is None and not self._enclosed:
                    raise SandboxFault(f"process {self.pid} cannot be ended; its guard goes on trying")
        finally:
            self._leash.close()
            if self._ending is None:
                self._starter.kill()  # an enclosure takes its pid namespace with it
            self._starter.wait()

    def __enter__(self) -> GuardedProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hear(self, timeout_s: float | None) -> bool:
        """Take in one piece of what the guard says; whether there was one."""
        poll = select.poll()
        poll.register(self._leash, select.POLLIN)
        if not poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000):
            return False
        try:
            piece = self._leash.recv(4096)
        except OSError:
            piece = b""
        if not piece:
            self._lost()
            return True
        *lines, self._heard = (self._heard + piece).split(b"\n")
        for line in lines:
            self._understand(line.decode("utf-8", "replace"))
        return True

    def _understand(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "pid":
            self.pid = int(rest)
            self.root = self.root or parent_of(self.pid)
        elif word == "left":
            self._leftovers.append(rest)
        elif word == "end":
            status, cpu_s, peak_kb = rest.split()
            self._ending = Ending(int(status), tuple(self._leftovers), float(cpu_s), int(peak_kb) / 1024)
            self._starter.wait()  # an enclosure follows its guard at once

    def _lost(self) -> None:
        """The guard is gone without an account: somebody killed it, or it never started."""
        self._starter.wait()
        if not self._enclosed and self.pid:
            with suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        self._ending = Ending(-signal.SIGKILL, lost=True)
