"""The search itself, on problems whose answer is known: hypervolume of `evolve` beside NSGA-II's.

ZDT1, ZDT2 and DTLZ2, minimised, as targets of the production engine: steady-state, one program after the other,
from one random point; a program is a vector of numbers. `evolve` is as it comes. NSGA-II is pymoo's, as it comes: a
population of 100 from 100 random points. Both evaluate equally often. NSGA-II is measured by the frontier of everything
that it evaluated, as `evolve` is, which is more than it keeps; its last population is shown beside that.

Variation is pymoo's for both, simulated binary crossover for nine children in ten and polynomial mutation. How close
children stay to their parents is one number for NSGA-II. `evolve` has three mutators, with three step sizes, among
which it chooses by credit; a second row shows it with a single one, whose numbers are NSGA-II's.

``--lanes`` compares `evolve` with itself: one child after the other, so many lanes that answer in a random order, and
generations of as many children that wait for their last. All evaluate equally often. Beside the hypervolume stands what
lanes do to a child: how many candidates were admitted between its being asked for and its end. NSGA-II, steady-state,
with one lane and with as many says how much of a loss any search has whose parents are a few survivors: its population
is as large as what `evolve` breeds from, or its own hundred.

python benchmarks/numeric.py
python benchmarks/numeric.py --lanes 16 --evaluations 2000
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.algorithms.moo.nsga2 import NSGA2, RankAndCrowding
from pymoo.core.callback import Callback
from pymoo.core.population import Population
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from mutators.variation import Numbers, crossed, mutated
from population.policies.evolve import SURVIVORS, Evolve
from population.ranking import fronts, hypervolume
from raysearch.engine import Engine
from raysearch.facts import Entry, RunStarted, SessionOpened
from raysearch.jobs import Job, Result
from raysearch.protocols import Answer, Pool
from raysearch.seeds import number, stream
from raysearch.testing.simulated import DirectPool, FakeClock
from raysearch.types import Change, Commit, Limits, Measurement, Objective, Plan, Stage, Step, Tree
from raysearch.views.staleness import Staleness

Points = npt.NDArray[np.float64]
"""Shape (points, objectives), less being better."""

PROBLEMS: Mapping[str, tuple[Mapping[str, int], float]] = {
    "zdt1": ({"n_var": 30}, 1.1**2 - 1 / 3),
    "zdt2": ({"n_var": 30}, 1.1**2 - 2 / 3),
    "dtlz2": ({"n_var": 12, "n_obj": 3}, 1.1**3 - np.pi / 6),
}
"""Their sizes as published, and the hypervolume of the true frontier."""
REFERENCE = 1.1
"""The reference point's value in every objective."""
MATING = 0.9
"""Share of children with a mate, as in NSGA-II; an option of ``tune``."""
Etas = Mapping[str, tuple[float, float]]
"""Mutators by name: how close their children stay to their parents when crossed, and when mutated."""
STEPS: Etas = {"far": (2.0, 2.0), "middle": (15.0, 15.0), "near": (100.0, 100.0)}
NSGA2S: Etas = {"only": (15.0, 20.0)}
NSGA2_SIZE = 100
RESAMPLES = 10_000


@dataclass(slots=True)
class Vectors:
    """Does jobs: programs are vectors, named by their hashes."""

    problem: Any
    seed: int
    etas: Etas
    programs: dict[Commit, Numbers] = field(default_factory=dict)
    evaluated: list[Numbers] = field(default_factory=list)
    """What was measured, in order."""

    def origin(self) -> Commit:
        """A random program to start from."""
        draws = np.random.default_rng(number(self.seed, "origin"))
        return self._keep(draws.uniform(self.problem.xl, self.problem.xu), "origin")[0]

    def perform(self, job: Job) -> Result:
        if job.stage is Stage.MUTATE:
            draws = np.random.default_rng(number(self.seed, job.stage, job.attempt))
            mates = [self.programs[other.commit] for other in job.brief.inspirations]
            return Change(
                *self._keep(self._child(self.programs[job.base], mates, self.etas[job.plugin], draws), job.attempt)
            )
        values = self.problem.evaluate(self.programs[job.base][None, :])[0]
        self.evaluated.append(values)
        return tuple(Measurement(f"f{n}", (float(value),), goal="min") for n, value in enumerate(values))

    def _child(
        self, parent: Numbers, mates: Sequence[Numbers], etas: tuple[float, float], draws: np.random.Generator
    ) -> Numbers:
        low, high, child = self.problem.xl, self.problem.xu, parent
        if mates and draws.random() < MATING:
            child = crossed(child, mates[int(draws.integers(len(mates)))], low, high, etas[0], draws)
        chosen = draws.random(len(child)) < 1.0 / len(child)
        if not chosen.any() and np.array_equal(child, parent):
            chosen[draws.integers(len(child))] = True
        return np.where(chosen, mutated(child, low, high, etas[1], draws), child) if chosen.any() else child

    def _keep(self, program: Numbers, origin: int | str) -> tuple[Commit, Tree]:
        tree = Tree(hashlib.sha1(program.tobytes(), usedforsecurity=False).hexdigest())
        commit = Commit(hashlib.sha1(f"{tree} {origin}".encode(), usedforsecurity=False).hexdigest())
        self.programs[commit] = program
        return commit, tree


