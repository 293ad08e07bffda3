"""Merge the program with another candidate, as version control does. Needs no model."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mutators.git import git
from raysearch.errors import MutatorFault
from raysearch.protocols import Workspace
from raysearch.types import Brief, CandidateId, Commit, Mutation

Side = Literal["ours", "base", "theirs"]

DRAWS_MAX = 32
"""Ways to settle the conflicts that are tried for a program which is neither of the two."""
MARK = 47
"""Length of the marks around a conflict: no line of a program starts with so many by accident."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Lines that both sides changed since their common ancestor, each in its own way."""

    ours: str = ""
    base: str = ""
    theirs: str = ""

    def side(self, name: Side) -> str:
        return {"ours": self.ours, "base": self.base, "theirs": self.theirs}[name]


@dataclass(frozen=True, slots=True)
class Text:
    """A file that both sides changed: its three versions, and the merged text with the conflicts in between."""

    ours: str
    base: str
    theirs: str
    pieces: tuple[str | Conflict, ...]

    @property
    def conflicts(self) -> int:
        return sum(isinstance(piece, Conflict) for piece in self.pieces)

    def settled(self, sides: Sequence[Side]) -> str:
        """The text with one side kept for each conflict, in order."""
        left = iter(sides)
        return "".join(piece.side(next(left)) if isinstance(piece, Conflict) else piece for piece in self.pieces)

    def version(self, name: Side) -> str:
        return {"ours": self.ours, "base": self.base, "theirs": self.theirs}[name]


@dataclass(frozen=True, slots=True)
class Whole:
    """A file that both sides changed and that is taken from one of them: deleted by one, a link, or no text."""

    @property
    def conflicts(self) -> int:
        return 1


Settled = Mapping[str, tuple[Side, ...]]
"""For each file that both sides changed, the side kept in each of its conflicts."""


@dataclass(frozen=True, slots=True)
class ThreeWay:
    """What two commits changed since their latest common ancestor."""

    ours: Commit
    base: Commit
    theirs: Commit
    only_ours: tuple[str, ...]
    only_theirs: tuple[str, ...]
    both: Mapping[str, Text | Whole]

    @property
    def conflicts(self) -> int:
        return sum(file.conflicts for file in self.both.values())

    def is_new(self, settled: Settled) -> bool:
        """Whether the result is none of the three."""
        as_ours = not self.only_theirs and self._is("ours", settled)
        as_theirs = not self.only_ours and self._is("theirs", settled)
        as_base = not self.only_ours and not self.only_theirs and self._is("base", settled)
        return not (as_ours or as_theirs or as_base)

    def _is(self, version: Side, settled: Settled) -> bool:
        """Whether every file that both changed comes out as one version of it has it."""
        return all(
            settled[path] == (version,)
            if isinstance(file, Whole)
            else file.settled(settled[path]).rstrip() == file.version(version).rstrip()
            for path, file in self.both.items()
        )

    def write(self, workspace: Workspace, settled: Settled) -> None:
        """Turn the program of ``workspace``, which is ``ours``, into the result."""
        for path in self.only_theirs:
            workspace.restore(self.theirs, path)
        for path, file in self.both.items():
            if isinstance(file, Text):
                (workspace.path / path).write_bytes(file.settled(settled[path]).encode())
            elif settled[path] != ("ours",):
                workspace.restore(self.theirs if settled[path] == ("theirs",) else self.base, path)


class Merge:
    """A mutator that merges the first of the brief's inspirations into the program.

    What only one of the two changed since their latest common ancestor is taken from it. Where both changed the
    same lines, ``conflicts`` says what is kept: with ``side`` those of one of the two, drawn for each place; with
    ``drop`` those of the ancestor. A file that cannot be merged line by line is one such place.

    A proposal with both as its parents is committed as a merge.
    """

    def __init__(self, *, conflicts: Literal["side", "drop"] = "side") -> None:
        self.conflicts = conflicts

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        """Merge in place. Raises MutatorFault where nothing new can come of it."""
        if not brief.inspirations:
            raise MutatorFault("there is nothing to merge with: the brief names no other candidate")
        mate = brief.inspirations[0]
        merge = three_way(workspace, mate.id, mate.commit)
        settled = self._settled(merge, mate.id, rng)
        merge.write(workspace, settled)
        return Mutation(summary=_summary(merge, mate.id, settled))

    def _settled(self, merge: ThreeWay, mate: CandidateId, rng: random.Random) -> Settled:
        for _ in range(DRAWS_MAX if self.conflicts == "side" and merge.conflicts else 1):
            settled = {path: tuple(self._side(rng) for _ in range(file.conflicts)) for path, file in merge.both.items()}
            if merge.is_new(settled):
                return settled
        raise MutatorFault(
            f"this program and {mate} changed the same places only ({merge.conflicts}), so that merging them gives "
            "one of the two again, or their ancestor"
        )

    def _side(self, rng: random.Random) -> Side:
        if self.conflicts == "drop":
            return "base"
        return "ours" if rng.random() < 0.5 else "theirs"


