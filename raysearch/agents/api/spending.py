"""What one call costs, and that it stays within what it may."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from raysearch.agents.prices import Prices, price
from raysearch.types import Allowance, Usage

OUTPUT_LEAST = 256
"""Tokens; an answer that must be shorter is not worth asking for."""


class OverBudget(Exception):
    """The allowance does not reach for another answer."""


@dataclass(slots=True)
class Spending:
    """Sums up what a call's answers cost. Failed and repeated ones count.

    ``own`` prices go over list prices. Where nobody knows what the model costs, a limit on cost cannot be kept: then
    nothing is asked, unless ``no_price`` says that it does not matter.
    """

    model: str
    allowance: Allowance
    own: Prices
    no_price: bool = False
    usage: Usage = field(default_factory=Usage)

    def add(self, usage: Usage, written: int = 0) -> Usage:
        """One more answer; returned with its cost."""
        priced = replace(usage, cost_usd=self._cost(usage, written) or 0.0)
        self.usage = self.usage + priced
        return priced

    def room(self, tokens_in: int, tokens_cached: int, output_max: int) -> int:
        """How many tokens the next answer may have, if about so many go in. Raises OverBudget."""
        room, used, allowed = output_max, self.usage, self.allowance
        if allowed.calls is not None and used.calls >= allowed.calls:
            raise OverBudget(f"all {allowed.calls} calls of the model are used up")
        if allowed.tokens is not None:
            left = allowed.tokens - used.tokens_in - used.tokens_out - tokens_in
            if left < min(OUTPUT_LEAST, output_max):
                raise OverBudget(
                    f"{used.tokens_in + used.tokens_out} of {allowed.tokens} tokens are used, "
                    f"and the next call would send about {tokens_in}"
                )
            room = min(room, left)
        if allowed.cost_usd is not None:
            room = min(room, self._affordable(allowed.cost_usd, tokens_in, tokens_cached, output_max))
        return room

    def over(self) -> str:
        """Why there is nothing left; empty while there is."""
        used, allowed = self.usage, self.allowance
        if allowed.cost_usd is not None and used.cost_usd > allowed.cost_usd:
            return f"${used.cost_usd:.4f} is spent of ${allowed.cost_usd:.4f}"
        if allowed.tokens is not None and used.tokens_in + used.tokens_out > allowed.tokens:
            return f"{used.tokens_in + used.tokens_out} tokens are used of {allowed.tokens}"
        return ""

    def _affordable(self, cost_usd: float, tokens_in: int, tokens_cached: int, output_max: int) -> int:
        entering = Usage(tokens_in=tokens_in, tokens_cached=min(tokens_in, tokens_cached), model=self.model, turns=1)
        before, whole = self._cost(entering), self._cost(replace(entering, tokens_out=1000))
        if before is None or whole is None:
            if self.no_price:
                return output_max
            raise OverBudget(f"no price is known for {self.model}, so its cost cannot be held to ${cost_usd:g}")
        left = cost_usd - self.usage.cost_usd - before
        room = output_max if whole <= before and left >= 0 else int(left / max(whole - before, 1e-12) * 1000)
        if room < min(OUTPUT_LEAST, output_max):
            raise OverBudget(
                f"${self.usage.cost_usd:.4f} of ${cost_usd:.4f} is spent, and the next call would cost about "
                f"${before:.4f} before it says anything"
            )
        return room

    def _cost(self, usage: Usage, written: int = 0) -> float | None:
        found = price(self.model, usage, self.own, tokens_written=written)
        return price(self.model, usage, tokens_written=written) if found is None else found
