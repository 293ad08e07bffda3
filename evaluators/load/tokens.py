"""Tokens are counted again, from the text that came back; what the server says of them is kept as evidence."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evaluators.load.exchange import Exchange

CountTokens = Callable[[str], int]
"""How many tokens a text is, for the model in question."""
_WORDS_AND_MARKS = re.compile(r"\w+|[^\w\s]")


def words_and_marks(text: str) -> int:
    """Words (runs of letters, digits, underscores) and punctuation marks, one each.

    The stand-in for a tokenizer where a target gives none. It is no model's tokenizer: with it, figures per token
    compare candidates of one target, and nothing else, and exact lengths can be verified only for servers whose
    tokens are words.
    """
    return sum(1 for _ in _WORDS_AND_MARKS.finditer(text))


def name_of(count: CountTokens) -> str:
    """What the conditions of a measurement call a tokenizer."""
    if count is words_and_marks:
        return "words and marks, for want of a tokenizer"
    return str(getattr(count, "__qualname__", type(count).__name__))


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much a recount may miss an exact length: text is not always cut where the model cut it.

    ``share`` of the length asked for, or ``tokens``, whichever is more.
    """

    share: float = 0.05
    tokens: int = 2

    def around(self, asked: int) -> tuple[float, float]:
        """The fewest and the most tokens that pass for ``asked``."""
        slack = max(self.share * asked, self.tokens)
        return asked - slack, asked + slack


def usage_evidence(answers: Sequence[tuple[Exchange, int]]) -> str:
    """How far the server's own counts are from the recount, given beside each answer; empty if it gave none."""
    told = [(exchange.usage_tokens, counted) for exchange, counted in answers if exchange.usage_tokens is not None]
    if not told:
        return ""
    differ = sum(1 for usage, counted in told if usage != counted)
    claimed, counted = sum(usage for usage, _ in told), sum(counted for _, counted in told)
    ratio = f", {claimed / counted:.3f} times as many in all" if counted else ""
    return f"{differ} of {len(told)} differ from the recount{ratio}"


def chunk_evidence(answers: Sequence[tuple[Exchange, int]]) -> str:
    """Tokens a chunk: what counting chunks would have missed."""
    chunks = sum(len(exchange.sizes) for exchange, _ in answers)
    return f"{sum(counted for _, counted in answers) / chunks:.3f}" if chunks else ""
