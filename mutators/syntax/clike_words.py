"""Words of the grammars of C and C++, as edits see them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mutators.syntax.outline import Grammar, Kind, Template

WHOLE_TYPES = re.compile(
    r"(?:unsigned|signed|short|long|int|char|size_t|ssize_t|ptrdiff_t|u?int(?:_fast|_least)?\d+_t|u?intptr_t|\s)+"
)
NUMBER_TYPES = re.compile(r"(?:float|double|long double|_Float16|__fp16|_Complex|\s)+")
TRUTH_TYPES = frozenset({"bool", "_Bool"})

STATEMENTS = frozenset(
    {
        "expression_statement",
        "if_statement",
        "for_statement",
        "for_range_loop",
        "while_statement",
        "do_statement",
        "switch_statement",
        "return_statement",
        "break_statement",
        "continue_statement",
        "compound_statement",
    }
)
"""Statements that may be moved, copied and removed."""
LOOPS = frozenset({"for_statement", "for_range_loop", "while_statement", "do_statement"})
LOOSE = frozenset(
    {
        "binary_expression",
        "unary_expression",
        "pointer_expression",
        "conditional_expression",
        "cast_expression",
        "assignment_expression",
        "comma_expression",
        "lambda_expression",
    }
)
"""Expressions that need parentheses as an operand."""
TERMS = frozenset({"identifier", "subscript_expression", "field_expression"})

_FAMILIES: tuple[tuple[str, ...], ...] = (
    ("+", "-", "*", "/"),
    ("%", "/"),
    ("<", "<=", ">", ">="),
    ("==", "!="),
    ("&&", "||"),
    ("+=", "-=", "*="),
    ("/=", "*="),
    ("&", "|", "^"),
    ("<<", ">>"),
)
OPERATORS = {text: family for family in reversed(_FAMILIES) for text in family}
"""What each operator could be."""
COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!=", "&&", "||"})

DECIMAL = re.compile(r"(?P<digits>(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?P<suffix>[fFlLuU]*)")
NUMBER_CALLS = frozenset(
    f"{name}{suffix}"
    for name in ("fabs", "sqrt", "exp", "log", "sin", "cos", "pow", "fmin", "fmax", "floor", "ceil", "fma", "hypot")
    for suffix in ("", "f")
)
WHOLE_CALLS = frozenset({"abs", "strlen"})


@dataclass(frozen=True, slots=True)
class Slot:
    """Where an expression stands."""

    free: bool = False
    """Needs no parentheses there."""
    whole: bool = False
    test: bool = False
    bound: bool = False
    """Says how often a loop goes round."""


OPERAND, FREE = Slot(), Slot(free=True)
INDEX, TEST = Slot(free=True, whole=True), Slot(free=True, test=True)
BOUND = Slot(whole=True, bound=True)

N, W, T = Kind.NUMBER, Kind.WHOLE, Kind.TRUTH
_NUMBERS = (
    Template("{0} + {1}", (N, N), 3.0),
    Template("{0} - {1}", (N, N), 3.0),
    Template("{0} * {1}", (N, N), 3.0),
    Template("{0} / {1}", (N, N), 1.0),
    Template("{0} ? {1} : {2}", (T, N, N), 2.0),
    Template("{0} * {1}", (N, T)),
    Template("-{0}", (N,), 0.4),
)
_MATHEMATICS = (
    Template("fabs({0})", (N,), 0.5, call=True),
    Template("sqrt(fabs({0}))", (N,), 0.3, call=True),
    Template("fmin({0}, {1})", (N, N), 0.5, call=True),
    Template("fmax({0}, {1})", (N, N), 0.5, call=True),
)
_WHOLES = (
    Template("{0} + {1}", (W, W), 2.0),
    Template("{0} - {1}", (W, W), 2.0),
    Template("{0} * {1}", (W, W)),
    Template("{0} / {1}", (W, W)),
    Template("{0} % {1}", (W, W), 0.3),
    Template("{0} ? {1} : {2}", (T, W, W), 0.5),
)
_TRUTHS = (
    *(Template(f"{{0}} {sign} {{1}}", (N, N)) for sign in ("<", "<=", ">", ">=")),
    Template("{0} == {1}", (N, N), 0.3),
    Template("!{0}", (T,), 0.4),
    Template("{0} && {1}", (T, T), 0.4),
    Template("{0} || {1}", (T, T), 0.4),
)


def grammar(text: bytes) -> Grammar:
    """With the functions of the mathematical library where its header is included."""
    mathematics = _MATHEMATICS if b"<math.h>" in text or b"<cmath>" in text else ()
    return {N: (*_NUMBERS, *mathematics), W: _WHOLES, T: _TRUTHS}


def kind_of_type(words: str) -> Kind:
    if words in TRUTH_TYPES:
        return Kind.TRUTH
    if NUMBER_TYPES.fullmatch(words):
        return Kind.NUMBER
    return Kind.WHOLE if WHOLE_TYPES.fullmatch(words) else Kind.OTHER
