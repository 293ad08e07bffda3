"""An MCP server over stdio with tools that answer what no client hopes for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

TOOLS = ("sh", "huge", "ansi", "picture", "nothing", "wrong", "structured", "sleeps", "garbage", "dies")


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": said}], **more}


def called(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if name == "sh":
        done = subprocess.run(arguments["command"], shell=True, check=False, capture_output=True, text=True)
        return text(done.stdout + done.stderr)
    if name == "sleeps":
        time.sleep(60)
    if name == "garbage":
        sys.stdout.buffer.write(b"\xff\xfe{{{\n[1,2\n" + b"x" * 10_000 + b"\n")
        sys.stdout.flush()
    if name in {"dies", "garbage"}:
        os._exit(3)
    return {
        "huge": text("many words " * 100_000),
        "ansi": text("\x1b[31mplain\x1b[0m words\x07\x1b]0;title\x07"),
        "picture": {"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}]},
        "nothing": {"content": []},
        "wrong": text("it went wrong", isError=True),
        "structured": {"content": [], "structuredContent": {"n": 1}},
    }[name]


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" not in asked:
            continue
        parameters = asked.get("params") or {}
        said: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        if asked["method"] == "initialize":
            info = {"name": "unruly", "version": "1"}
            version = parameters.get("protocolVersion", "2025-06-18")
            said["result"] = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        elif asked["method"] == "tools/list":
            said["result"] = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}
        elif asked["method"] == "tools/call":
            said["result"] = called(parameters["name"], parameters["arguments"])
        else:
            said["error"] = {"code": -32601, "message": "no such method"}
        print(json.dumps(said), flush=True)


main()
