"""S3-FIFO: a small queue on probation, a main queue with second chances, a ghost queue of keys only.

Source: J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi, "FIFO queues are all you need for cache eviction",
SOSP 2023. Small queue a tenth of the cache, frequency counted to 3, ghosts as many as the main queue holds.
"""

from __future__ import annotations


class Policy:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.small_max = max(1, capacity // 10)
        self.ghosts_max = max(1, capacity - self.small_max)
        self.small: dict[int, int] = {}  # key to its number of hits, oldest first
        self.main: dict[int, int] = {}
        self.ghosts: dict[int, None] = {}

    def access(self, key: int) -> int | None:
        for queue in (self.main, self.small):
            if key in queue:
                queue[key] = min(3, queue[key] + 1)
                return None
        leaving = self.evict() if len(self.small) + len(self.main) >= self.capacity else None
        if key in self.ghosts:
            del self.ghosts[key]
            self.main[key] = 0
        else:
            self.small[key] = 0
        return leaving

    def evict(self) -> int:
        small, main, ghosts = self.small, self.main, self.ghosts
        while small and (len(small) >= self.small_max or not main):
            key = next(iter(small))
            if small.pop(key) > 1:
                main[key] = 0
                continue
            ghosts[key] = None
            if len(ghosts) > self.ghosts_max:
                del ghosts[next(iter(ghosts))]
            return key
        while True:
            key = next(iter(main))
            hits = main.pop(key)
            if not hits:
                return key
            main[key] = hits - 1
