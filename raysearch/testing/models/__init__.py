"""A model server that plays a script: Anthropic, OpenAI (both dialects) and Gemini, with no key and no model.

    from raysearch.testing.models import Conversation, ModelServer, ToolCall, Turn

    script = Conversation([Turn(calls=(ToolCall("Bash", {"command": "ls"}),)), Turn("That is all there is.")])
    with ModelServer(script) as server:
        client = anthropic.Anthropic(base_url=server.url, api_key="any")
        ...
    assert server.requests[0].tool("Bash")

`script` says what a turn is, `faults` what may go wrong with one; `moves` finds the right tool, whichever coding agent
offers it, and `characters` are whole personalities made of such moves. ``python -m raysearch.testing.models`` serves
a script from a file.
"""

from raysearch.testing.models.faults import (
    OVERLOADED,
    RATE_LIMITED,
    SERVER_ERROR,
    Cut,
    Drop,
    Fault,
    Hang,
    HttpError,
    Huge,
    InvalidUtf8,
    Malformed,
    Raw,
    Shred,
    StreamError,
)
from raysearch.testing.models.routes import key_digest
from raysearch.testing.models.script import (
    Conversation,
    Message,
    Queue,
    Request,
    Script,
    Scripted,
    ScriptError,
    Tokens,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    When,
    choose,
    faulty,
)
from raysearch.testing.models.server import Exchange, ModelServer

__all__ = [
    "OVERLOADED",
    "RATE_LIMITED",
    "SERVER_ERROR",
    "Conversation",
    "Cut",
    "Drop",
    "Exchange",
    "Fault",
    "Hang",
    "HttpError",
    "Huge",
    "InvalidUtf8",
    "Malformed",
    "Message",
    "ModelServer",
    "Queue",
    "Raw",
    "Request",
    "Script",
    "ScriptError",
    "Scripted",
    "Shred",
    "StreamError",
    "Tokens",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Turn",
    "When",
    "choose",
    "faulty",
    "key_digest",
]
