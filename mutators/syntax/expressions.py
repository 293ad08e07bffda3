"""Edits of expressions: constants, operators, names, and whole subtrees."""

from __future__ import annotations

import random

from mutators.syntax.ground import GROWING, TRUTHS, Edit, Ground, one_of
from mutators.syntax.growth import Text, perturbed
from mutators.syntax.outline import Expression, Kind, Outline, Place

EXTENDING_SHARE = 0.55
"""Share of new expressions that have the old one in them."""
_UNMOVED = frozenset({"Yield", "Await", "NamedExpr"})


def constant(ground: Ground, rng: random.Random) -> Edit | None:
    """Another number, or the other truth value."""
    outline = ground.outline
    literals = [literal for literal in outline.literals if not outline.is_frozen(literal.place)]
    truths = [e for e in ground.expressions if outline.at(e.place) in TRUTHS]
    if not literals and not truths:
        return None
    number = rng.randrange(len(literals) + len(truths))
    if number >= len(literals):
        place = truths[number - len(literals)].place
        return Edit(((place, TRUTHS[outline.at(place)]),), f"{outline.at(place)} -> {TRUTHS[outline.at(place)]}")
    chosen = literals[number]
    old = outline.at(chosen.place)
    digits = old.removesuffix(chosen.suffix) if chosen.suffix else old
    new = perturbed(digits, rng, whole=chosen.whole)
    suffix = chosen.suffix if chosen.suffix.lower() != "f" or "." in new or "e" in new else ""
    text = new + suffix
    shown = f"({text})" if new.startswith("-") and not _stands_alone(outline, chosen.place) else text
    return Edit(((chosen.place, shown),), f"{old} -> {text}")


def _stands_alone(outline: Outline, place: Place) -> bool:
    """Whether no operator is next to ``place``."""
    before, after = outline.text[: place.start].rstrip()[-1:], outline.text[place.end :].lstrip()[:1]
    return before in (b"(", b",", b"=", b"[", b":", b"{") and after in (b")", b",", b"]", b":", b"}", b";", b"#")


def operator(ground: Ground, rng: random.Random) -> Edit | None:
    """Another operator of the same family."""
    outline = ground.outline
    chosen = one_of(outline.operators, rng, lambda o: not outline.is_frozen(o.place))
    if chosen is None:
        return None
    old = outline.at(chosen.place)
    new = rng.choice([choice for choice in chosen.choices if choice != old])
    return Edit(((chosen.place, new),), f"{old} -> {new}")


def term(ground: Ground, rng: random.Random) -> Edit | None:
    """Another name, attribute or element of the same kind."""
    site = one_of(ground.expressions, rng, lambda e: e.term)
    if site is None:
        return None
    old = ground.outline.at(site.place)
    if site.kind is Kind.OTHER and site.form not in ("Name", "identifier"):
        return None
    new = one_of(ground.soil(site.place.start).terms[site.kind], rng, lambda text: text != old)
    return None if new is None else Edit(((site.place, new),), f"{old} -> {new}")


def grow(ground: Ground, rng: random.Random) -> Edit | None:
    """A new expression of the same kind, often with the old one in it."""
    site = one_of(ground.expressions, rng, lambda e: e.kind in GROWING)
    if site is None:
        return None
    soil, old = ground.soil(site.place.start), Text(ground.outline.at(site.place), site.loose)
    extending = rng.random() < EXTENDING_SHARE
    new = soil.around(site.kind, old, site.kind, rng) if extending else soil.grown(site.kind, rng)
    if new is None:
        return None
    if site.test:
        new = ground.tested(new, rng)
    return Edit((ground.replaced(site, new),), f"{ground.quote(old.text)} -> {ground.quote(new.text)}")


def bound(ground: Ground, rng: random.Random) -> Edit | None:
    """Another number of rounds for a loop."""
    site = one_of(ground.expressions, rng, lambda e: e.bound)
    if site is None:
        return None
    soil, old = ground.soil(site.place.start), Text(ground.outline.at(site.place), site.loose)
    new = soil.around(Kind.WHOLE, old, Kind.WHOLE, rng) if rng.random() < 0.7 else soil.grown(Kind.WHOLE, rng)
    if new is None:
        return None
    return Edit((ground.replaced(site, new),), f"bound {ground.quote(old.text)} -> {ground.quote(new.text)}")


def hoist(ground: Ground, rng: random.Random) -> Edit | None:
    """An expression becomes one of its own parts."""
    site = one_of(ground.expressions, rng, lambda e: not e.term and e.kind in GROWING)
    if site is None:
        return None
    inner = one_of(
        ground.expressions,
        rng,
        lambda e: e.place != site.place and site.place.holds(e.place) and e.kind.serves(site.kind),
    )
    if inner is None:
        return None
    text = ground.adapted(ground.outline, inner.place, site.place.start, rng)
    if text is None:
        return None
    old = ground.quote(ground.outline.at(site.place))
    return Edit((ground.replaced(site, Text(text, inner.loose)),), f"{old} -> {ground.quote(text)}")


def exchange(ground: Ground, rng: random.Random) -> Edit | None:
    """Two expressions of one function change places, or one is written over the other."""
    site = one_of(ground.expressions, rng, lambda e: e.form not in _UNMOVED)
    if site is None:
        return None
    outline, function = ground.outline, ground.inside(site.place)
    old = outline.at(site.place)
    other = one_of(
        ground.expressions,
        rng,
        lambda e: (
            alike(e, site)
            and ground.inside(e.place) == function
            and not e.place.meets(site.place)
            and outline.at(e.place) != old
        ),
    )
    if other is None:
        return None
    here = ground.adapted(outline, other.place, site.place.start, rng)
    there = ground.adapted(outline, site.place, other.place.start, rng)
    if here is None or there is None:
        return None
    changes = [ground.replaced(site, Text(here, other.loose))]
    mutual = rng.random() < 0.5 and site.kind.serves(other.kind)
    if mutual:
        changes.append(ground.replaced(other, Text(there, site.loose)))
    sign = "<->" if mutual else "->"
    return Edit(tuple(changes), f"{ground.quote(old)} {sign} {ground.quote(here)}")


def transplant(ground: Ground, rng: random.Random) -> Edit | None:
    """An expression of another version in place of one here, from the function of the same name if there is one."""
    donor = rng.choice(ground.donors)
    site = one_of(ground.expressions, rng, lambda e: e.form not in _UNMOVED)
    if site is None:
        return None
    function = ground.inside(site.place)
    home = next((f for f in donor.functions if function is not None and f.name == function.name), None)
    old = ground.outline.at(site.place)
    graft = one_of(
        donor.expressions,
        rng,
        lambda e: alike(e, site) and (home is None or home.place.holds(e.place)) and donor.at(e.place) != old,
    )
    if graft is None:
        return None
    text = ground.adapted(donor, graft.place, site.place.start, rng)
    if text is None or text == old:
        return None
    new = Text(text, graft.loose)
    return Edit((ground.replaced(site, new),), f"{ground.quote(old)} -> {ground.quote(text)} of another")


def alike(new: Expression, old: Expression) -> bool:
    """Whether ``new`` may stand where ``old`` does; of what is no number or truth, only the same form."""
    if old.kind is Kind.OTHER:
        return new.kind is Kind.OTHER and new.form == old.form
    return new.kind.serves(old.kind)
