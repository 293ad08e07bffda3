"""A workspace in which the target's own commands are run once more: with another seed, watched, or on the seed."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysearch.board.desk import Desk
from raysearch.protocols import Completed, Guest, Workspace
from raysearch.target import Target
from raysearch.types import Allowance, Commit


@dataclass(frozen=True, slots=True)
class Rerun:
    """``inner``, in which evaluators get another seed, see another program, or are started by other words."""

    inner: Workspace
    evaluation_seed: int
    program: str = "{candidate}"
    """Folder of the program that evaluators are to look at."""
    before: tuple[str, ...] = ()
    """Words that come between ``python`` and its script."""

    @property
    def path(self) -> Path:
        return self.inner.path

    @property
    def target(self) -> Target:
        return self.inner.target

    @property
    def commit(self) -> Commit:
        return self.inner.commit

    @property
    def parents(self) -> Sequence[Commit]:
        return self.inner.parents

    @property
    def scratch(self) -> Path:
        return self.inner.scratch

    @property
    def artifacts(self) -> Path:
        return self.inner.artifacts

    @property
    def allowance(self) -> Allowance:
        return self.inner.allowance

    @property
    def desk(self) -> Desk | None:
        return self.inner.desk

    def show(self, commit: Commit, path: str) -> str:
        return self.inner.show(commit, path)

    def diff(self, old: Commit, new: Commit) -> str:
        return self.inner.diff(old, new)

    def changed(self, old: Commit, new: Commit) -> Sequence[str]:
        return self.inner.changed(old, new)

    def merge_base(self, one: Commit, other: Commit) -> Commit | None:
        return self.inner.merge_base(one, other)

    def restore(self, commit: Commit, path: str) -> None:
        self.inner.restore(commit, path)

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        cwd: str = "{candidate}",
        writable: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        words = [self.program if word == "{candidate}" else word for word in command]
        if self.before:
            place = script_place(words)
            words[place:place] = [word.replace("{candidate}", self.program) for word in self.before]
        return self.inner.run(words, timeout_s=timeout_s, cwd=cwd, writable=writable, env=env)

    def host(self, guest: Guest, *, timeout_s: float, cancel: threading.Event | None = None) -> Completed:
        return self.inner.host(guest, timeout_s=timeout_s, cancel=cancel)


def empty(folder: Path) -> None:
    """Remove what commands left in a scratch folder."""
    for entry in list(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def is_python(command: Sequence[str]) -> bool:
    """Whether a command starts a Python script, module or text."""
    name = Path(command[0]).name if command else ""
    return name.startswith("python") and script_place(command) < len(command)


def script_place(command: Sequence[str]) -> int:
    """Where, behind the interpreter and its options, that begins which it runs."""
    place = 1
    while place < len(command) and command[place].startswith("-") and command[place] not in ("-c", "-m"):
        place += 2 if command[place] in ("-W", "-X") else 1
    return place
