"""The agent loop, driven by the real engine over real git: who is asked what in which order, and what comes of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pygit2
import pytest
from golden import same
from toys import make_target

from population.policies.agent import Agent
from raysearch.config.targets import load_target, snapshot_target
from raysearch.consultation import Consultation
from raysearch.engine import Engine
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    ConsultationOpened,
    Consulted,
    Entry,
    Fact,
    JobFailed,
    Judged,
    Measured,
    Mutated,
    RunEnded,
    SessionOpened,
    Unanswered,
)
from raysearch.jobs import Job
from raysearch.ledger import read_journal
from raysearch.plugins import PluginSpec
from raysearch.pools.inline import InlinePool
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder, sweep_scratch
from raysearch.run.search import Search, create, started
from raysearch.sandbox import open_sandbox
from raysearch.sinks.roundpages import RoundPages
from raysearch.testing.audit import audit
from raysearch.testing.simulated import FakeClock, FileDisk, Mishap, PowerCut
from raysearch.testing.twins import essences
from raysearch.types import SEED, AttemptId, Brief, Commit, Limits, Outcome, Proposal, Stage, Step
from raysearch.views import pages, round_texts
from raysearch.views.rounds import Book, Resolution
from raysearch.worker import Worker, WorkerSpec

CAST = str(Path(__file__).with_name("agent_cast.py"))
PLUGINS = {
    (Stage.MUTATE, "default"): PluginSpec("mutators", "default", f"{CAST}:Implementer"),
    (Stage.JUDGE, "accuracy"): PluginSpec("judges", "accuracy", "accuracy"),
    (Stage.BENCHMARK, "benchmark"): PluginSpec("benchmarks", "benchmark", "benchmark"),
}
ROLES = {"triage": Stage.MUTATE, "profiler": Stage.BENCHMARK, "planner": Stage.MUTATE}
CONSULTANTS = {role: PluginSpec("consultants", role, f"{CAST}:{role.capitalize()}") for role in ROLES}
ROUNDS = 9


@dataclass
class Submitted:
    """A sink that remembers what was handed out, and how much was known then."""

    known: int = 0
    jobs: list[tuple[int, Job]] = field(default_factory=list)

    def told(self, entry: Entry) -> None:
        self.known = entry.seq

    def started(self, job: Job) -> None:
        self.jobs.append((self.known, job))

    def close(self) -> None:
        return None


@dataclass
class Play:
    """A run of the whole cast."""

    run: RunFolder
    target: Path
    roles: Sequence[str] = tuple(ROLES)
    submitted: Submitted = field(default_factory=Submitted)
    clock: FakeClock = field(default_factory=lambda: FakeClock(wall_s=1e9))

    def perform(self, cuts: Iterator[Mishap | None]) -> list[Entry]:
        """Session after session until the run has ended; each dies as ``cuts`` say."""
        self.run.path.mkdir(parents=True)
        target = snapshot_target(load_target(self.target), self.run.target)
        create(self.run, target)
        consultants = {role: CONSULTANTS[role] for role in self.roles}
        asked = tuple(Step(ROLES[role], role) for role in self.roles)
        search = Search(5, PluginSpec("policies", "agent", "agent"), {}, PLUGINS, (), Limits())
        sandbox = open_sandbox("auto", run=self.run.identity).name
        spec = WorkerSpec(self.run.identity, 5, self.run.workspace, target, PLUGINS, sandbox, consultants=consultants)
        repository = Repository(self.run.workspace)
        first = started(self.run, search, target, repository)
        start = replace(first, plan=replace(first.plan, consultants=asked))
        try:
            for number, cut in enumerate(cuts):
                policy = Agent(max_rounds=ROUNDS, max_retries_per_round=2)
                pool, ledger = InlinePool(Worker(spec)), FileDisk(self.run.path).open(cut)
                engine = Engine(policy, pool, ledger, self.clock, self.submitted, keep=repository.name)
                try:
                    engine.run(start, SessionOpened(0, Limits(), "here", number, "0"))
                except PowerCut:
                    pass
                else:
                    break
                finally:
                    pool.close()
                    ledger.close()
        finally:
            sweep_scratch(spec.run)
        return self.entries()

    def entries(self) -> list[Entry]:
        return list(read_journal(self.run.journal))


def whole() -> Iterator[Mishap | None]:
    yield None


def cut_at_random(count: int, seed: int) -> Iterator[Mishap | None]:
    """So many power cuts, each some lines after the last; then peace."""
    rng = random.Random(seed)
    for _ in range(count):
        yield Mishap(rng.randint(2, 9), kept=rng.choice((0.0, rng.random(), 1.0)))
    yield None


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Play:
    folder = tmp_path_factory.mktemp("agent")
    made = Play(RunFolder(folder / "run"), make_target(folder / "toy"))
    made.perform(whole())
    return made


def book_of(entries: Sequence[Entry]) -> Book:
    book = Book()
    for entry in entries:
        book.told(entry.fact)
    return book


# -- the transcript -----------------------------------------------------------------------------------------


def transcript(entries: Sequence[Entry]) -> str:
    """Who was asked or told what, what they said or changed, in order."""
    return "\n".join(line for entry in entries for line in spoken(entry.fact)) + "\n"


def spoken(fact: Fact) -> Iterator[str]:
    match fact:
        case ConsultationOpened(number, question):
            yield f"\n=== ?{number} {question.role} about {question.about}, {question.lineage}"
            yield from told(question.brief)
        case Consulted(number, reply):
            yield f"--- ?{number} says"
            for part in (reply.decision, reply.profile, reply.task):
                if part is not None:
                    yield f"    {part}"
        case Unanswered(number, reason):
            yield f"--- ?{number} says nothing: {reason}"
        case AttemptOpened(number, proposal) if number != SEED:
            mending = "" if proposal.repair is None else f", mending {proposal.repair}"
            yield f"\n=== #{number} from {list(proposal.parents)}{mending}, {proposal.lineage}"
            yield from told(proposal.brief)
        case Mutated(number, change) if number != SEED:
            yield f"--- #{number} changed: {change.mutation.summary}"
        case Judged(number, judge, verdict):
            yield f"--- #{number} {judge}: {'yes' if verdict.passed else f'no, {verdict.feedback}'}"
        case Measured(number, _, measurements):
            yield f"--- #{number} measured: {', '.join(f'{m.name} {m.value:g}' for m in measurements)}"
        case JobFailed() if fact.consultation is None:
            yield f"--- #{fact.attempt} broke: {fact.message}"
        case AttemptClosed(number, outcome, reason):
            yield f"--- #{number} {outcome}" + (f": {reason}" if reason else "")
        case RunEnded(reason):
            yield f"\n=== the end: {reason}"


def told(brief: Brief) -> Iterator[str]:
    parents = [f"{p.id}: {dict(p.scores)}" for p in brief.parents]
    others = [f"{p.id}: {dict(p.scores)}" for p in brief.frontier]
    for name, text in (
        ("task", brief.task),
        ("feedback", brief.feedback),
        ("lessons", "\n".join(brief.lessons)),
        ("memory", brief.memory),
        ("profile", brief.profile),
        ("parents", "\n".join(parents)),
        ("frontier", "\n".join(others)),
    ):
        if text:
            yield f"  {name}:"
            yield from (f"    {line}".rstrip() for line in text.splitlines())


def test_the_transcript(play: Play) -> None:
    entries = play.entries()
    assert audit(entries, play.submitted.jobs, slack_s=60) == []
    same("agent/transcript.txt", transcript(entries))


def test_files_tell_the_same_story(play: Play) -> None:
    book = book_of(play.entries())
    same("agent/progress.md", round_texts.progress(book))
    assert round_texts.roadmap(book) == "# Roadmap\n\n1. nearer\n2. never below zero\n"


def test_each_round_has_a_page(play: Play) -> None:
    told = pages(book_of(play.entries()))
    assert list(told) == list(range(1, ROUNDS + 1)), "round 0 is no round"
    same("agent/rounds.md", "\n".join(told.values()))


@pytest.mark.parametrize("cut", [0, 9, 30])
def test_pages_are_written_while_it_goes_on_and_caught_up(play: Play, cut: int, tmp_path: Path) -> None:
    entries, book = play.entries(), Book()
    sink = RoundPages(tmp_path / "rounds", lambda since: pages(book, since))
    titles = set()
    for entry in entries:
        book.told(entry.fact)
        if entry.seq > cut:  # a driver that has died wrote none of the others
            sink.told(entry)
            if (tmp_path / "rounds" / "003.md").exists():
                titles.add((tmp_path / "rounds" / "003.md").read_text().splitlines()[0].rpartition("(")[2])
    assert titles == {"under way)", "UNMEASURED)"}
    written = {int(path.stem): path.read_text() for path in (tmp_path / "rounds").iterdir()}
    assert written == pages(book)


def test_a_page_says_where_transcripts_lie_and_holds_whole_reasons() -> None:
    book = Book()
    reason = "wrong:\n" + "\n".join(f"case {n} \x1b[2J" for n in range(40))
    for fact in (
        ConsultationOpened(7, Consultation("planner", lineage="round-1")),
        Unanswered(7, "no\nmoney"),
        AttemptOpened(AttemptId(3), Proposal((SEED,), lineage="round-1")),
        AttemptClosed(AttemptId(3), Outcome.REJECTED, reason),
    ):
        book.told(fact)
    (page,) = pages(book).values()
    assert page.startswith("# Round 1: the planner did not answer (under way)\n")
    assert "- planner: `consultations/7-planner-*`\n" in page
    assert "- planner: no reply\n  > no\n  > money\n" in page
    assert "- Attempt 3: rejected, `attempts/3/`\n  > wrong:\n  > case 0 �[2J\n" in page
    assert page.endswith("  > case 39 �[2J\n")


def test_the_order_of_roles(play: Play) -> None:
    asked: dict[str, list[str]] = {}
    for entry in play.entries():
        match entry.fact:
            case ConsultationOpened(_, question):
                asked.setdefault(question.lineage, []).append(question.role)
            case AttemptOpened(number, proposal) if number != SEED:
                asked.setdefault(proposal.lineage, []).append("implementer")
    one = ["triage", "planner", "implementer"]
    assert asked == {
        "round-1": ["triage", "profiler", "planner", "implementer"],
        "round-2": [*one, "implementer"],
        "round-3": [*one, "implementer"],
        "round-4": ["triage", "profiler", "planner", "implementer", "implementer"],
        "round-5": one,
        "round-6": asked["round-6"],
        "round-7": one,
        "round-8": ["triage", "planner", "planner", "implementer"],
        "round-9": one,
    }
    assert asked["round-6"][:2] == ["triage", "planner"]


def test_forecasts_are_resolved_by_measurements(play: Play) -> None:
    book = book_of(play.entries())
    resolved = {number: str(book.resolved(book.rounds[number]).resolution) for number in range(1, ROUNDS + 1)}
    assert resolved == {
        1: "PROVEN",
        2: "PROVEN",
        3: "UNMEASURED",
        4: "PROVEN",
        5: "DISPROVEN",
        6: "DISPROVEN",
        7: "INCONCLUSIVE",
        8: "PROVEN",
        9: "UNPLANNED",
    }
    assert isinstance(play.entries()[-1].fact, RunEnded)


# -- going back ---------------------------------------------------------------------------------------------


def test_round_five_goes_back_to_round_two(play: Play) -> None:
    entries, book = play.entries(), book_of(play.entries())
    git = pygit2.Repository(str(play.run.workspace))
    two, four, five = (book.rounds[number] for number in (2, 4, 5))
    assert two.child is not None
    assert four.child is not None
    assert five.child is not None
    assert five.base == two.child.id != four.child.id
    (opened,) = [e.fact for e in entries if isinstance(e.fact, AttemptOpened) and e.fact.proposal.lineage == "round-5"]
    assert opened.proposal.parents == (two.child.id,)
    (told_of,) = opened.proposal.brief.parents
    assert told_of.scores == two.child.scores
    assert [str(parent) for parent in git[five.child.commit].parent_ids] == [two.child.commit]
    found = book.resolved(five)
    assert (found.metric, found.before, found.after) == ("small", two.child.scores["small"], five.child.scores["small"])
    assert book.rounds[6].base == five.child.id, "it was better in the primary objective than what it came from"


def test_a_round_without_a_program_is_told_back_once(play: Play) -> None:
    plans = [
        e.fact.question.brief.task
        for e in play.entries()
        if isinstance(e.fact, ConsultationOpened)
        and (e.fact.question.role, e.fact.question.lineage) == ("planner", "round-8")
    ]
    assert len(plans) == 2
    assert "cannot be done" not in plans[0]
    assert "revert_to_round 3: round 3 left no program that passed every gate. There are 0 (the seed), 1, 2" in plans[1]


# -- who is there -------------------------------------------------------------------------------------------


def test_without_anybody_to_ask_the_objective_is_the_task(tmp_path: Path) -> None:
    made = Play(RunFolder(tmp_path / "run"), make_target(tmp_path / "toy"), roles=())
    entries = made.perform(whole())
    opened = [e.fact.proposal for e in entries if isinstance(e.fact, AttemptOpened) and e.fact.attempt != SEED]
    assert not [e for e in entries if isinstance(e.fact, ConsultationOpened)]
    assert {proposal.brief.task for proposal in opened} == {""}
    assert [p.lineage for p in opened][:3] == ["round-1", "round-2", "round-2"]
    assert opened[2].repair == AttemptId(2)


# -- killed -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_at_twenty_points_nothing_is_paid_twice(play: Play, tmp_path: Path) -> None:
    made = Play(RunFolder(tmp_path / "run"), play.target)
    entries = made.perform(cut_at_random(20, seed=3))
    sessions = [e for e in entries if isinstance(e.fact, SessionOpened)]
    assert len(sessions) > 15, "a cut within the first lines of a session leaves none of it"
    assert audit(entries, made.submitted.jobs, slack_s=60) == []
    assert paid_again(entries, made.submitted.jobs) == []
    plain, cut = (
        [fact for fact in essences(those) if not isinstance(fact, SessionOpened)][1:]
        for those in (play.entries(), entries)
    )
    assert cut == plain, "whoever looks at the journal cannot tell that anything happened"
    repository = Repository(made.run.workspace)
    for entry in entries:
        if isinstance(entry.fact, Mutated):
            assert repository.commit_of(entry.fact.attempt) == Commit(entry.fact.change.commit)


def paid_again(entries: Sequence[Entry], jobs: Sequence[tuple[int, Job]]) -> list[Job]:
    """Jobs that were handed out though their answer stood in the journal."""
    answered = dict[tuple[object, ...], int]()
    for entry in entries:
        match entry.fact:
            case Consulted(number):
                answered["consultation", number] = entry.seq
            case Mutated(number):
                answered["attempt", number, "default"] = entry.seq
            case Judged(number, judge):
                answered["attempt", number, judge] = entry.seq
            case Measured(number, benchmark):
                answered["attempt", number, benchmark] = entry.seq
    found = []
    for known, job in jobs:
        key = job.ticket if job.consultation is not None else (*job.ticket, job.plugin)
        if answered.get(key, known) < known:
            found.append(job)
    return found


def test_what_was_refused_counts_as_nothing_measured(play: Play) -> None:
    book = book_of(play.entries())
    lazy = book.rounds[3]
    assert [one.outcome for one in lazy.tries] == [Outcome.REJECTED] * 2
    assert all(one.reason.startswith("known tree") for one in lazy.tries)
    assert book.resolved(lazy).resolution is Resolution.UNMEASURED
