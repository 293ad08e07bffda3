"""The judge that asks again with inputs that nobody has seen: programs must do as well on them as on the known ones."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence

from evaluators.audit.rerun import Rerun, empty
from evaluators.command import CommandBenchmark, CommandJudge
from raysearch.errors import Refused
from raysearch.protocols import Workspace
from raysearch.types import Brief, Case, Measurement, Objective, Verdict

REPEATED = ".repeated"
"""A side metric of this ending measures the objective before it on inputs that have come before."""
REPEAT_GAIN_MAX = 1.5
CLOSE = 0.02
"""Relative difference that is never held against a program."""
SAME = 1e-9
T_999 = (318.3, 22.33, 10.21, 7.17, 5.89, 5.21, 4.79, 4.50, 4.30, 4.14)
"""0.999 quantiles of Student's t for 1 to 10 degrees of freedom."""
Values = Mapping[str, float]


class Holdout:
    """Checks a program with a seed that only it gets, and measures it with ``seeds`` more.

    The run's own seed for the benchmark is ``workspace.evaluation_seed``. A no, where

    - the checker says no to fresh inputs;
    - an objective is better on the known inputs than a prediction interval (99.9 %, one-sided) around those of the
      fresh ones allows: the program knows the inputs;
    - one seed gives two values for a deterministic objective, though the target's seed program gives one;
    - a benchmark that offers the side metric ``<objective>.repeated`` shows in every run that inputs which have come
      before are answered more than 1.5 times better than new ones: the program keeps its answers.

    Costs one run of the checker and ``seeds`` + 2 of the benchmark.
    """

    seed_of = "benchmark"
    """Whose evaluation seed this judge must be given."""
    measures = True
    """It compares measurements, so it needs what a benchmark needs."""

    def __init__(self, *, seeds: int = 4) -> None:
        self.seeds = min(max(seeds, 2), len(T_999) + 1)
        self._seed_agrees: dict[str, frozenset[str]] = {}

    def judge(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Verdict:
        first = rng.getrandbits(63)
        said = CommandJudge().judge(Rerun(workspace, first), brief, rng)
        if not said.passed:
            return Verdict(False, f"With inputs drawn afresh the accuracy checker says no: {said.feedback}", said.cases)
        try:
            known = _values(workspace, workspace.evaluation_seed, rng)
            fresh = [
                _values(workspace, seed, rng) for seed in (first, *(rng.getrandbits(63) for _ in range(self.seeds - 1)))
            ]
            exact = [o for o in workspace.target.objectives if o.deterministic]
            again = _values(workspace, first, rng) if exact else {}
        except Refused as no:
            return Verdict(False, f"With inputs drawn afresh {str(no)[:1].lower()}{str(no)[1:]}")
        cases = [_compared(o, known, fresh) for o in workspace.target.objectives]
        offered = [o for o in workspace.target.objectives if all(o.name + REPEATED in values for values in fresh)]
        cases += [_repeated(objective, fresh) for objective in offered]
        for objective in exact:
            if not _same(fresh[0], again, objective.name) and objective.name in self._settled(workspace, first, rng):
                detail = (
                    f"{objective.name} was {fresh[0][objective.name]:g} and then {again[objective.name]:g} for one seed"
                )
                cases.append(Case("second run", False, detail))
        wrong = [case.detail for case in cases if not case.passed]
        feedback = "" if not wrong else "The measurements do not hold:\n" + "\n".join(f"- {detail}" for detail in wrong)
        return Verdict(not wrong, feedback, tuple(cases), {"fresh_seeds": str(self.seeds)})

    def _settled(self, workspace: Workspace, seed: int, rng: random.Random) -> frozenset[str]:
        """Objectives for which the target's own seed program gives one value twice; all, where there is none."""
        target = workspace.target
        if target.digest not in self._seed_agrees:
            names = frozenset(o.name for o in target.objectives)
            if target.seed is not None:
                program = f"{{target}}/{target.seed.relative_to(target.root).as_posix()}"
                runs = [_values(workspace, seed, rng, program) for _ in range(2)]
                names = frozenset(name for name in names if _same(runs[0], runs[1], name))
            self._seed_agrees[target.digest] = names
        return self._seed_agrees[target.digest]


def _values(workspace: Workspace, seed: int, rng: random.Random, program: str = "{candidate}") -> Values:
    """Medians by name, of a run that finds nothing of those before it. Raises Refused and EvaluatorFault."""
    empty(workspace.scratch)
    found: Sequence[Measurement] = CommandBenchmark().measure(Rerun(workspace, seed, program), rng)
    return {measurement.name: measurement.value for measurement in found}


def _same(one: Values, other: Values, name: str) -> bool:
    return math.isclose(one.get(name, 0.0), other.get(name, 0.0), rel_tol=SAME, abs_tol=SAME)


def excess(known: float, fresh: Sequence[float], objective: Objective) -> float:
    """By how much ``known`` is better than ``fresh`` values let expect, relative; 0 where it is not.

    Logarithms where all are of one sign, so that a factor counts the same at any size. ``fresh``: 2 or more values.
    """
    together = (known, *fresh)
    scale = max(map(abs, together))
    if scale == 0.0:
        return 0.0
    if min(together) > 0.0 or max(together) < 0.0:
        side = 1.0 if known > 0.0 else -1.0
        values = [side * math.log(abs(value)) for value in together]
    else:
        values = [value / scale for value in together]
    better = objective.sign * (values[0] - statistics.fmean(values[1:]))
    spread = max(statistics.stdev(values[1:]), objective.noise)
    allowed = T_999[len(fresh) - 2] * spread * math.sqrt(1.0 + 1.0 / len(fresh)) + CLOSE
    return max(0.0, better - allowed)


def _compared(objective: Objective, known: Values, fresh: Sequence[Values]) -> Case:
    name = objective.name
    values = [run[name] for run in fresh]
    over = excess(known[name], values, objective)
    shown = ", ".join(f"{value:.6g}" for value in values)
    detail = f"{name} is {known[name]:.6g} with the inputs of this run, and {shown} with others of the same kind"
    if over > 0.0:
        detail += ": do not prepare for particular inputs"
    return Case(f"fresh inputs: {name}", over == 0.0, detail)


def _repeated(objective: Objective, fresh: Sequence[Values]) -> Case:
    """Whether inputs that have come before are answered better than new ones, in every run."""
    pairs = [(run[objective.name], run[objective.name + REPEATED]) for run in fresh]
    if not all(new > 0.0 and old > 0.0 for new, old in pairs):
        return Case(f"repeated inputs: {objective.name}", True, "not all above zero: there is no ratio")
    gains = [new / old if objective.goal == "min" else old / new for new, old in pairs]
    kept = min(gains) > REPEAT_GAIN_MAX + objective.noise
    shown = "; ".join(f"{new:.6g} and then {old:.6g}" for new, old in pairs)
    detail = f"{objective.name} for new inputs and for the same inputs again: {shown}"
    return Case(f"repeated inputs: {objective.name}", not kept, detail + (": do not keep answers" if kept else ""))
