"""A board of issues as the plain loop works it off: what is due on it, and what it says of earlier attempts.

All of it is read from the board, on which every attempt that failed has left a comment of the loop's own, with
``attempt 7 rejected`` or the like for evidence.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from raysearch.board import Action, Author, Board, Comment, Filing, Issue, Status
from raysearch.consultation import PERFORMANCE_EVALUATOR
from raysearch.types import AttemptId

ME = Author("driver", "plain")
"""Files for the loop."""
FAILED = "attempt "
"""Begins the evidence of a comment on an attempt that came to nothing."""
REASON_CHARS = 4_000
"""Length at which a comment is cut."""
_OTHERS_WORD = ("person", "driver")
"""Whose claims are theirs to give back."""
_CLOSED = (Status.DONE, Status.CLOSED)


def failed(attempt: AttemptId, how: str) -> str:
    """Evidence of a comment on an ``attempt`` that came to nothing."""
    return f"{FAILED}{attempt} {how}"


def act(
    action: Action, issue: int, text: str, evidence: str = "", outcome: Literal["", "done", "failed"] = ""
) -> Filing:
    """What the loop does to an issue."""
    return Filing(action, ME, issue, text=cut(text, REASON_CHARS), evidence=evidence, outcome=outcome)


def failures(issue: Issue) -> list[Comment]:
    """The loop's comments on attempts at ``issue`` that came to nothing, since somebody last asked for it anew."""
    found: list[Comment] = []
    for comment in issue.comments:
        if comment.author == ME and comment.evidence.startswith(FAILED):
            found.append(comment)
        elif comment.action is Action.REOPEN and comment.author != ME:
            found = []
    return found


def attempt_of(failure: Comment) -> AttemptId:
    """The attempt that one of `failures` is about."""
    return AttemptId(int(failure.evidence.split()[1]))


def in_hand(board: Board) -> Issue | None:
    """The issue that the loop holds."""
    return next((issue for issue in board.having(Status.IN_PROGRESS) if issue.holder == ME), None)


def stale(board: Board) -> Issue | None:
    """An issue that an agent took in hand and left there: agents are gone once their attempt has ended."""
    for issue in board.having(Status.IN_PROGRESS):
        if issue.holder is not None and issue.holder.role not in _OTHERS_WORD:
            return issue
    return None


def hopeless(board: Board, attempts_max: int) -> Issue | None:
    """An open issue that was attempted as often as may be."""
    tried = (issue for issue in board.having(Status.OPEN) if issue.attempts or issue.comments)
    return next((issue for issue in tried if len(failures(issue)) >= attempts_max), None)


def surplus(board: Board, issues_max: int) -> Issue | None:
    """Of the new issues of a performance evaluation the least urgent one, if there are more than may be.

    An evaluation is asked for only when nothing is open, so those that the loop has not touched are of one.
    """
    new = [
        issue
        for issue in board.having(Status.OPEN)
        if issue.author.role == PERFORMANCE_EVALUATOR and all(comment.author != ME for comment in issue.comments)
    ]
    if len(new) <= issues_max:
        return None
    return max(new, key=lambda issue: (-issue.priority, issue.number))


def undone(board: Board, closed: Collection[int]) -> Issue | None:
    """Of the issues in ``closed`` one that an agent's word still keeps closed."""
    for number in sorted(closed):
        issue = board.issues.get(number)
        if issue is None or issue.status not in _CLOSED:
            continue
        by = next((c.author for c in reversed(issue.comments) if c.action is Action.CLOSE), ME)
        if by.role not in _OTHERS_WORD:
            return issue
    return None


def blocked(board: Board) -> Sequence[int]:
    """Numbers of the issues that were given up."""
    return [issue.number for issue in board.having(Status.BLOCKED)]


def cut(text: str, chars: int) -> str:
    """``text`` without space around it, and no longer than ``chars``."""
    text = text.strip()
    return text if len(text) <= chars else text[: chars - 1] + "…"
