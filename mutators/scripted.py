"""Play prepared changes: unified diffs from a folder, or edits written in the configuration."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mutators.git import git
from raysearch.errors import ConfigError, MutatorFault, nearest
from raysearch.protocols import Workspace
from raysearch.types import Brief, Mutation

EDIT_KEYS = ("name", "file", "search", "replace", "content")


@dataclass(frozen=True, slots=True)
class Diff:
    """A unified diff, applied as ``git apply`` does: every hunk, or nothing."""

    name: str
    text: bytes
    context_min: int | None = None
    """Lines around each change, before and after it, that must be as the diff has them; None: all of them."""

    def refusal(self, folder: Path, *, reverse: bool = False) -> str:
        """Why it (or its reverse) does not apply in ``folder``; empty if it does."""
        return self._git(folder, "--check", *(["--reverse"] if reverse else []))

    def apply(self, folder: Path, *, reverse: bool = False) -> str:
        """As `refusal`, and change the files if there is none."""
        return self._git(folder, *(["--reverse"] if reverse else []))

    def _git(self, folder: Path, *flags: str) -> str:
        context = [] if self.context_min is None else [f"-C{self.context_min}"]
        done = git(folder, "apply", "--whitespace=nowarn", *context, *flags, "-", given=self.text)
        return done.stderr.decode(errors="replace").strip() or "git apply failed" if done.returncode else ""


@dataclass(frozen=True, slots=True)
class Edit:
    """One text in one file replaced by another, or, without ``search``, a whole file written."""

    name: str
    file: str
    search: str | None
    replacement: str

    def refusal(self, folder: Path) -> str:
        """Why it does not apply in ``folder``; empty if it does."""
        if not (folder / self.file).resolve().is_relative_to(folder.resolve()):
            return f"{self.file} is outside the program's folder"
        path = folder / self.file
        if self.search is None:
            same = path.is_file() and path.read_bytes() == self.replacement.encode()
            return f"{self.file} says that already" if same else ""
        if not path.is_file():
            return f"there is no file {self.file}"
        count = path.read_bytes().count(self.search.encode())
        return "" if count == 1 else f"{self.file} holds the text to replace {count} times, it must be there once"

    def apply(self, folder: Path) -> str:
        """As `refusal`, and change the file if there is none."""
        refusal = self.refusal(folder)
        if not refusal:
            path = folder / self.file
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = self.search is None
            now = b"" if whole else path.read_bytes().replace((self.search or "").encode(), self.replacement.encode())
            path.write_bytes(self.replacement.encode() if whole else now)
        return refusal


Patch = Diff | Edit


class Scripted:
    """A mutator that plays prepared changes; for tests, tutorials and demonstrations.

    ``patches`` is a folder of ``*.patch`` files, named as the files without their ending. ``edits`` is a list of
    tables: ``file`` with ``search`` and ``replace``, or with ``content`` for a whole file; ``name`` is optional. A
    program goes through them in the order of their names, edits last, in the order given.

    Which one is played depends on nothing but the program and its brief, so any worker may play it. A line
    ``patch: NAME`` in the brief's task says it outright. Otherwise only those that apply to the program count:
    with ``order = "next"`` the first of them, or, where children of the same program were refused before (the
    brief's lessons), the first after so many; with ``order = "random"`` any.
    """

    def __init__(
        self,
        *,
        patches: Path | None = None,
        edits: Sequence[Mapping[str, str]] = (),
        order: Literal["next", "random"] = "next",
    ) -> None:
        self.script: tuple[Patch, ...] = (*_diffs(patches), *_edits(edits))
        self.order = order
        names = [patch.name for patch in self.script]
        if not names:
            raise ConfigError("scripted has nothing to play: give it `patches` (a folder of *.patch files) or `edits`")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"scripted: two changes are called {twice[0]!r}; each needs a name of its own")

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        """Play one change. Raises MutatorFault, with the reason, where none applies."""
        patch = self._named(brief.task) or self._chosen(workspace.path, len(brief.lessons), rng)
        refusal = patch.apply(workspace.path)
        if refusal:
            raise MutatorFault(f"{patch.name} does not apply: {refusal}")
        return Mutation(summary=patch.name)

    def _named(self, task: str) -> Patch | None:
        said = re.search(r"^\s*patch:\s*(.*?)\s*$", task, re.MULTILINE)
        if said is None:
            return None
        by_name = {patch.name: patch for patch in self.script}
        name = said[1].removesuffix(".patch")
        if name not in by_name:
            raise MutatorFault(f"the script has no patch {name!r}.{nearest(name, by_name)}")
        return by_name[name]

    def _chosen(self, folder: Path, refused: int, rng: random.Random) -> Patch:
        refusals = {patch.name: patch.refusal(folder) for patch in self.script}
        fitting = [patch for patch in self.script if not refusals[patch.name]]
        if not fitting:
            reasons = "\n".join(f"  {name}: {reason}" for name, reason in refusals.items())
            raise MutatorFault(f"the script is over, nothing in it applies to this program:\n{reasons}")
        if self.order == "random":
            return rng.choice(fitting)
        if refused >= len(fitting):
            names = ", ".join(patch.name for patch in fitting)
            raise MutatorFault(f"the script is over: all that applies to this program ({names}) has been refused")
        return fitting[refused]


def _diffs(folder: Path | None) -> list[Diff]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise ConfigError(f"scripted: there is no folder {folder} to take patches from")
    found = [Diff(path.stem, path.read_bytes()) for path in sorted(folder.glob("*.patch"))]
    if not found:
        raise ConfigError(f"scripted: no file in {folder} ends in .patch")
    return found


def _edits(tables: Sequence[Mapping[str, str]]) -> list[Edit]:
    found = []
    for number, table in enumerate(tables, start=1):
        where = f"scripted: edit {number}"
        for key in table:
            if key not in EDIT_KEYS:
                raise ConfigError(f"{where} has an unknown key {key!r}.{nearest(key, EDIT_KEYS)}")
        kinds = ({"search", "replace"} <= set(table), "content" in table)
        if "file" not in table or kinds.count(True) != 1 or (kinds[1] and len({"search", "replace"} & set(table))):
            raise ConfigError(f"{where} needs `file`, and `search` with `replace` or else `content`")
        if table.get("search") == "":
            raise ConfigError(f"{where}: an empty `search` is everywhere; use `content` to write a whole file")
        text = table["content"] if kinds[1] else table["replace"]
        name = table.get("name", f"edit-{number}")
        found.append(Edit(name, table["file"], None if kinds[1] else table["search"], text))
    return found
