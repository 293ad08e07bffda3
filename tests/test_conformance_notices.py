"""A check that cannot fail is worth nothing: each mistake of a plug-in fails the check that names it."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from failing import failing

from raysearch.errors import Refused
from raysearch.protocols import Benchmark, Judge, Mutator, Workspace
from raysearch.testing.conformance import (
    BenchmarkConformance,
    JudgeConformance,
    MutatorConformance,
)
from raysearch.types import (
    Brief,
    Measurement,
    Mutation,
    Usage,
    Verdict,
)

# -- what is not right --------------------------------------------------------------------------------------


@dataclass
class Edits:
    """A good mutator, for as long as nothing is added to it."""

    also: Callable[[Workspace, random.Random], object] = lambda workspace, rng: None
    mutation: Mutation = Mutation("a step")
    jobs: list[int] = field(default_factory=list)

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        value = rng.randint(0, 100)
        (workspace.path / "answer.py").write_text(f"VALUE = {value}  # tune: int 0..100\n")
        (workspace.scratch / "notes").write_text("mine")
        self.also(workspace, rng)
        return self.mutation


def remembers(mutator: Edits) -> Callable[[Workspace, random.Random], None]:
    def also(workspace: Workspace, rng: random.Random) -> None:
        mutator.jobs.append(1)
        (workspace.path / "answer.py").write_text(f"VALUE = {len(mutator.jobs)}\n")

    mutator.also = also
    return also


def spawns(workspace: Workspace, rng: random.Random) -> None:
    CHILDREN.append(subprocess.Popen(["sleep", "60"]))


CHILDREN: list[subprocess.Popen[bytes]] = []
STOP = threading.Event()
BAD_EDITS: dict[str, tuple[Edits, str]] = {
    "returns nothing": (Edits(mutation=cast(Mutation, None)), "test_it_returns_a_mutation"),
    "writes beside the program": (
        Edits(lambda w, rng: (w.path.parent / "stray").write_text("x")),
        "test_it_keeps_to_its_folder",
    ),
    "edits the target": (
        Edits(lambda w, rng: (w.target.checker.folder / "check.py").write_text("")),
        "test_it_keeps_to_its_folder",
    ),
    "changes what it must not": (
        Edits(lambda w, rng: (w.path / "Makefile").write_text("x")),
        "test_it_changes_only_what_may_change",
    ),
    "leaves a repository": (Edits(lambda w, rng: (w.path / ".git").mkdir()), "test_what_it_leaves_can_be_committed"),
    "leaves a pipe": (Edits(lambda w, rng: os.mkfifo(w.path / "pipe")), "test_what_it_leaves_can_be_committed"),
    "ignores its generator": (
        Edits(lambda w, rng: (w.path / "answer.py").write_text(os.urandom(8).hex())),
        "test_equal_randomness_gives_equal_changes",
    ),
    "uses the global generator": (Edits(lambda w, rng: random.random()), "test_it_disturbs_nothing_around_it"),
    "changes the environment": (
        Edits(lambda w, rng: os.environ.__setitem__("CONFORMANCE", str(w.path))),
        "test_it_disturbs_nothing_around_it",
    ),
    "leaves a process": (Edits(spawns), "test_it_disturbs_nothing_around_it"),
    "leaves a thread": (
        Edits(lambda w, rng: threading.Thread(target=STOP.wait, args=(60,)).start()),
        "test_it_disturbs_nothing_around_it",
    ),
    "costs less than nothing": (
        Edits(mutation=Mutation(usage=Usage(cost_usd=-1.0))),
        "test_its_account_can_be_recorded",
    ),
    "costs no number": (
        Edits(mutation=Mutation(usage=Usage(cost_usd=float("nan")))),
        "test_its_account_can_be_recorded",
    ),
    "speaks in broken text": (Edits(mutation=Mutation("\udc80")), "test_its_account_can_be_recorded"),
}


@pytest.fixture
def _clean_up() -> Iterator[None]:
    yield
    STOP.set()
    os.environ.pop("CONFORMANCE", None)
    while CHILDREN:
        child = CHILDREN.pop()
        child.kill()
        child.wait()
    STOP.clear()


@pytest.mark.usefixtures("_clean_up")
@pytest.mark.parametrize("mistake", BAD_EDITS)
def test_a_mutator_s_mistake_fails_its_check(mistake: str, tmp_path: Path) -> None:
    mutator, check = BAD_EDITS[mistake]

    class Kit(MutatorConformance):
        def make(self) -> Mutator:
            return mutator

    assert failing(Kit(), tmp_path, [check]) == {check}


def test_a_mutator_that_remembers(tmp_path: Path) -> None:
    class Kit(MutatorConformance):
        def make(self) -> Mutator:
            mutator = Edits()
            remembers(mutator)
            return mutator

    assert failing(Kit(), tmp_path) == {"test_it_remembers_nothing_between_jobs"}


def test_a_good_mutator_passes_and_an_agent_need_not_repeat_itself(tmp_path: Path) -> None:
    class Good(MutatorConformance):
        def make(self) -> Mutator:
            return Edits()

    class Agent(MutatorConformance):
        deterministic = False

        def make(self) -> Mutator:
            return Edits(lambda w, rng: (w.path / "answer.py").write_text(os.urandom(8).hex()))

    assert failing(Good(), tmp_path / "good") == set()
    assert failing(Agent(), tmp_path / "agent") == set()


@dataclass
class Reads:
    """A good judge and benchmark for `tiny_target`, for as long as nothing is changed about it."""

    judges: Callable[[Workspace, random.Random, int | None], Verdict] | None = None
    measures: Callable[[Workspace, random.Random, int], Sequence[Measurement]] | None = None

    def judge(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Verdict:
        value = value_of(workspace)
        if self.judges is not None:
            return self.judges(workspace, rng, value)
        return Verdict(value is not None, "" if value is not None else "there is no VALUE")

    def measure(self, workspace: Workspace, rng: random.Random) -> Sequence[Measurement]:
        value = value_of(workspace)
        if value is None:
            raise Refused("there is no VALUE")
        return self.measures(workspace, rng, value) if self.measures is not None else measured(value)


def value_of(workspace: Workspace) -> int | None:
    try:
        return int((workspace.path / "answer.py").read_text().split("=")[1].split("#")[0])
    except (OSError, ValueError, IndexError):
        return None


def measured(value: float, size: float = 1.0) -> list[Measurement]:
    return [Measurement("score", (-abs(value - 42),), "points", "max"), Measurement("size", (size,), "B", "min")]


def counting() -> Callable[[Workspace, random.Random, int | None], Verdict]:
    calls: list[int] = []

    def judge(workspace: Workspace, rng: random.Random, value: int | None) -> Verdict:
        calls.append(1)
        return Verdict(value is not None, f"call {len(calls)}")

    return judge


def spoils(workspace: Workspace, what: object) -> object:
    (workspace.path / "answer.py").write_text("VALUE = 42\n")
    return what


BAD_JUDGES: dict[str, tuple[Reads, set[str]]] = {
    "none": (Reads(), set()),
    "says yes to all": (Reads(lambda w, rng, v: Verdict(True)), {"test_it_says_no_to_a_bad_program"}),
    "says no to all": (Reads(lambda w, rng, v: Verdict(False, "no")), {"test_it_says_yes_to_a_good_program"}),
    "raises for a bad program": (
        Reads(lambda w, rng, v: Verdict(cast(int, v) + 1 > 0)),
        {"test_it_says_no_to_a_bad_program"},
    ),
    "gives no reason": (Reads(lambda w, rng, v: Verdict(v is not None)), {"test_a_no_has_a_reason"}),
    "says something else each time": (Reads(counting()), {"test_it_says_the_same_twice"}),
    "tosses its own coin": (
        Reads(lambda w, rng, v: Verdict(v is not None, f"{random.random()}")),
        {"test_it_says_the_same_twice", "test_it_disturbs_nothing_around_it"},
    ),
    "names its folder": (
        Reads(lambda w, rng, v: Verdict(v is not None, f"in {w.path}")),
        {"test_it_says_the_same_twice"},
    ),
    "mends the program": (
        Reads(lambda w, rng, v: cast(Verdict, spoils(w, Verdict(v is not None, "no")))),
        {"test_it_changes_nothing"},
    ),
    "speaks in broken text": (
        Reads(lambda w, rng, v: Verdict(v is not None, "\udc80")),
        {"test_its_verdicts_can_be_recorded"},
    ),
    "answers with a word": (
        Reads(lambda w, rng, v: cast(Verdict, "yes")),
        {"test_it_says_yes_to_a_good_program"},
    ),
}


@pytest.mark.parametrize("mistake", BAD_JUDGES)
def test_a_judge_s_mistake_fails_its_check(mistake: str, tmp_path: Path) -> None:
    judge, checks = BAD_JUDGES[mistake]

    class Kit(JudgeConformance):
        def make(self) -> Judge:
            return judge

    assert failing(Kit(), tmp_path, checks) == checks


def flickering() -> Callable[[Workspace, random.Random, int], Sequence[Measurement]]:
    calls: list[int] = []

    def measure(workspace: Workspace, rng: random.Random, value: int) -> Sequence[Measurement]:
        calls.append(1)
        extra = [Measurement("heat", (1.0,))] if len(calls) % 2 else []
        return [*measured(value), *extra]

    return measure


class Guesses(Reads):
    def measure(self, workspace: Workspace, rng: random.Random) -> Sequence[Measurement]:
        return measured(0)


class Stumbles(Reads):
    def measure(self, workspace: Workspace, rng: random.Random) -> Sequence[Measurement]:
        value = value_of(workspace)
        assert value is not None, "no value"
        return measured(value)


BAD_BENCHMARKS: dict[str, tuple[Reads, set[str]]] = {
    "none": (Reads(), set()),
    "leaves one out": (Reads(measures=lambda w, rng, v: measured(v)[:1]), {"test_it_measures_every_objective"}),
    "measures one twice": (
        Reads(measures=lambda w, rng, v: [*measured(v), *measured(v)]),
        {"test_it_measures_every_objective"},
    ),
    "gives no number": (Reads(measures=lambda w, rng, v: measured(float("nan"))), {"test_its_samples_are_finite"}),
    "gives no sample": (
        Reads(measures=lambda w, rng, v: [*measured(v), Measurement("heat", ())]),
        {"test_its_samples_are_finite"},
    ),
    "measures in another unit": (
        Reads(measures=lambda w, rng, v: [measured(v)[0], Measurement("size", (0.001,), "kB", "min")]),
        {"test_its_units_and_goals_are_the_declared_ones"},
    ),
    "turns an objective around": (
        Reads(measures=lambda w, rng, v: [measured(v)[0], Measurement("size", (1.0,), "B", "max")]),
        {"test_its_units_and_goals_are_the_declared_ones"},
    ),
    "measures what cannot run": (Guesses(), {"test_a_bad_program_is_refused"}),
    "stumbles over a bad program": (Stumbles(), {"test_a_bad_program_is_refused"}),
    "measures now this, now that": (Reads(measures=flickering()), {"test_it_measures_the_same_metrics_twice"}),
    "changes the program": (
        Reads(measures=lambda w, rng, v: cast(Sequence[Measurement], spoils(w, measured(v)))),
        {"test_it_changes_nothing"},
    ),
    "uses the global generator": (
        Reads(measures=lambda w, rng, v: measured(v, random.random())),
        {"test_it_disturbs_nothing_around_it"},
    ),
    "gives a list of samples": (
        Reads(measures=lambda w, rng, v: [*measured(v), Measurement("heat", cast(tuple[float, ...], [1.0]))]),
        {"test_its_measurements_can_be_recorded"},
    ),
}


@pytest.mark.parametrize("mistake", BAD_BENCHMARKS)
def test_a_benchmark_s_mistake_fails_its_check(mistake: str, tmp_path: Path) -> None:
    benchmark, checks = BAD_BENCHMARKS[mistake]

    class Kit(BenchmarkConformance):
        def make(self) -> Benchmark:
            return benchmark

    assert failing(Kit(), tmp_path, checks) == checks
