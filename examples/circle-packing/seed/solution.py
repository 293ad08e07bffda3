"""A naive packing: a corner circle each, a middle one, and two rings around it.

Every radius is half the way to the nearest neighbour, or the way to the wall where that is shorter, so that any
choice of the constants gives a valid packing.
"""

import numpy as np

INNER_COUNT = 8  # circles on the inner ring; the outer ring takes what is left of the 26
INNER_RING = 0.08  # distance of a ring's circles from the middle of the square
OUTER_RING = 0.18
INNER_TURN = 0.0  # rotation of a ring, in steps from one of its circles to the next
OUTER_TURN = 0.0
SQUARENESS = 0.0  # 0: the outer ring is a circle; 1: it is a square
CORNER_INSET = 0.03  # distance of a corner circle from its two walls
GROW_PASSES = 0  # how often every circle, in turn, is grown until it touches something


def ring(count, distance, turn, squareness):
    """`count` points around the middle of the square."""
    angle = 2 * np.pi * (np.arange(count) + turn) / count
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    stretch = 1 / np.abs(direction).max(axis=1)
    return 0.5 + distance * direction * (1 + squareness * (stretch - 1))[:, None]


def pack():
    near, far = CORNER_INSET, 1 - CORNER_INSET
    centers = np.concatenate(
        [
            [[0.5, 0.5], [near, near], [near, far], [far, near], [far, far]],
            ring(INNER_COUNT, INNER_RING, INNER_TURN, 0.0),
            ring(21 - INNER_COUNT, OUTER_RING, OUTER_TURN, SQUARENESS),
        ]
    )
    centers = np.clip(centers, 0.0, 1.0)
    wall = np.minimum(centers, 1 - centers).min(axis=1)
    distance = np.linalg.norm(centers[:, None] - centers[None, :], axis=2)
    np.fill_diagonal(distance, np.inf)
    radii = np.minimum(wall, distance.min(axis=1) / 2)
    for _ in range(GROW_PASSES):
        for i in range(len(radii)):
            radii[i] = max(radii[i], min(wall[i], (distance[i] - radii).min()))
    return centers, np.maximum(radii - 1e-12, 0.0)  # a hair smaller: rounding must not make circles overlap
