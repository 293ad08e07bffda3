"""The plain way: the best of a few random starts, each polished by a general-purpose optimiser (SLSQP).

All 26 positions and radii are free at once; walls and pairs are inequality constraints with analytic gradients.
"""

import numpy as np
from scipy.optimize import minimize

COUNT = 26
STARTS = 24
FIRST, SECOND = np.triu_indices(COUNT, 1)
X, Y, R = np.arange(COUNT), COUNT + np.arange(COUNT), 2 * COUNT + np.arange(COUNT)


def walls_matrix():
    """Gradients of x - r, 1 - x - r, y - r and 1 - y - r, one row a circle and wall."""
    rows = np.arange(COUNT)
    matrix = np.zeros((4 * COUNT, 3 * COUNT))
    for wall, (axis, sign) in enumerate([(X, 1.0), (X, -1.0), (Y, 1.0), (Y, -1.0)]):
        matrix[wall * COUNT + rows, axis] = sign
        matrix[wall * COUNT + rows, R] = -1.0
    return matrix


WALLS = walls_matrix()
ROOM = np.concatenate([np.zeros(COUNT), np.ones(COUNT), np.zeros(COUNT), np.ones(COUNT)])


def slack(z):
    """What is left between each circle and each wall, and between each pair: not negative in a packing."""
    gap = np.hypot(z[X][FIRST] - z[X][SECOND], z[Y][FIRST] - z[Y][SECOND])
    return np.concatenate([WALLS @ z + ROOM, gap - z[R][FIRST] - z[R][SECOND]])


def slack_gradient(z):
    dx, dy = z[X][FIRST] - z[X][SECOND], z[Y][FIRST] - z[Y][SECOND]
    gap = np.maximum(np.hypot(dx, dy), 1e-12)
    pair = np.arange(len(FIRST))
    matrix = np.zeros((len(FIRST), 3 * COUNT))
    matrix[pair, X[FIRST]], matrix[pair, X[SECOND]] = dx / gap, -dx / gap
    matrix[pair, Y[FIRST]], matrix[pair, Y[SECOND]] = dy / gap, -dy / gap
    matrix[pair, R[FIRST]] = matrix[pair, R[SECOND]] = -1.0
    return np.concatenate([WALLS, matrix])


def minus_sum(z):
    return -z[R].sum(), -np.repeat([0.0, 0.0, 1.0], COUNT)


def polished(centers):
    """The local optimum that SLSQP finds from ``centers`` and small radii, as one vector x, y, r."""
    answer = minimize(
        minus_sum,
        np.concatenate([centers.T.ravel(), np.full(COUNT, 0.01)]),
        jac=True,
        bounds=[(0.0, 1.0)] * (2 * COUNT) + [(0.0, 0.5)] * COUNT,
        constraints={"type": "ineq", "fun": slack, "jac": slack_gradient},
        method="SLSQP",
        options={"maxiter": 200, "ftol": 1e-10},
    )
    return answer.x


def pack():
    rng = np.random.default_rng(1)
    best = None
    for _ in range(STARTS):
        z = polished(rng.random((COUNT, 2)))
        margin = max(-slack(z).min(), 0.0) + 1e-12  # SLSQP meets its constraints roughly, or fails
        radii = np.maximum(z[R] - margin, 0.0)
        if best is None or radii.sum() > best[1].sum():
            best = np.stack([z[X], z[Y]], axis=1), radii
    return best
