"""What was said, line by line, kept whatever happens."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from raysearch.agents.credentials import redact

TEXT_MAX = 200_000
"""Characters of one text that are kept: its beginning and its end."""


class Transcript:
    """JSON lines in a file below a job's artifacts. Every line is on its way to disk before the next thing is done.

    Each has ``at_s`` (seconds since the call began) and ``kind``: ``asked``, ``turn``, ``tool``, ``failure``,
    ``trimmed``, ``note`` and, last, ``ended``. Keys are left out.
    """

    def __init__(self, folder: Path, role: str, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secrets)
        self.path, self._file = _created(folder, re.sub(r"[^A-Za-z0-9_.-]+", "-", role).strip(".-") or "agent")

    def write(self, kind: str, at_s: float, /, **fields: object) -> None:
        line = json.dumps({"at_s": round(at_s, 3), "kind": kind, **_kept(fields)}, default=str)
        self._file.write(redact(line, self._secrets) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _created(folder: Path, name: str) -> tuple[Path, TextIO]:
    """A new file: the first call of a role, its second, ..."""
    number = 1
    while True:
        path = folder / f"{name}-{number}.jsonl"
        try:
            return path, path.open("x", encoding="ascii")
        except FileExistsError:
            number += 1


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= TEXT_MAX else shortened(value, TEXT_MAX)
    if isinstance(value, Mapping):
        return {str(key): _kept(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_kept(item) for item in value]
    return value


def shortened(text: str, characters: int) -> str:
    """Beginning and end of ``text``, about so many characters, with what is missing said between them."""
    if len(text) <= characters:
        return text
    head = characters * 2 // 3
    tail = characters - head
    return f"{text[:head]}\n[... {len(text) - head - tail} characters left out ...]\n{text[-tail:] if tail else ''}"
