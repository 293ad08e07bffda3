"""Matrices that find mistakes: awkward shapes, and numbers at the edges of single precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]

PRIMES = ((2, 3, 5), (7, 11, 13), (31, 37, 29), (61, 67, 59), (127, 131, 113), (17, 257, 19))
STRETCHED = {
    "tall": (1021, 3, 5),
    "wide": (3, 1021, 5),
    "deep": (5, 3, 4099),
    "row": (1, 389, 97),
    "column": (389, 1, 97),
    "outer product": (211, 193, 1),
}
EDGES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 96, 127, 128, 129)
"""Around the sizes of registers and tiles."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """``a`` has the shape (n, k) and ``b`` (k, m). ``random``: of independent numbers around 0."""

    name: str
    a: Matrix
    b: Matrix
    random: bool = False


def cases(seed: int) -> list[Case]:
    """Every case for a seed; which group comes first is fixed, so that the simplest mistake is told first."""
    rng = np.random.default_rng(seed)
    return [*_empty(), *_shapes(rng), *_values(rng), *_special(rng), *_aliased(rng)]


def normal(rng: np.random.Generator, n: int, m: int, k: int) -> tuple[Matrix, Matrix]:
    """Independent standard normal numbers: shapes (n, k) and (k, m)."""
    return rng.standard_normal((n, k), np.float32), rng.standard_normal((k, m), np.float32)


def _empty() -> Iterator[Case]:
    for n, m, k in ((0, 0, 0), (0, 5, 3), (4, 0, 3), (3, 4, 0)):
        yield Case(f"empty {n}x{m}x{k}", np.ones((n, k), np.float32), np.ones((k, m), np.float32))


def _shapes(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("1x1x1", *normal(rng, 1, 1, 1), random=True)
    for n, m, k in PRIMES:
        yield Case(f"primes {n}x{m}x{k}", *normal(rng, n, m, k), random=True)
    for name, (n, m, k) in STRETCHED.items():
        yield Case(f"{name} {n}x{m}x{k}", *normal(rng, n, m, k), random=True)
    for _ in range(24):
        n, m, k = (int(size) for size in rng.choice(EDGES, 3))
        yield Case(f"edges {n}x{m}x{k}", *normal(rng, n, m, k), random=True)
    for _ in range(8):
        n, m, k = (int(size) for size in rng.integers(1, 200, 3))
        yield Case(f"drawn {n}x{m}x{k}", *normal(rng, n, m, k), random=True)


def _values(rng: np.random.Generator) -> Iterator[Case]:
    n, m, k = 37, 53, 41
    a, b = normal(rng, n, m, k)
    yield Case("positive", rng.random((n, k), np.float32), rng.random((k, m), np.float32))
    yield Case("identity", np.eye(n, k, dtype=np.float32), b)
    yield Case("zeros", np.zeros_like(a), b)
    rows, columns = (np.float32(2) ** rng.integers(-40, 40, size) for size in (n, m))
    yield Case("scales", a * rows[:, None], b * columns)
    inner = np.float32(2) ** rng.integers(-40, 40, k)
    yield Case("scales within", a * inner, b / inner[:, None])
    half = k // 2
    yield Case("cancellation", np.hstack([a[:, :half], -a[:, :half]]), np.vstack([b[:half], b[:half]]))
    yield Case("huge", np.abs(a) * np.float32(1e18), b * np.float32(1e18))
    yield Case("overflow", np.abs(a) * np.float32(1e25), np.abs(b) * np.float32(1e25))
    yield Case("tiny", a * np.float32(1e-22), b * np.float32(1e-22))
    yield Case("denormal", a * np.float32(1e-42), b)
    yield Case("denormal on the right", a, b * np.float32(1e-42))


def _special(rng: np.random.Generator) -> Iterator[Case]:
    n, m, k = 19, 23, 17
    for name, value in (("NaN", np.nan), ("infinity", np.inf), ("minus infinity", -np.inf)):
        a, b = normal(rng, n, m, k)
        a[3, 5] = b[11, 7] = a[n - 1, k - 1] = b[k - 1, m - 1] = value
        yield Case(name, a, b)
        a, b = normal(rng, n, m, k)
        a[:, 4] = 0.0
        b[4, 2] = b[4, m - 1] = value
        yield Case(f"zero times {name}", a, b)


def _aliased(rng: np.random.Generator) -> Iterator[Case]:
    for size in (16, 61):
        a, _ = normal(rng, size, size, size)
        yield Case(f"a is b {size}x{size}x{size}", a, a)