@dataclass(slots=True)
class Lanes:
    """A pool in which any of the jobs under way is as likely as any other to be done next."""

    perform: Callable[[Job], Result]
    rng: random.Random
    waiting: list[Job] = field(default_factory=list)

    def submit(self, job: Job) -> None:
        self.waiting.append(job)

    def next(self, timeout_s: float) -> Answer | None:  # noqa: ARG002 # nothing is waited for
        if not self.waiting:
            return None
        job = self.waiting.pop(self.rng.randrange(len(self.waiting)))
        return Answer(job, self.perform(job))

    def close(self) -> None:
        self.waiting.clear()


@dataclass(slots=True)
class Nowhere:
    """A journal that is not kept, and a sink that counts what children missed."""

    missed: Staleness = field(default_factory=Staleness)

    def append(self, entry: Entry) -> None: ...
    def replay(self) -> Iterator[Entry]:
        return iter(())

    def told(self, entry: Entry) -> None:
        self.missed.told(entry.fact)

    def started(self, job: Job) -> None: ...
    def close(self) -> None: ...


def evolved(name: str, seed: int, evaluations: int, etas: Etas = STEPS) -> Points:
    """All that a run of `evolve` evaluated, in order."""
    return searched(name, seed, evaluations, etas)[0]


def searched(
    name: str, seed: int, evaluations: int, etas: Etas = STEPS, lanes: int = 1, **options: Any
) -> tuple[Points, Staleness]:
    """`evolved` with so many lanes and options of the policy; and what its children missed."""
    world = Vectors(problem(name), seed, etas)
    objectives = tuple(Objective(f"f{n}", "min", primary=n == 0) for n in range(world.problem.n_obj))
    plan, origin, nowhere = Plan((Step(Stage.BENCHMARK, "values"),)), world.origin(), Nowhere()
    pool: Pool = DirectPool(world.perform) if lanes == 1 else Lanes(world.perform, stream(seed, "lanes"))
    engine = Engine(Evolve(mutators=tuple(etas), **options), pool, nowhere, FakeClock(), nowhere)
    start = RunStarted(name, seed, name, name, objectives, plan, origin, Tree("origin"), seeded=True)
    engine.run(start, SessionOpened(1, Limits(lanes, attempts_max=evaluations - 1), "here", 0, "0"))
    return np.array(world.evaluated), nowhere.missed


def nsga2(name: str, seed: int, evaluations: int) -> tuple[Points, list[Points]]:
    """All that a run of NSGA-II evaluated, in order, and its population after every hundred."""
    evaluated: list[Points] = []
    populations: list[Points] = []

    class Record(Callback):  # type: ignore[misc] # pymoo ships no types
        def notify(self, algorithm: Any) -> None:
            born = algorithm.off if algorithm.off is not None else algorithm.pop
            evaluated.append(born.get("F"))
            populations.append(algorithm.pop.get("F"))

    size = NSGA2_SIZE
    minimize(problem(name), NSGA2(pop_size=size), ("n_eval", evaluations), seed=seed, callback=Record())
    return np.concatenate(evaluated), populations


