"""Is a product right, as far as single precision can be?

The exact product is computed in double precision, which adds less than a thousandth of the error that is allowed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded: more would only wait for the one core

import numpy as np
import numpy.typing as npt
from build import Broken

Matrix = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float64]

UNIT = 2.0**-24
"""Unit roundoff of single precision."""
SMALLEST = 2.0**-149
LARGEST = float(np.finfo(np.float32).max)
WHOLE = 4.0
"""How many times UNIT the error of a whole product of random matrices may be; plain loops stay below 1."""


def check(a: Matrix, b: Matrix, c: Matrix, *, random: bool = False) -> None:
    """Raise `Broken` unless ``c``, shape (n, m), is the product of ``a``, (n, k), and ``b``, (k, m).

    Every element must be within ``k u / (1 - k u)`` of the sum of absolute products (Higham, Accuracy and Stability
    of Numerical Algorithms, 2002, section 3.1): single precision stays within it whatever the order of summation, with
    or without fused operations. What is not a number or infinite must be so. For ``random`` matrices, independent
    numbers around zero, errors mostly cancel, and the whole must look like single precision too.
    """
    exact, size = _exact(a, b)
    k = a.shape[1]
    plain = np.isfinite(exact) & (size < LARGEST / 2)
    # Beyond the largest float for sure: nothing can cancel.
    over = np.isfinite(exact) & (np.abs(exact) > 2 * LARGEST) & (np.abs(exact) > size * (1 - 1e-9))
    special = ~np.isfinite(exact)
    allowed = 1.001 * size * (k * UNIT / (1 - k * UNIT)) + k * SMALLEST
    with np.errstate(invalid="ignore"):
        wrong = plain & ~(np.abs(c - exact) <= allowed)
        wrong |= over & (c != np.copysign(np.inf, exact))
        wrong |= special & ~((c == exact) | (np.isnan(c) & np.isnan(exact)))
    if wrong.any():
        row, column = (int(place) for place in np.argwhere(wrong)[0])
        expected = np.float32(exact[row, column]) if not over[row, column] else np.copysign(np.inf, exact[row, column])
        raise Broken(
            "wrong result",
            f"c[{row}][{column}] is {c[row, column]:.9g}, expected {expected:.9g} within {allowed[row, column]:.3g} "
            f"({int(wrong.sum())} of {wrong.size} elements are wrong)",
        )
    if random and c.size:
        error = float(np.linalg.norm(c - exact)) / float(np.linalg.norm(size)) / UNIT
        if error > WHOLE:
            raise Broken(
                "precision",
                f"the error of the whole is {error:.3g} times 2^-24 |A||B| (Frobenius norms), at most {WHOLE:g} is "
                "allowed; compute in single precision or better",
            )


def _exact(a: Matrix, b: Matrix) -> tuple[Exact, Exact]:
    """The product, and that of the absolute values, in double precision."""
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    if np.isfinite(wide_a).all() and np.isfinite(wide_b).all():
        return wide_a @ wide_b, np.abs(wide_a) @ np.abs(wide_b)
    # A library may skip what it multiplies by zero; term by term, infinity times zero is not a number.
    with np.errstate(invalid="ignore"):
        terms = wide_a[:, :, None] * wide_b[None, :, :]
        return terms.sum(axis=1), np.abs(terms).sum(axis=1)
