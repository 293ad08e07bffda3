"""First fit: the first bin that the item fits."""

import numpy as np


def priority(item, remaining):  # noqa: ARG001
    return -np.arange(len(remaining))
