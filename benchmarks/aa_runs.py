"""Who gets onto the frontier of a whole run? A mutator that changes nothing but a comment, and now and then a little.

    python benchmarks/aa_runs.py [--nulls 1000] [--gains 100] [--rule raysearch median-5 ...]
    python benchmarks/aa_runs.py --real [--nulls 100] [--gains 30]

The production engine with real git, a real checker and a real benchmark, in this process. Every child is made from the
program that stands on the frontier then: a null is that program but for a comment, a gain is 3 % faster besides. So a
null that gets onto the frontier is a false entry.

The benchmark is instant, and states times that it draws from a simulated machine, whose state is a function of the hour
with a thousand simulated seconds a second: log-normal noise of 10 %, times a drift (standard deviation 3 %, another
every 20 minutes), and every minute or so a burst that slows up to ten seconds by up to half. ``--real`` times a loop
on this machine instead, whose noise is its own: a sample is the best of 20 times, together some milliseconds. Costs are
seconds that samples state; the rival's in a contest are taken to be as many as the candidate's.

Rules: ``raysearch`` is what a run does by itself, but for ``[confirm] min_effect``, which is the gain; by
``raysearch-0`` nobody meets a member that looks better (``margin = 0``). ``median-K`` is ``[confirm] on = false``: the
better median of K samples wins. Checks against cheating are off: they are not asked here.
Intervals are Wilson's, of 95 %.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import ClassVar

from aa_test import Tally, table

from population.policies.breeder import Breeder
from raysearch.config.layers import Override, configure
from raysearch.facts import AttemptClosed, Compared, Entry, Measured
from raysearch.jobs import Job
from raysearch.plugins import known_names
from raysearch.protocols import Sink, View, Workspace
from raysearch.run.start import start
from raysearch.types import SEED, AttemptId, Brief, Mutation, Proposal

ARGUMENTS = """
    import argparse, json, math, pathlib, random, runpy, time
    parser = argparse.ArgumentParser()
    for name in ("candidate", "reference", "seed", "result"):
        parser.add_argument("--" + name)
    given = parser.parse_args()
"""
CHECKER = """
    pathlib.Path(given.result).write_text(json.dumps({"schema": "raysearch.verdict/1", "passed": True}))
"""
STATED = """
    speed = runpy.run_path(str(pathlib.Path(given.candidate) / "program.py"))["SPEED"]
    now_s, noise = int(time.time() * 1000), random.SystemRandom()

    def drift(second):
        knot, between = divmod(second / 1200, 1)
        one, other = (random.Random(f"{SEED} drift {knot + step}").gauss(0, 0.03) for step in (0, 1))
        return (one * (1 - between) + other * between) / math.hypot(between, 1 - between)

    def burst(second):
        block, place = divmod(second, 10)
        rng = random.Random(f"{SEED} burst {block}")
        begins, takes, slowed = rng.randrange(60), rng.randint(1, 10), rng.uniform(1, 2)
        return slowed if begins <= place < begins + takes else 1.0

    seconds = range(now_s, now_s + SAMPLES)
    samples = [math.exp(drift(s) + noise.gauss(0, 0.1)) * burst(s) / speed for s in seconds]
"""
TIMED = """
    work = runpy.run_path(str(pathlib.Path(given.candidate) / "program.py"))["work"]
    samples = []
    for _ in range(SAMPLES):
        times = []
        for _ in range(REPEATS):
            begun = time.perf_counter()
            work()
            times.append(time.perf_counter() - begun)
        samples.append(min(times))
"""
TOLD = """
    pathlib.Path(given.result).write_text(json.dumps({"schema": "raysearch.metrics/1", "metrics": [
        {"name": "time", "unit": "s", "direction": "min", "samples": samples}]}))
"""
REPEATS = 20
"""Of a program that is timed: the best counts, for the scheduler slows many."""
PROGRAM = """\
# The seed.
SPEED = 1.0


def work():
    return sum(number * number % 7 for number in range(int(10_000 / SPEED)))
