"""The whole idea in one small file: an evolutionary search that loses nothing, without Ray, git or a model.

    python examples/tiny.py journal.jsonl        # kill it at any moment, and start it again

A program is two coefficients, "a b", of the polynomial a*x + b. A mutator changes one, a judge throws out what is
wrong, a benchmark measures the rest: error (against 7*x - 4) and size, both to be small. Read from top to bottom; in
raysearch each part is a module, whose name stands in front.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Fact = dict[str, Any]  # what happened, such as {"fact": "mutate", "n": 3, "result": "4 0"}
SEED_PROGRAM, STAGES, LANES, ATTEMPTS, RETRIES = "1 1", ("mutate", "judge", "benchmark"), 3, 40, 1


def stream(seed: int, *name: object) -> random.Random:
    """seeds: randomness is a function of a name, so there is no generator to save, and order cannot matter."""
    return random.Random(f"{seed}/{name}")


@dataclass
class State:
    """state: a fold over facts. Nothing else changes it, so reading the journal again restores it."""

    opened: int = 0
    open: dict[int, dict[str, Any]] = field(default_factory=dict)
    programs: dict[int, str] = field(default_factory=dict)  # candidates: admitted programs ...
    scores: dict[int, tuple[float, ...]] = field(default_factory=dict)  # ... and what was measured of them
    known: dict[str, int] = field(default_factory=dict)  # program to the attempt that answers for it
    unfinished: dict[str, dict[str, Any]] = field(default_factory=dict)  # program to the attempt that broke over it

    def apply(self, fact: Fact) -> None:
        n, kind = fact["n"], fact["fact"]
        if kind == "opened":
            self.open[n], self.opened = {"parent": fact["parent"], "failed": 0}, n + 1
        elif kind == "failed":
            self.open[n]["failed"] += 1
        elif kind == "closed":
            attempt = self.open.pop(n)
            if fact["outcome"] == "admitted":
                self.programs[n], self.scores[n] = attempt["mutate"], tuple(attempt["benchmark"])
            elif fact["outcome"] == "failed" and "mutate" in attempt:  # what it had finished need not be paid again
                del self.known[attempt["mutate"]]
                self.unfinished[attempt["mutate"]] = attempt
        else:  # a stage was finished
            self.open[n] |= {kind: fact["result"], "failed": 0}
            if kind == "mutate":
                self.known.setdefault(fact["result"], n)


def advance(state: State, n: int) -> str | Fact:
    """lifecycle: what does an attempt need next? A stage, or a fact. Recovery and progress are one question."""
    attempt = state.open[n]
    if attempt["failed"] > RETRIES:
        return {"fact": "closed", "n": n, "outcome": "failed"}
    if "mutate" not in attempt:
        return "mutate" if n else {"fact": "mutate", "n": n, "result": SEED_PROGRAM}
    if attempt.get("judge") is False or state.known.get(attempt["mutate"], n) != n:
        return {"fact": "closed", "n": n, "outcome": "rejected"}
    due = next((stage for stage in STAGES if stage not in attempt), None)
    if due is None:
        return {"fact": "closed", "n": n, "outcome": "admitted"}
    earlier = state.unfinished.get(attempt["mutate"], {})
    return {"fact": due, "n": n, "result": earlier[due]} if due in earlier else due


def perform(seed: int, stage: str, n: int, tries: int, program: str) -> Any:
    """worker: does one job. The result depends on the job alone; some jobs break, and are asked again."""
    rng, (a, b) = stream(seed, stage, n, tries), map(int, program.split())
    if rng.random() < 0.1:
        raise RuntimeError("the worker went away")
    if stage == "mutate":
        step = rng.choice((-2, -1, 1, 2))
        return f"{a + step} {b}" if rng.random() < 0.5 else f"{a} {b + step}"
    if stage == "judge":
        return abs(a) + abs(b) < 15
    return [float(sum(abs(a * x + b - (7 * x - 4)) for x in range(5))), float(abs(a) + abs(b))]


def frontier(state: State) -> list[int]:
    """frontier: whom nobody beats; of equals the first."""
    first = {point: n for n, point in sorted(state.scores.items(), reverse=True)}
    beaten = {p for p in first for q in first if p != q and all(y <= x for x, y in zip(p, q, strict=True))}
    return sorted(n for point, n in first.items() if point not in beaten)


def ask(state: State, rng: random.Random) -> int | None:
    """policy: whom to breed. A query: it changes nothing."""
    return rng.choice(frontier(state)) if state.programs and state.opened <= ATTEMPTS else None


def read(journal: Path) -> Iterator[Fact]:
    """ledger: what a power cut tore off was never acknowledged, so it never happened."""
    data = journal.read_bytes() if journal.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        os.truncate(journal, len(whole))
    return map(json.loads, whole.splitlines())


def search(journal: Path, seed: int) -> State:
    """engine: ask, submit, wait for one thing, write it down, and only then believe it."""
    state, queue = State(), deque[tuple[int, str]]()
    for fact in read(journal):
        state.apply(fact)

    def record(fact: Fact) -> None:
        with journal.open("ab") as file:
            file.write(json.dumps(fact).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        state.apply(fact)
        n = fact["n"]
        if n in state.open:
            due = advance(state, n)
            queue.append((n, due)) if isinstance(due, str) else record(due)

    for n in list(state.open):  # of an earlier start
        due = advance(state, n)
        queue.append((n, due)) if isinstance(due, str) else record(due)
    if not state.opened:
        record({"fact": "opened", "n": 0, "parent": None})
    while True:
        while len(state.open) < LANES and (parent := ask(state, stream(seed, "ask", state.opened))) is not None:
            record({"fact": "opened", "n": state.opened, "parent": parent})
        if not queue:
            return state
        n, stage = queue.popleft()  # one worker; with many, answers come in any order
        attempt = state.open[n]
        program = state.programs[attempt["parent"]] if stage == "mutate" else attempt["mutate"]
        try:
            record({"fact": stage, "n": n, "result": perform(seed, stage, n, attempt["failed"], program)})
        except RuntimeError as error:
            record({"fact": "failed", "n": n, "why": str(error)})


if __name__ == "__main__":
    found = search(Path(sys.argv[1] if len(sys.argv) > 1 else "tiny.jsonl"), seed=1)
    for number in frontier(found):
        error, size = found.scores[number]
        print(f"{number:3d}  program {found.programs[number]:6s}  error {error:3g}  size {size:g}")
