"""``issues.json``: the issue board; docs/issues.md describes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import msgspec

from raysearch.board import Board, Comment, Issue, Refusal, Status, order
from raysearch.views.rows import SCHEMA, Row

TEXT_SHOWN = 1000
"""Characters of a refused filing's text; the journal has all of it."""


def shown(board: Board, ended: str = "") -> list[Issue]:
    """Every issue, oldest first, as it stands.

    Of a run that has ``ended``, for that reason, nobody is at work but people: what others held is open. On the board
    itself they hold it still, so that a resumed run can say what became of it.
    """
    found = list(board.issues.values())
    return [replace(issue, status=Status.OPEN, holder=None) if _left(issue, ended) else issue for issue in found]


def issues(board: Board, run: str = "", ended: str = "") -> Iterator[bytes]:
    """``issues.json`` in pieces: every issue, oldest first, a line each; and what was refused.

    ``ended``: see `shown`.
    """
    standing = shown(board, ended)
    todo = sorted((issue for issue in standing if issue.status is Status.OPEN), key=order)
    head = {
        "schema": SCHEMA,
        "run": run,
        "seq": board.seq,
        "counts": counts(board, ended),
        "queue": [issue.number for issue in todo],
        "refused": [_refusal_row(refusal) for refusal in board.refusals],
    }
    yield msgspec.json.encode(head)[:-1] + b',"issues":[\n'
    notes = (_note(issue, ended) for issue in board.issues.values())
    rows = (issue_row(issue, note) for issue, note in zip(standing, notes, strict=True))
    yield b",\n".join(map(msgspec.json.encode, rows))
    yield b"\n]}\n"


def counts(board: Board, ended: str = "") -> dict[str, int]:
    """Issues by state. ``ended``: see `shown`."""
    found = Counter(issue.status for issue in shown(board, ended))
    return {status.value: found[status] for status in Status}


def _left(issue: Issue, ended: str) -> bool:
    """Whether the end of the run came while somebody other than a person had it in hand."""
    held = issue.status is Status.IN_PROGRESS and (issue.holder is None or issue.holder.role != "person")
    return bool(ended) and held


def _note(issue: Issue, ended: str) -> str:
    if not _left(issue, ended):
        return ""
    return f"the run ended ({ended}) with it in the hands of {issue.holder or 'nobody known'}; a resumed run settles it"


def issue_row(issue: Issue, note: str = "") -> Row:
    """All of an issue; ``note``: what the journal does not say of it."""
    return {
        "number": issue.number,
        "kind": issue.kind.value,
        "title": issue.title,
        "status": issue.status.value,
        "priority": issue.priority,
        "author": str(issue.author),
        "holder": str(issue.holder) if issue.holder else None,
        "note": note,
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
