"""What closes a command in, from within: no rights, a Landlock ruleset, a seccomp filter; none of it comes off again.

Part of a guard (`raysearch.process.guard`), which imports this file where there is something to close.

A command that has the same user number as raysearch could change modes and times of all of that user's files, which
Landlock does not guard. Its filter hands such calls to the guard (seccomp_unotify(2)), which looks up what file is
meant and acts only below the folders that the command may write; it never gives a file the rights of its owner.
"""

from __future__ import annotations

import _socket
import ctypes
import errno
import fcntl
import os
import select
import struct
import time

PR_SET_NO_NEW_PRIVS = 38
CAPABILITIES_VERSION_3 = 0x20080522
LANDLOCK_RESTRICT_SELF = 446
SECCOMP = {"x86_64": 317, "aarch64": 277}
SET_MODE_FILTER, NEW_LISTENER = 1, 8
RECEIVE, SEND, STILL_VALID = 0xC0502100, 0xC0182101, 0x40082102
NOTIFICATION, RESPONSE = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")

CALLS = {
    "x86_64": {90: "chmod", 91: "fchmod", 268: "fchmodat", 452: "fchmodat", 280: "utimensat"},
    "aarch64": {52: "fchmod", 53: "fchmodat", 452: "fchmodat", 88: "utimensat"},
}
AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH = -100, 0x100, 0x1000
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
PATH_BYTES_MAX, PAGE_BYTES = 4096, 4096
MODES = 0o777
"""What may be given to a file: nothing that makes it run as its owner."""


