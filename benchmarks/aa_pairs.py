"""What one contest costs, by effect and noise; and how often it is wrong, whatever the noise.

    python benchmarks/aa_pairs.py [--contests 300] [--level 0.001]
    python benchmarks/aa_pairs.py --errors [--contests 1000]

Costs: pairs (half the runs of the benchmark) until a contest is settled, with a smallest gain of 2 % on normal noise of
1 %, of 3 % on the simulated machine of aa_test.py (log-normal 10 %, drift, bursts).

Errors: two equal programs, 100 turns. Said is how often the evidence for one of them ever reaches one over the level, a
share that the level bounds: for noise that is heavy-tailed, drifts, jumps, comes in bursts, or depends on what was.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from statistics import fmean, median

from aa_test import Library, Machine, Run

from raysearch.seeds import stream
from raysearch.statistics.claims import Claim
from raysearch.statistics.duel import orders
from raysearch.statistics.paired import PairedTest

EFFECTS = (8.2, 0.2, 0.03, 0.0, -0.1, -0.5)
LEVELS = (0.05, 0.01, 0.001)
TURNS = 100
Draw = Callable[[], float]


def normal(rng: random.Random) -> Run:
    return lambda speed: (1 + rng.gauss(0, 0.01)) / speed


def machine(rng: random.Random) -> Run:
    return Machine(rng, 0.1, 0.03, 1 / 60)


def costs(contests: int, level: float) -> Iterator[str]:
    """The lines of a table."""
    yield "| noise | effect | pairs: mean | median | 90th percentile | called better |"
    yield "|---|---|---|---|---|---|"
    for name, made, least in (("normal 1 %", normal, 0.02), ("log-normal 10 %, drift, bursts", machine, 0.03)):
        for effect in EFFECTS:
            pairs, better = [], 0
            for number in range(contests):
                runs: list[float] = []
                noise = made(stream(number, name, effect, "noise"))

                def run(speed: float, runs: list[float] = runs, noise: Run = noise) -> float:
                    runs.append(noise(speed))
                    return runs[-1]

                rule = Library("fixed", level, least, 3000)
                better += rule.admits(1 + effect, run, stream(number, name, effect, "orders"))[0]
                pairs.append(len(runs) / 2)
            cells = [f"{fmean(pairs):.1f}", f"{median(pairs):.1f}", f"{sorted(pairs)[contests * 9 // 10]:.1f}"]
            yield "| " + " | ".join([name, f"{effect:+.0%}", *cells, f"{better / contests:.1%}"]) + " |"


def noises(rng: random.Random) -> dict[str, Draw]:
    """Times of one program, run after run."""
    runs = iter(range(10**9))
    moods = {"slow": 0.0, "back": 0.0, "burst": 0.0}

    def following(mood: str, memory: float, shock: Callable[[], float]) -> float:
        moods[mood] = memory * moods[mood] + math.sqrt(1 - memory**2) * shock()
        return math.exp(0.1 * moods[mood])

    def cauchy() -> float:
        return max(-30.0, min(30.0, math.tan(math.pi * (rng.random() - 0.5))))

    def bursts() -> float:
        moods["burst"] = rng.randint(1, 10) if rng.random() < 0.05 else moods["burst"] - 1
        return math.exp(rng.gauss(0, 0.05)) * (2 if moods["burst"] > 0 else 1)

    return {
        "normal, 1 %": lambda: math.exp(rng.gauss(0, 0.01)),
        "log-normal, 10 %": lambda: math.exp(rng.gauss(0, 0.1)),
        "Cauchy": lambda: math.exp(0.05 * cauchy()),
        "few values": lambda: 1 + rng.choice([0, 0, 0, 0, 0.01, 0.5]),
        "one of two speeds": lambda: rng.choice([1, 1, 1, 2]) * math.exp(rng.gauss(0, 0.01)),
        "bursts": bursts,
        "2 % slower each run": lambda: math.exp(0.02 * next(runs) + rng.gauss(0, 0.05)),
        "three times as slow from run 7 on": lambda: (3 if next(runs) > 6 else 1) * math.exp(rng.gauss(0, 0.001)),
        "every other run 10 % slower": lambda: (1.1 if next(runs) % 2 else 1) * math.exp(rng.gauss(0, 0.01)),
        "autocorrelated, 0.99": lambda: following("slow", 0.99, lambda: rng.gauss(0, 1)),
        "autocorrelated, -0.9": lambda: following("back", -0.9, lambda: rng.gauss(0, 1)),
        "autocorrelated Cauchy, 0.9": lambda: following("slow", 0.9, lambda: cauchy() / 5),
    }


def errors(contests: int) -> Iterator[str]:
    """The lines of a table."""
    yield "| noise | " + " | ".join(f"at level {level:g}" for level in LEVELS) + " |"
    yield "|---|" + "---|" * len(LEVELS)
    for name in noises(random.Random(0)):
        most: list[float] = []
        for number in range(contests):
            draw, test = noises(stream(number, name, "noise"))[name], PairedTest(Claim("time", "min", "s", 0.03))
            better = worse = 0.0
            for first in islice(orders(stream(number, name, "orders")), TURNS):
                if test.apart:
                    test.add_alone(draw(), first)
                else:
                    one, two = draw(), draw()
                    test.add(*((one, two) if first else (two, one)), first)
                better, worse = max(better, test.e_better), max(worse, test.e_worse)
            most += [better, worse]
        yield f"| {name} | " + " | ".join(f"{fmean(e >= 1 / level for e in most):.2%}" for level in LEVELS) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contests", type=int, default=300, help="of each kind")
    parser.add_argument("--level", type=float, default=0.001, help="of a contest")
    parser.add_argument("--errors", action="store_true")
    arguments = parser.parse_args()
    if arguments.contests < 1 or not 0 < arguments.level < 1:
        parser.error("one contest at least, and a level between 0 and 1")
    for line in errors(arguments.contests) if arguments.errors else costs(arguments.contests, arguments.level):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
