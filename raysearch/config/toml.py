"""TOML with line numbers, and values written back as TOML.

``tomllib`` keeps no positions, so a small scanner of its own finds the line on which every key stands; a key
that it cannot place (inside an inline table) takes the line of the closest table around it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysearch.errors import UserError

Keys = tuple[str | int, ...]
"""The way to a value: table and key names; a number picks an element of an array of tables, from 0."""

BYTES_MAX = 1_000_000
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
    """``path`` as a person would type it: relative to the working directory where it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def read(path: Path, error: type[UserError]) -> Document:
    """The document at ``path``. Raises ``error`` if it is missing, too large (1 MB), not UTF-8 or not TOML."""
    text = read_text(path, error)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(problem))
        what = re.sub(r"\s*\(at .*?\)$", "", str(problem))
        at = f":{found[1]}:{found[2]}" if found else _second_value(text)
        raise error(f"{shown(path)}{at}: not valid TOML: {what}.") from None
    except (RecursionError, ValueError) as problem:
        raise error(f"{shown(path)}: not readable as TOML: {problem}.") from None
    return Document(path, data, key_lines(text))


def _second_value(text: str) -> str:
    """``:line`` of the first key that has a value already, which ``tomllib`` reports without a place."""
    lines = text.split("\n")[:1000]
    for number in range(1, len(lines) + 1):
        try:
            tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError as problem:
            if "Cannot overwrite" in str(problem):
                return f":{number}"
    return ""


def read_text(path: Path, error: type[UserError]) -> str:
    """The text of a small UTF-8 file. Raises ``error``."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise error(f"{shown(path)}: larger than {BYTES_MAX // 1000} kB, which no file of this kind should be.")
        return path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as problem:
        raise error(f"{shown(path)}: not UTF-8 text (byte {problem.start}): save it as UTF-8.") from None
    except OSError as problem:
        raise error(f"{shown(path)}: cannot be read: {problem.strerror or problem}.") from None


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
