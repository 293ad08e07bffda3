"""The scripted model server's faults, as the real SDKs meet them: no broken answer may pass for a whole one."""

from __future__ import annotations

import anthropic
import httpx2
import model_clients
import openai
import pytest
from google.genai import errors as genai_errors
from model_clients import DIALECTS
from model_scripts import WORDS

from raysearch.testing.models import (
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
    ModelServer,
    Raw,
    Shred,
    StreamError,
    ToolCall,
    Turn,
    faulty,
)

ERRORS = (anthropic.AnthropicError, openai.OpenAIError, genai_errors.APIError, httpx2.HTTPError, ValueError)
"""What the SDKs raise of an answer that cannot be had or read (a broken JSON or encoding is a ValueError)."""

each_way = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@each_way
@each_dialect
def test_refusals_are_understood_and_retried(dialect: str, stream: bool) -> None:
    """The wait that a refusal asks for is short here, and the SDKs believe it."""
    busy = OVERLOADED if dialect == "anthropic" else HttpError(503)
    script = faulty([RATE_LIMITED, SERVER_ERROR, busy], Turn("at last"))
    with ModelServer(script) as server, model_clients.client(dialect, server.url, stream=stream) as client:
        for expected in (429, 500, busy.status):
            with pytest.raises(ERRORS) as caught:
                client.ask("?")
            assert expected in {getattr(caught.value, "status_code", 0), getattr(caught.value, "code", 0)}
        assert client.ask("?").text == "at last"
    once = faulty([RATE_LIMITED], Turn("again"))
    with ModelServer(once) as server, model_clients.client(dialect, server.url, stream=stream, retries=1) as client:
        assert client.ask("?").text == "again"
    assert [exchange.status for exchange in server.exchanges] == [429, 200]


def test_retry_after_and_a_code_of_ones_own() -> None:
    quota = HttpError(429, "quota", 7.5, "insufficient_quota")
    errors = [quota, HttpError(400, "too long", code="context_length_exceeded"), quota]
    with ModelServer(faulty(errors, Turn())) as server:
        with model_clients.client("openai_responses", server.url, stream=False) as gpt:
            with pytest.raises(openai.RateLimitError) as limited:
                gpt.ask("?")
            with pytest.raises(openai.BadRequestError) as refused:
                gpt.ask("?")
        with (
            model_clients.client("gemini", server.url, stream=False) as gemini,
            pytest.raises(genai_errors.ClientError) as exhausted,
        ):
            gemini.ask("?")
    assert limited.value.response.headers["retry-after"] == "7.5"
    assert (limited.value.code, refused.value.code) == ("insufficient_quota", "context_length_exceeded")
    assert exhausted.value.details["error"]["details"][0]["retryDelay"] == "7.5s"


BREAKS: list[Fault] = [Cut(0.6), Drop(), Malformed(), Raw(b"<html>busy</html>"), Raw(b"", 200, "application/json")]
TRIPS = (*ERRORS, AttributeError, IndexError, AssertionError, TypeError, RuntimeError)
"""An SDK that trips over a page of HTML, or over nothing at all, raises whatever it trips over."""


@each_way
@each_dialect
def test_no_sdk_takes_a_broken_answer_for_a_whole_one(dialect: str, stream: bool) -> None:
    turns = [Turn("This text must not arrive whole.", fault=fault) for fault in BREAKS]
    with ModelServer(turns) as server, model_clients.client(dialect, server.url, stream=stream) as client:
        for fault in BREAKS:
            try:
                heard = client.ask("?").text
            except TRIPS:
                continue
            pytest.fail(f"{fault}: {heard!r} was taken for an answer")
    assert len(server.requests) == len(BREAKS)


def test_a_stream_that_ends_too_soon_and_properly_has_no_reason_to_have_stopped() -> None:
    """Of all the SDKs this one takes it for an answer: whoever uses it must ask why the model stopped."""
    turn = Turn("One two three four five.", fault=Cut(0.6, clean=True))
    with ModelServer(turn) as server, model_clients.client("anthropic", server.url, stream=True) as client:
        heard = client.ask("?")
    assert heard.stop is None
    assert turn.text.startswith(heard.text)
    assert heard.text != turn.text


@each_dialect
def test_an_error_within_a_stream(dialect: str) -> None:
    turn = Turn("One two three four.", fault=StreamError("out of breath", after=0.6))
    with ModelServer(turn) as server:
        with model_clients.client(dialect, server.url, stream=True) as client:
            if dialect == "openai_responses":  # told as a state of the response, which this SDK does not raise
                with pytest.raises((RuntimeError, openai.OpenAIError)):
                    client.ask("?")
            else:
                with pytest.raises(ERRORS, match="out of breath"):
                    client.ask("?")
        with model_clients.client(dialect, server.url, stream=False) as client, pytest.raises(ERRORS):
            client.ask("?")
    assert [exchange.status for exchange in server.exchanges] == [200, 500]


@each_dialect
@pytest.mark.parametrize("after", [0.0, 0.5])
def test_a_model_that_hangs_is_left_by_whoever_has_a_time_limit(dialect: str, after: float) -> None:
    with ModelServer(Turn("never", fault=Hang(after))) as server:
        with model_clients.client(dialect, server.url, stream=True, timeout_s=0.2) as client, pytest.raises(ERRORS):
            client.ask("?")
        assert server.wait_idle()
        (exchange,) = server.exchanges
    assert (exchange.outcome, exchange.status) == ("hung", 200 if after else 0)


@each_way
@each_dialect
def test_trials_that_are_no_faults(dialect: str, stream: bool) -> None:
    huge = 2**19
    turns = [Turn(WORDS, fault=Shred(1)), Turn(WORDS, fault=Huge(huge)), Turn(WORDS, delay_s=0.02, pace_s=0.001)]
    with ModelServer(turns) as server, model_clients.client(dialect, server.url, stream=stream) as client:
        assert client.ask("in shreds").text == WORDS
        heard = client.ask("at length").text
        assert (len(heard), heard[: len(WORDS)]) == (huge, WORDS)
        assert client.ask("slowly").text == WORDS


@each_way
@each_dialect
def test_bytes_that_are_no_text(dialect: str, stream: bool) -> None:
    """An SDK either says so or puts something readable in their place."""
    turn = Turn("before after", fault=InvalidUtf8())
    with ModelServer(turn) as server, model_clients.client(dialect, server.url, stream=stream) as client:
        try:
            heard = client.ask("?")
        except ERRORS:
            return
    assert heard.text != turn.text
    assert "before" in heard.text


@each_way
@each_dialect
def test_arguments_that_do_not_parse(dialect: str, stream: bool) -> None:
    turn = Turn(calls=(ToolCall("add", '{"a" 1}'),))
    with ModelServer(turn) as server, model_clients.client(dialect, server.url, stream=stream) as client:
        try:
            heard = client.ask("?")
        except ERRORS:
            return
    assert heard.calls != (("add", {"a": 1}),)
