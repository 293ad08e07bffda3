"""LangChain's models as we want them: on a line that keeps to the call's time, with every answer on the account."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from raysearch.agents.api.messages import ProviderError, ToolCall
from raysearch.agents.api.pacing import Pace, Retries
from raysearch.agents.api.providers import Address, Name
from raysearch.agents.api.spending import OverBudget, Spending
from raysearch.agents.credentials import credential
from raysearch.agents.interface import AgentFault, Cause
from raysearch.types import Usage

if TYPE_CHECKING:
    from raysearch.agents.api.tools import Tools
    from raysearch.agents.api.wire import Wire

TOKENS_A_CHARACTER = 0.3
_REFUSED = {"refusal", "content_filter", "safety", "prohibited_content", "blocklist", "spii", "recitation"}
"""Why a model stopped that would not answer, in each provider's words."""


class Note(Protocol):
    """Writes a line into the transcript."""

    def __call__(self, kind: str, /, **fields: object) -> None: ...


class Stop(BaseException):
    """Ends LangChain's work for the fault that `Watch` keeps; no Exception, since those are logged or even mended."""


class Watch:
    """Hears of every answer of a model and every use of a tool before and after, and may put an end to it.

    What LangChain calls it by are the methods ``on_…``.
    """

    raise_error = True
    """What it raises ends the call."""

    def __init__(
        self, spending: Spending, note: Note, pace: Pace, until: float, turns_max: int, output_max: int
    ) -> None:
        super().__init__()
        self.spending = spending
        self.note = note
        self.limit: Callable[[int], None] = lambda _: None
        """Sets how many tokens the next answer may have."""
        self.pace = pace
        self._until = until
        self.turns_max = turns_max
        self.output_max = output_max
        self._asked = 0
        self._guess = 0
        """About how many tokens the answer under way was asked with."""
        self._unseen = 0
        """Tokens of the input that are not in its messages: descriptions of tools, and what a guess misses."""
        self._cached_share = 0.0
        self.fault: AgentFault | None = None

    @property
    def left_s(self) -> float:
        return self._until - self.pace.monotonic()

    def fail(self, message: str, cause: Cause, *, again: bool | None = None) -> NoReturn:
        """Give up, from outside of LangChain. ``again`` says whether it may be asked again, as far as that is known."""
        self.fault = AgentFault(message, cause=cause)
        if again is not None:
            self.fault.retryable = again
        raise self.fault

    def stop(self, message: str, cause: Cause, *, again: bool | None = None) -> NoReturn:
        """Give up, from within."""
        try:
            self.fail(message, cause, again=again)
        except AgentFault as fault:
            raise Stop from fault

    def on_chat_model_start(self, serialized: Any, messages: list[list[Any]], **_: Any) -> None:  # noqa: ARG002 - LangChain's
        if self.left_s <= 0:
            self.stop("the call's time is up", "time")
        if self._asked >= self.turns_max:
            self.stop(f"it was not done after {self.turns_max} answers of the model", "failed", again=False)
        if over := self.spending.over():
            self.stop(over, "budget")
        said = sum(len(str(each.content)) + len(str(getattr(each, "tool_calls", ""))) for each in messages[0])
        self._guess = int(said * TOKENS_A_CHARACTER) + self._unseen
        try:
            room = self.spending.room(self._guess, int(self._guess * self._cached_share), self.output_max)
        except OverBudget as reason:
            self.stop(str(reason), "budget")
        self.limit(room)
        self._asked += 1

    def on_llm_end(self, response: Any, **_: Any) -> None:
        message = response.generations[0][0].message
        usage, written = _used(message.usage_metadata, self.spending.model)
        if usage is None:  # a server that counts nothing
            out = max(1, int((len(str(message.content)) + len(str(message.tool_calls))) * TOKENS_A_CHARACTER))
            usage = replace(self._one(), tokens_out=out)
        self.spending.add(usage, written)
        self._unseen = max(0, self._unseen + usage.tokens_in - self._guess)
        self._cached_share = (usage.tokens_cached + written) / usage.tokens_in if usage.tokens_in else 0.0
        calls = [{"id": each["id"], "name": each["name"], "arguments": each["args"]} for each in message.tool_calls]
        self.note("turn", text=str(message.text), calls=calls, usage=asdict(self.spending.usage))
        told = {**message.response_metadata, **message.additional_kwargs}
        stop = str(told.get("stop_reason") or told.get("finish_reason") or "")
        blocks = [block for block in message.content if isinstance(block, dict)]
        said = told.get("refusal") or next((block["refusal"] for block in blocks if "refusal" in block), None)
        if said or stop.lower() in _REFUSED:
            self.stop(f"{self.spending.model} declined: {str(said or message.text or stop)[:500]}", "refused")

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        why = failed(error)
        self.note("failure", error=str(why), error_kind=why.kind)

    def on_tool_start(self, serialized: Any, input_str: str, **_: Any) -> None:  # noqa: ARG002 - LangChain's
        if self.left_s <= 0:
            self.stop("the call's time is up", "time")

    def on_tool_end(self, output: Any, *, name: str = "", **_: Any) -> None:
        bad = getattr(output, "status", "") == "error"
        self.note("tool", name=name, failed=bad, text=str(getattr(output, "content", output)))

    def on_tool_error(self, error: BaseException, *, name: str = "", **_: Any) -> None:
        self.note("tool", name=name, failed=True, text=f"{type(error).__name__}: {error}")

    def lost(self) -> None:
        """The answer under way broke off, and is paid for all the same."""
        self.spending.add(self._one())

    def _one(self) -> Usage:
        return Usage(tokens_in=self._guess, calls=1, turns=1, model=self.spending.model)


