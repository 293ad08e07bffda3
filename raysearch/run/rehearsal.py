"""What a run would be like: durations, costs and odds that are taken for granted, and a world that follows them.

Nothing here measures anything: programs and workers are imagined. See `raysearch.testing.rehearsal`, which drives the
engine, policy and configuration of production through it.
"""

from __future__ import annotations

import hashlib
import math
import random
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from raysearch.consultation import Decision, Reply, Task
from raysearch.errors import MutatorFault
from raysearch.facts import AttemptClosed, Entry, JobFailed, Judged, Measured, Mutated, RunStarted
from raysearch.jobs import SHORT, Job, Result
from raysearch.profile import Finding, Profile
from raysearch.run.search import Search, plan_of
from raysearch.seeds import stream
from raysearch.target import Target
from raysearch.types import SEED, Change, Commit, Measurement, Mutation, Outcome, Stage, Tree, Usage, Verdict

ADMITTED = 0.5
"""Share of attempts that pass, where nothing else is known."""
STEP = 0.05
"""How far a child's values are from its parent's: the standard deviation of their ratio."""


SHORT_SHARE = 0.1
"""How long a short benchmark takes, as a share of the whole."""


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds: log-normal about ``median_s``; ``spread`` is the standard deviation of the logarithm."""

    median_s: float
    spread: float = 0.0

    def draw(self, rng: random.Random) -> float:
        return self.median_s * math.exp(rng.gauss(0.0, self.spread)) if self.spread else self.median_s


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a rehearsal takes for granted."""

    durations: Mapping[Stage, Duration]
    mutate_usd: float = 0.0
    """Mean cost of a mutation."""
    admitted: float = ADMITTED
    """Of attempts that a judge looked at, the share that passed, 0 to 1."""
    repeated: float = 0.0
    """Of mutations, the share that gives a program that is known already, 0 to 1."""
    faults: float = 0.0
    """Of mutations, the share that breaks, 0 to 1."""
    origin: str = "assumed"
    """Where the numbers are from."""


def learned(entries: Iterable[Entry], run: str) -> Assumptions:
    """What an earlier run was like. A stage without a single job counts as instant."""
    took: dict[Stage, list[float]] = {stage: [] for stage in Stage}
    outcomes: Counter[str] = Counter()
    costs: list[float] = []
    measures: set[str] = set()
    """Benchmarks: one that refuses a program leaves a verdict."""
    for entry in entries:
        fact = entry.fact
        match fact:
            case RunStarted():
                measures = {step.plugin for step in fact.plan.steps if step.stage is Stage.BENCHMARK} - {SHORT}
            case Mutated(attempt) if attempt != SEED:
                took[Stage.MUTATE].append(fact.took_s)
                costs.append(fact.change.mutation.usage.cost_usd)
            case Judged(_, judge) if fact.reused_from is None:
                took[Stage.BENCHMARK if judge in measures else Stage.JUDGE].append(fact.took_s)
            case Measured(_, benchmark) if fact.reused_from is None and benchmark != SHORT:
                took[Stage.BENCHMARK].append(fact.took_s)
            case JobFailed(_, Stage.MUTATE, consultation=None):
                outcomes["broken"] += 1
                costs.append(fact.usage.cost_usd)
            case AttemptClosed(attempt, outcome, reason) if attempt != SEED:
                known = outcome is Outcome.REJECTED and reason.startswith("known tree")
                outcomes["known" if known else outcome.value] += 1
    judged = outcomes[Outcome.ADMITTED.value] + outcomes[Outcome.REJECTED.value]
    mutations = len(took[Stage.MUTATE])
    return Assumptions(
        durations={stage: _duration(seconds) for stage, seconds in took.items()},
        mutate_usd=statistics.mean(costs) if costs else 0.0,
        admitted=outcomes[Outcome.ADMITTED.value] / judged if judged else ADMITTED,
        repeated=outcomes["known"] / mutations if mutations else 0.0,
        faults=outcomes["broken"] / (mutations + outcomes["broken"]) if mutations else 0.0,
        origin=f"as in {run}",
    )


def _duration(seconds: Sequence[float]) -> Duration:
    positive = [s for s in seconds if s > 0]
    if not positive:
        return Duration(0.0)
    logs = [math.log(s) for s in positive]
    return Duration(statistics.median(positive), statistics.stdev(logs) if len(logs) > 1 else 0.0)


