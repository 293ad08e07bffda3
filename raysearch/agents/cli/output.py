"""What programs print: lines of JSON that may be of any shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from raysearch.agents.interface import Cause
from raysearch.errors import EvaluatorFault
from raysearch.protocols import Completed
from raysearch.sandbox import read_untrusted

OUTPUT_KB_MAX = 65_536
"""Of what was printed into a file."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_NO_ACCESS = re.compile(
    r"credit balance|insufficient[_ ]quota|quota exceeded|exceeded your current quota|billing|"
    r"(invalid|incorrect) api key|authentication|unauthori[sz]ed|unauthenticated|permission[_ ]denied|\b40[123]\b",
    re.IGNORECASE,
)
_LIMITED = re.compile(r"\b(429|529)\b|rate[- _]?limit|too many requests|overloaded|resource.exhausted", re.IGNORECASE)
_REFUSED = re.compile(r"safeguards flagged|usage polic|safety settings|content (policy|filter)|refus", re.IGNORECASE)


def events(stdout: str) -> Iterator[Mapping[str, Any]]:
    """The JSON objects among the lines of an output, in order; other lines are passed over."""
    for line in stdout.splitlines():
        if line.lstrip().startswith("{"):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value


def to_file(name: str) -> tuple[str, ...]:
    """The words before a command that have what it prints go into a file below HOME."""
    return ("sh", "-c", 'file="$HOME/$0"; exec "$@" > "$file"', name)


def from_file(completed: Completed, home: Path, name: str) -> Completed:
    """With what was printed into that file; of one that cannot be read, as it may have been replaced, nothing."""
    try:
        printed = read_untrusted(home, name, limit_kb=OUTPUT_KB_MAX).decode("utf-8", "replace")
    except (EvaluatorFault, OSError):
        printed = ""
    return replace(completed, stdout=completed.stdout + printed)


def at(value: object, *keys: str) -> Any:
    """What lies under ``keys``; None where there is no such place."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def mapping(value: object, *keys: str) -> Mapping[str, Any]:
    found = at(value, *keys)
    return found if isinstance(found, Mapping) else {}


def text(value: object, *keys: str) -> str:
    """A text under ``keys`` as it can be kept anywhere; empty where there is none."""
    found = at(value, *keys)
    return plain(found) if isinstance(found, str) else ""


def number(value: object, *keys: str) -> float:
    """A finite number, zero or more, under ``keys``; zero where there is none."""
    found = at(value, *keys)
    good = isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found < 1e15
    return found if good else 0


def count(value: object, *keys: str) -> int:
    return int(number(value, *keys))


def plain(said: str) -> str:
    """Without terminal codes, other control characters and halves of surrogate pairs."""
    kept = _ANSI.sub("", said).encode("utf-8", "replace").decode()
    return "".join(char for char in kept if char in "\n\t" or not (ord(char) < 32 or 127 <= ord(char) < 160))


def cause_of(message: str) -> Cause:
    """What kind of failure a program's message tells of."""
    if _NO_ACCESS.search(message):
        return "unavailable"
    if _LIMITED.search(message):
        return "limited"
    return "refused" if _REFUSED.search(message) else "failed"