def nsga2_in_lanes(name: str, seed: int, evaluations: int, lanes: int, size: int) -> Points:
    """All that a steady-state NSGA-II evaluated, in order: each child replaces the worst of so many and itself.

    Any of the children under way, as many as there are ``lanes``, is as likely as any other to be evaluated next.
    """
    chosen, rng, draws = problem(name), stream(seed, "lanes"), np.random.default_rng(number(seed, "nsga2"))
    algorithm = NSGA2(pop_size=size, n_offsprings=1)
    algorithm.setup(chosen, seed=seed)
    population = Population.new(X=draws.uniform(chosen.xl, chosen.xu, (size, chosen.n_var)))
    population.set("F", chosen.evaluate(population.get("X")))
    evaluated, under_way = list(population.get("F")), list[Any]()
    survival = RankAndCrowding()
    population = survival.do(chosen, population, n_survive=size, algorithm=algorithm, random_state=draws)
    while len(evaluated) < evaluations:
        while len(under_way) < lanes:
            under_way.extend(algorithm.mating.do(chosen, population, 1, algorithm=algorithm, random_state=draws))
        child = Population.create(under_way.pop(rng.randrange(len(under_way))))
        child.set("F", chosen.evaluate(child.get("X")))
        evaluated.extend(child.get("F"))
        everybody = Population.merge(population, child)
        population = survival.do(chosen, everybody, n_survive=size, algorithm=algorithm, random_state=draws)
    return np.array(evaluated)


def drawn(name: str, seed: int, evaluations: int) -> Points:
    """Random points."""
    chosen = problem(name)
    draws = np.random.default_rng(number(seed, "random"))
    points: Points = chosen.evaluate(draws.uniform(chosen.xl, chosen.xu, (evaluations, chosen.n_var)))
    return points


def problem(name: str) -> Any:
    return get_problem(name, **PROBLEMS[name][0])


def volume(points: Points) -> float:
    """Hypervolume of the frontier of ``points``."""
    inside = [tuple(point) for point in (-points[(points < REFERENCE).all(axis=1)]).tolist()]
    frontier = [inside[index] for index in fronts(inside)[0]] if inside else []
    return hypervolume(frontier, (-REFERENCE,) * points.shape[1])


def interval(statistic: Callable[[Points], Points], *samples: Sequence[float]) -> tuple[float, float]:
    """95 % bootstrap interval of ``statistic``, which gets an array (samples, resamples, values)."""
    draws = np.random.default_rng(0)
    resampled = [draws.choice(np.array(values), (RESAMPLES, len(values))) for values in samples]
    low, high = np.percentile(statistic(np.array(resampled)), (2.5, 97.5))
    return float(low), float(high)


def row(title: str, volumes: Sequence[float]) -> str:
    low, high = interval(lambda resampled: np.median(resampled[0], axis=1), volumes)
    spread = f"{min(volumes):.4f} to {max(volumes):.4f}"
    return f"  {title:<28} {np.median(volumes):.4f}  [{low:.4f}, {high:.4f}]  {spread}"


def verdict(
    name: str, ours: Sequence[float], theirs: Sequence[float], who: str = "evolve is", whom: str = "NSGA-II"
) -> tuple[str, bool]:
    """One line, and whether the median of ``ours`` is at least that of ``theirs``."""
    gain = float(np.median(ours) - np.median(theirs))
    low, high = interval(lambda r: np.median(r[0], axis=1) - np.median(r[1], axis=1), ours, theirs)
    sure = "" if low > 0 or high < 0 else ", within what chance allows"
    words = "ahead of" if gain >= 0 else "behind"
    return f"  {name}: {who} {words} {whom}, by {gain:+.4f} [{low:+.4f}, {high:+.4f}]{sure}", gain >= 0


