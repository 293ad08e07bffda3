"""A door that closes behind the process: after `close_door` it can compute, use the pipes it already holds, and end.

A heuristic that could open a file could read the command line of the process that feeds it, seed included, draw
the very items that are still to come, and pack them with foresight. So before its code is loaded, a seccomp filter
lets through only the system calls that a computation needs; all others (open, socket, fork, ptrace, reading another
process's memory) fail with "Operation not permitted". The filter cannot be taken off.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

_ALLOWED = {
    # read write close fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn sched_yield
    # mremap madvise nanosleep getpid exit gettimeofday getrusage sigaltstack gettid futex restart_syscall
    # clock_gettime clock_nanosleep exit_group getrandom: as numbered for each machine by the Linux kernel
    "x86_64": (
        *(0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 24),
        *(25, 28, 35, 39, 60, 96, 98, 131, 186, 202, 219),
        *(228, 230, 231, 318),
    ),
    "aarch64": (
        *(63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 124),
        *(216, 233, 101, 172, 93, 169, 165, 132, 178, 98, 128),
        *(113, 115, 94, 278),
    ),
}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # 1 is EPERM


class Unsupported(Exception):
    """This machine cannot keep a heuristic away from the items to come."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def check_machine() -> None:
    """Raise `Unsupported`, with what is needed, unless heuristics can be judged here."""
    if not sys.platform.startswith("linux") or platform.machine() not in _ALLOWED:
        raise Unsupported(
            f"online-bin-packing needs Linux on {' or '.join(_ALLOWED)} (seccomp); this is {platform.system()} on "
            f"{platform.machine()}. Run it in a Linux container or machine."
        )


def _filter(machine: str) -> bytes:
    """The filter in classic BPF: for another architecture kill, for an allowed call allow, otherwise deny."""
    allowed = _ALLOWED[machine]
    lines = [(_LOAD, 0, 0, 4), (_JUMP_IF_EQUAL, 1, 0, _AUDIT_ARCH[machine]), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    for place, call in enumerate(allowed):
        lines.append((_JUMP_IF_EQUAL, len(allowed) - place, 0, call))
    lines += [(_RETURN, 0, 0, _DENY), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def close_door() -> None:
    """Put this process, for good, where it can reach nothing. Raises `Unsupported`."""
    check_machine()
    program = _filter(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    argument = _Program(len(program) // 8, program)
    for call in (
        (_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), *(ctypes.c_ulong(0),) * 3),
        (_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(argument), *(ctypes.c_ulong(0),) * 2),
    ):
        if libc.prctl(*call):
            reason = os.strerror(ctypes.get_errno())
            raise Unsupported(f"this kernel refuses a seccomp filter ({reason}); allow seccomp where this runs.")