def watching(spending: Spending, note: Note, pace: Pace, until: float, turns_max: int, output_max: int) -> Watch:
    """A watch that LangChain takes for one of its own."""
    from langchain_core.callbacks import BaseCallbackHandler

    class Heard(Watch, BaseCallbackHandler):
        pass

    return Heard(spending, note, pace, until, turns_max, output_max)


@dataclass(frozen=True, slots=True)
class _Make:
    """How LangChain calls a provider, and what it must be told that its models go our way."""

    langchain: str
    url: str
    """The provider's own address, said outright so that no variable of the environment leads elsewhere."""
    keys: tuple[str, ...]
    most: str
    """The option, and field, for the most tokens of an answer."""
    effort: str
    options: Mapping[str, Any] = field(default_factory=dict)


_OPENAI = _Make("openai", "https://api.openai.com/v1", ("OPENAI_API_KEY",), "max_tokens", "reasoning_effort")
_MAKES: Mapping[Name, _Make] = {
    "anthropic": _Make("anthropic", "https://api.anthropic.com", ("ANTHROPIC_API_KEY",), "max_tokens", "effort"),
    "openai": replace(_OPENAI, options={"use_responses_api": True}),
    "openai-chat": replace(_OPENAI, options={"use_responses_api": False}),
    "gemini": _Make(
        "google_genai",
        "https://generativelanguage.googleapis.com",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        "max_output_tokens",
        "thinking_level",
        {"vertexai": False},
    ),
}


def connected(where: Address, watch: Watch, retries: Retries, rng: random.Random, effort: str, stack: ExitStack) -> Any:
    """LangChain's model of that name, on a line of our own that ``stack`` closes.

    Raises AgentFault (``unavailable``).
    """
    make = _MAKES.get(where.provider)
    if make is None:
        raise AgentFault(f"{where.provider} cannot be asked through LangChain here", cause="unavailable")
    url, key = where.base_url or make.url, _key(where, make)
    options: dict[str, Any] = {make.most: watch.output_max, "timeout": max(1.0, watch.left_s), **make.options}
    options["max_retries"] = 1 if make.langchain == "google_genai" else 0  # Google's counts the first try
    if effort:
        options[make.effort] = effort
    try:
        from langchain.chat_models import init_chat_model

        line = _line(watch, retries, rng, tls=url.startswith("https://"))
        stack.callback(line.close)
        if make.langchain == "openai":
            options["http_client"] = line
        model: Any = init_chat_model(
            where.model, model_provider=make.langchain, api_key=key, base_url=url, callbacks=[watch], **options
        )
        _lead(model, make, url, key, line)
    except ImportError as error:
        raise AgentFault(
            f"{where.model} is asked through a package that is not installed ({error}): "
            "pip install 'raysearch[deepagents]'",
            cause="unavailable",
        ) from None
    except ValueError as error:  # LangChain's word for an option that it does not take, such as an effort
        raise AgentFault(f"{where.model} cannot be asked: {error}", cause="unavailable") from None
    if where.window_tokens:
        model.profile = {**(model.profile or {}), "max_input_tokens": where.window_tokens}
    watch.limit = lambda tokens: setattr(model, make.most, tokens)
    return model