def compare(name: str, seeds: int, budgets: Sequence[int]) -> bool:
    """Print the tables of one problem; whether `evolve` reaches NSGA-II with every budget."""
    began_s, longest = time.monotonic(), max(budgets)
    ours = [evolved(name, seed, longest) for seed in range(seeds)]
    alike = [evolved(name, seed, longest, NSGA2S) for seed in range(seeds)]
    theirs = [nsga2(name, seed, longest) for seed in range(seeds)]
    chance = [drawn(name, seed, longest) for seed in range(seeds)]
    reached = []
    for budget in budgets:
        print(f"{name}, {budget} evaluations, {seeds} seeds; hypervolume, of {PROBLEMS[name][1]:.4f} at most")
        print(f"  {'':<28} median  95 % of the median  all seeds")
        found = [volume(points[:budget]) for points in ours]
        whole = [volume(points[:budget]) for points, _ in theirs]
        print(row("evolve", found))
        print(row("evolve, NSGA-II's variation", [volume(points[:budget]) for points in alike]))
        print(row("NSGA-II", whole))
        last = [populations[budget // NSGA2_SIZE - 1] for _, populations in theirs]
        print(row("NSGA-II, last population", [volume(points) for points in last]))
        print(row("random", [volume(points[:budget]) for points in chance]))
        line, enough = verdict(name, found, whole)
        print(f"{line}\n", flush=True)
        reached.append(enough)
    print(f"({time.monotonic() - began_s:.0f} s)\n", flush=True)
    return all(reached)


def compare_lanes(name: str, seeds: int, budgets: Sequence[int], lanes: int) -> bool:
    """Print the tables of one problem; whether with every budget many lanes come as far as one, or chance decides."""
    began_s, longest = time.monotonic(), max(budgets)
    generations = {"generational": True, "children_per_generation": lanes}
    ways: Mapping[str, tuple[int, Mapping[str, Any]]] = {
        "1 lane": (1, {}),
        f"{lanes} lanes": (lanes, {}),
        f"generations of {lanes}": (lanes, generations),
    }
    runs = {
        way: [searched(name, seed, longest, lanes=count, **options) for seed in range(seeds)]
        for way, (count, options) in ways.items()
    }
    known = {
        size: [[nsga2_in_lanes(name, seed, longest, n, size) for seed in range(seeds)] for n in (1, lanes)]
        for size in (SURVIVORS, NSGA2_SIZE)
    }
    reached = []
    for budget in budgets:
        print(f"{name}, {budget} evaluations, {seeds} seeds; hypervolume, of {PROBLEMS[name][1]:.4f} at most")
        print(f"  {'':<28} median  95 % of the median  all seeds")
        volumes = {way: [volume(points[:budget]) for points, _ in found] for way, found in runs.items()}
        for way, found in volumes.items():
            print(row(f"evolve, {way}", found))
        one, *others = volumes
        for way in others:
            line, enough = verdict(name, volumes[way], volumes[one], f"{way} are", one)
            print(line)
            reached.append(enough or "chance" in line or way.startswith("generations"))
        for size, (alone, many) in known.items():
            before, after = ([volume(points[:budget]) for points in found] for found in (alone, many))
            print(row(f"NSGA-II of {size}, 1 lane", before))
            print(row(f"NSGA-II of {size}, {lanes} lanes", after))
            print(verdict(name, after, before, f"NSGA-II of {size}: {lanes} lanes are", "1 lane")[0])
    for way, found in runs.items():
        missed = [count for _, count in found]
        mean = float(np.mean([count.mean for count in missed]))
        print(f"  {way}: a child missed {mean:.1f} candidates on average, {max(c.most for c in missed)} at most")
    print(f"({time.monotonic() - began_s:.0f} s)\n", flush=True)
    return all(reached)


def hundreds(text: str) -> int:
    """A number of evaluations that NSGA-II's populations come out even with. Raises ValueError."""
    number = int(text)
    if number < NSGA2_SIZE or number % NSGA2_SIZE:
        raise ValueError(text)
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=hundreds, nargs="+", default=[2000, 4000, 8000, 12000])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--problem", action="append", choices=list(PROBLEMS), help="repeatable; all if left out")
    parser.add_argument("--quick", action="store_true", help="2 seeds of 400 evaluations: does it run at all?")
    parser.add_argument("--lanes", type=int, help="compare so many lanes with one, instead")
    chosen = parser.parse_args()
    if chosen.lanes is not None and chosen.lanes < 2:
        parser.error("--lanes must be 2 or more")
    seeds, budgets = (2, [400]) if chosen.quick else (chosen.seeds, chosen.evaluations)
    problems = chosen.problem or PROBLEMS
    if chosen.lanes is not None:
        reached = [compare_lanes(name, seeds, budgets, chosen.lanes) for name in problems]
    else:
        reached = [compare(name, seeds, budgets) for name in problems]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
