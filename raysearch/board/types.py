"""What stands on the board, and what may be filed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

TITLE_MAX, TEXT_MAX = 200, 20_000
"""Characters of a title; of a body, a comment, evidence."""
NAME_MAX = 100
"""Characters of a role, an author's name, a batch or a provisional name."""
PRIORITY_MAX = 1000
"""Priorities go from minus this to this."""
NUMBER_MAX = 10**9


class Kind(StrEnum):
    """In the order in which they are worked on."""

    BUG = "bug"
    FEATURE = "feature"
    PERF = "perf"


class Status(StrEnum):
    OPEN = "open"
    IN_PROGRESS = "in_progress"
    """In somebody's hands."""
    DONE = "done"
    """What it asks for is there."""
    BLOCKED = "blocked"
    """Given up for now."""
    CLOSED = "closed"
    """Not wanted any more."""


class Action(StrEnum):
    CREATE = "create"
    COMMENT = "comment"
    CLAIM = "claim"
    """Take an open issue in hand: an attempt at it begins."""
    RELEASE = "release"
    """Let go of it, so that it is open again."""
    CLOSE = "close"
    REOPEN = "reopen"
    """As new: its attempts are forgotten."""
    BLOCK = "block"
    PRIORITISE = "prioritise"


@dataclass(frozen=True, slots=True, order=True)
class Author:
    """Who files: a role (``judge``, ``person``, ...), and which one of that role, such as ``attempt 42``."""

    role: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.role} ({self.name})" if self.name else self.role


@dataclass(frozen=True, slots=True)
class Filing:
    """One action of an author.

    An issue is meant by its number. One that was created in the same batch has none yet: it is meant by the name
    that its creation gave it.
    """

    action: Action
    author: Author
    issue: int = 0
    name: str = ""
    """Of a creation: what the rest of the batch calls it. Of anything else: the issue, in place of a number."""
    batch: str = ""
    """What was filed together, within which names hold; no two batches of a run are called alike."""
    kind: Kind = Kind.FEATURE
    title: str = ""
    text: str = ""
    """The body of a new issue; a comment, or why."""
    evidence: str = ""
    priority: int = 0
    """Of a creation, and of prioritise; more is earlier."""
    outcome: Literal["", "done", "failed"] = ""
    """Of close: ``done``, or closed without it. Of release: ``failed`` is an attempt at it, otherwise it was none."""
    refused: str = ""
    """Why it is not to be done, if whoever received it says so already; it is recorded all the same."""


@dataclass(frozen=True, slots=True)
class Comment:
    """What was said of an issue, or done to it (``action``), when the journal had come to ``seq``."""

    seq: int
    author: Author
    text: str = ""
    action: Action = Action.COMMENT
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Issue:
    """Numbers count from 1 in the order of creation."""

    number: int
    kind: Kind
    title: str
    body: str = ""
    priority: int = 0
    status: Status = Status.OPEN
    author: Author = Author("")
    evidence: str = ""
    comments: tuple[Comment, ...] = ()
    """All that was said and done since, oldest first."""
    created_seq: int = 0
    updated_seq: int = 0
    attempts: int = 0
    """How often it was taken in hand, since it was new; those that were let go of as none do not count."""
    holder: Author | None = None
    """In whose hands it is."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A filing that changed nothing, whole, and why."""

    seq: int
    filing: Filing
    reason: str


def order(issue: Issue) -> tuple[int, int, int]:
    """Sorts issues by what comes first: bug, feature, perf; then the greater priority; then age."""
    return _RANK[issue.kind], -issue.priority, issue.number


_RANK = {kind: rank for rank, kind in enumerate(Kind)}


def flaw(filing: Filing) -> str:
    """Why ``filing`` cannot be meant, whatever the board; empty if it can."""
    author = filing.author
    for what, text, most in (
        ("role", author.role, NAME_MAX),
        ("author's name", author.name, NAME_MAX),
        ("batch", filing.batch, NAME_MAX),
        ("provisional name", filing.name, NAME_MAX),
        ("title", filing.title, TITLE_MAX),
        ("text", filing.text, TEXT_MAX),
        ("evidence", filing.evidence, TEXT_MAX),
    ):
        if len(text) > most:
            return f"the {what} has {len(text):,} characters; at most {most:,} are kept: shorten it"
        if not _whole(text):
            return f"the {what} holds half a character (a lone surrogate): send whole ones"
    if not -PRIORITY_MAX <= filing.priority <= PRIORITY_MAX:
        return f"priority {filing.priority} is not within {-PRIORITY_MAX} and {PRIORITY_MAX}"
    if not 0 <= filing.issue <= NUMBER_MAX:
        return f"{filing.issue} is no number of an issue"
    if filing.action is Action.CREATE:
        return "" if filing.title.strip() else "an issue needs a title"
    if not filing.issue and not filing.name:
        return f"{filing.action} needs the number of an issue"
    if filing.action is Action.COMMENT and not filing.text.strip():
        return "a comment needs a text"
    return ""


def _whole(text: str) -> bool:
    """Whether it can be written down."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
