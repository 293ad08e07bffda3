"""What an inspection found: one line a thing looked at, and how to mend what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    OK = "ok"
    NOTE = "note"
    """Neither good nor bad."""
    WARN = "warn"
    """Works, but not as well as it could."""
    FAIL = "fail"
    """Stands in the way."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``told`` is for people, ``mend`` says what to do; ``took_s`` is how long it took, where that tells anything."""

    name: str
    standing: Standing
    told: str = ""
    mend: str = ""
    took_s: float | None = None


def ok(name: str, told: str = "", took_s: float | None = None) -> Finding:
    return Finding(name, Standing.OK, told, took_s=took_s)


def note(name: str, told: str, mend: str = "") -> Finding:
    return Finding(name, Standing.NOTE, told, mend)


def warn(name: str, told: str, mend: str = "", took_s: float | None = None) -> Finding:
    return Finding(name, Standing.WARN, told, mend, took_s)


def fail(name: str, told: str, mend: str = "", took_s: float | None = None) -> Finding:
    return Finding(name, Standing.FAIL, told, mend, took_s)


def failures(findings: Iterable[Finding]) -> list[Finding]:
    """What stands in the way."""
    return [finding for finding in findings if finding.standing is Standing.FAIL]
