"""Whom to draw: softmax over a growing population in constant expected time, and company without repeats."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from raysearch.types import CandidateId

TEMPERATURE_FLOOR = 1e-6
"""Below this a softmax only ever picks the best; a temperature of 0 means this."""
TRIES = 64
"""Rejections after which a draw computes the whole distribution instead."""


def normalised(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``values`` (n,) mapped linearly onto 0 (worst) to 1 (best); all 1 where they are equal."""
    spread = float(values.max()) - float(values.min()) if len(values) else 0.0
    if not 0.0 < spread < math.inf:
        return np.ones_like(values)
    scaled: npt.NDArray[np.float64] = 1.0 - (values.max() - values) / spread
    return scaled


def softmax(values: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities (n,) proportional to exp(normalised value / temperature); uniform where values are equal."""
    weights = np.exp((normalised(values) - 1.0) / max(temperature, TEMPERATURE_FLOOR))
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


class Members:
    """A population that only grows: numbers, and one value each, more being better."""

    __slots__ = ("_high", "_ids", "_known", "_low", "_values")

    def __init__(self) -> None:
        self._ids = array("q")
        self._values = array("d")
        self._known: set[int] = set()
        self._low, self._high = math.inf, -math.inf

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, number: CandidateId) -> bool:
        return number in self._known

    def add(self, number: CandidateId, value: float) -> None:
        """Take in ``number``, which must be new, with its finite ``value``."""
        self._ids.append(number)
        self._values.append(value)
        self._known.add(number)
        self._low, self._high = min(self._low, value), max(self._high, value)

    def draw(self, rng: random.Random, temperature: float) -> CandidateId:
        """One member, with the probability that `softmax` gives it.

        Rejection sampling against the best value: at temperature T a try is accepted with probability
        exp(-1/T) at least, so that at 0.5 seven tries are enough on average, whatever the size. A cold draw
        falls back on the whole distribution after `TRIES`; both ways are exact.
        """
        size, spread = len(self._ids), self._high - self._low
        if not 0.0 < spread < math.inf:
            return CandidateId(self._ids[rng.randrange(size)])
        heat = max(temperature, TEMPERATURE_FLOOR)
        for _ in range(TRIES):
            index = rng.randrange(size)
            if rng.random() < math.exp((self._values[index] - self._high) / spread / heat):
                return CandidateId(self._ids[index])
        sums = np.cumsum(softmax(np.array(self._values), heat))
        index = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
        return CandidateId(self._ids[min(index, size - 1)])

    def sample(self, rng: random.Random, count: int, without: Collection[CandidateId]) -> list[CandidateId]:
        """``count`` different members, or as many as there are, none of them in ``without``; uniform."""
        size = len(self._ids)
        if size <= 2 * (count + len(without)):
            rest = [CandidateId(number) for number in self._ids if number not in without]
            return rng.sample(rest, min(count, len(rest)))
        chosen: list[CandidateId] = []
        while len(chosen) < count:  # each draw is new with probability of a half at least
            number = CandidateId(self._ids[rng.randrange(size)])
            if number not in without and number not in chosen:
                chosen.append(number)
        return chosen
