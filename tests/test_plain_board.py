"""The plain loop among others at the board: agents whose word is not enough, judges, people, and limits."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from plain_world import PERSON, Run, World, facts, filed, said, sound, statuses, worked_on

from population.policies.backlog import ME
from raysearch.board import Action, Author, Filing, Kind, Status
from raysearch.consultation import PERFORMANCE_EVALUATOR
from raysearch.facts import AttemptOpened, ConsultationOpened
from raysearch.state import State
from raysearch.testing.simulated import Mishap, PowerCut
from raysearch.types import Limits

BUG, FEATURE, PERF = Kind.BUG, Kind.FEATURE, Kind.PERF
AGENT = Author("implementer", "attempt")


# -- others at the board ------------------------------------------------------------------------------------


def by_agent(action: Action, issue: int, outcome: str = "") -> Filing:
    return Filing(action, AGENT, issue, text="so it is", outcome=outcome)  # type: ignore[arg-type]


def test_an_agent_s_word_that_it_is_done_counts_for_nothing_without_a_program() -> None:
    closes = [by_agent(Action.CLOSE, 1, "done"), by_agent(Action.CLOSE, 2, "done")]
    run = Run(
        World({1: ("cheating", "good")}, by_agents={(1, 1): closes}),
        [(0, filed(BUG, "leaks")), (0, filed(FEATURE, "logs"))],
    )
    state = run.drive()
    assert worked_on(run) == [1, 1, 2]
    assert statuses(state) == {1: "done", 2: "done"}
    assert state.board.issues[2].comments[-1].evidence == "candidate 3"


def test_agents_cannot_try_for_ever_by_closing() -> None:
    closes = {(1, n): [by_agent(Action.CLOSE, 1, "done")] for n in range(1, 9)}
    run = Run(World({1: ("crashing",)}, by_agents=closes), [(0, filed(BUG, "leaks"))])
    assert statuses(run.drive()) == {1: "blocked"}
    assert worked_on(run) == [1, 1, 1]


def test_what_an_agent_closed_with_a_program_that_passed_stays_closed() -> None:
    closes = [by_agent(Action.CLOSE, 1, "done"), by_agent(Action.CLOSE, 2, "done")]
    run = Run(World(by_agents={(1, 1): closes}), [(0, filed(BUG, "leaks")), (0, filed(FEATURE, "logs"))])
    state = run.drive()
    assert worked_on(run) == [1]
    assert statuses(state) == {1: "done", 2: "done"}
    assert [f.question.about for f in facts(run, ConsultationOpened)] == [1], "the head moved on"


def test_what_an_agent_took_in_hand_and_left_is_open_again() -> None:
    files = [by_agent(Action.CLAIM, 2), by_agent(Action.RELEASE, 1), by_agent(Action.CLAIM, 1)]
    run = Run(
        World({1: ("bad", "good")}, by_agents={(1, 1): files}), [(0, filed(BUG, "leaks")), (0, filed(FEATURE, "logs"))]
    )
    state = run.drive()
    assert worked_on(run) == [1, 1, 2]
    assert statuses(state) == {1: "done", 2: "done"}
    assert state.board.issues[2].attempts == 1


def test_a_judge_s_bug_goes_first_and_the_rest_starts_from_the_new_head() -> None:
    bug = Filing(Action.CREATE, Author("judge"), kind=BUG, title="loses a line", name="new-1", batch="7")
    run = Run(World({1: ("cheating", "good")}, by_judges={(1, 1): [bug]}))
    run.drive()
    assert worked_on(run) == [1, 2, 1]
    last = facts(run, AttemptOpened)[-1].proposal
    assert (last.parents, last.repair) == ((2,), None)
    assert last.brief.feedback == "audit: it reads the expected output"


def at_attempt(number: int, run: Run) -> int:
    """The entry at which an attempt was opened."""
    return next(e.seq for e in run.entries if isinstance(e.fact, AttemptOpened) and e.fact.attempt == number)


def meanwhile(*told: Filing, plays: dict[int, Sequence[str]] | None = None) -> tuple[Run, State]:
    """A run of two issues in which a person says something while the first attempt is under way."""
    issues = [(0, filed(FEATURE, "streams")), (0, filed(FEATURE, "logs"))]
    rehearsal = Run(World(plays or {}), issues)
    rehearsal.drive()
    run = Run(World(plays or {}), [*issues, *((at_attempt(1, rehearsal), one) for one in told)])
    return run, run.drive()


def test_a_person_s_word_stands() -> None:
    run, state = meanwhile(Filing(Action.CLOSE, PERSON, 1, text="not wanted"))
    assert statuses(state) == {1: "closed", 2: "done"}
    assert facts(run, AttemptOpened)[-1].proposal.parents == (0,), "what nobody wants is not gone on from"
    run, state = meanwhile(Filing(Action.BLOCK, PERSON, 1), plays={1: ("bad",)})
    assert statuses(state) == {1: "blocked", 2: "done"}
    assert worked_on(run) == [1, 2]
    run, state = meanwhile(Filing(Action.CLOSE, PERSON, 1, outcome="done"), plays={1: ("bad",)})
    assert statuses(state) == {1: "done", 2: "done"}
    run, state = meanwhile(Filing(Action.PRIORITISE, PERSON, 2, priority=7), plays={1: ("bad", "good")})
    assert worked_on(run) == [1, 2, 1]
    run, state = meanwhile(Filing(Action.COMMENT, PERSON, 1, text="mind the gap"), plays={1: ("bad", "good")})
    assert "- person (ann): mind the gap" in facts(run, AttemptOpened)[2].proposal.brief.task


def test_what_a_person_has_in_hand_is_left_alone() -> None:
    run, state = meanwhile(Filing(Action.RELEASE, PERSON, 1), Filing(Action.CLAIM, PERSON, 1))
    assert worked_on(run) == [1, 2]
    assert (statuses(state)[1], state.board.issues[1].holder) == ("in_progress", PERSON)


def test_reopened_by_a_person_it_is_as_new() -> None:
    rehearsal = Run(World({1: ("bad",)}), [(0, filed(BUG, "leaks")), (0, filed(PERF, "slow"))])
    rehearsal.drive()
    reopened = (at_attempt(4, rehearsal), Filing(Action.REOPEN, PERSON, 1, text="look at the other end"))
    run = Run(rehearsal.world, [*rehearsal.people, reopened])
    assert statuses(run.drive()) == {1: "blocked", 2: "done"}
    assert worked_on(run) == [1, 1, 1, 2, 1, 1, 1]


def test_work_that_ran_out_of_time_counts_for_nothing() -> None:
    run = Run(World(), limits=Limits(run_s=0.5, drain_s=0.0))
    state = run.drive()
    while not state.closed.get(1):  # type: ignore[call-overload]
        run.limits = Limits(run_s=state.run_s + 1.5, drain_s=0.0)
        state = run.drive()
    run.limits = Limits()
    state = run.drive()
    assert statuses(state) == {1: "done"}
    assert state.board.issues[1].attempts == 1


def test_limits_leave_the_issue_in_hand_to_the_next_session() -> None:
    run = Run(World({1: ("bad", "good")}), limits=Limits(attempts_max=1))
    assert statuses(run.drive()) == {1: "in_progress"}
    run.limits = Limits()
    state = run.drive()
    assert statuses(state) == {1: "done"}
    assert state.board.issues[1].attempts == 2
    assert worked_on(run) == [1, 1]


# -- anything at all ----------------------------------------------------------------------------------------

kinds = st.sampled_from(list(Kind))
words = st.sampled_from(["good", "good 9", "good -30", "bad", "lazy", "cheating", "crashing"])
numbers = st.integers(1, 6)
new_issues = st.builds(filed, kinds, st.just("x"), st.integers(-2, 2))
outcomes = st.sampled_from(["", "done", "failed"])
acts = st.sampled_from([a for a in Action if a is not Action.CREATE])
agents_acts = st.sampled_from([Action.CLAIM, Action.RELEASE, Action.CLOSE, Action.COMMENT])
by_people = st.one_of(
    new_issues,
    st.builds(lambda a, n, o: Filing(a, PERSON, n, text="so", outcome=o), acts, numbers, outcomes),
)
by_agents = st.builds(lambda a, n, o: Filing(a, AGENT, n, text="so", outcome=o), agents_acts, numbers, outcomes)


@settings(max_examples=120, deadline=None)
@given(
    plays=st.dictionaries(numbers, st.lists(words, min_size=1, max_size=3), max_size=6),
    people=st.lists(st.tuples(st.integers(0, 90), by_people), max_size=8),
    agents=st.dictionaries(st.tuples(numbers, st.integers(1, 3)), st.lists(by_agents, max_size=4), max_size=6),
    replies=st.lists(
        st.one_of(st.just("broken"), st.lists(new_issues, max_size=5).map(lambda new: said("so", *new))), max_size=3
    ),
    cut_at=st.one_of(st.none(), st.integers(1, 60)),
    seed=st.sampled_from(["seed good 100", "seed bad 1", None]),
)
def test_whatever_others_do_it_ends_and_nothing_is_left_in_hand(plays, people, agents, replies, cut_at, seed) -> None:
    run = Run(World(plays, replies, agents, seed=seed), people)
    try:
        state = run.drive(None if cut_at is None else Mishap(cut_at))
    except PowerCut:
        state = run.drive()
    sound(run)
    assert state.ended
    assert [issue for issue in state.board.having(Status.IN_PROGRESS) if issue.holder != PERSON] == []
    opened = [fact for fact in facts(run, AttemptOpened) if fact.attempt]
    assert len(opened) <= 3 * (len(state.board.issues) + len(people))
    assert all(refusal.filing.author != ME for refusal in state.board.refusals)
    asked = [fact.question.role for fact in facts(run, ConsultationOpened)]
    assert asked == [PERFORMANCE_EVALUATOR] * len(asked)
    assert len(asked) <= 5 + sum(reply == "broken" for reply in replies)
