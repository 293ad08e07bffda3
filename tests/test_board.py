"""The issue board: a fold that raises nothing, loses nothing, and comes out the same whoever was first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.board import (
    READ_ONLY,
    Action,
    Author,
    Board,
    Filing,
    Issue,
    Kind,
    Permissions,
    Refusal,
    Snapshot,
    Status,
    order,
    permissions_of,
    permitted,
)
from raysearch.board.board import COMMENTS_MAX
from raysearch.views.issues import issue_row, issues

JUDGE, CODER, PERSON = Author("judge", "attempt 3"), Author("implementer", "attempt 4"), Author("person")


def creation(title: str = "it leaks", kind: Kind = Kind.BUG, name: str = "", **more: object) -> Filing:
    return Filing(Action.CREATE, PERSON, name=name, kind=kind, title=title, **more)  # type: ignore[arg-type]


def board_of(*filings: Filing) -> Board:
    board = Board()
    for seq, filing in enumerate(filings, start=1):
        board.apply(filing, seq)
    return board


def act(board: Board, action: Action, issue: int = 1, **more: object) -> Issue | Refusal:
    return board.apply(Filing(action, CODER, issue, **more), board.seq + 1)  # type: ignore[arg-type]


def done(became: Issue | Refusal) -> Issue:
    assert isinstance(became, Issue), became.reason
    return became


def refused(became: Issue | Refusal) -> str:
    assert isinstance(became, Refusal)
    return became.reason


def test_bugs_come_before_features_before_what_is_slow_then_priority_then_age() -> None:
    board = board_of(
        creation("a", Kind.PERF, priority=9),
        creation("b", Kind.FEATURE),
        creation("c", Kind.FEATURE, priority=1),
        creation("d", Kind.BUG, priority=-1),
        creation("e", Kind.BUG),
        creation("f", Kind.BUG),
    )
    drained = []
    while (issue := board.next_open()) is not None:
        drained.append(issue.title)
        done(act(board, Action.CLAIM, issue.number))
        done(act(board, Action.CLOSE, issue.number, outcome="done"))
    assert "".join(drained) == "efdcba"
    assert {issue.status for issue in board.issues.values()} == {Status.DONE}


def test_only_some_kinds_can_be_asked_for() -> None:
    board = board_of(creation("slow", Kind.PERF), creation("wrong"))
    assert (board.next_open([Kind.PERF]) or creation()).title == "slow"
    assert board.next_open([Kind.FEATURE]) is None


def test_attempts_count_what_was_tried() -> None:
    board = board_of(creation())
    assert done(act(board, Action.CLAIM)).holder == CODER
    assert done(act(board, Action.RELEASE, outcome="failed")).attempts == 1
    assert done(act(board, Action.CLAIM)).attempts == 2
    assert done(act(board, Action.RELEASE)) == replace(board.issues[1], attempts=1, status=Status.OPEN, holder=None)
    assert done(act(board, Action.BLOCK, text="hopeless")).status is Status.BLOCKED
    assert done(act(board, Action.REOPEN)).attempts == 0
    actions = [comment.action.value for comment in board.issues[1].comments]
    assert actions == ["claim", "release", "claim", "release", "block", "reopen"]
    assert [comment.seq for comment in board.issues[1].comments] == [2, 3, 4, 5, 6, 7]


def test_what_cannot_be_done_is_refused_and_says_why() -> None:
    board = board_of(creation())
    assert "no issue 7; the numbers go from 1 to 1" in refused(act(board, Action.COMMENT, 7, text="x"))
    assert "needs a text" in refused(act(board, Action.COMMENT, text=" "))
    assert "issue needs a title" in refused(board.apply(creation(" "), 9))
    assert "needs the number" in refused(act(board, Action.CLOSE, 0))
    assert "'mine' was created" in refused(act(board, Action.CLOSE, 0, name="mine"))
    done(act(board, Action.CLAIM))
    assert "in the hands of implementer (attempt 4)" in refused(act(board, Action.CLAIM))
    done(act(board, Action.CLOSE))
    assert "issue 1 is closed" in refused(act(board, Action.CLOSE, text="what I found"))
    assert "is no number" in refused(act(board, Action.CLOSE, -3))
    assert "not within" in refused(act(board, Action.PRIORITISE, priority=5000))
    assert "characters" in refused(board.apply(creation("t" * 201), 9))
    assert refused(board.apply(replace(creation(), refused="the journal says so"), 9)) == "the journal says so"
    assert len(board.issues) == 1
    assert board.refused(author=Author("implementer"))[-3].filing.text == "what I found"
    assert board.refused(author=CODER) == board.refused(author=Author("implementer"))
    assert not board.refused(author=JUDGE)


def test_an_issue_full_of_comments_can_still_be_closed() -> None:
    board = board_of(creation())
    for _ in range(COMMENTS_MAX):
        done(act(board, Action.COMMENT, text="more"))
    assert "1,000 comments" in refused(act(board, Action.COMMENT, text="more"))
    assert done(act(board, Action.CLOSE)).status is Status.CLOSED


def test_names_hold_within_a_batch() -> None:
    board = board_of(creation("first", name="new-1", batch="a"))
    done(board.apply(creation("second", name="new-1", batch="b"), 2))
    remark = Filing(Action.COMMENT, JUDGE, name="new-1", batch="b", text="mine")
    assert done(board.apply(remark, 2)).title == "second"
    assert refused(board.apply(creation("third", name="new-1", batch="b"), 2))
    assert (board.number_of("a", "new-1"), board.number_of("b", "new-1")) == (1, 2)


def test_roles_have_their_limits() -> None:
    judge = permissions_of("judge")
    bug = replace(creation(), author=JUDGE)
    filings = [bug, replace(bug, kind=Kind.PERF), replace(bug, title="one more"), Filing(Action.CLAIM, JUDGE, 1)]
    received = permitted(filings, batch="b", allowed={JUDGE: judge})
    assert [filing.refused for filing in received] == [
        "",
        "a judge may not create an issue of kind perf; it may create bug",
        "a judge may create 1 issues, and has created 1",
        "a judge may not claim issues; it may comment, create",
    ]
    assert permissions_of("stranger") == READ_ONLY
    assert "not change it" in permitted([bug], batch="b", allowed={JUDGE: READ_ONLY})[0].refused


def test_nobody_files_as_somebody_else() -> None:
    forged = replace(creation(), author=PERSON, batch="another")
    alone = permitted([forged], batch="mine", allowed={JUDGE: permissions_of("judge")})[0]
    assert (alone.author, alone.batch, alone.refused) == (JUDGE, "mine", "")
    both = permitted([forged], batch="mine", allowed={JUDGE: Permissions(), CODER: Permissions()})[0]
    assert both.author == JUDGE
    assert "person is not among those" in both.refused
    assert permitted([forged], batch="mine", allowed={})[0].refused


AUTHORS = st.sampled_from([JUDGE, CODER, PERSON])
TEXTS = st.text(max_size=8)
FILINGS = st.builds(
    Filing,
    st.sampled_from(Action),
    AUTHORS,
    st.integers(-1, 6),
    st.sampled_from(["", "new-1", "new-2"]),
    kind=st.sampled_from(Kind),
    title=TEXTS,
    text=TEXTS,
    evidence=TEXTS,
    priority=st.integers(-1001, 1001),
    outcome=st.sampled_from(["", "done", "failed"]),
    refused=st.sampled_from(["", "", "", "no"]),
)


@given(st.lists(FILINGS, max_size=30))
def test_everything_filed_is_on_the_board_or_refused(filings: Sequence[Filing]) -> None:
    board = board_of(*filings)
    created = len(board.issues)
    said = sum(len(issue.comments) for issue in board.issues.values())
    assert created + said + len(board.refusals) == len(filings)
    assert list(board.issues) == list(range(1, created + 1))
    assert all(refusal.reason for refusal in board.refusals)
    assert all((issue.holder is not None) == (issue.status is Status.IN_PROGRESS) for issue in board.issues.values())
    following = board.next_open()
    assert following == min(board.having(Status.OPEN), key=order, default=None)


@given(st.lists(FILINGS, max_size=20), st.integers(0, 20))
def test_a_board_is_what_was_filed_and_goes_on_from_a_snapshot(filings: Sequence[Filing], cut: int) -> None:
    whole, half = board_of(*filings), board_of(*filings[:cut])
    assert board_of(*filings).snapshot() == whole.snapshot()
    text = msgspec.json.encode(half.snapshot())
    again = Board(msgspec.json.decode(text, type=Snapshot))
    assert again.snapshot() == half.snapshot()
    for seq, filing in enumerate(filings[cut:], start=cut + 1):
        if not filing.name:  # names hold within a batch, which no snapshot cuts in two
            assert again.apply(filing, seq) == half.apply(filing, seq)


@given(st.lists(FILINGS, max_size=10))
def test_filings_read_back_as_they_were(filings: Sequence[Filing]) -> None:
    text = msgspec.json.encode(filings)
    assert msgspec.json.decode(text, type=list[Filing]) == list(filings)


BATCHES = st.lists(st.one_of(st.just("create"), st.integers(1, 4).map(str)), max_size=8)


@given(st.data(), BATCHES, BATCHES)
def test_what_two_file_at_once_comes_out_whole_however_it_is_mixed(
    data: st.DataObject, one: Sequence[str], other: Sequence[str]
) -> None:
    """Each creates issues and comments on them by their names; the order between the two is anything."""
    queues = {batch: _batch(batch, steps) for batch, steps in (("one", one), ("other", other))}
    board, seq = Board(), 0
    while any(queues.values()):
        batch = data.draw(st.sampled_from([name for name, left in queues.items() if left]))
        seq += 1
        done(board.apply(queues[batch].pop(0), seq))
    assert not board.refusals
    for batch, steps in (("one", one), ("other", other)):
        expected = _batch(batch, steps)
        for filing in expected:
            number = board.number_of(batch, filing.name)
            assert number is not None
            issue = board.issues[number]
            if filing.action is Action.CREATE:
                wanted = [f.text for f in expected if f.action is Action.COMMENT and f.name == filing.name]
                assert (issue.title, [comment.text for comment in issue.comments]) == (filing.title, wanted)


def _batch(batch: str, steps: Sequence[str]) -> list[Filing]:
    """A creation for each ``create``, and for each number a comment on one of those made before it."""
    filings: list[Filing] = []
    made = 0
    for number, step in enumerate(steps):
        if step == "create":
            made += 1
            filings.append(creation(f"{batch} {made}", name=f"new-{made}", batch=batch))
        elif made:
            name = f"new-{1 + int(step) % made}"
            filings.append(Filing(Action.COMMENT, JUDGE, name=name, batch=batch, text=f"{batch} says {number}"))
    return filings


def test_the_document() -> None:
    board = board_of(creation("slow", Kind.PERF, text="body", evidence="12 ms"), creation("  wrong \n here "))
    done(act(board, Action.COMMENT, text="seen"))
    act(board, Action.RELEASE)
    document = json.loads(b"".join(issues(board, "a-run")))
    assert (document["schema"], document["run"], document["seq"], document["queue"]) == (1, "a-run", 4, [2, 1])
    assert document["counts"] == {"open": 2, "in_progress": 0, "done": 0, "blocked": 0, "closed": 0}
    assert document["issues"][0] == json.loads(json.dumps(issue_row(board.issues[1])))
    assert document["issues"][0]["evidence"] == "12 ms"
    assert document["issues"][0]["comments"][0]["author"] == "implementer (attempt 4)"
    assert document["issues"][1]["title"] == "wrong here"
    assert document["refused"][0]["action"] == "release"
    assert json.loads(b"".join(issues(Board())))["issues"] == []


@pytest.mark.parametrize("text", ["\ud800", "x" * 200_000])
def test_odd_texts_raise_nothing(text: str) -> None:
    board = Board()
    assert "the text h" in refused(board.apply(creation("t", text=text), 1))
