"""Applying patches to texts, in memory: all that is asked, or a list of what does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from raysearch.agents.api.patches import Edit, FileDiff, Hunk, Op, Patch, Replacement
from raysearch.agents.api.placing import Misplaced, Place, Sheet, find, nearest

_FUZZ = (((0, 1), (1, 0)), ((1, 1),), ((0, 2), (2, 0)), ((1, 2), (2, 1)), ((2, 2),))
"""How many lines of context may be wrong at either end of a hunk: little first, what is alike together."""


@dataclass(slots=True)
class Applied:
    """Texts of the files that differ, None for those that go; and what did not fit, in words."""

    changed: dict[str, str | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class _Misfit(Exception):
    """An edit that cannot be made."""


def apply(patch: Patch, files: Mapping[str, str], may: Callable[[str], bool]) -> Applied:
    """What becomes of ``files`` (path to text) by a patch. Only paths that ``may`` change ever do."""
    state: dict[str, str | None] = dict(files)
    applied = Applied(problems=list(patch.problems))
    last = ""
    for number, edit in enumerate(patch.edits, 1):
        try:
            last = _made(edit, state, last, may)
        except (_Misfit, Misplaced) as misfit:
            applied.problems.append(f"edit {number}{_of(edit)}: {misfit}")
    applied.changed = {path: text for path, text in state.items() if text != files.get(path)}
    return applied


def _of(edit: Edit) -> str:
    path = edit.path if isinstance(edit, Replacement) else edit.new or edit.old
    return f" ({path})" if path else ""


def _made(edit: Edit, state: dict[str, str | None], last: str, may: Callable[[str], bool]) -> str:
    """Make one edit; the path that it was of."""
    if isinstance(edit, Replacement):
        path = _path(edit.path or last, state, may)
        state[path] = _replaced(edit, state.get(path))
        return path
    if edit.old is None:
        path = _path(edit.new or last, state, may)
        if state.get(path) is not None:
            raise _Misfit(f"{path} is to be made, but it is there already")
        state[path] = _new(edit)
        return path
    name = edit.old if edit.moved or edit.new is None else _known_of((edit.new, edit.old), state) or edit.new
    path = _path(name or last, state, may)
    text = state.get(path)
    if text is None and edit.hunks and not any(hunk.old for hunk in edit.hunks) and edit.new is not None:
        state[path] = _new(edit)  # a new file, whose diff names it on both sides
        return path
    if text is None:
        raise _Misfit(f"there is no file {path}")
    if edit.new is None:
        state[path] = None
        return path
    text = _hunked(text, edit.hunks)
    if edit.moved:
        state[path] = None
        path = _path(edit.new, state, may)
        if state.get(path) is not None:
            raise _Misfit(f"{path} is there already")
    state[path] = text
    return path


def _path(name: str, state: Mapping[str, str | None], may: Callable[[str], bool]) -> str:
    """The path that a name means: as it is, without a/ or b/, or the one known file that it is the end of."""
    there = [path for path, text in state.items() if text is not None]
    if not name:
        if len(there) == 1:
            return there[0]
        raise _Misfit("no file is named")
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
        raise _Misfit(f"{name} may not change: it is no path within the program")
    name = name.removeprefix("./")
    bare = name[2:] if name[:2] in {"a/", "b/"} else name
    found = next((each for each in (name, bare) if each in there), None)
    if found is None:
        ends = [path for path in there if path.endswith(f"/{bare}") or bare.endswith(f"/{path}")]
        found = ends[0] if len(ends) == 1 else bare
    if not may(found):
        raise _Misfit(f"{found} may not change")
    return PurePosixPath(found).as_posix()


def _known_of(names: Sequence[str], state: Mapping[str, str | None]) -> str | None:
    for name in names:
        for each in (name, name[2:] if name[:2] in {"a/", "b/"} else name):
            if state.get(each) is not None:
                return each
    return None


def _new(edit: FileDiff) -> str:
    lines = [line for hunk in edit.hunks for line in hunk.new]
    return Sheet(lines, ended=all(hunk.new_ends is not False for hunk in edit.hunks)).text


def _replaced(edit: Replacement, text: str | None) -> str:
    """A text with a block's lines replaced."""
    old, new = edit.ways[0]
    if not any(line.strip() for line in old) and len(edit.ways) == 1:
        if text is not None and text.strip():
            raise _Misfit("SEARCH is empty, but the file is not: quote the lines to be replaced")
        return Sheet(list(new)).text
    if text is None:
        raise _Misfit("there is no such file")
    sheet = Sheet.of(text)
    for old, new in reversed(edit.ways):  # the longest first: lines to be put in seldom begin with a divider
        for searched, put in ((old, new), (_bare(old), _bare(new))):
            place = find(sheet.lines, searched) if searched else None
            if place is not None:
                sheet.lines[place.start : place.end] = [_put(line, place, sheet) for line in put]
                return sheet.text
        joined = "\n".join(sheet.lines)
        within = list(_within("\n".join(old)).finditer(joined)) if any(line.strip() for line in old) else []
        if len(within) > 1:
            raise _Misfit(f"SEARCH stands in the file {len(within)} times: give more of the lines around it")
        if within:
            joined = joined[: within[0].start()] + "\n".join(new) + joined[within[0].end() :]
            sheet.lines = joined.split("\n")
            return sheet.text
    raise _Misfit(_lost("SEARCH does not stand in the file", sheet.lines, edit.ways[0][0]))