def three_way(workspace: Workspace, mate: CandidateId, theirs: Commit) -> ThreeWay:
    """The program of ``workspace`` and the candidate ``mate`` against their latest common ancestor.

    Raises MutatorFault where one of them is the ancestor, or none changed anything that the other did not.
    """
    ours = workspace.commit
    if ours == theirs or not workspace.changed(ours, theirs):
        raise MutatorFault(f"there is nothing to merge: this program and {mate} are the same")
    base = workspace.merge_base(ours, theirs)
    if base is None:
        raise MutatorFault(f"this program and {mate} cannot be merged: they have no common ancestor")
    if base in (ours, theirs):
        line = f"{mate} descends from this program" if base == ours else f"this program descends from {mate}"
        raise MutatorFault(f"there is nothing to merge: {line}")
    here, there = workspace.changed(base, ours), workspace.changed(base, theirs)
    both = {path: _merged(workspace, base, theirs, path) for path in there if path in here}
    return ThreeWay(
        ours,
        base,
        theirs,
        tuple(path for path in here if path not in both),
        tuple(path for path in there if path not in both),
        both,
    )


def _merged(workspace: Workspace, base: Commit, theirs: Commit, path: str) -> Text | Whole:
    """One file that both sides changed, merged by git."""
    place = workspace.path / path
    if place.is_symlink() or not place.is_file():
        return Whole()
    try:
        ours = place.read_bytes().decode()
        versions = {"ours": ours, "base": workspace.show(base, path), "theirs": workspace.show(theirs, path)}
    except (FileNotFoundError, UnicodeDecodeError):
        return Whole()
    if any("\0" in text or "\N{REPLACEMENT CHARACTER}" in text for text in versions.values()):
        return Whole()
    for name, text in versions.items():
        (workspace.scratch / name).write_bytes(text.encode())
    done = git(workspace.scratch, "merge-file", "-p", "--diff3", f"--marker-size={MARK}", *versions)
    if done.returncode not in range(128):  # up to so many conflicts; beyond are errors
        return Whole()
    return Text(**versions, pieces=tuple(pieces(done.stdout.decode())))


def pieces(text: str) -> list[str | Conflict]:
    """What ``git merge-file --diff3`` wrote, taken apart."""
    found: list[str | Conflict] = []
    parts = {"ours": "", "base": "", "theirs": ""}
    side = ""
    for line in re.split(r"(?<=\n)", text):
        mark = line[0] if line and line.startswith(line[0] * MARK) else ""
        if mark == "<" and not side:
            side, parts = "ours", {"ours": "", "base": "", "theirs": ""}
        elif mark == "|" and side == "ours":
            side = "base"
        elif mark == "=" and side == "base":
            side = "theirs"
        elif mark == ">" and side == "theirs":
            found.append(Conflict(**parts))
            side = ""
        elif side:
            parts[side] += line
        elif line:
            found.append(line)
    return found


def _summary(merge: ThreeWay, mate: CandidateId, settled: Settled) -> str:
    """``merged with 23: 2 files, 3 conflicts (2 ours, 1 theirs)``."""
    sides = [side for kept in settled.values() for side in kept]
    counts = [f"{sides.count(side)} {side}" for side in ("ours", "base", "theirs") if side in sides]
    conflicts = f", {len(sides)} conflict{'s' if len(sides) > 1 else ''} ({', '.join(counts)})" if sides else ""
    taken = len(merge.only_theirs) + len(merge.both)
    return f"merged with {mate}: {taken} file{'s' if taken > 1 else ''}{conflicts}"
