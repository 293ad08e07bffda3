"""Every kind of edit, how often it is tried, and several at once.

After W. B. Langdon, M. Harman, "Optimizing existing software with genetic programming", IEEE Trans. Evolutionary
Computation 19 (2015), and the tools PyGGI and Magpie, which delete, copy, replace and swap the parts of a program's
syntax tree; new expressions grow as in genetic programming.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mutators.syntax import expressions, loops, settings, statements
from mutators.syntax.ground import Edit, Ground
from mutators.syntax.outline import Checked, Place, spliced

DRAWS_MAX = 40
"""Edits drawn for one that is possible."""
SITES_HALF = 8
"""Sites at which an edit has half of its weight."""
DEPTH_MAX = 80
"""Levels of a syntax tree, unless there are more already; well below what can be read."""

Draw = Callable[[Ground, random.Random], Edit | None]


@dataclass(frozen=True, slots=True)
class EditKind:
    """``sites`` counts the places that an edit has to choose from, where each gives few different edits."""

    weight: float
    draw: Draw
    sites: Callable[[Ground], int] | None = None

    def weighed(self, ground: Ground, weight: float) -> float:
        """Less where there are few sites: the same edits would come again and again."""
        if self.sites is None:
            return weight
        count = self.sites(ground)
        return weight * count / (count + SITES_HALF)


def _expressions(ground: Ground) -> int:
    return len(ground.expressions)


def _statements(ground: Ground) -> int:
    return len(ground.movable)


KINDS: Mapping[str, EditKind] = {
    "constant": EditKind(3.0, expressions.constant, lambda ground: 4 * len(ground.outline.literals)),
    "setting": EditKind(3.0, settings.setting, lambda ground: 4 * len(ground.settings)),
    "operator": EditKind(1.5, expressions.operator, lambda ground: 2 * len(ground.outline.operators)),
    "term": EditKind(2.0, expressions.term, _expressions),
    "grow": EditKind(6.0, expressions.grow),
    "hoist": EditKind(1.0, expressions.hoist, _expressions),
    "exchange": EditKind(1.0, expressions.exchange, _expressions),
    "bound": EditKind(0.5, expressions.bound),
    "interchange": EditKind(1.5, loops.interchange),
    "tile": EditKind(1.5, loops.tile),
    "hint": EditKind(1.0, loops.hint),
    "delete": EditKind(0.8, statements.delete, _statements),
    "swap": EditKind(0.6, statements.swap, _statements),
    "copy": EditKind(0.5, statements.copy, _statements),
    "replace": EditKind(0.5, statements.replace, _statements),
    "wrap": EditKind(0.5, statements.wrap),
    "guard": EditKind(0.5, statements.guard),
    "assign": EditKind(0.8, statements.assign),
}
"""Kinds of edit with their usual weights."""
TRANSPLANTS: Mapping[str, EditKind] = {
    "expression": EditKind(3.0, expressions.transplant),
    "statement": EditKind(1.5, statements.transplant),
    "function": EditKind(1.0, statements.transplant_function),
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a mutant may be."""

    size_max: int
    """Nodes of its syntax tree; one that is larger already may still shrink."""


@dataclass(frozen=True, slots=True)
class Mutant:
    text: bytes
    summary: str


def mutant(
    ground: Ground, count: int, bounds: Bounds, weights: Mapping[str, float], transplanting: float, rng: random.Random
) -> Mutant | None:
    """The file after ``count`` edits, or after fewer where so many do not fit; None if it is not a program then.

    ``weights`` are of the kinds of edit, ``transplanting`` is the share of edits (0 to 1) that take from a donor.
    """
    chosen: list[Edit] = []
    taken: list[Place] = []
    for _ in range(count):
        edit = _drawn(ground, taken, weights, transplanting, rng)
        if edit is not None:
            chosen.append(edit)
            taken += [place for place, _ in edit.changes]
    text = spliced(ground.outline.text, [change for edit in chosen for change in edit.changes])
    if text == ground.outline.text:
        return None
    checked = ground.language.check(text)
    if checked is None or not _acceptable(checked, ground.outline.checked, bounds):
        return None
    return Mutant(text, "; ".join(edit.summary for edit in chosen))


def _drawn(
    ground: Ground, taken: list[Place], weights: Mapping[str, float], transplanting: float, rng: random.Random
) -> Edit | None:
    for _ in range(DRAWS_MAX):
        table = TRANSPLANTS if ground.donors and rng.random() < transplanting else KINDS
        weighed = [kind.weighed(ground, weights.get(name, kind.weight)) for name, kind in table.items()]
        if not any(weighed):
            continue
        edit = rng.choices(list(table.values()), weighed)[0].draw(ground, rng)
        if edit is not None and not any(p.meets(t) for p, _ in edit.changes for t in taken):
            return edit
    return None


def _acceptable(new: Checked, old: Checked, bounds: Bounds) -> bool:
    grown = new.size > max(bounds.size_max, old.size) or new.depth > max(DEPTH_MAX, old.depth)
    return new.tokens != old.tokens and new.errors <= old.errors and not grown
