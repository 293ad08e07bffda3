"""One conversation with a model: every answer within time, budget and window, and every word of it kept."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from raysearch.agents.api.messages import Conversation, Message, Provider, ProviderError, Tool, ToolResult, Turn
from raysearch.agents.api.pacing import Breaker, Pace, Retries
from raysearch.agents.api.spending import OUTPUT_LEAST, OverBudget, Spending
from raysearch.agents.api.transcript import Transcript
from raysearch.agents.api.trimming import Gauge, summary, trim
from raysearch.agents.interface import AgentFault, Cause
from raysearch.types import Usage

ANSWER_CHARS = 16
"""Characters that a token of an answer can have at most, on the average: more is no answer of a model."""
_FULL, _TRIMMED = 0.8, 0.5
"""A conversation that fills so much of the window is trimmed, to so much: seldom, as every trim costs the cache."""


@dataclass(slots=True)
class Dialogue:
    """Asks, waits, asks again, and keeps the account. Raises AgentFault when there is no going on."""

    provider: Provider
    conversation: Conversation
    spending: Spending
    transcript: Transcript
    retries: Retries
    breaker: Breaker
    pace: Pace
    until: float
    """When the call's time is up, on the pace's clock."""
    rng: random.Random
    gauge: Gauge = field(default_factory=Gauge)
    _began: float = field(init=False)
    _cached_share: float = field(default=0.0, init=False)
    """Of the last answer's input, how much came from the provider's cache."""

    def __post_init__(self) -> None:
        self._began = self.pace.monotonic()

    @property
    def left_s(self) -> float:
        return self.until - self.pace.monotonic()

    def say(self, text: str) -> Turn:
        """The model's answer to ``text``."""
        return self._turn(Message("user", text))

    def hand(self, results: Sequence[ToolResult], text: str = "") -> Turn:
        """The model's answer to what its tools said, and to ``text``."""
        return self._turn(Message("user", text, results=tuple(results)))

    def forbid_tools(self) -> None:
        """From here on the model must answer."""
        self.conversation = replace(self.conversation, tools_allowed=False)

    def note(self, kind: str, /, **fields: object) -> None:
        """A line in the transcript."""
        self.transcript.write(kind, self.pace.monotonic() - self._began, **fields)

    def fail(self, message: str, cause: Cause, *, again: bool | None = None) -> NoReturn:
        """Give up. ``again`` says whether it may be asked again, where that does not follow from the cause."""
        fault = AgentFault(message, cause=cause)
        if again is not None:
            fault.retryable = again
        raise fault

    def _turn(self, message: Message) -> Turn:
        self._ask(message)
        self.conversation = self.conversation.plus(message)
        turn = self._answer()
        self.note("turn", text=turn.text, calls=_told(turn), stop=turn.stop, usage=_counted(self.spending.usage))
        if len(turn.text) > ANSWER_CHARS * max(self.conversation.output_max, 1000):
            self.fail(f"the answer has {len(turn.text)} characters, more than any that was asked for", "unreadable")
        if turn.stop == "refused":
            self.fail(f"{self.provider.model} declined: {turn.text[:500] or 'it gave no reason'}", "refused")
        self.conversation = self.conversation.plus(turn.message)
        if turn.calls and (over := self.spending.over()):
            self.fail(over, "budget")
        return turn

    def _ask(self, message: Message) -> None:
        if not self.conversation.messages:
            names = [tool.name for tool in self.conversation.tools]
            self.note("asked", model=self.provider.model, system=self.conversation.system, tools=names)
        if message.text:
            self.note("asked", text=message.text)

    def _answer(self) -> Turn:
        """The answer to the conversation as it is, however many tries it takes."""
        failures, too_long = 0, False
        while True:
            self._admitted()
            ready = self._ready(too_long)
            try:
                turn = self.provider.complete(ready, timeout_s=self.left_s)
            except ProviderError as error:
                failures += 1
                self._failed(error, ready, failures)
                too_long = error.kind == "window"
                continue
            except BaseException:
                self.breaker.untried()
                raise
            self.breaker.succeeded()
            self._account(ready, turn)
            return turn

    def _admitted(self) -> None:
        """Wait until the breaker lets one through, who must then say how it went."""
        while self.left_s > 0:
            pause_s = self.breaker.wait_s(self.pace.monotonic())
            if pause_s <= 0:
                return
            self.note("note", text=f"{self.provider.model} is left alone for {pause_s:.0f} s after failures")
            self._wait(pause_s, "it failed too often of late", "limited")
        self.fail(f"no answer from {self.provider.model} in its time", "time")

    def _ready(self, trim_hard: bool) -> Conversation:
        """The conversation as it is sent: short enough, with as long an answer as can be afforded."""
        try:
            tokens_in = self._fit(trim_hard)
            cached = int(tokens_in * self._cached_share)
            room = self.spending.room(tokens_in, cached, self.conversation.output_max)
        except OverBudget as reason:
            self.breaker.untried()
            self.fail(str(reason), "budget")
        window = self.provider.window_tokens - tokens_in
        return replace(self.conversation, output_max=max(1, min(room, max(window, OUTPUT_LEAST))))

    def _fit(self, trim_hard: bool) -> int:
        """Trim the conversation where it fills too much of the window; about how many tokens it has then."""
        tokens, window = self.gauge.tokens(self.conversation), self.provider.window_tokens
        answer = min(self.conversation.output_max, window // 4)
        if trim_hard or tokens + answer > window * _FULL:
            goal = tokens / 2 if trim_hard else max(window * _TRIMMED - answer, 0)
            trimmed = trim(self.conversation, goal / self.gauge.rate)
            if trimmed.results:
                self.note("trimmed", tokens=tokens, window=window, **summary(trimmed))
            elif trim_hard:
                self.breaker.untried()
                self.fail(
                    f"the conversation does not fit into the window of {self.provider.model}", "failed", again=False
                )
            self.conversation = trimmed.conversation
        return self.gauge.tokens(self.conversation)

    def _failed(self, error: ProviderError, asked: Conversation, failures: int) -> None:
        """Note the failure and what it cost; return once it is time to try again."""
        self._account_failed(error, asked)
        stalled = error.kind == "time" and self.left_s > 0  # silent for too long, with time left for another try
        kind = "failed" if stalled else error.kind
        blamed = kind in {"failed", "limited"}
        wait_s = self.retries.wait_s(failures, error.retry_after_s, self.rng) if blamed else 0.0
        self.note("failure", error=str(error), error_kind=kind, tried=failures, wait_s=round(wait_s, 3))
        if blamed:
            self.breaker.failed(self.pace.monotonic())
        else:
            self.breaker.untried()
        reformable = kind == "rejected" and asked.schema is not None  # not every server knows of schemas
        if failures > self.retries.retries_max or not (blamed or reformable or kind == "window"):
            self._give_up(error)
        if reformable:
            self.conversation = replace(self.conversation, schema=None)
        self._wait(wait_s, str(error), "limited" if kind == "limited" else "failed")

    def _give_up(self, error: ProviderError) -> NoReturn:
        causes: dict[str, Cause] = {"limited": "limited", "unavailable": "unavailable", "time": "time"}
        cause = causes.get(error.kind, "failed")
        again = False if error.kind in {"rejected", "window"} else None
        self.fail(f"{self.provider.model}: {error}", cause, again=again)

    def _wait(self, seconds: float, why: str, cause: Cause) -> None:
        if seconds > 0 and seconds >= self.left_s:
            self.fail(
                f"{self.provider.model}: {why}; to wait {seconds:.0f} s would take longer than the call may", cause
            )
        if seconds > 0:
            self.pace.sleep(seconds)

    def _account(self, asked: Conversation, turn: Turn) -> None:
        usage = turn.usage
        if not usage.calls:  # a server that counts nothing
            guessed = self.gauge.tokens(asked)
            said = len(turn.text) + sum(len(call.raw) for call in turn.calls)
            usage = replace(
                _one(self.provider.model), tokens_in=guessed, tokens_out=max(1, round(said * self.gauge.rate))
            )
        self.spending.add(usage, turn.written)
        self.gauge.learn(asked, turn)
        self._cached_share = (usage.tokens_cached + turn.written) / usage.tokens_in if usage.tokens_in else 0.0

    def _account_failed(self, error: ProviderError, asked: Conversation) -> None:
        """What was under way when an answer broke off is paid for, too."""
        if error.usage.calls:
            self.spending.add(error.usage)
        elif error.heard is not None:
            out = round(error.heard * self.gauge.rate)
            self.spending.add(replace(_one(self.provider.model), tokens_in=self.gauge.tokens(asked), tokens_out=out))


def _one(model: str) -> Usage:
    return Usage(calls=1, turns=1, model=model)


def _told(turn: Turn) -> list[dict[str, object]]:
    return [{"id": call.id, "name": call.name, "arguments": call.raw} for call in turn.calls]


def _counted(usage: Usage) -> dict[str, object]:
    """The account so far."""
    return {
        "tokens_in": usage.tokens_in,
        "tokens_cached": usage.tokens_cached,
        "tokens_out": usage.tokens_out,
        "calls": usage.calls,
        "cost_usd": round(usage.cost_usd, 6),
    }


def offered(tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """In an order that never changes, so that the provider's cache recognises the beginning."""
    return tuple(sorted(tools, key=lambda tool: tool.name))
