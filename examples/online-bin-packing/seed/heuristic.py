"""Best fit, with room for more: a bin costs what would be left in it, and a few terms that come to nothing yet.

A comment that starts with ``tune:`` says what its constant may become.
"""

import numpy as np

TIGHT = 20  # tune: int 0..40
ROOMY = 20  # tune: int 0..80
SHUN = 100.0  # tune: float 0.0..200.0
FULL = 0.0  # tune: float -50.0..50.0
EVEN = 0.0  # tune: float -5.0..5.0


def priority(item, remaining):
    gap = remaining - item
    score = -gap
    # Shunned: what is left is too much to waste and too little to use. As long as TIGHT = ROOMY, nothing is.
    between = np.logical_and(gap > TIGHT, gap < ROOMY)
    score -= SHUN * between
    # The share of its room that the item takes, and how far the bin is from the middling one.
    share = np.divide(item, remaining)
    score += FULL * np.square(share)
    score += EVEN * np.sqrt(np.abs(gap - np.mean(gap)))
    return score
