"""Changes of structure: where the circles of a layout might go instead.

Each takes a layout and a random generator and returns new centers, shape (n, 2), for `packing.polish`.
Swapping two circles is not among them: the radii follow from the centers, so it changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from packing import Array, Layout, distances

HOLE_SAMPLES = 300
EDGE = 0.01

Move = Callable[[Layout, np.random.Generator], Array]


def scatter(count: int, rng: np.random.Generator) -> Array:
    """Centers drawn uniformly from the square."""
    return rng.random((count, 2))


def holes(centers: Array, radii: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random points (m, 2) and the room (m,) for a circle at each, the roomiest first; negative inside a circle."""
    points = rng.random((HOLE_SAMPLES, 2))
    wall = np.minimum(points, 1.0 - points).min(axis=1)
    room = np.minimum(wall, (distances(points, centers) - radii).min(axis=1, initial=1.0))
    order = np.argsort(-room)
    return points[order], room[order]


def relocate(layout: Layout, rng: np.random.Generator) -> Array:
    """Take a circle, a small one rather than a large one, to one of the largest holes elsewhere."""
    eagerness = float(rng.choice([0.0, 20.0, 60.0]))
    weight = np.exp(-eagerness * (layout.radii - layout.radii.min()))
    chosen = int(rng.choice(len(weight), p=weight / weight.sum()))
    rest = np.arange(len(weight)) != chosen
    points, _ = holes(layout.centers[rest], layout.radii[rest], rng)
    elsewhere = points[distances(points, layout.centers[chosen : chosen + 1])[:, 0] > 0.15]
    centers = layout.centers.copy()
    centers[chosen] = elsewhere[min(int(rng.geometric(0.3)) - 1, len(elsewhere) - 1)]
    return centers


def reinsert(layout: Layout, rng: np.random.Generator) -> Array:
    """Take two to four circles, one after the other, to one of the five largest holes."""
    centers = layout.centers.copy()
    for chosen in rng.choice(len(centers), int(rng.integers(2, 5)), replace=False):
        rest = np.arange(len(centers)) != chosen
        points, _ = holes(centers[rest], layout.radii[rest], rng)
        centers[chosen] = points[int(rng.integers(5))]
    return centers


def shake(layout: Layout, rng: np.random.Generator) -> Array:
    """Jitter every center by 0.03 to 0.05: less leads back, more to no better than a fresh start."""
    return _inside(layout.centers + rng.normal(0.0, _between(rng, 0.028, 0.048), layout.centers.shape))


def shake_part(layout: Layout, rng: np.random.Generator) -> Array:
    """Jitter the centers of a neighbourhood by 0.04 to 0.09."""
    part = _neighbourhood(layout, rng, 0.3, 0.4)
    centers = layout.centers.copy()
    centers[part] += rng.normal(0.0, _between(rng, 0.04, 0.09), centers[part].shape)
    return _inside(centers)


def wave(layout: Layout, rng: np.random.Generator) -> Array:
    """Bend the layout: shift along one axis by a sine, 0.06 to 0.12 high, of the other coordinate."""
    axis, phase, periods = int(rng.integers(2)), rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.5, 1.5)
    centers = layout.centers.copy()
    shift = np.sin(2.0 * np.pi * periods * centers[:, 1 - axis] + phase)
    centers[:, axis] += _between(rng, 0.06, 0.12) * shift
    return _inside(centers)


def scatter_part(layout: Layout, rng: np.random.Generator) -> Array:
    """Scatter the circles of a neighbourhood anew, within it and around it."""
    part = _neighbourhood(layout, rng, 0.2, 0.35)
    centers = layout.centers.copy()
    middle = centers[part].mean(axis=0)
    centers[part] = middle + rng.uniform(-0.3, 0.3, centers[part].shape)
    return _inside(centers)


def combine(layout: Layout, other: Layout, rng: np.random.Generator) -> Array:
    """One side of a random cut from ``layout``, the other side from a turned or mirrored ``other``.

    Too many circles: those nearest to the cut go. Too few: the largest holes are filled.
    """
    angle, offset = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(-0.2, 0.2)
    normal = np.array([np.cos(angle), np.sin(angle)])
    image = turned(other.centers, int(rng.integers(8)))
    mine = (layout.centers - 0.5) @ normal - offset
    theirs = (image - 0.5) @ normal - offset
    centers = np.concatenate([layout.centers[mine >= 0], image[theirs < 0]])
    radii = np.concatenate([layout.radii[mine >= 0], other.radii[theirs < 0]])
    depth = np.abs(np.concatenate([mine[mine >= 0], theirs[theirs < 0]]))
    keep = np.argsort(-depth)[: len(layout.radii)]
    centers, radii = centers[keep], radii[keep]
    while len(centers) < len(layout.radii):
        points, room = holes(centers, radii, rng)
        centers, radii = np.concatenate([centers, points[:1]]), np.append(radii, max(float(room[0]), 0.0))
    return _inside(centers)


def turned(centers: Array, symmetry: int) -> Array:
    """One of the eight images of the square: ``symmetry`` 0 to 7; 0 changes nothing."""
    image = centers[:, ::-1] if symmetry & 4 else centers
    mirrored = np.array([symmetry & 1, symmetry & 2], dtype=bool)
    return np.where(mirrored, 1.0 - image, image)


def _neighbourhood(layout: Layout, rng: np.random.Generator, low: float, high: float) -> NDArray[np.bool_]:
    """Which circles (n,) lie around one of them, within a radius from ``low`` to ``high``."""
    middle = layout.centers[int(rng.integers(len(layout.centers)))]
    return distances(layout.centers, middle[None])[:, 0] < rng.uniform(low, high)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from ``low`` to ``high``, uniform in its logarithm."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _inside(centers: Array) -> Array:
    return np.clip(centers, EDGE, 1.0 - EDGE)


MOVES: dict[str, tuple[Move, float]] = {
    "shake": (shake, 0.35),
    "wave": (wave, 0.25),
    "shake_part": (shake_part, 0.15),
    "relocate": (relocate, 0.15),
    "reinsert": (reinsert, 0.05),
    "scatter_part": (scatter_part, 0.05),
}
"""Each move and how often it is made."""
