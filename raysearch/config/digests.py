"""Content of folders: which files count, what they hash to, copies of them.

A digest covers each file's relative path, whether it may be executed, and its bytes; other permissions, owners and
times do not count, so a read-only copy has the digest of its original. ``.git`` and ``__pycache__`` never count.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raysearch.config.toml import shown
from raysearch.errors import TargetError

IGNORED = frozenset({".git", "__pycache__"})
FILES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Part:
    """A folder of a target, or one script of it with nothing beside it (``only``)."""

    folder: Path
    only: str = ""


def files(part: Part) -> list[tuple[str, Path]]:
    """Relative POSIX path and place of every file of ``part``, sorted by path.

    Raises TargetError for what has no content of its own to copy: links out of the folder, devices, pipes.
    """
    if part.only:
        return [(part.only, _checked(part.folder / part.only, part.folder))]
    found = []
    for path in _walk(part.folder):
        name = path.relative_to(part.folder).as_posix()
        if any(_means_git(piece) for piece in name.split("/")):
            raise TargetError(f"{shown(path)}: git takes no file of that name: rename or remove it.")
        found.append((name, _checked(path, part.folder)))
        if len(found) > FILES_MAX:
            raise TargetError(f"{shown(part.folder)}: more than {FILES_MAX} files: give it a folder of its own.")
    return sorted(found)


def _walk(folder: Path) -> Iterator[Path]:
    """Everything below ``folder`` that is not a folder; a link counts as itself."""
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            entries = list(os.scandir(current))
        except OSError as problem:
            raise TargetError(f"{shown(current)}: cannot be read: {problem.strerror or problem}.") from None
        for entry in entries:
            if entry.name in IGNORED:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            else:
                yield Path(entry.path)


def _means_git(name: str) -> bool:
    """Whether some file system takes ``name`` for ``.git``, which git therefore refuses to keep."""
    return name.partition(":")[0].rstrip(" .").lower() in {".git", "git~1"}


def _checked(path: Path, folder: Path) -> Path:
    try:
        path.name.encode("utf-8")
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            to = path.readlink()
            if to.is_absolute() or not path.resolve(strict=True).is_relative_to(folder.resolve()):
                raise TargetError(
                    f"{shown(path)}: a link to {str(to)!r}, which is not a relative link inside {shown(folder)}: "
                    "copy in what it points to, so that the target is complete in itself."
                )
        elif not stat.S_ISREG(mode):
            raise TargetError(f"{shown(path)}: neither a file, a folder nor a link: remove it.")
    except UnicodeEncodeError:
        raise TargetError(f"{shown(path.parent)}: holds a file whose name is not UTF-8: rename it.") from None
    except RuntimeError:
        raise TargetError(f"{shown(path)}: a link that leads in a circle: remove it.") from None
    except OSError as problem:
        raise TargetError(f"{shown(path)}: cannot be read: {problem.strerror or problem}.") from None
    return path


def digest(part: Part) -> str:
    """SHA-256 (hexadecimal) of the content of ``part``. Raises TargetError for what cannot be read."""
    total = hashlib.sha256()
    for name, path in files(part):
        try:
            kind, content = content_of(path)
        except OSError as problem:
            raise TargetError(f"{shown(path)}: cannot be read: {problem.strerror or problem}.") from None
        total.update(f"{len(name.encode())}:{name}:{kind}:{content};".encode())
    return total.hexdigest()


def content_of(path: Path) -> tuple[str, str]:
    """Git's notion of a file: its kind (``file``, ``script`` or ``link``) and its content's SHA-256."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "link", hashlib.sha256(bytes(path.readlink())).hexdigest()
    with path.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    return ("script" if mode & 0o100 else "file"), content


def combined(*pieces: str) -> str:
    """One digest of several texts; where one ends and the next begins counts."""
    total = hashlib.sha256()
    for piece in pieces:
        data = piece.encode("utf-8", "surrogatepass")
        total.update(f"{len(data)}:".encode() + data)
    return total.hexdigest()


def size_bytes(part: Part) -> int:
    """All files of ``part`` together."""
    return sum(path.lstat().st_size for _, path in files(part))


def copy(part: Part, into: Path) -> None:
    """Copy ``part`` to the new folder ``into``; the copies are read-only. Raises TargetError."""
    try:
        into.mkdir(parents=True)
        for name, path in files(part):
            place = into / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                place.symlink_to(path.readlink())
                continue
            shutil.copyfile(path, place)
            place.chmod(0o555 if path.stat().st_mode & 0o100 else 0o444)
    except OSError as problem:
        raise TargetError(
            f"{shown(part.folder)}: cannot be copied to {shown(into)}: {problem.strerror or problem}."
        ) from None
