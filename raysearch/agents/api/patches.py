"""Reading patches out of a model's answer: SEARCH/REPLACE blocks and unified diffs, among prose or in fences."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

Op = tuple[str, str]
"""``' '``, ``'-'`` or ``'+'``, and a line."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Put other lines in place of some. ``ways`` are (old, new): several where the text also has dividing lines."""

    path: str
    """Empty where none was given."""
    ways: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Hunk:
    """One change of a unified diff; ``start`` is the old file's first line of it, from 0, if a number was given."""

    ops: tuple[Op, ...]
    start: int | None = None
    old_ends: bool | None = None
    """Whether the old file's last line has an end, where the diff says so; ``new_ends`` the same of the new."""
    new_ends: bool | None = None

    @property
    def old(self) -> list[str]:
        return [line for op, line in self.ops if op != "+"]

    @property
    def new(self) -> list[str]:
        return [line for op, line in self.ops if op != "-"]


@dataclass(frozen=True, slots=True)
class FileDiff:
    """The changes of one file. ``old`` None: it is new; ``new`` None: it is to go; ``moved``: it gets another name."""

    old: str | None
    new: str | None
    hunks: tuple[Hunk, ...]
    moved: bool = False


Edit = Replacement | FileDiff


@dataclass(slots=True)
class Patch:
    """What was found in an answer, in order."""

    edits: list[Edit] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What looks like a part of a patch and cannot be read as one."""
    prose: str = ""
    """The rest of the answer."""


_SEARCH = re.compile(r"\s{0,3}<{5,9}\s*SEARCH\b:?\s*(.*)$")
_DIVIDER = re.compile(r"\s{0,3}={5,9}\s*$")
_REPLACE = re.compile(r"\s{0,3}>{5,9}\s*REPLACE\b")
FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})\s*(.*?)\s*$")
"""The fence, and what follows it."""
_HUNK = re.compile(r"@@+ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_GIT = re.compile(
    r"(index [0-9a-f]|new file mode|deleted file mode|old mode|new mode|(dis)?similarity index|rename (from|to) )"
)
_HEADING = re.compile(r"(#+\s*|[-*]\s+|\d+[.)]\s+)?[`*]*((file(name)?|path)\s*[:=]\s*)?", re.IGNORECASE)
_PATHLIKE = re.compile(r"/?[\w.@+~-]+(?:/[\w.@+~ -]+)*")


def parse(text: str, known: Collection[str] = ()) -> Patch:
    """Every edit that ``text`` holds; ``known`` are paths that need not look like one. Raises nothing."""
    if text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")
    return _Reader(text.split("\n"), known).read()


def path_in(line: str, known: Collection[str] = ()) -> str:
    """The path that a line names, by itself or as a heading; empty if it does not."""
    bare = _HEADING.sub("", line.strip()).strip("`*\"'<>()[]: \t")
    looks = _PATHLIKE.fullmatch(bare) and ("." in bare or "/" in bare) and not bare.endswith(".")
    return bare if looks or bare in known else ""


def path_of_fence(info: str, known: Collection[str] = ()) -> str:
    """The path in what follows an opening fence: ``python src/a.py``, ``python:src/a.py``, ``path=src/a.py``."""
    return path_in(re.split(r"[ :=]", info)[-1], known)


class _Reader:
    """Walks over the lines of an answer."""

    def __init__(self, lines: Sequence[str], known: Collection[str]) -> None:
        self.lines = lines
        self.known = known
        self.at = 0
        self.patch = Patch()
        self.prose: list[str] = []

    def read(self) -> Patch:
        while self.at < len(self.lines):
            if found := _SEARCH.match(self.lines[self.at]):
                self._block(found[1])
            elif self._diff_begins(self.at):
                self._diff()
            elif self.lines[self.at].startswith("@@"):
                self.patch.edits.append(FileDiff("", "", tuple(self._hunks())))
            else:
                self.prose.append(self.lines[self.at])
                self.at += 1
        kept = [line for line in self.prose if not FENCE.match(line)]
        self.patch.prose = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
        return self.patch

    def _block(self, named: str) -> None:
        """A SEARCH/REPLACE block, from its first line on."""
        path = path_in(named, self.known) or self._path_before()
        begin = self.at + 1
        dividers = []
        for end in range(begin, len(self.lines)):
            line = self.lines[end]
            if _REPLACE.match(line) or _SEARCH.match(line):
                break
            if _DIVIDER.match(line):
                dividers.append(end)
        else:
            end = len(self.lines)
        whole = end < len(self.lines) and _REPLACE.match(self.lines[end]) is not None
        self.at = end + 1 if whole else end
        if not whole or not dividers:
            missing = "=======" if whole else ">>>>>>> REPLACE"
            self.patch.problems.append(f"a SEARCH/REPLACE block{f' of {path}' if path else ''} without its {missing}")
            return
        ways = tuple((tuple(self.lines[begin:cut]), tuple(self.lines[cut + 1 : end])) for cut in dividers)
        self.patch.edits.append(Replacement(path, ways))

    def _path_before(self) -> str:
        """The path that the lines just above name, which then are no prose."""
        back = len(self.prose) - 1
        while back >= 0 and len(self.prose) - back <= 4:
            line = self.prose[back]
            fence = FENCE.match(line)
            if path := path_of_fence(fence[2], self.known) if fence else path_in(line, self.known):
                del self.prose[back:]
                return path
            if line.strip() and not fence:
                return ""
            back -= 1
        return ""

    def _diff_begins(self, at: int) -> bool:
        line = self.lines[at]
        if line.startswith("diff --git "):
            return True
        following = self.lines[at + 1] if at + 1 < len(self.lines) else ""
        return line.startswith("--- ") and following.startswith("+++ ")

    def _diff(self) -> None:
        """All that a unified diff says of one file, from its first line on."""
        old: str | None = ""
        new: str | None = ""
        moved = False
        if self.lines[self.at].startswith("diff --git "):
            names = re.match(r"diff --git a/(.+?) b/(.+)$", self.lines[self.at])
            old, new = (names[1], names[2]) if names else ("", "")
            self.at += 1
            while self.at < len(self.lines) and _GIT.match(self.lines[self.at]):
                line = self.lines[self.at]
                moved = moved or line.startswith("rename ")
                old = None if line.startswith("new file") else old
                new = None if line.startswith("deleted file") else new
                self.at += 1
        if self._names_follow(old, new):
            old = _named(self.lines[self.at]) if old is not None else None
            new = _named(self.lines[self.at + 1]) if new is not None else None
            self.at += 2
        self.patch.edits.append(FileDiff(old, new, tuple(self._hunks()), moved))

    def _names_follow(self, old: str | None, new: str | None) -> bool:
        """Whether the next two lines name both sides, and not those of another diff than ``old`` and ``new``."""
        if self.at + 1 >= len(self.lines) or self.lines[self.at].startswith("diff ") or not self._diff_begins(self.at):
            return False
        sides = (_named(self.lines[self.at]), old), (_named(self.lines[self.at + 1]), new)
        return all(not known or not name or name in {known, f"a/{known}", f"b/{known}"} for name, known in sides)

    def _hunks(self) -> list[Hunk]:
        found = []
        while self.at < len(self.lines) and self.lines[self.at].startswith("@@"):
            found.append(self._hunk())
        return found

    def _hunk(self) -> Hunk:
        """A hunk, from its header on: by the header's counts where they are right, else as far as it looks like one."""
        header = _HUNK.match(self.lines[self.at])
        self.at += 1
        if header is None:
            return _made(self._loose(), None)
        count = [int(number) if number else 1 for number in (header[2], header[4])]
        taken = self._counted(*count)
        if taken is None:
            taken = self._loose()
        else:
            self.at += len(taken)
        first = int(header[1])
        return _made(taken, first if count[0] == 0 else max(0, first - 1))

    def _counted(self, old: int, new: int) -> list[str] | None:
        """As many lines as the header says; None if they are not of the kind, or more seem to follow."""
        taken: list[str] = []
        while old > 0 or new > 0 or self._marks_end(len(taken)):
            index = self.at + len(taken)
            line = self.lines[index] if index < len(self.lines) else "?"
            kind = line[:1] or " "
            if kind not in " +-\\" or (kind != "\\" and min(old - (kind != "+"), new - (kind != "-")) < 0):
                return None
            old, new = old - (kind in " -"), new - (kind in " +")
            taken.append(line)
        index = self.at + len(taken)
        following = self.lines[index] if index < len(self.lines) else ""
        more = following[:1] in {"+", "-", " "} and not self._diff_begins(index)
        return None if more and following.strip() else taken

    def _marks_end(self, ahead: int) -> bool:
        index = self.at + ahead
        return index < len(self.lines) and self.lines[index].startswith("\\")

    def _loose(self) -> list[str]:
        """Lines as long as they look like those of a hunk; empty ones at its end are none of it."""
        taken: list[str] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if (line and line[0] not in " +-\\") or self._diff_begins(self.at) or _SEARCH.match(line):
                break
            taken.append(line)
            self.at += 1
        while taken and not taken[-1]:
            taken.pop()
        return taken


def _made(lines: Sequence[str], start: int | None) -> Hunk:
    ops: list[Op] = []
    old_ends: bool | None = None
    new_ends: bool | None = None
    for line in lines:
        kind = line[:1] or " "
        if kind != "\\":
            ops.append((kind, line[1:]))
            continue
        before = ops[-1][0] if ops else " "
        old_ends = False if before in " -" else old_ends
        new_ends = False if before in " +" else new_ends
    return Hunk(tuple(ops), start, old_ends, new_ends)


def _named(line: str) -> str | None:
    """The path in a line that begins with ``---`` or ``+++``; None: there is no file on this side."""
    name = line[4:].partition("\t")[0].strip().strip('"')
    if name == "/dev/null":
        return None
    return name
