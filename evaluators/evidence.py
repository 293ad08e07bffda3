"""What of a program can be quoted against it: text that it has, and that the target's seed program has not."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from raysearch.agents.prompts.briefing import capped, one_line
from raysearch.agents.roles import Quote
from raysearch.protocols import Workspace
from raysearch.target import Target, may_change
from raysearch.types import Case

CHANGE_CHARS = 60_000
"""Of the difference that is shown; an agent with tools can read the rest."""
FILE_BYTES = 1_000_000
"""Larger files are named, not shown."""
QUOTE_CHARS_MIN = 8
"""What is shorter stands in any file."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The texts of a program and of its target's seed, read once; white space counts for nothing."""

    program: tuple[str, ...]
    seed: tuple[str, ...]

    @classmethod
    def of(cls, workspace: Workspace) -> Sources:
        seed = workspace.target.seed
        return cls(_all(workspace.path), _all(seed) if seed is not None else ())

    def holds(self, quote: Quote) -> bool:
        """Whether the text is in a file of the program, be it the one named or not, and in none of the seed's.

        What the seed does is allowed. Lines may be quoted as a diff shows them.
        """
        return any(
            len(wanted) >= QUOTE_CHARS_MIN
            and any(wanted in text for text in self.program)
            and not any(wanted in text for text in self.seed)
            for wanted in _readings(quote.quote)
        )


def quoted(evidence: Sequence[Quote], sources: Sources) -> list[Quote]:
    """Those quotations that `Sources` hold."""
    return [item for item in evidence if sources.holds(item)]


def case(item: Quote, *, passed: bool = False, detail: str = "") -> Case:
    """A quotation as a case of a verdict."""
    return Case(one_line(item.file, 200) or "?", passed, detail or one_line(item.quote))


def difference(workspace: Workspace) -> tuple[str, str]:
    """What the program is compared with, in words, and a unified diff from there."""
    seed = workspace.target.seed
    old = dict(texts(seed, workspace.target)) if seed is not None else {}
    new = dict(texts(workspace.path, workspace.target))
    patches = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            ends = (f"a/{name}" if name in old else "/dev/null", f"b/{name}" if name in new else "/dev/null")
            lines = difflib.unified_diff(_lines(old.get(name)), _lines(new.get(name)), *ends, lineterm="")
            patches.append("\n".join(lines))
    before = "the target's seed program" if seed is not None else "an empty folder"
    return before, capped("\n".join(patches), CHANGE_CHARS)


def texts(folder: Path, target: Target | None = None) -> Iterator[tuple[str, str]]:
    """The texts of a program by path; with a target only what may change. Binary and large files are only named."""
    for place in sorted(folder.rglob("*")):
        name = place.relative_to(folder).as_posix()
        if place.is_symlink() or not place.is_file() or (target and not may_change(name, target.editable)):
            continue
        size = place.stat().st_size
        content = place.read_bytes()
        named = f"({size} bytes that are not shown, {blake2b(content, digest_size=8).hexdigest()})"
        yield name, named if b"\0" in content or size > FILE_BYTES else content.decode(errors="replace")


def _all(folder: Path) -> tuple[str, ...]:
    return tuple(_squeezed(text) for _, text in texts(folder))


def _readings(text: str) -> tuple[str, str]:
    """As it stands, and without the signs by which a diff marks lines that were added."""
    plain = "\n".join(line.removeprefix("+") for line in text.splitlines())
    return _squeezed(text), _squeezed(plain)


def _lines(text: str | None) -> Sequence[str]:
    return [] if text is None else text.splitlines()


def _squeezed(text: str) -> str:
    return " ".join(text.split())
