"""The HOME folders of agents' programs: a new one for each conversation, kept while it may go on.

A program keeps its conversations in its HOME, each in a way of its own; so whoever goes on with one gets the folder
back. What lies there was written by an agent: nothing is read or written through a link.
"""

from __future__ import annotations

import os
import shutil
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from raysearch.agents import sessions
from raysearch.sandbox.owners import make_private
from raysearch.sandbox.stored import stored_bytes
from raysearch.types import Usage

ARCHIVE = ".tar"
"""How the file of a kept home ends."""
KEPT_MAX = 16
"""Conversations that can be gone on with; the oldest gives way."""
KEPT_BYTES_MAX = 512 * 1024 * 1024
"""A larger home is not kept."""


@dataclass(slots=True)
class Home:
    """One conversation's. ``totals`` is what it has cost so far, as its program counts."""

    folder: Path
    session: str = ""
    totals: Usage = Usage()


class Homes:
    """Of one agent, on one worker. Its folder is found and removed should the worker die."""

    def __init__(self) -> None:
        self._root: Path | None = None
        self._count = 0
        self._kept: OrderedDict[str, Home] = OrderedDict()

    @contextmanager
    def lent(self, session: str, artifacts: Path | None = None) -> Iterator[Home]:
        """The home of that conversation, or a new one; kept for whoever goes on with it, unless this fails.

        One that this worker does not have may be among the ``artifacts`` of the run.
        """
        home = self._kept.pop(session, None) or self._restored(session, artifacts) or self._new()
        try:
            yield home
        except BaseException:
            _remove(home)
            raise
        if home.session and stored_bytes(home.folder) <= KEPT_BYTES_MAX:
            self._kept[home.session] = home
        else:
            _remove(home)
        while len(self._kept) > KEPT_MAX:
            _remove(self._kept.popitem(last=False)[1])

    def renew(self, home: Home) -> None:
        """Make it a new one."""
        _remove(home)
        fresh = self._new()
        home.folder, home.session, home.totals = fresh.folder, fresh.session, fresh.totals

    def _restored(self, session: str, artifacts: Path | None) -> Home | None:
        file = sessions.found(artifacts, session, ARCHIVE) if session and artifacts else None
        if file is None:
            return None
        home = self._new()
        totals = sessions.unpack(file, home.folder)
        if totals is None:
            _remove(home)
            return None
        home.session, home.totals = session, totals
        return home

    def _new(self) -> Home:
        if self._root is None:
            self._root = make_private()
        self._count += 1
        folder = self._root / f"home-{self._count}"
        folder.mkdir(mode=0o700)
        return Home(folder)

    def close(self) -> None:
        self._kept.clear()
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None


def _remove(home: Home) -> None:
    shutil.rmtree(home.folder, ignore_errors=True)


def place(home: Path, where: PurePosixPath, folders: Sequence[Path]) -> None:
    """Put copies of ``folders``, and nothing else, into the folder ``where`` of a home. Raises OSError."""
    here = _way(home, where)
    for old in here.iterdir():
        if old.is_symlink() or not old.is_dir():
            old.unlink()
        else:
            shutil.rmtree(old)
    for folder in folders:
        shutil.copytree(folder, here / folder.name)


def put(home: Path, where: PurePosixPath, text: str) -> None:
    """Write a file of a home anew. Raises OSError."""
    file = _way(home, where.parent) / where.name
    file.unlink(missing_ok=True)
    with file.open("x", encoding="utf-8", errors="replace") as stream:
        stream.write(text)


@contextmanager
def set_aside(program: Path, names: Sequence[str]) -> Iterator[None]:
    """Meanwhile, files and folders of these names are not in the program; one made anew in their place stays."""
    aside = make_private()
    moved = [name for name in names if os.path.lexists(program / name)]
    try:
        for name in moved:
            shutil.move(program / name, aside / name)
        yield
    finally:
        for name in moved:
            if not os.path.lexists(program / name):
                shutil.move(aside / name, program / name)
        shutil.rmtree(aside, ignore_errors=True)


def _way(home: Path, where: PurePosixPath) -> Path:
    """The folder ``where`` of a home, made as needed; a link on the way gives place to a folder."""
    here = home
    for part in where.parts:
        here /= part
        if here.is_symlink() or here.is_file():
            here.unlink()
        here.mkdir(exist_ok=True)
    return here
