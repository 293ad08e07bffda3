"""A run of the plain loop under the real engine: those who work for it play parts, each decided by its job alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from population.policies.backlog import failures
from population.policies.plain import Plain
from raysearch.board import Action, Author, Filing, Kind
from raysearch.consultation import PERFORMANCE_EVALUATOR, Level, Reply
from raysearch.engine import Engine
from raysearch.errors import EvaluatorFault, MutatorFault
from raysearch.facts import (
    AttemptOpened,
    Consulted,
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
from raysearch.jobs import Job
from raysearch.pools.inline import InlinePool
from raysearch.protocols import Answer, Policy
from raysearch.state import State
from raysearch.steering import Command, Receipt, Steer
from raysearch.testing.audit import audit
from raysearch.testing.simulated import FakeClock, Mishap, SimDisk
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
    Verdict,
)

SPEED = Objective("speed", "max", unit="1/s", noise=0.05, primary=True)
ASKED = (Step(Stage.BENCHMARK, PERFORMANCE_EVALUATOR),)
PLAN = Plan(
    (Step(Stage.JUDGE, "accuracy"), Step(Stage.JUDGE, "audit"), Step(Stage.BENCHMARK, "benchmark")),
    retries_max=1,
    consultants=ASKED,
    board=True,
)
PERSON = Author("person", "ann")
Plays = Mapping[int, Sequence[str]]
"""By issue: how each attempt at it goes, the last for all that follow; 'good' where nothing is said."""


def filed(kind: Kind, title: str, priority: int = 0, author: Author = PERSON, name: str = "", **more: str) -> Filing:
    """A new issue."""
    return Filing(Action.CREATE, author, kind=kind, title=title, priority=priority, name=name, **more)


def said(text: str, *filings: Filing, speed: float = 0.0) -> tuple[Reply, tuple[Filing, ...]]:
    """What a performance evaluator answers."""
    author = Author(PERFORMANCE_EVALUATOR)
    levels = (Level("light", (Measurement("delay", (speed,), "ms", "min"),)),) if speed else ()
    return Reply(text, levels=levels), tuple(replace(filing, author=author) for filing in filings)


@dataclass(slots=True)
class World:
    """Programs are words; what a job makes of them depends on the job alone, so that it can be done again."""

    plays: Plays = field(default_factory=dict)
    replies: Sequence[tuple[Reply, tuple[Filing, ...]] | str] = ()
    """Of each consultation in turn; a text is why there is none; beyond the last one, nothing is filed."""
    by_agents: Mapping[tuple[int, int], Sequence[Filing]] = field(default_factory=dict)
    """By issue and attempt at it: what the implementer files."""
    by_judges: Mapping[tuple[int, int], Sequence[Filing]] = field(default_factory=dict)
    programs: dict[Commit, str] = field(default_factory=dict)
    seed: str | None = "seed good 100"

    def start(self, plan: Plan = PLAN) -> RunStarted:
        origin, tree = self._kept(self.seed or "", ())
        return RunStarted("r", 1, "toy", "", (SPEED,), plan, origin, tree, self.seed is not None)

    def perform(self, job: Job) -> Answer:
        filings: Sequence[Filing] = ()
        try:
            if job.consultation is not None:
                result, filings = self._consulted(job)
            elif job.stage is Stage.MUTATE:
                result, filings = self._mutated(job), self.by_agents.get(self._which(job), ())
            elif job.stage is Stage.JUDGE:
                result = self._judged(job)
                if job.plugin == "audit":
                    filings = self._bugs(job)
            else:
                result = (Measurement("speed", (float(self.programs[job.base].rpartition(" ")[2] or 0),), "1/s"),)
        except (MutatorFault, EvaluatorFault) as fault:
            result, filings = fault, self.by_agents.get(self._which(job), ())
        return Answer(job, result, "inline", 0.0, 0.0, tuple(filings))

    def close(self) -> None:
        """Nothing is held."""

    def _which(self, job: Job) -> tuple[int, int]:
        """The issue that a job is about, and the number of the attempt at it."""
        if not job.brief.task.startswith("Work on issue "):
            return 0, 0
        number = int(job.brief.task.split()[3].strip(","))
        assert job.board is not None
        return number, 1 + next(len(failures(issue)) for issue in job.board.issues if issue.number == number)

    def _mutated(self, job: Job) -> Change:
        number, attempt = self._which(job)
        plays = self.plays.get(number, ("good",))
        play = plays[min(attempt, len(plays)) - 1]
        word, _, gain = play.partition(" ")
        if word == "crashing":
            raise MutatorFault(f"the agent broke at issue {number}")
        before = self.programs[job.base]
        speed = float(before.rpartition(" ")[2] or 0) + float(gain or 0)
        after = before if word == "lazy" else f"{number}.{attempt} {word} {speed:g}"
        commit, tree = self._kept(after, job.parents, job.attempt)
        return Change(commit, tree, Mutation(f"{word} work on issue {number}"))

    def _judged(self, job: Job) -> Verdict:
        word = self.programs[job.base].partition(" ")[2].partition(" ")[0]
        wrong = {("accuracy", "bad"): "2 of 5 cases fail", ("audit", "cheating"): "it reads the expected output"}
        reason = wrong.get((job.plugin, word), "")
        return Verdict(not reason, reason)

    def _bugs(self, job: Job) -> Sequence[Filing]:
        number, _, attempt = self.programs[job.base].partition(" ")[0].partition(".")
        return self.by_judges.get((int(number), int(attempt)), ()) if attempt else ()

    def _consulted(self, job: Job) -> tuple[Reply, tuple[Filing, ...]]:
        assert job.consultation is not None
        if job.consultation > len(self.replies):
            return said("nothing is wrong")
        reply = self.replies[job.consultation - 1]
        if isinstance(reply, str):
            raise EvaluatorFault(reply)
        batch = f"consultation {job.consultation}"
        return reply[0], tuple(replace(f, batch=batch) for f in reply[1])

    def _kept(self, program: str, parents: Sequence[Commit], attempt: int = 0) -> tuple[Commit, Tree]:
        commit = Commit(_hash("commit", program, *parents, attempt))
        self.programs[commit] = program
        return commit, Tree(_hash("tree", program))


@dataclass(slots=True)
class People:
    """Tell the run what is due at the number of facts that it has come to; keep their word across sessions."""

    due: Sequence[tuple[int, Filing]] = ()
    seq: Callable[[], int] = lambda: 0

    def take(self, recorded: Mapping[str, Receipt]) -> Sequence[tuple[str, Command]]:
        told = []
        for number, (seq, filing) in enumerate(self.due):
            if str(number) not in recorded and self.seq() >= seq:
                told.append((str(number), Command(Steer.FILING, str(number), filing=filing)))
        return told

    def answer(self, name: str, receipt: Receipt) -> None:
        """Nobody waits."""


class Watched(SimDisk):
    """A disk that knows what was paid for."""

    def paid(self) -> Counter[tuple[object, ...]]:
        """Answers on the disk: how many of each job."""
        found: Counter[tuple[object, ...]] = Counter()
        for entry in self.open().replay():
            match entry.fact:
                case Mutated(attempt):
                    found["attempt", attempt, Stage.MUTATE] += 1
                case Judged(attempt, judge):
                    found["attempt", attempt, judge] += 1
                case Measured(attempt, benchmark):
                    found["attempt", attempt, benchmark] += 1
                case Consulted(number):
                    found["consultation", number] += 1
                case JobFailed() as lost if not lost.retry:
                    key = ("attempt", lost.attempt, Stage.MUTATE)
                    found[("consultation", lost.consultation) if lost.consultation else key] += 1
                case _:
                    pass
        return found


@dataclass(slots=True)
class Frugal:
    """Does no job whose answer is on the disk already."""

    world: World
    disk: Watched
    done: int = 0

    def perform(self, job: Job) -> Answer:
        key: tuple[object, ...] = ("attempt", job.attempt, Stage.MUTATE if job.stage is Stage.MUTATE else job.plugin)
        if job.consultation is not None:
            key = ("consultation", job.consultation)
        assert not self.disk.paid()[key], f"{key} is done again"
        self.done += 1
        return self.world.perform(job)

    def close(self) -> None:
        """Nothing is held."""


class Ticking(FakeClock):
    """Time passes whenever somebody looks."""

    def monotonic(self) -> float:
        self.monotonic_s += 0.25
        return self.monotonic_s


class Deaf:
    """A sink for nobody; notes the jobs that were handed out."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def told(self, entry: Entry) -> None:
        """Not needed."""

    def started(self, job: Job) -> None:
        self.jobs.append(job)

    def close(self) -> None:
        """Nothing is held."""


