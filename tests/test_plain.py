"""The plain loop: what is worked on in which order, when it gives up, when it stops, and that nothing is lost."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest
from golden import same
from plain_world import ASKED, PLAN, Run, World, ended, facts, filed, said, sound, statuses, worked_on
from transcripts import transcript

from population.policies.backlog import ME
from population.policies.plain import Plain, holds
from raysearch import views
from raysearch.board import Action, Author, Board, Filing, Kind, Status
from raysearch.errors import ConfigError
from raysearch.facts import AttemptClosed, AttemptOpened, ConsultationOpened, Filed
from raysearch.loads import LoadLevel
from raysearch.testing.simulated import Mishap, PowerCut
from raysearch.testing.twins import essences
from raysearch.types import Limits, Outcome, Plan
from raysearch.views.issues import issues, shown

BUG, FEATURE, PERF = Kind.BUG, Kind.FEATURE, Kind.PERF
AGENT = Author("implementer", "attempt")


MANY = [
    filed(PERF, "slow start"),  # 1: lost ground twice, then held it
    filed(FEATURE, "streams"),  # 2
    filed(BUG, "leaks"),  # 3: two refusals
    filed(FEATURE, "limits", priority=5),  # 4: never
    filed(BUG, "crashes", priority=1),  # 5
    filed(PERF, "slow end", priority=9),  # 6
    filed(BUG, "wrong order"),  # 7: cheats, is lazy, breaks
    filed(FEATURE, "logs"),  # 8: makes it slower, which of a feature is no matter
    filed(PERF, "memory"),  # 9: never
    filed(FEATURE, "names", priority=-1),  # 10
    filed(BUG, "typo", priority=-5),  # 11
    filed(FEATURE, "help"),  # 12: breaks, then is there
]
PLAYS = {
    1: ("good -50", "good -40", "good -2"),
    3: ("bad", "bad", "good"),
    4: ("bad",),
    6: ("good 30",),
    7: ("cheating", "lazy", "crashing"),
    8: ("good -20",),
    9: ("good -90",),
    12: ("crashing", "good"),
}
REPLIES = [
    said("the middle is slow", filed(PERF, "the middle", priority=2), filed(BUG, "drops one", priority=1), speed=40),
    said("fine now", speed=30),
]


def twelve(**more: object) -> Run:
    return Run(World(PLAYS, REPLIES), [(0, issue) for issue in MANY], **more)  # type: ignore[arg-type]


def test_twelve_issues_in_order_with_attempts_blocks_and_early_exit() -> None:
    run = twelve()
    state = run.drive()
    bugs, features, perfs = [5, 3, 3, 3, 7, 7, 7, 11], [4, 4, 4, 2, 8, 12, 12, 10], [6, 1, 1, 1, 9, 9, 9]
    assert worked_on(run) == [*bugs, *features, *perfs, 14, 13]
    done, blocked = "done", "blocked"
    assert statuses(state) == {
        **dict.fromkeys(range(1, 15), done),
        **dict.fromkeys((4, 7, 9), blocked),
    }
    assert {n: i.attempts for n, i in state.board.issues.items()} == {
        **dict.fromkeys(range(1, 15), 1),
        **{1: 3, 3: 3, 4: 3, 7: 3, 9: 3, 12: 2},
    }
    assert [f.question.about for f in facts(run, ConsultationOpened)] == [20, 25]
    assert ended(run) == "no issue is open, and the performance evaluation of round 2 brought no new one"
    assert not state.board.refusals
    sound(run)


def test_every_issue_that_is_done_names_a_candidate_that_passed() -> None:
    state = twelve().drive()
    for issue in state.board.having(Status.DONE):
        closing = issue.comments[-1]
        assert closing.author == ME
        assert int(closing.evidence.removeprefix("candidate ")) in state.candidates
    for issue in state.board.having(Status.BLOCKED):
        told = [c.evidence.rsplit(" ", 1)[1] for c in issue.comments if c.evidence]
        assert len(told) == 3


def test_one_lineage_and_repairs_from_what_was_refused() -> None:
    run = twelve()
    state = run.drive()
    by_issue: dict[int | None, list[AttemptOpened]] = {}
    head, kept = 0, {f.filing.evidence for f in facts(run, Filed) if f.filing.outcome == "done"}
    for fact in (entry.fact for entry in run.entries):
        if isinstance(fact, AttemptOpened) and fact.attempt:
            assert fact.proposal.parents == (head,)
            by_issue.setdefault(fact.proposal.issue, []).append(fact)
        elif isinstance(fact, AttemptClosed) and f"candidate {fact.attempt}" in kept:
            head = fact.attempt
    first, second, third = by_issue[3]
    assert [f.proposal.repair for f in (first, second, third)] == [None, first.attempt, second.attempt]
    assert second.proposal.brief.feedback == "accuracy: 2 of 5 cases fail"
    _, lazy, crashing = by_issue[7]
    assert (lazy.proposal.repair, crashing.proposal.repair) == (lazy.attempt - 1, lazy.attempt)
    assert [f.proposal.repair for f in by_issue[1]] == [None, None, None]  # what lost ground is not gone on from
    assert "is worse: speed" in by_issue[1][1].proposal.brief.feedback
    assert state.closed[by_issue[1][0].attempt] is Outcome.ADMITTED


def test_a_transcript_of_the_whole() -> None:
    run = twelve()
    run.drive()
    same("plain/transcript.txt", transcript(run.entries))


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_twenty_random_points_nothing_is_paid_twice(seed: int) -> None:
    whole = twelve()
    state = whole.drive()
    rng, run = random.Random(seed), twelve()
    cuts = 0
    while cuts < 20:
        try:
            run.drive(Mishap(rng.randint(1, 9), kept=rng.choice((0.0, rng.random(), 1.0))))
        except PowerCut:
            cuts += 1
            continue
        raise AssertionError("it ended too early")
    resumed = run.drive()
    assert run.sessions == 21
    sound(run)
    assert statuses(resumed) == statuses(state)
    assert {n: i.attempts for n, i in resumed.board.issues.items()} == {
        n: i.attempts for n, i in state.board.issues.items()
    }
    wanted = [fact for fact in essences(whole.entries) if isinstance(fact, AttemptOpened | AttemptClosed)]
    assert [f for f in essences(run.entries) if isinstance(f, AttemptOpened | AttemptClosed)] == wanted
    assert set(run.disk.paid().values()) == {1}
    assert whole.done <= run.done <= whole.done + cuts


# -- the beginning ------------------------------------------------------------------------------------------


def test_an_empty_board_begins_with_the_objective() -> None:
    run = Run(World())
    state = run.drive()
    issue = state.board.issues[1]
    assert (issue.kind, issue.author, issue.status) == (FEATURE, ME, Status.DONE)
    assert issue.body.startswith("Read the objective of toy")
    assert issue.evidence == "The program as it is passed every gate: speed 100 1/s."
    assert worked_on(run) == [1]


def test_a_board_with_issues_needs_no_beginning() -> None:
    run = Run(World(), [(0, filed(BUG, "leaks"))])
    assert list(run.drive().board.issues) == [1]


def test_from_nothing_every_attempt_repairs_the_one_before() -> None:
    run = Run(World({1: ("bad", "bad", "good")}, seed=None))
    state = run.drive()
    opened = [(f.proposal.parents, f.proposal.repair) for f in facts(run, AttemptOpened)]
    assert opened == [((), None), ((), 1), ((), 2)]
    assert statuses(state) == {1: "done"}
    assert [f.question.about for f in facts(run, ConsultationOpened)] == [3]


def test_nothing_that_passes_ends_it_without_an_evaluation() -> None:
    run = Run(World({1: ("bad",)}, seed=None))
    assert statuses(run.drive()) == {1: "blocked"}
    assert ended(run) == "no issue is open, and no program passed every gate; blocked: 1"
    assert not facts(run, ConsultationOpened)


def test_an_agent_that_never_works_uses_up_the_attempts_and_ends_it() -> None:
    board = [filed(BUG, "leaks"), filed(PERF, "slow start")]
    run = Run(World({1: ("crashing",), 2: ("crashing",)}), [(0, issue) for issue in board])
    state = run.drive()
    assert worked_on(run) == [1, 1, 1, 2, 2, 2]
    assert statuses(state) == {1: "blocked", 2: "blocked"}
    assert "the agent broke at issue 1" in state.board.issues[1].comments[-1].text


def test_a_refused_seed_is_told_and_is_where_work_begins() -> None:
    run = Run(World(seed="seed bad 3"))
    state = run.drive()
    assert state.board.issues[1].evidence == "The program as it is was refused: accuracy: 2 of 5 cases fail"
    assert [f.proposal.parents for f in facts(run, AttemptOpened)] == [(), ()]


# -- rounds -------------------------------------------------------------------------------------------------


def again(count: int) -> list[object]:
    return [said("more", filed(PERF, f"more {n}")) for n in range(count)]


def test_rounds_are_bounded() -> None:
    run = Run(World(replies=again(9)), make=lambda: Plain(max_rounds=3))  # type: ignore[arg-type]
    state = run.drive()
    assert worked_on(run) == [1, 2, 3]
    assert statuses(state)[4] == "open"
    assert len(facts(run, ConsultationOpened)) == 3
    assert ended(run) == "3 rounds are over, as many as there may be"


def test_what_an_evaluation_files_beyond_its_share_is_closed_least_urgent_first() -> None:
    issues = [filed(PERF, name, priority) for name, priority in (("a", 1), ("b", 3), ("c", 0), ("d", 3), ("e", 0))]
    run = Run(World(replies=[said("much", *issues)]), make=lambda: Plain(max_issues_per_perf_eval=2))
    state = run.drive()
    closed = [f.filing.issue for f in facts(run, Filed) if f.filing.text.startswith("not wanted")]
    assert closed == [6, 4, 2]
    assert worked_on(run) == [1, 3, 5]
    assert statuses(state) == {1: "done", 2: "closed", 3: "done", 4: "closed", 5: "done", 6: "closed"}


def test_the_evaluator_is_told_the_loads_its_share_and_what_was_before() -> None:
    loads = (LoadLevel(2.0, 10.0, 64), LoadLevel(16.0))
    replies = [said("slow in the middle", filed(PERF, "the middle"), speed=40)]
    run = Run(World({2: ("good 30",)}, replies), make=lambda: Plain(load_levels=loads, max_issues_per_perf_eval=1))
    run.drive()
    first, second = (f.question.brief.task for f in facts(run, ConsultationOpened))
    assert "- 2 a second for 10 s, each answer cut off at length 64\n- 16 a second for 20 s" in first
    assert "file 1 issue at most" in first
    assert "- feature 1 is done: Do all that the objective asks for" in first
    assert "previous evaluation\n" not in first.replace("## Since the previous evaluation\n", "")
    assert "- perf 2 is done: the middle" in second
    assert "feature 1" not in second
    assert "Of candidate 1.\n- light: delay 40 ms\nslow in the middle" in second


def test_an_evaluation_that_fails_ends_it_and_is_asked_for_again_when_resumed() -> None:
    run = Run(World(replies=["no device", "no device"]))
    run.drive()
    said_why = "no issue is open, and the performance evaluator did not answer: EvaluatorFault: no device"
    assert ended(run) == said_why
    run.drive()
    assert len(facts(run, ConsultationOpened)) == 2
    assert ended(run) == said_why
    run.drive()
    assert ended(run).endswith("the performance evaluation of round 1 brought no new one")
    assert worked_on(run) == [1]


def test_without_an_evaluator_it_is_done_when_the_queue_is() -> None:
    run = Run(World(), plan=Plan(PLAN.steps, board=True))
    run.drive()
    assert worked_on(run) == [1]
    assert ended(run) == "no issue is open, and there is no performance evaluator to ask for more"


@pytest.mark.parametrize(("consultants", "issues"), [((), [1, 2, 3, 4]), (ASKED, [1, 2, 3, 4])])
def test_an_idle_loop_may_go_on_by_itself(consultants: tuple[object, ...], issues: Sequence[int]) -> None:
    plan = Plan(PLAN.steps, consultants=consultants, board=True)  # type: ignore[arg-type]
    run = Run(World({2: ("good 9",)}), plan=plan, make=lambda: Plain(when_idle="improve", max_rounds=4))
    state = run.drive()
    assert worked_on(run) == issues
    assert state.board.issues[2].title == "Better speed than candidate 1"
    assert state.board.issues[3].evidence == "Candidate 2: speed 109 1/s."
    assert "4 rounds are over, as many as there may be" in ended(run)
    assert len(facts(run, ConsultationOpened)) == (4 if consultants else 0)


@pytest.mark.parametrize("play", ["good", "bad"])
def test_what_a_limit_left_in_hand_is_shown_as_open_and_settled_by_a_resumed_run(play: str) -> None:
    board = [filed(BUG, "leaks"), filed(PERF, "slow start")]
    run = Run(World({1: (play, "good")}), [(0, issue) for issue in board], limits=Limits(open_max=1, attempts_max=1))
    state = run.drive()
    assert statuses(state) == {1: "in_progress", 2: "open"}, "the loop was not asked any more"
    seen = views.fold(run.entries)
    document = json.loads(b"".join(issues(seen.board, "r", seen.over)))
    first, second = document["issues"]
    assert (first["status"], first["holder"], second["note"]) == ("open", None, "")
    assert (
        first["note"] == "the run ended (1 candidates) with it in the hands of driver (plain); a resumed run settles it"
    )
    assert (document["queue"], document["counts"]["open"], document["counts"]["in_progress"]) == ([1, 2], 2, 0)
    assert views.summary(seen)["issues"] == document["counts"]
    run.limits = Limits(open_max=1, attempts_max=2)
    state = run.drive()
    assert [c.evidence for c in state.board.issues[1].comments if c.evidence][:1] == [
        "candidate 1" if play == "good" else "attempt 1 rejected"
    ], "what came of it is filed first"
    assert worked_on(run) == ([1, 2] if play == "good" else [1, 1])
    run.limits = Limits(open_max=1)
    assert statuses(run.drive()) == {1: "done", 2: "done"}
    assert views.fold(run.entries).board == run.drive().board
    sound(run)


def test_a_run_that_was_only_stopped_has_its_issue_in_hand() -> None:
    author = Author("person", "ann")
    board = Board()
    for number, holder in enumerate((ME, author, AGENT), 1):
        board.apply(filed(BUG, f"bug {number}"), number)
        board.apply(Filing(Action.CLAIM, holder, number), number + 10)
    assert [issue.status for issue in shown(board)] == [Status.IN_PROGRESS] * 3
    assert [issue.status for issue in shown(board, "enough")] == [Status.OPEN, Status.IN_PROGRESS, Status.OPEN]


# -- options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_rounds": 0}, "policy plain: max_rounds must be a whole number, 1 or more; it is 0."),
        ({"max_attempts_per_issue": 0}, "max_attempts_per_issue must be a whole number, 1 or more"),
        ({"max_issues_per_perf_eval": -1}, "max_issues_per_perf_eval must be a whole number, 0 or more"),
        ({"when_idle": "sleep"}, "when_idle must be 'stop' or 'improve'; it is 'sleep'."),
    ],
)
def test_bad_options_are_named(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Plain(**options)  # type: ignore[arg-type]
    assert says in str(caught.value)


def test_ground_is_held_within_the_noise() -> None:
    noise = (0.05, 0.1)
    assert holds((96.0, 10.0), (100.0, 10.0), noise, 0)
    assert not holds((94.0, 99.0), (100.0, 10.0), noise, 0)
    assert holds((106.0, 1.0), (100.0, 10.0), noise, 0), "what the search is about counts for more"
    assert not holds((101.0, 8.0), (100.0, 10.0), noise, 0)
    assert holds((-104.0,), (-100.0,), (0.05,), 0)
