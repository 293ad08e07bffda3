"""What a target's author gave, checked with one clear sentence each."""

from __future__ import annotations

import math
from typing import TypeGuard

from raysearch.errors import TargetError


def finite(value: object) -> TypeGuard[float]:
    """Whether ``value`` is a finite number (not a bool)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def positive(name: str, value: object) -> float:
    """``value``, a finite number above 0. Raises TargetError."""
    if not finite(value) or value <= 0:
        raise TargetError(f"{name} is {value!r}: give a number above 0")
    return float(value)


def not_negative(name: str, value: object) -> float:
    """``value``, a finite number of at least 0. Raises TargetError."""
    if not finite(value) or value < 0:
        raise TargetError(f"{name} is {value!r}: give a number of at least 0")
    return float(value)


def share(name: str, value: object) -> float:
    """``value``, from 0 to 1. Raises TargetError."""
    if not finite(value) or not 0 <= value <= 1:
        raise TargetError(f"{name} is {value!r}: give a share from 0 to 1")
    return float(value)


def whole(name: str, value: object, least: int = 1) -> int:
    """``value``, a whole number of at least ``least``. Raises TargetError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise TargetError(f"{name} is {value!r}: give a whole number of at least {least}")
    return value
