"""TOML with line numbers, and values written back as TOML.

``tomllib`` keeps no positions, so a small scanner of its own finds the line on which every key stands; a key
that it cannot place (inside an inline table) takes the line of the closest table around it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import tomllib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysearch.errors import UserError

Keys = tuple[str | int, ...]
"""The way to a value: table and key names; a number picks an element of an array of tables, from 0."""

BYTES_MAX = 1_000_000
DEPTH_MAX = 50
"""Of tables and lists in each other, and of the parts of a dotted key."""
_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML file's data, and the line of each of its keys (counted from 1)."""

    path: Path
    data: dict[str, Any]
    lines: Mapping[Keys, int]

    def where(self, keys: Keys = ()) -> str:
        """``file:line`` of the key, or of the closest table around it that the file has."""
        for length in range(len(keys), 0, -1):
            line = self.lines.get(keys[:length])
            if line is not None:
                return f"{shown(self.path)}:{line}"
        return shown(self.path)


def shown(path: Path) -> str:
    """``path`` as a person would type it: relative to the working directory where it lies below it.

    Bytes that are not UTF-8 come as ``\\udcff``, so that it can be printed and written anywhere.
    """
    with contextlib.suppress(ValueError, OSError):
        path = path.relative_to(Path.cwd())
    return str(path).encode("utf-8", "backslashreplace").decode()


def is_there(path: Path) -> bool:
    """Whether there is anything at ``path``, be it a link that leads nowhere: that is no way to leave a file out."""
    return os.path.lexists(path)


