"""Finding the lines that a patch means: to the letter if possible, near enough if need be, one place only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

COMMON = 50
"""A line that stands in a file more often says nothing of where one is."""
EXCERPT = 12


class Misplaced(Exception):
    """There is no place, or more than one; says so, for whoever wrote the patch."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where lines were found: from ``start`` up to, not including, ``end``.

    ``indent`` is what the file has before each line and the patch has not; ``outdent`` the other way round.
    """

    start: int
    end: int
    indent: str = ""
    outdent: str = ""

    def shifted(self, line: str) -> str:
        """A line of the patch as it belongs into the file."""
        if not line.strip():
            return line.strip(" \t")
        return self.indent + line.removeprefix(self.outdent)


@dataclass(slots=True)
class Sheet:
    """A file's text as lines, which remembers how they end."""

    lines: list[str]
    crlf: bool = False
    ended: bool = True
    """Whether the last line has an end, too."""

    @classmethod
    def of(cls, text: str) -> Sheet:
        crlf = "\r\n" in text and text.count("\r\n") == text.count("\n")
        text = text.replace("\r\n", "\n") if crlf else text
        ended = not text or text.endswith("\n")
        return cls(text.removesuffix("\n").split("\n") if text else [], crlf, ended)

    @property
    def text(self) -> str:
        joined = "\n".join(self.lines) + ("\n" if self.ended and self.lines else "")
        return joined.replace("\n", "\r\n") if self.crlf else joined


def find(lines: Sequence[str], wanted: Sequence[str], *, start: int = 0, likely: Sequence[int] = ()) -> Place | None:
    """The one place of ``wanted`` in ``lines`` at or after ``start``; None if there is none.

    To the letter, else without white space at line ends, else indented otherwise throughout. ``likely`` are places
    that whoever wrote the patch had in mind: where it fits there, other places of the same quality do not matter.
    Raises Misplaced if two places fit equally well. ``wanted`` must not be empty.
    """
    for places in (
        _equal(lines, wanted, start),
        _equal([line.rstrip() for line in lines], [line.rstrip() for line in wanted], start),
        _indented(lines, wanted, start),
    ):
        meant = [place for at in likely for place in places if place.start == at]
        if meant:
            return meant[0]
        if len(places) > 1:
            at = ", ".join(str(place.start + 1) for place in places[:6])
            raise Misplaced(f"fits {len(places)} places equally well (lines {at}): give more of the lines around it")
        if places:
            return places[0]
    return None


def nearest(lines: Sequence[str], wanted: Sequence[str]) -> str:
    """The part of a file that ``wanted`` probably means, with line numbers; empty if nothing is like it."""
    known = defaultdict(list)
    for number, line in enumerate(lines):
        if line.strip():
            known[line.strip()].append(number)
    votes: Counter[int] = Counter()
    for offset, line in enumerate(wanted):
        places = known.get(line.strip(), ())
        if len(places) <= COMMON:
            votes.update(number - offset for number in places)
    if not votes:
        return ""
    first = max(0, votes.most_common(1)[0][0])
    shown = lines[first : first + max(1, min(len(wanted) + 2, EXCERPT))]
    return "\n".join(f"{number}: {line[:200]}" for number, line in enumerate(shown, first + 1))


def _equal(lines: Sequence[str], wanted: Sequence[str], start: int) -> list[Place]:
    size, wanted = len(wanted), list(wanted)
    first = wanted[0]
    return [
        Place(at, at + size)
        for at in range(start, len(lines) - size + 1)
        if lines[at] == first and list(lines[at : at + size]) == wanted
    ]


def _indented(lines: Sequence[str], wanted: Sequence[str], start: int) -> list[Place]:
    """Places where the same white space stands, or lacks, before every line."""
    size = len(wanted)
    marks = [(offset, line.strip()) for offset, line in enumerate(wanted) if line.strip()]
    if not marks:
        return []
    stripped = [line.strip() for line in lines]
    first, begins = marks[0]
    bare = [line.strip() for line in wanted]
    found = []
    for at in range(start, len(lines) - size + 1):
        if stripped[at + first] == begins and stripped[at : at + size] == bare:
            shift = _shift([(lines[at + offset].rstrip(), wanted[offset].rstrip()) for offset, _ in marks])
            if shift is not None:
                found.append(Place(at, at + size, *shift))
    return found


def _shift(pairs: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """(indent, outdent) by which all lines of a file differ from a patch's; None if they do not agree."""
    ours, theirs = pairs[0]
    if ours.endswith(theirs):
        indent = ours.removesuffix(theirs)
        return (indent, "") if all(a == indent + b for a, b in pairs) else None
    outdent = theirs.removesuffix(ours)
    return ("", outdent) if theirs.endswith(ours) and all(outdent + a == b for a, b in pairs) else None
