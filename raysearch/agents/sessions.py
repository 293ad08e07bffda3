"""Conversations that outlive the worker that had them: kept among the artifacts of the job that they were last had in.

A file is named by its session, so that whoever goes on with one finds it by that name alone, in whichever attempt it
lies. What a program left in its HOME was written by an agent: only its regular files are kept.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path, PurePosixPath

from raysearch.errors import EvaluatorFault
from raysearch.sandbox import read_untrusted
from raysearch.types import Usage

BYTES_MAX = 64 * 1024 * 1024
"""A larger one is not kept."""
TOTALS = "totals.json"
"""In the archive of a HOME: what its conversation has cost so far, as its program counts."""
BELOW = "home"


def named(session: str, suffix: str) -> str:
    """The file of a session."""
    digest = blake2b(session.encode("utf-8", "replace"), digest_size=12).hexdigest()
    return f"session-{digest}{suffix}"


def found(artifacts: Path, session: str, suffix: str) -> Path | None:
    """Where a session was kept last, in a job of the run that ``artifacts`` is of; None if nowhere."""
    name = named(session, suffix)
    places = [*artifacts.parent.glob(f"*/{name}"), *artifacts.parent.parent.glob(f"*/*/{name}")]
    kept = []
    for place in places:
        with suppress(OSError):
            kept.append((place.lstat().st_mtime_ns, place))
    return max(kept)[1] if kept else None


def pack(home: Path, file: Path, totals: Usage) -> bool:
    """Keep a program's HOME in ``file``; whether it could be, being small enough."""
    held = {TOTALS: json.dumps(asdict(totals)).encode()}
    size = 0
    for name in _files(home):
        with suppress(EvaluatorFault, OSError):  # a pipe, a link, what went away meanwhile
            size += (home / name).lstat().st_size
            if size > BYTES_MAX:
                return False
            held[f"{BELOW}/{name}"] = read_untrusted(home, name, limit_kb=BYTES_MAX // 1024 + 1)
    part = file.with_suffix(".part")
    # Not compressed: what must not be written down is found in it, byte for byte, and taken out.
    with tarfile.open(part, "w") as archive:
        for name, content in held.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    part.replace(file)
    return True


def unpack(file: Path, home: Path) -> Usage | None:
    """Put what was kept into a new and empty HOME; what it has cost. None if it cannot be read (it may be redacted)."""
    try:
        with tarfile.open(file, "r:") as archive:
            members = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
            contents = {name: stream.read() for name, stream in members.items() if stream is not None}
        totals = Usage(**json.loads(contents.pop(TOTALS)))
    except (OSError, tarfile.TarError, KeyError, TypeError, ValueError):
        return None
    for name, content in contents.items():
        parts = PurePosixPath(name).parts
        if parts[:1] == (BELOW,) and ".." not in parts and len(parts) > 1:
            place = home.joinpath(*parts[1:])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    return totals


def _files(home: Path) -> Iterator[str]:
    for folder, _, names in os.walk(home):
        for name in sorted(names):
            yield Path(folder, name).relative_to(home).as_posix()
