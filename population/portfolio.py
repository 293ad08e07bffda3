"""Which mutator makes the next child: the one that earns most for what it costs, and never one alone.

Credit is told from facts only, and adds up as they come: a policy that is told the journal again knows the same.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from population.frontier import Frontier, Vector, dominates
from raysearch.facts import AttemptClosed
from raysearch.types import SEED, AttemptId, CandidateId, Outcome, Proposal

HORIZON = 200
"""Attempts after which a result counts for 1/e of a new one: what helps early on need not help later."""
PRIOR = 2.0
"""Attempts that the portfolio's average stands for in what is believed of each mutator."""
STEP = 0.2
"""Credit of a child that beats its parents, but is behind the frontier."""
GAINS = 50
"""Latest frontier entries that a new one is ranked among."""


class Credit:
    """What a child is worth to the search, from 0 to 1, whatever the objectives' scales.

    0: not admitted, or no better than a parent. `STEP`: better than each of its parents. From a half on: it entered
    the run's frontier, beyond the objectives' noise; the more, the higher its gain ranks among the latest. 1: it is
    the first of all. The gain is how far the whole frontier would have to move to cover it, in spans of each
    objective (additive epsilon indicator, Zitzler et al. 2003). Ranks, as gains shrink by orders of magnitude during
    a run (A. Fialho, M. Schoenauer, M. Sebag, "Toward comparison-based adaptive operator selection", GECCO 2010).
    """

    __slots__ = ("_gains", "_high", "_low")

    def __init__(self) -> None:
        self._gains: deque[float] = deque(maxlen=GAINS)
        self._low: Vector = ()
        self._high: Vector = ()

    def assign(self, point: Vector, parents: Sequence[Vector], frontier: Frontier) -> float:
        """Credit of a new candidate at ``point``, which ``frontier`` must not hold yet."""
        self._low = tuple(map(min, point, self._low or point))
        self._high = tuple(map(max, point, self._high or point))
        if frontier.covers(point):
            noises = [objective.noise for objective in frontier.objectives]
            return STEP if parents and all(_beats(point, parent, noises) for parent in parents) else 0.0
        if not len(frontier):
            return 1.0
        gain = frontier.lead(point, [high - low for low, high in zip(self._low, self._high, strict=True)])
        less, equal = sum(old < gain for old in self._gains), sum(old == gain for old in self._gains)
        rank = (less + equal / 2) / len(self._gains) if self._gains else 0.5
        self._gains.append(gain)
        return (1.0 + rank) / 2


@dataclass(slots=True)
class Account:
    """What became of a mutator's attempts, older ones counting less."""

    attempts: float = 0.0
    credit: float = 0.0
    cost_usd: float = 0.0


class Portfolio:
    """Credit and cost of each mutator, and the choice between them.

    The choice is discounted Thompson sampling (V. Raj, S. Kalyani, "Taming non-stationary bandits: a Bayesian
    approach", 2017) on credit per cost (Y. Xia et al., "Thompson sampling for budgeted multi-armed bandits", IJCAI
    2015): for each mutator a mean credit is drawn from what is believed of it, a beta distribution, and divided by
    its mean cost; the highest wins. A mutator of which little is known is taken for an average one. Several draws
    before anything is heard spread in proportion to what is believed, so that lanes need no other rule.

    What an attempt costs is ``attempt_usd`` (above 0) and its mutator's own bill. Times are not read: they differ
    from one machine to the next, and a policy must not.
    """

    __slots__ = ("_accounts", "_credit", "_points", "_spent", "attempt_usd")

    def __init__(self, attempt_usd: float) -> None:
        self.attempt_usd = attempt_usd
        self._accounts: dict[str, Account] = {}
        self._credit = Credit()
        self._points: dict[CandidateId, Vector] = {}
        self._spent: dict[AttemptId, float] = {}
        """Bills of attempts under way, in dollars."""

    def spent(self, attempt: AttemptId, cost_usd: float) -> None:
        """An attempt under way has cost so much more."""
        if cost_usd:
            self._spent[attempt] = self._spent.get(attempt, 0.0) + cost_usd

    def paid(self, name: str, cost_usd: float) -> None:
        """``name`` has cost so much beside its attempts."""
        if cost_usd:
            self._accounts.setdefault(name, Account()).cost_usd += cost_usd

    def closed(self, fact: AttemptClosed, proposal: Proposal, point: Vector | None, frontier: Frontier) -> None:
        """An attempt came to its end; ``point`` is its candidate's vector, which ``frontier`` must not hold yet.

        What was refused or failed was paid for all the same. What was abandoned says nothing.
        """
        cost_usd, credit = self._spent.pop(fact.attempt, 0.0), 0.0
        if point is not None:
            parents = [self._points[parent] for parent in proposal.parents if parent in self._points]
            credit = self._credit.assign(point, parents, frontier)
            self._points[fact.attempt] = point
        if fact.attempt == SEED or fact.outcome is Outcome.ABANDONED:
            return
        for account in self._accounts.values():
            account.attempts *= 1.0 - 1.0 / HORIZON
            account.credit *= 1.0 - 1.0 / HORIZON
            account.cost_usd *= 1.0 - 1.0 / HORIZON
        account = self._accounts.setdefault(proposal.mutator, Account())
        account.attempts += 1.0
        account.credit += credit
        account.cost_usd += cost_usd

    def choose(self, names: Sequence[str], rng: random.Random, exploration: float) -> str:
        """One of ``names``; each with a probability of ``exploration`` (0 to 1) divided by their number at least."""
        if len(names) == 1:
            return names[0]
        if rng.random() < exploration:
            return rng.choice(names)
        accounts = [self._accounts.get(name, Account()) for name in names]
        attempts = sum(account.attempts for account in accounts)
        credit = (1.0 + sum(account.credit for account in accounts)) / (2.0 + attempts)
        cost_usd = sum(account.cost_usd for account in accounts) / max(attempts, 1.0)
        draws = [(self._worth(account, credit, cost_usd, rng), rng.random()) for account in accounts]
        return names[draws.index(max(draws))]

    def _worth(self, account: Account, credit: float, cost_usd: float, rng: random.Random) -> float:
        """Credit per dollar, drawn; ``credit`` and ``cost_usd`` are the average mutator's."""
        missed = max(account.attempts - account.credit, 0.0)
        drawn = rng.betavariate(PRIOR * credit + account.credit, PRIOR * (1.0 - credit) + missed)
        bill_usd = (account.cost_usd + PRIOR * cost_usd) / (account.attempts + PRIOR)
        return drawn / (self.attempt_usd + bill_usd)


def _beats(new: Vector, old: Vector, noises: Sequence[float]) -> bool:
    """Whether ``new`` dominates ``old``, in some objective by more than its noise."""
    gained = (a - b > noise * abs(a) for a, b, noise in zip(new, old, noises, strict=True))
    return dominates(new, old) and any(gained)
