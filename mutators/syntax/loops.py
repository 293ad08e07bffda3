"""Edits of counted loops: their order, their steps, and what the compiler is asked to do with them."""

from __future__ import annotations

import random

from mutators.syntax.ground import Edit, Ground, one_of
from mutators.syntax.outline import Place

TILES = (4, 8, 16, 32, 64, 128)


def interchange(ground: Ground, rng: random.Random) -> Edit | None:
    """A loop and the one that is all its body change places."""
    outline = ground.outline
    chosen = one_of(outline.loops, rng, lambda loop: loop.nested is not None and not outline.is_frozen(loop.place))
    if chosen is None or chosen.nested is None:
        return None
    outer, inner = outline.at(chosen.head), outline.at(chosen.nested)
    return Edit(((chosen.head, inner), (chosen.nested, outer)), f"{ground.quote(outer)} <-> {ground.quote(inner)}")


def tile(ground: Ground, rng: random.Random) -> Edit | None:
    """A loop becomes two, the outer one in steps."""
    outline = ground.outline
    chosen = one_of(outline.loops, rng, lambda loop: loop.tiled != "" and not outline.is_frozen(loop.place))
    if chosen is None:
        return None
    text = chosen.tiled.format(rng.choice(TILES))
    return Edit(((chosen.head, text),), f"{ground.quote(outline.at(chosen.head))} in tiles")


def hint(ground: Ground, rng: random.Random) -> Edit | None:
    """The compiler is asked to treat a loop in some way."""
    outline = ground.outline
    chosen = one_of(outline.loops, rng, lambda loop: not outline.is_frozen(loop.place))
    if chosen is None or not ground.language.hints:
        return None
    start = outline.text.rfind(b"\n", 0, chosen.place.start) + 1
    line = outline.text[start : chosen.place.start]
    roomy = any(s.place == chosen.place and s.roomy for s in outline.statements)
    if line.strip() or not roomy:  # it is not the first thing on its line, or all the body of another
        return None
    text = rng.choice(ground.language.hints)
    return Edit(((Place(start, start), f"{line.decode()}{text}\n"),), text)
