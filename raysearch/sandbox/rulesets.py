"""Landlock rulesets: which files a process, and all that it starts, may touch from now on (landlock(7)).

Linux 5.13 and later, no rights needed. What a kernel can restrict has grown with the version of its interface (ABI);
what a ruleset does not name among the things it handles stays as it was.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from raysearch.errors import SandboxFault

_CREATE, _ADD = 444, 445
_VERSION, _BENEATH = 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << n for n in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

READ = EXECUTE | READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM | REFER | TRUNCATE
DEVICE = READ_FILE | WRITE_FILE
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that a rule about one file may name."""

TCP = 0b11
"""Bind, connect."""
SCOPED = 6
"""The first ABI with scopes."""
SCOPES = 0b11
"""Abstract Unix sockets and signals do not reach beyond the process and what it starts."""

KERNEL = {1: "5.13", 2: "5.19", 3: "6.2", 4: "6.7", 5: "6.10", 6: "6.12"}
"""The Linux that an ABI came with."""


class _Attributes(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("place", ctypes.c_int32))


@cache
def abi() -> int:
    """The version of Landlock's interface in this kernel; 0 where there is none, or it is switched off."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return max(0, int(libc.syscall(_CREATE, None, 0, _VERSION)))
    except (OSError, AttributeError):
        return 0


def handled_rights(version: int) -> int:
    """Every right on files that this version can withhold."""
    newest = REFER if version < 3 else TRUNCATE if version < 5 else IOCTL_DEV
    return (newest << 1) - 1 if version >= 2 else REFER - 1


@contextmanager
def ruleset(rules: Iterable[tuple[Path, int]], *, files: bool = True, tcp: bool = True) -> Iterator[int]:
    """An open ruleset that withholds everything but ``rules``: a file or folder, and the rights below it.

    ``files``: whether it is about files at all; ``tcp``: whether TCP is withheld. Raises SandboxFault.
    """
    version = abi()
    libc = ctypes.CDLL(None, use_errno=True)
    handled = handled_rights(version)
    attributes = _Attributes(handled if files else 0, TCP if tcp else 0, SCOPES)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    number = libc.syscall(_CREATE, ctypes.byref(attributes), size, 0)
    if number < 0:
        raise SandboxFault(f"no Landlock ruleset can be made: {os.strerror(ctypes.get_errno())}")
    try:
        for place, rights in rules:
            _allow(libc, number, place, rights & handled)
        yield number
    finally:
        os.close(number)


def _allow(libc: ctypes.CDLL, number: int, place: Path, rights: int) -> None:
    try:
        opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxFault(f"cannot show {place} to a command: {error.strerror}") from error
    try:
        if not place.is_dir():
            rights &= OF_A_FILE
        rule = _Beneath(rights, opened)
        if libc.syscall(_ADD, number, _BENEATH, ctypes.byref(rule), 0) < 0:
            raise SandboxFault(f"no Landlock rule for {place}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(opened)
