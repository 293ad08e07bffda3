"""Journal lines: strict in both directions, and old ones stay readable."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.board.types import Action, Author, Filing, Kind
from raysearch.codec import CodecError, check, decode, encode, kind_of
from raysearch.consultation import Consultation, Decision, Level, Reply, Task
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Compared,
    ConsultationOpened,
    Consulted,
    Entry,
    Fact,
    Filed,
    JobFailed,
    Judged,
    Measured,
    Mutated,
    RunEnded,
    RunStarted,
    SessionClosed,
    SessionOpened,
    Steered,
    Unanswered,
)
from raysearch.ledger import read_journal
from raysearch.profile import Finding, Profile
from raysearch.state import State
from raysearch.steering import Command, Steer
from raysearch.testing.audit import audit
from raysearch.types import (
    AttemptId,
    Brief,
    Candidate,
    Case,
    Change,
    Commit,
    Comparison,
    Confirmation,
    Contest,
    Inspiration,
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

text = st.text(max_size=12)
number = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-(2**53), 2**53)
ids = st.integers(0, 10**6).map(AttemptId)
commits = st.text("0123456789abcdef", min_size=40, max_size=40).map(Commit)
trees = commits.map(Tree)
goals = st.sampled_from(("max", "min"))
stages = st.sampled_from(Stage)
conditions = st.dictionaries(text, text, max_size=3)


def some(items: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(items, max_size=3).map(tuple)


usages = st.builds(Usage, number, whole, whole, whole, whole, text, whole, text)
mutations = st.builds(Mutation, text, text, usages)
changes = st.builds(Change, commits, trees, mutations, text)
verdicts = st.builds(
    Verdict, st.booleans(), text, some(st.builds(Case, text, st.booleans(), text)), conditions, st.none() | usages
)
measurements = st.builds(Measurement, text, some(number), text, goals, conditions)
inspirations = st.builds(Inspiration, ids, commits, st.dictionaries(text, number, max_size=3), text)
briefs = st.builds(
    Brief, text, text, some(inspirations), some(text), text, some(inspirations), some(inspirations), text
)
proposals = st.builds(Proposal, some(ids), text, briefs, st.none() | ids, text)
candidates = st.builds(Candidate, ids, commits, trees, some(ids), some(measurements), text, text, text)
confirmations = st.builds(Confirmation, number, number, st.sampled_from(("e-lond", "fixed")), whole, number, whole)
plans = st.builds(
    Plan, some(st.builds(Step, stages, text, number, text)), number, whole, text, st.none() | confirmations
)
objectives = st.builds(Objective, text, goals, text, number, st.booleans(), st.booleans())
standings = st.sampled_from(("better", "worse", "no_worthwhile_gain", "unsettled"))
bound = st.none() | number
comparisons = st.builds(
    Comparison, text, goals, text, st.booleans(), bound, bound, bound, number, whole, number, standings
)
contests = st.builds(Contest, standings, some(comparisons), some(measurements), whole)
limits = st.builds(
    Limits, whole, st.none() | whole, st.none() | number, st.none() | number, number, whole, number, st.none() | whole
)
filings = st.builds(
    Filing,
    st.sampled_from(Action),
    st.builds(Author, text, text),
    whole,
    text,
    text,
    st.sampled_from(Kind),
    *(text,) * 3,
    whole,
    st.sampled_from(("", "done", "failed")),
    text,
)
tasks = st.builds(
    Task, *(text,) * 7, number, *(some(text),) * 3, revert_to_round=st.none() | whole, roadmap=st.none() | text
)
profiles = st.builds(
    Profile, text, some(st.builds(Finding, text, number)), number, st.none() | number, text, conditions
)
replies = st.builds(
    Reply,
    text,
    st.none() | st.builds(Decision, st.booleans(), text, text),
    st.none() | tasks,
    st.none() | profiles,
    some(text),
    some(st.builds(Level, text, some(measurements))),
    some(filings),
    usages,
)
commands = st.builds(
    Command,
    st.sampled_from(Steer),
    text,
    number,
    *(text,) * 4,
    st.dictionaries(text, st.none() | whole | number, max_size=3),
    st.none() | filings,
)
FACTS: dict[type, st.SearchStrategy[Fact]] = {
    RunStarted: st.builds(RunStarted, text, whole, text, text, some(objectives), plans, commits, trees, st.booleans()),
    SessionOpened: st.builds(SessionOpened, whole, limits, text, whole, text),
    AttemptOpened: st.builds(AttemptOpened, ids, proposals),
    Mutated: st.builds(Mutated, ids, changes, text, number, number, some(filings)),
    Judged: st.builds(Judged, ids, text, verdicts, st.none() | ids, text, number),
    Measured: st.builds(Measured, ids, text, some(measurements), st.none() | ids, text, number),
    Compared: st.builds(Compared, ids, ids, number, contests, text, number),
    JobFailed: st.builds(JobFailed, ids, stages, text, text, text, st.booleans(), usages, text, number),
    AttemptClosed: st.builds(AttemptClosed, ids, st.sampled_from(Outcome), text, st.none() | candidates),
    ConsultationOpened: st.builds(ConsultationOpened, whole, st.builds(Consultation, text, ids, briefs, text)),
    Consulted: st.builds(Consulted, whole, replies, text, number, number, some(filings)),
    Unanswered: st.builds(Unanswered, whole, text),
    Filed: st.builds(Filed, filings),
    Steered: st.builds(Steered, commands),
    SessionClosed: st.builds(SessionClosed, text),
    RunEnded: st.builds(RunEnded, text),
}
times = st.floats(0, 1e10).map(lambda seconds: round(seconds, 3))
LINE = encode(Entry(3, 1.5, 0.25, Judged(AttemptId(7), "accuracy", Verdict(False, "no"))))


def test_every_kind_of_fact_is_covered() -> None:
    assert set(FACTS) == set(get_args(Fact))


@given(st.one_of(list(FACTS.values())), st.integers(1, 2**53), times, times)
def test_any_fact_reads_back_as_itself(fact: Fact, seq: int, at_s: float, run_s: float) -> None:
    entry = Entry(seq, at_s, run_s, fact)
    line = encode(entry)
    assert decode(line) == entry
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"\0" not in line  # so that zeros of a power cut can be told from text
    check(fact)


def test_a_line_is_plain_json_with_its_kind() -> None:
    assert json.loads(LINE) == {
        "v": 1,
        "seq": 3,
        "at_s": 1.5,
        "run_s": 0.25,
        "kind": "judged",
        "fact": {
            "attempt": 7,
            "judge": "accuracy",
            "verdict": {"passed": False, "feedback": "no", "cases": [], "conditions": {}, "usage": None},
            "reused_from": None,
            "worker": "",
            "took_s": 0.0,
            "gpu_s": 0.0,
            "filings": [],
        },
    }
    assert kind_of(AttemptOpened) == "attempt_opened"
    assert kind_of(RunEnded("")) == "run_ended"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"kind":"judged"', b'"kind":"juged"', "unknown fact 'juged'"),
        (b'"v":1', b'"v":2', "journal format 2; this raysearch reads 1"),
        (b'"attempt":7,', b"", "missing required field `attempt`"),
        (b'"attempt":7', b'"attempt":"7"', r"Expected `int`, got `str` - at `\$.attempt`"),
        (b'"passed":false', b'"passed":0', r"Expected `bool`, got `int` - at `\$.verdict.passed`"),
        (b'"seq":3', b'"seq":3.5', "Expected `int`"),
        (b'"seq":3,', b"", "missing required field `seq`"),
        (b"}}", b"}", "JSON is malformed|truncated"),
        (b'"no"', b'"\xff"', "utf-8"),
    ],
)
def test_a_damaged_line_says_what_is_wrong(old: bytes, new: bytes, says: str) -> None:
    assert old in LINE
    with pytest.raises(CodecError, match=f"(?i){says}"):
        decode(LINE.replace(old, new, 1))


def test_an_added_field_with_a_default_may_be_missing_and_a_later_one_is_passed_over() -> None:
    """That is how the format may grow within one version."""
    entry = decode(LINE)
    assert decode(LINE.replace(b',"worker":"","took_s":0.0', b"")) == entry
    assert decode(LINE.replace(b'"worker"', b'"mood":"fine","worker"')) == entry


@pytest.mark.parametrize(
    "fact",
    [
        Measured(AttemptId(1), "speed", (Measurement("x", (math.nan,)),)),
        Measured(AttemptId(1), "speed", (Measurement("x", (math.inf,)),)),
        Measured(AttemptId(1), "speed", (Measurement("x", cast(tuple[float, ...], ("1",))),)),
        Judged(AttemptId(1), "accuracy", Verdict(True, "\udc80")),
        Judged(AttemptId(1), "accuracy", Verdict(True, conditions={"when": cast(str, 3)})),
        Judged(AttemptId(1), "accuracy", Verdict(True, cases=cast(tuple[Case, ...], []))),
        Mutated(AttemptId(1), Change(Commit("0"), Tree("1"), Mutation(summary=cast(str, object())))),
    ],
)
def test_what_would_not_read_back_is_found_before_it_is_written(fact: Fact) -> None:
    with pytest.raises(CodecError):
        check(fact)


def test_the_first_journals_stay_readable() -> None:
    """A run of version 1, written once and never again: two sessions, with a power cut's worth of trouble."""
    entries = list(read_journal(Path(__file__).parent / "data" / "journal-v1.jsonl"))
    assert len(entries) == 126
    assert audit(entries) == []
    state = State()
    for entry in entries:
        state.apply(entry)
        assert decode(encode(entry)) == entry
    later = {Compared, ConsultationOpened, Consulted, Unanswered, Filed, Steered}
    assert {type(entry.fact) for entry in entries} == set(get_args(Fact)) - later
    assert (state.session, state.attempts_total, len(state.commits)) == (2, 23, 24)
    assert [state.counts[outcome] for outcome in Outcome] == [7, 15, 2, 0]
    assert state.cost_usd == pytest.approx(0.9585)
    assert state.ended == entries[-1].fact.reason  # type: ignore[union-attr]
