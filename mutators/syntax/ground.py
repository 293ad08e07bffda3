"""The file that is edited, the others that it may borrow from, and what can be said at one place of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from mutators.syntax.growth import DEPTH, Soil, Text
from mutators.syntax.outline import Expression, Function, Kind, Language, Outline, Place, Statement, spliced
from mutators.tunables import Setting

Item = TypeVar("Item")

QUOTE_MAX = 48
"""Characters of source that an edit's account quotes."""
PART_BYTES_MAX = 80
PLAIN = frozenset({"Integer", "Float", "number_literal", "Name", "true", "false"})
GROWING = (Kind.NUMBER, Kind.WHOLE, Kind.TRUTH)
TRUTHS = {"True": "False", "False": "True", "true": "false", "false": "true"}


@dataclass(frozen=True, slots=True)
class Edit:
    """Places, none of which meets another, with what they become; and an account of it in words."""

    changes: tuple[tuple[Place, str], ...]
    summary: str


@dataclass
class Ground:
    """``donors`` are other versions of the file. All edits are of the file as it was."""

    language: Language
    outline: Outline
    donors: Sequence[Outline] = ()
    settings: Sequence[Setting] = ()
    """Constants that belong to `tune`: varied within their bounds, and otherwise left alone."""
    _soils: dict[int, Soil] = field(default_factory=dict)

    @cached_property
    def expressions(self) -> tuple[Expression, ...]:
        return tuple(e for e in self.outline.expressions if not self.outline.is_frozen(e.place))

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """Those that may be edited: where there are functions, what is around them only sets the scene."""
        allowed = [s for s in self.outline.statements if not self.outline.is_frozen(s.place)]
        inside = [s for s in allowed if self.inside(s.place) is not None and not s.fixed]
        return tuple(inside or allowed)

    @cached_property
    def movable(self) -> tuple[Statement, ...]:
        return tuple(s for s in self.statements if not s.fixed)

    @cached_property
    def _constants(self) -> tuple[list[str], list[str]]:
        """Texts of all numbers, and of the whole ones."""
        numbers = [self.outline.at(literal.place).removesuffix(literal.suffix) for literal in self.outline.literals]
        return list(dict.fromkeys(numbers)), list(dict.fromkeys(text for text in numbers if text.isdigit()))

    def soil(self, offset: int) -> Soil:
        """What an expression at ``offset`` may be made of."""
        if offset not in self._soils:
            visible = self.outline.visible(offset)
            found: dict[Kind, dict[str, None]] = {kind: {} for kind in Kind}
            for name in sorted(visible):
                binding = visible[name]
                if name != "_" and (binding.kind is not Kind.OTHER or binding.settable):
                    found[binding.kind][name] = None
            for expression in self.outline.expressions:
                text = self.outline.at(expression.place)
                told = text in visible or text in TRUTHS or not expression.term or expression.kind not in GROWING
                if not told and all(name in visible for _, name in self.outline.names(expression.place)):
                    found[expression.kind][text] = None
            found[Kind.NUMBER] |= found[Kind.WHOLE]
            terms = {kind: tuple(texts) for kind, texts in found.items()}
            self._soils[offset] = Soil(self.outline.grammar, terms, self._parts(offset, set(visible)), *self._constants)
        return self._soils[offset]

    def _parts(self, offset: int, visible: set[str]) -> dict[Kind, list[Text]]:
        """Expressions of the same function, here and in the donors, that mean something at ``offset``."""
        function = self.outline.function_at(offset)
        found: dict[Kind, dict[str, Text]] = {kind: {} for kind in GROWING}
        for source in (self.outline, *self.donors):
            home = next((f.place for f in source.functions if function and f.name == function.name), None)
            for e in source.expressions:
                known = e.kind in GROWING and not e.term and e.form not in PLAIN
                near = home.holds(e.place) if home is not None else source is self.outline
                short = e.place.end - e.place.start <= PART_BYTES_MAX
                if known and near and short and all(name in visible for _, name in source.names(e.place)):
                    found[e.kind][source.at(e.place)] = Text(source.at(e.place), e.loose)
        return {kind: list(texts.values()) for kind, texts in found.items()}

    def adapted(self, source: Outline, place: Place, offset: int, rng: random.Random) -> str | None:
        """A piece of ``source`` as it may stand at ``offset``, or None.

        Numbers and truths of a donor whose names mean nothing here become others of their kind.
        """
        visible, terms = self.outline.visible(offset), self.soil(offset).terms
        changes: list[tuple[Place, str]] = []
        renamed: dict[str, str] = {}
        for at, name in source.names(place):
            if name in visible:
                continue
            if name not in renamed:
                meaning = source.visible(at).get(name)
                strange = source is self.outline or meaning is None or meaning.kind not in GROWING
                others = terms.get(meaning.kind, ()) if meaning is not None and not strange else ()
                if not others:
                    return None
                renamed[name] = rng.choice(others)
            start = at - place.start
            changes.append((Place(start, start + len(name.encode())), renamed[name]))
        return spliced(source.text[place.start : place.end], changes).decode()

    def condition(self, offset: int, rng: random.Random, depth: int = DEPTH) -> Text | None:
        """What a branch at ``offset`` may depend on."""
        truth = self.soil(offset).grown(Kind.TRUTH, rng, depth)
        return None if truth is None else self.tested(truth, rng)

    def tested(self, truth: Text, rng: random.Random) -> Text:
        test = rng.choice(self.outline.tests)
        return truth if test == "{0}" else Text(test.format(truth.text))

    def inside(self, place: Place) -> Function | None:
        return self.outline.function_at(place.start)

    def is_needed(self, statement: Statement) -> bool:
        """Whether a name that is read later would mean nothing without the statement."""
        place, function = statement.place, self.inside(statement.place)
        if function is None:
            return False
        made = {b.name: b for b in self.outline.bindings if place.start < b.visible.start <= place.end}
        others = [b for b in self.outline.bindings if b.name in made and b != made[b.name]]
        later = {name for offset, name in self.outline.reads if place.end <= offset < function.place.end}
        return any(
            name in later and not any(o.name == name and o.visible.start <= place.start < o.visible.end for o in others)
            for name in made
        )

    def replaced(self, site: Expression, new: Text) -> tuple[Place, str]:
        """The change that puts ``new`` in place of ``site``, in parentheses where it needs them."""
        bare = site.free and "\n" not in new.text
        return site.place, new.text if bare else new.operand()

    def quote(self, text: str) -> str:
        line = " ".join(text.split())
        return line if len(line) <= QUOTE_MAX else f"{line[: QUOTE_MAX - 1]}…"


def one_of(items: Iterable[Item], rng: random.Random, fits: Callable[[Item], bool] = lambda _: True) -> Item | None:
    """Any of the ``items`` that fit, or None."""
    fitting = [item for item in items if fits(item)]
    return rng.choice(fitting) if fitting else None
