"""Belady's MIN, which knows the future: the ceiling of the score.

Source: L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems
Journal 5(2), 1966. With keys of one size, keeping whatever is asked for again soonest is optimal. A newcomer
that would itself be the first to go is not let in, as candidates may do too.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def misses(requests: Sequence[int], capacity: int) -> int:
    """The fewest misses that any policy can have on ``requests``, starting from an empty cache."""
    never = len(requests)
    upcoming = [never] * never
    seen: dict[int, int] = {}
    for at in range(never - 1, -1, -1):
        upcoming[at] = seen.get(requests[at], never)
        seen[requests[at]] = at
    resident: set[int] = set()  # each key that is worth keeping, by the place of its next request
    farthest: list[int] = []  # the same places negated, as a heap, with some that have passed
    missed = 0
    for at, following in enumerate(upcoming):
        if at in resident:
            resident.remove(at)
        else:
            missed += 1
        if following == never:
            continue
        if len(resident) < capacity:
            resident.add(following)
            heapq.heappush(farthest, -following)
            continue
        while -farthest[0] not in resident:
            heapq.heappop(farthest)
        if following < -farthest[0]:
            resident.remove(-heapq.heapreplace(farthest, -following))
            resident.add(following)
    return missed
