"""Whole runs in one thread: the engine, policies and journal of production in a world that goes wrong.

One number decides everything, so a failure is replayed by the line that its report prints:

    python -m raysearch.testing.simulation --policy evolve --seed 123
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Protocol

from raysearch.engine import Engine
from raysearch.errors import LedgerError, RaysearchError
from raysearch.facts import Entry, Fact, Mutated, RunEnded, SessionOpened, Steered
from raysearch.jobs import Job
from raysearch.plugins import load
from raysearch.protocols import Ask, Policy, View
from raysearch.seeds import stream
from raysearch.state import State
from raysearch.testing.audit import audit
from raysearch.testing.brute import BruteFrontier
from raysearch.testing.people import SimInbox
from raysearch.testing.scenario import Scenario, SessionPlan
from raysearch.testing.simulated import FakeClock, Journal, Mishap, PowerCut, SimDisk, SimPool, Span
from raysearch.testing.world import World
from raysearch.types import AttemptId, CandidateId, Commit, Outcome, Stage

STEPS_MAX = 20_000
"""A session that takes more steps than this does not end."""


class Disk(Protocol):
    def open(self, mishap: Mishap | None = None) -> Journal: ...


class Endless(Exception):
    """The driver goes on and on."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a simulation is made of. Exchange a part for a broken one to see whether that is noticed."""

    engine: Callable[..., Engine] = Engine
    pool: Callable[..., SimPool] = SimPool
    disk: Callable[[], Disk] = SimDisk
    whole_frontier: bool = True
    """Whether the policy promises that its best are the whole frontier."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A policy's answer, and what it was known then."""

    seq: int
    slots: int
    proposals: tuple[Ask, ...]


@dataclass(slots=True)
class Witness:
    """Stands between the driver and its policy, and beside its sink, and remembers what it saw."""

    policy: Policy
    told_facts: list[Fact] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    shown: list[Entry] = field(default_factory=list)
    submitted: list[tuple[int, Job]] = field(default_factory=list)
    kept: dict[AttemptId, tuple[int, Commit]] = field(default_factory=dict)
    """Attempt to its ref, and the number of facts known when it was made."""

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Ask]:
        proposals = self.policy.ask(view, slots, rng)
        self.asked.append(Asked(view.seq, slots, tuple(proposals)))
        return proposals

    def tell(self, fact: Fact) -> None:
        self.told_facts.append(fact)
        self.policy.tell(fact)

    def best(self, view: View) -> Sequence[CandidateId]:
        return self.policy.best(view)

    def told(self, entry: Entry) -> None:
        self.shown.append(entry)

    def started(self, job: Job) -> None:
        self.submitted.append((len(self.told_facts), job))

    def keep(self, attempt: AttemptId, commit: Commit) -> None:
        self.kept[attempt] = (len(self.told_facts), commit)

    def close(self) -> None:
        """Nothing is held."""


@dataclass(slots=True)
class Session:
    """One driver's time, as seen from outside."""

    witness: Witness
    state: State
    spans: list[Span]
    best: set[CandidateId]


@dataclass(slots=True)
class Report:
    """What became of a simulated run."""

    seed: int
    policy: str
    problems: list[str]
    entries: list[Entry] = field(repr=False)
    sessions: int
    counts: dict[Outcome, int]
    replay_line: str

    def check(self) -> None:
        """Raise AssertionError with every problem and the line that replays it."""
        if self.problems:
            shown = "\n  ".join(self.problems[:20])
            raise AssertionError(f"{len(self.problems)} problems:\n  {shown}\nreplay: {self.replay_line}")


def simulate(
    seed: int,
    policy: str | Callable[[], Policy] = "evolve",
    options: Mapping[str, object] | None = None,
    *,
    scenario: Scenario | None = None,
    parts: Parts | None = None,
) -> Report:
    """Drive a run from its first fact to its end through everything that ``seed`` has in store for it.

    ``policy`` is a plug-in's name with its options, or makes a new one at each call.
    """
    run = _Run(scenario or Scenario.draw(seed), parts or Parts(), _maker(policy, options or {}))
    run.drive()
    entries = run.entries()
    problems = [*run.problems, *_checked(run, entries)]
    name = policy if isinstance(policy, str) else getattr(policy, "__name__", "policy")
    line = f"python -m raysearch.testing.simulation --policy {name} --seed {seed}"
    line += "".join(f" --set {shlex.quote(f'{key}={json.dumps(value)}')}" for key, value in (options or {}).items())
    counts = run.sessions[-1].state.counts if run.sessions else {}
    return Report(seed, name, problems, entries, len(run.sessions), counts, line)