class Filter:
    """A seccomp program, as the kernel takes it; made of an open file."""

    def __init__(self, number: int) -> None:
        self.code = os.pread(number, 1 << 16, 0)
        address = ctypes.cast(ctypes.c_char_p(self.code), ctypes.c_void_p).value or 0
        self.program = words(len(self.code) // 8, address)  # struct sock_fprog
        self.call = SECCOMP[os.uname().machine]


def close_in(libc: ctypes.CDLL, ruleset: int, filter_: Filter | None, *, listen: bool) -> int:
    """Close this process in, for good; -1 for no ruleset. Raises OSError.

    Returns the open file on which calls come that the filter hands on, or -1 if nobody will ``listen``.
    """
    demand(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    demand(libc.capset(*NO_RIGHTS), "capabilities")
    if ruleset >= 0:
        demand(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock")
    if filter_ is None:
        return -1
    flags = NEW_LISTENER if listen else 0
    listener: int = libc.syscall(filter_.call, SET_MODE_FILTER, flags, filter_.program)
    demand(min(listener, 0), "seccomp")
    return listener if listen else -1


def rights(kept: tuple[int, ...]) -> tuple[bytes, bytes]:
    """For capset(2): all capabilities but these, by number, are given up; with no_new_privs none comes back."""
    mask = sum(1 << number for number in kept)  # all below 32: effective, permitted, inheritable; then the high halves
    return words(CAPABILITIES_VERSION_3), words(mask | mask << 32, 0, 0)


def words(*numbers: int) -> bytes:
    """As the kernel reads them: 64 bits each, the low end first. (Arrays of ctypes are new types: slow in a fork.)"""
    return b"".join(number.to_bytes(8, "little") for number in numbers)


NO_RIGHTS = rights(())


def demand(answer: int, what: str | bytes) -> None:
    """Raise OSError where a call of the C library failed."""
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(what))


class Hatch:
    """Through which the command's process hands its listener to the guard, just before it becomes the command."""

    def __init__(self, folders: list[str]) -> None:
        self.folders = folders
        self.guards, self.commands = _socket.socketpair()

    def hand_over(self, listener: int) -> None:
        self.commands.sendmsg([b"."], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", listener))])
        os.close(listener)
        self.commands.close()
        self.guards.close()

    def receive(self) -> Supervisor | None:
        """Wait for it; None where the command did not get so far."""
        self.commands.close()
        _, messages, _, _ = self.guards.recvmsg(1, _socket.CMSG_SPACE(4))
        self.guards.close()
        for _, _, content in messages:
            return Supervisor(struct.unpack("i", content[:4])[0], self.folders)
        return None


class Supervisor:
    """Changes modes and times for commands, below ``folders`` only."""

    def __init__(self, listener: int, folders: list[str]) -> None:
        self.listener = listener
        self.folders = [os.path.realpath(folder) for folder in folders]
        self.calls = CALLS[os.uname().machine]
        self.poll = select.poll()
        self.poll.register(listener, select.POLLIN)

    def attend(self) -> None:
        """Answer every call that waits."""
        while any(event & select.POLLIN for _, event in self.poll.poll(0)):
            self.answer()

    def answer(self) -> None:
        asked = bytearray(NOTIFICATION.size)
        try:
            fcntl.ioctl(self.listener, RECEIVE, asked, True)
        except OSError:
            return  # who called is gone
        call, pid, _, number, _, _, *arguments = NOTIFICATION.unpack(asked)
        try:
            self.perform(self.calls[number], call, pid, arguments)
            error = 0
        except OSError as refusal:
            error = refusal.errno or errno.EPERM
        except (KeyError, ValueError):
            error = errno.EPERM
        try:  # noqa: SIM105 - contextlib costs a tenth of the guard's start
            fcntl.ioctl(self.listener, SEND, RESPONSE.pack(call, 0, -error, 0))
        except OSError:
            pass

    def perform(self, name: str, call: int, pid: int, arguments: list[int]) -> None:
        """Do what process ``pid`` asks. Raises OSError."""
        first, second, third, fourth = arguments[:4]
        moment: tuple[int, ...] = ()
        if name == "chmod":
            place = self.opened(pid, AT_FDCWD, first, 0)
        elif name == "fchmod":
            place = self.opened(pid, signed(first), 0, 0)
        elif name == "fchmodat":
            place = self.opened(pid, signed(first), second, fourth)
        else:
            moment = struct.unpack("=4q", read_memory(pid, third, 32)) if third else (0, UTIME_NOW, 0, UTIME_NOW)
            place = self.opened(pid, signed(first), second, fourth)
        try:
            fcntl.ioctl(self.listener, STILL_VALID, struct.pack("=Q", call))  # else that was another process's memory
            real = os.readlink(f"/proc/self/fd/{place}")  # noqa: PTH115
            if not any(real == folder or real.startswith(folder + "/") for folder in self.folders):
                raise PermissionError(errno.EPERM, "outside")
            if moment:
                os.utime(f"/proc/self/fd/{place}", ns=times(moment, place))
            else:
                mode = third if name == "fchmodat" else second
                os.chmod(f"/proc/self/fd/{place}", mode & MODES)  # noqa: PTH101
        finally:
            os.close(place)

    def opened(self, pid: int, folder: int, address: int, flags: int) -> int:
        """The very file that is meant, open without any right to its content."""
        base = f"/proc/{pid}/cwd" if folder == AT_FDCWD else f"/proc/{pid}/fd/{folder}"
        path = read_text(pid, address) if address else b""
        if not path:
            if address and not flags & AT_EMPTY_PATH:
                raise FileNotFoundError(errno.ENOENT, "no path")
            return os.open(base, os.O_PATH | os.O_CLOEXEC)
        for own in (b"/proc/self/", b"/proc/thread-self/"):
            if path.startswith(own):
                path = f"/proc/{pid}/".encode() + path[len(own) :]
        start = os.open(base, os.O_PATH | os.O_CLOEXEC)
        try:
            follow = os.O_NOFOLLOW if flags & AT_SYMLINK_NOFOLLOW else 0
            return os.open(path, os.O_PATH | os.O_CLOEXEC | follow, dir_fd=start)
        finally:
            os.close(start)


def times(moment: tuple[int, ...], place: int) -> tuple[int, int]:
    """Nanoseconds of access and change that two ``struct timespec`` ask for."""
    found = os.fstat(place)
    asked = []
    for seconds, nanoseconds, kept in ((*moment[:2], found.st_atime_ns), (*moment[2:], found.st_mtime_ns)):
        if nanoseconds == UTIME_NOW:
            asked.append(time.time_ns())
        else:
            asked.append(kept if nanoseconds == UTIME_OMIT else seconds * 1_000_000_000 + nanoseconds)
    return asked[0], asked[1]


def signed(number: int) -> int:
    """An int, as the kernel reads it from a register."""
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >> 31 else number


def read_text(pid: int, address: int) -> bytes:
    """Text in a process's memory, up to its end. Raises OSError."""
    text = b""
    while len(text) < PATH_BYTES_MAX:
        piece, found, _ = read_memory(pid, address, PAGE_BYTES - address % PAGE_BYTES).partition(b"\0")
        text += piece
        if found:
            return text
        address += len(piece)
    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def read_memory(pid: int, address: int, size: int) -> bytes:
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(memory, size, address)
    finally:
        os.close(memory)


def hide_command() -> None:
    """Blank the command's words in what the machine shows as this process's command line: some are secrets.

    The memory behind ``/proc/PID/cmdline`` is from ``arg_start`` to ``arg_end`` of proc_pid_stat(5).
    """
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        command = start + ctypes.string_at(start, end - start).index(b"\0--\0") + 4
        ctypes.memset(command, 0, end - command)
    except (OSError, ValueError, IndexError):
        pass