def _within(text: str) -> re.Pattern[str]:
    """Text that is part of a line, or of lines, but of no word."""
    head = r"(?<!\w)" if text[:1].isalnum() or text[:1] == "_" else ""
    tail = r"(?!\w)" if text[-1:].isalnum() or text[-1:] == "_" else ""
    return re.compile(head + re.escape(text) + tail)


def _put(line: str, place: Place, sheet: Sheet) -> str:
    """A line of a patch as it is put into a file."""
    line = line.removesuffix("\r") if sheet.crlf else line
    return place.shifted(line) if place.indent or place.outdent else line


def _bare(lines: Sequence[str]) -> Sequence[str]:
    """Without empty lines at either end."""
    full = [index for index, line in enumerate(lines) if line.strip()]
    return lines[full[0] : full[-1] + 1] if full else ()


def _hunked(text: str, hunks: Sequence[Hunk]) -> str:
    """A text with a diff's hunks applied, each after the one before it."""
    sheet = Sheet.of(text)
    made: list[str] = []
    done, drift = 0, 0
    for hunk in hunks:
        place, ops = _place(sheet.lines, hunk, done, drift)
        drift = place.start - hunk.start if hunk.start is not None and ops is hunk.ops else drift
        made += sheet.lines[done : place.start]
        at = place.start
        for op, line in ops:
            if op == "+":
                made.append(_put(line, place, sheet))
                continue
            if op == " ":  # the file's own, which may differ in white space
                made.append(sheet.lines[at])
            at += 1
        done = place.end
        if hunk.new_ends is not None or hunk.old_ends is not None:
            sheet.ended = hunk.new_ends is not False
    made += sheet.lines[done:]
    sheet.lines = made
    return sheet.text


def _place(lines: Sequence[str], hunk: Hunk, start: int, drift: int) -> tuple[Place, Sequence[Op]]:
    """Where a hunk goes, and as much of it as is to be looked at there."""
    if not hunk.old:
        if hunk.start is None or not start <= hunk.start <= len(lines):
            raise _Misfit("a hunk without any line of the file around it cannot be placed")
        return Place(hunk.start, hunk.start), hunk.ops
    likely = [hunk.start, hunk.start + drift] if hunk.start is not None else []
    place = find(lines, hunk.old, start=start, likely=likely)
    if place is not None:
        return place, hunk.ops
    for trials in _FUZZ:
        found = {at: (place, ops) for at, place, ops in _nearby(lines, hunk, start, likely, trials)}
        if len(found) > 1:
            at = ", ".join(str(number + 1) for number in sorted(found))
            raise Misplaced(f"a hunk fits several places about as well (lines {at}): give more of the lines around it")
        if found:
            return next(iter(found.values()))
    raise _Misfit(_lost("a hunk fits nowhere", lines, hunk.old))


def _nearby(
    lines: Sequence[str], hunk: Hunk, start: int, likely: Sequence[int], trials: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, Place, Sequence[Op]]]:
    """Where a hunk would begin, and the place of what is left of it, without some context at its ends."""
    for head, tail in trials:
        ops = _without(hunk.ops, head, tail)
        old = [line for op, line in ops if op != "+"]
        if any(line.strip() for line in old):
            place = find(lines, old, start=start, likely=[at + head for at in likely])
            if place is not None:
                yield place.start - head, place, ops


def _without(ops: Sequence[Op], head: int, tail: int) -> Sequence[Op]:
    """A hunk with fewer lines of context at its ends; nothing if there are not so many."""
    outer = [*ops[:head], *ops[len(ops) - tail :]]
    return ops[head : len(ops) - tail] if len(ops) > head + tail and all(op == " " for op, _ in outer) else ()


def _lost(what: str, lines: Sequence[str], wanted: Sequence[str]) -> str:
    """Not found, with the place that was perhaps meant."""
    close = nearest(lines, wanted)
    return f"{what}. It begins: {_first(wanted)!r}" + (f". There is, from line {close}" if close else "")


def _first(lines: Sequence[str]) -> str:
    return next((line.strip()[:200] for line in lines if line.strip()), "")
