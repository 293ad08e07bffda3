"""What is noted while a Python module is walked, and what an outline makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import libcst as cst
from libcst.metadata import CodeSpan

from mutators.syntax.outline import Binding, Expression, Function, Kind, Literal, Loop, Operator, Place, Statement
from mutators.syntax.python_kinds import Evidence, Scope, called
from mutators.syntax.python_words import DECIMAL, LOOSE, OPERATORS, Slot

TERM_BYTES_MAX = 60


@dataclass(frozen=True, slots=True)
class Seen:
    """An expression, and where it stands."""

    node: cst.BaseExpression
    place: Place
    scope: Scope
    slot: Slot


@dataclass(frozen=True, slots=True)
class Bound:
    """A name that gets a meaning."""

    scope: Scope
    name: str
    visible: Place
    settable: bool
    parameter: bool


@dataclass
class Notes:
    text: bytes
    spans: Mapping[cst.CSTNode, CodeSpan]
    evidence: Evidence
    statements: list[Statement] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    reads: list[tuple[int, str]] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    imports: dict[str, str] = field(default_factory=dict)
    """Modules, and the names that they have in the file."""
    seen: list[Seen] = field(default_factory=list)
    bound: list[Bound] = field(default_factory=list)

    def place(self, node: cst.CSTNode) -> Place:
        """Where ``node`` is, without parentheses around it."""
        span = self.spans[node]
        return Place(span.start, span.start + span.length)

    def read(self, node: cst.Name) -> None:
        self.reads.append((self.place(node).start, node.value))

    def operator(self, node: cst.CSTNode, text: str) -> None:
        if text in OPERATORS:
            place = self.place(node)
            found = self.text.find(text.split(maxsplit=1)[0].encode(), place.start, place.end)
            if found >= 0 and " " not in text:
                self.operators.append(Operator(Place(found, found + len(text)), OPERATORS[text]))

    def bind(self, scope: Scope, name: str, visible: Place, *, settable: bool = False, parameter: bool = False) -> None:
        self.bound.append(Bound(scope, name, visible, settable, parameter))
        self.evidence.bound.add((scope, name))

    # -- what an outline needs ----------------------------------------------------------------------------

    def expressions(self) -> tuple[Expression, ...]:
        return tuple(
            Expression(
                seen.place,
                self._kind(seen),
                type(seen.node).__name__,
                loose=isinstance(seen.node, LOOSE) or b"\n" in self.text[seen.place.start : seen.place.end],
                free=seen.slot.free or bool(getattr(seen.node, "lpar", ())),
                term=_is_term(seen),
                bound=seen.slot.bound,
                test=seen.slot.test,
            )
            for seen in self.seen
        )

    def literals(self) -> tuple[Literal, ...]:
        return tuple(
            Literal(seen.place, whole=self._kind(seen) is Kind.WHOLE)
            for seen in self.seen
            if isinstance(seen.node, cst.Integer | cst.Float) and DECIMAL.fullmatch(seen.node.value)
        )

    def bindings(self) -> tuple[Binding, ...]:
        return tuple(Binding(b.name, b.visible, self._bound_kind(b), b.settable) for b in self.bound)

    def _kind(self, seen: Seen) -> Kind:
        kind, slot = self.evidence.kind(seen.scope, seen.node), seen.slot
        whole = slot.whole or (slot.target != "" and self.evidence.named(seen.scope, slot.target) is Kind.WHOLE)
        if whole and kind is Kind.NUMBER:
            return Kind.WHOLE
        return Kind.TRUTH if slot.test and kind is Kind.OTHER else kind

    def _bound_kind(self, bound: Bound) -> Kind:
        """A parameter of which nothing is known, and that is not used as a container either, is a number."""
        key = bound.scope, bound.name
        idle = bound.parameter and key not in self.evidence.containers
        return self.evidence.known.get(key, Kind.NUMBER if idle else Kind.OTHER)


def _is_term(seen: Seen) -> bool:
    if seen.place.end - seen.place.start > TERM_BYTES_MAX:
        return False
    if isinstance(seen.node, cst.Call):
        return called(seen.node.func) in (Kind.NUMBER, Kind.WHOLE)
    return isinstance(seen.node, cst.Name | cst.Attribute | cst.Subscript)
