"""Elites by behaviour: the best candidate of each kind, whatever others score.

MAP-Elites (J.-B. Mouret, J. Clune, "Illuminating search spaces by mapping elites", arXiv:1504.04909, 2015) on a grid
whose boundaries slide (M. Fontaine et al., "Mapping Hearthstone deck spaces through MAP-Elites with sliding
boundaries", GECCO 2019): nobody knows beforehand how large or slow programs will be, so that each descriptor's bins
are cut at the quantiles of what was seen.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from raysearch.types import Candidate, CandidateId

CELLS_MAX = 1_000_000
Behaviour = tuple[float, ...]
"""One finite value for each descriptor, in their order."""
Cell = tuple[int, ...]


def behaviour(candidate: Candidate, descriptors: Sequence[str]) -> Behaviour | None:
    """Medians of the metrics ``descriptors``; None where one was not measured, or there are none."""
    measured = {m.name: m for m in candidate.measurements}
    if not descriptors or any(name not in measured for name in descriptors):
        return None
    return tuple(measured[name].value for name in descriptors)


class Archive:
    """The elite of each cell, told one candidate at a time.

    Of two in one cell the higher value stays, of equals the first. Boundaries are cut anew, and everybody told so far
    is placed again, whenever a quarter more have come: logarithmically often, so that a candidate costs O(1).
    """

    __slots__ = ("_bounds", "_cells", "_due", "_elites", "_ids", "_seen", "_values", "bins")

    def __init__(self, descriptors: int, bins: int) -> None:
        """For so many ``descriptors``, each in ``bins`` parts (2 or more)."""
        self.bins = bins
        self._ids = array("q")
        self._values = array("d")
        self._seen = tuple(array("d") for _ in range(descriptors))
        self._bounds: tuple[tuple[float, ...], ...] = tuple(() for _ in range(descriptors))
        self._elites: dict[Cell, int] = {}
        """Place in the arrays, by cell."""
        self._cells: list[Cell] = []
        """All that are taken, to be drawn from."""
        self._due = 1

    def __len__(self) -> int:
        """Cells that are taken."""
        return len(self._cells)

    @property
    def elites(self) -> dict[Cell, CandidateId]:
        return {cell: CandidateId(self._ids[place]) for cell, place in self._elites.items()}

    def add(self, number: CandidateId, place: Behaviour, value: float) -> None:
        """Take in ``number``, which must be new; more of ``value`` is better."""
        self._ids.append(number)
        self._values.append(value)
        for column, measured in zip(self._seen, place, strict=True):
            column.append(measured)
        if len(self._ids) >= self._due:
            self._cut()
        else:
            self._place(self._cell(place), len(self._ids) - 1)

    def draw(self, rng: random.Random) -> CandidateId:
        """The elite of a cell, each cell as likely as any other."""
        return CandidateId(self._ids[self._elites[self._cells[rng.randrange(len(self._cells))]]])

    def _cell(self, place: Behaviour) -> Cell:
        return tuple(bisect_right(bounds, value) for bounds, value in zip(self._bounds, place, strict=True))

    def _place(self, cell: Cell, place: int) -> None:
        holder = self._elites.get(cell)
        if holder is None:
            self._cells.append(cell)
        if holder is None or self._values[place] > self._values[holder]:
            self._elites[cell] = place

    def _cut(self) -> None:
        shares = np.arange(1, self.bins) / self.bins
        columns = [np.array(column) for column in self._seen]
        bounds = [np.quantile(column, shares, method="higher") for column in columns]
        self._bounds = tuple(tuple(cuts.tolist()) for cuts in bounds)
        cells = np.array([np.searchsorted(cuts, c, side="right") for cuts, c in zip(bounds, columns, strict=True)])
        self._elites = {tuple(cell): place for cell, place in _best(cells, np.array(self._values))}
        self._cells = list(self._elites)
        self._due = max(len(self._ids) + 1, len(self._ids) * 5 // 4)


def _best(cells: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> list[tuple[list[int], int]]:
    """Each cell (a column of ``cells``: descriptors, n) once, with the place of its highest value, else its first."""
    order = np.lexsort((np.arange(len(values)), -values, *cells))
    sorted_cells = cells[:, order].T.tolist()
    first = [0, *(at for at, (one, other) in enumerate(pairwise(sorted_cells), start=1) if one != other)]
    return [(sorted_cells[at], int(order[at])) for at in first]
