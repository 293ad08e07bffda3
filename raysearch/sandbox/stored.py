"""What a command has written: how much, and in order again, however strange it left it."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from raysearch.errors import SandboxFault

DEPTH_MAX = 100
"""Folders inside folders; what lies deeper cannot be named by a path, nor removed by ordinary means."""
FLAT = 8
"""How deep what was too deep is afterwards: with the longest names still a path."""
ENTRY_BYTES = 4096
"""What a file takes at least: an empty one has its place in a folder and in the table of files."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""It was a folder a moment ago."""


def stored_bytes(folder: Path) -> float:
    """Disk space taken by what is below ``folder``; links are not followed, what vanishes meanwhile is skipped.

    Infinite where something cannot be looked at: too deep, or closed to us.
    """
    try:
        top = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return 0
    except OSError:
        return float("inf")
    try:
        return _stored(top, 0)
    finally:
        os.close(top)


def _stored(place: int, depth: int) -> float:
    if depth > DEPTH_MAX:
        return float("inf")
    total, folders = 0.0, []
    with os.scandir(place) as entries:
        for entry in entries:
            total += ENTRY_BYTES
            with suppress(FileNotFoundError):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                else:
                    total += max(0, entry.stat(follow_symlinks=False).st_blocks * 512 - ENTRY_BYTES)
    for name in folders:
        try:
            inner = os.open(name, _FOLDER, dir_fd=place)
        except OSError as error:
            if error.errno in _CHANGED:
                continue
            return float("inf")
        try:
            total += _stored(inner, depth + 1)
        finally:
            os.close(inner)
    return total


def untangle(folder: Path) -> None:
    """Leave nothing that is too deep, or too closed, to be removed by ordinary means."""
    if stored_bytes(folder) < float("inf"):
        return
    try:
        flatten(folder)
    except OSError as error:
        raise SandboxFault(f"cannot put {folder} in order again: {error}") from error


def flatten(folder: Path) -> None:
    """Open all folders below ``folder`` and move up what is deeper than a few levels. Nothing may run there any more.

    Raises OSError.
    """
    top = os.open(folder, _FOLDER)
    try:
        queue = _level(top, top, 0)
        while queue:
            place = _opened(queue.pop(), top)
            try:
                queue += _level(place, top, 0)
            finally:
                os.close(place)
    finally:
        os.close(top)


def _level(place: int, top: int, depth: int) -> list[str]:
    """Go down from the open folder ``place``; the new names, in ``top``, of what was deeper than allowed."""
    moved = []
    with os.scandir(place) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    for name in names:
        if depth == FLAT:
            moved.append(f"deep-{secrets.token_hex(8)}")
            os.rename(name, moved[-1], src_dir_fd=place, dst_dir_fd=top)
            continue
        child = _opened(name, place)
        try:
            moved += _level(child, top, depth + 1)
        finally:
            os.close(child)
    return moved


def _opened(name: str, place: int) -> int:
    os.chmod(name, 0o700, dir_fd=place)  # a folder by what was just read there; nobody is left to change it
    return os.open(name, _FOLDER, dir_fd=place)
