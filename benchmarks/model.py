"""A model that is played: it works well, is lazy, makes mistakes or gives up, by lot, and has its price."""

from __future__ import annotations

import random
from typing import Literal

from mutators.tune import Tune
from raysearch.errors import MutatorFault
from raysearch.protocols import Workspace
from raysearch.types import Brief, Mutation, Usage

Part = Literal["good", "lazy", "wrong", "gone"]
SCRIPT: dict[Part, float] = {"good": 0.6, "lazy": 0.15, "wrong": 0.2, "gone": 0.05}
"""How often it plays each part. A try to repair what was refused is good."""
TRIES = 3
"""Settings that it changes one after the other, where it works well: more at once than ``tune`` does."""


class Model:
    """A mutator with a price. ``usd``: what a call costs, whatever comes of it."""

    def __init__(self, *, usd: float = 0.05) -> None:
        self.usd = usd
        self._hand = Tune(fresh=0.0)

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        usage = Usage(cost_usd=self.usd, calls=1, tokens_out=1000, model="played")
        part = "good" if brief.feedback else rng.choices(list(SCRIPT), list(SCRIPT.values()))[0]
        source = next(path for path in sorted(workspace.path.rglob("*.py")))
        match part:
            case "gone":
                raise MutatorFault("the model gave up", usage)
            case "wrong":
                source.write_text(source.read_text() + "\nraise ValueError('not finished')\n")
            case "lazy":
                source.write_text(source.read_text() + f"# looked at it, {rng.randrange(10**9)}\n")
            case _:
                text = source.read_text().replace("\nraise ValueError('not finished')\n", "")
                source.write_text(text)
                for _ in range(TRIES):
                    self._hand.mutate(workspace, brief, rng)
        return Mutation(part, usage=usage)
