"""How long it takes to take up a run of 100,000 attempts: read and decode its journal, fold it, tell the policy.

python benchmarks/replay.py --attempts 100000 --policy evolve
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import cast

from raysearch.codec import encode
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Entry,
    Fact,
    Judged,
    Measured,
    Mutated,
    RunStarted,
    SessionOpened,
)
from raysearch.ledger import JOURNAL, read_journal
from raysearch.plugins import load
from raysearch.protocols import Policy
from raysearch.state import State
from raysearch.types import (
    SEED,
    AttemptId,
    Brief,
    Candidate,
    Change,
    Commit,
    Inspiration,
    Limits,
    Measurement,
    Mutation,
    Objective,
    Outcome,
    Plan,
    Proposal,
    Stage,
    Step,
    Tree,
    Usage,
    Verdict,
)

OBJECTIVES = (Objective("score", "max", primary=True), Objective("seconds", "min", unit="s"))
PLAN = Plan((Step(Stage.JUDGE, "accuracy"), Step(Stage.BENCHMARK, "benchmark")))


def facts(attempts: int, rng: Random) -> Iterator[Fact]:
    """A run as `evolve` would have it: two of three children admitted, each slowly better and shown four others."""
    yield RunStarted("replay", 0, "benchmark", "", OBJECTIVES, PLAN, Commit("0" * 40), Tree("f" * 40), True)
    yield SessionOpened(1, Limits(open_max=8), "host", 1, "0")
    admitted: list[Candidate] = []
    for number in range(attempts + 1):
        attempt = AttemptId(number)
        yield AttemptOpened(attempt, proposal(admitted, rng) if admitted else Proposal())
        parents = (admitted[-1].id,) if admitted else ()
        worker = "node:4711"
        change = Change(
            Commit(f"{rng.getrandbits(160):040x}"),
            Tree(f"{rng.getrandbits(160):040x}"),
            Mutation("Move the loop invariant out of the inner loop.", "", Usage(0.01, 5000, 4000, 900, 3, "model")),
        )
        yield Mutated(attempt, change, worker, 41.5)
        passed = attempt == SEED or rng.random() < 0.67
        yield Judged(attempt, "accuracy", Verdict(passed, "" if passed else "case 7: off by 0.25"), None, worker, 1.5)
        if not passed:
            yield AttemptClosed(attempt, Outcome.REJECTED, "accuracy: case 7: off by 0.25")
            continue
        score = number / attempts + rng.gauss(0.0, 0.2)
        measured = (
            Measurement("score", tuple(score + rng.gauss(0.0, 0.01) for _ in range(3)), "", "max"),
            Measurement("seconds", (abs(score) + rng.random(),), "s", "min"),
        )
        yield Measured(attempt, "benchmark", measured, None, worker, 12.5)
        candidate = Candidate(attempt, change.commit, change.tree, parents, measured, "default", "", "island-0")
        yield AttemptClosed(attempt, Outcome.ADMITTED, "", candidate)
        admitted = [*admitted[-200:], candidate]


def proposal(admitted: list[Candidate], rng: Random) -> Proposal:
    shown = [rng.choice(admitted) for _ in range(4)]
    brief = Brief(inspirations=tuple(Inspiration(c.id, c.commit, c.scores, c.summary) for c in shown))
    return Proposal((admitted[-1].id,), "default", brief, lineage="island-0")


def spent() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def since(began: tuple[float, float]) -> str:
    wall_s, cpu_s = (now - then for now, then in zip(spent(), began, strict=True))
    return f"{wall_s:.2f} s ({cpu_s:.2f} s of one core)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=100_000)
    parser.add_argument("--policy", default="evolve")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / JOURNAL
        with path.open("wb") as file:
            for seq, fact in enumerate(facts(chosen.attempts, Random(0)), start=1):
                file.write(encode(Entry(seq, 1.7e9 + seq, float(seq), fact)))
        size_mb = path.stat().st_size / 1e6
        began = spent()
        read = sum(1 for _ in read_journal(path))
        decoded = since(began)
        policy, state = cast(Policy, load("policies", chosen.policy, {})), State()
        began = spent()
        for entry in read_journal(path):
            state.apply(entry)
            policy.tell(entry.fact)
        folded = since(began)
    best = len(policy.best(state))
    print(f"{state.attempts_total:,} attempts, {read:,} facts, {size_mb:.0f} MB; {best} on the frontier")
    print(f"read and decoded in {decoded}; with fold and policy {chosen.policy} in {folded}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
