"""Plain: child after child of one head, each told why the last was refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from population.policies.options import check_whole
from population.policies.rounds import Rounds


@dataclass(kw_only=True, eq=False)
class Plain(Rounds):
    """Every try starts from the head; a refusal is told to the next try of the round.

    Options
        attempts_per_round: refusals after which the next try starts without feedback.
    """

    name: ClassVar[str] = "plain"

    attempts_per_round: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self.name, "attempts_per_round", self.attempts_per_round, 1)

    def _tries_max(self) -> int:
        return self.attempts_per_round
