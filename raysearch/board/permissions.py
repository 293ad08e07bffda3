"""Who may file what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from raysearch.board.types import Action, Author, Filing, Kind


@dataclass(frozen=True, slots=True)
class Permissions:
    """What an author may do in one batch."""

    actions: frozenset[Action] = frozenset(Action)
    """None at all: read only."""
    kinds: frozenset[Kind] = frozenset(Kind)
    """Of the issues that it may create."""
    creates_max: int | None = None
    """Issues that it may create; None: any number."""

    @property
    def read_only(self) -> bool:
        return not self.actions

    def refusal(self, filing: Filing, earlier: Iterable[Filing]) -> str:
        """Why ``filing`` may not be, after what the same author filed ``earlier`` in the batch; empty if it may."""
        role, action = filing.author.role, filing.action
        if self.read_only:
            return f"a {role} may read the board, but not change it"
        if action not in self.actions:
            return f"a {role} may not {action} issues; it may {_listed(self.actions)}"
        if action is not Action.CREATE:
            return ""
        if filing.kind not in self.kinds:
            return f"a {role} may not create an issue of kind {filing.kind}; it may create {_listed(self.kinds)}"
        made = sum(1 for other in earlier if other.action is Action.CREATE and not other.refused)
        if self.creates_max is not None and made >= self.creates_max:
            return f"a {role} may create {self.creates_max} issues, and has created {made}"
        return ""


READ_ONLY = Permissions(frozenset())
_TALK = frozenset({Action.COMMENT})
_WORK = frozenset({Action.COMMENT, Action.CLAIM, Action.RELEASE, Action.CLOSE})

ROLES: Mapping[str, Permissions] = {
    "person": Permissions(),
    "driver": Permissions(),
    "implementer": Permissions(_WORK, frozenset(), 0),
    "judge": Permissions(_TALK | {Action.CREATE}, frozenset({Kind.BUG}), 1),
    "planner": Permissions(frozenset(Action) - {Action.CLAIM, Action.RELEASE}, creates_max=5),
    "profiler": Permissions(_TALK | {Action.CREATE}, frozenset({Kind.PERF}), 3),
    "performance_evaluator": Permissions(_TALK | {Action.CREATE}),  # how many are kept, whoever asks it decides
}
"""What roles may unless told otherwise."""


def permissions_of(role: str) -> Permissions:
    """Of a role that is not listed: to read."""
    return ROLES.get(role, READ_ONLY)


def permitted(
    filings: Sequence[Filing], *, batch: str, allowed: Mapping[Author, Permissions], earlier: Sequence[Filing] = ()
) -> tuple[Filing, ...]:
    """All of ``filings`` as one batch, in which what may not be is marked as refused.

    A filing by an author who is not ``allowed`` counts as the first one's; it is refused unless that is the only one.
    What was received ``earlier`` counts towards how much an author may file.
    """
    first = next(iter(allowed), Author("nobody"))
    known = {author: [filing for filing in earlier if filing.author == author] for author in (first, *allowed)}
    received = []
    for filing in filings:
        filed = replace(filing, batch=batch)
        if filed.author not in allowed:
            reason = "" if len(allowed) == 1 else f"{filed.author} is not among those who file here"
            filed = replace(filed, author=first, refused=filed.refused or reason)
        before = known[filed.author]
        if not filed.refused:
            filed = replace(filed, refused=allowed[filed.author].refusal(filed, before))
        before.append(filed)
        received.append(filed)
    return tuple(received)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
