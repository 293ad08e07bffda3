"""Views: the frontier beside brute force, documents beside the journal they come from."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import OBJECTIVES, Journal, commit_of, lively

from raysearch import views
from raysearch.codec import decode, encode
from raysearch.errors import Invariant
from raysearch.facts import AttemptClosed, SessionClosed
from raysearch.state import State
from raysearch.testing.simulation import simulate
from raysearch.types import (
    SEED,
    AttemptId,
    Candidate,
    Inspiration,
    Measurement,
    Objective,
    Outcome,
    Proposal,
    Tree,
)
from raysearch.types import Brief as TaskBrief


def candidate(number: int, values: dict[str, float]) -> Candidate:
    measured = tuple(Measurement(name, (value,)) for name, value in values.items())
    return Candidate(AttemptId(number), commit_of(number), Tree("t"), (), measured)


def axes(count: int, rng: random.Random) -> tuple[Objective, ...]:
    primary = rng.randrange(count)
    return tuple(Objective(f"o{i}", rng.choice(("max", "min")), primary=i == primary) for i in range(count))


def brute(objectives: tuple[Objective, ...], candidates: list[Candidate]) -> list[int]:
    """The first of each non-dominated vector, by definition."""
    points = {c.id: tuple(o.sign * c.scores[o.name] for o in objectives) for c in candidates}
    kept: list[int] = []
    for number, point in points.items():
        beaten = any(q != point and all(a >= b for a, b in zip(q, point, strict=True)) for q in points.values())
        twin = any(points[other] == point for other in points if other < number)
        if not beaten and not twin:
            kept.append(number)
    return kept


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 4), size=st.integers(0, 60), steps=st.integers(1, 12))
def test_the_skyline_is_what_the_definition_says(seed: int, count: int, size: int, steps: int) -> None:
    rng = random.Random(seed)
    objectives = axes(count, rng)
    skyline = views.Skyline(objectives)
    told: list[Candidate] = []
    for number in range(size):
        told.append(candidate(number, {o.name: float(rng.randrange(steps)) for o in objectives}))
        entered = skyline.add(told[-1])
        members = [c.id for c in skyline.members]
        assert sorted(members) == brute(objectives, told)
        assert entered == (number in skyline) == (number in members)
    first = next(o for o in objectives if o.primary)
    primaries = [first.sign * c.scores[first.name] for c in skyline.members]
    assert primaries == sorted(primaries, reverse=True)
    assert skyline.top(2) == skyline.members[:2]
    assert len(skyline) == len(skyline.members)
    assert (skyline.best is None) == (size == 0)


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_candidate_without_a_finite_value_stays_out(value: float | None) -> None:
    skyline = views.Skyline(OBJECTIVES)
    scores = {"sum_radii": 1.0} if value is None else {"sum_radii": 1.0, "latency": value}
    assert not skyline.add(candidate(1, scores))
    assert skyline.best is None


def test_without_a_primary_objective_the_first_one_ranks() -> None:
    skyline = views.Skyline((Objective("a", "min"), Objective("b", "max")))
    for number, scores in enumerate([(3.0, 9.0), (1.0, 1.0), (2.0, 5.0)]):
        skyline.add(candidate(number, dict(zip("ab", scores, strict=True))))
    assert [c.id for c in skyline.members] == [1, 2, 0]


def strict(data: bytes) -> dict[str, object]:
    """Parsed as a strict reader does: no NaN, no Infinity."""

    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is not JSON")

    parsed = json.loads(data, parse_constant=refuse)
    assert isinstance(parsed, dict)
    return parsed


def test_the_documents_of_a_run_agree_with_its_state() -> None:
    entries = list(lively(80))
    run, state = views.fold(entries), State()
    for entry in entries:
        state.apply(entry)
    said = views.summary(run)
    assert said["attempts"] == state.attempts_total == 80
    for outcome in Outcome:
        seeds = outcome is state.closed[SEED]
        assert said[outcome.value] == state.counts[outcome] - seeds
    assert sum(run.counts.values()) == 80
    assert said["cost_usd"] == pytest.approx(state.cost_usd)
    assert said["seq"] == state.seq
    assert said["status"] == "ended"
    assert said["stopped_by"] == state.ended
    population, rounds = (strict(b"".join(pieces(run))) for pieces in (views.population, views.rounds))
    rows = population["candidates"]
    assert isinstance(rows, list)
    assert {row["id"] for row in rows} == set(state.candidates)
    for row in rows:
        known = state.candidates[row["id"]]
        assert (row["commit"], row["metrics"], tuple(row["parents"])) == (known.commit, known.scores, known.parents)
    assert sorted(population["frontier"]) == brute(OBJECTIVES, list(state.candidates.values()))  # type: ignore[call-overload]
    lines = rounds["rounds"]
    assert isinstance(lines, list)
    assert [line["attempt"] for line in lines] == [e.fact.attempt for e in entries if isinstance(e.fact, AttemptClosed)]
    assert {line["attempt"]: line["outcome"] for line in lines} == state.closed
    assert sum(line["cost_usd"] for line in lines) == pytest.approx(state.cost_usd)


def test_the_json_contract_of_a_summary() -> None:
    run = views.fold(lively(30))
    said = views.summary(run)
    for key in ("run", "attempts", "admitted", "rejected", "failed", "elapsed_s", "cost_usd", "stopped_by"):
        assert key in said
    assert said["best"] == said["frontier"][0]  # type: ignore[index]
    assert set(said["best"]) == {"id", "commit", "metrics"}  # type: ignore[call-overload]
    other = run.skyline.members[-1]
    assert views.summary(run, other)["best"] == views.candidate_row(other)


def test_a_projection_of_a_journal_read_back_is_the_same() -> None:
    entries = list(lively(40))
    live, again = views.fold(entries), views.fold(decode(encode(e)) for e in entries)
    assert list(views.rounds(live)) == list(views.rounds(again))
    assert list(views.population(live)) == list(views.population(again))
    assert views.summary(live) == views.summary(again)


def test_an_empty_journal_has_a_summary() -> None:
    run = views.fold([])
    assert views.summary(run)["status"] == "open"
    assert strict(b"".join(views.population(run)))["candidates"] == []
    assert strict(b"".join(views.rounds(run)))["rounds"] == []


def test_mutators_are_counted_apart_and_the_seed_under_its_own_name() -> None:
    journal = Journal()
    journal.begin()
    journal.admit(journal.open(), (2.0, 10.0))
    journal.reject(journal.open(proposal=Proposal((SEED,), "merge")))
    rows = {str(row["mutator"]): row for row in views.mutators(views.fold(journal.entries))}
    assert set(rows) == {"seed program", "tune", "merge"}
    assert rows["tune"]["frontier"] == 1
    assert rows["seed program"]["frontier"] == 0
    assert (rows["merge"]["attempts"], rows["merge"]["rejected"]) == (1, 1)


def test_an_attempt_shows_all_that_was_told_and_found() -> None:
    journal = Journal()
    journal.begin()
    brief = TaskBrief("shrink it", "too slow", (Inspiration(SEED, commit_of(0), {"sum_radii": 0.96}),), ("no loops",))
    attempt = journal.open(proposal=Proposal((SEED,), "tune", brief, None, "island-1"))
    journal.mutate(attempt)
    journal.judge(attempt, True)
    journal.fail(attempt, retry=True)
    journal.fail(attempt)
    journal.close(attempt, Outcome.FAILED, "TimedOut: " + "x" * 5000)
    trace = views.entries_of(journal.entries, attempt)
    said = views.attempt(trace)
    assert said["outcome"] == "failed"
    assert said["brief"]["task"] == "shrink it"  # type: ignore[index]
    assert said["brief"]["inspirations"][0]["scores"] == {"sum_radii": 0.96}  # type: ignore[index]
    assert [v["judge"] for v in said["verdicts"]] == ["accuracy"]  # type: ignore[attr-defined]
    assert [f["retry"] for f in said["failures"]] == [True, False]  # type: ignore[attr-defined]
    assert said["faults"] == 2
    assert len(str(said["reason"])) > 5000
    assert len(str(views.round_row(trace)["reason"])) == 1000
    assert views.entries_of(journal.entries, AttemptId(99)) == []


def test_numbers_that_are_not_finite_become_null() -> None:
    row = views.candidate_row(candidate(1, {"sum_radii": math.inf, "latency": math.nan}))
    assert row["metrics"] == {"sum_radii": None, "latency": None}


def test_a_session_that_stopped_and_one_that_goes_on() -> None:
    journal = Journal()
    journal.begin()
    journal.add(SessionClosed("interrupted"))
    assert views.summary(views.fold(journal.entries))["status"] == "stopped"
    attempt = journal.open()
    journal.session(2)
    said = views.summary(views.fold(journal.entries))
    assert (said["status"], said["session"], said["stopped_by"]) == ("open", 2, "")
    assert [row["attempt"] for row in said["open"]] == [attempt]  # type: ignore[attr-defined]


def test_an_impossible_journal_is_refused() -> None:
    journal = Journal()
    journal.begin()
    journal.add(AttemptClosed(AttemptId(7), Outcome.REJECTED, "?"))
    with pytest.raises(Invariant, match="attempt 7"):
        views.fold(journal.entries)


def test_the_frontier_shown_is_the_one_that_newcomers_must_beat() -> None:
    moved = 0
    for seed in range(40):
        report = simulate(seed, "evolve")
        if report.entries[0].fact.plan.confirmation is None:  # type: ignore[union-attr]
            continue
        state, shown = State(), views.Projection()
        for entry in report.entries:
            state.apply(entry)
            shown.told(entry)
        members = {number: member.measurements for number, member in state.members.candidates.items()}
        assert {c.id: c.measurements for c in shown.skyline.members} == members
        closed = {e.fact.candidate.id: e.fact.candidate for e in report.entries if admitted(e.fact)}  # type: ignore[union-attr]
        moved += sum(closed[number].measurements != found for number, found in members.items())
    assert moved > 5  # else nothing was measured anew


def admitted(fact: object) -> bool:
    return isinstance(fact, AttemptClosed) and fact.candidate is not None
