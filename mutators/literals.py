"""Where a program's source assigns a literal to a name, in any language that has lines and comments."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

Scalar = str | int | float | bool
Value = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """One assignment. ``start`` and ``end`` enclose the literal in the file's text; so do ``elements`` for each
    element of a sequence. ``value`` is None where something else than a literal is assigned. ``spec`` is what a
    comment ``tune: ...`` behind it says, or None without one.
    """

    name: str
    line: int
    start: int
    end: int
    value: Value | None
    elements: tuple[tuple[int, int], ...] = ()
    spec: str | None = None


class Unreadable(Exception):
    """A ``tune:`` comment that belongs to no constant, or a file that cannot be parsed."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


# Python: the grammar itself says where a literal ends

_PYTHON_COMMENT = re.compile(r"#+\s*tune:\s*(?P<spec>.*?)\s*")
_EXAMPLE = "as in `SHARE = 0.1  # tune: float 0.01..0.5`"


def python_constants(text: str) -> list[Constant]:
    """Assignments at the top level of a Python file. Raises Unreadable."""
    try:
        body = ast.parse(text).body
        comments = dict(_python_comments(text)) if "tune:" in text else {}
    except (RecursionError, MemoryError):  # the parser's own limits
        raise Unreadable(1, "it is nested too deeply to be read as Python") from None
    except (SyntaxError, ValueError, tokenize.TokenError) as error:
        raise Unreadable(getattr(error, "lineno", None) or 1, f"this is not Python ({error})") from None
    places = _Places(text)
    found = []
    for node, after in zip(body, [*body[1:], None], strict=False):
        target, value = _assigned(node)
        if target is None or value is None:
            continue
        last = after is None or after.lineno != node.end_lineno  # of its line, so that the comment is about it
        spec = comments.pop(node.end_lineno or node.lineno, None) if last else None
        elements = [places.span(e) for e in value.elts] if isinstance(value, ast.Tuple | ast.List) else []
        found.append(Constant(target, node.lineno, *places.span(value), _literal(value), tuple(elements), spec))
    for line in comments:
        raise Unreadable(line, f"a `tune:` comment must follow a constant at the top level, {_EXAMPLE}")
    return found


def _python_comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and (said := _PYTHON_COMMENT.fullmatch(token.string)):
            yield token.start[0], said["spec"]


def _assigned(node: ast.stmt) -> tuple[str | None, ast.expr | None]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return None, None


def _literal(node: ast.expr) -> Value | None:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None
    items = value if isinstance(value, tuple | list) else [value]
    if not all(isinstance(item, str | int | float) for item in items):
        return None
    return tuple(value) if isinstance(value, tuple | list) else value


class _Places:
    """From the parser's lines and UTF-8 columns to places in the text."""

    def __init__(self, text: str) -> None:
        self._lines = [line.encode() for line in re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)]
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line.decode()))

    def span(self, node: ast.expr) -> tuple[int, int]:
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self._place(node.lineno, node.col_offset), self._place(end_line, end_column)

    def _place(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1][:column].decode())


# Other languages: one assignment a line, whatever stands around it

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_SUFFIX = r"(?:_?[fiu](?:8|16|32|64|size)|[fFlLuU]{1,3})?"
_QUOTED = r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'"
_WORD = r"[A-Za-z_][\w.:]*"
_SCALAR = re.compile(rf"(?P<quoted>{_QUOTED})|(?P<number>{_NUMBER}){_SUFFIX}(?![\w.])|(?P<word>{_WORD})")
_VALUE = rf"""(?P<value> [\[({{] [^\])}}]* [\])}}] | {_QUOTED} | [^\s,;/\#"'(\[{{]+ ) \s* [;,]? \s*"""
_DEFINE = re.compile(rf"\s* \#\s*define \s+ (?P<name> [A-Za-z_]\w* ) \s+ {_VALUE}", re.VERBOSE)
_ASSIGN = re.compile(
    rf"""
    (?: [^="'\#\n]*? [\s*&] )?
    (?P<name> [A-Za-z_][\w-]* ) \s*
    (?: \[ [^\]]* \] \s* )*
    (?: :(?![=:]) [^="'\#/\n]*? = | := | =(?!=) | :(?![=:]) ) \s*
    {_VALUE}""",
    re.VERBOSE,
)
_COMMENT = re.compile(r"(?://|#|/\*|--|;|%)\s*tune:\s*(?P<spec>.*?)\s*(?:\*/\s*)?$")
_PLAIN_COMMENT = re.compile(r"(?://|#|/\*|--|%).*")
_LINE_CHARACTERS_MAX = 1_000


def line_constants(text: str) -> list[Constant]:
    """Lines that assign a literal to a name, as most languages write it. Raises Unreadable."""
    found, start = [], 0
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        short = len(line) <= _LINE_CHARACTERS_MAX  # longer ones are data, or not written by people
        constant = _constant(line.rstrip("\r\n"), number, start) if short else None
        if constant is not None:
            found.append(constant)
        start += len(line)
    return found


def _constant(line: str, number: int, offset: int) -> Constant | None:
    """The assignment on ``line``, if it is one and nothing but a comment follows it. Raises Unreadable."""
    comment = _COMMENT.search(line)
    said = _DEFINE.match(line) or _ASSIGN.match(line)
    rest = line[said.end() :] if said else ""
    spec = comment["spec"] if comment else None
    if comment and (said is None or said.end() != comment.start()):
        raise Unreadable(number, f"a `tune:` comment must follow a constant on its line, {_EXAMPLE}")
    if said is None or (rest and not comment and not _PLAIN_COMMENT.match(rest)):
        return None
    begin, text = offset + said.start("value"), said["value"]
    if text[0] in "[({":
        parts = scalars(text[1:-1])
        items = tuple(part for part, _, _ in parts) if parts is not None else None
        spans = tuple((begin + 1 + a, begin + 1 + b) for _, a, b in parts or ())
        return Constant(said["name"], number, begin, begin + len(text), items, spans, spec)
    scalar = scalar_at(text)
    value, end = scalar if scalar is not None else (None, len(text))
    return Constant(said["name"], number, begin, begin + end, value, spec=spec)


def scalars(text: str) -> list[tuple[Scalar, int, int]] | None:
    """Comma-separated scalars with their places in ``text``; None if anything else is among them."""
    found = []
    for part in re.finditer(rf"(?:{_QUOTED}|[^,])+", text):
        inner = part[0].strip()
        begin = part.start() + part[0].find(inner)
        scalar = scalar_at(inner) if inner else None
        if scalar is not None:
            found.append((scalar[0], begin, begin + len(inner)))
        elif inner:
            return None
    return found


def scalar_at(text: str) -> tuple[Scalar, int] | None:
    """The value of a scalar literal or bare word, and where it ends before a suffix such as ``f``."""
    said = _SCALAR.fullmatch(text)
    if said is None:
        return None
    if said["quoted"]:
        try:
            return str(ast.literal_eval(said["quoted"])), said.end()
        except (SyntaxError, ValueError):
            return said["quoted"][1:-1], said.end()
    if said["word"]:
        truth = {"true": True, "false": False}.get(said["word"].lower())
        return (said["word"] if truth is None else truth), said.end()
    number = said["number"]
    return (int(number) if re.fullmatch(r"[+-]?\d+", number) else float(number)), said.end("number")
