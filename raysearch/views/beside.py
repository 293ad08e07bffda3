"""How far the search has come: candidates beside the seed and the baselines, measured in turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from raysearch.facts import AttemptClosed, AttemptOpened, Compared, Fact
from raysearch.types import SEED, AttemptId, Candidate, CandidateId, Contest
from raysearch.views.rows import Row

SEED_PROGRAM = "the seed"


@dataclass(slots=True)
class Beside:
    """Contests with the seed and the baselines, by candidate and by whom it met."""

    names: dict[CandidateId, str] = field(default_factory=lambda: {SEED: SEED_PROGRAM})
    """What the seed and the baselines are called."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why a baseline is none: what a gate said of it, or how it broke."""
    held: dict[AttemptId, dict[CandidateId, Contest]] = field(default_factory=dict)

    def told(self, fact: Fact) -> None:
        """Fold one fact in."""
        match fact:
            case AttemptOpened(attempt, proposal) if proposal.baseline:
                self.names[attempt] = f"baseline {proposal.baseline}"
            case AttemptClosed(attempt, _, reason, None) if attempt in self.names and attempt != SEED:
                self.refused[self.names.pop(attempt)] = reason
            case Compared(attempt, rival) if rival in self.names and attempt != rival:
                self.held.setdefault(attempt, {})[rival] = fact.contest
            case _:
                pass

    def of(self, candidate: Candidate) -> Iterator[tuple[str, Contest]]:
        """Whom it was measured beside, and what came of it."""
        met: Mapping[CandidateId, Contest] = self.held.get(candidate.id, {})
        return ((self.names[rival], contest) for rival, contest in sorted(met.items()))

    def rows(self, candidate: Candidate) -> list[Row]:
        """One row for each of those and each objective: the gain with its interval, None being without bound.

        ``gain``, ``low`` and ``high`` are shares of the other's value where ``relative``, else in the objective's unit;
        positive is better.
        """
        return [
            {
                "over": name,
                "verdict": contest.verdict,
                "metric": found.metric,
                "gain": found.effect,
                "low": found.low,
                "high": found.high,
                "relative": found.relative,
                "confidence": found.confidence,
                "pairs": contest.pairs,
            }
            for name, contest in self.of(candidate)
            for found in contest.comparisons
        ]
