"""A policy that works off a board of issues, and asks somebody now and then: small, for tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from raysearch.board import Action, Author, Filing, Kind, Status
from raysearch.consultation import Consultation
from raysearch.facts import ConsultationOpened, Fact
from raysearch.protocols import Ask, View
from raysearch.types import SEED, Brief, CandidateId, Outcome, Proposal

DRIVER = Author("driver")
ISSUES_MAX, TRIES_MAX = 40, 2


@dataclass
class Clerk:
    """One attempt an issue at a time; after two that failed it is blocked. Files what is to be done itself."""

    asked: int = 0

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Ask]:
        del slots, rng
        if self.asked < len(view.closed) // 3 and view.plan.consultants and not view.consulting:
            step = view.plan.consultants[self.asked % len(view.plan.consultants)]
            return [Consultation(step.plugin, max(view.candidates, default=SEED), Brief("what now?"))]
        if settled := list(self._settled(view)):
            return settled
        issue = view.board.next_open()
        if issue is None:
            if len(view.board.issues) >= ISSUES_MAX:
                return []
            kind = list(Kind)[len(view.board.issues) % 3]
            return [Filing(Action.CREATE, DRIVER, kind=kind, title=f"task {len(view.board.issues) + 1}")]
        parents = tuple(sorted(view.candidates)[-1:])
        child = Proposal(parents, brief=Brief(issue.title), lineage=f"issue-{issue.number}")
        return [Filing(Action.CLAIM, DRIVER, issue.number), child]

    def tell(self, fact: Fact) -> None:
        self.asked += isinstance(fact, ConsultationOpened)

    def best(self, view: View) -> Sequence[CandidateId]:
        return sorted(view.candidates)

    def _settled(self, view: View) -> Sequence[Filing]:
        """What is said of issues whose attempts are over."""
        busy = {attempt.proposal.lineage for attempt in view.open.values()}
        admitted = [number for number, outcome in view.closed.items() if outcome is Outcome.ADMITTED]
        found = []
        for issue in view.board.having(Status.IN_PROGRESS):
            if issue.holder != DRIVER or f"issue-{issue.number}" in busy:
                continue
            if any(view.candidates[number].lineage == f"issue-{issue.number}" for number in admitted):
                found.append(Filing(Action.CLOSE, DRIVER, issue.number, outcome="done"))
            elif issue.attempts >= TRIES_MAX:
                found.append(Filing(Action.BLOCK, DRIVER, issue.number))
            else:
                found.append(Filing(Action.RELEASE, DRIVER, issue.number, outcome="failed"))
        return found
