"""People steer a run: what they say is carried out once, whoever dies meanwhile, and every fold of it agrees."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from clerk import Clerk
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.board import Action, Author, Board, Filing
from raysearch.engine import Engine
from raysearch.errors import Invariant, PluginError
from raysearch.facts import AttemptOpened, Entry, Filed, RunEnded, SessionClosed, SessionOpened, Steered
from raysearch.helm import Helm, heard
from raysearch.jobs import Job
from raysearch.plugins import load
from raysearch.protocols import Policy, View
from raysearch.sinks.progress import Progress
from raysearch.state import State
from raysearch.steering import Command, Receipt, Steer
from raysearch.testing.audit import audit
from raysearch.testing.people import SimInbox
from raysearch.testing.simulated import FakeClock, Mishap, PowerCut, SimDisk, SimPool
from raysearch.testing.simulation import Parts, simulate
from raysearch.testing.world import World
from raysearch.types import Limits, Plan, Stage, Step
from raysearch.views import fold

PLAN = Plan((Step(Stage.JUDGE, "build"), Step(Stage.BENCHMARK, "both")))
LIMITS = Limits(open_max=2, attempts_max=12)


@dataclass
class Run:
    """A run in a small world; every call of `drive` is a session of its own."""

    policy: str = "best-of-n"
    disk: SimDisk = field(default_factory=SimDisk)
    world: World = field(default_factory=lambda: World(1))
    inbox: SimInbox = field(default_factory=lambda: SimInbox(random.Random(0)))
    submitted: list[tuple[int, Job]] = field(default_factory=list)
    seq: int = 0

    def drive(
        self,
        *commands: tuple[int, Command],
        limits: Limits = LIMITS,
        mishap: Mishap | None = None,
        policy: Policy | None = None,
    ) -> State:
        clock = FakeClock()
        pool = SimPool(self.world.perform, clock, random.Random(2), dict.fromkeys(Stage, 3))
        chosen = policy or cast(Policy, load("policies", self.policy, {}))
        steering = self.inbox.driven(commands)
        engine = Engine(chosen, pool, self.disk.open(mishap), clock, cast(Any, self), steering=steering)
        return engine.run(self.world.start(PLAN, True), SessionOpened(0, limits, "here", 1, "0"))

    def told(self, entry: Entry) -> None:
        self.seq = entry.seq

    def started(self, job: Job) -> None:
        self.submitted.append((self.seq, job))

    def close(self) -> None:
        """Nothing is held."""

    @property
    def entries(self) -> list[Entry]:
        return list(self.disk.open().replay())

    def of(self, *kinds: type) -> list[Entry]:
        return [entry for entry in self.entries if isinstance(entry.fact, kinds)]

    def sound(self) -> None:
        assert audit(self.entries, self.submitted) == []


def test_a_paused_run_hands_nothing_out_and_goes_on() -> None:
    run = Run()
    state = run.drive((5, Command(Steer.PAUSE, text="lunch")), (200, Command(Steer.UNPAUSE)))
    pause, unpause = run.of(Steered)
    assert not [job for seq, job in run.submitted if pause.seq <= seq < unpause.seq]
    assert unpause.run_s - pause.run_s > 30, "paused time is run time"
    assert not run.of(AttemptOpened)[-1].seq < unpause.seq, "it went on afterwards"
    assert state.ended == "12 candidates"
    assert [answers[0].text for answers in run.inbox.answers.values()] == ["no more work is handed out", "it goes on"]
    run.sound()


def test_a_limit_ends_a_paused_run() -> None:
    run = Run()
    state = run.drive((5, Command(Steer.PAUSE)), limits=Limits(2, 1000, run_s=30.0, drain_s=1.0))
    assert state.ended == "time budget of 30 s"
    run.sound()


def test_an_answer_that_cannot_be_written_keeps_nothing_else_from_being_done() -> None:
    class Unwritable(SimInbox):
        def answer(self, name: str, receipt: Receipt) -> None:
            if name == "0001" and "0002" not in self.answers:
                raise OSError("no space left on device")
            super().answer(name, receipt)

    run = Run(inbox=Unwritable(random.Random(0)))
    state = run.drive((5, Command(Steer.PAUSE)), (5, Command(Steer.UNPAUSE)))
    assert state.ended == "12 candidates"
    assert len(run.of(Steered)) == len(run.inbox.answers) == 2
    run.sound()


def test_stop_lets_go_and_the_run_can_be_resumed() -> None:
    run = Run()
    state = run.drive((4, Command(Steer.PAUSE)), (8, Command(Steer.STOP, text="the machine is needed")))
    assert not state.ended
    assert run.entries[-1].fact == SessionClosed("the machine is needed")
    state = run.drive()
    assert state.ended == "12 candidates", "a pause ends where somebody goes on"
    run.sound()


def test_limits_go_up_and_down_and_are_kept() -> None:
    run = Run()
    assert run.drive((4, budget(attempts_max=5))).ended == "5 candidates"
    assert run.drive().attempts_total == 5, "the same flags again leave what people said"
    more = Limits(open_max=2, attempts_max=8)
    assert run.drive((2, budget(open_max=1)), limits=more).attempts_total == 8, "other flags win"
    assert run.drive(limits=more).limits == Limits(open_max=1, attempts_max=8)
    lifted = run.drive((1, budget(attempts_max=9)), (3, budget(attempts_max=11)), limits=Limits(2, 10))
    assert lifted.ended == "11 candidates"
    run.sound()


def test_time_that_is_given_once_more_has_its_own_end() -> None:
    run = Run()
    limits = Limits(2, None, run_s=10.0, drain_s=6.0)
    state = run.drive((5, Command(Steer.PAUSE)), (16, budget(run_s=25.0)), limits=limits)
    assert state.ended == "time budget of 25 s"
    assert state.run_s >= 31, "what is under way gets its extra time once more"
    run.sound()


def test_what_cannot_be_done_is_said_and_changes_nothing() -> None:
    run = Run()
    run.drive((2, budget(lanes=4)), (3, Command(Steer.FILING, filing=Filing(Action.CLOSE, Author("person"), 7))))
    first, second = (run.inbox.answers[name][0] for name in sorted(run.inbox.answers))
    assert not first.ok
    assert "no limit 'lanes'" in first.text
    assert not second.ok
    assert "no issue 7" in second.text
    run.sound()


def test_a_message_stands_in_the_briefs_of_those_it_is_for() -> None:
    run = Run("chain")
    everybody = Command(Steer.MESSAGE, text="smaller steps")
    one = Command(Steer.MESSAGE, text="try the east", role="implementer", lineage="chain-1")
    judges = Command(Steer.MESSAGE, text="be strict", role="judge")
    run.drive((5, everybody), (5, one), (5, judges))
    last = run.of(Steered)[-1].seq
    told = {(e.seq > last, e.fact.proposal.lineage, e.fact.proposal.brief.messages) for e in run.of(AttemptOpened)}
    assert (True, "chain-0", ("smaller steps",)) in told
    assert (True, "chain-1", ("smaller steps", "try the east")) in told
    assert {messages for after, _, messages in told if not after} == {()}
    assert not any("be strict" in messages for _, _, messages in told)


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
def test_a_command_is_carried_out_once_wherever_its_driver_dies(kept: float) -> None:
    said = Command(Steer.FILING, filing=Filing(Action.CREATE, Author("person"), title="too slow"))
    for append in range(1, 24):
        run = Run()
        try:
            run.drive((3, said), (3, budget(attempts_max=6)), mishap=Mishap(append, kept))
        except PowerCut:
            run.drive()
        assert len(run.of(Steered)) in {0, 2}, "not sent, or both"
        assert {len(answers) for answers in run.inbox.answers.values()} <= {1}
        assert len(run.inbox.answers) == len(run.of(Steered))
        run.sound()


def test_a_command_twice_is_no_journal() -> None:
    helm, board = Helm(), Board()
    helm.steered(Command(Steer.PAUSE, "1"), 4, board)
    with pytest.raises(Invariant, match="carried out once"):
        helm.steered(Command(Steer.PAUSE, "1"), 5, board)


class Deaf(Engine):
    """Hands out work though it is paused."""

    def _submit(self, job: Job, allowance: Any) -> None:
        paused, self.state.helm.paused = self.state.helm.paused, False
        super()._submit(job, allowance)
        self.state.helm.paused = paused


class Generous(Engine):
    """Knows the limits of its session alone."""

    def _slots(self) -> int:
        limits, self.state.helm.limits = self.state.helm.limits, self.state.helm.asked
        slots = super()._slots()
        self.state.helm.limits = limits
        return slots


@pytest.mark.parametrize(
    ("engine", "told"), [(Deaf, "though the run is paused"), (Generous, "more than|beyond the limit")]
)
def test_the_auditor_notices(engine: type[Engine], told: str) -> None:
    reports = (simulate(seed, "best-of-n", parts=Parts(engine)) for seed in range(100))
    assert any(re.search(told, problem) for report in reports for problem in report.problems)


# -- a policy that files and asks ---------------------------------------------------------------------------


def test_a_policy_that_files_and_asks_through_power_cuts() -> None:
    kinds: set[type] = set()
    for seed in range(40):
        report = simulate(seed, Clerk, parts=Parts(whole_frontier=False))
        report.check()
        kinds |= {type(entry.fact) for entry in report.entries}
    assert {Filed, Steered} <= kinds


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_equal_journals_give_equal_boards(seed: int, rng: random.Random) -> None:
    entries = simulate(seed, Clerk, parts=Parts(whole_frontier=False)).entries
    entries = entries[: rng.randint(1, len(entries))]
    one, other, helm, board = State(), State(), Helm(), Board()
    for entry in entries:
        one.apply(entry)
        other.apply(entry)
        heard(entry, helm, board)
    projection = fold(entries)
    progress = Progress(lambda: projection.skyline)
    for entry in entries:
        progress.told(entry)
    assert one.board == other.board == board == projection.board == progress.board
    assert one.helm == other.helm == helm == projection.helm == progress.helm


@dataclass
class Finished:
    """Wants nothing, and says why."""

    why: str = "the queue is empty"

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Any]:
        return ()

    def tell(self, fact: object) -> None:
        """Nothing is remembered."""

    def best(self, view: View) -> Sequence[Any]:
        return ()

    def over(self, view: View) -> str:
        if self.why == "?":
            raise KeyError("queue")
        return self.why


def test_a_policy_says_why_it_is_over() -> None:
    run = Run()
    run.drive(policy=Finished())
    assert run.entries[-1].fact == RunEnded("the queue is empty")
    other = Run()
    other.drive(policy=Finished(""))
    assert other.entries[-1].fact == RunEnded("the policy has no more to ask")
    with pytest.raises(PluginError, match=r"policy Finished: over\(\)"):
        Run().drive(policy=Finished("?"))


def budget(**limits: float | None) -> Command:
    return Command(Steer.BUDGET, limits=limits)
