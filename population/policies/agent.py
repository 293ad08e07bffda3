"""Agent: one long line of work that repairs what was refused, and carries a memory forward."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import ClassVar

from population.policies.options import check_whole
from population.policies.rounds import Rounds
from raysearch.facts import Fact, Mutated
from raysearch.protocols import View
from raysearch.types import AttemptId, Proposal


@dataclass(kw_only=True, eq=False)
class Agent(Rounds):
    """A refused try is repaired from its own commit; when a round's tries are used up, the head is taken again.

    What the latest mutation wished to remember goes into the next brief.

    Options
        max_retries_per_round: refusals that end a round.
    """

    name: ClassVar[str] = "agent"

    max_retries_per_round: int = 3

    _memory: str = field(init=False, repr=False, default="")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self.name, "max_retries_per_round", self.max_retries_per_round, 1)

    def _bred(self, view: View, slots: int, rng: random.Random) -> list[Proposal]:
        proposals = super()._bred(view, slots, rng)
        return [replace(proposal, brief=replace(proposal.brief, memory=self._memory)) for proposal in proposals]

    def tell(self, fact: Fact) -> None:
        super().tell(fact)
        if isinstance(fact, Mutated):
            self._memory = fact.change.mutation.memory

    def _tries_max(self) -> int:
        return self.max_retries_per_round

    def _label(self) -> str:
        return "lineage"

    def _repair(self) -> AttemptId | None:
        return self._refused_last
