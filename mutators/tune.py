"""Change the numbers and choices that a program's source offers, and nothing else. Needs no model."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mutators import tunables
from mutators.literals import Value
from mutators.tunables import Key, Setting
from raysearch.errors import MutatorFault, TargetError
from raysearch.protocols import Workspace
from raysearch.target import Target
from raysearch.types import Brief, Mutation

if TYPE_CHECKING:
    import numpy as np

HOW_TO_DECLARE = (
    "nothing to tune: the program has no tunable with two values to choose from. Write a comment behind a constant "
    "at the top level, such as `SHARE = 0.1  # tune: float 0.01..0.5` (the forms are: "
    f"{tunables.FORMS}), or declare [[tunables]] in target.toml."
)


class Tune:
    """A mutator that varies settings.

    ``fresh`` is the share of children (0 to 1) whose settings are drawn anew, all of them and evenly. Of the others
    ``mating`` is the share that have a mate: the parent is the program in the workspace, its mate one of the brief's
    inspirations. ``eta`` is how close numbers stay to their parents': 1 goes anywhere, 20 stays near.

    The defaults suit tens to hundreds of evaluations. A search that starts from one program has no variety: without
    fresh settings it was behind random settings after 20 evaluations, and level after 40, in trials on 120 functions
    of 3 to 8 tunables, drawn at random; with a share from 0.1 to 0.35 of them it was level after 20 and ahead after 40.
    """

    def __init__(self, *, mating: float = 0.7, eta: float = 2.0, fresh: float = 0.2) -> None:
        for name, share in (("mating", mating), ("fresh", fresh)):
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name} must be from 0 to 1, not {share:g}")
        if not 1.0 <= eta <= 100.0:
            raise ValueError(f"eta must be from 1 to 100, not {eta:g}")
        self.mating = mating
        self.eta = eta
        self.fresh = fresh

    @staticmethod
    def unsuited(target: Target) -> str:
        """Why there is nothing to tune in ``target``'s seed program; empty if there is. Raises TargetError."""
        if target.seed is None:
            return "the target has no seed program"
        try:
            found = tunables.find(target.seed, target.editable, target.tunables)
        except MutatorFault as fault:
            raise TargetError(f"target {target.name}: {fault}") from None
        return "" if found else HOW_TO_DECLARE

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        """Edit the settings in place. Raises MutatorFault where there are none, or they contradict themselves."""
        import numpy as np

        from mutators.variation import Variation, can_vary

        target: Target = workspace.target
        found = tunables.find(workspace.path, target.editable, target.tunables)
        if not any(can_vary(setting.tunable) for setting in found):
            raise MutatorFault(HOW_TO_DECLARE)
        draws = np.random.default_rng(rng.getrandbits(128))
        parent = {setting.key: setting.value for setting in found}
        variation = Variation({setting.key: setting.tunable for setting in found}, self.eta)
        child = variation.drawn(parent, draws) if draws.random() < self.fresh else parent
        if not differ(parent, child):
            mate = self._mate(workspace, brief, found, draws)
            child = variation.child(parent, mate, draws)
        tunables.write(workspace.path, found, child)
        return Mutation(summary=summary(found, child))

    def _mate(
        self, workspace: Workspace, brief: Brief, found: Sequence[Setting], draws: np.random.Generator
    ) -> dict[Key, Value] | None:
        """The settings of an inspiration that differs from the program; None where the child has no mate."""
        if not brief.inspirations or draws.random() >= self.mating:
            return None
        parent = {setting.key: setting.value for setting in found}
        others = [other for other in self._inspirations(workspace, brief, found) if differ(parent, other)]
        return others[draws.integers(len(others))] if others else None

    def _inspirations(self, workspace: Workspace, brief: Brief, found: Sequence[Setting]) -> list[dict[Key, Value]]:
        """The settings of the other programs, where they have the same tunables."""
        others = []
        for inspiration in brief.inspirations:
            other: dict[Key, Value] = {}
            for file in dict.fromkeys(setting.tunable.file for setting in found):
                try:
                    text = workspace.show(inspiration.commit, file)
                except (FileNotFoundError, UnicodeDecodeError):
                    continue
                other |= tunables.values_in(file, text, found)
            others.append(other)
        return others


def differ(parent: Mapping[Key, Value], other: Mapping[Key, Value]) -> bool:
    return any(not tunables.same(value, parent[key]) for key, value in other.items())


def summary(found: Sequence[Setting], child: Mapping[Key, Value]) -> str:
    """``SHARE 0.1 -> 0.13, K 4 -> 5``."""
    names = [setting.tunable.name for setting in found]
    changes = []
    for setting in found:
        name = setting.tunable.name
        label = name if names.count(name) == 1 else f"{setting.tunable.file}:{name}"
        if not tunables.same(child[setting.key], setting.value):
            changes.append(f"{label} {setting.value!r} -> {child[setting.key]!r}")
    return ", ".join(changes)
