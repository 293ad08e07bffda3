"""Levenshtein's alignment of two sequences."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.accuracy.given import require

CELLS_MAX = 25_000_000
"""Of the table, which takes 4 bytes a cell."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an alignment: ``equal``, ``substituted``, ``deleted`` (only the reference has it) or ``inserted``.

    Places count from 0; None where a side has nothing.
    """

    kind: str
    reference: int | None
    answer: int | None


@dataclass(frozen=True, slots=True)
class Alignment:
    """The cheapest way from a reference to an answer; every substitution, deletion and insertion costs 1."""

    steps: tuple[Step, ...]
    length: int
    """Of the reference."""

    def count(self, kind: str) -> int:
        return sum(step.kind == kind for step in self.steps)

    @property
    def errors(self) -> int:
        """Levenshtein's distance."""
        return sum(step.kind != "equal" for step in self.steps)

    @property
    def rate(self) -> float:
        """Errors per item of the reference, which may be above 1."""
        return self.errors / self.length


def align(reference: Sequence[Hashable], answer: Sequence[Hashable]) -> Alignment:
    """Align ``answer`` (words, characters, tokens) with ``reference``.

    Among equally cheap ways, one that substitutes is taken before one that deletes, then one that inserts, seen from
    the end. An answer of more than four times the reference's length and 100 items is cut there, and the rest counts
    as inserted. Raises CheckerError for an empty reference, or one too long for a table (about 2,500 items).
    """
    require(len(reference) > 0, "the reference is empty: an error rate is per item of it")
    cut = min(len(answer), 4 * len(reference) + 100)
    require(
        (len(reference) + 1) * (cut + 1) <= CELLS_MAX,
        f"a reference of {len(reference)} items is too long to align with {cut}: cut it into utterances",
    )
    table = _table(reference, answer[:cut])
    steps = [Step("inserted", None, place) for place in range(len(answer) - 1, cut - 1, -1)]
    row, column = len(reference), cut
    while row or column:
        here = table[row, column]
        if row and column and here == table[row - 1, column - 1] + (reference[row - 1] != answer[column - 1]):
            row, column = row - 1, column - 1
            steps.append(Step("equal" if reference[row] == answer[column] else "substituted", row, column))
        elif row and here == table[row - 1, column] + 1:
            row -= 1
            steps.append(Step("deleted", row, None))
        else:
            column -= 1
            steps.append(Step("inserted", None, column))
    return Alignment(tuple(reversed(steps)), len(reference))


def _table(
    reference: Sequence[Hashable], answer: Sequence[Hashable]
) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """Distances of all prefixes, reference x answer. Along a row, insertions are a running minimum."""
    numbers: dict[Hashable, int] = {}
    right = np.array([numbers.setdefault(item, len(numbers)) for item in reference], dtype=np.int32)
    found = np.array([numbers.setdefault(item, len(numbers)) for item in answer], dtype=np.int32)
    places = np.arange(len(found) + 1, dtype=np.int32)
    table = np.empty((len(right) + 1, len(found) + 1), dtype=np.int32)
    table[0] = places
    for row, item in enumerate(right, 1):
        above = table[row - 1]
        here = above + 1
        here[1:] = np.minimum(here[1:], above[:-1] + (found != item))
        table[row] = np.minimum.accumulate(here - places) + places
    return table
