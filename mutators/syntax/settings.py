"""Edits of the constants that a program offers to be varied, within their bounds."""

from __future__ import annotations

import math
import random

from mutators.literals import Value
from mutators.syntax.ground import Edit, Ground, one_of
from mutators.syntax.outline import Place
from mutators.tunables import Setting, same
from raysearch.target import Tunable

FAR_SHARE = 0.2
"""Share of numbers that are drawn from the whole range, not near the present one."""


def setting(ground: Ground, rng: random.Random) -> Edit | None:
    """Another value for a tunable."""
    chosen = one_of(ground.settings, rng)
    if chosen is None:
        return None
    new = another(chosen.tunable, chosen.value, rng)
    if same(new, chosen.value):
        return None
    text = ground.outline.text.decode()
    changes = tuple((_place(text, start, end), written) for start, end, written in chosen.edits(new))
    return Edit(changes, f"{chosen.tunable.name} {chosen.value!r} -> {new!r}")


def frozen(text: str, settings: tuple[Setting, ...]) -> tuple[Place, ...]:
    """The lines that the settings are on."""
    found = []
    for one in settings:
        end = text.find("\n", one.constant.end)
        found.append(_place(text, text.rfind("\n", 0, one.constant.start) + 1, len(text) if end < 0 else end))
    return tuple(found)


def another(tunable: Tunable, value: Value, rng: random.Random) -> Value:
    """A value near the present one, or any other; sometimes the same."""
    if isinstance(value, tuple):
        one, other = rng.randrange(len(value)), rng.randrange(len(value))
        order = list(value)
        order[one], order[other] = order[other], order[one]
        return tuple(order)
    if tunable.kind == "categorical" or isinstance(value, str):
        return rng.choice(tunable.choices)
    far, low, high = rng.random() < FAR_SHARE, tunable.low, tunable.high
    if tunable.kind == "int":
        step = max(1, round(abs(rng.gauss(0.0, (high - low) / 10)))) * rng.choice((-1, 1))
        return min(max(rng.randint(int(low), int(high)) if far else int(value) + step, int(low)), int(high))
    if tunable.kind == "log":
        spread = math.log(high / low)
        new = (
            math.exp(rng.uniform(math.log(low), math.log(high))) if far else value * math.exp(rng.gauss(0, spread / 10))
        )
    else:
        new = rng.uniform(low, high) if far else value + rng.gauss(0.0, (high - low) / 10)
    return min(max(float(f"{new:.4g}"), low), high)


def _place(text: str, start: int, end: int) -> Place:
    """In bytes."""
    before = len(text[:start].encode())
    return Place(before, before + len(text[start:end].encode()))
