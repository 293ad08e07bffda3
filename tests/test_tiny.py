"""The small file tells the truth: beside the real engine, on one seed, it writes the same facts."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest

from population.frontier import Frontier
from raysearch.engine import Engine
from raysearch.errors import WorkerLost
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Entry,
    Fact,
    JobFailed,
    Judged,
    Measured,
    Mutated,
    RunStarted,
    SessionOpened,
)
from raysearch.jobs import Job, Result
from raysearch.protocols import View
from raysearch.testing.simulated import DirectPool, FakeClock, SimDisk
from raysearch.types import (
    CandidateId,
    Change,
    Commit,
    Limits,
    Measurement,
    Objective,
    Plan,
    Proposal,
    Stage,
    Step,
    Tree,
    Verdict,
)

PATH = Path(__file__).parents[1] / "examples" / "tiny.py"
OBJECTIVES = (Objective("error", "min", primary=True), Objective("size", "min"))


@pytest.fixture(scope="module")
def tiny() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny"] = module  # its dataclass looks there
    spec.loader.exec_module(module)
    return module


@dataclass
class Same:
    """The small file's policy, asked through the real contract."""

    tiny: ModuleType
    seed: int

    def ask(self, view: View, slots: int, rng: Random) -> Sequence[Proposal]:
        state = self.tiny.State(opened=len(view.open) + len(view.closed))
        for number, candidate in view.candidates.items():
            state.programs[number] = candidate.tree
            state.scores[number] = tuple(candidate.scores[objective.name] for objective in view.objectives)
        parent = self.tiny.ask(state, self.tiny.stream(self.seed, "ask", state.opened))
        return () if parent is None else (Proposal((parent,)),)

    def tell(self, fact: Fact) -> None:
        return None

    def best(self, view: View) -> Sequence[CandidateId]:
        return ()


@dataclass
class Recorded:
    """A sink that keeps what it is shown."""

    entries: list[Entry]

    def told(self, entry: Entry) -> None:
        self.entries.append(entry)

    def started(self, job: Job) -> None:
        return None

    def close(self) -> None:
        return None


def real(tiny: ModuleType, seed: int) -> list[Entry]:
    """The search of the small file, by the engine of production. Trees are the programs themselves."""

    def perform(job: Job) -> Result:
        try:
            result = tiny.perform(seed, job.stage.value, job.attempt, job.try_number, job.base)
        except RuntimeError as error:
            raise WorkerLost(str(error)) from None
        match job.stage:
            case Stage.MUTATE:
                return Change(Commit(result), Tree(result))
            case Stage.JUDGE:
                return Verdict(result)
            case Stage.BENCHMARK:
                return tuple(Measurement(o.name, (x,), "", "min") for o, x in zip(OBJECTIVES, result, strict=True))

    plan = Plan((Step(Stage.JUDGE, "judge"), Step(Stage.BENCHMARK, "benchmark")), retries_max=tiny.RETRIES)
    origin = tiny.SEED_PROGRAM
    start = RunStarted("tiny", seed, "tiny", "", OBJECTIVES, plan, Commit(origin), Tree(origin), seeded=True)
    limits, sink = Limits(open_max=tiny.LANES, attempts_max=tiny.ATTEMPTS), Recorded([])
    engine = Engine(Same(tiny, seed), DirectPool(perform), SimDisk().open(), FakeClock(), sink)
    engine.run(start, SessionOpened(0, limits, "host", 1, "0"))
    return sink.entries


def small(fact: Fact) -> dict[str, Any] | None:
    """A fact in the words of the small file; None for what it does not have."""
    match fact:
        case AttemptOpened(attempt, proposal):
            return {"fact": "opened", "n": attempt, "parent": next(iter(proposal.parents), None)}
        case Mutated(attempt, change):
            return {"fact": "mutate", "n": attempt, "result": change.tree}
        case Judged(attempt, _, verdict):
            return {"fact": "judge", "n": attempt, "result": verdict.passed}
        case Measured(attempt, _, measurements):
            return {"fact": "benchmark", "n": attempt, "result": [m.value for m in measurements]}
        case JobFailed():
            return {"fact": "failed", "n": fact.attempt, "why": fact.message}
        case AttemptClosed():
            return {"fact": "closed", "n": fact.attempt, "outcome": fact.outcome.value}
        case _:
            return None


@pytest.mark.parametrize("seed", range(6))
def test_it_writes_what_the_real_engine_writes(tiny: ModuleType, seed: int, tmp_path: Path) -> None:
    state = tiny.search(tmp_path / "journal", seed)
    entries = real(tiny, seed)
    facts = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert facts == [told for entry in entries if (told := small(entry.fact)) is not None]
    frontier = Frontier(OBJECTIVES)
    for entry in entries:
        if isinstance(entry.fact, AttemptClosed) and entry.fact.candidate is not None:
            frontier.add(entry.fact.candidate)
    assert tiny.frontier(state) == sorted(frontier.members)
    assert len(facts) > 100
    assert Counter(fact["fact"] for fact in facts)["failed"]


@pytest.mark.parametrize("cut", [0, 1, 60, 700, 2000, -1, -30])
def test_it_goes_on_from_any_cut(tiny: ModuleType, cut: int, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    tiny.search(journal, 1)
    whole = journal.read_bytes()
    torn = whole[: cut if cut >= 0 else len(whole) + cut]
    journal.write_bytes(torn)
    state = tiny.search(journal, 1)
    assert journal.read_bytes().startswith(torn[: torn.rfind(b"\n") + 1])  # what was acknowledged stays
    closed = Counter(
        fact["n"] for fact in map(json.loads, journal.read_text().splitlines()) if fact["fact"] == "closed"
    )
    assert closed == dict.fromkeys(range(tiny.ATTEMPTS + 1), 1)
    assert not state.open
    again = tiny.State()
    for fact in tiny.read(journal):
        again.apply(fact)
    assert again == state


def test_it_runs_as_its_first_lines_say_and_stays_small(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(PATH), str(tmp_path / "j")], capture_output=True, text=True, check=True)
    assert "program" in done.stdout
    again = subprocess.run([sys.executable, str(PATH), str(tmp_path / "j")], capture_output=True, text=True, check=True)
    assert again.stdout == done.stdout
    assert len([line for line in PATH.read_text().splitlines() if line.strip()]) <= 125
