"""New settings from old ones, by pymoo's variation operators on variables of mixed kinds.

Numbers: simulated binary crossover and polynomial mutation, on a logarithmic scale where the tunable says so,
rounded for whole numbers. Categories: uniform crossover and a fresh choice. Permutations: order crossover and
inversion. Each operator draws from the generator that it is given and from nothing else.

Sources: K. Deb, R. B. Agrawal, "Simulated binary crossover for continuous search space", Complex Systems 9
(1995); J. Blank, K. Deb, "pymoo: multi-objective optimization in Python", IEEE Access 8 (2020).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.variable import Choice
from pymoo.operators.crossover.ox import OrderCrossover
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.crossover.ux import UX
from pymoo.operators.mutation.inversion import InversionMutation
from pymoo.operators.mutation.pm import PM
from pymoo.operators.mutation.rm import ChoiceRandomMutation

from mutators.literals import Value
from mutators.tunables import Key, same
from raysearch.target import Tunable

TRIES_MAX = 20
DIGITS = 4
"""A float moves on a grid of a ten-thousandth of its range; on a logarithmic scale it has so many digits."""


class Variation:
    """Operators for ``tunables``. ``eta`` is the distribution index of SBX and PM: higher stays closer."""

    def __init__(self, tunables: Mapping[Key, Tunable], eta: float) -> None:
        self.tunables = {key: tunable for key, tunable in tunables.items() if can_vary(tunable)}
        self._sbx = SBX(prob=1.0, prob_var=0.5, eta=eta)
        self._pm = PM(prob=1.0, eta=eta, prob_var=1.0)
        self._other = ChoiceRandomMutation(prob=1.0, prob_var=1.0)

    def child(
        self, parent: Mapping[Key, Value], mate: Mapping[Key, Value] | None, draws: np.random.Generator
    ) -> dict[Key, Value]:
        """Settings that differ from ``parent`` in at least one tunable. Needs a tunable that can vary."""
        child = dict(parent)
        if mate is not None:
            for key, tunable in self.tunables.items():
                child[key] = self._crossed(tunable, parent[key], mate.get(key, parent[key]), draws)
        keys = list(self.tunables)
        changed = any(not same(child[key], parent[key]) for key in keys)
        chosen = [key for key in keys if draws.random() < 1.0 / len(keys)]
        if not chosen and not changed:
            chosen = [keys[draws.integers(len(keys))]]
        for key in chosen:
            child[key] = self._mutated(self.tunables[key], child[key], draws)
        if all(same(child[key], parent[key]) for key in keys):  # mutation undid what crossover did
            key = keys[draws.integers(len(keys))]
            child[key] = self._mutated(self.tunables[key], child[key], draws)
        return child

    def _crossed(self, tunable: Tunable, value: Value, other: Value, draws: np.random.Generator) -> Value:
        if same(value, other):
            return value
        operator = {"categorical": UX(prob=1.0), "permutation": OrderCrossover(prob=0.5)}.get(tunable.kind, self._sbx)
        pair = [[Individual(X=_encoded(tunable, value)), Individual(X=_encoded(tunable, other))]]
        return _decoded(tunable, operator(_problem(tunable), pair, random_state=draws)[0].X)

    def _mutated(self, tunable: Tunable, value: Value, draws: np.random.Generator) -> Value:
        """Another value: the operator's, or, if that stays where it is, the nearest or any other one."""
        operator = {"categorical": self._other, "permutation": InversionMutation()}.get(tunable.kind, self._pm)
        for _ in range(TRIES_MAX):
            single = Population.new(X=_encoded(tunable, value)[None, :])
            mutant = _decoded(tunable, operator(_problem(tunable), single, random_state=draws)[0].X)
            if not same(mutant, value):
                return mutant
        others = _neighbours(tunable, value)
        return others[int(draws.integers(len(others)))]


def can_vary(tunable: Tunable) -> bool:
    """Whether there are two values to choose from."""
    if tunable.kind in ("categorical", "permutation"):
        return len(tunable.choices) > 1
    return _rounded(tunable, tunable.low) != _rounded(tunable, tunable.high)


def _problem(tunable: Tunable) -> Any:
    """The tunable as a pymoo problem; a permutation has a variable for each place."""
    if tunable.kind == "categorical":
        return Problem(vars={"choice": Choice(options=list(range(len(tunable.choices))))})
    if tunable.kind == "permutation":
        return Problem(n_var=len(tunable.choices), xl=0, xu=len(tunable.choices) - 1, vtype=int)
    ends = (tunable.low, tunable.high)
    low, high = map(math.log10, ends) if tunable.kind == "log" else ends
    return Problem(n_var=1, xl=low, xu=high)


def _encoded(tunable: Tunable, value: Value) -> Any:
    if isinstance(value, tuple):
        return np.array([_place(tunable, item) for item in value])
    if tunable.kind == "categorical":
        return np.array([_place(tunable, value)], dtype=object)
    assert not isinstance(value, str)
    return np.array([math.log10(value) if tunable.kind == "log" else float(value)])


def _decoded(tunable: Tunable, genes: Any) -> Value:
    if tunable.kind == "permutation":
        return tuple(tunable.choices[int(gene)] for gene in genes)
    if tunable.kind == "categorical":
        return tunable.choices[int(genes[0])]
    return _rounded(tunable, 10.0 ** float(genes[0]) if tunable.kind == "log" else float(genes[0]))


def _place(tunable: Tunable, item: Value) -> int:
    return next(place for place, choice in enumerate(tunable.choices) if same(choice, item))


def _rounded(tunable: Tunable, number: float) -> float | int:
    """On the tunable's grid, and within its bounds."""
    if tunable.kind == "int":
        return min(max(round(number), int(tunable.low)), int(tunable.high))
    if tunable.kind == "log":
        number = float(f"{number:.{DIGITS}g}")
    elif tunable.high > tunable.low:
        number = round(number, DIGITS - math.floor(math.log10(tunable.high - tunable.low)))
    return min(max(number, tunable.low), tunable.high) + 0.0  # no minus zero


def _neighbours(tunable: Tunable, value: Value) -> Sequence[Value]:
    """Values beside ``value``: the bounds of a number or a step from it, other choices, its reversal."""
    if isinstance(value, tuple):
        return [tuple(reversed(value))]
    if tunable.kind == "categorical":
        return [choice for choice in tunable.choices if not same(choice, value)]
    assert not isinstance(value, str)
    ends: list[float | int] = [_rounded(tunable, tunable.low), _rounded(tunable, tunable.high)]
    if tunable.kind == "int":
        ends = [_rounded(tunable, value - 1), _rounded(tunable, value + 1)]
    return [end for end in ends if not same(end, value)]
