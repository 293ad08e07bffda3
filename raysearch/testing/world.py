"""A world whose programs are points: mutated, judged and measured by rule, in no time and for no money."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field

from raysearch.consultation import Reply
from raysearch.errors import EvaluatorFault, MutatorFault, SandboxFault
from raysearch.facts import RunStarted
from raysearch.jobs import SHORT, Job, Result
from raysearch.seeds import stream
from raysearch.testing.advice import reply
from raysearch.types import (
    Challenge,
    Change,
    Commit,
    Comparison,
    Contest,
    Measurement,
    Mutation,
    Objective,
    Plan,
    Stage,
    Standing,
    Tree,
    Usage,
    Verdict,
)

Point = tuple[int, int]

OBJECTIVES = (
    Objective("speed", "max", unit="1/s", noise=0.01, primary=True),
    Objective("size", "min", unit="kB"),
)
JUDGES = ("build", "accuracy", "audit")
FINAL = ("traced", "holdout")
BENCHMARKS = ("timing", "footprint")


@dataclass(frozen=True, slots=True)
class Odds:
    """How often a plug-in says no or breaks, each as a probability from 0 to 1."""

    crash: float = 0.0
    """A mutator, judge or benchmark raises its own fault, which is not tried again."""
    sandbox: float = 0.0
    """The sandbox cannot be set up, which is tried again."""
    refused: float = 0.0
    """The guard refuses a change."""
    same: float = 0.0
    """A mutator changes nothing."""
    no: float = 0.0
    """A judge says no, or a benchmark finds nothing to measure."""
    partial: float = 0.0
    """A benchmark leaves an objective out."""
    nonsense: float = 0.0
    """A plug-in answers with what no journal can hold."""


@dataclass(slots=True)
class World:
    """Does jobs as a worker would: what comes out depends on the job and ``seed`` alone.

    ``programs`` is the repository: commits that exist, whether or not a fact names them.
    """

    seed: int
    odds: Odds = Odds()
    programs: dict[Commit, Point] = field(default_factory=dict)

    def start(self, plan: Plan, seeded: bool) -> RunStarted:
        """The first fact of a run in this world."""
        point = (0, 0)
        tree = tree_of(point) if seeded else Tree(_hash("nothing"))
        origin = Commit(_hash("origin", tree))
        self.programs[origin] = point
        return RunStarted(
            run=f"world-{self.seed}",
            seed=self.seed,
            target="points",
            target_digest=_hash("points"),
            objectives=OBJECTIVES,
            plan=plan,
            origin=origin,
            origin_tree=tree,
            seeded=seeded,
        )

    def perform(self, job: Job) -> Result:
        """Raises the faults that ``odds`` hand out."""
        if job.consultation is not None:
            return self._advised(job)
        rng = stream(self.seed, job.stage, job.plugin, job.attempt, job.try_number)
        usage = Usage(cost_usd=round(rng.random() * 0.1, 4), calls=1) if job.stage is Stage.MUTATE else Usage()
        chance = rng.random()
        if chance < self.odds.crash:
            raise (MutatorFault if job.stage is Stage.MUTATE else EvaluatorFault)(f"{job.plugin} broke", usage)
        if chance < self.odds.crash + self.odds.sandbox:
            raise SandboxFault("no namespace to be had", usage)
        if chance < self.odds.crash + self.odds.sandbox + self.odds.nonsense:
            return self._nonsense(job)
        match job.stage:
            case Stage.MUTATE:
                return self._mutated(job, rng, usage)
            case Stage.JUDGE:
                return self._judged(rng)
            case Stage.BENCHMARK if job.challenge is not None:
                return self._contested(job, job.challenge, rng)
            case Stage.BENCHMARK:
                return self._measured(job, rng)

    def _advised(self, job: Job) -> Result:
        rng = stream(self.seed, "consult", job.plugin, job.consultation or 0, job.try_number)
        usage = Usage(cost_usd=round(rng.random() * 0.02, 4), calls=1) if job.stage is Stage.MUTATE else Usage()
        chance = rng.random()
        if chance < self.odds.crash:
            raise EvaluatorFault(f"the {job.plugin} has no reply", usage)
        if chance < self.odds.crash + self.odds.sandbox:
            raise SandboxFault("no namespace to be had", usage)
        if chance < self.odds.crash + self.odds.sandbox + self.odds.nonsense:
            return rng.choice((Verdict(True, "a verdict, where a reply was due"), Reply("a lone surrogate: \udc80")))
        return reply(job.plugin, OBJECTIVES, rng, usage)

    def _mutated(self, job: Job, rng: random.Random, usage: Usage) -> Change:
        x, y = before = self.programs[job.base]
        if rng.random() >= self.odds.same:
            x, y = x + rng.randint(-2, 3), y + rng.randint(-2, 3)
        tree = tree_of((x, y))
        commit = Commit(_hash("commit", tree, *job.parents, job.attempt, int(job.opened_at_s)))
        self.programs[commit] = (x, y)
        refusal = "changed what must not change" if rng.random() < self.odds.refused else ""
        return Change(commit, tree, Mutation(f"to {x}, {y}", f"was at {before}", usage), refusal)

    def _judged(self, rng: random.Random) -> Verdict:
        passed = rng.random() >= self.odds.no
        return Verdict(passed, "" if passed else f"not convincing ({rng.randint(0, 9)})")

    def _measured(self, job: Job, rng: random.Random) -> Result:
        if rng.random() < self.odds.no / 4:
            return Verdict(False, "it did not run to its end")
        x, y = self.programs[job.base]
        fast, small = self._truth(job.base)
        speed = Measurement("speed", tuple(fast + rng.choice((0.0, 0.25)) for _ in range(3)), "1/s", "max")
        size = Measurement("size", (small,), "kB", "min")
        heat = Measurement("heat", (float(x * y),), "W", "min")
        if rng.random() < self.odds.partial:
            return (heat,)
        found = {"timing": (speed, heat), "footprint": (size,), "both": (speed, size), SHORT: (speed, size)}
        return found[job.plugin]

    def _contested(self, job: Job, challenge: Challenge, rng: random.Random) -> Result:
        """Better where it truly is, mostly; what cannot be settled now and then stays so."""
        if rng.random() < self.odds.no / 4:
            return Verdict(False, "it did not run to its end, beside another")
        own, other = self._truth(job.base), self._truth(challenge.commit)
        better = own[0] > other[0] or own[1] < other[1]
        verdict: Standing = "better" if better else "no_worthwhile_gain"
        if rng.random() < self.odds.no:
            verdict = "unsettled"
        comparisons = tuple(
            Comparison(axis.name, axis.goal, axis.unit, False, axis.sign * (a - b), None, None, 0.95, 8, 1.0, verdict)
            for axis, a, b in zip(OBJECTIVES, own, other, strict=True)
        )
        mood = rng.choice((0.0, 0.5))  # of the machine, in this minute
        mine, theirs = (
            tuple(
                Measurement(o.name, (value + mood,) * 4, o.unit, o.goal)
                for o, value in zip(OBJECTIVES, side, strict=True)
            )
            for side in (own, other)
        )
        return Contest(verdict, comparisons, mine, 8, theirs)

    def _truth(self, commit: Commit) -> tuple[float, float]:
        x, y = self.programs[commit]
        return float(40 + 3 * x - abs(y)), float(30 + abs(x) - 2 * y)

    def _nonsense(self, job: Job) -> Result:
        match job.stage:
            case Stage.MUTATE:
                return Verdict(True, "a verdict, where a change was due")
            case Stage.JUDGE:
                return Verdict(False, "a lone surrogate: \udc80")
            case Stage.BENCHMARK:
                return (Measurement("speed", (float("nan"),), "1/s", "max"),)


def tree_of(point: Point) -> Tree:
    """Equal points are equal programs."""
    return Tree(_hash("tree", *point))


def _hash(*parts: str | int) -> str:
    return hashlib.sha1(repr(parts).encode(), usedforsecurity=False).hexdigest()
