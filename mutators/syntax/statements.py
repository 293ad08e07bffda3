"""Edits of statements, and of whole functions."""

from __future__ import annotations

import random

from mutators.syntax.ground import GROWING, Edit, Ground, one_of
from mutators.syntax.outline import Function, Kind, Outline, Place, Statement

_LOOPS = ("for", "while", "do")


def delete(ground: Ground, rng: random.Random) -> Edit | None:
    chosen = one_of(ground.movable, rng, lambda s: not _is_only_return(ground, s))
    if chosen is None or ground.is_needed(chosen):
        return None
    old, empty = ground.outline.at(chosen.place), ground.language.empty
    if old == empty:
        return None
    change = (chosen.place, empty) if chosen.alone else (chosen.outer, "")
    return Edit((change,), f"without {ground.quote(old)}")


def _is_only_return(ground: Ground, statement: Statement) -> bool:
    function = ground.inside(statement.place)
    return _returns(statement) and function is not None and len(function.returns) == 1


def _returns(statement: Statement) -> bool:
    return statement.form.lower().startswith("return")


def swap(ground: Ground, rng: random.Random) -> Edit | None:
    """Two statements of one function change places."""
    one = one_of(ground.movable, rng)
    if one is None:
        return None
    function = ground.inside(one.place)
    other = one_of(ground.movable, rng, lambda s: not s.place.meets(one.place) and ground.inside(s.place) == function)
    if other is None:
        return None
    here = moved(ground, ground.outline, other, one, rng)
    there = moved(ground, ground.outline, one, other, rng)
    if here is None or there is None or here == there:
        return None
    return Edit(((one.place, here), (other.place, there)), f"{ground.quote(there)} <-> {ground.quote(here)}")


def copy(ground: Ground, rng: random.Random) -> Edit | None:
    """A statement of the file once more, somewhere else."""
    return _inserted(ground, ground.outline, one_of(ground.movable, rng), rng, "")


def replace(ground: Ground, rng: random.Random) -> Edit | None:
    """A statement becomes a copy of another."""
    return _overwritten(ground, ground.outline, one_of(ground.movable, rng), rng, "")


def wrap(ground: Ground, rng: random.Random) -> Edit | None:
    """A statement is done only under a condition."""
    chosen = one_of(ground.movable, rng, lambda s: not _is_only_return(ground, s))
    if chosen is None or ground.is_needed(chosen):
        return None
    condition = ground.condition(chosen.place.start, rng)
    if condition is None:
        return None
    old = ground.outline.at(chosen.place)
    if not _can_move(old):
        return None
    text = ground.language.guarded(condition.text, old, chosen.indent, ground.outline.step)
    return Edit(((chosen.place, text),), f"if {condition.text}: {ground.quote(old)}")


def guard(ground: Ground, rng: random.Random) -> Edit | None:
    """An early way out, under a condition: of the function, or of a loop's round."""
    spot = one_of(ground.statements, rng, lambda s: s.roomy and not s.fixed and ground.inside(s.place) is not None)
    if spot is None:
        return None
    function = ground.inside(spot.place)
    assert function is not None
    condition = ground.condition(spot.place.start, rng, depth=1)
    leaving = _way_out(ground, spot, function, rng)
    if condition is None or leaving is None:
        return None
    text = ground.language.guarded(condition.text, leaving, spot.indent, ground.outline.step)
    return Edit((_before(spot, text),), f"if {condition.text}: {ground.quote(leaving)}")


def _way_out(ground: Ground, spot: Statement, function: Function, rng: random.Random) -> str | None:
    looping = any(
        s.form.lower().startswith(_LOOPS) and s.place.start < spot.place.start and s.place.holds(spot.place)
        for s in ground.outline.statements
        if function.body.holds(s.place)
    )
    if looping and rng.random() < 0.5:
        return ground.language.leaving(rng.choice(("continue", "break")))
    if not function.returns or (function.empty_return and rng.random() < 0.5):
        return ground.language.leaving("return") if function.empty_return else None
    value = rng.choice(function.returns)
    kind = next((e.kind for e in ground.outline.expressions if e.place == value), Kind.OTHER)
    if kind in GROWING and rng.random() < 0.5:
        new = ground.soil(spot.place.start).grown(kind, rng)
        return None if new is None else ground.language.leaving("return", new.text)
    text = ground.adapted(ground.outline, value, spot.place.start, rng)
    return None if text is None or "\n" in text else ground.language.leaving("return", text)


