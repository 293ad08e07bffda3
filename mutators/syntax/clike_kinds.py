"""Which expressions of a C or C++ file are whole numbers, numbers, truths or none of them, by its declarations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tree_sitter import Node

from mutators.syntax.clike_words import COMPARISONS, DECIMAL, NUMBER_CALLS, WHOLE_CALLS, kind_of_type
from mutators.syntax.outline import Binding, Kind, Place


def text_of(node: Node) -> str:
    return (node.text or b"").decode()


def place_of(node: Node) -> Place:
    return Place(node.start_byte, node.end_byte)


def below(node: Node, kind: str) -> Iterator[Node]:
    """All nodes of one type at or below ``node``."""
    if node.type == kind:
        yield node
    for child in node.named_children:
        yield from below(child, kind)


def inside(declarator: Node) -> Iterator[Node]:
    """A declarator and those that it is made of: of ``*name[3]``, the pointer, the array and the name."""
    node: Node | None = declarator
    while node is not None:
        yield node
        inner = node.child_by_field_name("declarator")
        node = inner or (node.named_children[-1] if node.type == "reference_declarator" else None)


def declared(declarator: Node) -> Node | None:
    """The name that a declarator declares."""
    last = list(inside(declarator))[-1]
    return last if last.type in ("identifier", "field_identifier") else None


@dataclass(frozen=True, slots=True)
class Name:
    """A declared name: its own kind, and that of its elements where it is an array or a pointer."""

    binding: Binding
    element: Kind = Kind.OTHER


@dataclass
class Kinds:
    names: list[Name] = field(default_factory=list)

    def meaning(self, name: str, offset: int) -> Name | None:
        """The latest declaration that is in force."""
        known = [n for n in self.names if n.binding.name == name and n.binding.visible.start <= offset]
        return next((n for n in reversed(known) if offset < n.binding.visible.end), None)

    def kind(self, node: Node) -> Kind:  # noqa: PLR0912 - a table of cases
        match node.type:
            case "number_literal":
                number = DECIMAL.fullmatch(text_of(node))
                return Kind.NUMBER if number is not None and not number["digits"].isdigit() else Kind.WHOLE
            case "true" | "false":
                return Kind.TRUTH
            case "identifier":
                name = self.meaning(text_of(node), node.start_byte)
                return Kind.OTHER if name is None else name.binding.kind
            case "subscript_expression" | "pointer_expression":
                return self._element(node)
            case "parenthesized_expression":
                return self.kind(node.named_children[0]) if node.named_children else Kind.OTHER
            case "unary_expression":
                inner = node.child_by_field_name("argument")
                negated = text_of(node).startswith("!")
                return Kind.TRUTH if negated else self.kind(inner) if inner is not None else Kind.OTHER
            case "binary_expression":
                sign = node.child_by_field_name("operator")
                if sign is not None and text_of(sign) in COMPARISONS:
                    return Kind.TRUTH
                found = self._common(node.child_by_field_name("left"), node.child_by_field_name("right"))
                product = sign is not None and text_of(sign) in ("*", "/")
                return Kind.NUMBER if product and found is Kind.OTHER else found
            case "conditional_expression":
                return self._common(node.child_by_field_name("consequence"), node.child_by_field_name("alternative"))
            case "cast_expression":
                words = node.child_by_field_name("type")
                return kind_of_type(text_of(words)) if words is not None else Kind.OTHER
            case "sizeof_expression":
                return Kind.WHOLE
            case "call_expression":
                function = node.child_by_field_name("function")
                name_of = text_of(function).removeprefix("std::") if function is not None else ""
                whole = name_of in WHOLE_CALLS or name_of.endswith(".size")
                return Kind.NUMBER if name_of in NUMBER_CALLS else Kind.WHOLE if whole else Kind.OTHER
            case _:
                return Kind.OTHER

    def _element(self, node: Node) -> Kind:
        """The kind of what an index or a star takes from an array or a pointer."""
        base: Node | None = node
        while base is not None and base.type in (
            "subscript_expression",
            "pointer_expression",
            "parenthesized_expression",
            "binary_expression",
        ):
            if base.type == "pointer_expression" and text_of(base).startswith("&"):
                return Kind.OTHER
            base = base.child_by_field_name("argument") or base.child_by_field_name("left") or base.named_child(0)
        if base is None or base.type != "identifier":
            return Kind.OTHER
        name = self.meaning(text_of(base), base.start_byte)
        return Kind.OTHER if name is None else name.element

    def _common(self, one: Node | None, other: Node | None) -> Kind:
        kinds = {self.kind(node) for node in (one, other) if node is not None}
        if kinds <= {Kind.WHOLE, Kind.TRUTH}:
            return Kind.TRUTH if kinds == {Kind.TRUTH} else Kind.WHOLE
        return Kind.NUMBER if Kind.NUMBER in kinds and kinds <= {Kind.NUMBER, Kind.WHOLE, Kind.TRUTH} else Kind.OTHER