"""
OBJECTIVE = '[[objective]]\nname = "time"\ndirection = "min"\nunit = "s"\nprimary = true\n'


def make_target(folder: Path, samples: int, *, real: bool, seed: int) -> None:
    """Write the target."""
    told = f"SAMPLES, SEED, REPEATS = {samples}, {seed}, {REPEATS}\n"
    files = {
        "OBJECTIVE.md": "Make it faster.\n",
        "objectives.toml": OBJECTIVE,
        "target.toml": '[warm]\nimports = ["json", "random", "runpy"]\n[candidate]\neditable = ["program.py"]\n',
        "accuracy_checker/checker.py": dedent(ARGUMENTS) + dedent(CHECKER),
        "benchmark/benchmark.py": dedent(ARGUMENTS) + told + dedent(TIMED if real else STATED) + dedent(TOLD),
        "reference/program.py": PROGRAM,
        "seed/program.py": PROGRAM,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


class Comment:
    """Mutator: another comment; in a share ``gains`` of the cases the program is also faster by ``gain``."""

    def __init__(self, gains: float = 0.0, gain: float = 0.03) -> None:
        self.gains, self.gain = gains, gain

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:  # noqa: ARG002
        file = workspace.path / "program.py"
        _, assignment, *rest = file.read_text().splitlines(keepends=True)
        better = rng.random() < self.gains
        speed = float(assignment.partition("= ")[2]) * (1 + self.gain if better else 1.0)
        file.write_text("".join([f"# Number {rng.getrandbits(64)}.\n", f"SPEED = {speed!r}\n", *rest]))
        return Mutation("gain" if better else "null")


@dataclass(kw_only=True, eq=False)
class FromTheBest(Breeder):
    """Policy: every child is made from what stands on the frontier."""

    name: ClassVar[str] = "from-the-best"

    def _labels(self, _view: View, slots: int, /) -> list[str]:
        return [""] * slots

    def _child(self, _view: View, label: str, rng: random.Random, /) -> Proposal:
        return Proposal((self._frontier.members[0],), self._mutator(rng), Brief(), lineage=label)

    def standing(self, attempt: AttemptId) -> bool:
        """Whether it stands on the frontier."""
        return attempt in self._frontier.members


@dataclass
class Record:
    """A sink that notes who got in and what it took."""

    samples: int
    """Of one run of the benchmark."""
    tallies: dict[str, Tally] = field(default_factory=dict)
    won: dict[str, int] = field(default_factory=dict)
    """Contests for a place that ended as better, by kind."""
    pairs: dict[str, list[int]] = field(default_factory=dict)
    """Of contests for a place, by kind."""
    frontier: FromTheBest = field(default_factory=lambda: FromTheBest(mutators=("Comment",)))
    """Is told what the run's policy is told."""
    _measured: dict[AttemptId, float] = field(default_factory=dict)
    _met: dict[AttemptId, list[Compared]] = field(default_factory=dict)

    def told(self, entry: Entry) -> None:
        fact = entry.fact
        self.frontier.tell(fact)
        if isinstance(fact, Measured):
            self._measured[fact.attempt] = sum(fact.measurements[0].samples)
        elif isinstance(fact, Compared):
            self._met.setdefault(fact.attempt, []).append(fact)
        elif isinstance(fact, AttemptClosed):
            self._closed(fact)

    def _closed(self, fact: AttemptClosed) -> None:
        candidate = fact.candidate
        if candidate is None:
            sys.exit(f"attempt {fact.attempt} was {fact.outcome}: {fact.reason}")
        if fact.attempt == SEED:
            return
        kind = candidate.summary
        tally = self.tallies.setdefault(kind, Tally())
        tally.admitted += self.frontier.standing(fact.attempt)
        took_s = self._measured.pop(fact.attempt)
        for met in self._met.pop(fact.attempt, []):
            took_s += 2 * met.contest.pairs * self.samples * met.contest.measurements[0].value
            if not met.reference:
                self.pairs.setdefault(kind, []).append(met.contest.pairs)
                self.won[kind] = self.won.get(kind, 0) + (met.contest.verdict == "better")
        tally.took_s.append(took_s)

    def started(self, job: Job) -> None: ...
    def close(self) -> None: ...


def search(rule: str, arguments: argparse.Namespace) -> Record:
    """One whole run. Nothing of it stays on the disk."""
    with tempfile.TemporaryDirectory(prefix="aa-runs-") as name:
        folder = Path(name)
        confirmed = not rule.startswith("median")
        samples = arguments.samples if confirmed else int(rule.rpartition("-")[2])
        make_target(folder / "target", samples, real=arguments.real, seed=arguments.seed)
        record, attempts = Record(samples), arguments.nulls + arguments.gains
        values = {
            "run.target": str(folder / "target"),
            "run.runs_dir": str(folder / "runs"),
            "run.pool": "inline",
            "run.seed": arguments.seed,
            "run.outer_loop": f"{Path(__file__).resolve()}:FromTheBest",
            "run.mutators": [f"{Path(__file__).resolve()}:Comment"],
            "mutator.Comment.gains": arguments.gains / attempts,
            "mutator.Comment.gain": arguments.gain,
            "limits.max_candidates": attempts,
            "audit.static": False,
            "audit.traced": False,
            "audit.holdout": False,
            "confirm.on": confirmed,
            "confirm.min_effect": arguments.gain,
        }
        if rule == "raysearch-0":
            values |= {"confirm.margin": 0.0}
        overrides = [Override(tuple(key.split(".")), value, "benchmark") for key, value in values.items()]

        def sink(_: object) -> Sink:
            return record

        start(configure(None, overrides, known=known_names()), sink, lambda: "")
        shutil.rmtree(folder, ignore_errors=True)
    return record


def contests(rule: str, record: Record) -> str:
    """What there was of contests, in a line."""
    told = []
    for kind in ("null", "gain"):
        pairs = sorted(record.pairs.get(kind, []))
        if pairs:
            told.append(
                f"{len(pairs)} contests of {kind}s, of {pairs[len(pairs) // 2]} pairs in the median, "
                f"{record.won[kind]} won"
            )
    return f"{rule}: {'; '.join(told)}" if told else ""


RULES: Sequence[str] = ("raysearch", "raysearch-0", "median-3", "median-5", "median-10")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nulls", type=int, default=1000, help="about so many; coins decide")
    parser.add_argument("--gains", type=int, default=100)
    parser.add_argument("--gain", type=float, default=0.03)
    parser.add_argument("--samples", type=int, default=25, help="of a benchmark's run, where there are contests (25)")
    parser.add_argument("--rule", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--real", action="store_true", help="time a loop on this machine")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if min(arguments.nulls, arguments.gains, arguments.samples) < 1:
        parser.error("one null, one gain and one sample at least")
    begun_s, records = time.monotonic(), {}
    for rule in arguments.rule:
        records[rule] = search(rule, arguments)
        print(contests(rule, records[rule]), flush=True)
    print(table({rule: record.tallies for rule, record in records.items()}))
    print(f"\nseed {arguments.seed}; {time.monotonic() - begun_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
