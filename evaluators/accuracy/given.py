"""What a check is given, looked at before anything is computed: one clear sentence for each thing that is wrong.

Two parties can be at fault. `CheckerError`: the reference, a threshold or another setting, which the target's author
must mend. `BadAnswer`: what the candidate returned, which is a no.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raysearch.errors import Refused, TargetError, nearest

Array = NDArray[np.float64]
Left = TypeVar("Left")
Right = TypeVar("Right")
ROUNDING = 1e-6
"""By how much a sum or a log-probability may overshoot, which is rounding."""


class CheckerError(TargetError, ValueError):
    """The checker gave a check what it cannot work with: its author must change something."""


class BadAnswer(Refused, ValueError):
    """What the candidate returned is not an answer at all: a no."""


def require(condition: bool, message: str) -> None:
    """Raise CheckerError unless ``condition`` holds."""
    if not condition:
        raise CheckerError(message)


def expect(condition: bool, message: str) -> None:
    """Raise BadAnswer unless ``condition`` holds."""
    if not condition:
        raise BadAnswer(message)


def number(name: str, value: object, low: float, high: float = math.inf) -> float:
    """A finite setting from ``low`` to ``high``. Raises CheckerError."""
    found = _real(value)
    if not math.isfinite(found) or not low <= found <= high:
        wanted = f" from {low:g} to {high:g}" if high < math.inf else f" of at least {low:g}" if low > -math.inf else ""
        raise CheckerError(f"{name} is {_short(value)}: give a number{wanted}")
    return found


def _real(value: object) -> float:
    """NaN for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def inside(name: str, value: object) -> float:
    """A setting above 0 and below 1. Raises CheckerError."""
    found = number(name, value, 0, 1)
    require(0 < found < 1, f"{name} is {value!r}: give a number above 0 and below 1")
    return found


def whole(name: str, value: object, least: int = 1) -> int:
    """A whole number of at least ``least``. Raises CheckerError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise CheckerError(f"{name} is {value!r}: give a whole number of at least {least}")
    return int(value)


def choice(name: str, value: object, known: Iterable[str]) -> str:
    """One of the ``known`` words. Raises CheckerError."""
    names = list(known)
    if not isinstance(value, str) or value not in names:
        raise CheckerError(f"{name} is {value!r}.{nearest(str(value), names)}")
    return value


def pairs(reference: Iterable[Left], answers: Iterable[Right], what: str) -> Iterator[tuple[str, Left, Right]]:
    """The place (``"prompt 1"``), the reference and the answer, of each item.

    Raises CheckerError without a single item, BadAnswer for fewer or more answers than items.
    """
    expect(_iterable(answers), f"the answer is {type(answers).__name__}, not a list with one entry per {what}")
    require(_iterable(reference), f"the reference is {type(reference).__name__}, not a list: one entry per {what}")
    count = 0
    rest = iter(answers)
    for count, wanted in enumerate(reference, 1):
        place = f"{what} {count}"
        try:
            found = next(rest)
        except StopIteration:
            raise BadAnswer(f"{place} was not answered: there are only {count - 1} answers") from None
        yield place, wanted, found
    require(count > 0, f"there is nothing to check: give at least one {what}")
    for _ in rest:
        raise BadAnswer(f"there are more answers than there are {what}s: {count}")


def _iterable(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | dict)


def array(value: ArrayLike, who: str, error: type[CheckerError] | type[BadAnswer]) -> NDArray[np.generic]:
    """``value`` as an array of numbers, in its own type; not empty."""
    try:
        found = np.asarray(value)
    except (ValueError, TypeError, OverflowError, RuntimeError):
        raise error(f"{who} is no array of numbers: its rows differ in length, or hold something else") from None
    if found.dtype.kind not in "fiu" and not _extended(found.dtype):
        raise error(f"{who} is no array of numbers, but of {found.dtype}")
    if found.size == 0:
        raise error(f"{who} is empty: shape {found.shape}")
    return found


def _extended(dtype: np.dtype[np.generic]) -> bool:
    """Whether it is a number type that numpy lacks (bfloat16, float8) and a library brought."""
    return dtype.kind == "V" and dtype.names is None and dtype.name.startswith(("bfloat", "float", "int", "uint"))


def reals(value: ArrayLike, who: str, error: type[CheckerError] | type[BadAnswer], dimensions: int) -> Array:
    """``value`` as float64 with so many dimensions, without NaN."""
    found = np.asarray(array(value, who, error), dtype=np.float64)
    if found.ndim != dimensions:
        raise error(f"{who} has shape {found.shape}: {dimensions} dimension{'s' * (dimensions > 1)} were expected")
    missing = np.isnan(found)
    if missing.any():
        raise error(f"{who} holds NaN {int(missing.sum())} times, first at {position(missing)}")
    return found


def position(mask: NDArray[np.bool_]) -> str:
    """The first place at which ``mask`` is true, as a person would write it."""
    place = np.unravel_index(int(np.argmax(mask)), mask.shape)
    return str(int(place[0])) if len(place) == 1 else str(tuple(int(index) for index in place))


def tokens(value: object, who: str, error: type[CheckerError] | type[BadAnswer]) -> list[int]:
    """A list of token ids: whole numbers of at least 0."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise error(f"{who} is {type(value).__name__}, not a list of token ids")
    if set(map(type, value)) == {int} and min(value) >= 0:
        return list(value)
    for place, token in enumerate(value):
        if isinstance(token, bool) or not isinstance(token, int | np.integer) or token < 0:
            raise error(f"{who} holds {_short(token)} at {place}: token ids are whole numbers of at least 0")
    return [int(token) for token in value]


def text(value: object, who: str, error: type[CheckerError] | type[BadAnswer]) -> str:
    """A text."""
    if not isinstance(value, str):
        raise error(f"{who} is {type(value).__name__}, not text")
    return value


def _short(value: object) -> str:
    told = repr(value)[:60]
    return told if len(told) < 60 else told + "…"
