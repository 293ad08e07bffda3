"""Many tests at once: Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evaluators.accuracy.given import require


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: rejecting those of at most alpha keeps the probability of even one false
    rejection at alpha, however the tests depend on one another (Holm 1979). Raises CheckerError."""
    require(len(p_values) > 0, "there is no p-value to adjust")
    for place, p in enumerate(p_values):
        require(not math.isnan(p) and 0 <= p <= 1, f"p-value {place} is {p!r}: it must be from 0 to 1")
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
