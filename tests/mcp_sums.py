"""An MCP server with one tool, ``add``, over stdio: as little as clients of the protocol ask for."""

from __future__ import annotations

import json
import sys
from typing import Any

TOOL = {
    "name": "add",
    "description": "Adds two numbers.",
    "inputSchema": {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
}


def answer(asked: dict[str, Any]) -> dict[str, Any] | None:
    """The response to a message; None to a notification."""
    if "id" not in asked:
        return None
    parameters = asked.get("params") or {}
    match asked.get("method"):
        case "initialize":
            version = parameters.get("protocolVersion", "2025-06-18")
            info = {"name": "sums", "version": "1"}
            result: Any = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            result = {"tools": [TOOL]}
        case "tools/call":
            numbers = parameters["arguments"]
            result = {"content": [{"type": "text", "text": f"the sum is {numbers['a'] + numbers['b']}"}]}
        case "ping":
            result = {}
        case method:
            return {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": f"no method {method}"}}
    return {"jsonrpc": "2.0", "id": asked["id"], "result": result}


def main() -> None:
    for line in sys.stdin:
        if (said := answer(json.loads(line))) is not None:
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
