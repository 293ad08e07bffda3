"""State is a fold: equal journals give equal states, and what cannot follow is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raysearch.errors import Invariant
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
    SessionClosed,
    SessionOpened,
)
from raysearch.jobs import Job
from raysearch.lifecycle import advance
from raysearch.state import State
from raysearch.testing.simulation import simulate
from raysearch.types import (
    SEED,
    AttemptId,
    Candidate,
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

JOURNALS = [simulate(seed, policy).entries for policy in ("evolve", "agent") for seed in (0, 2, 3, 22)]
PLAN = Plan((Step(Stage.JUDGE, "build"), Step(Stage.JUDGE, "accuracy"), Step(Stage.BENCHMARK, "speed")), retries_max=1)
START = RunStarted("run", 0, "t", "", (Objective("speed"),), PLAN, Commit("c0"), Tree("t0"), seeded=True)
SESSION = SessionOpened(1, Limits(), "host", 1, "0")
FAST = (Measurement("speed", (1.0, 3.0, 2.0)),)
ONE, TWO = AttemptId(1), AttemptId(2)


def folded(*facts: Fact) -> State:
    state = State()
    for fact in facts:
        told(state, fact)
    return state


def applied(entries: list[Entry]) -> State:
    state = State()
    for entry in entries:
        state.apply(entry)
    return state


def told(state: State, fact: Fact) -> None:
    state.apply(Entry(state.seq + 1, 100.0 + state.seq, float(state.seq), fact))


def mutated(attempt: AttemptId, tree: str, refusal: str = "") -> Mutated:
    change = Change(Commit(f"commit-{attempt}"), Tree(tree), Mutation("", "", Usage(cost_usd=0.25)), refusal)
    return Mutated(attempt, change)


def admitted(attempt: AttemptId, tree: str, parents: tuple[AttemptId, ...] = ()) -> list[Fact]:
    """All facts of an attempt that becomes a candidate."""
    candidate = Candidate(attempt, Commit(f"commit-{attempt}"), Tree(tree), parents, FAST)
    return [
        AttemptOpened(attempt, Proposal(parents)),
        mutated(attempt, tree),
        Judged(attempt, "build", Verdict(True)),
        Judged(attempt, "accuracy", Verdict(True)),
        Measured(attempt, "speed", FAST),
        AttemptClosed(attempt, Outcome.ADMITTED, "", candidate),
    ]


SEEDED: list[Fact] = [START, SESSION, *admitted(SEED, "t0")]


# -- properties ---------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(JOURNALS), st.integers(0, 400))
def test_a_fold_may_be_interrupted_anywhere(entries: list[Entry], at: int) -> None:
    rest = copy.deepcopy(applied(entries[:at]))
    for entry in entries[at:]:
        rest.apply(entry)
    assert rest == applied(entries)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(JOURNALS), st.data())
def test_a_line_that_is_missing_doubled_or_swapped_is_refused(entries: list[Entry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entries) - 2))
    broken = data.draw(
        st.sampled_from(
            (
                entries[:at] + entries[at + 1 :],
                [*entries[:at], entries[at], *entries[at:]],
                [*entries[:at], entries[at + 1], entries[at], *entries[at + 2 :]],
            )
        )
    )
    with pytest.raises(Invariant, match="gaps"):
        applied(broken)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(JOURNALS), st.integers(1, 400))
def test_workers_and_their_times_are_never_read(entries: list[Entry], at: int) -> None:
    """Observations may differ between twins; what is believed may not."""
    seen, blind = State(), State()
    for entry in entries[:at]:
        seen.apply(entry)
        fact = entry.fact
        if isinstance(fact, Mutated | Judged | Measured | JobFailed):
            fact = replace(fact, worker="elsewhere", took_s=fact.took_s + 1e6)
        blind.apply(replace(entry, fact=fact))
    assert seen == blind


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(JOURNALS), st.integers(1, 400))
def test_advance_is_a_query_that_always_has_an_answer(entries: list[Entry], at: int) -> None:
    state = applied(entries[:at])
    before = copy.deepcopy(state)
    for attempt in state.open.values():
        first = advance(state, attempt)
        assert first == advance(state, attempt)
        assert isinstance(first, Job) or first.attempt == attempt.id
    assert state == before


# -- what may not follow ------------------------------------------------------------------------------------

OPENED = AttemptOpened(ONE, Proposal((SEED,)))
YES, NO = Verdict(True), Verdict(False, "no")
REFUSED: dict[str, tuple[list[Fact], Fact, str]] = {
    "a second start": ([START], START, "starts once"),
    "a session before the start": ([], SESSION, "follows the start"),
    "a session out of order": ([START, SESSION], replace(SESSION, session=3), "numbered in order"),
    "a number skipped": (SEEDED, AttemptOpened(TWO, Proposal((SEED,))), "numbered in order"),
    "a number used again": ([*SEEDED, OPENED], OPENED, "numbered in order"),
    "the seed twice": (SEEDED, AttemptOpened(SEED, Proposal()), "seed comes first"),
    "a stranger for a parent": (SEEDED, AttemptOpened(ONE, Proposal((AttemptId(9),))), "parent is a candidate"),
    "a repair of nothing": (SEEDED, AttemptOpened(ONE, Proposal((SEED,), repair=TWO)), "has a commit"),
    "progress of nobody": (SEEDED, mutated(ONE, "t1"), "attempt 1 is open"),
    "two mutations": ([*SEEDED, OPENED, mutated(ONE, "t1")], mutated(ONE, "t2"), "mutates once"),
    "a verdict on nothing": ([*SEEDED, OPENED], Judged(ONE, "build", YES), "judged after mutated"),
    "a judge twice": ([*SEEDED, *admitted(ONE, "t1")[:3]], Judged(ONE, "build", YES), "speaks once"),
    "a benchmark twice": ([*SEEDED, *admitted(ONE, "t1")[:5]], Measured(ONE, "speed", FAST), "runs once"),
    "a measurement of nothing": ([*SEEDED, OPENED], Measured(ONE, "speed", FAST), "measured after mutated"),
    "a measurement after a no": (
        [*SEEDED, OPENED, mutated(ONE, "t1"), Judged(ONE, "build", NO)],
        Measured(ONE, "speed", FAST),
        "only if passed",
    ),
    "admission before a gate": (
        [*SEEDED, *admitted(ONE, "t1")[:3]],
        admitted(ONE, "t1")[-1],
        "after every gate and benchmark",
    ),
    "admission after a no": (
        [
            *SEEDED,
            OPENED,
            mutated(ONE, "t1"),
            *admitted(ONE, "t1")[4:5],
            *(Judged(ONE, j, NO) for j in ("build", "accuracy")),
        ],
        admitted(ONE, "t1")[-1],
        "every gate said yes",
    ),
    "admission without a candidate": (
        [*SEEDED, *admitted(ONE, "t1")[:5]],
        AttemptClosed(ONE, Outcome.ADMITTED),
        "with its candidate",
    ),
    "admission as another": (
        [*SEEDED, *admitted(ONE, "t1")[:5]],
        AttemptClosed(ONE, Outcome.ADMITTED, "", Candidate(ONE, Commit("else"), Tree("t1"), (), FAST)),
        "as itself",
    ),
    "closing twice": ([*SEEDED, *admitted(ONE, "t1", (SEED,))], AttemptClosed(ONE, Outcome.FAILED), "is open"),
    "an end with something open": ([*SEEDED, OPENED], RunEnded(""), "nothing open"),
    "anything after the end": ([*SEEDED, RunEnded("done")], OPENED, "after the end"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    before, fact, says = REFUSED[what]
    state = folded(*before)
    with pytest.raises(Invariant, match=says):
        told(state, fact)


# -- what is known ------------------------------------------------------------------------------------------


def test_an_admitted_attempt_keeps_its_number_and_its_median() -> None:
    state = folded(*SEEDED, *admitted(ONE, "t1", (SEED,)))
    assert state.candidates[ONE].scores == {"speed": 2.0}
    assert state.candidates[ONE].parents == (SEED,)
    assert state.counts[Outcome.ADMITTED] == 2
    assert state.cost_usd == 0.5
    assert not state.open


@pytest.mark.parametrize(
    ("retries", "ends"),
    [
        ([True], ""),
        ([True, True], "WorkerLost: gone"),
        ([False], "WorkerLost: gone"),
    ],
)
def test_retries_are_bounded_by_the_plan(retries: list[bool], ends: str) -> None:
    lost = [JobFailed(ONE, Stage.MUTATE, "default", "WorkerLost", "gone", retry, Usage(0.1)) for retry in retries]
    state = folded(*SEEDED, OPENED, *lost)
    assert state.open[ONE].fatal == ends
    assert state.cost_usd == pytest.approx(0.25 + 0.1 * len(retries))
    due = advance(state, state.open[ONE])
    if ends:
        assert due == AttemptClosed(ONE, Outcome.FAILED, ends)
    else:
        assert isinstance(due, Job)
        assert due.try_number == 1


def test_a_tree_that_is_known_is_not_paid_for_again() -> None:
    state = folded(*SEEDED, OPENED, mutated(ONE, "t0"))
    due = advance(state, state.open[ONE])
    assert due == AttemptClosed(ONE, Outcome.REJECTED, "known tree: the same program as attempt 0")


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.ABANDONED])
def test_what_a_broken_attempt_had_finished_is_reused(outcome: Outcome) -> None:
    facts = [*SEEDED, OPENED, mutated(ONE, "t1"), Judged(ONE, "build", YES), AttemptClosed(ONE, outcome, "broke")]
    state = folded(*facts, AttemptOpened(TWO, Proposal((SEED,))), mutated(TWO, "t1"))
    due = advance(state, state.open[TWO])
    assert due == Judged(TWO, "build", YES, reused_from=ONE)
    told(state, due)
    then = advance(state, state.open[TWO])
    assert isinstance(then, Job)
    assert (then.stage, then.plugin) == (Stage.JUDGE, "accuracy")


def test_a_guard_s_refusal_is_an_end() -> None:
    state = folded(*SEEDED, OPENED, mutated(ONE, "t1", "changed README.md"))
    assert advance(state, state.open[ONE]) == AttemptClosed(ONE, Outcome.REJECTED, "guard: changed README.md")


def test_a_benchmark_that_leaves_an_objective_out_has_failed() -> None:
    heat = (Measurement("heat", (1.0,)),)
    facts = [*SEEDED, *admitted(ONE, "t1")[:4], Measured(ONE, "speed", heat)]
    state = folded(*facts)
    assert advance(state, state.open[ONE]) == AttemptClosed(ONE, Outcome.FAILED, "no benchmark measured speed")


def test_a_repair_starts_from_the_refused_commit_and_keeps_the_parents() -> None:
    facts = [*SEEDED, OPENED, mutated(ONE, "t1"), Judged(ONE, "build", NO), AttemptClosed(ONE, Outcome.REJECTED, "no")]
    state = folded(*facts, AttemptOpened(TWO, Proposal((SEED,), repair=ONE)))
    due = advance(state, state.open[TWO])
    assert isinstance(due, Job)
    assert (due.base, due.parents) == ("commit-1", ("commit-0",))


def test_a_session_starts_the_count_of_failures_afresh_and_may_follow_the_end() -> None:
    failed = [fact for n in (1, 2) for fact in failure(AttemptId(n))]
    state = folded(*SEEDED, *failed)
    assert (state.failed_in_row, state.last_failure) == (2, "broke")
    told(state, RunEnded("2 in a row"))
    assert state.ended
    told(state, replace(SESSION, session=2))
    assert (state.failed_in_row, state.ended, state.session) == (0, "", 2)


def failure(attempt: AttemptId) -> list[Fact]:
    return [AttemptOpened(attempt, Proposal((SEED,))), AttemptClosed(attempt, Outcome.FAILED, "broke")]


def test_time_never_runs_backwards() -> None:
    state = State()
    for seq, (fact, run_s) in enumerate(((START, 5.0), (SESSION, 3.0)), start=1):
        state.apply(Entry(seq, 0.0, run_s, fact))
    assert state.run_s == 5.0


def test_a_closed_session_changes_nothing_that_is_open() -> None:
    state = folded(*SEEDED, OPENED)
    before: Callable[[], tuple[object, ...]] = lambda: (dict(state.open), state.ended)  # noqa: E731
    known = before()
    told(state, SessionClosed("asked"))
    assert before() == known
