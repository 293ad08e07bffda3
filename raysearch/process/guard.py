"""Keeps one command on a leash: when the owner lets go, however it died, the command's whole tree ends.

A script of its own, started as ``python -I -S guard.py leash=FD [name=value ...] -- COMMAND...`` by
`raysearch.process.guarded`. It imports next to nothing, because one stands beside every command (about 5 MB, 15 ms).

Two ways to see the whole tree, also what called ``setsid`` or daemonised:

- As process 1 of a pid namespace everything else in there is the command's. When the guard ends, the kernel
  ends all of it.
- Elsewhere (``detach=1``) the guard forks twice and opens a session, so that nothing aimed at its owner's
  children or process group strikes it, and becomes the subreaper to which orphans return. On macOS, which
  has neither, only the command's process group is ended.

Words on the leash, a socket. From the owner: ``T`` asks for SIGTERM, the grace, then SIGKILL; ``K`` for SIGKILL at
once; its end (the owner's death included) is ``T``. To the owner, one a line: ``pid N`` once the command was started;
after the whole tree is gone ``left NAME`` for everything that outlived the command by more than a moment, then ``end
STATUS CPU_S PEAK_KB``.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import sys
import time

TYPE_CHECKING = False  # as typing has it, which is slow to import
if TYPE_CHECKING:
    from types import ModuleType

    from raysearch.process import bars

# Numbers instead of the signal module, whose import takes a third of the guard's start.
SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGTERM, SIGXFSZ = 1, 2, 9, 13, 15, 25
SIGSTOP = 17 if sys.platform == "darwin" else 19
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36
LINUX = sys.platform.startswith("linux")

SETTLE_S = 0.25
"""How long what the command started may take to end by itself before it counts as left over."""
REAP_S = 1.0
"""How often orphans that ended are collected while the command runs."""
DEAF_S = 20.0
"""How long the guard of a pid namespace waits for killed processes before it ends and lets the kernel wait."""


class Order:
    """What the guard was told to do."""

    def __init__(self, words: list[str]) -> None:
        cut = words.index("--")
        self.command = words[cut + 1 :]
        self.leash = self.filter = self.ruleset = self.uid = -1
        self.cwd = self.run = ""
        self.detach, self.locale, self.grace_s = False, True, 0.0
        self.join: list[int] = []
        self.fences: list[int] = []
        self.cpus: list[int] = []
        self.writable: list[str] = []
        self.rlimits: list[tuple[int, int]] = []
        for word in words[:cut]:
            name, _, value = word.partition("=")
            if name in ("leash", "filter", "ruleset", "uid"):
                setattr(self, name, int(value))
            elif name in ("cwd", "run"):
                setattr(self, name, value)
            elif name in ("detach", "locale"):
                setattr(self, name, value == "1")
            elif name == "grace":
                self.grace_s = float(value)
            elif name in ("join", "fence"):
                (self.join if name == "join" else self.fences).append(int(value))
            elif name == "cpus":
                self.cpus = [int(number) for number in value.split(",")]
            elif name == "writable":
                self.writable.append(value)
            elif name == "rlimit":
                which, _, most = value.partition(":")
                self.rlimits.append((int(which), int(most)))
            else:
                raise ValueError(f"guard: unknown word {word!r}")

    @property
    def own(self) -> list[int]:
        """Open files that are for the guard, not for the command."""
        return [number for number in (self.leash, self.filter, self.ruleset, *self.join, *self.fences) if number >= 0]


def parents() -> dict[int, tuple[int, str, str]]:
    """Every process that /proc shows: its parent, its state (``Z`` is dead, unreaped) and its name."""
    seen: dict[int, tuple[int, str, str]] = {}
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - pathlib would double the guard's start
    except OSError:
        return seen
    for name in names:
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                text = file.read().decode("utf-8", "replace")
        except OSError:
            continue
        start, end = text.index("("), text.rindex(")")
        state, parent = text[end + 2 :].split(None, 2)[:2]
        seen[int(name)] = (int(parent), state, text[start + 1 : end])
    return seen


def descendants(root: int) -> dict[int, str]:
    """Living processes below ``root``: number to name."""
    seen = parents()
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in seen.items():
        children.setdefault(parent, []).append(pid)
    found: dict[int, str] = {}
    queue = children.get(root, [])
    while queue:
        pid = queue.pop()
        queue.extend(children.get(pid, ()))
        _, state, name = seen[pid]
        if state not in "ZX":
            found[pid] = name
    return found


def tree(root: int) -> list[int]:
    """Numbers of the processes below ``root``: fast enough to catch what forks all the time.

    One that moves meanwhile may be missed; ask again until nothing is left.
    """
    found: list[int] = []
    queue = [root]
    while queue:
        pid = queue.pop()
        try:
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
                with open(f"/proc/{pid}/task/{task}/children", "rb") as file:  # noqa: PTH123
                    born = [int(word) for word in file.read().split()]
                found += born
                queue += born
        except OSError:
            if pid == root:  # a kernel without this file
                return list(descendants(root))
    return found


class Guard:
    """One command and all that comes of it."""

    def __init__(self, order: Order, libc: ctypes.CDLL, with_bars: ModuleType | None = None) -> None:
        self.order = order
        self.libc = libc
        self.bars = with_bars or (load_bars() if max(order.filter, order.ruleset) >= 0 else None)
        self.hatch: bars.Hatch | None = self.bars.Hatch(order.writable) if self.bars and order.writable else None
        self.supervisor: bars.Supervisor | None = None
        self.filter: bars.Filter | None = None
        self.main = 0
        self.status: int | None = None
        self.left: list[str] = []

    def start(self) -> None:
        """Start the command, in a session of its own."""
        self.main = os.fork()
        if self.main == 0:
            try:
                self.become()
            finally:
                os._exit(127)
        self.started()

    def started(self) -> None:
        """What is left to do beside the new command."""
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):  # the command's pipes must end with the command
            os.dup2(null, number)
        os.close(null)
        for number in self.order.own:
            if number != self.order.leash and number not in self.order.fences:  # these, until the tree is gone
                os.close(number)
        if self.hatch:
            self.supervisor = self.hatch.receive()
        self.say(f"pid {self.main}")

    def become(self) -> None:
        """Turn this process into the command; what cannot be done is said on stderr, as a shell does."""
        order = self.order
        try:
            self.enter()
            if not order.locale:
                os.environ.pop("LC_CTYPE", None)  # Python sets it for itself in the C locale (PEP 538)
            os.execvp(order.command[0], order.command)
        except OSError as error:
            place = error.filename or order.command[0]
            os.write(2, f"raysearch: cannot run {order.command[0]}: {place}: {error.strerror}\n".encode())
            os._exit(127 if isinstance(error, FileNotFoundError) else 126)

    def enter(self) -> None:
        """Lay on this process everything that the command must not be without. Raises OSError."""
        order = self.order
        os.setsid()
        for number in order.join:
            os.write(number, b"0")  # into the cgroup: 0 is whoever writes
        if order.cpus and LINUX:
            os.sched_setaffinity(0, order.cpus)
        if LINUX:
            self.libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            prefer_as_victim()
        for which, most in order.rlimits:
            # The processor limit warns first, by SIGXCPU, which names the reason; a second later it kills.
            lower(which, most, most + 1 if which == resource.RLIMIT_CPU else most)
        if order.uid >= 0:
            os.setgroups([])
            os.setresgid(order.uid, order.uid, order.uid)
            os.setresuid(order.uid, order.uid, order.uid)
            self.libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # a change of user takes it away
        if order.cwd:
            os.chdir(order.cwd)
        if order.run:
            os.environ["RAYSEARCH_RUN"] = order.run  # the guard itself does without: who sweeps must spare it
        for number in (SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGXFSZ):
            self.libc.signal(number, None)
        if self.bars:
            program = self.filter or (self.bars.Filter(order.filter) if order.filter >= 0 else None)
            listener = self.bars.close_in(self.libc, order.ruleset, program, listen=self.hatch is not None)
            if self.hatch:
                self.hatch.hand_over(listener)

    def watch(self) -> float | None:
        """Wait for the command's end or a word from the owner; the grace to give, or None after the command's end."""
        poll = select.poll()
        poll.register(self.order.leash, select.POLLIN)
        if self.supervisor:
            poll.register(self.supervisor.listener, select.POLLIN)
        pause_s = REAP_S
        try:
            poll.register(os.pidfd_open(self.main), select.POLLIN)
        except (AttributeError, OSError):
            pause_s = 0.02  # macOS, or Linux before 5.3
        while True:
            ready = poll.poll(pause_s * 1000)
            self.reap()
            if self.status is not None:
                return None
            if any(number == self.order.leash for number, _ in ready):
                try:
                    word = os.read(self.order.leash, 1)
                except OSError:  # ECONNRESET: the owner died with our words unread
                    word = b""
                return 0.0 if word == b"K" else self.order.grace_s

    def reap(self) -> bool:
        """Collect what has ended; whether any child is left, which is whether any of the tree is."""
        if self.supervisor:
            self.supervisor.attend()
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.main:
                self.status = os.waitstatus_to_exitcode(status)

    def gone_within(self, limit_s: float) -> bool:
        """Whether the whole tree ends within ``limit_s``."""
        end, pause_s = time.monotonic() + limit_s, 0.0005
        while self.reap():
            if time.monotonic() >= end:
                return False
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.02)
        return True

    def send(self, number: int) -> None:
        """Send a signal to the whole tree."""
        if os.getpid() == 1:
            signal_to(-1, number)
        elif not LINUX:
            signal_to(-self.main, number)
        else:
            for pid in set(tree(os.getpid())):
                signal_to(pid, number)

    def stop(self, grace_s: float) -> None:
        """End the whole tree: ask, wait, then insist until nothing is left."""
        if grace_s > 0 and self.reap():
            self.send(SIGTERM)
            self.gone_within(grace_s)
        if not LINUX:
            self.send(SIGKILL)  # orphans went elsewhere: whether the group is empty cannot be known
            self.gone_within(DEAF_S)
            return
        deaf_at = time.monotonic() + DEAF_S
        while self.reap():
            if os.getpid() != 1:
                self.freeze()
            elif time.monotonic() > deaf_at:
                return
            self.send(SIGKILL)
            self.gone_within(0.5)

    def freeze(self) -> None:
        """Stop the tree from growing, so that what forks faster than it can be killed is killed too."""
        frozen: set[int] = set()
        for _ in range(50):
            moving = set(tree(os.getpid())) - frozen
            if not moving:
                return
            for pid in moving:
                signal_to(pid, SIGSTOP)
            frozen |= moving

    def finish(self, grace_s: float | None) -> None:
        """End what is left and give the account."""
        if grace_s is None and not self.gone_within(SETTLE_S):
            self.left = sorted(descendants(os.getpid()).values())
        self.stop(self.order.grace_s if grace_s is None else grace_s)
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        for name in self.left[:20]:
            self.say("left " + "".join(letter if letter.isprintable() else "?" for letter in name))
        status = -SIGKILL if self.status is None else self.status
        self.say(f"end {status} {spent.ru_utime + spent.ru_stime:.3f} {spent.ru_maxrss // (1 if LINUX else 1024)}")

    def say(self, line: str) -> None:
        """Tell the owner, if there still is one."""
        try:  # noqa: SIM105 - contextlib costs a tenth of the guard's start
            os.write(self.order.leash, (line + "\n").encode("utf-8", "replace"))
        except OSError:
            pass


def load_bars() -> ModuleType:
    """What closes a command in: a file beside this one, because many a guard does without."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    found = __import__("bars")
    del sys.path[0]
    return found


def signal_to(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended meanwhile."""
    try:  # noqa: SIM105
        os.kill(pid, number)
    except OSError:
        pass


def lower(which: int, soft: int, hard: int) -> None:
    """Set a resource limit, never above the one in force."""
    _, ceiling = resource.getrlimit(which)
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(which, (soft, hard))


def prefer_as_victim() -> None:
    """When memory is short on the machine, end the command before anything of ours."""
    try:
        number = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(number, b"500")
        os.close(number)
    except OSError:
        pass


def main(words: list[str]) -> None:
    """Guard one command, then exit; never returns."""
    order = Order(words)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    for number in (SIGHUP, SIGINT, SIGPIPE, SIGTERM):
        libc.signal(number, 1)  # SIG_IGN: only the leash ends a guard
    for number in order.own:
        os.set_inheritable(number, False)
    if order.detach:
        if os.fork():
            os._exit(0)
        os.setsid()
        if LINUX:
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    elif LINUX:
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # the command, perhaps of the same user, must not trace its guard
    guard = Guard(order, libc)
    if guard.bars:
        guard.bars.hide_command()
    grace_s: float | None = order.grace_s
    try:
        guard.start()
        grace_s = guard.watch()
    finally:
        guard.finish(grace_s)
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
