"""Synthetic request traces: five families, each replayed against two cache sizes.

Requests are integers of 62 bits drawn afresh for every seed, so neither the value of a key nor its order
says anything about its popularity, and nothing learnt from one seed helps with another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CAPACITIES = (100, 1000)
KEY_MAX = 2**62

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Case:
    """One trace for one cache. ``requests`` holds the keys in the order in which they are asked for."""

    name: str
    capacity: int
    requests: list[int]


def zipf(rng: np.random.Generator, count: int, *, universe: int, exponent: float) -> Ids:
    """``count`` ids below ``universe``, id ``i`` with weight ``1 / (i + 1) ** exponent``."""
    weight = 1.0 / np.arange(1, universe + 1) ** exponent
    return rng.choice(universe, size=count, p=weight / weight.sum()).astype(np.int64)


def steady(rng: np.random.Generator, count: int) -> Ids:
    """A flat, unchanging popularity: only frequency matters."""
    return zipf(rng, count, universe=10_000, exponent=0.8)


def one_hit(rng: np.random.Generator, count: int) -> Ids:
    """Three requests in ten are for something that nobody asks for again."""
    ids = zipf(rng, count, universe=10_000, exponent=1.0)
    once = rng.random(count) < 0.3
    ids[once] = 10_000 + np.arange(int(once.sum()))
    return ids


def scans(rng: np.random.Generator, count: int) -> Ids:
    """Popular keys, interrupted every 5,000 requests by a walk over the same 2,000 cold ones."""
    ids = zipf(rng, count, universe=10_000, exponent=1.0)
    place = np.arange(count) % 5_000
    walking = place >= 3_000
    ids[walking] = 10_000 + place[walking] - 3_000
    return ids


def loop(rng: np.random.Generator, count: int) -> Ids:
    """Half of the requests go round a ring of 1,500 keys, the worst case for recency."""
    ids = zipf(rng, count, universe=10_000, exponent=1.0)
    round_ = rng.random(count) < 0.5
    ids[round_] = 10_000 + np.arange(int(round_.sum())) % 1_500
    return ids


def shift(rng: np.random.Generator, count: int) -> Ids:
    """What is popular changes completely every 20,000 requests."""
    ids = zipf(rng, count, universe=10_000, exponent=1.0)
    for start in range(0, count, 20_000):
        ids[start : start + 20_000] = rng.permutation(10_000)[ids[start : start + 20_000]]
    return ids


FAMILIES: dict[str, Callable[[np.random.Generator, int], Ids]] = {
    "steady": steady,
    "one-hit": one_hit,
    "scans": scans,
    "loop": loop,
    "shift": shift,
}


def salted(rng: np.random.Generator, ids: Ids) -> list[int]:
    """Give every id a key of its own, in 1..KEY_MAX, that reveals nothing about it."""
    distinct, position = np.unique(ids, return_inverse=True)
    keys = np.unique(rng.integers(1, KEY_MAX, size=distinct.size))
    while keys.size < distinct.size:
        keys = np.unique(np.append(keys, rng.integers(1, KEY_MAX, size=distinct.size - keys.size)))
    rng.shuffle(keys)
    return [int(key) for key in keys[position]]


def cases(seed: int, *, requests: int, draws: int) -> list[Case]:
    """Every family, capacity and draw: ``5 * 2 * draws`` cases of ``requests`` requests each."""
    found = []
    for number, (family, make) in enumerate(FAMILIES.items()):
        for capacity in CAPACITIES:
            for draw in range(draws):
                rng = np.random.default_rng([seed, number, capacity, draw])
                trace = salted(rng, make(rng, requests))
                found.append(Case(f"{family}/{capacity}/{draw}", capacity, trace))
    return found
