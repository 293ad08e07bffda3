"""What an agent may do at the board, tool by tool: it sees the snapshot with all that the outbox adds to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from raysearch.board.board import Board
from raysearch.board.outbox import Outbox, Unfiled, opened, read_snapshot
from raysearch.board.permissions import Permissions
from raysearch.board.types import Action, Author, Filing, Issue, Kind, Refusal, Status, order
from raysearch.errors import RaysearchError, nearest

ROWS_MAX, COMMENTS_SHOWN, REFUSALS_SHOWN = 100, 30, 5
PENDING = "new-"
"""Begins the names of issues that have no number yet."""
_REFERENCE = re.compile(rf"#?(\d{{1,9}})|({PENDING}\d{{1,6}})")
Row = dict[str, Any]


class Mistaken(RaysearchError):
    """What the agent asked for cannot be; the message is for the agent."""


@dataclass(frozen=True, slots=True)
class Tool:
    """Of a name, what it is for, its parameters by name (JSON schemas), and which of them must be given."""

    name: str
    told: str
    parameters: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...]
    action: Action | None = None
    """What it files; None: it only looks."""

    @property
    def schema(self) -> Row:
        """Of its arguments."""
        properties = {name: dict(schema) for name, schema in self.parameters.items()}
        required = list(self.required)
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _text(told: str) -> Row:
    return {"type": "string", "description": told}


def _one_of(names: type[Kind] | type[Status], told: str) -> Row:
    return {"type": "string", "enum": [name.value for name in names], "description": told}


_ISSUE = {"issue": _text(f"number of an issue, such as 7; one that was created just now is called {PENDING}1 or so")}
_WHICH = {
    "kind": _one_of(Kind, "only issues of this kind"),
    "status": _one_of(Status, "only issues in this state"),
}
_WHY = _text("why, for whoever reads it later")
_PRIORITY = {"type": "integer", "description": "more is earlier; 0 is usual, and from -1000 to 1000 is possible"}

TOOLS = (
    Tool("list_issues", "List issues, in the order in which they are worked on.", _WHICH, ()),
    Tool("get_issue", "Show all of one issue: its text, its evidence, and what was said of it.", _ISSUE, ("issue",)),
    Tool(
        "search_issues",
        "Find issues that hold all of the words, anywhere; capitals do not matter.",
        {"words": _text("words, separated by spaces or commas"), **_WHICH},
        ("words",),
    ),
    Tool(
        "create_issue",
        "File a new issue. Search first: what is there already needs a comment, not another issue.",
        {
            "kind": _one_of(Kind, "bug: something is wrong; feature: something is missing; perf: something is slow"),
            "title": _text("what it is, in one line of at most 200 characters"),
            "body": _text("all that whoever works on it must know"),
            "evidence": _text("what was measured or seen: figures, output, places in files"),
            "priority": _PRIORITY,
        },
        ("kind", "title"),
        Action.CREATE,
    ),
    Tool(
        "comment_issue",
        "Add to an issue what was found out.",
        {**_ISSUE, "text": _text("what to add"), "evidence": _text("what was measured or seen")},
        ("issue", "text"),
        Action.COMMENT,
    ),
    Tool("claim_issue", "Take an open issue in hand.", {**_ISSUE, "text": _WHY}, ("issue",), Action.CLAIM),
    Tool(
        "release_issue",
        "Let go of an issue in hand, so that it is open again.",
        {**_ISSUE, "text": _WHY, "failed": {"type": "boolean", "description": "whether it was tried, in vain"}},
        ("issue",),
        Action.RELEASE,
    ),
    Tool(
        "close_issue",
        "Close an issue.",
        {
            **_ISSUE,
            "text": _WHY,
            "evidence": _text("what shows that it is done"),
            "done": {"type": "boolean", "description": "true (as if left out): done; false: not wanted any more"},
        },
        ("issue",),
        Action.CLOSE,
    ),
    Tool("reopen_issue", "Open a closed or blocked issue again.", {**_ISSUE, "text": _WHY}, ("issue",), Action.REOPEN),
    Tool("block_issue", "Put an issue aside, as hopeless for now.", {**_ISSUE, "text": _WHY}, ("issue",), Action.BLOCK),
    Tool(
        "prioritise_issue",
        "Say how urgent an issue is among others of its kind.",
        {**_ISSUE, "priority": _PRIORITY, "text": _WHY},
        ("issue", "priority"),
        Action.PRIORITISE,
    ),
)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where one author reads the board and files."""

    snapshot: Path
    outbox: Path
    author: Author
    permissions: Permissions

    @property
    def tools(self) -> Sequence[Tool]:
        """Those that the author may use."""
        may = self.permissions
        creates = may.creates_max != 0 and bool(may.kinds)
        return [
            tool
            for tool in TOOLS
            if tool.action is None or (tool.action in may.actions and (tool.action is not Action.CREATE or creates))
        ]

    def call(self, name: str, arguments: Mapping[str, Any]) -> Row:
        """What a tool answers. Raises Mistaken, and Unfiled where the files cannot be used."""
        tool = next((tool for tool in TOOLS if tool.name == name), None)
        if tool is None:
            raise Mistaken(f"there is no tool {name!r}.{nearest(name, [tool.name for tool in self.tools])}")
        given = checked(tool, arguments)
        with opened(self.outbox) as outbox:
            view = _View.of(self, outbox)
            if tool.action is not None:
                return self._file(tool.action, given, view, outbox)
        looks: dict[str, Callable[[], Row]] = {
            "list_issues": lambda: view.listed(_where(given)),
            "get_issue": lambda: view.shown(given["issue"]),
            "search_issues": lambda: view.listed(_where(given), _words(given["words"])),
        }
        return looks[name]()

    def _file(self, action: Action, given: Row, view: _View, outbox: Outbox) -> Row:
        number, name = (0, view.next_name()) if action is Action.CREATE else view.meant(given["issue"])
        outcome: Literal["", "done", "failed"] = ""
        if action is Action.CLOSE:
            outcome = "done" if given.get("done", True) else ""
        elif action is Action.RELEASE:
            outcome = "failed" if given.get("failed", False) else ""
        filing = Filing(
            action,
            self.author,
            number,
            name,
            kind=Kind(given.get("kind", Kind.FEATURE)),
            title=given.get("title", ""),
            text=str(given.get("body", given.get("text", ""))),
            evidence=given.get("evidence", ""),
            priority=given.get("priority", 0),
            outcome=outcome,
        )
        if reason := self.permissions.refusal(filing, [f for f in view.filings if f.author == self.author]):
            raise Mistaken(reason)
        became = view.board.apply(filing, view.seq)
        if isinstance(became, Refusal):
            raise Mistaken(became.reason)
        outbox.append(filing)
        return {"filed": action.value, **view.renamed(name).row(became)}


