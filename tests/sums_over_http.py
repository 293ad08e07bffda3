"""The MCP server of `mcp_sums` over streamable HTTP."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler

import mcp_sums


class Sums(BaseHTTPRequestHandler):
    """At /tools/mcp."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = mcp_sums.answer(asked)
        body = b"" if said is None else json.dumps(said).encode()
        self.send_response(404 if self.path != "/tools/mcp" else 200 if body else 202)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(405)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass
