"""Best of n: no search at all. Any policy that costs more must beat it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from population.policies.breeder import Breeder
from raysearch.protocols import View
from raysearch.types import SEED, Proposal


@dataclass(kw_only=True, eq=False)
class BestOfN(Breeder):
    """Every proposal is an independent child of the seed, or of nothing where there is none."""

    name: ClassVar[str] = "best-of-n"

    def _labels(self, _view: View, slots: int, /) -> list[str]:
        return [""] * slots

    def _child(self, _view: View, label: str, rng: random.Random, /) -> Proposal:
        parents = (SEED,) if self._founder == SEED else ()
        return Proposal(parents, self._mutator(rng), lineage=label)
