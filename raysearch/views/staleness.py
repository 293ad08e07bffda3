"""How much news a child missed: candidates that were admitted between its being asked for and its end.

With many lanes a parent may be behind by the time that its child is measured. One lane, and children of a generation
that waits for its last, miss nothing that they could have been told of.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from raysearch.facts import AttemptClosed, AttemptOpened, Entry, Fact
from raysearch.types import SEED, AttemptId, Outcome


@dataclass(slots=True)
class Staleness:
    """Told a run's facts in order; the seed program is no child, and what was abandoned is in no count."""

    counts: Counter[int] = field(default_factory=Counter)
    """Children, by how many candidates they missed."""
    _admitted: int = 0
    _asked: dict[AttemptId, int] = field(default_factory=dict)
    """Children under way, with the number of candidates that were there when they were asked for."""

    def told(self, fact: Fact) -> None:
        """Fold one fact in."""
        match fact:
            case AttemptOpened() if fact.attempt != SEED:
                self._asked[fact.attempt] = self._admitted
            case AttemptClosed():
                known = self._asked.pop(fact.attempt, None)
                if known is not None and fact.outcome is not Outcome.ABANDONED:
                    self.counts[self._admitted - known] += 1
                self._admitted += fact.outcome is Outcome.ADMITTED
            case _:
                pass

    @property
    def children(self) -> int:
        return self.counts.total()

    @property
    def mean(self) -> float:
        """Candidates that a child missed; 0 before there is one."""
        return sum(missed * count for missed, count in self.counts.items()) / (self.children or 1)

    @property
    def most(self) -> int:
        """Of one child."""
        return max(self.counts, default=0)

    def quantile(self, share: float) -> int:
        """What ``share`` (above 0, to 1) of the children missed at most; 0 before there is one."""
        left = math.ceil(share * self.children)
        for missed in sorted(self.counts):
            left -= self.counts[missed]
            if left <= 0:
                return missed
        return 0


def staleness(entries: Iterable[Entry]) -> Staleness:
    """Of a whole journal."""
    found = Staleness()
    for entry in entries:
        found.told(entry.fact)
    return found
