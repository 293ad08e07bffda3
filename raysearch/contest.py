"""Two programs measured in turns until it is settled which is better, or as long as there is time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from raysearch.errors import EvaluatorFault
from raysearch.statistics.claims import Claim, Incomparable, claim
from raysearch.statistics.duel import Duel, orders
from raysearch.types import Challenge, Contest, Measurement, Objective

EXACT_AFTER = 3
"""So many runs of each program that agree to the last digit are taken for deterministic."""
GRAIN = 1000
"""Multiples of one over this are round numbers: measured values of such grain agree by chance."""
SAMPLES_MAX = 500
"""Of each metric that are kept."""

Measure = Callable[[], Sequence[Measurement]]


def contest(
    challenge: Challenge,
    objectives: Sequence[Objective],
    min_effect: float,
    own: Measure,
    rival: Measure,
    rng: random.Random,
    clock: Callable[[], float] = time.monotonic,
) -> Contest:
    """Measure by turns in an order that coins decide: one after the other, or one alone where that tells enough.

    ``min_effect``: the smallest gain worth claiming, as a share of the value, where an objective's noise is not more.
    Raises what ``own`` and ``rival`` raise,
    and EvaluatorFault for numbers that cannot be compared.
    """
    turns = _Turns(challenge, objectives, min_effect)
    ends_s = clock() + challenge.time_s
    try:
        for own_first in orders(rng):
            programs = (own, rival) if own_first else (rival, own)
            if turns.alone:
                turns.add_alone(programs[0](), own_first)
            else:
                first, second = programs[0](), programs[1]()
                turns.add(*((first, second) if own_first else (second, first)), own_first)
            if turns.settled or clock() >= ends_s:
                break
    except Incomparable as error:
        raise EvaluatorFault(str(error)) from error
    return turns.ended()


class _Turns:
    """What was measured so far, and what it says."""

    def __init__(self, challenge: Challenge, objectives: Sequence[Objective], min_effect: float) -> None:
        self._challenge, self._objectives, self._min_effect = challenge, objectives, min_effect
        self._pairs: list[tuple[dict[str, float], dict[str, float]]] = []
        self._told: tuple[list[Sequence[Measurement]], list[Sequence[Measurement]]] = ([], [])  # own, rival's
        self._duel: Duel | None = None

    def add(self, own: Sequence[Measurement], rival: Sequence[Measurement], own_first: bool) -> None:
        """Both programs, one after the other. Raises Incomparable."""
        pair = (_values(own, self._objectives), _values(rival, self._objectives))
        self._told[0].append(own)
        self._told[1].append(rival)
        self._pairs.append(pair)
        if self._duel is None:
            self._duel = self._begun(exact=False)
        self._duel.add(*pair, own_first)
        if len(self._pairs) == EXACT_AFTER and self._steady and not self._round:
            self._duel = self._begun(exact=True)
            for a, b in self._pairs:
                self._duel.add(a, b)

    def add_alone(self, measurements: Sequence[Measurement], own: bool) -> None:
        """One program. Raises Incomparable."""
        self._told[0 if own else 1].append(measurements)
        self._one.add_alone(_values(measurements, self._objectives), own)

    @property
    def alone(self) -> bool:
        """Whether one program is enough for the next turn."""
        if self._duel is None or (len(self._pairs) < EXACT_AFTER and self._steady):
            return False
        return self._duel.apart(self._challenge.level)

    @property
    def settled(self) -> bool:
        """Whether no more turns are needed, or may be."""
        return self._one.settled(self._challenge.level)

    def ended(self) -> Contest:
        """How it ended."""
        duel, level = self._one, self._challenge.level
        own, rival = map(_gathered, self._told)
        return Contest(duel.verdict(level), duel.comparisons(level), own, duel.pairs, rival)

    @property
    def _one(self) -> Duel:
        assert self._duel is not None  # every contest begins with a pair
        return self._duel

    @property
    def _steady(self) -> bool:
        """Whether each program gave the same in every pair."""
        return all(pair == self._pairs[0] for pair in self._pairs)

    @property
    def _round(self) -> bool:
        """Whether some values are round numbers; that such agree proves nothing, for few lie near each other."""
        return any(value * GRAIN % 1 == 0 for values in self._pairs[0] for value in values.values())

    def _begun(self, *, exact: bool) -> Duel:
        def about(objective: Objective) -> Claim:
            record = [values[objective.name] for pair in self._pairs for values in pair if objective.name in values]
            # What never varies has no noise: any gain of it is one.
            certain = exact or objective.deterministic
            worth = 0.0 if certain else max(self._min_effect, objective.noise)
            return claim(objective, record, min_effect=worth, deterministic=certain)

        return Duel([about(objective) for objective in self._objectives], pairs_max=self._challenge.pairs_max)


def _values(measurements: Sequence[Measurement], objectives: Sequence[Objective]) -> dict[str, float]:
    names = {objective.name for objective in objectives}
    return {m.name: m.value for m in measurements if m.name in names}


def _gathered(told: Sequence[Sequence[Measurement]]) -> tuple[Measurement, ...]:
    """One measurement a metric, with the value of each run as a sample."""
    runs: dict[str, list[Measurement]] = {}
    for measurements in told:
        for measurement in measurements:
            runs.setdefault(measurement.name, []).append(measurement)
    return tuple(
        Measurement(
            name,
            tuple(m.value for m in found[-SAMPLES_MAX:]),
            found[-1].unit,
            found[-1].goal,
            {**found[-1].conditions, "measured": "in turns with another program"},
        )
        for name, found in runs.items()
    )
