"""Consultations under way: a part of the run's state."""

from __future__ import annotations

from dataclasses import dataclass, field

from raysearch.consultation import Consultation
from raysearch.errors import Invariant, require
from raysearch.facts import ConsultationOpened, Consulted, JobFailed, Unanswered


@dataclass(slots=True)
class Asked:
    """A question under way."""

    id: int
    question: Consultation
    opened_at_s: float
    tries: int = 0
    fatal: str = ""


@dataclass(slots=True)
class Counsel:
    """What was asked and is not answered yet."""

    open: dict[int, Asked] = field(default_factory=dict)
    total: int = 0
    """Consultations ever opened; also the highest number."""
    in_row: int = 0
    """Opened since the latest attempt was."""

    def opened(self, fact: ConsultationOpened, at_s: float) -> None:
        require(fact.consultation == self.total + 1, "consultations are numbered in order")
        self.total = fact.consultation
        self.in_row += 1
        self.open[fact.consultation] = Asked(fact.consultation, fact.question, at_s)

    def failed(self, fact: JobFailed, retries_max: int) -> None:
        asked = self._asked(fact.consultation)
        asked.tries += 1
        if not fact.retry or asked.tries > retries_max:
            asked.fatal = f"{fact.fault}: {fact.message}"

    def closed(self, fact: Consulted | Unanswered) -> None:
        del self.open[self._asked(fact.consultation).id]

    def _asked(self, consultation: int | None) -> Asked:
        asked = self.open.get(consultation or 0)
        if asked is None:
            raise Invariant(f"consultation {consultation} is open")
        return asked
