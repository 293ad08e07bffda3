"""Words of Python's grammar, as edits see them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import libcst as cst

ARITHMETIC = (cst.Add, cst.Subtract, cst.Multiply, cst.Divide, cst.FloorDivide, cst.Modulo, cst.Power)
BITWISE = (cst.BitAnd, cst.BitOr, cst.BitXor, cst.LeftShift, cst.RightShift)
ORDER = (cst.LessThan, cst.LessThanEqual, cst.GreaterThan, cst.GreaterThanEqual)
TEXTS = (cst.SimpleString, cst.ConcatenatedString, cst.FormattedString)
COMPREHENSIONS = (cst.ListComp, cst.SetComp, cst.DictComp, cst.GeneratorExp)
DISPLAYS = (*TEXTS, *COMPREHENSIONS, cst.List, cst.Tuple, cst.Dict, cst.Set)
FIXED = (cst.Import, cst.ImportFrom, cst.Global, cst.Nonlocal, cst.Pass, cst.FunctionDef, cst.ClassDef)
"""Statements that are not moved, copied or removed."""
LOOSE = (
    cst.BinaryOperation,
    cst.UnaryOperation,
    cst.BooleanOperation,
    cst.Comparison,
    cst.IfExp,
    cst.Lambda,
    cst.Await,
    cst.Yield,
    cst.NamedExpr,
    cst.Tuple,
    cst.GeneratorExp,
)
"""Expressions that need parentheses as an operand."""

_FAMILIES: tuple[tuple[str, ...], ...] = (
    ("+", "-", "*", "/"),
    ("//", "%"),
    ("**", "*"),
    ("<", "<=", ">", ">="),
    ("==", "!="),
    ("is", "is not"),
    ("in", "not in"),
    ("and", "or"),
    ("+=", "-=", "*=", "/="),
    ("//=", "%="),
    ("&", "|", "^"),
    ("<<", ">>"),
)
OPERATORS = {text: family for family in reversed(_FAMILIES) for text in family}
"""What each operator could be."""

DECIMAL = re.compile(r"(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Slot:
    """Where an expression stands."""

    free: bool = False
    """Needs no parentheses there."""
    whole: bool = False
    """A number must be whole there."""
    test: bool = False
    bound: bool = False
    """Says how often a loop goes round."""
    target: str = ""
    """What its value is assigned to."""


OPERAND, FREE = Slot(), Slot(free=True)
INDEX, TEST = Slot(free=True, whole=True), Slot(free=True, test=True)
BOUND = Slot(free=True, whole=True, bound=True)
