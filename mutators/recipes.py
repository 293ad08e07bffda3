"""Compose a program from patches that its target offers. Needs no model."""

from __future__ import annotations

import random
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from mutators.scripted import Diff
from raysearch.errors import MutatorFault
from raysearch.protocols import Workspace
from raysearch.target import Recipe, Target
from raysearch.types import Brief, Mutation

HOW_TO_OFFER = (
    "the target offers no recipes: put patches (unified diffs, *.patch) into its folder recipes/, and a recipes.toml "
    'that names each:  [[recipe]]  name = "…"  needs = []  excludes = []'
)


class Recipes:
    """A mutator that adds one recipe of the target's bank to the program, or takes one out.

    What a program is made of is read from the program itself: a recipe is in it if its patch can be taken back,
    after those that were laid over it. So recipes are found again whatever else made the program, a merge
    included, and one that another mutator has rewritten counts as gone.

    ``reverting`` is the share of children (0 to 1) that lose a recipe, where any can be lost: one that no other in
    the program needs. The bank's word is not taken for what is good: all recipes are as likely.
    """

    def __init__(self, *, reverting: float = 0.15) -> None:
        if not 0.0 <= reverting <= 1.0:
            raise ValueError(f"reverting must be from 0 to 1, not {reverting:g}")
        self.reverting = reverting

    @staticmethod
    def unsuited(target: Target) -> str:
        """Why there is nothing to compose for ``target``; empty if there is."""
        return "" if target.recipes else HOW_TO_OFFER

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:  # noqa: ARG002 - no use here
        """Add or take out one recipe. Raises MutatorFault where neither is possible."""
        bank = workspace.target.recipes
        if not bank:
            raise MutatorFault(HOW_TO_OFFER)
        diffs = {recipe.name: diff_of(recipe) for recipe in bank}
        present = ingredients(workspace.path, workspace.scratch / "peeled", list(diffs.values()))
        removable = [
            name for name in removables(bank, present) if not diffs[name].refusal(workspace.path, reverse=True)
        ]
        refusals = {
            recipe.name: _conflict(recipe, bank, present) or diffs[recipe.name].refusal(workspace.path)
            for recipe in bank
        }
        fitting = [name for name, refusal in refusals.items() if not refusal]
        if removable and (not fitting or rng.random() < self.reverting):
            name = rng.choice(removable)
            _do(diffs[name], workspace.path, reverse=True)
            return Mutation(summary=f"without {name}")
        if fitting:
            name = rng.choice(fitting)
            _do(diffs[name], workspace.path)
            return Mutation(summary=name)
        reasons = "\n".join(f"  {name}: {refusal}" for name, refusal in refusals.items())
        raise MutatorFault(f"no recipe applies to this program, and none in it can be taken out:\n{reasons}")


def diff_of(recipe: Recipe) -> Diff:
    """One line around each change is enough, so that recipes for neighbouring lines go together."""
    return Diff(recipe.name, recipe.patch.read_bytes(), context_min=1)


def ingredients(program: Path, scratch: Path, diffs: Sequence[Diff]) -> list[str]:
    """Names of the recipes that are in ``program``, latest first; ``scratch`` is a folder to be made for the work.

    They are taken back from a copy, one by one, until none can be: one may hide behind those laid over it.
    """
    shutil.copytree(program, scratch, symlinks=True)
    found: list[str] = []
    before = -1
    while before < len(found):
        before = len(found)
        for diff in diffs:
            if diff.name not in found and not diff.apply(scratch, reverse=True):
                found.append(diff.name)
    shutil.rmtree(scratch)
    return found


def removables(bank: Sequence[Recipe], present: Collection[str]) -> list[str]:
    """Those ``present`` that no other one present needs."""
    needed = {name for recipe in bank if recipe.name in present for name in recipe.needs}
    return [recipe.name for recipe in bank if recipe.name in present and recipe.name not in needed]


def _conflict(recipe: Recipe, bank: Sequence[Recipe], present: Collection[str]) -> str:
    """Why ``recipe`` does not go with what is ``present``; empty if it does. Either of two may exclude the other."""
    if recipe.name in present:
        return "is in it"
    if missing := [name for name in recipe.needs if name not in present]:
        return f"needs {', '.join(missing)}"
    others = [other for other in bank if other.name in present]
    excluded = [other.name for other in others if other.name in recipe.excludes or recipe.name in other.excludes]
    return f"does not go with {', '.join(excluded)}, which is in it" if excluded else ""


def _do(diff: Diff, program: Path, *, reverse: bool = False) -> None:
    refusal = diff.apply(program, reverse=reverse)
    if refusal:
        raise MutatorFault(f"{diff.name} does not apply after all: {refusal}")
