"""The auditor's own book of consultations: it shares nothing with the state's."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from raysearch.facts import ConsultationOpened, Consulted, Unanswered


@dataclass(slots=True)
class Questions:
    """Which questions nobody has answered yet."""

    asked: set[int] = field(default_factory=set)
    total: int = 0

    def read(
        self, fact: ConsultationOpened | Consulted | Unanswered, attempts: Container[int], under_way: Container[int]
    ) -> str:
        """Take a fact in; what is wrong with it, or nothing. ``attempts`` are all so far, ``under_way`` those open."""
        number = fact.consultation
        if not isinstance(fact, ConsultationOpened):
            known = number in self.asked
            self.asked.discard(number)
            return "" if known else f"?{number} is answered, but was not open"
        expected, about = self.total + 1, int(fact.question.about)
        self.total = number
        self.asked.add(number)
        if number != expected:
            return f"?{number} is opened where ?{expected} is due"
        if about and (about not in attempts or about in under_way):
            return f"?{number} is about {about}, which is no candidate"
        return ""