def _maker(policy: str | Callable[[], Policy], options: Mapping[str, object]) -> Callable[[], Policy]:
    if not isinstance(policy, str):
        return policy

    fresh: Policy = load("policies", policy, options)  # type: ignore[assignment] # the loader checks its methods
    return lambda: deepcopy(fresh)  # to look up what is installed takes longer than a short run


@dataclass(slots=True)
class _Run:
    scenario: Scenario
    parts: Parts
    make: Callable[[], Policy]
    world: World = field(init=False)
    disk: Disk = field(init=False)
    inbox: SimInbox = field(init=False)
    sessions: list[Session] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = World(self.scenario.seed, self.scenario.odds)
        self.disk = self.parts.disk()
        self.inbox = SimInbox(stream(self.scenario.seed, "inbox"), full=0.1)

    def entries(self) -> list[Entry]:
        """What a reader finds on the disk."""
        try:
            with closing(self.disk.open()) as ledger:
                return list(ledger.replay())
        except RaysearchError as error:
            self.problems.append(f"the journal cannot be read: {error}")
            return []

    def drive(self) -> None:
        wall_s = 1.7e9 + self.scenario.seed % 1000 / 997
        for number, plan in enumerate(self.scenario.sessions):
            clock = FakeClock(stream(self.scenario.seed, "boot", number).uniform(0, 1e5))
            wall_s += plan.wall_jump_s
            clock.wall_s = wall_s - clock.monotonic()
            self._session(number, plan, clock)
            wall_s = clock.now()
            if self.problems:
                return
        last = SessionPlan(self.scenario.sessions[-1].limits, self.scenario.sessions[-1].faults)
        again = len(self.scenario.sessions)
        while not self.problems and self.sessions[-1].state.helm.stop:  # people's last word was to stop
            clock = FakeClock(stream(self.scenario.seed, "boot", again).uniform(0, 1e5))
            clock.wall_s = wall_s - clock.monotonic()
            self._session(again, last, clock)
            wall_s, again = clock.now(), again + 1

    def _session(self, number: int, plan: SessionPlan, clock: FakeClock) -> None:
        rng = stream(self.scenario.seed, "pool", number)
        witness = Witness(self.make())
        pool = self.parts.pool(self.world.perform, clock, rng, self.scenario.slots, plan.faults)
        start = self.world.start(self.scenario.plan, self.scenario.seeded)
        opened = SessionOpened(0, plan.limits, "simulated", number, "0")
        with closing(self.disk.open(plan.mishap)) as ledger:
            engine = self.parts.engine(
                witness,
                pool,
                ledger,
                clock,
                witness,
                stop=_stop(plan.stop_at_step),
                keep=witness.keep,
                steering=self.inbox.driven(plan.commands),
            )
            try:
                engine.run(start, opened)
            except (PowerCut, LedgerError):
                pass  # that is what was planned
            except Endless as error:
                self.problems.append(f"session {number + 1} {error}")
            except Exception as error:
                self.problems.append(f"session {number + 1}: {type(error).__name__}: {error}")
        best = set(witness.best(engine.state)) if engine.state.started is not None else set()
        self.sessions.append(Session(witness, engine.state, pool.spans, best))


def _stop(at_step: int | None) -> Callable[[], str]:
    steps = iter(range(1, STEPS_MAX + 1))

    def stop() -> str:
        step = next(steps, None)
        if step is None:
            raise Endless(f"does not end within {STEPS_MAX} steps")
        return "asked to let go" if step == at_step else ""

    return stop


def _checked(run: _Run, entries: list[Entry]) -> Iterator[str]:
    """Everything that must hold after the last session."""
    yield from audit(entries, [pair for session in run.sessions for pair in session.witness.submitted])
    if not run.problems and not (entries and isinstance(entries[-1].fact, RunEnded)):
        yield "the last session is over, but the run has not ended"
    facts = [entry.fact for entry in entries]
    yield from _unanswered(run, facts)
    for number, session in enumerate(run.sessions, start=1):
        witness = session.witness
        if witness.told_facts != facts[: len(witness.told_facts)]:
            yield f"session {number}: the policy was told what is not on the disk"
        if witness.shown != entries[len(witness.told_facts) - len(witness.shown) : len(witness.told_facts)]:
            yield f"session {number}: sinks were shown what is not on the disk"
        yield from (f"session {number}: {problem}" for problem in _unkept(witness))
        yield from (f"session {number}: {problem}" for problem in _crowded(session.spans, run.scenario.slots))
    yield from _unlike_replay(run, entries)
    yield from _asks_otherwise(run, entries)


def _unanswered(run: _Run, facts: Sequence[Fact]) -> Iterator[str]:
    """Commands that are in the journal and were answered otherwise, or that were answered and are not there."""
    carried_out = {fact.command.id for fact in facts if isinstance(fact, Steered)}
    receipts = run.sessions[-1].state.helm.receipts
    for name, answers in run.inbox.answers.items():
        if any(answer != receipts.get(name) for answer in answers):
            yield f"command {name} was answered with what the journal does not say"
    for name in sorted(carried_out):
        if name not in run.inbox.taken and name not in run.inbox.answers:
            yield f"command {name} was carried out, and nobody was told"


