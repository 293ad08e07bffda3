"""What FunSearch found on OR-Library instances: a table of the room that would be left.

Values from Romera-Paredes et al., "Mathematical discoveries from program search with large language models",
Nature 625 (2024), and the notebook that belongs to it (github.com/google-deepmind/funsearch, bin_packing).
"""

import numpy as np

GAPS = np.array([2, 3, 5, 7, 9, 12, 15, 21])
SCORES = np.array([4, 3, 2, 1, 0.9, 0.95, 0.97, 0.98, 0.99])  # up to each of these gaps, and beyond


def priority(item, remaining):
    return SCORES[np.searchsorted(GAPS, remaining - item)]
