"""Reading whole files out of a model's answer: fenced blocks, each with its path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from raysearch.agents.api.patches import FENCE, path_in, path_of_fence

_LEFT_OUT = re.compile(
    r"^\s*(#|//|/\*|--|;|<!--|%)?\s*(\.{3}|…)?\s*(\(|\[)?\s*"
    r"(the )?(rest|remainder|remaining|existing|previous|other|same|unchanged)\b.{0,60}"
    r"\b(code|file|functions?|methods?|unchanged|same|as before|imports?|implementation)\b.{0,40}$",
    re.IGNORECASE,
)
_NO_PROGRAM = {
    "",
    "bash",
    "console",
    "diff",
    "json",
    "log",
    "output",
    "plain",
    "plaintext",
    "sh",
    "shell",
    "text",
    "txt",
}
"""What follows the fence of a block that is hardly a program's file."""


@dataclass(slots=True)
class Files:
    """Whole files by path, and what cannot be one."""

    texts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    prose: str = ""


def parse(text: str, known: Mapping[str, str]) -> Files:
    """Every whole file in an answer. ``known`` are the files as they are.

    A block without a path is an example, a command, some output; or the one file that there is, if it is the only one
    that says that it is code.
    """
    found, prose, nameless = Files(), list[str](), list[tuple[str, list[str], bool]]()
    lines = text.replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if fence is None:
            prose.append(lines[at])
            at += 1
            continue
        path = path_of_fence(fence[2], known) or _path_above(prose, known)
        end = _end(lines, at + 1, fence[1])
        body = lines[at + 1 : end]
        if path:
            _keep(found, path, body, known, closed=end < len(lines))
        else:
            nameless.append((fence[2], body, end < len(lines)))
        at = end + 1
    codes = [block for block in nameless if block[0].lower() not in _NO_PROGRAM]
    if len(known) == 1 and len(codes) == 1 and not found.texts and not found.problems:
        _keep(found, next(iter(known)), codes[0][1], known, closed=codes[0][2])
        nameless.remove(codes[0])
    prose += [line for _, body, _ in nameless for line in ("", *body)]
    found.prose = re.sub(r"\n{3,}", "\n\n", "\n".join(prose)).strip()
    return found


def _keep(found: Files, path: str, body: list[str], known: Mapping[str, str], *, closed: bool) -> None:
    path = path.removeprefix("./")
    if not closed:
        found.problems.append(f"the block of {path} is not closed: it was cut off")
    elif path in found.texts:
        found.problems.append(f"there are two blocks of {path}")
    elif missing := _left_out(body, known.get(path, "")):
        found.problems.append(f"the block of {path} leaves something out ({missing!r}): give the whole file")
    else:
        text = "\n".join(body) + "\n" if body else ""
        found.texts[path] = text.replace("\n", "\r\n") if _crlf(known.get(path, "")) else text


def _path_above(prose: list[str], known: Mapping[str, str]) -> str:
    """The path in the last line of text above, which then is no prose."""
    full = [index for index, line in enumerate(prose) if line.strip()]
    if not full or len(prose) - full[-1] > 2:
        return ""
    path = path_in(prose[full[-1]], known)
    if path:
        del prose[full[-1] :]
    return path


def _end(lines: list[str], begin: int, fence: str) -> int:
    """The line that closes a block: a fence of the same kind, as long at least, with nothing after it."""
    for index in range(begin, len(lines)):
        closing = FENCE.match(lines[index])
        if closing and not closing[2] and closing[1][0] == fence[0] and len(closing[1]) >= len(fence):
            return index
    return len(lines)


def _left_out(body: list[str], before: str) -> str:
    """A line that stands for others, if the file did not have it already."""
    dotted = (line.strip() for line in body if "..." in line or "…" in line)
    return next((line for line in dotted if _LEFT_OUT.match(line) and line not in before), "")


def _crlf(text: str) -> bool:
    return "\r\n" in text and text.count("\r\n") == text.count("\n")
