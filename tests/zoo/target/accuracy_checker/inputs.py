"""What the program is asked, from a seed."""

import random


def inputs(seed, count, points, queries):
    rng = random.Random(seed)
    return [([pair(rng) for _ in range(points)], [pair(rng) for _ in range(queries)]) for _ in range(count)]


def pair(rng):
    return (rng.random(), rng.random())
