"""New expressions from names in scope, constants and a language's grammar."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mutators.syntax.outline import Grammar, Kind, Template

DEPTH = 2
"""Levels of a new expression, at most."""
CONSTANTS = ("0", "1", "2", "3", "0.5", "0.1", "10", "100")
WHOLE_CONSTANTS = ("0", "1", "2", "3", "4", "8", "16")
CONSTANT_SHARE = 0.35
PART_SHARE = 0.4
LEAF_SHARE = 0.55


@dataclass(frozen=True, slots=True)
class Text:
    """An expression; a loose one needs parentheses as an operand."""

    text: str
    loose: bool = False

    def operand(self) -> str:
        return f"({self.text})" if self.loose else self.text


@dataclass(frozen=True, slots=True)
class Soil:
    """What expressions may be made of at one place: a language's grammar, terms by kind, constants."""

    grammar: Grammar
    terms: Mapping[Kind, Sequence[str]]
    parts: Mapping[Kind, Sequence[Text]]
    """Longer expressions that are there already."""
    constants: Sequence[str] = ()
    whole_constants: Sequence[str] = ()

    def grown(self, kind: Kind, rng: random.Random, depth: int = DEPTH) -> Text | None:
        """An expression of a kind, or None where there is nothing to make it of."""
        if depth == 0 or (kind is not Kind.TRUTH and rng.random() < LEAF_SHARE):
            return self.leaf(kind, rng)
        template = self._template(kind, rng)
        if template is None:
            return self.leaf(kind, rng)
        return self._filled(template, {}, rng, depth)

    def around(self, kind: Kind, inside: Text, inside_kind: Kind, rng: random.Random) -> Text | None:
        """An expression of a kind with ``inside`` in it."""
        fitting = [t for t in self.grammar.get(kind, ()) if any(inside_kind.serves(o) for o in t.operands)]
        if not fitting:
            return None
        template = rng.choices(fitting, [t.weight for t in fitting])[0]
        hole = rng.choice([n for n, operand in enumerate(template.operands) if inside_kind.serves(operand)])
        return self._filled(template, {hole: inside}, rng, DEPTH)

    def leaf(self, kind: Kind, rng: random.Random) -> Text | None:
        terms, parts = self.terms.get(kind, ()), self.parts.get(kind, ())
        if parts and rng.random() < PART_SHARE:
            return rng.choice(parts)
        if kind in (Kind.NUMBER, Kind.WHOLE) and (not terms or rng.random() < CONSTANT_SHARE):
            return constant(kind, self.whole_constants if kind is Kind.WHOLE else self.constants, rng)
        return Text(rng.choice(terms)) if terms else None

    def _template(self, kind: Kind, rng: random.Random) -> Template | None:
        templates = self.grammar.get(kind, ())
        return rng.choices(templates, [t.weight for t in templates])[0] if templates else None

    def _filled(self, template: Template, given: Mapping[int, Text], rng: random.Random, depth: int) -> Text | None:
        operands: list[str] = []
        for number, kind in enumerate(template.operands):
            operand = given.get(number) or self.grown(kind, rng, depth - 1)
            if operand is None:
                return None
            operands.append(operand.text if template.call else operand.operand())
        return Text(template.text.format(*operands), loose=not template.call)


def constant(kind: Kind, seen: Sequence[str], rng: random.Random) -> Text:
    """A number that the file has or one near it, a usual one, or one of any magnitude from a tenth to a hundred."""
    whole = kind is Kind.WHOLE
    draw = rng.random()
    if seen and draw < 0.3:
        text = rng.choice(seen)
        text = perturbed(text, rng, whole=whole) if rng.random() < 0.5 else text
    elif draw < 0.65:
        text = rng.choice(WHOLE_CONSTANTS if whole else CONSTANTS)
    else:
        value = 10.0 ** rng.uniform(0.0 if whole else -1.0, 2.0)
        text = str(round(value)) if whole or value > 3 else f"{value:.2g}"
    return Text(text, loose=text.startswith("-"))


def perturbed(text: str, rng: random.Random, *, whole: bool) -> str:
    """Another number: near it, half or twice as much, its opposite, or a usual one."""
    value = float(text.replace("_", ""))
    integral = text.replace("_", "").isdigit()
    for _ in range(20):
        match rng.choices(("near", "scale", "usual", "sign"), (5, 2, 1, 0 if whole else 0.5))[0]:
            case "near" if integral and (whole or rng.random() < 0.7):
                new: float = int(value) + rng.choice((-2, -1, -1, 1, 1, 2))
            case "near":
                new = value * math.exp(rng.gauss(0.0, 0.3)) if value else rng.gauss(0.0, 1.0)
            case "scale":
                new = value * rng.choice((0.5, 2.0, 10.0, 0.1) if not whole else (0.5, 2.0))
            case "usual":
                new = float(rng.choice(WHOLE_CONSTANTS if whole else CONSTANTS))
            case _:
                new = -value
        shown = written(new, whole=whole or (integral and float(new).is_integer()))
        if shown != text and not (whole and shown.startswith("-")):
            return shown
    return "1" if text != "1" else "2"


def written(value: float, *, whole: bool) -> str:
    """With four significant digits at most, and no exponent where that is short."""
    if whole and abs(value) < 1e15:
        return str(int(value))
    if not math.isfinite(value):
        return "1.0"
    text = f"{value:.4g}"
    return text if any(mark in text for mark in ".e") else f"{text}.0"
