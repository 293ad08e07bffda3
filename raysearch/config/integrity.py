"""Are the checker, the benchmark and the reference still what they were?

A fingerprint is taken once, and compared before and after each evaluation. Most comparisons cost one ``lstat`` a
file: only where size, times, inode or permissions differ is the content read again. A file changed so shortly
before the fingerprint that a coarse file-system clock could hide a second change is always read (the "racy" entries
of git's index). Here nothing is ignored: a compiled module planted in ``__pycache__`` is a change too.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from raysearch.config.digests import content_of
from raysearch.errors import EvaluatorFault

_CLOCK_NS = 100_000_000
"""Generous bound on the granularity of a file system's time stamps."""

NAMED_MAX = 5

Signature = tuple[int, int, int, int, int]
"""Size, mtime_ns, ctime_ns, inode, mode."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One file as it was."""

    signature: Signature
    content: tuple[str, str]
    settled: bool
    """Whether an equal signature proves equal content."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The files below ``roots`` as they were."""

    roots: tuple[Path, ...]
    seen: Mapping[Path, Seen]


def fingerprint(paths: Iterable[Path]) -> Fingerprint:
    """Read everything below ``paths`` (folders or files) once. Raises EvaluatorFault if that is impossible."""
    roots = tuple(paths)
    try:
        return Fingerprint(roots, {path: _look(path) for path in _all(roots)})
    except OSError as problem:
        raise EvaluatorFault(f"the target's files cannot be read: {problem}") from problem


def unchanged(before: Fingerprint) -> str:
    """Nothing where all is as it was; otherwise what is not, in a phrase that names up to five files."""
    found = changes(before)
    more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    return "; ".join(found[:NAMED_MAX]) + more


def changes(before: Fingerprint) -> tuple[str, ...]:
    """What differs now, a phrase a file, in order of path; empty if nothing does."""
    found: list[tuple[Path, str]] = []
    try:
        present = set(_all(before.roots))
        found += [(path, f"{path} (gone)") for path in before.seen if path not in present]
        for path in present:
            old = before.seen.get(path)
            if old is None:
                found.append((path, f"{path} (new)"))
            elif (not old.settled or _signature(path) != old.signature) and _look(path).content != old.content:
                found.append((path, f"{path} (other content)"))
    except OSError as problem:
        found.append((Path(str(problem.filename or "")), f"{problem.filename} (cannot be read)"))
    return tuple(phrase for _, phrase in sorted(found))


def _all(roots: Iterable[Path]) -> Iterator[Path]:
    """Every file and link below ``roots``; folders count through what is in them."""
    waiting = list(roots)
    while waiting:
        current = waiting.pop()
        if stat.S_ISDIR(current.lstat().st_mode):
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    else:
                        yield Path(entry.path)
        else:
            yield current


def _look(path: Path) -> Seen:
    at_ns = time.time_ns()
    signature = _signature(path)
    if not (stat.S_ISREG(signature[4]) or stat.S_ISLNK(signature[4])):
        return Seen(signature, ("special", ""), settled=True)
    newest_ns = max(signature[1], signature[2])
    return Seen(signature, content_of(path), settled=newest_ns + _CLOCK_NS < at_ns)


def _signature(path: Path) -> Signature:
    found = path.lstat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_mode
