"""Randomness as a pure function of the run's seed and a name: nothing to persist."""

from __future__ import annotations

import hashlib
import random


def number(seed: int, *name: str | int) -> int:
    """An unsigned 63-bit number for ``name``; equal arguments give equal numbers on every machine."""
    digest = hashlib.blake2b(repr((seed, *name)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def stream(seed: int, *name: str | int) -> random.Random:
    """The generator for ``name``; equal arguments give equal draws, always."""
    return random.Random(number(seed, *name))
