"""Evolve's way out of a plateau: who is asked for a new direction, when, and who is told of it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from advised_world import ADVISED, ALONE, Advised, run
from golden import same
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import transcript

from population.directions import DIRECTION_CHARS, LESSON_CHARS, LESSONS_MAX, TRIED_MAX, VAIN_MAX, Course, tried
from population.policies.evolve import Evolve
from population.policies.portfolio import PortfolioOfLoops
from raysearch.consultation import LESSONS_WRITER, Consultation, Reply
from raysearch.errors import ConfigError
from raysearch.facts import AttemptOpened, ConsultationOpened, Entry, Unanswered
from raysearch.types import AttemptId, Plan, Proposal

UP, DOWN = Reply("Unroll the loop.", lessons=("Tables were no faster.",)), Reply("Sort first.")


def asked(entries: list[Entry]) -> list[tuple[int, Consultation]]:
    """The questions, each with the number of attempts opened before it."""
    found, opened = [], 0
    for entry in entries:
        match entry.fact:
            case ConsultationOpened(_, question):
                found.append((opened, question))
            case AttemptOpened(number):
                opened = number
    return found


def opened(entries: list[Entry]) -> dict[int, Proposal]:
    return {e.fact.attempt: e.fact.proposal for e in entries if isinstance(e.fact, AttemptOpened) and e.fact.attempt}


# -- the transcript -----------------------------------------------------------------------------------------


def test_the_transcript() -> None:
    """From nothing: a repair, refusals that teach, inspirations, two parents, two plateaus, and one who restarts."""
    script = {
        **{1: "does not build", 2: (0.0, 0.0), 3: (2.0, 0.0), 4: (0.0, -2.0), 5: "two cases fail", 6: (3.0, 1.0)},
        **{8: "broken", 9: "three cases fail", 11: (0.0, 0.0), 19: (9.0, 0.0), 20: (0.0, -3.0)},
    }
    policy = Evolve(
        mutators=("model",), islands=2, restless_after=3, stuck_after=5, migration_every=4, recombine=0.8, k_random=1
    )
    _, entries = run(policy, Advised(script, [UP, DOWN, None, Reply("Do less.")]), 24, seeded=False)
    same("evolve/transcript.txt", transcript(entries))


# -- when it is asked ---------------------------------------------------------------------------------------


def test_at_every_plateau_once() -> None:
    _, entries = run(Evolve(restless_after=4), Advised({9: (5.0, 0.0)}, [UP, DOWN]), 24)
    assert [(at, question.about) for at, question in asked(entries)] == [(4, 0), (8, 0), (13, 9), (17, 9), (21, 9)]
    assert {(question.role, question.lineage) for _, question in asked(entries)} == {(LESSONS_WRITER, "island-0")}


def test_until_the_next_improvement_children_are_told() -> None:
    _, entries = run(Evolve(restless_after=4, recombine=0.0), Advised({11: (5.0, 0.0)}, [UP, DOWN]), 16)
    tasks = {number: proposal.brief.task for number, proposal in opened(entries).items()}
    assert [tasks[n] for n in (1, 2, 3, 4, 12, 13, 14, 15)] == [""] * 8
    assert all(tasks[n].endswith("where else to look:\n\nUnroll the loop.") for n in (5, 6, 7, 8))
    assert all(tasks[n].endswith("Sort first.") for n in (9, 10, 11, 16))
    memory = opened(entries)[5].brief.memory
    assert memory == "What the latest attempts teach:\n- Tables were no faster."
    assert opened(entries)[9].brief.memory == "", (
        "of a direction that came to nothing nothing is told but to who is asked"
    )


def test_what_is_asked() -> None:
    _, entries = run(Evolve(restless_after=3), Advised({2: "two cases fail"}, [UP, DOWN]), 7)
    (_, first), (_, second) = asked(entries)
    assert first.brief.task.startswith(
        "Nothing has improved on island-0, one of this search's lines, in 3 attempts; its best is the seed."
    )
    assert first.brief.memory.splitlines()[:2] == [
        "- attempt 1, from the seed: speed 10 -> 9 1/s (more is better), size 10 -> 11 kB (less is better);"
        " it says of itself: idea 1",
        "- attempt 2, from the seed: refused: accuracy: two cases fail",
    ]
    assert [parent.id for parent in first.brief.parents] == [0]
    assert second.brief.task.endswith("come to nothing so far:\n- Unroll the loop.")
    assert len(second.brief.memory.splitlines()) == 6


def test_an_island_that_restarts_begins_anew_with_a_direction() -> None:
    policy = Evolve(islands=2, restless_after=0, stuck_after=3, migration_every=0)
    _, entries = run(policy, Advised({1: (5.0, 0.0), 2: (3.0, 0.0)}, [UP, DOWN]), 12)
    (at, question), *_ = asked(entries)
    assert (at, question.about, question.lineage) == (7, 0, "island-0")
    assert question.brief.task.startswith(
        "island-0, one of this search's lines, was stuck, and begins anew from the seed."
    )
    assert {n for n, p in opened(entries).items() if p.brief.task.endswith("Unroll the loop.")} == {9, 11}


@pytest.mark.parametrize(
    ("policy", "plan", "calls"),
    [
        (Evolve(restless_after=2), ALONE, 1),
        (Evolve(restless_after=2, directions=False), ADVISED, 1),
        (Evolve(restless_after=2), ADVISED, 0),
        (Evolve(restless_after=0, stuck_after=0), ADVISED, 1),
    ],
    ids=["nobody is there", "switched off", "nobody reads", "nothing is a plateau"],
)
def test_nobody_is_asked_in_vain(policy: Evolve, plan: Plan, calls: int) -> None:
    state, entries = run(policy, Advised({}, [UP], calls=calls), 12, plan=plan)
    assert (asked(entries), state.attempts_total) == ([], 12)
    assert {proposal.brief.task for proposal in opened(entries).values()} <= {""}


def test_who_does_not_answer_is_asked_again_at_the_next_plateau() -> None:
    _, entries = run(Evolve(restless_after=3, recombine=0.0), Advised({}, [None, UP]), 8)
    assert sum(isinstance(entry.fact, Unanswered) for entry in entries) == 1
    assert [at for at, _ in asked(entries)] == [3, 6]
    assert [n for n, p in opened(entries).items() if p.brief.task] == [7, 8]


def test_lanes_go_on_meanwhile() -> None:
    state, entries = run(Evolve(restless_after=3, islands=3), Advised({}, [UP, DOWN]), 60, lanes=4)
    assert state.attempts_total == 60
    kinds = [e.fact for e in entries if isinstance(e.fact, AttemptOpened | ConsultationOpened)]
    assert len(asked(entries)) > 6
    assert not any(isinstance(a, ConsultationOpened) and isinstance(b, ConsultationOpened) for a, b in pairwise(kinds))


def test_in_a_portfolio() -> None:
    portfolio = PortfolioOfLoops(loops=["evolve", "best-of-n"], restless_after=3)
    _, entries = run(portfolio, Advised({}, [UP]), 30)
    lineages = {question.lineage for _, question in asked(entries)}
    told = {p.lineage for p in opened(entries).values() if p.brief.task.endswith("Unroll the loop.")}
    assert lineages == told == {"evolve/island-0"}


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_replay_restores_it(lanes: int) -> None:
    options = {"restless_after": 3, "stuck_after": 7, "islands": 2, "migration_every": 3}
    script = {n: (float(n % 5), 0.0) for n in range(0, 40, 9)} | {4: "no", 13: "broken"}
    policy = Evolve(**options)  # type: ignore[arg-type] # all of them whole numbers
    state, entries = run(policy, Advised(script, [UP, None, DOWN]), 40, lanes)
    again = Evolve(**options)  # type: ignore[arg-type]
    for entry in entries:
        again.tell(entry.fact)
    assert again._courses == policy._courses
    assert [again.ask(state, 3, random.Random(n)) for n in range(5)] == [
        policy.ask(state, 3, random.Random(n)) for n in range(5)
    ]


def test_a_reply_that_comes_after_an_improvement_is_of_no_use() -> None:
    policy = Evolve(restless_after=3)
    state, entries = run(policy, Advised({}, [UP]), 5)
    early = next(n for n, e in enumerate(entries) if isinstance(e.fact, ConsultationOpened))
    reply = entries.pop(early + 1)
    late = Evolve(restless_after=3)
    for entry in entries[:-1]:
        late.tell(entry.fact)
    assert late.stagnant() == ("island-0",)
    late._improved(late._islands[0])
    late.tell(reply.fact)
    assert late._courses["island-0"] == Course()
    assert isinstance(late.ask(state, 1, random.Random(0))[0], Proposal)


# -- what is kept and said ----------------------------------------------------------------------------------

words = st.text(alphabet="ab \n", max_size=900)
events = st.one_of(
    st.builds(Reply, text=words, lessons=st.lists(words, max_size=9).map(tuple)),
    st.sampled_from(["improved", "restarted"]),
    words,
)


@settings(max_examples=80, deadline=None)
@given(st.lists(events, max_size=40))
def test_what_is_told_is_bounded(told: list[Reply | str]) -> None:
    course = Course()
    for number, one in enumerate(told):
        match one:
            case Reply():
                course.heard(one)
            case "improved":
                course.improved()
                assert course == Course()
            case "restarted":
                course.restarted()
                assert course.due(0)
                assert course.task() == course.memory() == ""
            case _:
                course.closed(tried(AttemptId(number), (AttemptId(0),), one))
        assert len(course.task()) <= DIRECTION_CHARS + 300
        assert len(course.memory()) <= LESSONS_MAX * (LESSON_CHARS + 4) + 100
        assert len(course.tried) <= TRIED_MAX
        assert len(course.vain) <= VAIN_MAX
        assert len(course.question("island-0", 3, AttemptId(0))) <= (VAIN_MAX + 1) * (DIRECTION_CHARS + 4) + 600
        assert len(course.notes({}, ())) <= TRIED_MAX * 320


def test_a_direction_that_is_told_again_is_not_in_vain_yet() -> None:
    course = Course()
    for text in ("a", "a", "", "b", "a"):
        course.heard(Reply(text))
    assert (course.direction, course.vain) == ("a", ("a", "b"))


def test_the_option_is_true_or_false() -> None:
    with pytest.raises(ConfigError, match="policy evolve: directions must be true or false; it is 'yes'"):
        Evolve(directions="yes")  # type: ignore[arg-type]


def test_slots_are_kept_to() -> None:
    policy = Evolve(restless_after=3)
    state, _ = run(policy, Advised({}, [UP]), 3)
    for slots in (0, 1, 3):
        got = policy.ask(state, slots, random.Random(0))
        assert len(got) == slots
        assert sum(isinstance(one, Consultation) for one in got) == min(slots, 1)