def _unkept(witness: Witness) -> Iterator[str]:
    """Facts that name a commit before its ref exists, and jobs that were submitted twice."""
    for entry in witness.shown:
        if isinstance(entry.fact, Mutated):
            known, commit = witness.kept.get(entry.fact.attempt, (entry.seq, ""))
            if known >= entry.seq or commit != entry.fact.change.commit:
                yield f"attempt {entry.fact.attempt}'s commit had no ref when it was written down"
    jobs = [
        (job.ticket, job.stage, job.plugin, job.challenge and job.challenge.rival, job.try_number)
        for _, job in witness.submitted
    ]
    if len(set(jobs)) != len(jobs):
        yield "a job was submitted twice"


def _crowded(spans: Sequence[Span], slots: Mapping[Stage, int]) -> Iterator[str]:
    """Slots with two jobs at once, roles with more slots than they have, attempts and questions in two places."""
    busy: dict[tuple[str, int], float] = {}
    for span in sorted(spans, key=lambda span: span.began_s):
        for place in ((f"{span.stage} slot", span.slot), span.job.ticket):
            if busy.get(place, 0.0) > span.began_s + 1e-9:
                yield f"{place[0]} {place[1]} has two jobs at once"
            busy[place] = span.ends_s
        if not 0 <= span.slot < slots[span.stage]:
            yield f"{span.stage} has a slot {span.slot}, of {slots[span.stage]}"


def _unlike_replay(run: _Run, entries: Sequence[Entry]) -> Iterator[str]:
    """Sessions whose state is not what a replay of what they had written gives; and frontiers that are not."""
    state, frontier, known = State(), BruteFrontier(), 0
    for number, session in enumerate(run.sessions, start=1):
        if session.state.seq < known:
            yield f"session {number} knew less than the one before it"
            return
        try:
            for entry in entries[known : session.state.seq]:
                state.apply(entry)
                if run.parts.whole_frontier:
                    frontier.told(entry.fact)
        except AssertionError as error:
            yield f"a replay is refused: {error}"
            return
        known = session.state.seq
        if state != session.state:
            yield f"session {number}: a replay of the journal gives another state"
        strangers = session.best - state.candidates.keys()
        if strangers:
            yield f"session {number}: the policy's best {min(strangers)} is no candidate"
        elif run.parts.whole_frontier and set(frontier.points) != session.best:
            yield f"session {number}: the frontier is {sorted(frontier.points)}, not {sorted(session.best)}"


def _asks_otherwise(run: _Run, entries: Sequence[Entry]) -> Iterator[str]:
    """A policy told everything, but asked for the first time, must ask for the same; and the same again."""
    rng = stream(run.scenario.seed, "again")
    asked = [asked for session in run.sessions for asked in session.witness.asked if asked.seq <= len(entries)]
    for one in rng.sample(asked, min(2, len(asked))):
        policy, state = run.make(), State()
        try:
            for entry in entries[: one.seq]:
                state.apply(entry)
                policy.tell(entry.fact)
        except AssertionError:
            return  # said already
        for again in ("rebuilt from the journal", "asked again"):
            proposals = tuple(policy.ask(state, one.slots, stream(state.start.seed, "ask", state.attempts_total)))
            if proposals != one.proposals:
                yield f"at line {one.seq} a policy {again} asks for something else"


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate one seed or several, and print what happened. Exit status 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m raysearch.testing.simulation", description=__doc__)
    parser.add_argument("--policy", default="evolve", help="name, package.module:Class or path/to/file.py:Class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="how many, counting from --seed")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=JSON", help="an option of the policy")
    parser.add_argument("--calm", action="store_true", help="one lane, one session, no faults")
    parser.add_argument("--show", action="store_true", help="print every fact")
    chosen = parser.parse_args(arguments)
    options = {key: _value(value) for key, _, value in (pair.partition("=") for pair in chosen.set)}
    status = 0
    for seed in range(chosen.seed, chosen.seed + chosen.seeds):
        report = simulate(seed, chosen.policy, options, scenario=Scenario.calm(seed) if chosen.calm else None)
        if chosen.show:
            for entry in report.entries:
                print(f"{entry.seq:5d} {entry.run_s:8.3f} {entry.fact}")
        ends = ", ".join(f"{count} {outcome}" for outcome, count in report.counts.items())
        print(f"seed {seed}: {len(report.entries)} facts in {report.sessions} sessions; {ends}")
        for problem in report.problems:
            print(f"  {problem}")
            status = 1
    return status


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