def at_home(path: Path | str) -> Path:
    """``path`` with ``~`` as the home folder; that of a user whom nobody knows stays as it is, as in a shell."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path's own raises for such a user


def read(path: Path, error: type[UserError]) -> Document:
    """The document at ``path``.

    Raises ``error`` if it is missing, too large (1 MB), not UTF-8, not TOML, or nested more than `DEPTH_MAX` deep.
    """
    text = read_text(path, error)
    too_deep = f"{shown(path)}: not readable as TOML: something in it is nested more than {DEPTH_MAX} deep."
    if has_long_key(text):  # for which tomllib would take minutes
        raise error(too_deep)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(problem))
        what = re.sub(r"\s*\(at .*?\)$", "", str(problem))
        at = f":{found[1]}:{found[2]}" if found else _second_value(text)
        raise error(f"{shown(path)}{at}: not valid TOML: {what}.") from None
    except RecursionError:
        raise error(too_deep) from None
    except ValueError as problem:
        long = "limit" in str(problem) and "digits" in str(problem)  # Python's own limit on whole numbers
        told = "it holds a number of thousands of digits" if long else str(problem)
        raise error(f"{shown(path)}: not readable as TOML: {told}.") from None
    if _is_deep(data):
        raise error(too_deep)
    return Document(path, data, key_lines(text))


def has_long_key(text: str) -> bool:
    """Whether more than `DEPTH_MAX` words stand in a row in ``text`` with nothing but dots between them."""
    row = 0
    for piece in text.split("."):
        row = row + 1 if _PART.fullmatch(piece) else 0
        if row > DEPTH_MAX:
            return True
    return False


def _is_deep(data: object) -> bool:
    """Whether tables and lists lie in each other more than `DEPTH_MAX` deep."""
    level: list[object] = [data]
    for _ in range(DEPTH_MAX + 1):
        inner = [list(item.values()) if isinstance(item, dict) else item for item in level]
        level = [found for item in inner if isinstance(item, list) for found in item if isinstance(found, dict | list)]
    return bool(level)


def _second_value(text: str) -> str:
    """``:line`` of the first key that has a value already, which ``tomllib`` reports without a place."""
    lines = text.split("\n")
    number = bisect_left(range(len(lines)), True, key=lambda index: _overwrites("\n".join(lines[: index + 1])))
    return f":{number + 1}" if number < len(lines) else ""


def _overwrites(text: str) -> bool:
    """Whether some key has a value already. With more text behind it, it still has."""
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError) as problem:
        return "Cannot overwrite" in str(problem)
    return False


def read_text(path: Path, error: type[UserError]) -> str:
    """The text of a small UTF-8 file, without a byte order mark, its lines ended by ``\\n``. Raises ``error``.

    Pipes and devices, which might never end, are not read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise error(f"{shown(path)}: cannot be read: it is no plain file.")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(BYTES_MAX + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as problem:
        raise error(f"{shown(path)}: cannot be read: {getattr(problem, 'strerror', None) or problem}.") from None
    if len(content) > BYTES_MAX:
        raise error(f"{shown(path)}: larger than {BYTES_MAX // 1000} kB, which no file of this kind should be.")
    try:
        return re.sub(r"(?<!\r)\r+\n", "\n", content.decode("utf-8-sig"))
    except UnicodeDecodeError as problem:
        raise error(f"{shown(path)}: not UTF-8 text (byte {problem.start}): save it as UTF-8.") from None


def key_lines(text: str) -> dict[Keys, int]:
    """The line of every table and key in valid TOML. Invalid TOML gives some lines, and never an error."""
    lines: dict[Keys, int] = {}
    sizes: dict[Keys, int] = {}
    table: Keys = ()
    for number, statement in _statements(text):
        header = statement.lstrip("[")
        depth = len(statement) - len(header)
        parts = _key_parts(header)
        if not parts:
            continue
        if depth == 0:
            keys: Keys = table + parts
        else:
            keys = _through_arrays(parts[:-1], sizes) + parts[-1:]
            if depth > 1:
                lines.setdefault(keys, number)
                sizes[keys] = sizes.get(keys, 0) + 1
                keys += (sizes[keys] - 1,)
            table = keys
        for length in range(1, len(keys) + 1):
            lines.setdefault(keys[:length], number)
    return lines


def _through_arrays(parts: Keys, sizes: Mapping[Keys, int]) -> Keys:
    """``parts`` with the number of the latest element put in wherever they name an array of tables."""
    keys: Keys = ()
    for part in parts:
        keys += (part,)
        if keys in sizes:
            keys += (sizes[keys] - 1,)
    return keys


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Lines on which a header or a key stands: not comments, and not the inside of a longer value."""
    depth, quote = 0, ""
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if depth == 0 and not quote and stripped and not stripped.startswith("#"):
            yield number, stripped
        depth, quote = _after(line, depth, quote)


def _after(line: str, depth: int, quote: str) -> tuple[int, str]:
    """Bracket depth, and the open multi-line quote if any, at the end of ``line``."""
    at = 0
    while at < len(line):
        char = line[at]
        if quote:
            if char == "\\" and quote[0] == '"':
                at += 1
            elif line.startswith(quote, at):
                at += len(quote) - 1
                quote = ""
        elif char == "#":
            break
        elif char in "\"'":
            quote = char * 3 if line.startswith(char * 3, at) else char
            at += len(quote) - 1
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth = max(0, depth - 1)
        at += 1
    return depth, quote if len(quote) == 3 else ""


def _key_parts(text: str) -> Keys:
    """The parts of a dotted key at the start of ``text``."""
    parts: list[str | int] = []
    at = 0
    while found := _PART.match(text, at):
        basic, literal, bare = found.groups()
        parts.append(_unescaped(basic) if basic is not None else literal if literal is not None else bare)
        at = found.end()
        if text[at : at + 1] != ".":
            break
        at += 1
    return tuple(parts)


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text


def written(value: object) -> str:
    """``value`` (text, number, true or false, list, table of such) as a TOML value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{written_key(str(k))} = {written(v)}" for k, v in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(written(item) for item in value)}]"
    raise TypeError(f"a {type(value).__name__} has no form in TOML")


def written_key(key: str) -> str:
    """``key``, in quotes where TOML needs them."""
    return key if _BARE.fullmatch(key) else written(key)
