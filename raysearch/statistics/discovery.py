"""How much evidence a claim needs, so that few of all the claims of a long run are false.

A claim is accepted when its e-value (a number that is 1 or less on average where there is nothing to find) reaches one
over its level. The levels are functions of counts alone.
"""

from __future__ import annotations

import math
from typing import Literal

Control = Literal["e-lond", "fixed"]
WEIGHTS_SUM = 2.1097428
"""Sum of 1 / (t log(t)^2) over t = 2, 3, ..."""


def level(control: Control, alpha: float, tests: int, discoveries: int) -> float:
    """The level (0 to 1) of the next claim, after ``tests`` claims tried of which ``discoveries`` were accepted.

    ``e-lond``: at most a share ``alpha`` of all accepted claims is false, in expectation, however the tests depend on
    each other (Xu and Ramdas 2024: e-LOND). ``fixed``: each claim by itself is false with probability ``alpha`` at
    most; of accepted ones a larger share may be.

    A candidate that is dropped before its first pair is no test; one that is dropped by what its pairs say is. Raises
    ValueError for an impossible count or ``alpha``.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"the level of all claims is {alpha}; it must lie between 0 and 1")
    if not 0 <= discoveries <= tests:
        raise ValueError(f"{discoveries} discoveries in {tests} tests: there cannot be more of them than tests")
    if control == "fixed":
        return alpha
    return min(alpha * weight(tests + 1) * (discoveries + 1), alpha)


def weight(test: int) -> float:
    """The share of the error that the test with this number (from 1) may use up; all sum to 1.

    Falls off as 1 / (t log(t)^2), about as slowly as a sum can converge, so that a long run keeps some for its end.
    """
    return 1 / (WEIGHTS_SUM * (test + 1) * math.log(test + 1) ** 2)


def accepted(evidence: float, level: float) -> bool:
    """Whether an e-value is enough at ``level``."""
    return evidence >= 1 / level
