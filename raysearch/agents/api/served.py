"""A model on the run's own servers: several replicas, which come and go, as one provider."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path

from raysearch.agents.api.messages import Conversation, Provider, ProviderError, Turn
from raysearch.agents.api.pacing import Pace
from raysearch.agents.api.providers import Address, connect
from raysearch.errors import ConfigError
from raysearch.served import addresses
from raysearch.served.addresses import Addresses

LOOK_S = 0.5
"""Between two looks at whether a server that is started again is there."""
WINDOW = 32_768
"""Tokens, where a server does not say."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model server of the run is looked up, by its name."""

    name: str
    file: Path

    def look(self) -> Addresses:
        """Raises ProviderError (``unavailable``)."""
        try:
            return addresses.read(self.file, self.name)
        except (OSError, ValueError) as error:
            raise ProviderError(f"the model server {self.name!r} is not known here: {error}", "unavailable") from None


def place(server: str, file: str) -> Place | None:
    """None if no ``server`` is named. Raises ConfigError."""
    if file and not server:
        raise ConfigError("server_file says where model servers are, so `server` must say which is meant")
    return Place(server, Path(file)) if server else None


@dataclass(slots=True)
class Served:
    """See `raysearch.agents.api.messages.Provider`.

    A conversation stays with one replica, which has its beginning in its cache; new ones take their turns among the
    replicas. Where one fails, the next try is another's; where there is none for the moment, it is waited for.
    """

    where: Address
    place: Place
    pace: Pace
    window_tokens: int = 0
    _turn: int = field(default_factory=lambda: random.randrange(1 << 16), init=False)
    """Of the next conversation; workers begin with different ones."""
    _home: str = field(default="", init=False)
    """The replica that the conversation is with."""
    _ways: dict[str, Provider] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.window_tokens = self.where.window_tokens or self.place.look().window_tokens or WINDOW

    @property
    def model(self) -> str:
        return self.where.model

    def keeps_schema(self, tools: bool) -> bool:
        return not tools

    def complete(self, conversation: Conversation, *, timeout_s: float) -> Turn:
        until = self.pace.monotonic() + timeout_s
        begins = all(message.role == "user" for message in conversation.messages)
        url = self._found(begins, until)
        try:
            return self._connected(url).complete(conversation, timeout_s=max(0.001, until - self.pace.monotonic()))
        except ProviderError as error:
            if error.kind in {"failed", "time", "unavailable"}:
                self._home = ""
            raise

    def close(self) -> None:
        while self._ways:
            self._ways.popitem()[1].close()

    def _found(self, begins: bool, until: float) -> str:
        """The replica to ask. Raises ProviderError if there is none in time."""
        while True:
            found = self.place.look()
            if found.urls:
                break
            if not found.coming:
                raise ProviderError(f"the model server {self.place.name!r} is gone: {found.why}", "unavailable")
            left_s = until - self.pace.monotonic()
            if left_s <= 0:
                raise ProviderError(f"the model server {self.place.name!r} is not there: {found.why}", "time")
            self.pace.sleep(min(LOOK_S, left_s))
        self.window_tokens = self.where.window_tokens or found.window_tokens or self.window_tokens
        for url in [url for url in self._ways if url not in found.urls]:
            self._ways.pop(url).close()
        if begins or self._home not in found.urls:
            self._home = found.urls[self._turn % len(found.urls)]
            self._turn += 1
        return self._home

    def _connected(self, url: str) -> Provider:
        if url not in self._ways:
            self._ways[url] = connect(replace(self.where, base_url=f"{url}/v1"))
        return self._ways[url]
