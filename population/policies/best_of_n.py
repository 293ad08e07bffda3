"""Best of n: no search at all. Any policy that costs more must beat it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from population.policies.breeder import Breeder
from raysearch.protocols import View
from raysearch.types import SEED, Brief, Proposal


@dataclass(kw_only=True, eq=False)
class BestOfN(Breeder):
    """Every proposal is an independent child of the seed, or of nothing where there is none.

    So its brief tells of the seed alone: what others have found would make one child depend on another.
    """

    name: ClassVar[str] = "best-of-n"

    def _labels(self, _view: View, slots: int, /) -> list[str]:
        return [""] * slots

    def _child(self, view: View, label: str, rng: random.Random, /) -> Proposal:
        parents = (SEED,) if self._founder == SEED else ()
        brief = Brief(parents=self._parents_of(view, parents))
        return Proposal(parents, self._mutator(rng), brief, lineage=label)
