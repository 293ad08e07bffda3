"""A Python that has imported once what many commands need, and becomes each of them in a fork.

A script of its own, started by `raysearch.process.forked` as ``python zygote.py CHANNEL MODULE...``. It never runs a
command itself. For each request on the channel it forks a keeper, which is to the command what a guard is (the code
is the guard's); where the request describes a room, the keeper is process 1 of new namespaces of every kind, in which
it mounts what the command may see, and gives up its own rights. The command is a fork of the keeper: it joins its
control groups, takes its limits, its user, its filter, closes every file but 0, 1 and 2, and then runs the script as
``__main__``.

What a fork inherits is the zygote's memory, copied page by page as it is changed. So a zygote that could carry
anything from one command to the next refuses to serve: threads, children, open files, or writable shared memory that
the modules left. What stays common: the seed of string hashes and the layout of addresses, both the zygote's, and
whatever a module drew at random while it was imported (numpy's global generator is seeded anew).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import atexit
import ctypes
import gc
import importlib
import importlib.machinery
import io
import itertools
import json
import os
import re
import signal
import socket
import sys
import types
import warnings

register_at_fork = os.register_at_fork
os.register_at_fork = lambda **_: None
import threading  # noqa: E402 - what it would do in every fork of this one thread costs a third of a millisecond

os.register_at_fork = register_at_fork

TYPE_CHECKING = False  # as typing has it, of which this script has no other need
if TYPE_CHECKING:
    from raysearch.process import bars, guard, rooms
    from raysearch.process.forked import Request, Room
else:
    import bars  # they lie beside this script
    import guard
    import rooms

    del sys.modules["bars"], sys.modules["guard"], sys.modules["rooms"]  # commands may have modules of that name
    del sys.path[0]

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
APART = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID
CLONE = {"x86_64": 56, "aarch64": 220}
CAP_KILL, CAP_SETGID, CAP_SETUID = 5, 6, 7
FRAMES = 4
"""How many calls lie below a script: ours, and that of exec."""
NEXT_LIBRARY = 24
"""Offset of ``l_next`` in ``struct link_map``, where pointers have 64 bits."""
MESSAGE_BYTES_MAX = 1 << 18
CODES_MAX = 64
Codes = dict[str, tuple[bytes, types.CodeType | None]]
"""Content of scripts that are known, and what it compiles to without a warning, by place."""


def prepare(names: list[str]) -> dict[str, str | list[str]]:
    """Import the modules; the first word to the owner: ``ready`` with what is loaded, ``failed`` or ``refused``."""
    before = set(open_files())
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:
            return {"failed": f"{name}: {type(error).__name__}: {error}"}
    if os.fork() == 0:  # some libraries end their threads before a fork and start them again when they need them
        os._exit(0)
    os.wait()
    reason = carries(before)
    if reason:
        return {"refused": f"{', '.join(names)}: {reason}"}
    for place in [place for place, finder in sys.path_importer_cache.items() if finder is None]:
        del sys.path_importer_cache[place]  # what is not there yet may be where a command runs
    gc.collect()
    gc.freeze()  # what is never examined again is never copied for that
    return {"ready": sorted({name.partition(".")[0] for name in sys.modules})}


def carries(before: set[int]) -> str:
    """What of this process, beside private memory, a fork would share with the next; nothing if all is well."""
    tasks = os.listdir("/proc/self/task")  # noqa: PTH208
    if len(tasks) > 1:
        return f"importing it leaves {len(tasks) - 1} threads running, which a fork loses"
    if guard.tree(os.getpid()):
        return "importing it leaves processes running"
    more = [read_link(number) for number in open_files() if number not in before]
    if more:
        return f"importing it leaves files open: {', '.join(more[:3])}"
    with open("/proc/self/maps") as file:  # noqa: PTH123
        shared = [line.split(None, 5)[-1].strip() for line in file if re.match(r"\S+ .w.s ", line)]
    return f"importing it leaves shared memory: {shared[0]}" if shared else ""


def open_files() -> list[int]:
    listed = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    return [number for number in listed if read_link(number)]  # the listing's own is gone again


def read_link(number: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
    except OSError:
        return ""


class Zygote:
    """Waits for requests and forks."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        self.codes: Codes = {}
        self.clone = ctypes.PyDLL(None, use_errno=True).syscall  # keeps Python's lock, which the child must have

    def serve(self) -> tuple[guard.Guard, list[str]] | None:
        """Fork for every request. Returns None when the owner has let go, and a guard in each command's process."""
        self.libc.signal(signal.SIGCHLD, 1)  # SIG_IGN: keepers need no burial
        for number in (guard.SIGHUP, guard.SIGINT, guard.SIGPIPE, guard.SIGTERM):
            self.libc.signal(number, 1)  # only the leash ends a keeper, which inherits this
        while True:
            message, files, _, _ = socket.recv_fds(self.channel, MESSAGE_BYTES_MAX, 64)
            if not message:
                return None
            plan = Plan(json.loads(message), files)
            if plan.known:
                self.learn(plan.known, plan.place)
            if self.branch(plan.room):
                return keep(self.libc, plan), plan.order.command
            for number in files:
                os.close(number)

    def learn(self, known: str, place: str) -> None:
        """Compile a script that many commands run, which will find it at ``place``; what would warn is left to them."""
        if place in self.codes or len(self.codes) >= CODES_MAX:
            return
        try:
            with open(known, "rb") as file, warnings.catch_warnings():  # noqa: PTH123
                warnings.simplefilter("error")
                content = file.read()
                self.codes[place] = content, compile(content, place, "exec", dont_inherit=True)
        except Exception:
            self.codes[place] = b"", None

    def branch(self, room: Room | None) -> bool:
        """Fork, with a room into namespaces of its own; whether this is the new process, a keeper.

        The kernel's own fork, without what the C library and Python do in a child: a keeper never starts threads, and
        its one child, which may, is forked in the usual way.
        """
        spaces = 0
        if room is not None:
            spaces = APART if room["network"] else APART | CLONE_NEWNET
        pid = self.clone(CLONE[os.uname().machine], spaces | signal.SIGCHLD, 0, 0, 0, 0)
        bars.demand(min(pid, 0), "namespaces")
        return bool(pid == 0)


