"""What a scripted model does, in no provider's dialect: requests as it sees them, turns as it answers them.

A script is a function from `Request` to `Turn`. It may keep state: the server calls it for one request at a time. It
must not sleep (``Turn.delay_s`` does that without holding up others). A list of turns is the script that gives them
out one after the other; `Conversation` counts within each conversation instead, so that lanes in parallel and runs
that are resumed see the same model whatever the order of arrival.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from raysearch.errors import RaysearchError
from raysearch.testing.models.faults import Fault

Dialect = Literal["anthropic", "openai_chat", "openai_responses", "gemini"]
Role = Literal["system", "user", "assistant", "tool"]
Stop = Literal["auto", "length", "refusal"]


class ScriptError(RaysearchError):
    """A script raised, or has no turn for a request: the test is wrong, not what is under test."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool run.

    ``arguments`` as text is what a free-form tool takes (a patch, say); for any other tool it is sent as it is in
    place of the JSON, which is how a script sends arguments that do not parse. Without ``id`` the server makes one.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered, as the client reports it."""

    id: str
    text: str = ""
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One side's contribution: an assistant's text and calls are one message, however many pieces they came in."""

    role: Role
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the client offers; ``schema`` is the JSON schema of its arguments, empty for a free-form one."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)
    free_form: bool = False
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a turn is billed for, in tokens; each provider's own way of adding these up is the server's business.

    ``prompt`` counts the whole prompt, ``cached`` and ``written`` the parts of it read from and written to the
    provider's cache; ``output`` counts all that was generated, ``reasoning`` the part of it that was thinking.
    """

    prompt: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer.

    ``tokens`` defaults to a quarter of the characters that went in and out. ``delay_s`` passes before the first
    byte, ``pace_s`` between two pieces of a stream; ``pieces`` says in how many a text is streamed (at most one a
    character). ``stop`` is why the model stops, where that is not simply having finished or wanting a tool run.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    tokens: Tokens | None = None
    fault: Fault | None = None
    delay_s: float = 0.0
    pace_s: float = 0.0
    pieces: int = 4
    stop: Stop = "auto"


@dataclass(frozen=True, slots=True)
class Request:
    """One request for a turn, whatever dialect it came in; ``body`` has everything that was sent, as it was sent.

    ``number`` counts a server's requests for turns from 1. In ``headers`` (lower case) and ``query`` the values of
    keys are digests (`key_digest`); ``key`` is the digest of the key that was sent, empty without one. ``schema`` is
    the JSON schema that the answer's text must match, if that was asked for; ``effort`` how hard the model was told
    to think (the provider's own word).
    """

    number: int
    dialect: Dialect
    model: str
    messages: tuple[Message, ...]
    system: str = ""
    tools: tuple[Tool, ...] = ()
    stream: bool = False
    schema: Mapping[str, Any] | None = None
    effort: str = ""
    max_tokens: int | None = None
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""

    @property
    def prompt(self) -> str:
        """The text of the last message that a person, or a program in their stead, wrote."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """What the tools answered that the model called in its last turn."""
        return self.messages[-1].results if self.messages else ()

    @property
    def step(self) -> int:
        """How many turns the model has had since the last `prompt`: 0 when it is to answer that prompt itself."""
        count = 0
        for message in reversed(self.messages):
            if message.role == "user":
                break
            count += message.role == "assistant"
        return count

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Every call of a tool since the last `prompt`, oldest first."""
        prompts = [index for index, message in enumerate(self.messages) if message.role == "user"]
        since = self.messages[prompts[-1] :] if prompts else self.messages
        return tuple(call for message in since for call in message.calls)

    def tool(self, *names: str) -> Tool | None:
        """The offered tool that is called by one of ``names``, the first such name winning."""
        offered = {tool.name: tool for tool in reversed(self.tools)}
        return next((offered[name] for name in names if name in offered), None)

    def result_of(self, call: ToolCall) -> ToolResult | None:
        """What the tool answered to ``call``, one of `calls`."""
        results = (result for message in self.messages for result in message.results)
        return next((result for result in results if result.id == call.id), None)


Script = Callable[[Request], Turn]
Scripted = Script | Turn | Sequence[Turn]
"""What may stand where a script is wanted: one turn is given each time, a list of turns one after the other."""


class Queue:
    """Each request takes the next turn, whoever sends it. One more than there are turns is a `ScriptError`."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = tuple(turns)
        self._given = 0

    def __call__(self, request: Request) -> Turn:
        if self._given == len(self._turns):
            raise ScriptError(f"all {self._given} turns were given; still asked: {request.prompt[-200:]!r}")
        self._given += 1
        return self._turns[self._given - 1]


class Conversation:
    """The n-th answer to any prompt is the n-th turn: the same for each of many conversations, and for a retry."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = tuple(turns)

    def __call__(self, request: Request) -> Turn:
        if request.step >= len(self._turns):
            raise ScriptError(f"{len(self._turns)} turns a prompt, but {request.model} was asked for one more")
        return self._turns[request.step]


@dataclass(frozen=True, slots=True)
class When:
    """A script for some requests: each pattern given must be found (a regular expression, case ignored)."""

    then: Scripted
    model: str = ""
    prompt: str = ""
    system: str = ""
    dialect: Dialect | Literal[""] = ""

    def matches(self, request: Request) -> bool:
        seen = ((self.model, request.model), (self.prompt, request.prompt), (self.system, request.system))
        found = all(re.search(pattern, text, re.IGNORECASE | re.DOTALL) for pattern, text in seen if pattern)
        return found and self.dialect in {"", request.dialect}


def as_script(scripted: Scripted) -> Script:
    """The script that ``scripted`` stands for."""
    if isinstance(scripted, Turn):
        turn = scripted
        return lambda _: turn
    return scripted if callable(scripted) else Queue(scripted)


def choose(*rules: When, otherwise: Scripted | None = None) -> Script:
    """The script of the first rule that matches, else ``otherwise``; with neither, a `ScriptError`."""
    scripts = [(rule, as_script(rule.then)) for rule in rules]
    fallback = None if otherwise is None else as_script(otherwise)

    def chosen(request: Request) -> Turn:
        for rule, script in scripts:
            if rule.matches(request):
                return script(request)
        if fallback is None:
            raise ScriptError(f"no rule for a request to {request.model}: {request.prompt[-200:]!r}")
        return fallback(request)

    return chosen


def faulty(faults: Sequence[Fault | None], then: Scripted) -> Script:
    """As ``then``, but the first requests meet these faults, one each (None: none), before it is asked."""
    left, script = list(faults), as_script(then)

    def served(request: Request) -> Turn:
        fault = left.pop(0) if left else None
        return script(request) if fault is None else Turn(text="This is lost on the way.", fault=fault)

    return served
