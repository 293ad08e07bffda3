"""What people and programs get wrong, drawn from a seed: sound documents with a few changes, in structure or bytes."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from raysearch.seeds import stream


class Verbatim(str):
    """A value that stands in a document letter by letter."""

    __slots__ = ()


LONG = "long" * 5_000
ODD_TEXTS = (
    "",
    " ",
    ".",
    "..",
    "../../etc/passwd",
    "/",
    "/dev/null",
    "~",
    "~nobody-of-that-name/x",
    "-",
    "--help",
    "*",
    "[",
    "a/../b",
    "a:b:c",
    ":",
    "::max",
    "x.py:",
    ":Class",
    "..:Class",
    "json:JSONDecoder",
    "no.such.module:Class",
    "folder:Class",
    "evolv",
    "NaN",
    "true",
    "1e999",
    "ünïcödé",
    "𝔘𝔫𝔦 \u202e \u2028",
    "\0",
    "a\0b",
    "\x1b[31mred",
    "two\nlines",
    "\ufeff",
    "'\"\\",
    "$(reboot)",
    "{candidate}",
    "9" * 30,
    "a." * 200 + "b",
    LONG,
)
ODD_NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e-320, 1.5e308, -1.5e308)
NOT_NUMBERS = (float("nan"), float("inf"), float("-inf"))


def _deep(levels: int) -> Any:
    found: Any = 1
    for level in range(levels):
        found = [found] if level % 2 else {"in": found}
    return found


def odd(rng: random.Random, verbatim: tuple[str, ...] = ()) -> Any:
    """A value that hardly anybody expects; some are only of the wrong type."""
    kinds: list[Callable[[], Any]] = [
        lambda: rng.choice(ODD_TEXTS),
        lambda: rng.choice(ODD_TEXTS),
        lambda: rng.choice(ODD_NUMBERS),
        lambda: rng.choice(NOT_NUMBERS),
        lambda: rng.choice([True, False]),
        lambda: rng.choice([[], {}, [[]], {"": {}}, [1, "a"], [{"a": [None]}] if not verbatim else [{"a": [2]}]]),
        lambda: [rng.choice(ODD_TEXTS) for _ in range(rng.randrange(4))],
        lambda: {rng.choice(ODD_TEXTS)[:40]: rng.choice(ODD_NUMBERS)},
        lambda: _deep(rng.choice([3, 30, 90])),
        lambda: [1] * 20_000,
    ]
    if verbatim:
        kinds.append(lambda: Verbatim(rng.choice(verbatim)))
    else:
        kinds.append(lambda: None)
    return rng.choice(kinds)()


TOML_VERBATIM = (
    "1979-05-27T07:32:00Z",
    "07:32:00",
    "1979-05-27",
    "9" * 5_000,
    "-" + "9" * 5_000,
    "1e999",
    "0x" + "f" * 300,
    "1_0",
    "'''\nlines\n'''",
    "{ a = { b = [ { c = 1 } ] } }",
)


def misspelt(rng: random.Random, name: str) -> str:
    """``name`` with a letter doubled, dropped, exchanged or in the other case; always another one."""
    at = rng.randrange(len(name)) if name else 0
    ways = [
        f"{name[:at]}{name[at : at + 1] * 2}{name[at + 1 :]}",
        f"{name[:at]}{name[at + 1 :]}",
        f"{name[:at]}{name[at : at + 2][::-1]}{name[at + 2 :]}",
        name.swapcase(),
        name.replace("_", "-"),
        f"{name}s",
        f" {name}",
    ]
    return next(way for way in [*rng.sample(ways, len(ways)), f"{name}x"] if way != name)


def _spots(data: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a document, tables and lists included."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [spot for key, value in inner for spot in [(*above, key), *_spots(value, (*above, key))]]


def changed(rng: random.Random, data: Mapping[str, Any], verbatim: tuple[str, ...] = ()) -> tuple[str, dict[str, Any]]:
    """A copy of ``data`` with one change, and what that was."""
    copy = deepcopy(dict(data))
    spot = rng.choice(_spots(copy))
    holder = copy
    for key in spot[:-1]:
        holder = holder[key]
    key, way, where = spot[-1], rng.randrange(8), ".".join(map(str, spot))
    value = odd(rng, verbatim)
    if way <= 2:
        holder[key] = value
        return f"{where} = {value!r:.60}", copy
    if way == 3:
        del holder[key]
        return f"no {where}", copy
    if way == 4 and isinstance(key, str):
        name = misspelt(rng, key)
        holder[name] = holder.pop(key)
        return f"{where} misspelt {name!r}", copy
    if way == 5:
        holder[key] = [holder[key]]
        return f"{where} in a list", copy
    if way == 6:
        holder[key] = {rng.choice(["value", "", "a.b", key if isinstance(key, str) else "0"]): holder[key]}
        return f"{where} in a table", copy
    inner = holder if isinstance(holder, dict) else copy
    name = rng.choice(["x", "", "a b", "ü", "\x1b", "a.b", LONG, "schema", "name", "run", "use"])
    inner[name] = value
    return f"unknown {name[:20]!r} beside {where}", copy


def toml(data: Mapping[str, Any]) -> str:
    """``data`` as TOML: tables under headers where they are at the top, inline below."""
    plain = [f"{_key(key)} = {_toml(value)}" for key, value in data.items() if not isinstance(value, dict)]
    for name, table in data.items():
        if isinstance(table, dict):
            plain += [f"[{_key(name)}]", *(f"{_key(key)} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(plain) + "\n"


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("-", "_").isidentifier() else json.dumps(key).replace("\x7f", "\\u007f")


def _toml(value: Any) -> str:
    if isinstance(value, Verbatim):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


def json_of(data: Mapping[str, Any]) -> str:
    """``data`` as JSON, with what JSON lacks left in."""
    return json.dumps(data, ensure_ascii=False)


def spoiled(rng: random.Random, text: str) -> tuple[str, bytes]:
    """``text`` as bytes, with one change that has nothing to do with what it says; and what that was."""
    data = text.encode("utf-8", "surrogatepass")
    at = rng.randrange(len(data) + 1)
    lines = data.splitlines(keepends=True) or [b""]
    line = rng.randrange(len(lines))
    ways: dict[str, Callable[[], bytes]] = {
        "a byte order mark": lambda: b"\xef\xbb\xbf" + data,
        "UTF-16": lambda: text.encode("utf-16", "surrogatepass"),
        "CRLF": lambda: data.replace(b"\n", b"\r\n"),
        "CR CRLF": lambda: data.replace(b"\n", b"\r\r\n"),
        "CR": lambda: data.replace(b"\n", b"\r"),
        f"cut off at {at}": lambda: data[:at],
        f"NUL at {at}": lambda: data[:at] + b"\0" + data[at:],
        f"no UTF-8 at {at}": lambda: data[:at] + rng.choice([b"\xff", b"\xc3", b"\xed\xa0\x80"]) + data[at:],
        f"line {line} doubled": lambda: b"".join([*lines[: line + 1], *lines[line:]]),
        f"line {line} gone": lambda: b"".join([*lines[:line], *lines[line + 1 :]]),
        "doubled": lambda: data + data,
        "nothing": lambda: b"",
        "white space": lambda: b" \n\t\n",
        f"brackets at {at}": lambda: data[:at] + b"[" * 3_000 + data[at:],
        "braces": lambda: b'{"a":' * 3_000 + data,
        "a long key": lambda: b".".join([b"a"] * 3_000) + b" = 1\n" + data,
        "a long header": lambda: b"[" + b".".join([b"a"] * 3_000) + b"]\n" + data,
        "too large": lambda: data + b"#" * 1_100_000,
        "no text": lambda: rng.randbytes(300),
        f"a letter at {at}": lambda: data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
    }
    name = rng.choice(list(ways))
    return name, ways[name]()


def document(
    rng: random.Random,
    data: Mapping[str, Any],
    written: Callable[[Mapping[str, Any]], str],
    verbatim: tuple[str, ...] = (),
) -> tuple[str, bytes]:
    """A document with one to three changes, seldom more than one of them in its bytes; and what they were."""
    told, copy = [], dict(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if not copy:
            break
        what, copy = changed(rng, copy, verbatim)
        told.append(what)
    text = written(copy)
    if rng.random() < 0.3:
        what, content = spoiled(rng, written(data) if rng.random() < 0.5 else text)
        return f"{what}; {'; '.join(told)}", content
    return "; ".join(told), text.encode("utf-8", "surrogatepass")


PLACES = (
    "folder",
    "file",
    "fifo",
    "loop",
    "dangling",
    "link-to-folder",
    "file/below",
    "no/such/place",
    "loop/below",
    "n" * 300,
    "/dev/zero",
    "/proc/self/mem",
    "caf\udce9",
    "locked",
)
"""Paths below `furnished`'s folder that are not what was asked for."""


