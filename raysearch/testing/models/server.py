"""The server: what it is asked, what it answers, and the record of both."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from raysearch.testing.models.dialect import BadRequest, prompt_tokens
from raysearch.testing.models.faults import HttpError
from raysearch.testing.models.loopback import Asked, Loopback, Outcome, Reply, Sent
from raysearch.testing.models.openai_responses import Stored
from raysearch.testing.models.routes import WORDINGS, Route, key_digest, key_of, listed, redacted, route
from raysearch.testing.models.script import Request, Scripted, ScriptError, Turn, as_script
from raysearch.testing.models.wire import document, plan, refusal


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of any kind, and what became of it. ``request`` is None where no turn was asked for.

    ``path`` and ``headers`` have digests in place of keys; ``body`` is what was sent, decoded as far as it can be.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    status: int
    outcome: Outcome
    sent_bytes: int
    request: Request | None = None
    turn: Turn | None = None


@dataclass(slots=True)
class _Record:
    requests: list[Request] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    errors: list[ScriptError] = field(default_factory=list)


class ModelServer:
    """Answers as ``script`` says, in whichever dialect it is asked, while the context lasts.

    Leaving the context closes every connection, also one that hangs, and raises the first `ScriptError` there was:
    a script that raises answers 400 until then. ``keys``: any other key is refused with 401; None takes all, and
    none. ``models`` are the names listed; any name is answered all the same. ``port`` 0 takes a free one.
    ``on_exchange`` is called with every exchange when it ends, one at a time; ``clock`` tells
    the time of the answers, in seconds since 1970.
    """

    def __init__(
        self,
        script: Scripted,
        *,
        port: int = 0,
        models: Collection[str] = ("scripted-model",),
        keys: Collection[str] | None = None,
        on_exchange: Callable[[Exchange], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._script = as_script(script)
        self._models = tuple(models)
        self._keys = None if keys is None else frozenset(key_digest(key) for key in keys)
        self._on_exchange = on_exchange
        self._clock = clock
        self._stored = Stored()
        self._record = _Record()
        self._changed = threading.Condition()
        self._asking = threading.Lock()
        self._busy = 0
        self._http = Loopback(port, self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="model-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._record.errors and error is None:
            raise self._record.errors[0]

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """The base address for Anthropic and Gemini clients; those of OpenAI want ``/v1`` after it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> tuple[Request, ...]:
        """Every request for a turn so far, in the order in which they came."""
        with self._changed:
            return tuple(self._record.requests)

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """Every request of any kind that has ended, in the order in which they ended."""
        with self._changed:
            return tuple(self._record.exchanges)

    @property
    def script_errors(self) -> tuple[ScriptError, ...]:
        with self._changed:
            return tuple(self._record.errors)

    def wait_idle(self, timeout_s: float = 10.0) -> bool:
        """Wait until no request is under way, so that `exchanges` is complete; False if that did not come to be."""
        with self._changed:
            return self._changed.wait_for(lambda: self._busy == 0, timeout_s)

    def close(self) -> None:
        """Stop listening, break every connection, wait for their threads."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()
        self._http.hang_up()

    def begin(self) -> None:
        """A request has arrived."""
        with self._changed:
            self._busy += 1

    def end(self, asked: Asked | None, reply: Reply | None, sent: Sent | None) -> None:
        """It has been dealt with."""
        with self._changed:
            self._busy -= 1
            if asked and reply and sent:
                exchange = _exchange(asked, reply, sent)
                self._record.exchanges.append(exchange)
                if self._on_exchange is not None:
                    self._on_exchange(exchange)
            self._changed.notify_all()

    def reply(self, asked: Asked) -> Reply:
        """What to send for ``asked``."""
        found = route(asked.method, asked.path, asked.headers)
        if found is None:
            if asked.method in {"GET", "HEAD"} and asked.path == "/":  # clients look whether anyone is there
                return Reply(document({"ok": True}))
            missing = {"message": f"no such address: {asked.method} {asked.path}", "type": "not_found_error"}
            return Reply(document({"type": "error", "error": missing}, 404))
        wording = WORDINGS[found.dialect]
        try:
            return self._routed(found, asked)
        except BadRequest as error:
            return Reply(refusal(wording, HttpError(error.status, str(error))))

    def _routed(self, found: Route, asked: Asked) -> Reply:
        key = key_digest(key_of(asked.headers, asked.query))
        if self._keys is not None and key not in self._keys:
            raise BadRequest("this key is not known" if key else "no key was sent", 401)
        if found.wants == "models":
            if (models := listed(self._models, found)) is None:
                raise BadRequest(f"model {found.model!r} is not known", 404)
            return Reply(document(models))
        sent = _decoded(asked)
        body = {**sent, **_of_address(found)}
        wording = WORDINGS[found.dialect]
        with self._asking:
            continued = self._stored.continued(body) if found.dialect == "openai_responses" else body
            request = _read(found, continued, asked)
            request = replace(request, body=sent, key=key, path=_kept_path(asked), headers=redacted(asked.headers))
            request = replace(request, query=redacted(asked.query))
            if found.wants == "count":
                return Reply(document(wording.count(prompt_tokens(request))))
            with self._changed:
                request = replace(request, number=len(self._record.requests) + 1)
                self._record.requests.append(request)
            turn = self._turn(request)
            wire, answer = plan(turn, request, wording, int(self._clock()))
            if found.dialect == "openai_responses" and wire.status == 200:
                self._stored.keep(continued, answer)
        return Reply(wire, request, turn)

    def _turn(self, request: Request) -> Turn:
        try:
            turn = self._script(request)
            if not isinstance(turn, Turn):
                raise ScriptError(f"a script must return a Turn, not {type(turn).__name__}")
        except Exception as error:
            told = error if isinstance(error, ScriptError) else ScriptError(f"{type(error).__name__}: {error}")
            told.__cause__ = None if told is error else error
            with self._changed:
                self._record.errors.append(told)
            return Turn(fault=HttpError(400, f"the script failed: {told}"))
        return turn


def _decoded(asked: Asked) -> Mapping[str, Any]:
    """The body as a JSON object."""
    if asked.headers.get("content-encoding", "identity") != "identity":
        raise BadRequest(f"content-encoding {asked.headers['content-encoding']!r} is not understood", 415)
    try:
        body = json.loads(asked.body)
    except ValueError as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def _of_address(found: Route) -> Mapping[str, Any]:
    """What the address says that other dialects say in the body; and a count needs no limit to what it counts."""
    named: dict[str, Any] = {"model": unquote(found.model)} if found.model else {}
    named |= {} if found.stream is None else {"stream": found.stream}
    return named | ({"max_tokens": 0} if found.wants == "count" else {})


def _read(found: Route, body: Mapping[str, Any], asked: Asked) -> Request:
    """The request in no dialect; what cannot be read is the client's mistake."""
    try:
        request = WORDINGS[found.dialect].read(body)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise BadRequest(f"the request cannot be read: {type(error).__name__}: {error}") from error
    if found.dialect == "gemini" and request.stream and asked.query.get("alt") != "sse":
        raise BadRequest("streamGenerateContent is served with ?alt=sse only")
    return request


def _exchange(asked: Asked, reply: Reply, sent: Sent) -> Exchange:
    """What is kept of one."""
    body = _shown(asked.body)
    path, headers = _kept_path(asked), redacted(asked.headers)
    return Exchange(
        asked.method, path, headers, body, sent.status, sent.outcome, sent.body_bytes, reply.request, reply.turn
    )


def _kept_path(asked: Asked) -> str:
    query = "&".join(f"{name}={value}" for name, value in redacted(asked.query).items())
    return asked.path + ("?" + query if query else "")


def _shown(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode("utf-8", "replace")
