"""The program's files as an agent may see and change them: never beyond the folder, whatever lies in it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from raysearch.target import may_change

FILE_BYTES = 4_000_000
"""A larger file is neither read nor written as a text."""
_NOT_PROGRAM = {".git", "__pycache__"}


class Refused(Exception):
    """What a model asked of the files cannot be done; says why, for the model."""


@dataclass(frozen=True, slots=True)
class Program:
    """A folder of texts. Paths are relative to it, with slashes.

    Nothing else may change the folder while a method runs: then no link can be put where a file was just seen.
    """

    root: Path
    editable: Sequence[str]
    bytes_max: int
    """All files together."""

    def read(self, path: str) -> str:
        """A file's text. Raises Refused."""
        place = self._place(path)
        if place.is_dir():
            raise Refused(f"{path} is a folder")
        return _decoded(_content(place, path), path)

    def listed(self, path: str = "") -> list[str]:
        """What is in a folder, folders with a slash at their end, sorted. Raises Refused."""
        place = self._place(path) if path.strip("./") else self.root
        if not place.is_dir():
            raise Refused(f"there is no folder {path}")
        return sorted(entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "") for entry in os.scandir(place))

    def exists(self, path: str) -> bool:
        """Raises Refused."""
        return self._place(path).exists()

    def write(self, path: str, text: str) -> None:
        """Make a file's text ``text``, folders as needed. Raises Refused."""
        place = self.writable(path)
        content = text.encode("utf-8", "replace")
        kept = sum(size for name, size in self._sizes() if name != place)
        if kept + len(content) > self.bytes_max:
            raise Refused(f"the program would be larger than {self.bytes_max / 1e6:g} MB")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with open(place, "wb", opener=_plainly) as file:
                file.write(content)
        except OSError as error:
            _full(error)
            raise Refused(f"{path} cannot be written: {error.strerror}") from None

    def remove(self, path: str) -> None:
        """Raises Refused."""
        place = self.writable(path)
        try:
            place.unlink()
        except OSError as error:
            raise Refused(f"{path} cannot be removed: {error.strerror}") from None

    def texts(self) -> dict[str, str]:
        """Every file that may change and is a text, by path, sorted."""
        return {path: text for path in self.paths() if (text := self._text(path)) is not None}

    def paths(self) -> list[str]:
        """Every file that may change, sorted."""
        return [path for path in self.all() if may_change(path, self.editable)]

    def all(self) -> list[str]:
        """Every regular file, sorted; links are left out."""
        return sorted(place.relative_to(self.root).as_posix() for place, _ in self._sizes())

    def writable(self, path: str) -> Path:
        """Where ``path`` lies, if it may be written. Raises Refused."""
        place = self._place(path)
        real = place.relative_to(self.root.resolve())
        if not may_change(real.as_posix(), self.editable):
            raise Refused(f"{path} may not change; only {', '.join(self.editable)} may")
        if place.exists() and not place.is_file():
            raise Refused(f"{path} is no file")
        return place

    def _text(self, path: str) -> str | None:
        try:
            return self.read(path)
        except Refused:
            return None

    def _place(self, path: str) -> Path:
        """Where ``path`` really lies, with every link on the way followed."""
        inside = PurePosixPath(path)
        if not path.strip() or "\0" in path or inside.is_absolute() or ".." in inside.parts:
            raise Refused(f"{path!r} is no path within the program: give one relative to its folder, without ..")
        if any(part.lower() in _NOT_PROGRAM for part in inside.parts):
            raise Refused(f"{path} is no part of the program")
        try:
            place = (self.root / inside).resolve()
            with suppress(FileNotFoundError, NotADirectoryError):
                place.lstat()
        except (OSError, RuntimeError) as error:
            raise Refused(f"{path} cannot be reached: {getattr(error, 'strerror', None) or error}") from None
        if not place.is_relative_to(self.root.resolve()):
            raise Refused(f"{path} leads out of the program's folder")
        return place

    def _sizes(self) -> Iterator[tuple[Path, int]]:
        for folder, names, files in os.walk(self.root.resolve()):
            names[:] = [name for name in names if name not in _NOT_PROGRAM]
            for name in files:
                place = Path(folder, name)
                found = place.lstat()
                if stat.S_ISREG(found.st_mode):
                    yield place, found.st_size


def _content(place: Path, path: str) -> bytes:
    """A regular file's bytes: a pipe that was planted is not waited for."""
    try:
        with open(place, "rb", opener=_plainly) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise Refused(f"{path} is no regular file")
            if found.st_size > FILE_BYTES:
                raise Refused(f"{path} has {found.st_size} bytes; at most {FILE_BYTES} are read as a text")
            return file.read(FILE_BYTES + 1)
    except FileNotFoundError:
        raise Refused(f"there is no file {path}") from None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None


def _decoded(content: bytes, path: str) -> str:
    if b"\0" in content:
        raise Refused(f"{path} is no text")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Refused(f"{path} is no text (UTF-8)") from None


def _plainly(path: str, flags: int) -> int:
    """Open without waiting for a pipe and without following a link at the end."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def _full(error: OSError) -> None:
    """A full disk is not the model's to mend."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        raise error
