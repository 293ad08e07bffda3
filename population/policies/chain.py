"""Chain: a walk without selection. Any policy that selects must beat it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import ClassVar

from population.frontier import Vector
from population.policies.breeder import Breeder
from raysearch.facts import AttemptClosed
from raysearch.protocols import View
from raysearch.types import Brief, CandidateId, Outcome, Proposal


@dataclass(kw_only=True, eq=False)
class Chain(Breeder):
    """Each child comes from the newest candidate of its chain, whatever that scored.

    One chain for each attempt that may be open at once; all of them start from the seed (without one, from
    the first candidate).
    """

    name: ClassVar[str] = "chain"

    _heads: dict[str, CandidateId] = field(init=False, repr=False, default_factory=dict)
    """Newest candidate by label."""

    def _labels(self, view: View, slots: int, /) -> list[str]:
        busy = {proposal.lineage for proposal in self._open.values()}
        free = (label for n in range(view.limits.open_max) if (label := f"chain-{n}") not in busy)
        return [label for label, _ in zip(free, range(slots), strict=False)]

    def _child(self, view: View, label: str, rng: random.Random, /) -> Proposal:
        parent = self._heads.get(label, self._founder)
        parents = () if parent is None else (parent,)
        brief = Brief(parents=self._parents_of(view, parents), frontier=self._beside(parents))
        return Proposal(parents, self._mutator(rng), brief, lineage=label)

    def _closed(self, fact: AttemptClosed, proposal: Proposal, point: Vector | None, /) -> None:
        super()._closed(fact, proposal, point)
        if fact.outcome is Outcome.ADMITTED:
            self._heads[proposal.lineage] = fact.attempt
