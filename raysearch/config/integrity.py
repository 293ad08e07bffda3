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
from collections.abc import Iterable, Iterator
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
    seen: dict[str, Seen]
    """By path. What was read again and found the same is remembered as it is now."""


def fingerprint(paths: Iterable[Path]) -> Fingerprint:
    """Read everything below ``paths`` (folders or files) once. Raises EvaluatorFault if that is impossible."""
    roots = tuple(paths)
    try:
        return Fingerprint(roots, {path: _look(path) for path, _ in _all(roots)})
    except OSError as problem:
        raise EvaluatorFault(f"the target's files cannot be read: {problem}") from problem


def unchanged(before: Fingerprint) -> str:
    """Nothing where all is as it was; otherwise what is not, in a phrase that names up to five files."""
    found = changes(before)
    more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    return "; ".join(found[:NAMED_MAX]) + more


def changes(before: Fingerprint) -> tuple[str, ...]:
    """What differs now, a phrase a file, in order of path; empty if nothing does."""
    found: list[tuple[str, str]] = []
    gone = set(before.seen)
    try:
        for path, status in _all(before.roots):
            old = before.seen.get(path)
            gone.discard(path)
            if old is None:
                found.append((path, f"{path} (new)"))
            elif not old.settled or _signature(status) != old.signature:
                now = _look(path)
                if now.content != old.content:
                    found.append((path, f"{path} (other content)"))
                else:
                    before.seen[path] = now
        found += [(path, f"{path} (gone)") for path in gone]
    except OSError as problem:
        found.append((str(problem.filename or ""), f"{problem.filename} (cannot be read)"))
    return tuple(phrase for _, phrase in sorted(found))


def _all(roots: Iterable[Path]) -> Iterator[tuple[str, os.stat_result]]:
    """Every file and link below ``roots``, and its status; folders count through what is in them."""
    waiting = [os.fspath(root) for root in roots]
    while waiting:
        current = waiting.pop()
        status = os.lstat(current)
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        yield entry.path, entry.stat(follow_symlinks=False)
        else:
            yield current, status


def _look(path: str) -> Seen:
    at_ns = time.time_ns()
    signature = _signature(os.lstat(path))
    if not (stat.S_ISREG(signature[4]) or stat.S_ISLNK(signature[4])):
        return Seen(signature, ("special", ""), settled=True)
    newest_ns = max(signature[1], signature[2])
    return Seen(signature, content_of(Path(path)), settled=newest_ns + _CLOCK_NS < at_ns)


def _signature(status: os.stat_result) -> Signature:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode
