"""What an edit needs to know about a source file, whatever its language. Places are offsets in its bytes."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Protocol

READABLE_DEPTH_MAX = 120
"""Levels of a syntax tree beyond which a file is left alone, so that no reader runs out of stack."""


class Kind(StrEnum):
    """What may stand in place of an expression."""

    WHOLE = "whole"
    """A whole number: an index, a count, the bound of a loop."""
    NUMBER = "number"
    TRUTH = "truth"
    OTHER = "other"

    def serves(self, wanted: Kind) -> bool:
        """Whether an expression of this kind may stand where ``wanted`` is."""
        return self is wanted or (self is Kind.WHOLE and wanted is Kind.NUMBER)


@dataclass(frozen=True, slots=True)
class Place:
    """A piece of the file: ``start`` inclusive, ``end`` exclusive."""

    start: int
    end: int

    def holds(self, other: Place) -> bool:
        return self.start <= other.start and other.end <= self.end

    def meets(self, other: Place) -> bool:
        """Whether both have something in common, or are the same place between two characters."""
        if self.start == self.end and other.start == other.end:
            return self.start == other.start
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Expression:
    place: Place
    kind: Kind
    form: str
    """The grammar's name for it: ``Name``, ``binary_expression``, ..."""
    loose: bool = False
    """Needs parentheses as an operand."""
    free: bool = False
    """Stands where anything may without parentheses."""
    term: bool = False
    """A name, attribute, element or cheap call, which may be repeated elsewhere."""
    bound: bool = False
    """Says how often a loop goes round."""
    test: bool = False
    """Decides on a branch."""


@dataclass(frozen=True, slots=True)
class Statement:
    place: Place
    outer: Place
    """What goes when it goes: its line, where it has one of its own."""
    after: int
    """Where the next statement of its block may be put."""
    block: int
    """Statements of one block have one number."""
    indent: str
    form: str
    alone: bool = False
    """The only one of its block."""
    fixed: bool = False
    """Not to be moved, copied or removed: a definition, an import, a declaration."""
    roomy: bool = True
    """Others may be put beside it."""


@dataclass(frozen=True, slots=True)
class Literal:
    place: Place
    whole: bool
    suffix: str = ""
    """What follows the digits: ``f``, ``UL``."""


@dataclass(frozen=True, slots=True)
class Operator:
    place: Place
    choices: tuple[str, ...]
    """All that it could be, itself among them."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A name that means something between two places."""

    name: str
    visible: Place
    kind: Kind
    settable: bool = False
    """A variable that statements may assign to."""


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    place: Place
    head: Place
    """From the start to where the body begins."""
    body: Place
    returns: tuple[Place, ...] = ()
    """The values that it returns."""
    empty_return: bool = False
    """Whether it also returns nothing at all."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A counted loop."""

    place: Place
    head: Place
    """What stands before its body."""
    nested: Place | None = None
    """The head of the loop that is all its body, if it is one."""
    tiled: str = ""
    """The head of two loops that do the same, the outer one in steps of ``{0}``; empty where that is not known."""


class Unreadable(Exception):
    """A file that is not in its language."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Template:
    """A way to write an expression: ``{0}``, ``{1}``, ... stand for operands of these kinds."""

    text: str
    operands: tuple[Kind, ...]
    weight: float = 1.0
    call: bool = False
    """Encloses its operands: neither they nor it need parentheses."""


Grammar = Mapping[Kind, tuple[Template, ...]]
"""The ways to write an expression of a kind; none for `Kind.OTHER`."""


class Language(Protocol):
    """How a language is read and written."""

    @property
    def name(self) -> str: ...

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    def read(self, text: bytes) -> Outline:
        """Raises Unreadable."""
        ...

    def check(self, text: bytes) -> Checked | None:
        """None if ``text`` does not parse, or parses worse than what was read before."""
        ...

    def guarded(self, condition: str, inside: str, indent: str, step: str) -> str:
        """``inside`` under a condition; both stand after ``indent``, which all lines but the first begin with."""
        ...

    def assignment(self, name: str, operator: str, value: str) -> str:
        """``name`` becomes ``value``, or itself, ``operator``, ``value``."""
        ...

    def leaving(self, word: str, value: str = "") -> str:
        """A ``return``, ``break`` or ``continue``."""
        ...

    @property
    def empty(self) -> str:
        """A statement that does nothing."""
        ...

    @property
    def hints(self) -> tuple[str, ...]:
        """Lines before a loop that ask the compiler to treat it in some way."""
        ...


@dataclass(frozen=True, slots=True)
class Checked:
    """A text that parses."""

    size: int
    """Nodes of its syntax tree."""
    tokens: object
    """Equal for texts that differ in layout and comments only."""
    depth: int
    """Levels of its syntax tree."""
    errors: int = 0
    """Places that the grammar does not know, such as macros."""


@dataclass(frozen=True)
class Outline:
    text: bytes
    checked: Checked
    grammar: Grammar
    expressions: tuple[Expression, ...] = ()
    statements: tuple[Statement, ...] = ()
    literals: tuple[Literal, ...] = ()
    operators: tuple[Operator, ...] = ()
    bindings: tuple[Binding, ...] = ()
    functions: tuple[Function, ...] = ()
    loops: tuple[Loop, ...] = ()
    reads: tuple[tuple[int, str], ...] = ()
    """Where a name is read, in order."""
    tests: tuple[str, ...] = ("{0}",)
    """Ways to make one answer of a truth, which may be an array's."""
    step: str = "    "
    """One level of indentation."""
    frozen: tuple[Place, ...] = field(default=())
    """What belongs to others."""

    def at(self, place: Place) -> str:
        return self.text[place.start : place.end].decode()

    @cached_property
    def bound_names(self) -> frozenset[str]:
        return frozenset(binding.name for binding in self.bindings)

    def visible(self, offset: int) -> dict[str, Binding]:
        """What each name means at ``offset``: the innermost binding, then the latest."""
        found: dict[str, Binding] = {}
        for binding in self.bindings:
            if binding.visible.start <= offset < binding.visible.end:
                old = found.get(binding.name)
                if old is None or _inner(binding.visible, old.visible):
                    found[binding.name] = binding
        return found

    def names(self, place: Place) -> Iterator[tuple[int, str]]:
        """Names read inside ``place`` that come from outside of it, with their offsets."""
        first = bisect.bisect_left(self.reads, (place.start, ""))
        for offset, name in self.reads[first : bisect.bisect_left(self.reads, (place.end, ""))]:
            if name in self.bound_names and not self._bound_inside(name, place, offset):
                yield offset, name

    def _bound_inside(self, name: str, place: Place, offset: int) -> bool:
        return any(
            binding.name == name
            and binding.visible.start <= offset < binding.visible.end
            and (place.start < binding.visible.start or place.holds(binding.visible))
            for binding in self.bindings
        )

    def function_at(self, offset: int) -> Function | None:
        """The innermost function around ``offset``."""
        around = [f for f in self.functions if f.place.start <= offset < f.place.end]
        return min(around, key=lambda f: f.place.end - f.place.start, default=None)

    def is_frozen(self, place: Place) -> bool:
        return any(place.meets(other) for other in self.frozen)


def _inner(one: Place, other: Place) -> bool:
    return (one.end - one.start, -one.start) <= (other.end - other.start, -other.start)


def spliced(text: bytes, changes: Sequence[tuple[Place, str]]) -> bytes:
    """``text`` with each place, none of which meets another, replaced."""
    for place, new in sorted(changes, key=lambda change: (change[0].start, change[0].end), reverse=True):
        text = text[: place.start] + new.encode() + text[place.end :]
    return text
