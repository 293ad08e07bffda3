"""Tensors: equal within what their number type, and nothing else, explains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluators.accuracy.check import Bound, Check
from evaluators.accuracy.given import Array, BadAnswer, CheckerError, array, choice, number, position, require


@dataclass(frozen=True, slots=True)
class Tolerance:
    """An element may be off by ``relative`` x its reference + ``floor`` x the root mean square of all of the reference;
    all together by ``relative_l2``, the norm of the difference over the reference's."""

    relative: float
    floor: float
    relative_l2: float

    def __post_init__(self) -> None:
        for name in ("relative", "floor", "relative_l2"):
            number(name, getattr(self, name), 0)
        require(self.relative_l2 < 1, f"relative_l2 is {self.relative_l2:g}: with 1 and more, zeros pass")

    def times(self, factor: float) -> Tolerance:
        """``factor`` times as wide: for several such operations in a row, their number's square root or more."""
        number("factor", factor, 0)
        return Tolerance(self.relative * factor, self.floor * factor, self.relative_l2 * factor)


def rounded_to(bits: int) -> Tolerance:
    """For one product of matrices (or a convolution) whose inputs and output are rounded to so many significant bits,
    and whose sums are kept in float32.

    With u = 2**-bits, the largest relative error of one rounding: the errors of the inputs leave about 0.8 u of the
    root mean square in a sum with random signs, five standard deviations of which are 4 u; twice that is allowed, and
    2 u for the element's own rounding. The norm of the difference is about u, and 2 u are allowed.
    """
    u = 2.0**-bits
    return Tolerance(relative=2 * u, floor=8 * u, relative_l2=2 * u)


TOLERANCES: Mapping[str, Tolerance] = {
    "exact": Tolerance(0.0, 0.0, 0.0),
    "fp64": rounded_to(53).times(16),
    "fp32": rounded_to(24).times(16),
    "tf32": rounded_to(11),
    "fp16": rounded_to(11),
    "bf16": rounded_to(8),
    "fp8_e4m3": rounded_to(4),
    "fp8_e5m2": rounded_to(3),
    "int8": Tolerance(relative=2 / 127, floor=12 / 127, relative_l2=3 / 127),
}
"""By number type, for `rounded_to` their significant bits. float32 and float64 get 16 times that, since their sums
are rounded like their inputs, in another order. int8 is symmetric, scaled by the largest of each row, channel or
group (not of a whole tensor with outliers): its step is 1/127 of the largest, 4 root mean squares of a normal row."""


def check_tensor(
    reference: ArrayLike,
    answer: ArrayLike,
    tolerance: Tolerance | str,
    *,
    cosine_min: float | None = None,
    dtype: str | None = None,
    name: str = "tensor",
) -> Check:
    """One tensor of any shape. ``tolerance``: one's own, or the name of one of `TOLERANCES`.

    ``dtype``: the number type that the answer must have: by default the reference's, ``"any"`` for no matter which.
    The reference may hold infinities, at whose places the answer must hold the same; NaN has no place in it. Types,
    shapes, NaN and infinities that differ fail the check, and are named.
    """
    allowed = tolerance if isinstance(tolerance, Tolerance) else TOLERANCES[choice("tolerance", tolerance, TOLERANCES)]
    if cosine_min is not None:
        number("cosine_min", cosine_min, -1, 1)
    right = array(reference, "the reference", CheckerError)
    found = array(answer, "the answer", BadAnswer)
    wanted = str(right.dtype) if dtype is None else dtype
    faults = _mismatches(right, found, wanted)
    if faults:
        told = f"The tensor cannot be compared: {'; '.join(faults)}."
        return Check(
            name, (Bound("mismatches of type, shape or finiteness", len(faults), 0),), right.size, "elements", told
        )
    finite = (
        np.isfinite(np.asarray(right, dtype=np.float64)) if right.dtype.kind not in "iu" else np.ones(right.shape, bool)
    )
    require(bool(finite.any()), "the reference holds nothing but infinities")
    x, y = right[finite], found[finite]
    off = _differences(x, y)
    return _compared(name, x.astype(np.float64), y.astype(np.float64), off, allowed, cosine_min, finite)


