"""Unified diffs: their statistics, and their colours on a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file of a diff; a binary file counts no lines."""

    path: str
    added: int
    deleted: int


def changes(patch: str) -> list[FileChange]:
    """The files of a git patch, with lines added and deleted."""
    found: list[FileChange] = []
    path, added, deleted = "", 0, 0
    left_old = left_new = 0
    for text in patch.split("\n"):
        if left_old > 0 or left_new > 0:
            added += text.startswith("+")
            deleted += text.startswith("-")
            left_old -= text[:1] in {" ", "-", ""}
            left_new -= text[:1] in {" ", "+", ""}
        elif text.startswith("diff --git "):
            if path:
                found.append(FileChange(path, added, deleted))
            path, added, deleted = text.rpartition(" b/")[2].rstrip('"'), 0, 0
        elif match := HUNK.match(text):
            left_old, left_new = (int(count) if count is not None else 1 for count in match.groups())
    if path:
        found.append(FileChange(path, added, deleted))
    return found


def coloured(patch: str) -> Iterator[str]:
    """Lines of a patch in the colours of git, for `click.echo`, which drops them where there is no terminal."""
    import click

    for text in patch.splitlines():
        if text.startswith(("diff ", "index ", "--- ", "+++ ", "new ", "deleted ")):
            yield click.style(text, bold=True)
        elif text.startswith("@@"):
            yield click.style(text, fg="cyan")
        elif text[:1] in {"+", "-"}:
            yield click.style(text, fg="green" if text[0] == "+" else "red")
        else:
            yield text
