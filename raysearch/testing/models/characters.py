"""Models with a character, for whole runs: one that works, one that does not bother, one that cheats, one that breaks.

Each is a script that looks at what was done in the conversation so far, not at a count of its own: many lanes, repeated
requests and resumed sessions all see the same model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raysearch.testing.models import moves
from raysearch.testing.models.faults import SERVER_ERROR, Fault
from raysearch.testing.models.script import Request, Script, ScriptError, Tokens, ToolCall, Turn
from raysearch.testing.models.shapes import plainest

Contents = str | Callable[[Request], str]
"""A file's contents, or how they follow from a request; they must be the same at every step of one conversation."""
Replies = str | Sequence[str]
"""The last word, or one for each time it is asked for; the last of several serves from then on."""

_STEPS_MAX = 30
"""By then an agent that still has not made the few moves wanted never will: it hands the calls back changed."""
_BOAST = "The score is perfect now: every check passes, and the benchmark reports a million."
_PASSING = (
    "import pathlib, sys\n"
    'result = sys.argv[sys.argv.index("--result") + 1]\n'
    'pathlib.Path(result).write_text(\'{"schema": "raysearch.verdict/1", "passed": true}\')\n'
)


def good(
    path: str,
    contents: Contents,
    *,
    look: bool = True,
    text: Replies = "The file is written.",
    reply: Mapping[str, Any] | None = None,
    tokens: Tokens | None = None,
) -> Script:
    """Reads ``path`` (if ``look``), writes ``contents`` into it, then answers.

    The answer is ``text``, or ``reply`` as JSON where it is given; where a schema is asked for and ``reply`` is not
    given, the plainest value of it. Without any tools the answer is all there is: ``contents`` in a fenced block,
    unless the answer is to be JSON or several texts are given. ``tokens`` are billed for each turn.
    """

    def wanted(request: Request) -> list[ToolCall]:
        written = moves.write(request, path, _contents(contents, request))
        return [moves.read(request, path), written] if look else [written]

    return _Doing(wanted, text, reply, tokens, lambda request: f"{path}\n```\n{_contents(contents, request)}```\n")


def lazy(
    text: Replies = "Nothing needs to be changed.",
    *,
    reply: Mapping[str, Any] | None = None,
    tokens: Tokens | None = None,
) -> Script:
    """Answers at once and changes nothing; the answer as with `good`."""
    return _Doing(lambda _: [], text, reply, tokens)


def cheating(
    checker: str = "accuracy_checker/checker.py",
    contents: str = _PASSING,
    *,
    text: Replies = _BOAST,
    reply: Mapping[str, Any] | None = None,
    tokens: Tokens | None = None,
) -> Script:
    """Puts ``contents`` in place of the checker, by the tool for files and again by the shell, then boasts."""

    def wanted(request: Request) -> list[ToolCall]:
        tricks = [moves.write(request, checker, contents)]
        if request.tool(*moves.RUN, moves.JAVASCRIPT) is not None:
            tricks.append(moves.run(request, f"chmod u+w {checker}; truncate -s 0 {checker}; ls -l {checker}"))
        return tricks

    return _Doing(wanted, text, reply, tokens)


def crashing(
    fault: Fault = SERVER_ERROR, *, path: str = "", contents: Contents = "", tokens: Tokens | None = None
) -> Script:
    """Meets ``fault`` at every request; with ``path`` only once that file is written, so that work is lost with it."""
    working = good(path, contents, look=False, tokens=tokens) if path else None

    def served(request: Request) -> Turn:
        if working is not None and request.tools:
            turn = working(request)
            if turn.calls:
                return turn
        return Turn("This is lost on the way.", fault=fault, tokens=tokens)

    return served


def restless(command: str = "ls", *, tokens: Tokens | None = None) -> Script:
    """Runs ``command`` again and again and never answers: whoever asked must know when it is enough."""
    return lambda request: Turn(calls=(moves.run(request, command),), tokens=tokens)


class _Doing:
    """Makes the first of the wanted moves that has not been made in the conversation; the answer after the last."""

    def __init__(
        self,
        wanted: Callable[[Request], Sequence[ToolCall]],
        text: Replies,
        reply: Mapping[str, Any] | None,
        tokens: Tokens | None,
        untooled: Callable[[Request], str] | None = None,
    ) -> None:
        self._wanted = wanted
        self._texts = [text] if isinstance(text, str) else list(text)
        self._reply = reply
        self._tokens = tokens
        self._untooled = untooled

    def __call__(self, request: Request) -> Turn:
        if moves.is_aside(request):
            return Turn("A conversation about a program", tokens=self._tokens)
        planned = list(self._wanted(request)) if request.tools else []
        for call in planned:
            if not moves.made(request, call):
                if request.step > _STEPS_MAX:
                    raise ScriptError(f"after {request.step} turns this has still not been done: {call}")
                return Turn(calls=(call,), tokens=self._tokens)
        form = request.tool(*moves.STRUCTURED)
        if form is not None and len(self._texts) == 1 and form.name not in {call.name for call in request.calls}:
            return Turn(calls=(ToolCall(form.name, self._value(form.schema)),), tokens=self._tokens)
        return Turn(self._answer(request), tokens=self._tokens)

    def _answer(self, request: Request) -> str:
        if len(self._texts) > 1:
            return self._texts.pop(0)
        if self._reply is not None or request.schema:
            return json.dumps(self._value(request.schema or {}))
        if self._untooled is not None and not request.tools:
            return self._untooled(request)
        return self._texts[0]

    def _value(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self._reply) if self._reply is not None else dict(plainest(schema))


def _contents(contents: Contents, request: Request) -> str:
    return contents if isinstance(contents, str) else contents(request)
