"""Scripts for the model server that other tests, and its command line, serve."""

from __future__ import annotations

from raysearch.testing.models import Conversation, Request, Tokens, ToolCall, Turn, characters

WORDS = "Grüße aus Ωmega — 你好 🧬"
TOKENS = Tokens(prompt=100, output=20, cached=40, written=10, reasoning=5)


def script(request: Request) -> Turn:
    """Says back what it was told."""
    return Turn(f"You said: {request.prompt}", tokens=TOKENS)


def failing(request: Request) -> Turn:
    raise RuntimeError("nothing comes to mind")


greeting = Turn("Hello.", tokens=TOKENS)
twice = [Turn("first"), Turn("second")]
adding = Conversation(
    [
        Turn("Let me add.", (ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})), "Two sums, then."),
        Turn("3 and 7.", thinking="That was easy."),
    ]
)
worker = characters.good("x.txt", "7\n", tokens=TOKENS)
number = 7
