"""Least recently used: the floor of the score."""

from __future__ import annotations


class Policy:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.resident: dict[int, None] = {}

    def access(self, key: int) -> int | None:
        resident = self.resident
        if key in resident:
            del resident[key]
            resident[key] = None
            return None
        resident[key] = None
        if len(resident) <= self.capacity:
            return None
        oldest = next(iter(resident))
        del resident[oldest]
        return oldest
