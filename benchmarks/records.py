"""What a run of a comparison cost and came to: one line of its results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from raysearch.facts import AttemptClosed, Entry, Judged, Measured, RunStarted
from raysearch.jobs import Job
from raysearch.types import SEED, AttemptId, Objective

RULES = "audit"
"""The judge that reads programs and runs nothing: no work of the evaluators."""
Values = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt, the seed left out."""

    work: int
    """Evaluator runs so far."""
    seconds: float
    """What they took."""
    values: Values | None
    """What was measured; None where nothing was."""


@dataclass(slots=True)
class Record:
    """A sink that notes what a run's attempts cost and came to."""

    objectives: tuple[Objective, ...] = ()
    seed: Values = ()
    rows: list[Row] = field(default_factory=list)
    work: int = 0
    seconds: float = 0.0
    _of_seed: set[AttemptId] = field(default_factory=lambda: {SEED})

    def told(self, entry: Entry) -> None:
        fact = entry.fact
        if isinstance(fact, RunStarted):
            self.objectives = fact.objectives
        elif isinstance(fact, Judged | Measured) and fact.attempt != SEED and fact.reused_from is None:
            self.work += not (isinstance(fact, Judged) and fact.judge == RULES)
            self.seconds += fact.took_s
        elif isinstance(fact, AttemptClosed):
            scores = fact.candidate.scores if fact.candidate is not None else {}
            values = tuple(scores[o.name] for o in self.objectives) if scores else None
            if fact.attempt == SEED:
                self.seed = values or ()
            else:
                self.rows.append(Row(self.work, self.seconds, values))

    def started(self, job: Job) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Run:
    """One line of the results."""

    example: str
    method: str
    number: int
    """The run's seed."""
    candidates: int
    objectives: tuple[Objective, ...]
    seed: Values
    """What the seed program measured."""
    rows: tuple[Row, ...]

    def written(self) -> str:
        rows = [[row.work, round(row.seconds, 3), row.values] for row in self.rows]
        axes = [[o.name, o.goal, o.unit] for o in self.objectives]
        head = {"example": self.example, "method": self.method, "number": self.number, "candidates": self.candidates}
        return json.dumps({**head, "objectives": axes, "seed": self.seed, "rows": rows})

    @classmethod
    def read(cls, line: str) -> Run:
        data = json.loads(line)
        rows = tuple(Row(work, seconds, values and tuple(values)) for work, seconds, values in data.pop("rows"))
        axes = tuple(Objective(*axis) for axis in data.pop("objectives"))
        return cls(**{**data, "seed": tuple(data["seed"])}, objectives=axes, rows=rows)

    def at_candidates(self) -> Sequence[Row]:
        return self.rows[: self.candidates]

    def at_work(self, work: int) -> Sequence[Row]:
        return [row for row in self.rows if row.work <= work]

    def best(self, rows: Sequence[Row]) -> float:
        """The first objective's best value, the seed's included."""
        found = [self.seed[0], *(row.values[0] for row in rows if row.values is not None)]
        return max(found) if self.objectives[0].goal == "max" else min(found)

    def gain(self, rows: Sequence[Row]) -> float:
        """Hypervolume of the frontier, of which the seed has 1.

        In each objective it is counted from 0 where more is better, and from twice the seed's value where less is, in
        units of the seed's value. With one objective that is more of, the best value in units of the seed's.
        """
        from population.ranking import hypervolume

        points = [self._scaled(values) for values in (self.seed, *(row.values for row in rows)) if values is not None]
        return hypervolume(points, (0.0,) * len(self.objectives))

    def _scaled(self, values: Values) -> Values:
        axes = zip(self.objectives, values, self.seed, strict=True)
        return tuple(value / own if axis.goal == "max" else 2.0 - value / own for axis, value, own in axes)
