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

import atexit
import ctypes
import fcntl
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
import struct
import sys
import threading
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raysearch.process import bars, guard
    from raysearch.process.forked import Request, Room
else:
    import bars  # they lie beside this script
    import guard

    del sys.modules["bars"], sys.modules["guard"]  # commands may have modules of that name
    del sys.path[0]

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
APART = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID
CLONE = {"x86_64": 56, "aarch64": 220}
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
CAP_KILL, CAP_SETGID, CAP_SETUID = 5, 6, 7
FRAMES = 4
"""How many calls lie below a script: ours, and that of exec."""
NEXT_LIBRARY = 24
"""Offset of ``l_next`` in ``struct link_map``, where pointers have 64 bits."""
MESSAGE_BYTES_MAX = 1 << 18
COVERED = ("sys", "sysrq-trigger", "irq", "bus")
"""Parts of /proc that are for the machine's administrator; bubblewrap covers the same."""


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
        self.clone = ctypes.PyDLL(None, use_errno=True).syscall  # keeps Python's lock, which the child must have

    def serve(self) -> tuple[guard.Guard, Request] | None:
        """Fork for every request. Returns None when the owner has let go, and a guard in each command's process."""
        self.libc.signal(signal.SIGCHLD, 1)  # SIG_IGN: keepers need no burial
        for number in (guard.SIGHUP, guard.SIGINT, guard.SIGPIPE, guard.SIGTERM):
            self.libc.signal(number, 1)  # only the leash ends a keeper, which inherits this
        while True:
            message, files, _, _ = socket.recv_fds(self.channel, MESSAGE_BYTES_MAX, 64)
            if not message:
                return None
            request: Request = json.loads(message)
            if self.branch(request["room"]):
                self.channel.detach()
                return keep(self.libc, request, files), request
            for number in files:
                os.close(number)

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


def keep(libc: ctypes.CDLL, request: Request, files: list[int]) -> guard.Guard:
    """Be the guard of the request's command. Returns, once, in the command's process; ends the keeper's."""
    for number in range(3):  # stdin, stdout and stderr come first
        os.dup2(files[number], number)
    own = [f"{word}={number}" for word, number in zip(request["files"], files[3:], strict=True)]
    order = guard.Order([*request["words"], *own, "--", *request["script"]])
    close_all_but((0, 1, 2, *order.own))
    libc.signal(signal.SIGCHLD, None)
    room = request["room"]
    try:
        if room is None:
            os.setsid()
            bars.demand(libc.prctl(guard.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "subreaper")
        else:
            furnish(libc, room)
            bars.hold_rights(libc, (CAP_KILL, CAP_SETGID, CAP_SETUID) if order.uid >= 0 else ())
            libc.prctl(guard.PR_SET_DUMPABLE, 0, 0, 0, 0)  # the command, perhaps of the same user, must not trace it
    except OSError as error:
        os.write(2, f"raysearch: no room for the command: {error.filename}: {error.strerror}\n".encode())
        os._exit(1)
    keeper = guard.Guard(order, libc, bars)
    keeper.main = os.fork()
    if keeper.main == 0:
        return keeper
    grace_s: float | None = order.grace_s
    try:
        keeper.started()
        grace_s = keeper.watch()
    finally:
        keeper.finish(grace_s)
        os._exit(0)


def close_all_but(numbers: tuple[int, ...]) -> None:
    kept = sorted({*numbers, os.sysconf("SC_OPEN_MAX")})
    for low, high in itertools.pairwise(kept):
        os.closerange(low + 1, high)


def furnish(libc: ctypes.CDLL, room: Room) -> None:
    """Mount what the command may see. Raises OSError."""

    def mount(source: str | None, place: str, kind: str | None, flags: int, data: str | None = None) -> None:
        words = [None if word is None else word.encode() for word in (source, place, kind)]
        bars.demand(libc.mount(*words, ctypes.c_ulong(flags), None if data is None else data.encode()), place)

    def bind(source: str, place: str, *, writable: bool) -> None:
        make_folder(place)
        mount(source, place, None, MS_BIND | MS_REC)
        held = os.statvfs(place).f_flag & MS_NOEXEC  # flags of the machine's own mounts can be locked
        flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | held
        mount(None, place, None, flags if writable else flags | MS_RDONLY)

    if not room["network"]:
        raise_loopback()
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in COVERED:
        if os.access(f"/proc/{name}", os.W_OK):
            bind(f"/proc/{name}", f"/proc/{name}", writable=False)
    mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    for place in ("/dev/shm", "/tmp"):
        mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,size={room['private_bytes']}")
    for source, place, writable in room["mounts"]:
        bind(source, place, writable=writable)
    mount("tmpfs", room["cover"], "tmpfs", MS_RDONLY, "mode=0,size=4k")


def make_folder(place: str) -> None:
    """A place to mount on, in a private folder; elsewhere it is there already."""
    if not os.path.lexists(place):
        make_folder(os.path.dirname(place))  # noqa: PTH120
        os.mkdir(place)  # noqa: PTH102
        os.chmod(place, 0o755)  # noqa: PTH101


def raise_loopback() -> None:
    """Switch on the only device of a new network."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP | IFF_RUNNING))


def become(keeper: guard.Guard) -> None:
    """Make of this fork what a fresh Python under the same guard would be."""
    try:
        keeper.enter()
    except OSError as error:
        os.write(2, f"raysearch: cannot run {keeper.order.command[0]}: {error.filename}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    close_all_but((0, 1, 2))
    for number in (guard.SIGPIPE, guard.SIGXFSZ):
        keeper.libc.signal(number, 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def play(words: list[str]) -> int:
    """Run a script as ``python SCRIPT WORD...`` does; its exit status."""
    script = words[0]
    sys.argv = words
    sys.orig_argv = [sys.executable, *words]
    if not sys.flags.safe_path:
        sys.path.insert(0, os.path.dirname(os.path.realpath(script)))  # noqa: PTH120
    place = script if script.startswith("/") else f"{os.getcwd()}/{script.removeprefix('./')}"  # noqa: PTH109
    module = types.ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", place)
    vars(module).update(__file__=place, __cached__=None, __loader__=loader, __annotations__={})
    vars(module)["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = module
    sys.setrecursionlimit(sys.getrecursionlimit() + FRAMES)
    try:
        with io.open_code(place) as file:
            code = compile(file.read(), place, "exec", dont_inherit=True)
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
    keeper, request = served
    become(keeper)
    leave(play(request["script"]), loaded, library)


if __name__ == "__main__":
    main(sys.argv[1:])
