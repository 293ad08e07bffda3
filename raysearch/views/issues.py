"""``issues.json``: the issue board; docs/issues.md describes it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from raysearch.board import Board, Comment, Issue, Refusal, Status, order
from raysearch.views.rows import SCHEMA, Row

TEXT_SHOWN = 1000
"""Characters of a refused filing's text; the journal has all of it."""


def issues(board: Board, run: str = "") -> Iterator[bytes]:
    """``issues.json`` in pieces: every issue, oldest first, a line each; and what was refused."""
    todo = sorted(board.having(Status.OPEN), key=order)
    head = {
        "schema": SCHEMA,
        "run": run,
        "seq": board.seq,
        "counts": counts(board),
        "queue": [issue.number for issue in todo],
        "refused": [_refusal_row(refusal) for refusal in board.refusals],
    }
    yield msgspec.json.encode(head)[:-1] + b',"issues":[\n'
    yield b",\n".join(msgspec.json.encode(issue_row(issue)) for issue in board.issues.values())
    yield b"\n]}\n"


def counts(board: Board) -> dict[str, int]:
    """Issues by state."""
    return {status.value: sum(1 for _ in board.having(status)) for status in Status}


def issue_row(issue: Issue) -> Row:
    """All of an issue."""
    return {
        "number": issue.number,
        "kind": issue.kind.value,
        "title": issue.title,
        "status": issue.status.value,
        "priority": issue.priority,
        "author": str(issue.author),
        "holder": str(issue.holder) if issue.holder else None,
        "attempts": issue.attempts,
        "body": issue.body,
        "evidence": issue.evidence,
        "created_seq": issue.created_seq,
        "updated_seq": issue.updated_seq,
        "comments": [_comment_row(comment) for comment in issue.comments],
    }


def _comment_row(comment: Comment) -> Row:
    return {
        "seq": comment.seq,
        "action": comment.action.value,
        "author": str(comment.author),
        "text": comment.text,
        "evidence": comment.evidence,
    }


def _refusal_row(refusal: Refusal) -> Row:
    filing = refusal.filing
    return {
        "seq": refusal.seq,
        "action": filing.action.value,
        "author": str(filing.author),
        "issue": filing.issue or None,
        "title": filing.title,
        "text": filing.text[:TEXT_SHOWN],
        "reason": refusal.reason,
    }