@dataclass(frozen=True, slots=True)
class _View:
    """The board with the outbox folded in, and what issues without a number are called."""

    board: Board
    filings: Sequence[Filing]
    names: Mapping[int, str]
    seq: int
    author: Author

    @classmethod
    def of(cls, desk: Desk, outbox: Outbox) -> _View:
        snapshot = read_snapshot(desk.snapshot)
        board, seq = Board(snapshot), snapshot.seq + 1
        for filing in outbox.filings:
            board.apply(filing, seq)
        view = cls(board, outbox.filings, {}, seq, desk.author)
        for filing in view.filings:
            view = view.renamed(filing.name) if filing.action is Action.CREATE else view
        return view

    def renamed(self, name: str) -> _View:
        """With ``name`` for the issue that was created under it."""
        number = self.board.number_of("", name)
        names = self.names if number is None else {**self.names, number: name}
        return _View(self.board, self.filings, names, self.seq, self.author)

    def next_name(self) -> str:
        """For a new issue: no other of the outbox has it."""
        return f"{PENDING}{1 + sum(filing.action is Action.CREATE for filing in self.filings)}"

    def meant(self, reference: str) -> tuple[int, str]:
        """Number, or else name, of an issue that is there. Raises Mistaken."""
        found = _REFERENCE.fullmatch(reference.strip())
        if found is None:
            raise Mistaken(f"{reference!r} is no issue: give a number such as 7, or a name such as {PENDING}1")
        number = int(found[1]) if found[1] else (self.board.number_of("", found[2]) or 0)
        if number not in self.board.issues:
            known = [self.names.get(other, str(other)) for other in self.board.issues]
            there = f"there are {len(known)}, from {known[0]} to {known[-1]}" if known else "there is none yet"
            raise Mistaken(f"there is no issue {reference.strip()}: {there}")
        name = self.names.get(number, "")
        return (0, name) if name else (number, "")

    def listed(self, wanted: Callable[[Issue], bool], words: Sequence[str] = ()) -> Row:
        found = sorted((i for i in self.board.issues.values() if wanted(i) and _holds(i, words)), key=order)
        refusals = self.board.refused(author=Author(self.author.role))[-REFUSALS_SHOWN:]
        answer: Row = {"issues": [self.row(issue) for issue in found[:ROWS_MAX]], "found": len(found)}
        if refusals:
            answer["refused"] = [{"title": r.filing.title or r.filing.text[:200], "why": r.reason} for r in refusals]
        return answer

    def shown(self, reference: str) -> Row:
        number, name = self.meant(reference)
        issue = self.board.issues[number or self.board.number_of("", name) or 0]
        comments = [
            {
                "action": c.action.value,
                "author": str(c.author),
                "text": c.text,
                **({"evidence": c.evidence} if c.evidence else {}),
            }
            for c in issue.comments[-COMMENTS_SHOWN:]
        ]
        left_out = max(0, len(issue.comments) - COMMENTS_SHOWN)
        more = {"earlier_comments_left_out": left_out} if left_out else {}
        return {**self.row(issue), "body": issue.body, "evidence": issue.evidence, "comments": comments, **more}

    def row(self, issue: Issue) -> Row:
        return {
            "issue": self.names.get(issue.number, str(issue.number)),
            "kind": issue.kind.value,
            "title": issue.title,
            "status": issue.status.value,
            "priority": issue.priority,
            "attempts": issue.attempts,
            "author": str(issue.author),
            "holder": str(issue.holder) if issue.holder else "",
            "comment_count": len(issue.comments),
        }


