"""Keeping a long conversation within a model's window: old results of tools give way first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from raysearch.agents.api.messages import Conversation, Message, ToolResult, Turn

RECENT = 2
"""So many of the latest messages with results are kept whole."""
SHORT = 400
"""Characters; a result no longer than this is not worth leaving out."""


@dataclass(slots=True)
class Gauge:
    """How many tokens a conversation has: characters at the rate of the last answer, until then three to a token."""

    rate: float = 1 / 3
    """Tokens a character."""

    def tokens(self, conversation: Conversation) -> int:
        return max(1, round(conversation.length * self.rate))

    def learn(self, conversation: Conversation, turn: Turn) -> None:
        """``turn`` was the answer to ``conversation``, and says what it counted."""
        if turn.usage.tokens_in and conversation.length:
            self.rate = min(2.0, max(0.05, turn.usage.tokens_in / conversation.length))


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A conversation with old results left out."""

    conversation: Conversation
    results: int
    """How many gave way."""
    characters: int = field(default=0)
    """How much shorter it is."""


def trim(conversation: Conversation, length_max: float) -> Trimmed:
    """Leave out results of tools, oldest first, until at most ``length_max`` characters remain, or nothing can go.

    Messages are never taken away: every call keeps its (short) result, as all providers want it.
    """
    excess = conversation.length - length_max
    with_results = [index for index, message in enumerate(conversation.messages) if message.results]
    messages, gone, saved = list(conversation.messages), 0, 0
    for index in with_results[: max(0, len(with_results) - RECENT)]:
        if saved >= excess:
            break
        messages[index], count = _without(messages[index])
        gone += count
        saved += conversation.messages[index].length - messages[index].length
    return Trimmed(replace(conversation, messages=tuple(messages)), gone, saved)


def _without(message: Message) -> tuple[Message, int]:
    """The message with its long results replaced by a word on each."""
    kept = [_said(result) if len(result.text) > SHORT else result for result in message.results]
    changed = sum(new is not old for new, old in zip(kept, message.results, strict=True))
    return replace(message, results=tuple(kept)), changed


def _said(result: ToolResult) -> ToolResult:
    return replace(
        result, text=f"[{len(result.text)} characters were left out to save room; call {result.name} again if needed]"
    )


def summary(trimmed: Trimmed) -> Mapping[str, int]:
    """What is noted of it."""
    return {"results": trimmed.results, "characters": trimmed.characters}
