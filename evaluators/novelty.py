"""A judge that refuses what is a parent's program written differently, and notes what was deleted before."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from evaluators.likeness import normal
from evaluators.results import clean
from raysearch.protocols import Workspace
from raysearch.types import Brief, Case, Commit, Verdict

REINTRODUCED = "reintroduced"
"""Condition of a verdict: how many lines; policies tell the next children of the same parent of them."""
LINE_CHARS_MIN = 12
"""Shorter lines are written anew all the time."""
SHOWN_MAX = 5
FILE_BYTES = 1_000_000
"""Larger files are not looked into."""


class Novelty:
    """Compares a program with what it was made from; it runs nothing.

    No: all that sets it apart from one of its parents is white space, comments and, in Python, docstrings and names of
    local variables. So no measurement is spent on a program that is known. Of kinds of files that it does not know it
    looks at their lines, without empty ones and what is blank at their ends.

    Yes, with a note: lines come back that were deleted on the way from an ancestor to the parents. The ancestors that
    it can see are the target's seed program and what two parents have in common.
    """

    def judge(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Verdict:  # noqa: ARG002
        for parent in workspace.parents:
            paths = workspace.changed(parent, workspace.commit)
            if paths and all(_same(workspace, parent, path) for path in paths):
                files = f"{', '.join(paths[:SHOWN_MAX])}{' and others' if len(paths) > SHOWN_MAX else ''}"
                return Verdict(
                    False,
                    f"nothing new: in {files} only white space, comments or names differ from the program that it was"
                    " made from. Change what the program does.",
                    tuple(Case(path, False, "the same program") for path in paths[:SHOWN_MAX]),
                )
        found = reintroduced(workspace)
        if not found:
            return Verdict(True)
        shown = "\n".join(f"{path}: {line}" for path, line in found[:SHOWN_MAX])
        more = f"\nand {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else ""
        told = f"it brings back {_lines(len(found))} deleted on the way to its parent:\n{shown}{more}"
        cases = tuple(Case(path, True, clean(line, 200)) for path, line in found[:SHOWN_MAX])
        return Verdict(True, clean(told), cases, {REINTRODUCED: str(len(found))})


def reintroduced(workspace: Workspace) -> list[tuple[str, str]]:
    """Path and text of the lines that an ancestor has, that no parent has, and that the program has again."""
    if not workspace.parents:
        return []
    paths = set[str]()
    for parent in workspace.parents:
        paths.update(workspace.changed(parent, workspace.commit))
    return [(path, line) for path in sorted(paths) for line in _again(workspace, path)]


def _again(workspace: Workspace, path: str) -> Iterator[str]:
    had = {line for text in _ancestors(workspace, path) for line in _telling(text)}
    for parent in workspace.parents if had else ():
        had -= set(_telling(_shown(workspace, parent, path) or ""))
    for line in dict.fromkeys(_telling(_text(workspace.path / path) or "")) if had else ():
        if line in had:
            yield line


def _ancestors(workspace: Workspace, path: str) -> Iterator[str]:
    """The texts that the file at ``path`` had in the ancestors that can be seen."""
    seed = workspace.target.seed
    texts = [] if seed is None else [_text(seed / path)]
    if len(workspace.parents) > 1:
        base = workspace.merge_base(*workspace.parents[:2])
        texts += [] if base is None else [_shown(workspace, base, path)]
    yield from (text for text in texts if text is not None)


def _same(workspace: Workspace, parent: Commit, path: str) -> bool:
    new, old = _text(workspace.path / path), _shown(workspace, parent, path)
    return new is not None and old is not None and normal(path, new) == normal(path, old)


def _text(place: Path) -> str | None:
    """Text of a file; None where there is none, or it is none: a link, a large file, binary data."""
    if place.is_symlink() or not place.is_file() or place.stat().st_size > FILE_BYTES:
        return None
    try:
        text = place.read_bytes().decode()
    except (UnicodeDecodeError, OSError):
        return None
    return None if "\0" in text else text


def _shown(workspace: Workspace, commit: Commit, path: str) -> str | None:
    try:
        text = workspace.show(commit, path)
    except FileNotFoundError:
        return None
    return None if "\0" in text or "\N{REPLACEMENT CHARACTER}" in text else text


def _telling(text: str) -> Sequence[str]:
    """Lines that say something, without what is blank around them."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if len(line) >= LINE_CHARS_MIN]


def _lines(count: int) -> str:
    return "a line that was" if count == 1 else f"{count} lines that were"
