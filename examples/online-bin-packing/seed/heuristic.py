"""Best fit, with steps where something else may begin: a bin scores less the more would be left in it.

As it stands TIGHT = ROOMY, the two steps cancel, and a new bin comes last anyway: this is best fit. A comment that
starts with ``tune:`` says what its constant may become.
"""

import numpy as np

TIGHT = 20  # tune: int 0..40
ROOMY = 20  # tune: int 0..80
SHUN = 100.0  # tune: float 0.0..200.0
NEW = 10.0  # tune: float -100.0..100.0


def priority(item, remaining):
    gap = remaining - item
    capacity = np.max(remaining)
    score = -gap - np.sqrt(gap)
    # More than TIGHT would be left: a waste. More than ROOMY: still of use.
    score = np.where(gap > TIGHT, score - SHUN, score)
    score = np.where(gap > ROOMY, score + SHUN, score)
    score -= np.where(remaining < capacity, 0.0, NEW)
    return score
