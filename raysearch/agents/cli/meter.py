"""What a program has spent while it still runs: its own accounts are read as it writes them, and it is ended in time.

The accounts lie in its HOME and were written by an agent: links are not followed, and an account that cannot be read
counts as empty. What a call cost in the end is the program's word at its end all the same; this only says when to stop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from raysearch.agents.prices import Prices, priced
from raysearch.errors import EvaluatorFault
from raysearch.sandbox import read_untrusted
from raysearch.types import UNLIMITED, Allowance, Usage

LOOK_S = 0.5
"""How often the accounts are looked at; they are read only where they have changed."""
ACCOUNT_KB_MAX = 65_536
Accounts = Callable[[Sequence[str]], Usage]
"""From the texts of all accounts of a HOME to what all of its conversations have cost."""


@dataclass(slots=True)
class Meter:
    """Of one turn; ``spent_before`` is what the accounts said when it began.

    ``pattern`` finds the accounts below ``home``; ``model`` is the one whose price counts where they name none.
    """

    home: Path
    pattern: str
    accounts: Accounts
    model: str
    prices: Prices
    allowance: Allowance
    over: str = ""
    """Why the turn was ended; empty while it is within its allowance."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set once it is over."""
    _before: Usage = field(default_factory=Usage)
    _seen: tuple[tuple[str, int, int], ...] = ()

    def begin(self) -> None:
        self._before = self._read()

    def look(self) -> None:
        """Stop the turn if it has spent more than it may."""
        if self._changed():
            self.over = beyond(self.spent(), self.allowance)
            if self.over:
                self.stop.set()

    def spent(self) -> Usage:
        """What the turn has cost so far."""
        now, before = self._read(), self._before
        turn = replace(
            now,
            cost_usd=max(0.0, now.cost_usd - before.cost_usd),
            tokens_in=max(0, now.tokens_in - before.tokens_in),
            tokens_cached=max(0, now.tokens_cached - before.tokens_cached),
            tokens_out=max(0, now.tokens_out - before.tokens_out),
            turns=max(0, now.turns - before.turns),
            model=now.model or self.model,
        )
        return priced(turn, self.prices)

    def _read(self) -> Usage:
        texts = []
        for place in self._files():
            with suppress(EvaluatorFault, OSError, ValueError):
                name = str(place.relative_to(self.home))
                texts.append(read_untrusted(self.home, name, limit_kb=ACCOUNT_KB_MAX).decode("utf-8", "replace"))
        return self.accounts(texts)

    def _changed(self) -> bool:
        seen = []
        for place in self._files():
            with suppress(OSError):
                about = place.lstat()
                seen.append((str(place), about.st_size, about.st_mtime_ns))
        before, self._seen = self._seen, tuple(seen)
        return self._seen != before

    def _files(self) -> list[Path]:
        try:
            return sorted(self.home.glob(self.pattern))
        except OSError:  # a folder that went away meanwhile
            return []


@contextmanager
def watched(meter: Meter) -> Iterator[Meter]:
    """Look at the accounts while the turn is under way; not at all where it may spend any amount."""
    if meter.allowance == UNLIMITED or not meter.pattern:
        yield meter
        return
    meter.begin()
    done = threading.Event()

    def look() -> None:
        while not done.wait(LOOK_S) and not meter.over:
            meter.look()

    thread = threading.Thread(target=look, name="raysearch-meter", daemon=True)
    thread.start()
    try:
        yield meter
    finally:
        done.set()
        thread.join()


def beyond(used: Usage, allowed: Allowance) -> str:
    """In what ``used`` is more than ``allowed``, in words; empty if in nothing."""
    tokens = used.tokens_in + used.tokens_out
    if allowed.cost_usd is not None and used.cost_usd > allowed.cost_usd:
        return f"${used.cost_usd:.4f} is spent of ${allowed.cost_usd:.4f}"
    if allowed.tokens is not None and tokens > allowed.tokens:
        return f"{tokens} tokens are used of {allowed.tokens}"
    if allowed.calls is not None and used.turns > allowed.calls:
        return f"the model was heard {used.turns} times, and may be {allowed.calls} times"
    return ""
