"""Python, read by LibCST, so that every byte outside of an edit stays as it is."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping

import libcst as cst

from mutators.syntax.outline import READABLE_DEPTH_MAX, Checked, Grammar, Kind, Outline, Template, Unreadable
from mutators.syntax.python_statements import walked


class Python:
    name = "Python"
    suffixes: tuple[str, ...] = (".py",)
    empty = "pass"
    hints: tuple[str, ...] = ()

    def read(self, text: bytes) -> Outline:
        """Raises Unreadable."""
        checked = self._checked(text)
        try:
            module = cst.parse_module(text)
        except cst.ParserSyntaxError as error:
            raise Unreadable(error.raw_line, error.message) from None
        except RecursionError:
            raise Unreadable(1, "it is nested too deeply") from None
        if module.bytes != text or module.encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
            raise Unreadable(1, "it is not plain UTF-8")
        notes = walked(module)
        return Outline(
            text,
            checked,
            grammar(notes.imports),
            notes.expressions(),
            tuple(notes.statements),
            notes.literals(),
            tuple(notes.operators),
            notes.bindings(),
            tuple(notes.functions),
            tuple(notes.loops),
            tuple(notes.reads),
            tests=_tests(notes.imports.get("numpy")),
            step=module.default_indent,
        )

    def check(self, text: bytes) -> Checked | None:
        try:
            return self._checked(text)
        except Unreadable:
            return None

    def _checked(self, text: bytes) -> Checked:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # code that is only odd
                tree = ast.parse(text)
                size, depth = _measured(tree)
                if depth > READABLE_DEPTH_MAX:
                    raise Unreadable(1, "it is nested too deeply")
                compile(tree, "program.py", "exec", dont_inherit=True)
        except SyntaxError as error:
            raise Unreadable(error.lineno or 1, error.msg) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise Unreadable(1, str(error) or "it is nested too deeply") from None
        return Checked(size, ast.dump(tree), depth)

    def guarded(self, condition: str, inside: str, indent: str, step: str) -> str:
        lines = inside.split("\n")
        return "\n".join(
            [f"if {condition}:", f"{indent}{step}{lines[0]}", *(step + line if line else "" for line in lines[1:])]
        )

    def assignment(self, name: str, operator: str, value: str) -> str:
        if not operator:
            return f"{name} = {value}"
        operand = value if value.replace(".", "").isalnum() else f"({value})"
        return f"{name} = {name} {operator} {operand}"  # where a name stands for an array, another is made

    def leaving(self, word: str, value: str = "") -> str:
        return f"{word} {value}".rstrip()


def _measured(tree: ast.AST) -> tuple[int, int]:
    """Nodes and levels."""
    size = depth = 0
    level = [tree]
    while level:
        size, depth = size + len(level), depth + 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return size, depth


def grammar(imports: Mapping[str, str]) -> Grammar:
    """Numpy's functions where it is imported, which take numbers as well as arrays; else those of Python.

    ``imports`` are modules and the names that they have in the file.
    """
    numpy, math = imports.get("numpy"), imports.get("math")
    numbers = [*_ARITHMETIC]
    if numpy:
        numbers += [Template(f"{numpy}.{name}({{0}})", (N,), weight, call=True) for name, weight in _ARRAY_UNARY]
        numbers += [
            Template(f"{numpy}.{name}({{0}}, {{1}})", (N, N), 0.5, call=True) for name in ("minimum", "maximum")
        ]
        numbers.append(Template(f"{numpy}.where({{0}}, {{1}}, {{2}})", (T, N, N), 3.0, call=True))
    else:
        numbers += [Template("abs({0})", (N,), 0.5, call=True), Template("{1} if {0} else {2}", (T, N, N), 3.0)]
        numbers += [Template(f"{name}({{0}}, {{1}})", (N, N), 0.5, call=True) for name in ("min", "max")]
        if math:
            numbers += [Template(text.replace("math", math, 1), (N,), 0.3, call=True) for text in _MATH_UNARY]
    both = _ELEMENTWISE if numpy else _SEQUENTIAL
    return {Kind.NUMBER: tuple(numbers), Kind.WHOLE: _WHOLE, Kind.TRUTH: (*_COMPARE, *both)}


def _tests(numpy: str | None) -> tuple[str, ...]:
    return (f"{numpy}.any({{0}})", f"{numpy}.all({{0}})") if numpy else ("{0}",)


N, W, T = Kind.NUMBER, Kind.WHOLE, Kind.TRUTH
_ARITHMETIC = (
    Template("{0} + {1}", (N, N), 3.0),
    Template("{0} - {1}", (N, N), 3.0),
    Template("{0} * {1}", (N, N), 3.0),
    Template("{0} / {1}", (N, N), 2.0),
    Template("{0} ** 2", (N,), 0.6),
    Template("{0} ** 3", (N,), 0.3),
    Template("{0} ** 0.5", (N,), 0.3),
    Template("{0} ** {1}", (N, N), 0.3),
    Template("{0} * {1}", (N, T), 3.0),
    Template("-{0}", (N,), 0.4),
)
_ARRAY_UNARY = (
    ("abs", 0.4),
    ("sqrt", 0.3),
    ("exp", 0.3),
    ("log1p", 0.2),
    ("max", 0.2),
    ("min", 0.2),
    ("mean", 0.1),
)
_MATH_UNARY = ("math.sqrt(abs({0}))", "math.exp({0})", "math.log1p(abs({0}))")
_WHOLE = (
    Template("{0} + {1}", (W, W), 2.0),
    Template("{0} - {1}", (W, W), 2.0),
    Template("{0} * {1}", (W, W)),
    Template("{0} // {1}", (W, W)),
    Template("{0} % {1}", (W, W), 0.5),
    Template("min({0}, {1})", (W, W), 0.5, call=True),
    Template("max({0}, {1})", (W, W), 0.5, call=True),
)
_COMPARE = tuple(Template(f"{{0}} {sign} {{1}}", (N, N)) for sign in ("<", "<=", ">", ">="))
_SEQUENTIAL = (
    Template("{0} == {1}", (N, N), 0.3),
    Template("not {0}", (T,), 0.4),
    Template("{0} and {1}", (T, T), 0.4),
    Template("{0} or {1}", (T, T), 0.4),
)
_ELEMENTWISE = (Template("{0} & {1}", (T, T), 0.3), Template("{0} | {1}", (T, T), 0.3))
"""Truths of arrays too."""
