"""What FunSearch found on Weibull instances: a score of each bin, less that of the bin before it.

Formula from Romera-Paredes et al., "Mathematical discoveries from program search with large language models",
Nature 625 (2024), and the notebook that belongs to it (github.com/google-deepmind/funsearch, bin_packing).
"""

import numpy as np


def priority(item, remaining):
    squares = np.square(remaining)
    score = np.square(remaining - remaining.max()) / item + squares / item**2 + squares / item**3
    score = np.where(remaining > item, -score, score)
    return np.diff(score, prepend=0.0)
