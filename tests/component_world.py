"""Programs that are times of named parts: a mutator that does as its task says, and a profiler that tells the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from raysearch.consultation import PROFILER, Reply
from raysearch.engine import Engine
from raysearch.errors import WorkerLost
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    ConsultationOpened,
    Consulted,
    Entry,
    Fact,
    JobFailed,
    RunEnded,
    RunStarted,
    SessionOpened,
    Unanswered,
)
from raysearch.jobs import Job, Result
from raysearch.profile import Finding, Profile
from raysearch.protocols import Policy
from raysearch.state import State
from raysearch.testing.simulated import DirectPool, FakeClock, SimDisk
from raysearch.types import (
    Change,
    Commit,
    Limits,
    Measurement,
    Mutation,
    Objective,
    Plan,
    Stage,
    Step,
    Tree,
    Usage,
    Verdict,
)

Parts = tuple[tuple[str, float], ...]
"""Seconds by part."""
TIME = Objective("time_s", "min", unit="s", noise=0.01, primary=True)
PARTS: Parts = (("parse", 2.0), ("sort", 6.0), ("print", 1.5), ("(start)", 0.5))
ASKED = (Step(Stage.BENCHMARK, PROFILER),)


@dataclass
class Components:
    """Does jobs. A part cannot be made faster than its ``floors``; attempts in ``refused`` are wrong."""

    floors: Mapping[str, float] = field(default_factory=dict)
    refused: frozenset[int] = frozenset()
    mute: frozenset[int] = frozenset()
    """Questions that nobody answers."""
    usd: float = 0.0
    programs: dict[Commit, Parts] = field(default_factory=lambda: {Commit("origin"): PARTS})
    wrong: set[Commit] = field(default_factory=set)

    def perform(self, job: Job) -> Result:
        parts = self.programs[job.base]
        if job.consultation is not None:
            if job.consultation in self.mute:
                raise WorkerLost("the profiler went away")
            total = sum(seconds for _, seconds in parts)
            found = [
                Finding(name, seconds / total, "memory" if name == "sort" else "unknown") for name, seconds in parts
            ]
            found.sort(key=lambda finding: -finding.share)
            return Reply(profile=Profile("scripted", tuple(found), total), usage=Usage(self.usd))
        if job.stage is Stage.MUTATE:
            made = tuple((name, self._faster(name, s) if self._meant(job, name) else s) for name, s in parts)
            commit = Commit(hashlib.sha1(f"{made}{job.attempt}".encode(), usedforsecurity=False).hexdigest())
            self.programs[commit] = made
            if job.attempt in self.refused:
                self.wrong.add(commit)
            return Change(commit, Tree(commit), Mutation(usage=Usage(self.usd)))
        if job.stage is Stage.JUDGE:
            wrong = job.base in self.wrong
            return Verdict(not wrong, "sorts wrongly" if wrong else "")
        return (Measurement(TIME.name, (sum(seconds for _, seconds in parts),), "s", "min"),)

    def _faster(self, name: str, seconds: float) -> float:
        return max(self.floors.get(name, 0.0), round(seconds * 0.7, 3))

    def _meant(self, job: Job, name: str) -> bool:
        return job.brief.task.startswith(f"{name} takes") or (not job.brief.task and name == "parse")


class Told:
    """Shows nothing."""

    def told(self, entry: Entry) -> None: ...
    def started(self, job: Job) -> None: ...
    def close(self) -> None: ...


def run(
    policy: Policy, world: Components, attempts: int, lanes: int = 1, plan: Plan | None = None
) -> tuple[State, list[Entry]]:
    """The whole run; its state and its journal."""
    plan = plan or Plan((Step(Stage.JUDGE, "accuracy"), Step(Stage.BENCHMARK, "benchmark")), consultants=ASKED)
    disk = SimDisk()
    engine = Engine(policy, DirectPool(world.perform), disk.open(), FakeClock(), Told())
    start = RunStarted("r", 1, "t", "d", (TIME,), plan, Commit("origin"), Tree("origin"), seeded=True)
    state = engine.run(start, SessionOpened(1, Limits(lanes, attempts_max=attempts), "here", 0, "0"))
    return state, list(disk.open().replay())


def shown(entries: list[Entry]) -> str:
    """A line for each thing that a policy asked for, and for what came of it."""
    return "\n".join(filter(None, (_line(entry.fact) for entry in entries))) + "\n"


def _line(fact: Fact) -> str:
    match fact:
        case ConsultationOpened(number, question):
            return (
                f"?{number} {question.lineage}: {question.role} about {question.about}, focus {question.brief.task!r}"
            )
        case Consulted(number, reply):
            shares = [f"{f.component} {f.share:.0%}" for f in (reply.profile.findings if reply.profile else ())]
            return f"?{number} -> {', '.join(shares)}"
        case Unanswered(number, reason):
            return f"?{number} -> unanswered: {reason}"
        case AttemptOpened(attempt, proposal) if attempt:
            brief, come = proposal.brief, f"from {', '.join(map(str, proposal.parents))}"
            mended = "" if proposal.repair is None else f", repairs {proposal.repair} ({brief.feedback})"
            return f"{attempt} [{proposal.lineage}] {come}{mended}: {(brief.task.splitlines() or ['no task'])[0]}"
        case AttemptClosed(attempt, outcome, _, candidate):
            return f"{attempt} -> {outcome}" + (f", {candidate.scores['time_s']:.4g} s" if candidate else "")
        case JobFailed(consultation=int() as number):
            return f"?{number} broke"
        case RunEnded(reason):
            return f"over: {reason}"
        case _:
            return ""
