"""Worst fit: the bin in use that has the most room; a new one only where none has enough."""

import numpy as np


def priority(item, remaining):  # noqa: ARG001
    unused = remaining.max()
    return np.where(remaining < unused, remaining, -1.0)
