"""SIEVE: one queue, one bit a key, and a hand that walks from the oldest key to the newest.

Source: Y. Zhang, J. Yang, Y. Yue, Y. Vigfusson, K. V. Rashmi, "SIEVE is simpler than LRU", NSDI 2024.
"""

from __future__ import annotations


class Policy:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.visited: dict[int, bool] = {}
        self.newer: dict[int, int] = {}
        self.older: dict[int, int] = {}
        self.newest = self.oldest = self.hand = 0  # 0 is no key

    def access(self, key: int) -> int | None:
        visited = self.visited
        if key in visited:
            visited[key] = True
            return None
        leaving = self.evict() if len(visited) == self.capacity else None
        visited[key] = False
        self.older[key] = self.newest
        self.newer[key] = 0
        if self.newest:
            self.newer[self.newest] = key
        else:
            self.oldest = key
        self.newest = key
        return leaving

    def evict(self) -> int:
        visited, newer = self.visited, self.newer
        hand = self.hand or self.oldest
        while visited[hand]:
            visited[hand] = False
            hand = newer[hand] or self.oldest
        after, before = newer.pop(hand), self.older.pop(hand)
        if after:
            self.older[after] = before
        else:
            self.newest = before
        if before:
            newer[before] = after
        else:
            self.oldest = after
        self.hand = after
        del visited[hand]
        return hand
