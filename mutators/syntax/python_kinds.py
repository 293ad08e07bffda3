"""Which expressions of a Python file are numbers, truths or neither, as far as its own text tells.

Names have no declared types; what is added, compared or passed to ``abs`` is taken for a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import libcst as cst
from libcst import helpers

from mutators.syntax.outline import Kind
from mutators.syntax.python_words import BITWISE, DISPLAYS

WHOLE_CALLS = frozenset({"len", "int", "ord", "hash"})
NUMBER_CALLS = frozenset({"abs", "min", "max", "sum", "float", "pow", "round", "divmod"})
TRUTH_CALLS = frozenset({"bool", "isinstance", "callable", "all", "any", "hasattr"})
_ARRAY_TRUTHS = frozenset({"logical_and", "logical_or", "logical_not", "logical_xor", "isfinite", "isnan", "isclose"})
_ARRAY_NAMES = (
    "abs absolute sqrt cbrt exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan arctan2 sinh cosh "
    "tanh norm square reciprocal sign floor ceil rint trunc minimum maximum fmin fmax hypot power mod where clip sum "
    "add subtract multiply divide negative prod mean median std var min max amin amax cumsum cumprod diff dot "
    "outer argmin argmax ptp percentile quantile"
)
ARRAY_NUMBERS = frozenset(_ARRAY_NAMES.split())
"""Functions of numpy and math whose arguments and results are numbers or arrays of them."""
_METHODS = frozenset({"min", "max", "sum", "mean", "std", "var", "prod", "cumsum", "cumprod", "dot", "clip", "item"})
"""Methods that give numbers, or arrays of them, whatever has them."""
_ANNOTATED = {"int": Kind.WHOLE, "float": Kind.NUMBER, "complex": Kind.NUMBER, "bool": Kind.TRUTH}
_ROUNDS_MAX = 4

Scope = int
"""A function's number; -1 is the module."""
MODULE: Scope = -1