@dataclass(slots=True)
class Imagined:
    """Does jobs as workers would, by what is assumed; what comes out depends on the job and the run's seed alone."""

    assumed: Assumptions
    target: Target
    search: Search
    start: RunStarted = field(init=False)
    """The first fact of the run that is imagined."""
    _programs: dict[Commit, tuple[Tree, float]] = field(default_factory=dict)
    """Tree of each commit, and how good it is: 1.0 for the seed, more is better."""

    def __post_init__(self) -> None:
        search, target = self.search, self.target
        origin, tree = Commit(_name("origin")), Tree(_name("first tree"))
        self._programs[origin] = (tree, 1.0)
        self.start = RunStarted(
            run="rehearsal",
            seed=search.seed,
            target=target.name,
            target_digest=target.digest,
            objectives=target.objectives,
            plan=replace(plan_of(replace(search, first=(), last=()), target), confirmation=None),
            origin=origin,
            origin_tree=tree,
            seeded=target.seed is not None,
        )

    def lasts_s(self, job: Job) -> float:
        """How long a worker takes for a job."""
        share = SHORT_SHARE if job.plugin == SHORT else 1.0
        return share * self.assumed.durations[job.stage].draw(self._rng("lasts", job))

    def perform(self, job: Job) -> Result:
        """Raises MutatorFault as often as is assumed."""
        rng = self._rng("performs", job)
        if job.consultation is not None:
            return self._advised(job, rng)
        match job.stage:
            case Stage.MUTATE:
                return self._mutated(job, rng)
            case Stage.JUDGE:
                first = job.plugin == self.start.plan.steps[0].plugin
                fine = not first or job.attempt == SEED or rng.random() < self.assumed.admitted
                return Verdict(fine, "" if fine else "imagined: no")
            case Stage.BENCHMARK:
                return self._measured(job)

    def _advised(self, job: Job, rng: random.Random) -> Reply:
        """Whoever thinks costs what a mutation costs; every second program is worth a profile."""
        usage = Usage(cost_usd=self.assumed.mutate_usd, calls=1) if job.stage is Stage.MUTATE else Usage()
        match job.plugin:
            case "triage":
                return Reply(decision=Decision(rng.random() < 0.5), usage=usage)
            case "planner":
                return Reply(task=Task("imagined", "imagined"), usage=usage)
            case "profiler":
                return Reply(profile=Profile("imagined", (Finding("imagined", 1.0),)), usage=usage)
            case _:
                return Reply("imagined", usage=usage)

    def _mutated(self, job: Job, rng: random.Random) -> Change:
        usage = Usage(cost_usd=self.assumed.mutate_usd, calls=1)
        if rng.random() < self.assumed.faults:
            raise MutatorFault("imagined: it broke", usage)
        tree, quality = self._programs[job.base]
        if rng.random() >= self.assumed.repeated:
            tree, quality = Tree(_name("tree", job.attempt)), quality * math.exp(rng.gauss(0.0, STEP))
        commit = Commit(_name("commit", job.attempt))
        self._programs[commit] = (tree, quality)
        return Change(commit, tree, Mutation("imagined", "", usage))

    def _measured(self, job: Job) -> tuple[Measurement, ...]:
        """The target's own benchmark measures everything; others measure something that does not count."""
        if job.plugin != "benchmark":
            return (Measurement(job.plugin, (1.0,)),)
        _, quality = self._programs[job.base]
        return tuple(
            Measurement(axis.name, (self._along(axis.name, job, quality) ** axis.sign,), axis.unit, axis.goal)
            for axis in self.target.objectives
        )

    def _along(self, axis: str, job: Job, quality: float) -> float:
        """Axes differ a little, so that there is a frontier."""
        return quality * math.exp(stream(self.search.seed, "axis", axis, job.attempt).gauss(0.0, STEP / 2))

    def _rng(self, what: str, job: Job) -> random.Random:
        asked = () if job.consultation is None else (job.consultation,)
        return stream(self.search.seed, what, job.stage, job.plugin, job.attempt, job.try_number, *asked)


def _name(*parts: str | int) -> str:
    return hashlib.sha1(repr(parts).encode(), usedforsecurity=False).hexdigest()
