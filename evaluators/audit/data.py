"""Rules about data: what is in a program that is no code, and how much more of it than in the seed."""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from evaluators.audit.signs import Sign, clipped

VALUES_SUSPICIOUS, VALUES_MAX = 1_000, 8_192
"""Numbers and texts in tables of the source, beyond those of the seed."""
ENCODED_SUSPICIOUS, ENCODED_MAX = 512, 4_096
"""Length of one text that looks like data in letters."""
DATA_BYTES_SUSPICIOUS, DATA_BYTES_MAX = 16_384, 131_072
"""Size of files that are data, all together, beyond those of the seed."""
DATA_SUFFIXES = frozenset(
    {
        ".json",
        ".jsonl",
        ".csv",
        ".tsv",
        ".txt",
        ".dat",
        ".xml",
        ".yaml",
        ".yml",
        ".lst",
        ".tbl",
        ".data",
        ".inc",
        ".def",
    }
)
_ENCODED = re.compile(r"[A-Za-z0-9+/=_\-!#$%&()*;<>?@^`{|}~.,:\[\]\\']+")
_TABLE = re.compile(rb"[\[{(]\s*(?:[-+\w.'\"]+\s*,\s*){64,}")
_NUMBER = re.compile(rb"[-+]?(?:0[xX][0-9a-fA-F]+|\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?)[uUlLfF]*\s*[,;}\])]")


@dataclass(frozen=True, slots=True)
class Bulk:
    """How much data a program holds."""

    values: int = 0
    """Values in tables of sources."""
    data_bytes: int = 0
    """Bytes of files that are data."""
    binary: frozenset[str] = frozenset()
    """Kinds of binary files (suffixes) that there are."""
    largest: str = ""
    """The file with the most of it."""


@dataclass(frozen=True, slots=True)
class Held:
    """What one file adds to that, and signs in it alone."""

    binary: bool = False
    values: int | None = None
    data_bytes: int | None = None
    encoded: tuple[Sign, ...] = ()


Look = Callable[[str, bytes], Held]


def held(path: str, content: bytes) -> Held:
    """By the file's path and content, and nothing else."""
    if is_binary(content):
        return Held(binary=True)
    encoded = tuple(_encoded(path, content))
    if suffix(path) in DATA_SUFFIXES:
        return Held(data_bytes=len(content), encoded=encoded)
    return Held(values=_python_values(content) if suffix(path) == ".py" else _table_values(content), encoded=encoded)


def bulk_of(files: Mapping[str, bytes], look: Look = held) -> Bulk:
    """How much data ``files``, content by path, hold. ``look``: `held`, or what remembers its answers."""
    values: Counter[str] = Counter()
    data: Counter[str] = Counter()
    binary = set()
    for path, content in files.items():
        found = look(path, content)
        if found.binary:
            binary.add(suffix(path))
        if found.data_bytes is not None:
            data[path] = found.data_bytes
        if found.values is not None:
            values[path] = found.values
    largest = max([*values, *data], key=lambda path: (values[path], data[path]), default="")
    return Bulk(values.total(), data.total(), frozenset(binary), largest)


def data_signs(files: Mapping[str, bytes], base: Bulk, look: Look = held) -> Iterator[Sign]:
    """Binary files of kinds that the seed has none of; tables and data files that outgrow its own."""
    mine = bulk_of(files, look)
    for path, content in sorted(files.items()):
        if look(path, content).binary and suffix(path) not in base.binary:
            yield Sign("data-blobs", path, 0, "a binary file, which nobody can read", f"{len(content)} bytes")
    more = mine.values - base.values
    if more > VALUES_SUSPICIOUS:
        severity = "refuse" if more > VALUES_MAX else "suspicious"
        evidence = f"{mine.values} values in tables, {base.values} in the seed"
        yield Sign("data-blobs", mine.largest, 0, "large tables", evidence, severity)  # type: ignore[arg-type]
    grown = mine.data_bytes - base.data_bytes
    if grown > DATA_BYTES_SUSPICIOUS:
        severity = "refuse" if grown > DATA_BYTES_MAX else "suspicious"
        evidence = f"{mine.data_bytes} bytes, {base.data_bytes} in the seed"
        yield Sign("data-blobs", mine.largest, 0, "files of data", evidence, severity)  # type: ignore[arg-type]
    for path, content in sorted(files.items()):
        yield from look(path, content).encoded


def suffix(path: str) -> str:
    """The end of a file's name, with its dot; the name itself where there is none."""
    name = path.rpartition("/")[2]
    return name[name.rindex(".") :].lower() if "." in name[1:] else name


def is_binary(content: bytes) -> bool:
    """Whether the content is no text."""
    if b"\0" in content[:65_536]:
        return True
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _python_values(content: bytes) -> int:
    """Constants in displays (lists, tuples, sets, dictionaries), and in texts that hold tables to be split."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 0
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            count += sum(_is_value(item) for item in node.elts)
        elif isinstance(node, ast.Dict):
            count += sum(key is not None and _is_value(key) for key in node.keys)
            count += sum(_is_value(value) for value in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) > 256:
            words = re.split(r"[\s,;|]+", node.value)
            count += sum(bool(re.fullmatch(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", word)) for word in words)
            count += sum(len(word) // 8 for word in words if len(word) > 256)  # data in letters
        elif isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value.bit_length() > 512:
            count += node.value.bit_length() // 32  # a table in one number
        elif isinstance(node, ast.Constant) and isinstance(node.value, bytes) and len(node.value) > 256:
            count += len(node.value) // 4
    return count


def _is_value(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and not isinstance(node.value, bool) and node.value is not None


def _table_values(content: bytes) -> int:
    """Numbers between commas, as initialisers hold them, in files with at least one long row of them."""
    return len(_NUMBER.findall(content)) if _TABLE.search(content) else 0


def _encoded(path: str, content: bytes) -> Iterator[Sign]:
    """Long words that are no words: data written in letters."""
    if suffix(path) in DATA_SUFFIXES or suffix(path) in (".md", ".rst", ".html", ".svg", ".css"):
        return
    line = 1
    for piece in content.decode("utf-8", "replace").splitlines():
        for word in piece.split():
            if len(word) > ENCODED_SUSPICIOUS and _ENCODED.fullmatch(word) and not _is_listing(word):
                severity = "refuse" if len(word) > ENCODED_MAX else "suspicious"
                if _entropy(word) > 3.5:
                    what = "data written as a text"
                    yield Sign("data-blobs", path, line, what, clipped(word, 60), severity)  # type: ignore[arg-type]
        line += 1


def _is_listing(word: str) -> bool:
    """Code without blanks: it has many commas, brackets or operators between short pieces."""
    return max(map(len, re.split(r"[,()\[\]{};]", word))) <= 128


def _entropy(text: str) -> float:
    """Bits a character."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