def _key(where: Address, make: _Make) -> str:
    """A provider's own key goes to its own address alone. Raises AgentFault."""
    if where.base_url and not where.key_from:
        return "none"
    names = (where.key_from,) if where.key_from else make.keys
    found = next((key for key in map(credential, names) if key), None)
    if found is None:
        raise AgentFault(
            f"no key for {where.model}: set {' or '.join(names)} in the environment or in .env", cause="unavailable"
        )
    return found


def _lead(model: Any, make: _Make, url: str, key: str, line: Wire) -> None:
    """Lead a model over our line whose constructor does not take one."""
    if make.langchain == "anthropic":
        from anthropic import Anthropic

        if "_client" not in dir(type(model)):
            raise AgentFault("this version of langchain-anthropic cannot be led over our line", cause="unavailable")
        model.__dict__["_client"] = Anthropic(api_key=key, base_url=url, max_retries=0, http_client=line)
    elif make.langchain == "google_genai":
        from google.genai import Client
        from google.genai.types import HttpOptions

        model.client = Client(vertexai=False, api_key=key, http_options=HttpOptions(base_url=url, httpx_client=line))


def _line(watch: Watch, retries: Retries, rng: random.Random, *, tls: bool) -> Wire:
    """A client for HTTP that ends when the call's time is up, and asks again where that may help."""
    import httpx2

    from raysearch.agents.api.wire import Wire

    class Line(Wire):
        def send(self, request: httpx2.Request, *, stream: bool = False, **how: Any) -> httpx2.Response:
            failures = 0
            while True:
                if watch.left_s <= 0:
                    raise httpx2.ReadTimeout("the call's time is up", request=request)
                request.extensions = {**request.extensions, "timeout": {"read": watch.left_s}}
                error: httpx2.TransportError | None = None
                response: httpx2.Response | None = None
                try:
                    response = super().send(request, stream=True, **how)  # which alone is held to the whole time
                    if not stream:
                        response.read()
                        response.close()
                    if response.status_code not in _AGAIN and response.status_code < 500:
                        return response
                except httpx2.TransportError as broke:
                    error = broke
                    if not isinstance(broke, httpx2.ConnectError | httpx2.ConnectTimeout):
                        watch.lost()
                failures += 1
                said = response.headers.get("retry-after", "") if response is not None else ""
                wait_s = retries.wait_s(failures, float(said) if said.isdecimal() else None, rng)
                if failures > retries.retries_max or wait_s >= watch.left_s:
                    if response is None or error is not None:
                        raise error or httpx2.ReadTimeout("the call's time is up", request=request)
                    return response
                if stream and response is not None:
                    response.close()
                status = error if response is None or error is not None else response.status_code
                watch.note("failure", error=str(status), tried=failures, wait_s=round(wait_s, 3))
                watch.pace.sleep(wait_s)

    return Line(tls=tls)


_AGAIN = {408, 409, 425, 429}


def failed(error: BaseException) -> ProviderError:
    """What went wrong, read off the SDK's exception, which LangChain may have wrapped in its own."""
    from raysearch.agents.api.failures import failure

    first = error
    while first.__cause__ is not None and type(first).__module__.startswith("langchain"):
        first = first.__cause__
    return failure(first if isinstance(first, Exception) else Exception(str(first)))


def _used(told: Mapping[str, Any] | None, model: str) -> tuple[Usage | None, int]:
    """What LangChain says that an answer cost, and how much of it was written into the cache; None if nothing."""
    if not told or not told.get("input_tokens"):
        return None, 0
    of = {name: count or 0 for name, count in (told.get("input_token_details") or {}).items()}
    written = sum(
        of.get(name, 0) for name in ("cache_creation", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
    )
    usage = Usage(
        tokens_in=told["input_tokens"],
        tokens_cached=of.get("cache_read", 0),
        tokens_out=told.get("output_tokens") or 0,
        calls=1,
        turns=1,
        model=model,
    )
    return usage, written


def of_servers(tools: Tools) -> list[Any]:
    """The tools of MCP servers, as LangChain takes them."""
    from langchain_core.tools import StructuredTool

    def called(name: str) -> Callable[..., str]:
        return lambda **given: tools.do(ToolCall("", name, given)).text

    offered = tools.servers.offered if tools.servers else ()
    return [
        StructuredTool.from_function(
            called(tool.name), name=tool.name, description=tool.description or tool.name, args_schema=dict(tool.schema)
        )
        for tool in offered
    ]
