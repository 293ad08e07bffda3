"""One request and what became of it: plain data between those who send, those who speak, and those who count.

Times are seconds since the load began, on the event loop's monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["fresh", "canary", "repeat"]
Trouble = Literal["", "time", "server", "generator"]
"""Why there is no whole answer: none in time, the server's doing, or this machine's (out of sockets, say)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. ``tokens`` bounds the answer; ``exact`` asks for exactly so many, whatever the model would do.

    ``right`` judges the text of a canary's answer.
    """

    number: int
    prompt: str
    tokens: int
    exact: bool = True
    kind: Kind = "fresh"
    right: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """What arrived at one moment. ``last``: the answer is whole.

    ``usage_tokens`` is the server's own count of the tokens that it made, kept to be compared, never believed.
    """

    text: str = ""
    last: bool = False
    usage_tokens: int | None = None
    finish: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer. ``due_s`` is when it should have left; every latency counts from there.

    ``arrived_s`` and ``sizes`` (characters) are of the pieces that held text. ``first_s`` is when the first text
    that is not blank arrived, and ``first_chars`` how much had then arrived; None: nothing did.
    """

    request: Request
    due_s: float
    sent_s: float
    ended_s: float
    text: str = ""
    arrived_s: Sequence[float] = ()
    sizes: Sequence[int] = ()
    first_s: float | None = None
    first_chars: int = 0
    usage_tokens: int | None = None
    finish: str = ""
    trouble: Trouble = ""
    reason: str = ""

    @property
    def late_s(self) -> float:
        """By how much the generator missed the time at which it was due."""
        return self.sent_s - self.due_s


class ServerTrouble(Exception):
    """The server did not answer as it should: status, form, or a connection that broke. Not the generator's doing."""


class GeneratorTrouble(Exception):
    """This machine could not send or receive: out of sockets, ports or memory. Not the server's doing."""