_TYPES: Mapping[str, tuple[type, str]] = {
    "string": (str, "a text"),
    "integer": (int, "a whole number"),
    "boolean": (bool, "true or false"),
}


def checked(tool: Tool, arguments: Mapping[str, Any]) -> Row:
    """The arguments of a tool, those that are null left out. Raises Mistaken."""
    given = {
        name: str(value) if name == "issue" and type(value) is int else value
        for name, value in arguments.items()
        if value is not None
    }
    for name, value in given.items():
        schema = tool.parameters.get(name)
        if schema is None:
            raise Mistaken(f"{tool.name} has no argument {name!r}.{nearest(name, tool.parameters)}")
        kind, told = _TYPES[schema["type"]]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Mistaken(f"{tool.name}: {name} must be {told}")
        if "enum" in schema and value not in schema["enum"]:
            raise Mistaken(f"{tool.name}: {name} {value!r} is none of {', '.join(schema['enum'])}")
    if missing := [name for name in tool.required if name not in given]:
        raise Mistaken(f"{tool.name} needs {' and '.join(missing)}")
    return given


def _where(given: Mapping[str, Any]) -> Callable[[Issue], bool]:
    kind, status = given.get("kind"), given.get("status")
    return lambda issue: kind in {None, issue.kind} and status in {None, issue.status}


def _words(text: str) -> list[str]:
    words = [word.casefold() for word in re.split(r"[\s,]+", text) if word]
    if not words:
        raise Mistaken("search_issues needs at least one word")
    return words


def _holds(issue: Issue, words: Sequence[str]) -> bool:
    if not words:
        return True
    said = (part for comment in issue.comments for part in (comment.text, comment.evidence))
    text = "\n".join((issue.title, issue.body, issue.evidence, *said)).casefold()
    return all(word in text for word in words)


def as_text(row: Row) -> str:
    """An answer as agents read it."""
    return msgspec.json.format(msgspec.json.encode(row)).decode()


__all__ = ["TOOLS", "Desk", "Mistaken", "Tool", "Unfiled", "as_text", "checked"]