def _mismatches(right: NDArray[np.generic], found: NDArray[np.generic], dtype: str) -> list[str]:
    faults = []
    if dtype != "any" and str(found.dtype) != dtype:
        faults.append(f"its type is {found.dtype}, not {dtype}")
    if found.shape != right.shape:
        faults.append(f"its shape is {found.shape}, not {right.shape}")
    x, y = (np.asarray(side, dtype=np.float64) for side in (right, found))
    require(not np.isnan(x).any(), "the reference holds NaN: nothing can be right there")
    if np.isnan(y).any():
        faults.append(f"it holds NaN {int(np.isnan(y).sum())} times, first at {position(np.isnan(y))}")
    if found.shape == right.shape:
        wrong = (np.isinf(x) | np.isinf(y)) & (x != y) & ~np.isnan(y)
        if wrong.any():
            faults.append(f"infinities differ at {int(wrong.sum())} places, first at {position(wrong)}")
    return faults


def _differences(right: NDArray[np.generic], found: NDArray[np.generic]) -> Array:
    """Absolute differences; exact also for whole numbers beyond 2**53."""
    if right.dtype.kind in "iu" and found.dtype.kind in "iu":
        if max(right.dtype.itemsize, found.dtype.itemsize) < 8:
            off: Array = np.abs(right.astype(np.int64) - found.astype(np.int64)).astype(np.float64)
            return off
        return np.array([abs(int(a) - int(b)) for a, b in zip(right.flat, found.flat, strict=True)], dtype=np.float64)
    with np.errstate(over="ignore"):
        apart: Array = np.abs(right.astype(np.float64) - found.astype(np.float64))
    return apart


def _compared(
    name: str, x: Array, y: Array, off: Array, allowed: Tolerance, cosine_min: float | None, finite: NDArray[np.bool_]
) -> Check:
    """``x``, ``y`` and ``off`` hold the finite elements, in a row."""
    scale = float(np.abs(x).max())
    rms = scale * math.sqrt(float(((x / scale) ** 2).mean())) if scale else 0.0
    limit = allowed.relative * np.abs(x) + allowed.floor * rms
    beyond = off > limit
    relative_l2 = _norm(off) / _norm(x) if scale else (math.inf if off.any() else 0.0)
    norms = _norm(x) * _norm(y)
    if norms and math.isfinite(norms):
        cosine = min(1.0, float((x / _norm(x)) @ (y / _norm(y))))
    else:
        cosine = 1.0 if not off.any() else 0.0
    bounds = [
        Bound("elements beyond the tolerance", int(beyond.sum()), 0),
        Bound("relative L2", relative_l2, allowed.relative_l2),
    ]
    if cosine_min is not None:
        bounds.append(Bound("cosine", cosine, cosine_min, least=True))
    feedback = f"{x.size} elements agree: relative L2 {relative_l2:.3g}, largest difference {off.max():.3g}."
    if not all(bound.kept for bound in bounds):
        whole = np.zeros(finite.shape)
        whole[finite] = off - limit
        worst = np.unravel_index(int(whole.argmax()), whole.shape)
        place = str(int(worst[0])) if len(worst) == 1 else str(tuple(int(index) for index in worst))
        feedback = (
            f"{int(beyond.sum())} of {x.size} elements are off by more than the number type explains, the worst at "
            f"{place} ({off.max():.3g} at most); relative L2 is {relative_l2:.3g} (at most {allowed.relative_l2:.3g}), "
            f"cosine {cosine:.6f}.{_guess(x, y, cosine, relative_l2, allowed)}"
        )
    figures = {"largest difference": float(off.max())} | ({"cosine": cosine} if cosine_min is None else {})
    return Check(name, tuple(bounds), x.size, "elements", feedback, figures)


def _norm(values: Array) -> float:
    """The Euclidean norm, without overflow."""
    top = float(np.abs(values).max())
    if top == 0 or math.isinf(top):
        return top
    return top * float(np.linalg.norm(values / top))


def _guess(x: Array, y: Array, cosine: float, relative_l2: float, allowed: Tolerance) -> str:
    if x.size > 1 and (y == y[0]).all():
        return " It is the same value everywhere."
    if cosine > 1 - allowed.relative_l2**2 and relative_l2 > allowed.relative_l2:
        return f" The direction is right, the scale is not: {_norm(y) / _norm(x):.4g} times the reference's."
    return ""
