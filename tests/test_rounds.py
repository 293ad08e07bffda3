"""Rounds: how a task's forecast is resolved, what is remembered of them, and whom the agent loop asks about what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from population_world import ONE, TWO, World, candidate

from population.policies.agent import FAILED_ROUNDS_MAX, Agent
from raysearch.consultation import Consultation, Decision, Reply, Task
from raysearch.errors import ConfigError
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Compared,
    ConsultationOpened,
    Consulted,
    Fact,
    RunEnded,
    RunStarted,
    SessionOpened,
    Unanswered,
)
from raysearch.profile import Finding, Profile
from raysearch.testing.scenario import Scenario
from raysearch.testing.simulated import Faults, Mishap
from raysearch.testing.simulation import simulate
from raysearch.testing.twins import essences
from raysearch.types import (
    SEED,
    AttemptId,
    Commit,
    Comparison,
    Confirmation,
    Contest,
    Goal,
    Limits,
    Objective,
    Outcome,
    Plan,
    Proposal,
    Stage,
    Standing,
    Step,
    Tree,
)
from raysearch.views.round_texts import progress, remembered
from raysearch.views.rounds import Book, Resolution, label, number_of

EVERYBODY = ("triage", "profiler", "planner")
PLANNED = Task("t", "c")


def started(
    *objectives: Objective, confirmation: Confirmation | None = None, roles: tuple[str, ...] = ()
) -> RunStarted:
    plan = Plan((), confirmation=confirmation, consultants=tuple(Step(Stage.MUTATE, role) for role in roles))
    nothing = "0" * 40
    return RunStarted("r", 1, "t", "", objectives or ONE, plan, Commit(nothing), Tree(nothing), seeded=True)


def book_of(
    before: float,
    after: float,
    *,
    goal: Goal = "max",
    noise: float = 0.0,
    task: Task | None = PLANNED,
    confirmation: Confirmation | None = None,
    confirmed: bool = True,
    said: Comparison | None = None,
) -> Book:
    """A seed that scores ``before``, and round 1 whose child scores ``after``."""
    book = Book()
    facts: list[Fact] = [
        started(Objective("speed", goal, noise=noise), confirmation=confirmation),
        AttemptOpened(SEED, Proposal()),
        AttemptClosed(SEED, Outcome.ADMITTED, "", candidate(0, speed=before, heat=8.0)),
    ]
    if task is not None:
        facts += [ConsultationOpened(1, Consultation("planner", lineage=label(1))), Consulted(1, Reply(task=task))]
    facts.append(AttemptOpened(AttemptId(1), Proposal((SEED,), lineage=label(1))))
    if said is not None:
        facts.append(Compared(AttemptId(1), SEED, 0.05, Contest(said.verdict, (said,))))
    child = replace(candidate(1, label(1), (0,), speed=after, heat=4.0), confirmed=confirmed)
    facts.append(AttemptClosed(AttemptId(1), Outcome.ADMITTED, "", child))
    for fact in facts:
        book.told(fact)
    return book


def resolution(book: Book) -> str:
    return book.resolved(book.rounds[1]).resolution.value


def pairs(verdict: Standing, effect: float | None, relative: bool = True) -> Comparison:
    return Comparison("speed", "max", "", relative, effect, None, None, 0.95, 8, 1.0, verdict)


# -- resolution ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "goal", "noise", "expected"),
    [
        (10.0, 10.2, "max", 0.01, "PROVEN"),
        (10.0, 10.1, "max", 0.01, "INCONCLUSIVE"),
        (10.0, 9.95, "max", 0.01, "INCONCLUSIVE"),
        (10.0, 9.8, "max", 0.01, "DISPROVEN"),
        (10.0, 9.8, "min", 0.01, "PROVEN"),
        (10.0, 10.2, "min", 0.01, "DISPROVEN"),
        (-10.0, -9.8, "max", 0.01, "PROVEN"),
        (0.0, 0.1, "max", 0.01, "PROVEN"),
        (10.0, 10.0, "max", 0.0, "INCONCLUSIVE"),
    ],
)
def test_medians_beyond_the_noise_decide(before: float, after: float, goal: Goal, noise: float, expected: str) -> None:
    assert resolution(book_of(before, after, goal=goal, noise=noise)) == expected


def test_a_gain_below_what_was_to_count_proves_nothing() -> None:
    task = Task("t", "c", minimum_gain=0.1)
    book = book_of(10.0, 10.5, task=task)
    assert resolution(book) == "INCONCLUSIVE"
    assert "by less than the 10 % that were to count" in progress(book)
    assert resolution(book_of(10.0, 11.0, task=task)) == "PROVEN"


def test_what_pairs_did_not_settle_is_not_proven() -> None:
    confirmation = Confirmation(min_effect=0.02)
    assert resolution(book_of(10.0, 12.0, confirmation=confirmation, confirmed=False)) == "INCONCLUSIVE"
    assert resolution(book_of(10.0, 12.0, confirmation=confirmation)) == "PROVEN"
    assert resolution(book_of(10.0, 10.1, confirmation=confirmation)) == "INCONCLUSIVE", "less than is worth claiming"
    assert resolution(book_of(10.0, 8.0, confirmation=confirmation, confirmed=False)) == "DISPROVEN"


@pytest.mark.parametrize(
    ("said", "expected", "kept"),
    [
        (pairs("better", 0.05), "PROVEN", True),
        (pairs("better", 0.5, relative=False), "PROVEN", True),
        (pairs("better", None), "PROVEN", True),
        (pairs("better", 0.01), "INCONCLUSIVE", True),
        (pairs("worse", -0.05), "DISPROVEN", False),
        (pairs("unsettled", 0.004), "INCONCLUSIVE", True),
        (pairs("no_worthwhile_gain", -0.004), "INCONCLUSIVE", False),
    ],
)
def test_pairs_with_the_causal_parent_outrank_medians(said: Comparison, expected: str, kept: bool) -> None:
    task = Task("t", "c", minimum_gain=0.04)
    book = book_of(10.0, 10.5, task=task, confirmation=Confirmation(), said=said)
    assert (resolution(book), book.rounds[1].kept) == (expected, kept)
    assert book.head == (AttemptId(1) if kept else SEED)


@pytest.mark.parametrize(("metric", "expected"), [("heat", "DISPROVEN"), ("colour", "UNMEASURED"), ("", "PROVEN")])
def test_the_tasks_own_metric_counts(metric: str, expected: str) -> None:
    assert resolution(book_of(10.0, 11.0, task=Task("t", "c", metric=metric))) == expected


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (12.0, "speed 10 -> 12 (20 % better)"),
        (8.0, "speed 10 -> 8 (20 % worse)"),
        (10.0, "speed 10 -> 10 (within the noise)"),
        (10.2, "speed 10 -> 10.2 (2 % better; within the noise)"),
    ],
)
def test_what_nobody_planned_is_neither_proven_nor_disproven(after: float, told: str) -> None:
    book = book_of(10.0, after, task=None, noise=0.05)
    book.told(RunEnded("enough"))
    assert resolution(book) == "UNPLANNED"
    assert book.gained(book.rounds[1]) is (after == 12.0), "a gain is one, whoever thought of it"
    assert "### Round 1: no task was planned (UNPLANNED)" in progress(book)
    assert f"- Measured: {told}" in progress(book)
    assert f"- 1. no task was planned: UNPLANNED. {told}" in remembered(book, chars=2000)


def test_a_first_program_has_nothing_to_be_compared_with() -> None:
    book = Book()
    for fact in (
        started(),
        ConsultationOpened(1, Consultation("planner", lineage=label(1))),
        Consulted(1, Reply(task=Task("t", "c"))),
        AttemptOpened(AttemptId(1), Proposal(lineage=label(1))),
        AttemptClosed(AttemptId(1), Outcome.ADMITTED, "", candidate(1, label(1), speed=1.0)),
    ):
        book.told(fact)
    found = book.resolved(book.rounds[1])
    assert (found.resolution, found.after, book.head) == (Resolution.INCONCLUSIVE, 1.0, AttemptId(1))


@given(before=st.floats(-1e6, 1e6), after=st.floats(-1e6, 1e6), noise=st.floats(0, 0.5), least=st.floats(0, 0.5))
def test_directions_mirror_each_other(before: float, after: float, noise: float, least: float) -> None:
    task = Task("t", "c", minimum_gain=least)
    up = resolution(book_of(before, after, noise=noise, task=task))
    down = resolution(book_of(-before, -after, goal="min", noise=noise, task=task))
    assert up == down
    if up == "PROVEN":
        back = resolution(book_of(before, 2 * before - after, noise=noise, task=task))
        assert back in ("DISPROVEN", "INCONCLUSIVE")


@pytest.mark.parametrize(
    ("lineage", "number"),
    [
        ("round-0", 0),
        ("round-12", 12),
        ("agent/round-3", 3),
        ("a/b/round-3", None),
        ("round-012", None),
        ("round-", None),
        ("lineage", None),
        ("round-1x", None),
    ],
)
def test_lineages_name_rounds(lineage: str, number: int | None) -> None:
    assert number_of(lineage) == number
    assert number is None or lineage.endswith(label(number))


# -- memory -------------------------------------------------------------------------------------------------


@given(chars=st.integers(500, 6000), rounds=st.integers(0, 60), words=st.integers(0, 4000))
def test_what_is_remembered_is_bounded(chars: int, rounds: int, words: int) -> None:
    book = book_of(1.0, 1.0)
    for number in range(2, rounds + 2):
        attempt = AttemptId(number)
        book.told(AttemptOpened(attempt, Proposal((SEED,), lineage=label(number))))
        book.told(AttemptClosed(attempt, Outcome.REJECTED, f"wrong in {number} " + "x" * words))
    book.roadmap = "r" * words
    text = remembered(book, "n" * words, current=rounds + 2, chars=chars)
    assert len(text) <= chars
    if rounds and chars > 2000:
        assert f"- {rounds + 1}. no task was planned: UNPLANNED" in text, "the latest come first"


# -- the policy ---------------------------------------------------------------------------------------------


class Loop:
    """An agent loop whose consultants say what the test says."""

    def __init__(self, policy: Agent, roles: tuple[str, ...] = EVERYBODY, *objectives: Objective) -> None:
        self.world = World(policy, objectives or ONE, Limits(open_max=1))
        self.asked = 0
        self.world.record(started(*(objectives or ONE), roles=roles))
        self.world.record(SessionOpened(1, self.world.limits, "h", 1, "0"))
        self.world.record(AttemptOpened(SEED, Proposal()))
        self.world.admit(SEED, **{o.name: 1.0 for o in self.world.objectives})

    def next(self) -> Consultation | Proposal:
        (one,) = self.world.ask()
        assert isinstance(one, Consultation | Proposal)
        return one

    def question(self, role: str) -> Consultation:
        one = self.next()
        assert isinstance(one, Consultation)
        assert one.role == role
        self.asked += 1
        self.world.record(ConsultationOpened(self.asked, one))
        assert self.world.ask() == [], "it waits for the reply"
        return one

    def consult(self, role: str, reply: Reply | str) -> Consultation:
        one = self.question(role)
        self.world.record(Unanswered(self.asked, reply) if isinstance(reply, str) else Consulted(self.asked, reply))
        return one

    def attempt(self) -> AttemptId:
        one = self.next()
        assert isinstance(one, Proposal)
        return self.world.propose(one)

    def proposal(self) -> Proposal:
        one = self.next()
        assert isinstance(one, Proposal)
        return one


def plan(revert_to_round: int | None = None, **more: object) -> Reply:
    return Reply(task=Task("idea", "do it", revert_to_round=revert_to_round, **more))  # type: ignore[arg-type]


PROFILED = Reply("slow", profile=Profile("perf", (Finding("loop", 0.9),)))
YES, NO = Reply(decision=Decision(True, "the loop")), Reply(decision=Decision(False))


def test_a_profile_is_taken_where_triage_says_so() -> None:
    loop = Loop(Agent())
    loop.consult("triage", YES)
    assert loop.consult("profiler", PROFILED).brief.task == "the loop"
    assert "- 90.0 % loop" in loop.consult("planner", plan()).brief.profile
    loop.world.admit(loop.attempt(), speed=2.0)
    question = loop.consult("triage", NO)
    assert (question.about, question.brief.profile) == (AttemptId(1), "")
    loop.consult("planner", plan())
    assert loop.proposal().parents == (AttemptId(1),)


def test_who_does_not_answer_is_left_out() -> None:
    loop = Loop(Agent())
    loop.consult("triage", "it broke")
    loop.consult("planner", "out of money")
    assert loop.proposal().brief.task == ""


def test_the_next_planner_is_told_that_the_last_one_did_not_answer() -> None:
    loop = Loop(Agent(), ("planner",))
    loop.consult("planner", "out of money")
    loop.world.admit(loop.attempt(), speed=2.0)
    memory = loop.consult("planner", plan()).brief.memory
    assert "- 1. the planner did not answer: UNPLANNED. speed 1 -> 2 (100 % better), kept (candidate 1)" in memory


def test_failures_end_a_round_and_say_nothing_about_its_task() -> None:
    loop = Loop(Agent(max_failures_per_round=2, plateau_after=1), ("planner",))
    loop.consult("planner", plan())
    loop.world.reject(loop.attempt(), "wrong")
    loop.world.fail(loop.attempt())
    assert (loop.proposal().lineage, loop.proposal().repair) == ("round-1", AttemptId(1)), "it uses up no try"
    loop.world.fail(loop.attempt())
    question = loop.consult("planner", plan())
    assert question.lineage == "round-2"
    assert "- 1. idea: FAILED. 2 attempts failed, the last: " in question.brief.memory
    assert "gained nothing" not in question.brief.task, "nothing was tried in vain"
    loop.world.fail(loop.attempt())
    assert loop.proposal().lineage == "round-2", "each round counts its own"
    loop.world.admit(loop.attempt(), speed=2.0)
    assert "- 2. idea: PROVEN" in loop.consult("planner", plan()).brief.memory


def ending(loop: Loop) -> str:
    """Why there is nothing more to ask for."""
    assert isinstance(loop.world.policy, Agent)
    return loop.world.policy.over()


def test_an_agent_that_never_works_ends_the_run_until_it_is_resumed() -> None:
    loop = Loop(Agent(max_rounds=None), ("planner",))
    for _ in range(FAILED_ROUNDS_MAX):
        assert ending(loop) == ""
        loop.consult("planner", plan())
        for _ in range(3):
            loop.world.fail(loop.attempt())
    assert loop.world.ask() == []
    assert ending(loop) == ("no attempt of the latest 3 rounds got through; the latest failure: the worker went away")
    loop.world.record(SessionOpened(2, loop.world.limits, "h", 1, "0"))
    assert ending(loop) == ""
    assert loop.consult("planner", plan()).lineage == "round-4"


def test_who_breaks_while_profiling_is_left_out() -> None:
    loop = Loop(Agent())
    loop.consult("triage", YES)
    loop.consult("profiler", "no symbols")
    loop.consult("planner", plan())


@pytest.mark.parametrize(
    ("roles", "order"),
    [
        (("planner",), ["planner"]),
        (("profiler", "planner"), ["profiler", "planner"]),
        (("profiler",), []),
        (("triage",), ["triage"]),
        ((), []),
    ],
)
def test_whom_the_run_lacks_is_left_out(roles: tuple[str, ...], order: list[str]) -> None:
    loop = Loop(Agent(), roles)
    replies = {"triage": YES, "profiler": PROFILED, "planner": plan()}
    for role in order:
        loop.consult(role, replies[role])
    assert loop.proposal().lineage == "round-1"


def test_without_triage_a_program_is_profiled_once() -> None:
    loop = Loop(Agent(), ("profiler", "planner"))
    loop.consult("profiler", PROFILED)
    loop.consult("planner", plan())
    loop.world.admit(loop.attempt(), speed=0.5)
    loop.consult("planner", plan())
    loop.world.admit(loop.attempt(), speed=2.0)
    assert loop.consult("profiler", PROFILED).about == AttemptId(2)


def test_a_single_agent_plans_for_itself() -> None:
    assert Loop(Agent(inner_loop="single-agent")).proposal().brief.task == ""


def test_skills_are_recommended_unless_told_not_to() -> None:
    for wanted in (True, False):
        loop = Loop(Agent(skills=wanted), ("planner",))
        loop.consult("planner", plan(skills=("counting",)))
        assert ("counting" in loop.proposal().brief.task) is wanted


def test_a_reply_without_a_task_is_none() -> None:
    loop = Loop(Agent(), ("planner",))
    loop.consult("planner", Reply("I would rather not"))
    assert loop.proposal().brief.task == ""


@pytest.mark.parametrize(("number", "why"), [(1, "is this one"), (7, "is still to come")])
def test_to_a_round_that_is_none_nobody_goes_back(number: int, why: str) -> None:
    loop = Loop(Agent(), ("planner",))
    loop.consult("planner", plan(number))
    assert f"revert_to_round {number}: round {number} {why}" in loop.consult("planner", plan(number)).brief.task
    assert loop.proposal().parents == (SEED,)


def test_going_back_does_not_move_the_head_unless_it_pays() -> None:
    loop = Loop(Agent(), ("planner",))
    loop.consult("planner", plan())
    loop.world.admit(loop.attempt(), speed=5.0)
    loop.consult("planner", plan(0))
    assert loop.proposal().parents == (SEED,)
    refused = loop.attempt()
    loop.world.reject(refused, "wrong")
    assert (loop.proposal().parents, loop.proposal().repair) == ((SEED,), refused)
    loop.world.admit(loop.attempt(), speed=0.5)
    assert loop.consult("planner", plan()).about == AttemptId(1)
    assert loop.proposal().parents == (AttemptId(1),)
    loop.world.admit(loop.attempt(), speed=5.5)
    loop.consult("planner", plan(0))
    back = loop.attempt()
    loop.world.admit(back, speed=2.0)
    assert loop.consult("planner", plan()).about == back, "better than what it was made from"


def test_a_plateau_is_told_with_directions_and_what_was_tried() -> None:
    loop = Loop(Agent(plateau_after=2, max_retries_per_round=1), ("planner",), *TWO)
    loop.consult("planner", plan())
    loop.world.admit(loop.attempt(), size=1.0, speed=3.0)
    assert "gained nothing" not in loop.consult("planner", plan()).brief.task
    loop.world.admit(loop.attempt(), size=1.0, speed=3.0)
    assert "gained nothing" not in loop.consult("planner", plan()).brief.task
    loop.world.reject(loop.attempt(), "wrong")
    told = loop.consult("planner", plan()).brief.task
    assert "The last 2 rounds gained nothing beyond the noise in any objective:\n" in told
    assert (
        "- size (less is better): 1 at best, of the seed\n- speed (more is better): 3 at best, since round 1\n" in told
    )
    assert "- round 2, idea: INCONCLUSIVE, speed 3 -> 3\n- round 3, idea: UNMEASURED, refused 1 times\n" in told
    loop.world.admit(loop.attempt(), size=0.5, speed=3.0)
    assert "gained nothing" not in loop.consult("planner", plan()).brief.task, "smaller is better"


def test_the_roadmap_is_the_planners() -> None:
    loop = Loop(Agent(), ("planner",))
    loop.consult("planner", plan(roadmap="first this"))
    assert loop.proposal().brief.memory == "## Roadmap\nfirst this"
    loop.world.admit(loop.attempt(), speed=2.0)
    assert "## Roadmap\nfirst this\n" in loop.consult("planner", plan(roadmap="")).brief.memory
    assert "Roadmap" not in loop.proposal().brief.memory


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"judge_every": 3}, "judge_every can only be 1; it is 3: every program must pass every gate"),
        ({"official_eval_every": 2}, "official_eval_every can only be 1; it is 2"),
        ({"judge_every": 0}, "judge_every must be a whole number, 1 or more"),
        ({"inner_loop": "lone"}, "inner_loop must be 'multi-agent' or 'single-agent'"),
        ({"skills": "no"}, "skills must be true or false"),
        ({"max_failures_per_round": 0}, "max_failures_per_round must be a whole number, 1 or more"),
        ({"plateau_after": -1}, "plateau_after must be a whole number, 0 or more"),
        ({"max_rounds": 0}, "max_rounds must be a whole number, 1 or more"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Agent(**options)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_a_stop_rule_ends_it_before_anybody_is_asked() -> None:
    loop = Loop(Agent(stop_at={"speed": 1.0}))
    assert loop.world.ask() == []


# -- killed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [11, 12, 13, 16])
def test_killed_at_twenty_points_it_tells_the_same_story(seed: int) -> None:
    calm = Scenario.calm(seed, attempts=40)
    everybody = tuple(Step(Stage.MUTATE, role, 20.0) for role in EVERYBODY)
    calm = replace(calm, plan=replace(calm.plan, consultants=everybody))
    session = calm.sessions[0]
    cuts = [replace(session, mishap=Mishap(2 + (7 * n + seed) % 19, kept=n % 3 / 2)) for n in range(20)]
    cut = replace(calm, sessions=(*cuts, replace(session, faults=Faults())))
    whole, broken = (simulate(seed, "agent", scenario=scenario) for scenario in (calm, cut))
    whole.check()
    broken.check()
    assert broken.sessions == 21
    told = [
        [fact for fact in essences(report.entries) if not isinstance(fact, SessionOpened)] for report in (whole, broken)
    ]
    assert told[0] == told[1]
    assert sum(isinstance(fact, Consulted) for fact in told[0]) > 10
