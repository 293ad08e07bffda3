"""Items to pack: the two families that are measured, and small awkward instances where mistakes show at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Items = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """``items``, shape (n,), are whole numbers from 1 to ``capacity``, in the order in which they come."""

    family: str
    capacity: int
    items: Items

    @property
    def bound(self) -> int:
        """The L1 bound: no packing uses fewer bins than the sum of all items fills."""
        return -(-int(self.items.sum()) // self.capacity)


def weibull(seed: int, *, draws: int = 5, count: int = 5_000) -> list[Instance]:
    """Weibull(shape 3, scale 45), rounded and clipped to 1..100; capacity 100 (Castineiras et al., 2012)."""
    return [
        Instance("weibull", 100, np.clip(np.rint(45.0 * rng.weibull(3.0, count)), 1, 100))
        for rng in _generators(seed, 0, draws)
    ]


def or3(seed: int, *, draws: int = 20, count: int = 500) -> list[Instance]:
    """Uniform from 20 to 100; capacity 150: how OR-Library's u500 instances were made (Falkenauer, 1996)."""
    return [
        Instance("or3", 150, rng.integers(20, 101, count).astype(np.float64)) for rng in _generators(seed, 1, draws)
    ]


def awkward(seed: int) -> list[Instance]:
    """Few items or many, all alike, as large as a bin, rising, falling, or in bins of one unit and of a million."""
    found = []
    for number, capacity in enumerate((1, 2, 10, 100, 1_000_000)):
        (rng,) = _generators(seed, 2 + number, 1)
        uniform = rng.integers(1, capacity + 1, 60).astype(np.float64)
        shapes = {
            "uniform": uniform,
            "one": uniform[:1],
            "whole bins": np.full(20, float(capacity)),
            "units": np.ones(60),
            "rising": np.sort(uniform),
            "falling": np.sort(uniform)[::-1],
            "just over half": np.full(20, float(capacity // 2 + 1)),
        }
        found += [Instance(f"{shape}/{capacity}", capacity, items) for shape, items in shapes.items()]
    return found


def _generators(seed: int, family: int, draws: int) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, family, draw]) for draw in range(draws)]