def assign(ground: Ground, rng: random.Random) -> Edit | None:
    """A variable gets a new value, or a part of one."""
    spot = one_of(ground.statements, rng, lambda s: s.roomy and not s.fixed and ground.inside(s.place) is not None)
    if spot is None:
        return None
    visible = ground.outline.visible(spot.place.start)
    function = ground.inside(spot.place)
    assert function is not None
    names = [
        name
        for name in sorted(visible)
        if visible[name].settable
        and visible[name].kind in (Kind.NUMBER, Kind.WHOLE)
        and function.place.holds(visible[name].visible)
    ]
    if not names:
        return None
    name = rng.choice(names)
    kind = visible[name].kind
    value = ground.soil(spot.place.start).grown(kind, rng)
    if value is None or value.text == name:
        return None
    operator = rng.choice(("", "+", "-") if kind is Kind.WHOLE else ("", "+", "-", "*"))
    text = ground.language.assignment(name, operator, value.text)
    return Edit((_before(spot, text),), ground.quote(text))


def transplant(ground: Ground, rng: random.Random) -> Edit | None:
    """A statement of another version, added or in place of one here."""
    donor = rng.choice(ground.donors)
    here = {ground.outline.at(s.place) for s in ground.outline.statements}
    graft = one_of(donor.statements, rng, lambda s: not s.fixed and donor.at(s.place) not in here)
    way = _inserted if rng.random() < 0.5 else _overwritten
    return way(ground, donor, graft, rng, " of another")


def transplant_function(ground: Ground, rng: random.Random) -> Edit | None:
    """The body of a function becomes that of the same function in another version."""
    donor, outline = rng.choice(ground.donors), ground.outline
    heads = {outline.at(f.head): f for f in outline.functions if not outline.is_frozen(f.place)}
    graft = one_of(
        donor.functions,
        rng,
        lambda f: donor.at(f.head) in heads and donor.at(f.body) != outline.at(heads[donor.at(f.head)].body),
    )
    if graft is None:
        return None
    own = heads[donor.at(graft.head)]
    text = ground.adapted(donor, graft.body, own.body.start, rng)
    return None if text is None else Edit(((own.body, text),), f"{own.name}() of another")


def moved(ground: Ground, source: Outline, statement: Statement, spot: Statement, rng: random.Random) -> str | None:
    """The text of a ``statement`` of ``source`` as it may stand at ``spot``; None where it may not."""
    text = ground.adapted(source, statement.place, spot.place.start, rng)
    if text is None or statement.indent == spot.indent:
        return text
    if not _can_move(text):
        return None
    first, *lines = text.split("\n")
    return "\n".join([first, *(spot.indent + line.removeprefix(statement.indent) if line else "" for line in lines)])


def _can_move(text: str) -> bool:
    """Whether its lines may be indented otherwise: not if a quoted text goes over several of them."""
    return "\n" not in text or not any(mark in text for mark in ('"""', "'''", "\\\n", "`"))


def _before(spot: Statement, text: str) -> tuple[Place, str]:
    return Place(spot.place.start, spot.place.start), f"{text}\n{spot.indent}"


def _inserted(
    ground: Ground, source: Outline, chosen: Statement | None, rng: random.Random, whence: str
) -> Edit | None:
    spot = one_of(ground.statements, rng, lambda s: s.roomy and not s.fixed)
    if chosen is None or spot is None:
        return None
    text = moved(ground, source, chosen, spot, rng)
    if text is None:
        return None
    after = Place(spot.after, spot.after), f"\n{spot.indent}{text}"
    behind = rng.random() < 0.5 and not _returns(spot)
    return Edit((after if behind else _before(spot, text),), f"{ground.quote(text)}{whence} once more")


def _overwritten(
    ground: Ground, source: Outline, chosen: Statement | None, rng: random.Random, whence: str
) -> Edit | None:
    spot = one_of(ground.movable, rng)
    if chosen is None or spot is None or ground.is_needed(spot):
        return None
    text, old = moved(ground, source, chosen, spot, rng), ground.outline.at(spot.place)
    if text is None or text == old:
        return None
    return Edit(((spot.place, text),), f"{ground.quote(old)} -> {ground.quote(text)}{whence}")
