"""A cache of two queues: newcomers wait on probation, and those that are asked for again move to the main queue.

Five constants make it anything between FIFO and designs much like SLRU, 2Q or S3-FIFO. A comment that starts
with ``tune:`` says what its constant may become.
"""

from __future__ import annotations

PROBATION = 0.5  # tune: log 0.01..0.99
"""Share of the cache that newcomers fill before any of them has to leave."""
HITS = 1  # tune: int 1..4
"""Hits on probation that earn a place in the main queue."""
MAIN = "lru"  # tune: one of "fifo", "lru", "clock"
"""What a hit does in the main queue: nothing, move the key to the back, or count towards second chances."""
CHANCES = 1  # tune: int 1..7
"""How many second chances a key of the main queue can save up ("clock" only)."""
GHOSTS = 0.0  # tune: float 0.0..3.0
"""How many evicted newcomers are remembered, as a multiple of the capacity: those return to the main queue."""


class Policy:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.probation_max = max(1, round(PROBATION * capacity))
        self.ghosts_max = round(GHOSTS * capacity)
        self.probation: dict[int, int] = {}  # key to its hits, oldest first, as all three
        self.main: dict[int, int] = {}  # key to its second chances
        self.ghosts: dict[int, None] = {}

    def access(self, key: int) -> int | None:
        main, probation = self.main, self.probation
        if key in main:
            if MAIN == "lru":
                del main[key]
                main[key] = 0
            elif MAIN == "clock" and main[key] < CHANCES:
                main[key] += 1
            return None
        if key in probation:
            probation[key] += 1
            return None
        leaving = self.evict() if len(main) + len(probation) == self.capacity else None
        if key in self.ghosts:
            del self.ghosts[key]
            main[key] = 0
        else:
            probation[key] = 0
        return leaving

    def evict(self) -> int:
        main, probation = self.main, self.probation
        while probation and (len(probation) >= self.probation_max or not main):
            key = next(iter(probation))
            if probation.pop(key) < HITS:
                self.remember(key)
                return key
            main[key] = 0
        while True:
            key = next(iter(main))
            chances = main.pop(key)
            if not chances:
                return key
            main[key] = chances - 1

    def remember(self, key: int) -> None:
        if self.ghosts_max:
            self.ghosts[key] = None
            if len(self.ghosts) > self.ghosts_max:
                del self.ghosts[next(iter(self.ghosts))]