@dataclass(slots=True)
class Run:
    """A disk, and the drivers that come and go."""

    world: World
    people: Sequence[tuple[int, Filing]] = ()
    make: Callable[[], Policy] = Plain
    plan: Plan = PLAN
    limits: Limits = field(default_factory=lambda: Limits(open_max=2))
    disk: Watched = field(default_factory=Watched)
    sessions: int = 0
    done: int = 0

    def drive(self, mishap: Mishap | None = None) -> State:
        """One driver's time. Raises PowerCut at the mishap."""
        self.sessions += 1
        worker = Frugal(self.world, self.disk)
        people = People(self.people)
        clock = Ticking(wall_s=1e9)
        ledger = self.disk.open(mishap)
        engine = Engine(self.make(), InlinePool(worker), ledger, clock, Deaf(), steering=people)
        people.seq = lambda: engine.state.seq
        engine._heeded_s = float("-inf")
        try:
            return engine.run(self.world.start(self.plan), SessionOpened(0, self.limits, "h", self.sessions, "0"))
        finally:
            self.done += worker.done

    @property
    def entries(self) -> list[Entry]:
        return list(self.disk.open().replay())


def facts(run: Run, kind: type[Fact]) -> list[Fact]:
    return [entry.fact for entry in run.entries if isinstance(entry.fact, kind)]


def worked_on(run: Run) -> list[int | None]:
    """Issues, in the order of the attempts at them."""
    return [f.proposal.issue for f in facts(run, AttemptOpened) if f.attempt]


def statuses(state: State) -> dict[int, str]:
    return {number: issue.status.value for number, issue in state.board.issues.items()}


def ended(run: Run) -> str:
    (last,) = facts(run, RunEnded)[-1:]
    return last.reason


def sound(run: Run) -> None:
    entries = run.entries
    assert audit(entries) == []
    for fact in facts(run, AttemptOpened):
        assert len(fact.proposal.parents) <= 1


def _hash(*parts: object) -> str:
    return hashlib.sha1(repr(parts).encode(), usedforsecurity=False).hexdigest()
