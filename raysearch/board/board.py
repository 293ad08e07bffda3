"""The board: a fold over what was filed, in the order of the journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from raysearch.board.types import Action, Author, Comment, Filing, Issue, Kind, Refusal, Status, flaw, order

ISSUES_MAX, COMMENTS_MAX = 10_000, 1_000
"""Of a board; of an issue."""
REFUSALS_SHOWN = 50
"""The latest ones that a snapshot holds."""

_FROM: Mapping[Action, frozenset[Status]] = {
    Action.CLAIM: frozenset({Status.OPEN}),
    Action.RELEASE: frozenset({Status.IN_PROGRESS}),
    Action.CLOSE: frozenset({Status.OPEN, Status.IN_PROGRESS, Status.BLOCKED}),
    Action.BLOCK: frozenset({Status.OPEN, Status.IN_PROGRESS}),
    Action.REOPEN: frozenset({Status.DONE, Status.CLOSED, Status.BLOCKED}),
    Action.COMMENT: frozenset(Status),
    Action.PRIORITISE: frozenset(Status),
}
"""In which states an issue can be acted on."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A board as it was when the journal had come to ``seq``."""

    seq: int = 0
    issues: tuple[Issue, ...] = ()
    refusals: tuple[Refusal, ...] = ()


class Board:
    """Issues by number. What cannot be done is recorded as refused and changes nothing; nothing that is filed is lost.

    One board folds everything in one order, so equal histories make equal boards.
    """

    def __init__(self, snapshot: Snapshot = Snapshot()) -> None:
        self._seq = snapshot.seq
        self._issues = {issue.number: issue for issue in snapshot.issues}
        self._refusals = list(snapshot.refusals)
        self._named: dict[tuple[str, str], int] = {}

    def __eq__(self, other: object) -> bool:
        """Whether both came of the same filings."""
        return isinstance(other, Board) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment] # it changes

    @property
    def seq(self) -> int:
        """Of the latest filing."""
        return self._seq

    @property
    def issues(self) -> Mapping[int, Issue]:
        """By number, oldest first."""
        return MappingProxyType(self._issues)

    @property
    def refusals(self) -> Sequence[Refusal]:
        """Oldest first."""
        return tuple(self._refusals)

    def apply(self, filing: Filing, seq: int) -> Issue | Refusal:
        """Do what was filed, at entry ``seq`` of the journal: the issue as it is then, or why not. Raises nothing."""
        self._seq = max(self._seq, seq)
        reason = filing.refused or flaw(filing)
        if not reason and filing.action is Action.CREATE:
            reason = self._uncreated(filing)
            if not reason:
                return self._created(filing, seq)
        if not reason:
            issue, reason = self._meant(filing)
            if issue is not None:
                reason = _impossible(filing, issue)
                if not reason:
                    changed = _changed(filing, issue, seq)
                    self._issues[issue.number] = changed
                    return changed
        refusal = Refusal(seq, filing, reason)
        self._refusals.append(refusal)
        return refusal

    def next_open(self, kinds: Iterable[Kind] = tuple(Kind)) -> Issue | None:
        """The open issue to work on next (`order`); None if there is none of these kinds."""
        wanted = frozenset(kinds)
        able = (issue for issue in self._issues.values() if issue.status is Status.OPEN and issue.kind in wanted)
        return min(able, key=order, default=None)

    def having(self, *statuses: Status) -> Iterator[Issue]:
        """Issues in one of these states, oldest first."""
        return (issue for issue in self._issues.values() if issue.status in statuses)

    def number_of(self, batch: str, name: str) -> int | None:
        """The number of the issue that ``batch`` created under ``name``."""
        return self._named.get((batch, name))

    def refused(self, *, author: Author | None = None, batch: str | None = None) -> Sequence[Refusal]:
        """What was refused of an author (of all of a role, if it has no name), or of a batch, oldest first."""
        return [
            refusal
            for refusal in self._refusals
            if (batch is None or refusal.filing.batch == batch)
            and (author is None or _covers(author, refusal.filing.author))
        ]

    def snapshot(self) -> Snapshot:
        """All that a later board needs to go on from here, apart from names within batches."""
        return Snapshot(self._seq, tuple(self._issues.values()), tuple(self._refusals[-REFUSALS_SHOWN:]))

    def _uncreated(self, filing: Filing) -> str:
        """Why there can be no new issue; empty if there can."""
        if len(self._issues) >= ISSUES_MAX:
            return f"the board is full: it holds {ISSUES_MAX:,} issues"
        if filing.name and (filing.batch, filing.name) in self._named:
            return f"{filing.name!r} is the name of an issue of this batch already"
        return ""

    def _created(self, filing: Filing, seq: int) -> Issue:
        number = max(self._issues, default=0) + 1
        issue = Issue(
            number=number,
            kind=filing.kind,
            title=" ".join(filing.title.split()),
            body=filing.text,
            priority=filing.priority,
            author=filing.author,
            evidence=filing.evidence,
            created_seq=seq,
            updated_seq=seq,
        )
        self._issues[number] = issue
        if filing.name:
            self._named[filing.batch, filing.name] = number
        return issue

    def _meant(self, filing: Filing) -> tuple[Issue | None, str]:
        number = filing.issue or self._named.get((filing.batch, filing.name), 0)
        if not number:
            return None, f"no issue {filing.name!r} was created in this batch"
        issue = self._issues.get(number)
        last = max(self._issues, default=0)
        there = f"the numbers go from 1 to {last}" if last else "there is none yet"
        return issue, f"there is no issue {number}; {there}"


def _impossible(filing: Filing, issue: Issue) -> str:
    """Why this cannot be done to this issue; empty if it can."""
    if issue.status not in _FROM[filing.action]:
        held = f", in the hands of {issue.holder}" if issue.holder else ""
        able = " or ".join(sorted(_FROM[filing.action]))
        return f"issue {issue.number} is {issue.status}{held}; {filing.action} needs one that is {able}"
    if filing.action is Action.COMMENT and len(issue.comments) >= COMMENTS_MAX:
        return f"issue {issue.number} has {COMMENTS_MAX:,} comments, as many as are kept"
    return ""


def _changed(filing: Filing, issue: Issue, seq: int) -> Issue:
    said = Comment(seq, filing.author, filing.text, filing.action, filing.evidence)
    issue = replace(issue, comments=(*issue.comments, said), updated_seq=seq)
    match filing.action:
        case Action.CLAIM:
            return replace(issue, status=Status.IN_PROGRESS, holder=filing.author, attempts=issue.attempts + 1)
        case Action.RELEASE:
            attempts = issue.attempts if filing.outcome == "failed" else issue.attempts - 1
            return replace(issue, status=Status.OPEN, holder=None, attempts=max(0, attempts))
        case Action.CLOSE:
            status = Status.DONE if filing.outcome == "done" else Status.CLOSED
            return replace(issue, status=status, holder=None)
        case Action.BLOCK:
            return replace(issue, status=Status.BLOCKED, holder=None)
        case Action.REOPEN:
            return replace(issue, status=Status.OPEN, attempts=0)
        case Action.PRIORITISE:
            return replace(issue, priority=filing.priority)
        case Action.COMMENT | Action.CREATE:
            return issue


def _covers(author: Author, other: Author) -> bool:
    return author.role == other.role and author.name in {"", other.name}
