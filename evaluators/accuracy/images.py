"""How alike two images are: PSNR, SSIM and the largest difference.

Images are arrays height x width, or height x width x channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluators.accuracy.check import Bound, Check
from evaluators.accuracy.given import Array, BadAnswer, CheckerError, array, expect, number, pairs, position, require

PSNR_MIN = 25.0
WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03
"""Of SSIM, as published: a Gaussian window of 11 x 11 and 1.5 pixels, population covariances, whole windows only."""
_TOPS = {"uint8": 255.0, "uint16": 65535.0}
Span = tuple[float, float]


def psnr(reference: ArrayLike, answer: ArrayLike, *, span: Span | None = None) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(range² / mean squared difference), over all channels.

    Infinite for equal images.

    ``span``: the lowest and the highest value that a pixel can have; known of uint8 (0 to 255) and uint16.
    """
    right, found, (low, high) = _both(reference, answer, span)
    return _psnr(right, found, high - low)


def ssim(reference: ArrayLike, answer: ArrayLike, *, span: Span | None = None) -> float:
    """Structural similarity, from -1 to 1 (Wang, Bovik, Sheikh & Simoncelli 2004): the mean over all places of the
    Gaussian window that lie wholly inside, and over channels. At least 11 x 11 pixels."""
    right, found, (low, high) = _both(reference, answer, span)
    return _ssim(right, found, high - low)


def max_difference(reference: ArrayLike, answer: ArrayLike, *, span: Span | None = None) -> float:
    """The largest absolute difference of one value."""
    right, found, _ = _both(reference, answer, span)
    return float(np.abs(right - found).max())


def check_images(
    reference: Iterable[ArrayLike],
    answers: Iterable[ArrayLike],
    *,
    psnr_min: float | None = PSNR_MIN,
    ssim_min: float | None = None,
    difference_max: float | None = None,
    span: Span | None = None,
    name: str = "images",
) -> Check:
    """Images of the same requests (prompt, seed, steps), one each; every one must keep every bound that is given.

    Shapes must be those of the reference, and whole numbers where it has them; float pixels need a ``span``. Raises
    CheckerError also where images of one colour, each its reference's mean, would all pass.
    """
    require(
        psnr_min is not None or ssim_min is not None or difference_max is not None,
        "give psnr_min, ssim_min or difference_max",
    )
    if psnr_min is not None:
        number("psnr_min", psnr_min, 0)
    if ssim_min is not None:
        number("ssim_min", ssim_min, -1, 1)
    if difference_max is not None:
        number("difference_max", difference_max, 0)
    ratios: list[float] = []
    likenesses: list[float] = []
    differences: list[float] = []
    blind = True
    shown: set[bytes] = set()
    for place, wanted, answer in pairs(reference, answers, "image"):
        right, found, (low, high) = _both(wanted, answer, span, place)
        shown.add(found.tobytes())
        ratios.append(_psnr(right, found, high - low))
        differences.append(float(np.abs(right - found).max()))
        flat = np.broadcast_to(right.mean(axis=(0, 1)), right.shape)
        blind = blind and (psnr_min is None or _psnr(right, flat, high - low) >= psnr_min)
        blind = blind and (difference_max is None or float(np.abs(right - flat).max()) <= difference_max)
        if ssim_min is not None:
            likenesses.append(_ssim(right, found, high - low))
            blind = blind and _ssim(right, flat, high - low) >= ssim_min
    require(
        not blind, f"{name}: images of one colour would pass: raise the thresholds, or take images with more in them"
    )
    bounds = []
    if psnr_min is not None:
        bounds.append(Bound("lowest PSNR", min(ratios), psnr_min, least=True))
    if ssim_min is not None:
        bounds.append(Bound("lowest SSIM", min(likenesses), ssim_min, least=True))
    if difference_max is not None:
        bounds.append(Bound("largest difference", max(differences), difference_max))
    worst = min(range(len(ratios)), key=lambda index: ratios[index])
    feedback = f"{len(ratios)} images are like the reference's: PSNR at least {min(ratios):.1f} dB."
    if not all(bound.kept for bound in bounds):
        failed = "; ".join(str(bound) for bound in bounds if not bound.kept)
        feedback = f"Of {len(ratios)} images number {worst + 1} is the least like the reference's ({failed})."
        feedback += " They are all the same image." if len(ratios) > 1 and len(shown) == 1 else ""
    figures = {"mean PSNR": float(np.mean(ratios))}
    return Check(name, tuple(bounds), len(ratios), "images", feedback, figures)


def _both(
    reference: ArrayLike, answer: ArrayLike, span: Span | None, place: str = "the image"
) -> tuple[Array, Array, Span]:
    """Both images in double precision, counted from the lowest pixel value, and their span."""
    right = array(reference, f"the reference of {place}", CheckerError)
    require(right.ndim in {2, 3}, f"the reference of {place} has shape {right.shape}: height x width (x channels)")
    found = array(answer, place, BadAnswer)
    expect(found.shape == right.shape, f"{place} has shape {found.shape}: {right.shape} was asked for")
    whole = right.dtype.kind in "iu"
    expect((found.dtype.kind in "iu") == whole, f"{place} is of {found.dtype}: {right.dtype} was asked for")
    if span is None:
        top = _TOPS.get(str(right.dtype))
        if top is None:
            raise CheckerError(f"pixels are {right.dtype}: give their span, as in span=(0, 1)")
        span = (0.0, top)
    require(len(span) == 2, f"span is {span!r}: give the lowest and the highest value of a pixel")
    low, high = number("span[0]", span[0], -math.inf), number("span[1]", span[1], -math.inf)
    require(low < high, f"span is {span!r}: the lowest value comes first")
    base = _within(right, low, high, f"the reference of {place}", CheckerError)
    return base, _within(found, low, high, place, BadAnswer), (low, high)


def _within(
    pixels: NDArray[np.generic], low: float, high: float, who: str, error: type[CheckerError] | type[BadAnswer]
) -> Array:
    real = np.asarray(pixels, dtype=np.float64)
    wrong = ~((real >= low) & (real <= high))  # NaN is neither
    if wrong.any():
        first = real[np.unravel_index(int(np.argmax(wrong)), wrong.shape)]
        raise error(f"{who} holds {first:.4g} at {position(wrong)}: pixels are from {low:g} to {high:g}")
    return real - low


def _psnr(right: Array, found: Array, top: float) -> float:
    error = float(((right - found) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(top * top / error)


def _ssim(right: Array, found: Array, top: float) -> float:
    require(
        min(right.shape[:2]) >= WINDOW,
        f"SSIM needs {WINDOW} x {WINDOW} pixels, not {right.shape[0]} x {right.shape[1]}",
    )
    c1, c2 = (K1 * top) ** 2, (K2 * top) ** 2
    mean_x, mean_y = _blurred(right), _blurred(found)
    var_x = _blurred(right * right) - mean_x**2
    var_y = _blurred(found * found) - mean_y**2
    both = _blurred(right * found) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    apart = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float((alike / apart).mean())


def _blurred(pixels: Array) -> Array:
    """Weighted means over all whole windows, for each channel."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    for axis in (0, 1):
        slides = np.lib.stride_tricks.sliding_window_view(pixels, WINDOW, axis=axis)
        pixels = slides @ weights
    return pixels
