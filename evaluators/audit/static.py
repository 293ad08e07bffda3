"""All rules that need no more than a program's files."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from evaluators.audit import python_shapes, python_state, python_text
from evaluators.audit.clike import SUFFIXES as C_LIKE
from evaluators.audit.clike import clike_signs
from evaluators.audit.data import DATA_SUFFIXES, Bulk, Held, bulk_of, data_signs, held, is_binary, suffix
from evaluators.audit.ground import Ground
from evaluators.audit.known import STARTUP_FILES
from evaluators.audit.paths import path_signs
from evaluators.audit.python import (
    NESTED_MAX,
    Rule,
    Source,
    attributes,
    forbidden_names,
    hidden_names,
    imports,
    read,
    uses,
)
from evaluators.audit.signs import Sign, beyond, clipped

FILE_BYTES_MAX = 4_000_000
FILES_MAX = 4_096
"""So many files are remembered."""
PROSE = frozenset(
    {".md", ".rst", ".adoc", ".html", ".css", ".svg", ".license", "LICENSE", "README", "CHANGELOG", ".gitignore"}
)
PYTHON_RULES: tuple[Rule, ...] = (
    uses,
    attributes,
    hidden_names,
    imports,
    forbidden_names,
    python_state.patching,
    python_state.environment,
    python_state.modules,
    python_state.arguments,
    python_state.globals_changed,
    python_text.texts,
    python_text.hidden_code,
    python_shapes.false_equality,
    python_shapes.canned_answers,
    python_shapes.strays,
    python_shapes.memory,
    python_shapes.searching,
)
K = TypeVar("K")
V = TypeVar("V")
_STRING = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`")
_COMMENT = re.compile(r"(?m)(?:^|(?<=\s))(?:#|//|--|;;)[^\n]*|/\*.*?\*/", re.DOTALL)
_CLOCK_PATCH = re.compile(
    r"(?:Date\.now|performance\.now|process\.hrtime|Date\.prototype\.\w+|globalThis\.\w+|console\.\w+)\s*=(?!=)"
)
_OWN_ARGUMENTS = re.compile(r"process\.argv|std::env::args|os\.Args|\bARGV\b|ProcessHandle\.current")


def read_tree(folder: Path) -> dict[str, bytes]:
    """Content by relative path of every plain file; of very large ones the beginning."""
    found = {}
    for path, entry in sorted(_entries(os.fspath(folder), ()), key=lambda pair: pair[0]):
        name = "/".join(path)
        if entry.is_symlink():
            found[name] = b"\0link to " + bytes(Path(entry.path).readlink())
        elif entry.is_file() and not {"__pycache__", ".git"} & set(path):
            with open(entry.path, "rb") as file:  # noqa: PTH123
                found[name] = file.read(FILE_BYTES_MAX)
    return found


def _entries(folder: str, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], os.DirEntry[str]]]:
    """Everything below a folder that can be listed, by the parts of its path."""
    try:
        with os.scandir(folder) as entries:
            listed = list(entries)
    except (PermissionError, FileNotFoundError, NotADirectoryError):
        return
    for entry in listed:
        path = (*above, entry.name)
        yield path, entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path, path)


class Reader:
    """Reads programs of one target. What it found in a file it knows when the same file comes again."""

    def __init__(self, base: Mapping[str, bytes], ground: Ground, allow: tuple[str, ...] = ()) -> None:
        """``base``: the files of the seed, whose signs are no signs. ``allow``: rules that are left out."""
        self._base = dict(base)
        self._ground = ground
        self._allow = allow
        self._held: dict[tuple[str, bytes], Held] = {}
        self._signs: dict[tuple[str, bytes, frozenset[str]], tuple[Sign, ...]] = {}
        self._bulk = bulk_of(base, self._look) if base else Bulk()
        own = frozenset(_own_modules(base))
        self._known = [
            *(sign for path, content in base.items() for sign in self._read(path, content, own)),
            *data_signs(base, bulk_of(base, self._look), self._look),
        ]

    def signs(self, files: Mapping[str, bytes]) -> list[Sign]:
        """What the program in ``files`` shows and the seed does not; refusals first."""
        own = frozenset(_own_modules(files))
        changed = [(path, content) for path, content in files.items() if self._base.get(path) != content]
        found = [
            *(sign for path, content in changed for sign in self._read(path, content, own)),
            *data_signs(files, self._bulk, self._look),
        ]
        return beyond(found, self._known, self._allow)

    def _look(self, path: str, content: bytes) -> Held:
        key = path, _digest(content)
        found = self._held.get(key)
        if found is None:
            found = _kept(self._held, key, held(path, content))
        return found

    def _read(self, path: str, content: bytes, own: frozenset[str]) -> tuple[Sign, ...]:
        key = path, _digest(content), own
        found = self._signs.get(key)
        if found is None:
            found = _kept(self._signs, key, tuple(file_signs(path, content, own, self._ground)))
        return found


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _kept(known: dict[K, V], key: K, value: V) -> V:
    """Remember, and forget the oldest."""
    known[key] = value
    if len(known) > FILES_MAX:
        del known[next(iter(known))]
    return value


def static_signs(
    files: Mapping[str, bytes], base: Mapping[str, bytes], ground: Ground, allow: tuple[str, ...] = ()
) -> list[Sign]:
    """What the program in ``files`` shows and the seed in ``base`` does not; refusals first."""
    return Reader(base, ground, allow).signs(files)


def file_signs(path: str, content: bytes, own: frozenset[str], ground: Ground) -> Iterator[Sign]:
    """Signs in one file of a program, by its language. ``own``: names of modules that the program has."""
    yield from _named(path, ground)
    if is_binary(content) or suffix(path) in PROSE:
        return
    if suffix(path) in (".py", ".pyw", ".pyi") or content.startswith((b"#!/usr/bin/env python", b"#!/usr/bin/python")):
        source = read(path, content, ground, own)
        if source is None:
            yield Sign("unreadable", path, 0, "Python that cannot be parsed", "", "suspicious")
            return
        yield from python_signs(source)
    elif suffix(path) in C_LIKE:
        yield from clike_signs(path, content, ground)
    elif suffix(path) not in DATA_SUFFIXES or suffix(path) == ".inc":
        yield from _other_signs(path, content.decode("utf-8", "replace"), ground)


def python_signs(source: Source) -> Iterator[Sign]:
    """Every rule for Python, on one file."""
    for rule in PYTHON_RULES:
        yield from rule(source)
    for node, text in python_text.run_texts(source) if source.nested < NESTED_MAX else ():
        inner = read(source.path, text, source.ground, source.own, source.nested + 1)
        for sign in python_signs(inner) if inner is not None else ():
            yield source.sign(sign.rule, node, sign.what, sign.severity)


def _own_modules(files: Mapping[str, bytes]) -> Iterator[str]:
    for path in files:
        first = path.partition("/")[0]
        yield first.removesuffix(".py")
        if path.endswith(".py"):
            yield path.rpartition("/")[2].removesuffix(".py")


def _named(path: str, ground: Ground) -> Iterator[Sign]:
    """Files that are found by their names: those that Python or a test runner loads, and stand-ins for modules."""
    name = path.rpartition("/")[2]
    if name in STARTUP_FILES or name.endswith(".pth"):
        yield Sign("startup-files", path, 0, name)
    first = path.partition("/")[0]
    module = first.partition(".")[0]
    is_module = first.endswith((".py", ".so", ".pyc", ".pyd")) or (
        "/" in path and path.count("/") == 1 and name == "__init__.py"
    )
    if not is_module:
        return
    if module in ground.imports or module in ground.modules:
        yield Sign("shadowing", path, 0, f"a module called {module}, as the evaluator's")
    elif module in sys.stdlib_module_names:
        yield Sign("shadowing", path, 0, f"a module called {module}, as Python's own", "", "suspicious")


def _other_signs(path: str, text: str, ground: Ground) -> Iterator[Sign]:
    """Scripts and languages that are not taken apart: their texts, and in scripts of a shell all words."""
    bare = _COMMENT.sub(" ", text)
    is_shell = suffix(path) in (".sh", ".bash", ".zsh", ".mk", "Makefile", ".cmake", ".ninja") or text.startswith("#!")
    lines = text.splitlines()

    def line_of(piece: str) -> int:
        return next((number for number, line in enumerate(lines, 1) if piece in line), 0)

    pieces = [piece[1:-1] for piece in _STRING.findall(bare)]
    if is_shell:
        pieces = bare.splitlines()
    for piece in pieces:
        for rule, what, severity in path_signs(piece, ground, opened=False, ran=is_shell):
            yield Sign(rule, path, line_of(piece), what, clipped(piece), severity)
    for pattern, rule in ((_CLOCK_PATCH, "patching"), (_OWN_ARGUMENTS, "evaluator-process")):
        for match in pattern.finditer(bare):
            severity = "refuse" if rule == "patching" else "suspicious"
            yield Sign(rule, path, line_of(match.group()), match.group(), "", severity)
