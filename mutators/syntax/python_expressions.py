"""Walks the expressions of a Python module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import libcst as cst
from libcst import helpers

from mutators.syntax.outline import Kind, Place
from mutators.syntax.python_kinds import Scope, called
from mutators.syntax.python_notes import Notes, Seen
from mutators.syntax.python_words import (
    ARITHMETIC,
    BITWISE,
    BOUND,
    DISPLAYS,
    FREE,
    INDEX,
    OPERAND,
    ORDER,
    TEST,
    TEXTS,
    Slot,
)

_NAMES = frozenset({"axis", "dtype", "keepdims", "out", "key", "order", "indexing"})
"""Arguments that say how a thing is done: their values are names, even where they are numbers."""

Comprehension = cst.ListComp | cst.SetComp | cst.DictComp | cst.GeneratorExp


class Expressions:
    """Notes what it sees; ``scope`` is the function that it is in."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.scope: Scope = -1
        self.region = Place(0, 0)
        """Where a name bound by an assignment expression can be seen."""

    def see(self, node: cst.BaseExpression, slot: Slot = OPERAND) -> None:
        """An expression that may be replaced, and what is in it."""
        self.notes.seen.append(Seen(node, self.notes.place(node), self.scope, slot))
        self.enter(node, slot)

    def enter(self, node: cst.BaseExpression, slot: Slot = OPERAND) -> None:
        """What is in an expression that must itself stay."""
        match node:
            case cst.Name():
                self.notes.read(node)
            case cst.BinaryOperation():
                self._binary(node, slot)
            case cst.UnaryOperation():
                self._unary(node, slot)
            case cst.BooleanOperation(left=left, operator=operator, right=right):
                self.notes.operator(operator, "and" if isinstance(operator, cst.And) else "or")
                self.see(left, replace(OPERAND, test=slot.test))
                self.see(right, replace(OPERAND, test=slot.test))
            case cst.Comparison():
                self._comparison(node)
            case cst.IfExp(test=test, body=body, orelse=orelse):
                self.see(body, replace(OPERAND, whole=slot.whole, target=slot.target))
                self.see(test, replace(TEST, free=False))
                self.see(orelse, replace(OPERAND, whole=slot.whole, target=slot.target))
            case cst.Call():
                self._call(node)
            case cst.Attribute(value=value) | cst.Subscript(value=value):
                self.contain(value)
                self.enter(value)
                if isinstance(node, cst.Subscript):
                    self._slices(node.slice)
            case cst.Lambda():
                self._lambda(node)
            case cst.ListComp() | cst.SetComp() | cst.DictComp() | cst.GeneratorExp():
                self._comprehension(node)
            case _:
                self._other(node)

    def number(self, node: cst.BaseExpression) -> None:
        """``node`` is used as a number."""
        self.notes.evidence.learn(self.scope, node, Kind.NUMBER)

    def contain(self, node: cst.BaseExpression) -> None:
        """``node`` is used as something with parts."""
        if isinstance(node, cst.Name):
            self.notes.evidence.containers.add((self.scope, node.value))

    def bind(self, target: cst.BaseExpression, visible: Place, *, settable: bool = True) -> None:
        """The names in ``target`` are bound; what else is in it is read."""
        match target:
            case cst.Name(value=name):
                self.notes.bind(self.scope, name, visible, settable=settable)
            case cst.Tuple(elements=elements) | cst.List(elements=elements):
                for element in elements:
                    self.bind(element.value, visible, settable=settable)
            case _:
                self.enter(target)

    # -- one kind of expression each ----------------------------------------------------------------------

    def _unary(self, node: cst.UnaryOperation, slot: Slot) -> None:
        if isinstance(node.operator, cst.Not):
            self.see(node.expression, replace(TEST, free=False))
        else:
            self.number(node.expression)
            self.see(node.expression, replace(OPERAND, whole=slot.whole))

    def _binary(self, node: cst.BinaryOperation, slot: Slot) -> None:
        operator, sides = node.operator, (node.left, node.right)
        self.notes.operator(operator, _text(operator))
        if isinstance(operator, ARITHMETIC + BITWISE) and not any(isinstance(side, DISPLAYS) for side in sides):
            for side in sides:
                self.number(side)
        for side in sides:
            self.see(side, replace(OPERAND, whole=slot.whole))

    def _comparison(self, node: cst.Comparison) -> None:
        sides = [node.left, *(target.comparator for target in node.comparisons)]
        numbers = any(isinstance(side, cst.Integer | cst.Float) for side in sides)
        ordered = any(isinstance(target.operator, ORDER) for target in node.comparisons)
        equal = all(isinstance(t.operator, (*ORDER, cst.Equal, cst.NotEqual)) for t in node.comparisons)
        if (numbers or ordered) and equal and not any(isinstance(side, DISPLAYS) for side in sides):
            for side in sides:
                self.number(side)
        for target in node.comparisons:
            self.notes.operator(target.operator, _text(target.operator))
            if isinstance(target.operator, cst.In | cst.NotIn):
                self.contain(target.comparator)
        for side in sides:
            self.see(side)

    def _call(self, node: cst.Call) -> None:
        name = helpers.get_full_name_for_node(node.func) or ""
        if isinstance(node.func, cst.Name):
            self.contain(node.func)
        self.enter(node.func)
        counted = name == "range"
        numeric = called(node.func) is Kind.NUMBER and name not in ("sum", "min", "max")
        for argument in node.args:
            if argument.keyword is not None and argument.keyword.value in _NAMES:
                self.enter(argument.value)
                continue
            if counted:
                self.notes.evidence.learn(self.scope, argument.value, Kind.WHOLE)
            elif numeric and not argument.star and not isinstance(argument.value, DISPLAYS):
                self.number(argument.value)
            self.see(argument.value, BOUND if counted else FREE)

    def _slices(self, elements: Sequence[cst.SubscriptElement]) -> None:
        for element in elements:
            if isinstance(element.slice, cst.Index):
                self.see(element.slice.value, INDEX)
            elif isinstance(element.slice, cst.Slice):
                for part in (element.slice.lower, element.slice.upper, element.slice.step):
                    if part is not None:
                        self.see(part, INDEX)

    def _lambda(self, node: cst.Lambda) -> None:
        place, parameters = self.notes.place(node), node.params
        for parameter in (*parameters.posonly_params, *parameters.params, *parameters.kwonly_params):
            self.notes.bind(self.scope, parameter.name.value, place)
            if parameter.default is not None:
                self.see(parameter.default, FREE)
        self.see(node.body, FREE)

    def _comprehension(self, node: Comprehension) -> None:
        loop: cst.CompFor | None = node.for_in
        place = self.notes.place(node)
        while loop is not None:
            self.contain(loop.iter)
            self.see(loop.iter, OPERAND)
            self.loop_variable(loop.target, loop.iter, place)
            for condition in loop.ifs:
                self.see(condition.test, replace(TEST, free=False))
            loop = loop.inner_for_in
        if isinstance(node, cst.DictComp):
            self.see(node.key, OPERAND)
            self.see(node.value, OPERAND)
        else:
            self.see(node.elt, OPERAND)

    def loop_variable(self, target: cst.BaseExpression, through: cst.BaseExpression, visible: Place) -> None:
        """``for target in through``: counters are whole numbers."""
        name = helpers.get_full_name_for_node(through.func) if isinstance(through, cst.Call) else ""
        counter: cst.BaseExpression | None = target if name == "range" else None
        if name == "enumerate" and isinstance(target, cst.Tuple):
            counter = target.elements[0].value
        if counter is not None:
            self.notes.evidence.learn(self.scope, counter, Kind.WHOLE)
        self.bind(target, visible, settable=False)

    def _other(self, node: cst.BaseExpression) -> None:
        if isinstance(node, cst.NamedExpr):
            self.see(node.value, FREE)
            self.bind(node.target, Place(self.notes.place(node).end, self.region.end))
            return
        if isinstance(node, TEXTS):
            for name in _names_in(node):
                self.notes.read(name)
            return
        for child in node.children:
            match child:
                case cst.Element(value=value) | cst.StarredElement(value=value):
                    self.see(value, FREE)
                case cst.DictElement(key=key, value=value):
                    self.see(key, FREE)
                    self.see(value, FREE)
                case cst.StarredDictElement(value=value) | cst.From(item=value):
                    self.enter(value)
                case cst.BaseExpression():
                    self.enter(child)
                case _:
                    pass


def _text(operator: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(operator).strip()


def _names_in(node: cst.CSTNode) -> list[cst.Name]:
    """All names in an expression of a formatted string; those of attributes and keywords do no harm."""
    found = [node] if isinstance(node, cst.Name) else []
    for child in node.children:
        found += _names_in(child)
    return found
