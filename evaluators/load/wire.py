"""What a target must say about its server's protocol.

A server that speaks HTTP needs a `Dialect`: how a request becomes a body, and a message of the answer a `Piece`. One
that speaks something else (WebSockets, gRPC, shared memory) needs a `Wire`. Neither takes any time measurement: the
generator stamps pieces as they come out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from evaluators.load.exchange import Piece, Request
from evaluators.load.sse import Events, Framing


class Wire(Protocol):
    """Puts a request on the wire and takes its answer off it."""

    def exchange(self, request: Request) -> AsyncGenerator[Piece, None]:
        """Pieces as they arrive; one of them, or the end, makes the answer whole.

        Raises ServerTrouble where the server is to blame, GeneratorTrouble where this machine is. It is cancelled
        when the request's time is over, and must then let go of its connection.
        """
        ...


@dataclass(frozen=True, slots=True)
class Post:
    """One HTTP request. ``framing`` makes what cuts the body of its answer into messages."""

    path: str
    body: bytes
    framing: Callable[[], Framing] = Events
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


class Dialect(Protocol):
    """A protocol on HTTP, without state: the same object serves all requests."""

    def encode(self, request: Request) -> Post: ...

    def decode(self, message: bytes) -> Piece:
        """What a message of the answer says; ``Piece()`` for one that says nothing.

        A streamed answer is whole when a piece is ``last``; without one it broke off. Raises ServerTrouble.
        """
        ...
