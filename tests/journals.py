"""Synthetic journals for tests of what is shown: facts as a real run writes them, without the run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from raysearch.codec import encode
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Entry,
    Fact,
    JobFailed,
    Judged,
    Measured,
    Mutated,
    RunEnded,
    RunStarted,
    SessionOpened,
)
from raysearch.types import (
    SEED,
    AttemptId,
    Brief,
    Candidate,
    Case,
    Change,
    Commit,
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

OBJECTIVES = (Objective("sum_radii", "max", "", primary=True), Objective("latency", "min", "ms"))
PLAN = Plan((Step(Stage.JUDGE, "accuracy"), Step(Stage.BENCHMARK, "benchmark")))


def commit_of(attempt: int) -> Commit:
    return Commit(f"{attempt + 1:040x}")


@dataclass(slots=True)
class Journal:
    """Numbers and times entries; each method adds what one happening leaves in a journal."""

    objectives: tuple[Objective, ...] = OBJECTIVES
    limits: Limits = Limits(open_max=2, attempts_max=200, run_s=180.0, cost_usd=5.0)
    run: str = "20261127-120000-circles"
    entries: list[Entry] = field(default_factory=list)
    run_s: float = 0.0
    attempts: int = 0

    def add(self, fact: Fact, after_s: float = 0.25) -> Entry:
        self.run_s += after_s
        entry = Entry(len(self.entries) + 1, 1_795_780_800.0 + self.run_s, self.run_s, fact)
        self.entries.append(entry)
        return entry

    def begin(self, seeded: bool = True) -> None:
        self.add(
            RunStarted(
                self.run, 7, "circle-packing", "d" * 64, self.objectives, PLAN, commit_of(0), Tree("e" * 40), seeded
            )
        )
        self.session()
        if seeded:
            self.open(SEED, Proposal())
            self.admit(SEED, (0.96, 20.0))

    def session(self, number: int = 1) -> None:
        self.add(SessionOpened(number, self.limits, "box", 4242, "0.1.0"))

    def open(self, attempt: AttemptId | None = None, proposal: Proposal | None = None) -> AttemptId:
        if attempt is None:
            self.attempts += 1
            attempt = AttemptId(self.attempts)
        self.add(AttemptOpened(attempt, proposal or Proposal((SEED,), "tune", Brief("make it better"))))
        return attempt

    def mutate(self, attempt: AttemptId, refusal: str = "", cost_usd: float = 0.01) -> None:
        usage = Usage(cost_usd, 1000, 0, 200, 1, "model")
        change = Change(commit_of(attempt), Tree(f"{attempt:040x}"), Mutation("moved a circle", "", usage), refusal)
        self.add(Mutated(attempt, change, "worker-1", 0.2))

    def judge(self, attempt: AttemptId, passed: bool, feedback: str = "") -> None:
        cases = (Case("inside", True), Case("apart", passed, feedback))
        self.add(Judged(attempt, "accuracy", Verdict(passed, feedback, cases), None, "worker-2", 0.1))

    def fail(self, attempt: AttemptId, retry: bool = False) -> None:
        self.add(JobFailed(attempt, Stage.BENCHMARK, "benchmark", "TimedOut", "no answer in 60 s", retry))

    def admit(self, attempt: AttemptId, values: tuple[float, ...]) -> Candidate:
        """From mutation to admission."""
        self.mutate(attempt)
        self.judge(attempt, True)
        measured = tuple(
            Measurement(axis.name, (value, value, value), axis.unit, axis.goal)
            for axis, value in zip(self.objectives, values, strict=True)
        )
        self.add(Measured(attempt, "benchmark", measured, None, "worker-3", 0.5))
        parents = () if attempt == SEED else (SEED,)
        mutator = "default" if attempt == SEED else "tune"
        candidate = Candidate(
            attempt, commit_of(attempt), Tree(f"{attempt:040x}"), parents, measured, mutator, "moved a circle", ""
        )
        self.add(AttemptClosed(attempt, Outcome.ADMITTED, "", candidate))
        return candidate

    def reject(self, attempt: AttemptId, feedback: str = "circles 3 and 4 overlap by 0.0012") -> None:
        self.mutate(attempt)
        self.judge(attempt, False, feedback)
        self.close(attempt, Outcome.REJECTED, f"accuracy: {feedback}")

    def close(self, attempt: AttemptId, outcome: Outcome, reason: str) -> None:
        self.add(AttemptClosed(attempt, outcome, reason))

    def end(self, reason: str = "200 candidates") -> None:
        self.add(RunEnded(reason))

    def write(self, path: Path) -> None:
        path.write_bytes(b"".join(map(encode, self.entries)))


def lively(attempts: int, seed: int = 0, **options: object) -> Iterator[Entry]:
    """Entries of a run with every outcome, one by one."""
    rng, journal = random.Random(seed), Journal(**options)  # type: ignore[arg-type]
    seen = 0
    journal.begin()
    for _ in range(attempts):
        attempt = journal.open()
        draw = rng.random()
        if draw < 0.6:
            quality = 2.635 * (1 - rng.random() / (2 + attempt))
            journal.admit(attempt, (quality, rng.uniform(5, 30)))
        elif draw < 0.85:
            journal.reject(attempt)
        elif draw < 0.95:
            journal.mutate(attempt)
            journal.judge(attempt, True)
            journal.fail(attempt)
            journal.close(attempt, Outcome.FAILED, "TimedOut: no answer in 60 s")
        else:
            journal.close(attempt, Outcome.ABANDONED, "time budget of 180 s")
        yield from journal.entries[seen:]
        seen = len(journal.entries)
    journal.end()
    yield from journal.entries[seen:]
