"""ARC: a list of keys seen once and a list of keys seen again, whose shares adapt to where ghosts are hit.

Source: N. Megiddo, D. S. Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003.
"""

from __future__ import annotations


class Policy:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.share = 0.0  # how many keys seen once are wanted
        self.once: dict[int, None] = {}  # oldest first, as all four
        self.again: dict[int, None] = {}
        self.once_ghosts: dict[int, None] = {}
        self.again_ghosts: dict[int, None] = {}

    def access(self, key: int) -> int | None:
        once, again = self.once, self.again
        if key in once or key in again:
            once.pop(key, None)
            again.pop(key, None)
            again[key] = None
            return None
        if key in self.once_ghosts:
            self.share = min(self.capacity, self.share + max(1.0, len(self.again_ghosts) / len(self.once_ghosts)))
            leaving = self.replace(frequent=False)
            del self.once_ghosts[key]
            again[key] = None
            return leaving
        if key in self.again_ghosts:
            self.share = max(0.0, self.share - max(1.0, len(self.once_ghosts) / len(self.again_ghosts)))
            leaving = self.replace(frequent=True)
            del self.again_ghosts[key]
            again[key] = None
            return leaving
        leaving = self.make_room()
        once[key] = None
        return leaving

    def make_room(self) -> int | None:
        once, ghosts = self.once, self.once_ghosts
        if len(once) + len(ghosts) == self.capacity:
            if len(once) < self.capacity:
                del ghosts[next(iter(ghosts))]
                return self.replace(frequent=False)
            oldest = next(iter(once))
            del once[oldest]
            return oldest
        total = len(once) + len(self.again) + len(ghosts) + len(self.again_ghosts)
        if total < self.capacity:
            return None
        if total == 2 * self.capacity:
            del self.again_ghosts[next(iter(self.again_ghosts))]
        return self.replace(frequent=False)

    def replace(self, *, frequent: bool) -> int | None:
        if len(self.once) + len(self.again) < self.capacity:
            return None
        over = len(self.once) > self.share or (frequent and len(self.once) == self.share)
        queue, ghosts = (self.once, self.once_ghosts) if self.once and over else (self.again, self.again_ghosts)
        if not queue:
            queue, ghosts = self.once, self.once_ghosts
        oldest = next(iter(queue))
        del queue[oldest]
        ghosts[oldest] = None
        return oldest