def furnished(root: Path) -> Path:
    """``root`` with something of each kind of `PLACES` that can be there."""
    (root / "folder").mkdir(parents=True)
    (root / "file").write_text("text\n")
    os.mkfifo(root / "fifo")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nowhere")
    (root / "link-to-folder").symlink_to("folder")
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")).write_text("text\n")
    (root / "locked").write_text("text\n")
    (root / "locked").chmod(0)
    return root


def misplaced(rng: random.Random, path: Path) -> str:
    """Put something else where ``path`` is, or make it something else; and what."""

    def gone() -> None:
        if path.is_dir() and not path.is_symlink():
            path.rename(path.with_name(f"{path.name}.away"))
        else:
            path.unlink(missing_ok=True)

    away = f"{path.name}.away"
    ways: dict[str, Callable[[], object]] = {
        "gone": lambda: None,
        "a folder": path.mkdir,
        "a file": lambda: path.write_text("x\n"),
        "an empty file": path.touch,
        "a pipe": lambda: os.mkfifo(path),
        "a link to itself": lambda: path.symlink_to(path.name),
        "a dangling link": lambda: path.symlink_to("nowhere"),
        "a link elsewhere": lambda: path.symlink_to("/etc/hostname"),
        "a link to /": lambda: path.symlink_to("/"),
        "a link to what it was": lambda: path.symlink_to(away) if path.with_name(away).exists() else path.touch(),
        "bytes": lambda: path.write_bytes(rng.randbytes(200)),
        "large": lambda: (path.touch(), os.truncate(path, 40_000_000)),
    }
    name = rng.choice(list(ways))
    gone()
    ways[name]()
    return f"{path.name}: {name}"


def cases(kind: str, first: int, count: int) -> list[random.Random]:
    """The generators of ``count`` cases; each case is a function of its kind and number alone."""
    return [stream(number, "fuzz", kind) for number in range(first, first + count)]
