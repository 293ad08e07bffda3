"""Generations: children of one population as it stood, all of them closed before the next are made.

A search that waits at a barrier, to compare one with that does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from raysearch.facts import AttemptClosed, Compared
from raysearch.types import AttemptId


@dataclass(slots=True)
class Generation:
    """How many of a generation's ``size`` children are still to be opened, and what became of the others.

    Nobody hears of a child's end before the last of its generation has ended; then all are told in the order in
    which they came.
    """

    size: int
    held: list[AttemptClosed | Compared] = field(default_factory=list)
    """Ends that nobody has heard of yet, and contests since the first of them."""
    _opened: int = 0
    _open: set[AttemptId] = field(default_factory=set)

    def room(self) -> int:
        """Children that may still be opened; none while the last ones are waited for."""
        return self.size - self._opened

    def opened(self, attempt: AttemptId) -> None:
        """A child was opened."""
        self._opened += 1
        self._open.add(attempt)

    def compared(self, fact: Compared) -> list[Compared]:
        """What is to be told now of a contest: its rival may be one that nobody has heard of yet."""
        if not self.held:
            return [fact]
        self.held.append(fact)
        return []

    def closed(self, fact: AttemptClosed) -> list[AttemptClosed | Compared]:
        """What is to be told now that an attempt has closed: all that was held, or nothing."""
        self._open.discard(fact.attempt)
        self.held.append(fact)
        if self._open or 0 < self._opened < self.size:
            return []
        told, self.held, self._opened = self.held, [], 0
        return told
