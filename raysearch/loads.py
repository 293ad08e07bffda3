"""Loads under which a server is looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadLevel:
    """One step of a ladder of loads."""

    rate_per_s: float
    """Requests that arrive in a second, above 0."""
    duration_s: float = 20.0
    max_tokens: int = 128
    """Of each answer."""


LADDER = (LoadLevel(1.0), LoadLevel(4.0), LoadLevel(8.0))
"""Where nothing is said."""