class Plan:
    """A request in the form that costs its keeper least: every page that a fork writes to is a page to copy."""

    def __init__(self, request: Request, files: list[int]) -> None:
        own = [f"{word}={number}" for word, number in zip(request["files"], files[3:], strict=True)]
        self.order = guard.Order([*request["words"], *own, "--", *request["script"]])
        self.filter = bars.Filter(self.order.filter) if self.order.filter >= 0 else None
        self.streams = files[:3]
        self.strange = gaps((0, 1, 2, *self.order.own))
        self.room = request["room"]
        self.mounts = [] if self.room is None else rooms.furnishing(self.room)
        self.rights = bars.rights((CAP_KILL, CAP_SETGID, CAP_SETUID) if self.order.uid >= 0 else ())
        self.known = request["known"]
        self.place = absolute(self.order.command[0], self.order.cwd)


def keep(libc: ctypes.CDLL, plan: Plan) -> guard.Guard:
    """Be the guard of the plan's command. Returns, once, in the command's process; ends the keeper's."""
    for number, stream in enumerate(plan.streams):
        os.dup2(stream, number)
    close(plan.strange)
    libc.signal(signal.SIGCHLD, None)
    try:
        if plan.room is None:
            os.setsid()
            bars.demand(libc.prctl(guard.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "subreaper")
        else:
            rooms.furnish(libc, plan.room, plan.mounts)
            bars.demand(libc.capset(*plan.rights), "capabilities")
            libc.prctl(guard.PR_SET_DUMPABLE, 0, 0, 0, 0)  # the command, perhaps of the same user, must not trace it
    except OSError as error:
        os.write(2, f"raysearch: no room for the command: {error.filename}: {error.strerror}\n".encode())
        os._exit(1)
    keeper = guard.Guard(plan.order, libc, bars)
    keeper.filter = plan.filter
    keeper.main = os.fork()
    if keeper.main == 0:
        return keeper
    grace_s: float | None = plan.order.grace_s
    try:
        keeper.started()
        grace_s = keeper.watch()
    finally:
        keeper.finish(grace_s)
        os._exit(0)


def gaps(numbers: tuple[int, ...]) -> list[tuple[int, int]]:
    """Where every open file but these is: from a number to below another."""
    kept = sorted({*numbers, os.sysconf("SC_OPEN_MAX")})
    return [(low + 1, high) for low, high in itertools.pairwise(kept) if low + 1 < high]


def close(ranges: list[tuple[int, int]]) -> None:
    for low, high in ranges:
        os.closerange(low, high)


ALL_BUT_STREAMS = gaps((0, 1, 2))


def become(keeper: guard.Guard) -> None:
    """Make of this fork what a fresh Python under the same guard would be."""
    try:
        keeper.enter()
    except OSError as error:
        os.write(2, f"raysearch: cannot run {keeper.order.command[0]}: {error.filename}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    close(ALL_BUT_STREAMS)
    for number in (guard.SIGPIPE, guard.SIGXFSZ):
        keeper.libc.signal(number, 1)
    _signal.signal(guard.SIGINT, _signal.default_int_handler)
    register_at_fork(after_in_child=threading._after_fork)  # type: ignore[attr-defined] # now there may be threads
    if hasattr(main := threading.main_thread(), "_set_native_id"):
        main._set_native_id()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def play(words: list[str], codes: Codes) -> int:
    """Run a script as ``python SCRIPT WORD...`` does; its exit status."""
    script = words[0]
    sys.argv = words
    sys.orig_argv = [sys.executable, *words]
    here = os.getcwd()  # noqa: PTH109
    place = absolute(script, here)
    if not sys.flags.safe_path:
        lies_here = "/" not in script and not os.path.islink(script)  # noqa: PTH114
        sys.path.insert(0, here if lies_here else os.path.dirname(os.path.realpath(script)))  # noqa: PTH120
    module = types.ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", place)
    vars(module).update(__file__=place, __cached__=None, __loader__=loader, __annotations__={})
    vars(module)["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = module
    sys.setrecursionlimit(sys.getrecursionlimit() + FRAMES)
    try:
        with io.open_code(place) as file:
            content = file.read()
        known, code = codes.get(place, (b"", None))
        if code is None or known != content:
            code = compile(content, place, "exec", dont_inherit=True)
        exec(code, vars(module))
    except SystemExit as end:
        return exit_status(end.code)
    except BaseException as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def absolute(script: str, folder: str) -> str:
    """Where a script is that a command in ``folder`` names."""
    return script if script.startswith("/") else f"{folder}/{script.removeprefix('./')}"


def exit_status(code: object) -> int:
    """What ``sys.exit(code)`` ends with; text is printed."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def last_library(libc: ctypes.CDLL) -> int:
    """Address of the last ``struct link_map`` (dlinfo(3)): one more follows when a library is loaded."""
    place = libc._handle
    while following := ctypes.c_uint64.from_address(place + NEXT_LIBRARY).value:
        place = following
    return place


def leave(status: int, loaded: frozenset[str], library: int) -> None:
    """End as Python does, but for the modules in ``loaded``, which would all be copied to be thrown away.

    ``library``: the last that the zygote had loaded. The ends of the zygote's own are left out too.
    """
    threading._shutdown()  # type: ignore[attr-defined] # waits for the threads
    atexit._run_exitfuncs()
    if threading.active_count() > 1:
        sys.exit(status)  # daemons, which only Python's own end stops in time
    names = ["__main__", *itertools.takewhile(lambda name: name not in loaded, reversed(sys.modules))]
    own = [sys.modules.pop(name) for name in names]
    for module in own:
        if isinstance(module, types.ModuleType):
            values = vars(module)
            for name in sorted(values, key=lambda name: name[:1] != "_"):
                if name != "__builtins__":
                    values[name] = None
    del own
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception:
            sys.exit(status)  # to fail once more, and be reported in Python's own way
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    libc = ctypes.PyDLL(None)
    if ctypes.c_uint64.from_address(library + NEXT_LIBRARY).value:
        libc.exit(status)
    libc.fflush(None)
    os._exit(status)


def main(words: list[str]) -> None:
    channel = socket.socket(fileno=int(words[0]))
    channel.set_inheritable(False)
    zygote = Zygote(channel)
    answer = prepare(words[1:])
    channel.send(json.dumps(answer).encode())
    loaded, library = frozenset(sys.modules), last_library(zygote.libc)
    served = zygote.serve() if "ready" in answer else None
    if served is None:
        return
    keeper, script = served
    become(keeper)
    leave(play(script, zygote.codes), loaded, library)


if __name__ == "__main__":
    main(sys.argv[1:])
