"""New settings from old ones, by pymoo's variation operators on variables of mixed kinds.

Numbers: simulated binary crossover and polynomial mutation, on a logarithmic scale where the tunable says so,
rounded for whole numbers. Categories: uniform crossover and a fresh choice. Permutations: order crossover and
inversion. Each operator draws from the generator that it is given and from nothing else.

Sources: K. Deb, R. B. Agrawal, "Simulated binary crossover for continuous search space", Complex Systems 9
(1995); J. Blank, K. Deb, "pymoo: multi-objective optimization in Python", IEEE Access 8 (2020).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
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

NUMERIC = ("int", "float", "log")
TRIES_MAX = 20
DIGITS = 4
"""A float moves on a grid of a ten-thousandth of its range; on a logarithmic scale it has so many digits."""

Numbers = npt.NDArray[np.float64]
"""Shape (n,): one value for each of n variables."""


def crossed(
    one: Numbers, other: Numbers, low: Numbers, high: Numbers, eta: float, draws: np.random.Generator
) -> Numbers:
    """``one`` with about half of its numbers crossed with ``other``'s, within bounds (SBX)."""
    pair = [[Individual(X=one), Individual(X=other)]]
    child = SBX(prob=1.0, prob_var=0.5, eta=eta)(_numeric(low, high), pair, random_state=draws)[0].X
    return np.asarray(child, dtype=np.float64)


def mutated(numbers: Numbers, low: Numbers, high: Numbers, eta: float, draws: np.random.Generator) -> Numbers:
    """Every one of ``numbers`` moved, within bounds (polynomial mutation)."""
    single = Population.new(X=numbers[None, :])
    mutant = PM(prob=1.0, eta=eta, prob_var=1.0)(_numeric(low, high), single, random_state=draws)[0].X
    return np.asarray(mutant, dtype=np.float64)


class Variation:
    """Operators for ``tunables``. ``eta`` is the distribution index of SBX and PM: higher stays closer."""

    def __init__(self, tunables: Mapping[Key, Tunable], eta: float) -> None:
        self.tunables = {key: tunable for key, tunable in tunables.items() if can_vary(tunable)}
        self.eta = eta

    def child(
        self, parent: Mapping[Key, Value], mate: Mapping[Key, Value] | None, draws: np.random.Generator
    ) -> dict[Key, Value]:
        """Settings that differ from ``parent`` in at least one tunable. Needs a tunable that can vary."""
        child = dict(parent)
        if mate is not None:
            others = {key: mate[key] for key in self.tunables if key in mate and not same(mate[key], parent[key])}
            child |= self._crossed(parent, others, draws)
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

    def drawn(self, parent: Mapping[Key, Value], draws: np.random.Generator) -> dict[Key, Value]:
        """``parent`` with every tunable that can vary at a value of its own, each as likely; the same by chance only.

        On a logarithmic scale where the tunable says so.
        """
        return {**parent, **{key: _drawn(tunable, draws) for key, tunable in self.tunables.items()}}

    def _crossed(
        self, parent: Mapping[Key, Value], others: Mapping[Key, Value], draws: np.random.Generator
    ) -> dict[Key, Value]:
        """What becomes of those settings in which a mate differs; numbers are crossed all at once."""
        numeric = {key: self.tunables[key] for key in others if self.tunables[key].kind in NUMERIC}
        found: dict[Key, Value] = {}
        if numeric:
            one, other = (
                np.concatenate([_encoded(tunable, values[key]) for key, tunable in numeric.items()])
                for values in (parent, others)
            )
            genes = crossed(one, other, *_bounds(numeric.values()), self.eta, draws)
            found |= {key: _decoded(numeric[key], [gene]) for key, gene in zip(numeric, genes, strict=True)}
        for key in others:
            if key not in numeric:
                tunable = self.tunables[key]
                operator = UX(prob=1.0) if tunable.kind == "categorical" else OrderCrossover(prob=0.5)
                pair = [[Individual(X=_encoded(tunable, values[key])) for values in (parent, others)]]
                found[key] = _decoded(tunable, operator(_problem(tunable), pair, random_state=draws)[0].X)
        return found

    def _mutated(self, tunable: Tunable, value: Value, draws: np.random.Generator) -> Value:
        """Another value: the operator's, or, if that stays where it is, the nearest or any other one."""
        for _ in range(TRIES_MAX):
            mutant = _decoded(tunable, self._moved(tunable, _encoded(tunable, value), draws))
            if not same(mutant, value):
                return mutant
        others = _neighbours(tunable, value)
        return others[int(draws.integers(len(others)))]

    def _moved(self, tunable: Tunable, genes: Any, draws: np.random.Generator) -> Any:
        if tunable.kind in NUMERIC:
            return mutated(genes, *_bounds([tunable]), self.eta, draws)
        other = ChoiceRandomMutation(prob=1.0, prob_var=1.0)
        operator = other if tunable.kind == "categorical" else InversionMutation()
        return operator(_problem(tunable), Population.new(X=genes[None, :]), random_state=draws)[0].X


def can_vary(tunable: Tunable) -> bool:
    """Whether there are two values to choose from."""
    if tunable.kind in ("categorical", "permutation"):
        return len(tunable.choices) > 1
    return _rounded(tunable, tunable.low) != _rounded(tunable, tunable.high)


def _drawn(tunable: Tunable, draws: np.random.Generator) -> Value:
    """Any value of ``tunable``."""
    if tunable.kind == "permutation":
        return tuple(tunable.choices[int(place)] for place in draws.permutation(len(tunable.choices)))
    if tunable.kind == "categorical":
        return tunable.choices[int(draws.integers(len(tunable.choices)))]
    low, high = _bounds([tunable])
    if tunable.kind == "int":  # so that the ends are as likely as the others
        low, high = low - 0.5, high + 0.5
    share = draws.random()
    return _decoded(tunable, (1.0 - share) * low + share * high)


def _problem(tunable: Tunable) -> Any:
    """A choice or a permutation as a pymoo problem; a permutation has a variable for each place."""
    if tunable.kind == "categorical":
        return Problem(vars={"choice": Choice(options=list(range(len(tunable.choices))))})
    return Problem(n_var=len(tunable.choices), xl=0, xu=len(tunable.choices) - 1, vtype=int)


def _numeric(low: Numbers, high: Numbers) -> Any:
    return Problem(n_var=len(low), xl=low, xu=high)


def _bounds(tunables: Collection[Tunable]) -> tuple[Numbers, Numbers]:
    """Lowest and highest genes of numeric ``tunables``."""
    low = np.concatenate([_encoded(tunable, tunable.low) for tunable in tunables])
    high = np.concatenate([_encoded(tunable, tunable.high) for tunable in tunables])
    return low, high


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
    elif 0.0 < tunable.high - tunable.low < math.inf:
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
