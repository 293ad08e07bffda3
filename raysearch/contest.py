"""Two programs measured in turns until it is settled which is better, or as long as there is time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence

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
    """Measure by turns in an order that coins decide: ABBA or BAAB.

    ``min_effect``: the smallest gain worth claiming, as a share of the value, where an objective's noise is not more.
    Raises what ``own`` and ``rival`` raise,
    and EvaluatorFault for numbers that cannot be compared.
    """
    seen: list[tuple[dict[str, float], dict[str, float]]] = []
    told: list[Sequence[Measurement]] = []
    duel: Duel | None = None
    ends_s = clock() + challenge.time_s
    try:
        for own_first in orders(rng):
            pair = _pair(own, rival, own_first)
            told.append(pair[0])
            seen.append((_values(pair[0], objectives), _values(pair[1], objectives)))
            if duel is None:
                duel = _duel(objectives, min_effect, seen, challenge.pairs_max, exact=False)
            duel.add(*seen[-1])
            if len(seen) == EXACT_AFTER and _agree(seen):
                duel = _duel(objectives, min_effect, seen, challenge.pairs_max, exact=True)
                for a, b in seen:
                    duel.add(a, b)
            if len(seen) >= challenge.pairs_max or duel.settled(challenge.level) or clock() >= ends_s:
                break
    except Incomparable as error:
        raise EvaluatorFault(str(error)) from error
    assert duel is not None
    return Contest(duel.verdict(challenge.level), duel.comparisons(challenge.level), _gathered(told), duel.pairs)


def _pair(own: Measure, rival: Measure, own_first: bool) -> tuple[Sequence[Measurement], Sequence[Measurement]]:
    if own_first:
        one = own()
        return one, rival()
    other = rival()
    return own(), other


def _values(measurements: Sequence[Measurement], objectives: Sequence[Objective]) -> dict[str, float]:
    names = {objective.name for objective in objectives}
    return {m.name: m.value for m in measurements if m.name in names}


def _duel(
    objectives: Sequence[Objective],
    min_effect: float,
    seen: Sequence[tuple[Mapping[str, float], Mapping[str, float]]],
    pairs_max: int,
    *,
    exact: bool,
) -> Duel:
    def about(objective: Objective) -> Claim:
        record = [values[objective.name] for pair in seen for values in pair if objective.name in values]
        # What never varies has no noise: any gain of it is one.
        certain = exact or objective.deterministic
        worth = 0.0 if certain else max(min_effect, objective.noise)
        return claim(objective, record, min_effect=worth, deterministic=certain)

    return Duel([about(objective) for objective in objectives], pairs_max=pairs_max)


def _agree(seen: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> bool:
    """Whether every run of one program gave the same; round numbers prove nothing, for few lie near each other."""
    same = all(pair == seen[0] for pair in seen)
    return same and all(value * GRAIN % 1 for values in seen[0] for value in values.values())


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
            {**found[-1].conditions, "measured": "in turns with a member of the frontier"},
        )
        for name, found in runs.items()
    )
