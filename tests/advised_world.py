"""Programs with a speed and a size: a mutator that does as it was scripted, and a lessons writer with a list."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from raysearch.consultation import LESSONS_WRITER, Reply
from raysearch.engine import Engine
from raysearch.errors import MutatorFault, WorkerLost
from raysearch.facts import (
    Entry,
    RunStarted,
    SessionOpened,
)
from raysearch.jobs import Job, Result
from raysearch.protocols import Policy
from raysearch.state import State
from raysearch.testing.simulated import DirectPool, FakeClock, SimDisk
from raysearch.types import (
    Change,
    Commit,
    Limits,
    Measurement,
    Mutation,
    Objective,
    Plan,
    Stage,
    Step,
    Tree,
    Usage,
    Verdict,
)

SPEED = Objective("speed", unit="1/s", noise=0.01, primary=True)
SIZE = Objective("size", "min", unit="kB", noise=0.01)
STEPS = (Step(Stage.JUDGE, "accuracy"), Step(Stage.BENCHMARK, "benchmark"))
ADVISED = Plan(STEPS, consultants=(Step(Stage.MUTATE, LESSONS_WRITER),))
ALONE = Plan(STEPS)
WORSE = (-1.0, 1.0)


@dataclass
class Advised:
    """Does jobs."""

    script: Mapping[int, tuple[float, float] | str] = field(default_factory=dict)
    """By attempt: how much faster and larger than its first parent it is, or why it is refused; `WORSE` unless said.
    ``broken``: the mutator breaks."""
    replies: Sequence[Reply | None] = ()
    """To the questions, in order; None: whoever is asked goes away. The last one is given again and again."""
    calls: int = 1
    """Of a model, that each mutation says it made."""
    programs: dict[Commit, tuple[float, float]] = field(default_factory=lambda: {Commit("origin"): (10.0, 10.0)})
    wrong: dict[Commit, str] = field(default_factory=dict)

    def perform(self, job: Job) -> Result:
        if job.consultation is not None:
            reply = self.replies[min(job.consultation, len(self.replies)) - 1] if self.replies else None
            if reply is None:
                raise WorkerLost("the lessons writer went away")
            return reply
        if job.stage is Stage.MUTATE:
            return self._changed(job)
        if job.stage is Stage.JUDGE:
            return Verdict(job.base not in self.wrong, self.wrong.get(job.base, ""))
        speed, size = self.programs[job.base]
        return (Measurement("speed", (speed,), "1/s", "max"), Measurement("size", (size,), "kB", "min"))

    def _changed(self, job: Job) -> Change:
        does = self.script.get(job.attempt, WORSE)
        if does == "broken":
            raise MutatorFault("no reply")
        speed, size = self.programs[job.base]
        if not isinstance(does, str):
            speed, size = speed + does[0], size + does[1]
        name = f"{speed} {size} {job.attempt}"
        commit = Commit(hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest())
        self.programs[commit] = (speed, size)
        if isinstance(does, str):
            self.wrong[commit] = does
        said = f"idea {job.attempt}"
        return Change(commit, Tree(commit), Mutation(said, usage=Usage(calls=self.calls)))


class Told:
    """Shows nothing."""

    def told(self, entry: Entry) -> None: ...
    def started(self, job: Job) -> None: ...
    def close(self) -> None: ...


def run(
    policy: Policy, world: Advised, attempts: int, lanes: int = 1, plan: Plan = ADVISED, seeded: bool = True
) -> tuple[State, list[Entry]]:
    """The whole run; its state and its journal."""
    disk = SimDisk()
    engine = Engine(policy, DirectPool(world.perform), disk.open(), FakeClock(), Told())
    plan = replace(plan, retries_max=0)
    start = RunStarted("r", 1, "t", "d", (SPEED, SIZE), plan, Commit("origin"), Tree("origin"), seeded=seeded)
    state = engine.run(start, SessionOpened(1, Limits(lanes, attempts_max=attempts), "here", 0, "0"))
    return state, list(disk.open().replay())
