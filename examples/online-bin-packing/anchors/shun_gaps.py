"""Perfect or roomy: never leave a gap that hardly any item of the family fits.

A gap of at most `TIGHT` is as good as none; one of at least `ROOMY` will still be of use; what lies between is
shunned, even if that takes a new bin.
"""

import numpy as np

TIGHT = 3
ROOMY = 25


def priority(item, remaining):
    gap = remaining - item
    return np.where((gap > TIGHT) & (gap < ROOMY), -1000.0, 0.0) - gap
