"""Who gets in? The same program again and again, among true gains, through the comparison and through fixed repeats.

    python benchmarks/aa_test.py [--nulls 1000] [--gains 300] [--slower 300] [--seeds 1 2 3]
    python benchmarks/aa_test.py --real python [--nulls 100] [--gains 100] [--slower 30]

One incumbent, and a stream of candidates in random order: nulls (the incumbent but for a comment), gains (3 % faster)
and slower ones (a tenth slower). None takes the incumbent's place, so that each has the same to beat. The machine is
simulated: a run takes a second, times log-normal noise of 10 %, times a drift (stationary, over about 20 minutes,
standard deviation 3 %), and now and then a burst that slows the next few runs by up to half. ``--real`` runs a small
workload on this machine instead, whose noise is its own.

``library``: a duel in turns that coins order, which stops when the claim is settled. The evidence asked for is that of
a fixed level for each candidate, or e-LOND's for all of them. Beside it the usual rules. For those that do not
interleave, the incumbent was measured once, at the start, with as many repeats as a candidate has. ``paired t-test``
has a number of pairs fixed beforehand, for 90 % power if noise were normal and known.

Seconds are those of all runs of candidate and incumbent. Intervals are Wilson's, of 95 %.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist, fmean, median, stdev

from raysearch.seeds import stream
from raysearch.statistics.claims import Claim
from raysearch.statistics.discovery import Control, level
from raysearch.statistics.duel import Duel, orders

METRIC = "time"
Run = Callable[[float], float]
"""One run of a program so many times as fast as the incumbent: seconds."""


@dataclass
class Machine:
    """Simulated; see above."""

    rng: random.Random
    noise: float
    drift: float
    burst: float
    memory: float = math.exp(-1 / 1200)
    slow: int = 0
    factor: float = 1.0
    mood: float = 0.0

    def __call__(self, speed: float) -> float:
        self.mood = self.memory * self.mood + self.drift * math.sqrt(1 - self.memory**2) * self.rng.gauss(0, 1)
        if self.slow:
            self.slow -= 1
        elif self.rng.random() < self.burst:
            self.slow, self.factor = self.rng.randint(1, 10), self.rng.uniform(1, 2)
        slowed = self.factor if self.slow else 1.0
        return math.exp(self.mood + self.rng.gauss(0, self.noise)) * slowed / speed


WORKLOADS: dict[str, Callable[[int], object]] = {
    "python": lambda units: sum(number * number % 7 for number in range(units * 40)),
    "c": lambda units: zlib.crc32(bytes(units * 4000)),
}
UNITS = 1000


def timed(workload: Callable[[int], object]) -> Run:
    """A run on this machine: the incumbent does `UNITS` of work, a faster one fewer."""

    def run(speed: float) -> float:
        units = round(UNITS / speed)
        begun_s = time.perf_counter()
        workload(units)
        return time.perf_counter() - begun_s

    return run


class Library:
    """Duel and discovery control."""

    def __init__(self, control: Control, alpha: float, min_effect: float, pairs_max: int) -> None:
        self.name = f"library, {control} {alpha:.3g}"
        self.claim = Claim(METRIC, "min", "s", min_effect)
        self.control: Control = control
        self.alpha = alpha
        self.pairs_max = pairs_max
        self.tests = self.discoveries = 0

    def begin(self, run: Run) -> None:
        pass

    def admits(self, speed: float, run: Run, rng: random.Random) -> tuple[bool, float]:
        """Whether a candidate gets in, and the seconds that this took."""
        alpha = level(self.control, self.alpha, self.tests, self.discoveries)
        duel, turns, took_s = Duel([self.claim], pairs_max=self.pairs_max), orders(rng), 0.0
        while not duel.settled(alpha):
            first = next(turns)
            if duel.apart(alpha):
                values = [run(speed if first else 1.0)]
                duel.add_alone({METRIC: values[0]}, first)
            else:
                values = [run(speed), run(1.0)] if first else [run(1.0), run(speed)][::-1]
                duel.add({METRIC: values[0]}, {METRIC: values[1]}, first)
            took_s += sum(values)
        better = duel.verdict(alpha) == "better"
        self.tests += 1
        self.discoveries += better
        return better, took_s


class Repeats:
    """A candidate's repeats beside the incumbent's, which were measured once: the better summary wins."""

    def __init__(self, count: int, summary: Callable[[Sequence[float]], float], name: str, margin: float = 0.0) -> None:
        self.name = f"{name} of {count}" + (f", by {margin:.1%} or more" if margin else "")
        self.count, self.summary, self.margin = count, summary, margin
        self.bar = 0.0

    def begin(self, run: Run) -> None:
        self.bar = self.summary([run(1.0) for _ in range(self.count)])

    def admits(self, speed: float, run: Run, _: random.Random) -> tuple[bool, float]:
        samples = [run(speed) for _ in range(self.count)]
        return self.summary(samples) * (1 + self.margin) < self.bar, sum(samples)


class PairedT:
    """A number of interleaved pairs that is fixed beforehand, and a one-sided t-test of their log-ratios."""

    def __init__(self, gain: float, noise: float, alpha: float = 0.01, power: float = 0.9) -> None:
        normal = NormalDist()
        self.bar = normal.inv_cdf(1 - alpha)
        reach = self.bar + normal.inv_cdf(power)
        self.count = max(10, math.ceil(2 * (reach * noise / math.log1p(gain)) ** 2))
        self.name = f"paired t-test, {self.count} pairs, {alpha:.0%}"

    def begin(self, run: Run) -> None:
        pass

    def admits(self, speed: float, run: Run, rng: random.Random) -> tuple[bool, float]:
        gaps, took_s, turns = [], 0.0, orders(rng)
        for _ in range(self.count):
            first = next(turns)
            a_s, b_s = (run(speed), run(1.0)) if first else (run(1.0), run(speed))[::-1]
            gaps.append(math.log(b_s / a_s))
            took_s += a_s + b_s
        return fmean(gaps) / (stdev(gaps) / math.sqrt(len(gaps))) > self.bar, took_s


Rule = Library | Repeats | PairedT


@dataclass
class Tally:
    """What one rule did with one kind of candidate."""

    admitted: int = 0
    took_s: list[float] = field(default_factory=list)

    def share(self) -> str:
        low, high = wilson(self.admitted, len(self.took_s))
        return f"{self.admitted}/{len(self.took_s)} = {self.admitted / len(self.took_s):.1%} ({low:.1%} – {high:.1%})"

    def cost(self) -> str:
        mean_s = fmean(self.took_s)
        error_s = 1.96 * stdev(self.took_s) / math.sqrt(len(self.took_s)) if len(self.took_s) > 1 else math.nan
        return f"{mean_s:.3g} ± {error_s:.2g}"


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, scale = hits / count, 1 + z * z / count
    middle = (share + z * z / (2 * count)) / scale
    reach = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / scale
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def candidates(arguments: argparse.Namespace, seed: int) -> list[tuple[str, float]]:
    """Kinds and speeds, in random order."""
    kinds = [("null", 1.0)] * arguments.nulls
    kinds += [("gain", 1 + arguments.gain)] * arguments.gains + [("slower", 1 / 1.1)] * arguments.slower
    stream(seed, "order").shuffle(kinds)
    return kinds


def rules(arguments: argparse.Namespace) -> list[Rule]:
    min_effect = arguments.min_effect or arguments.gain
    made: list[Rule] = [
        Library("fixed", 0.01, min_effect, arguments.pairs_max),
        Library("fixed", 0.005, min_effect, arguments.pairs_max),
        Library("e-lond", 0.05, min_effect, arguments.pairs_max),
    ]
    made += [Repeats(count, median, "median") for count in (5, 20, 100)]
    made += [Repeats(100, median, "median", arguments.gain / 2)]
    made += [Repeats(count, min, "best") for count in (5, 20)]
    return made if arguments.real else [*made, PairedT(arguments.gain, arguments.noise)]


def study(arguments: argparse.Namespace, seed: int, tallies: dict[str, dict[str, Tally]]) -> None:
    """All rules on one stream of candidates. Simulated, each has a machine of its own from the same seed."""
    for rule in rules(arguments):
        if arguments.real:
            run: Run = timed(WORKLOADS[arguments.real])
        else:
            run = Machine(stream(seed, "machine"), arguments.noise, arguments.drift, arguments.burst)
        coins = stream(seed, "orders", rule.name)
        rule.begin(run)
        for kind, speed in candidates(arguments, seed):
            better, took_s = rule.admits(speed, run, coins)
            tally = tallies.setdefault(rule.name, {}).setdefault(kind, Tally())
            tally.admitted += better
            tally.took_s.append(took_s)


def table(tallies: dict[str, dict[str, Tally]]) -> str:
    kinds = [kind for kind in ("null", "gain", "slower") if any(kind in found for found in tallies.values())]
    titles = {"null": "nulls admitted", "gain": "gains admitted", "slower": "slower admitted"}
    head = ["rule", *(titles[kind] for kind in kinds), "false of admitted", *(f"s a {kind}" for kind in kinds)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, found in tallies.items():
        admitted = sum(tally.admitted for tally in found.values())
        false = admitted - found.get("gain", Tally()).admitted
        cells = [name, *(found[kind].share() for kind in kinds), f"{false / max(admitted, 1):.1%}"]
        lines.append("| " + " | ".join([*cells, *(found[kind].cost() for kind in kinds)]) + " |")
    return "\n".join(lines)


def picture(tallies: dict[str, dict[str, Tally]], path: Path) -> None:
    """What each rule lets in, against what it costs."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 0.4 * len(tallies) + 1.6), sharey=True)
    names, places = list(tallies), range(len(tallies))
    for kind, colour, shift in (("null", "tab:red", -0.2), ("gain", "tab:green", 0.2)):
        found = [tallies[name][kind] for name in names]
        shares = [tally.admitted / len(tally.took_s) for tally in found]
        ends = [wilson(tally.admitted, len(tally.took_s)) for tally in found]
        errors = [[max(s - low, 0) for s, (low, _) in zip(shares, ends, strict=True)]]
        errors += [[max(high - s, 0) for s, (_, high) in zip(shares, ends, strict=True)]]
        at = [place + shift for place in places]
        axes[0].barh(at, shares, 0.35, color=colour, xerr=errors, label=f"{kind}s")
        axes[1].barh(at, [fmean(tally.took_s) for tally in found], 0.35, color=colour, label=f"a {kind}")
    axes[0].set(xlabel="share let in", xlim=(0, 1), yticks=list(places), yticklabels=names)
    axes[0].invert_yaxis()
    axes[1].set(xlabel="benchmark seconds", xscale="log")
    for axis in axes:
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
        axis.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nulls", type=int, default=1000)
    parser.add_argument("--gains", type=int, default=300)
    parser.add_argument("--slower", type=int, default=300)
    parser.add_argument("--gain", type=float, default=0.03, help="of the true gains (0.03)")
    parser.add_argument("--min-effect", type=float, help="the smallest gain worth claiming (that of the true gains)")
    parser.add_argument("--pairs-max", type=int, default=3000, help="of one duel (3000)")
    parser.add_argument("--noise", type=float, default=0.1, help="simulated, relative (0.1)")
    parser.add_argument("--drift", type=float, default=0.03, help="simulated, relative (0.03)")
    parser.add_argument("--burst", type=float, default=1 / 60, help="simulated: chance that one begins with a run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--real", choices=sorted(WORKLOADS), help="run this on this machine instead")
    parser.add_argument("--picture", type=Path, help="draw the table into this file")
    arguments = parser.parse_args()
    if min(arguments.nulls, arguments.gains, arguments.slower) < 1 or not arguments.gain > 0:
        parser.error("at least one candidate of each kind, and a gain above 0")
    tallies: dict[str, dict[str, Tally]] = {}
    begun_s = time.monotonic()
    for seed in arguments.seeds:
        study(arguments, seed, tallies)
    print(table(tallies))
    if arguments.picture:
        picture(tallies, arguments.picture)
    print(f"\nseeds {arguments.seeds}; {time.monotonic() - begun_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
