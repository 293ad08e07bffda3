"""A model server that takes a tenth of a second to start, and does whatever a test asks of it.

``fake_model_server.py HOST PORT [options]``. GET /crash ends it, /hang makes it deaf, /slow?s=N answers after N
seconds, /env tells its environment; a chat is answered with a patch. It starts a child in a session of its own, as
engines do.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("host")
parser.add_argument("port", type=int)
parser.add_argument("--model", default="fake-7b")
parser.add_argument("--say", default="")
parser.add_argument("--fail", type=int)
parser.add_argument("--fail-again", type=Path, help="fail if this file is there, else make it")
parser.add_argument("--loads", action="store_true", help="never be ready")
parser.add_argument("--bare", action="store_true", help="have no address for health")
parser.add_argument("--locked", action="store_true", help="want a key")
parser.add_argument("--think", type=float, default=0.0, help="seconds before a chat is answered")
parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM")
options = parser.parse_args()
print(options.say, flush=True)
if options.fail is not None:
    sys.exit(options.fail)
if options.fail_again is not None:
    if options.fail_again.exists():
        sys.exit(9)
    options.fail_again.touch()
deaf = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/crash":
            os._exit(3)
        if path == "/hang":
            deaf.set()
        elif deaf.is_set():
            time.sleep(600)
        found: object = {}
        status = 200
        if path == "/health":
            status = 404 if options.bare else 503 if options.loads else 200
        elif path == "/v1/models":
            status = 401 if options.locked else 200
            found = {"object": "list", "data": [{"id": options.model, "object": "model", "max_model_len": 2048}]}
        elif path == "/env":
            found = dict(os.environ)
        elif path == "/slow":
            time.sleep(float(query.partition("=")[2]))
        body = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """A chat in which the number that was shown is made larger by a half."""
        time.sleep(options.think)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        lines = asked["messages"][-1]["content"].splitlines()
        shown = next(line for line in lines if line.replace(".", "").strip().isdigit())
        patch = f"x.txt\n<<<<<<< SEARCH\n{shown}\n=======\n{float(shown) + 0.5}\n>>>>>>> REPLACE\nSUMMARY: higher\n"
        head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
        said = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": patch}, "finish_reason": None}]}
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        usage = {"choices": [], "usage": {"prompt_tokens": 500, "completion_tokens": 50, "total_tokens": 550}}
        events = [json.dumps({**head, **part}) for part in (said, end, usage)]
        body = "".join(f"data: {event}\n\n" for event in (*events, "[DONE]")).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


server = Server((options.host, options.port), Handler)


def ended(*_: object) -> None:
    os._exit(0)


signal.signal(signal.SIGTERM, signal.SIG_IGN if options.stubborn else ended)
subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
server.serve_forever()
