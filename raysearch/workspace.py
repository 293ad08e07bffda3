"""A program's files, checked out for one job and gone after it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from raysearch.board.desk import Desk
from raysearch.protocols import Completed, Guest
from raysearch.repository import Repository
from raysearch.sandbox import Mount, Sandbox
from raysearch.sandbox.public import hides_something, public_parts
from raysearch.target import Target
from raysearch.types import UNLIMITED, Allowance, Commit

PROGRAM = "program"
"""Folder of the program, beside what else belongs to its job."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """The `raysearch.protocols.Workspace` that workers hand to plug-ins.

    The program lies in a plain folder without ``.git``: nothing that a program plants (hooks, filters,
    submodules) is ever read by git, and no other candidate can be reached from it.
    """

    path: Path
    commit: Commit
    scratch: Path
    target: Target
    repository: Repository
    sandbox: Sandbox
    evaluation_seed: int = 0
    kept: Path | None = None
    """Where `artifacts` lie; beside the program, and lost with it, if nowhere."""
    allowance: Allowance = Allowance()
    parents: tuple[Commit, ...] = ()
    evaluating: bool = True
    """Whether commands may see the target's hidden parts: where programs are judged, not where they are written."""
    desk: Desk | None = None

    @property
    def artifacts(self) -> Path:
        folder = self.kept or self.path.parent / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def show(self, commit: Commit, path: str) -> str:
        return self.repository.show(commit, path)

    def diff(self, old: Commit, new: Commit) -> str:
        return self.repository.diff(old, new)

    def changed(self, old: Commit, new: Commit) -> Sequence[str]:
        trees = self.repository.tree_of(old), self.repository.tree_of(new)
        return [path.as_posix() for path in self.repository.changed(*trees)]

    def merge_base(self, one: Commit, other: Commit) -> Commit | None:
        return self.repository.merge_base(one, other)

    def restore(self, commit: Commit, path: str) -> None:
        self.repository.restore(commit, path, self.path)

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        cwd: str = "{candidate}",
        writable: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        program = Mount(self.path, "/candidate")
        scratch = Mount(self.scratch, "/scratch")
        target = Mount(self.target.root, "/target")
        inside = self.sandbox.inside
        words = {
            "{candidate}": inside(program),
            "{scratch}": inside(scratch),
            "{target}": inside(target),
            "{reference}": inside(target) + "/" + self.target.reference.relative_to(self.target.root).as_posix(),
        }
        argv = [_filled(word, words) for word in command]
        if argv[:1] == ["python"]:
            argv[0] = sys.executable
        return self.sandbox.run(
            argv,
            cwd=_below({"{candidate}": program, "{target}": target, "{scratch}": scratch}, cwd),
            readable=[*self._visible(target), *([] if writable else [program])],
            writable=[scratch, program] if writable else [scratch],
            env={**self.target.environment, **(env or {})},
            limits=self.target.limits,
            timeout_s=timeout_s,
        )

    def _visible(self, target: Mount) -> list[Mount]:
        """The target, or what of it may be seen here."""
        if self.evaluating or not hides_something(self.target):
            return [target]
        root = self.target.root
        return [
            Mount(part, f"{target.inside}/{part.relative_to(root).as_posix()}") for part in public_parts(self.target)
        ]

    def host(self, guest: Guest, *, timeout_s: float, cancel: threading.Event | None = None) -> Completed:
        from raysearch.sandbox.hosting import Room, host  # asyncio, ssl and h11: slow to import, and seldom needed

        room = Room(self.path, self.scratch, self.target)
        return host(self.sandbox, guest, room, timeout_s=timeout_s, cancel=cancel)


def _filled(word: str, words: Mapping[str, str]) -> str:
    for name, path in words.items():
        word = word.replace(name, path)
    return word


def _below(mounts: Mapping[str, Mount], cwd: str) -> Mount:
    """A folder at or below one of the mounts, named as ``{target}/some/folder``."""
    name, _, rest = cwd.partition("/")
    mount = mounts[name]
    return Mount(mount.source / rest, f"{mount.inside}/{rest}") if rest else mount


@contextmanager
def checked_out(
    commit: Commit,
    under: Path,
    target: Target,
    repository: Repository,
    sandbox: Sandbox,
    evaluation_seed: int,
    kept: Path | None = None,
    allowance: Allowance = UNLIMITED,
    parents: tuple[Commit, ...] = (),
    evaluating: bool = True,
    last: LastEvaluated | None = None,
    desk: Desk | None = None,
) -> Iterator[Checkout]:
    """A fresh workspace at ``commit`` in a new folder below ``under``, removed at the end.

    ``last``: for evaluations that leave the program as it is; one that ends without an exception has.
    """
    folder = last.taken(commit) if last else None
    kept_program = folder is not None
    if folder is None:
        folder = Path(tempfile.mkdtemp(dir=under))
    try:
        scratch, program = folder / "scratch", folder / PROGRAM
        scratch.mkdir()
        if not kept_program:
            repository.checkout(commit, program)
        place = (program, commit, scratch, target, repository, sandbox)
        yield Checkout(*place, evaluation_seed, kept, allowance, parents, evaluating, desk)
    except BaseException:
        _remove(folder)
        raise
    if last:
        last.left(commit, folder)
    else:
        _remove(folder)


@dataclass(slots=True)
class LastEvaluated:
    """The program that was evaluated last, for its next evaluation: often the same one's, by another evaluator."""

    _commit: Commit | None = None
    _folder: Path | None = None

    def taken(self, commit: Commit) -> Path | None:
        """A folder with nothing in it but the program, if it is that one; another that was kept is removed."""
        folder, known = self._folder, self._commit == commit
        self._commit = self._folder = None
        if folder is not None and not known:
            _remove(folder)
        return folder if known else None

    def left(self, commit: Commit, folder: Path) -> None:
        """Keep the program, and nothing else of the folder."""
        for name in os.listdir(folder):  # noqa: PTH208
            if name != PROGRAM:
                _remove(folder / name)
        self._commit, self._folder = commit, folder


def _emptied(name: str, parent: int | None) -> None:
    """Remove a folder; never through a link. (`shutil.rmtree` asks three times as much of the system.)"""
    place = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        with os.scandir(place) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for inner, is_folder in found:
            if is_folder:
                _emptied(inner, place)
            else:
                os.unlink(inner, dir_fd=place)
    finally:
        os.close(place)
    os.rmdir(name, dir_fd=parent)


def _remove(folder: Path) -> None:
    """Remove a folder whose modes a candidate may have changed; what cannot be removed is left to the sweep."""

    def unlock(_function: object, path: str, _error: object) -> None:
        Path(path).parent.chmod(0o700)
        if Path(path).is_dir() and not Path(path).is_symlink():
            Path(path).chmod(0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            Path(path).unlink(missing_ok=True)

    try:
        _emptied(os.fspath(folder), None)
        return
    except (OSError, RecursionError):
        pass  # something is in the way, or it is no folder
    try:
        shutil.rmtree(folder, onerror=unlock)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