@dataclass
class Evidence:
    """What is known of the names, attributes and elements of one file, by scope and text."""

    module: cst.Module
    parents: dict[Scope, Scope] = field(default_factory=dict)
    known: dict[tuple[Scope, str], Kind] = field(default_factory=dict)
    bound: set[tuple[Scope, str]] = field(default_factory=set)
    assigned: list[tuple[Scope, str, cst.BaseExpression]] = field(default_factory=list)
    containers: set[tuple[Scope, str]] = field(default_factory=set)
    """What is called, indexed or gone through."""
    texts: dict[cst.CSTNode, str] = field(default_factory=dict)

    def text(self, node: cst.CSTNode) -> str:
        """Source of ``node`` without parentheses around it."""
        if isinstance(node, cst.Name):
            return node.value
        if node not in self.texts:
            bare = node.with_changes(lpar=(), rpar=()) if getattr(node, "lpar", None) else node
            self.texts[node] = self.module.code_for_node(bare)
        return self.texts[node]

    def learn(self, scope: Scope, node: cst.BaseExpression, kind: Kind) -> None:
        """``node`` is used as a ``kind``; that it must be whole counts more than that it is a number."""
        if isinstance(node, cst.Name | cst.Attribute | cst.Subscript | cst.Call):
            keys = [(scope, self.text(node))]
            if isinstance(node, cst.Attribute):
                keys.append((MODULE, self.text(node)))
            for key in keys:
                if key not in self.known or (kind is Kind.WHOLE and self.known[key] is Kind.NUMBER):
                    self.known[key] = kind

    def annotate(self, scope: Scope, name: str, annotation: cst.BaseExpression) -> None:
        said = self.text(annotation).strip("\"'")
        kind = _ANNOTATED.get(said, Kind.NUMBER if said.split("[")[0].endswith(("ndarray", "NDArray")) else Kind.OTHER)
        self.known[scope, name] = kind

    def settle(self) -> None:
        """Carry what is known of names to where they are bound, of values to what they are assigned to, and on."""
        for (scope, text), kind in list(self.known.items()):
            if text.isidentifier():
                home = self._home(scope, text)
                if home != scope and (kind is Kind.WHOLE or (home, text) not in self.known):
                    self.known[home, text] = kind
        for _ in range(_ROUNDS_MAX):
            before = len(self.known)
            for scope, target, value in self.assigned:
                kind = self.kind(scope, value)
                if kind is not Kind.OTHER and (scope, target) not in self.known:
                    self.known[scope, target] = kind
            if len(self.known) == before:
                return

    def _home(self, scope: Scope, name: str) -> Scope:
        """The scope that binds ``name`` as ``scope`` sees it."""
        while (scope, name) not in self.bound and scope != MODULE:
            scope = self.parents[scope]
        return scope

    def named(self, scope: Scope, text: str) -> Kind:
        """The kind of a name, attribute, element or call."""
        while (scope, text) not in self.known and scope != MODULE:
            scope = self.parents[scope]
        return self.known.get((scope, text), Kind.OTHER)

    def kind(self, scope: Scope, node: cst.BaseExpression) -> Kind:
        match node:
            case cst.Integer() | cst.Float() | cst.Imaginary():
                return Kind.NUMBER
            case cst.Name(value="True" | "False"):
                return Kind.TRUTH
            case cst.UnaryOperation(operator=operator, expression=inner):
                return Kind.TRUTH if isinstance(operator, cst.Not) else _number(self.kind(scope, inner))
            case cst.BinaryOperation(left=left, operator=operator, right=right):
                return self._binary(scope, left, operator, right)
            case cst.Comparison():
                return Kind.TRUTH
            case cst.BooleanOperation(left=left, right=right):
                sides = {self.kind(scope, left), self.kind(scope, right)}
                return Kind.TRUTH if sides == {Kind.TRUTH} else Kind.OTHER
            case cst.IfExp(body=body, orelse=orelse):
                return _common([self.kind(scope, body), self.kind(scope, orelse)])
            case cst.Call(func=callee):
                known = called(callee)
                return known if known is not Kind.OTHER else self.named(scope, self.text(node))
            case cst.Name() | cst.Attribute() | cst.Subscript():
                return self.named(scope, self.text(node))
            case _:
                return Kind.OTHER

    def _binary(
        self, scope: Scope, left: cst.BaseExpression, operator: cst.BaseBinaryOp, right: cst.BaseExpression
    ) -> Kind:
        if isinstance(left, DISPLAYS) or isinstance(right, DISPLAYS):
            return Kind.OTHER
        kinds = [self.kind(scope, left), self.kind(scope, right)]
        if isinstance(operator, BITWISE):
            return Kind.TRUTH if kinds == [Kind.TRUTH] * 2 else _number(_common(kinds))
        if isinstance(operator, cst.Divide | cst.MatrixMultiply):
            return Kind.NUMBER
        return Kind.WHOLE if kinds == [Kind.WHOLE] * 2 else Kind.NUMBER


def called(callee: cst.BaseExpression) -> Kind:
    """What a call of a well-known function gives."""
    name = helpers.get_full_name_for_node(callee) or ""
    if name in WHOLE_CALLS:
        return Kind.WHOLE
    if name in TRUTH_CALLS:
        return Kind.TRUTH
    module, function = name.split(".")[0], name.split(".")[-1]
    if module in ("np", "numpy", "math") and function in _ARRAY_TRUTHS:
        return Kind.TRUTH
    numeric = name in NUMBER_CALLS or (module in ("np", "numpy", "math") and function in ARRAY_NUMBERS)
    method = isinstance(callee, cst.Attribute) and callee.attr.value in _METHODS
    return Kind.NUMBER if numeric or method else Kind.OTHER


def _common(kinds: Sequence[Kind]) -> Kind:
    if len(set(kinds)) == 1:
        return kinds[0]
    return Kind.NUMBER if set(kinds) == {Kind.NUMBER, Kind.WHOLE} else Kind.OTHER


def _number(kind: Kind) -> Kind:
    return Kind.NUMBER if kind is Kind.TRUTH else kind
