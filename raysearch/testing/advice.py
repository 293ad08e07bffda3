"""Replies of a simulated world: sensible mostly, and now and then what a real consultant would get wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence

from raysearch.consultation import (
    LESSONS_WRITER,
    PERFORMANCE_EVALUATOR,
    PLANNER,
    PROFILER,
    TRIAGE,
    Decision,
    Level,
    Reply,
    Task,
)
from raysearch.profile import Finding, Profile
from raysearch.types import Measurement, Objective, Stage, Step, Usage

STAGES = {
    TRIAGE: Stage.MUTATE,
    PLANNER: Stage.MUTATE,
    LESSONS_WRITER: Stage.MUTATE,
    PROFILER: Stage.BENCHMARK,
    PERFORMANCE_EVALUATOR: Stage.BENCHMARK,
}
"""Whose workers answer, by role."""


def staffed(rng: random.Random) -> tuple[Step, ...]:
    """Whom a run has to be asked: everybody, nobody, or some."""
    share = rng.choice((0.0, 0.6, 1.0))
    return tuple(Step(stage, role, timeout_s=20.0) for role, stage in STAGES.items() if rng.random() < share)


def reply(role: str, objectives: Sequence[Objective], rng: random.Random, usage: Usage) -> Reply:
    """What somebody in ``role`` says."""
    match role:
        case "triage":
            return Reply(
                decision=Decision(rng.random() < 0.5, rng.choice(("", "the loop")), "so it seems"), usage=usage
            )
        case "planner":
            return Reply(task=_task(objectives, rng) if rng.random() < 0.95 else None, usage=usage)
        case "profiler":
            share = rng.random()
            found = (Finding("the loop", share, "compute", "it is hot"), Finding("the rest", 1 - share))
            return Reply("where it goes", profile=Profile("imagined", found, 1.0), usage=usage)
        case "performance_evaluator":
            rate = Measurement("rate", (rng.uniform(1, 9),), "1/s", "max")
            return Reply("it holds", levels=(Level("rate 1", (rate,)),), usage=usage)
        case _:
            return Reply("elsewhere", lessons=(f"lesson {rng.randint(0, 9)}",), usage=usage)


def _task(objectives: Sequence[Objective], rng: random.Random) -> Task:
    names = [o.name for o in objectives]
    return Task(
        title=f"idea {rng.randint(0, 99)}",
        change="move a little",
        hypothesis="it is better there",
        forecast="some",
        metric=rng.choice(("", *names, "heat", "no such metric")),
        minimum_gain=rng.choice((0.0, 0.0, 0.1)),
        revert_to_round=rng.choice((None, None, None, 0, 1, 2, 5, 1000)),
        roadmap=rng.choice((None, f"next: idea {rng.randint(0, 99)}")),
    )
