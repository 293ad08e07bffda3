"""What goes wrong between an agent and its model ends in an answer after all, or in a fault that says why."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from api_agents import DIALECTS, NONE, Opinion, Still, asked

from raysearch.agents.api.pacing import Breaker, RealPace, Retries
from raysearch.agents.api.providers import address, connect
from raysearch.agents.api.toolloop import ToolLoop
from raysearch.agents.interface import AgentFault, Call
from raysearch.errors import ConfigError
from raysearch.testing.models import (
    OVERLOADED,
    SERVER_ERROR,
    Conversation,
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
    Request,
    Shred,
    StreamError,
    ToolCall,
    Turn,
    key_digest,
)
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import Allowance

ALL = pytest.mark.parametrize("dialect", DIALECTS)
ONCE: list[Fault] = [
    HttpError(429, retry_after_s=7),
    HttpError(500),
    HttpError(503),
    OVERLOADED,
    StreamError(),
    Cut(),
    Cut(0.9),
    Cut(0.5, clean=True),
    Drop(),
    Malformed(),
    InvalidUtf8(),
    Raw(b"<html>Bad gateway</html>", 502),
    Raw(b""),
    Raw(b"[" * 100_000, content_type="application/json"),
]


@ALL
def test_one_failure_is_tried_again(tmp_path: Path, dialect: str) -> None:
    faults = [fault for fault in ONCE if dialect != "gemini" or not isinstance(fault, InvalidUtf8)]  # it reads those
    turns = iter([turn for fault in faults for turn in (Turn("This is lost.", fault=fault), Turn("Here I am."))])
    with asked(tmp_path, lambda _: next(turns), dialect=dialect) as it:
        for number, fault in enumerate(faults, 1):
            it.pace.slept.clear()
            assert it.ask(permission=NONE).text == "Here I am.", fault
            assert len(it.server.requests) == 2 * number
            assert [line["kind"] for line in it.lines(number)].count("failure") == 1
            asked_s = 7.0 if fault == ONCE[0] else 0.0
            assert len(it.pace.slept) == 1
            assert asked_s <= it.pace.slept[0] <= asked_s + 2


@ALL
def test_failures_end_in_a_fault(tmp_path: Path, dialect: str) -> None:
    cases = (
        (SERVER_ERROR, "failed"),
        (HttpError(429, retry_after_s=0), "limited"),
        (OVERLOADED, "limited"),
        (Malformed(), "failed"),
    )
    turns = iter([Turn("lost", fault=fault) for fault, _ in cases for _ in range(3)])
    with asked(tmp_path, lambda _: next(turns), dialect=dialect, retries_max=2) as it:
        for number, (_, cause) in enumerate(cases, 1):
            it.agent.breaker = Breaker()
            found = it.fault(permission=NONE)
            assert (found.cause, found.retryable) == (cause, True)
            assert len(it.server.requests) == 3 * number
            assert found.transcript is not None
            assert it.lines(number)[-1]["how"].startswith(cause)


@ALL
def test_what_does_not_go_better_is_not_tried_again(tmp_path: Path, dialect: str) -> None:
    cases = (
        (HttpError(401), "unavailable"),
        (HttpError(403), "unavailable"),
        (HttpError(404), "failed"),
        (HttpError(400, "prompt is too long"), "failed"),
        (HttpError(400, "no such field"), "failed"),
        (Raw(b"", 301), "failed"),
    )
    turns = iter([Turn(fault=fault) for fault, _ in cases])
    with asked(tmp_path, lambda _: next(turns), dialect=dialect) as it:
        for number, (fault, cause) in enumerate(cases, 1):
            found = it.fault(permission=NONE)
            assert (found.cause, found.retryable) == (cause, False), fault
            assert len(it.server.requests) == number
            assert found.usage.calls == 0


def test_an_account_without_money_is_not_tried_again(tmp_path: Path) -> None:
    with asked(tmp_path, Turn(fault=HttpError(429, code="insufficient_quota")), dialect="openai") as it:
        assert it.fault(permission=NONE).cause == "unavailable"
        assert len(it.server.requests) == 1


@ALL
def test_a_refusal(tmp_path: Path, dialect: str) -> None:
    with asked(tmp_path, Turn("I would rather not.", stop="refusal"), dialect=dialect) as it:
        found = it.fault()
        assert found.cause == "refused"
        assert not found.retryable
        assert found.usage.calls == 1


@ALL
def test_an_answer_that_broke_off_is_paid_for(tmp_path: Path, dialect: str) -> None:
    turns = iter([Turn("word " * 400, pieces=50, fault=fault) for fault in (Cut(0.8), None, None)])
    with asked(tmp_path, lambda _: next(turns), dialect=dialect) as it:
        usage = it.ask(permission=NONE).usage
        assert usage.calls == 2
        assert usage.tokens_out > 500 + 200
        if dialect != "openai-chat":
            whole = it.ask(permission=NONE).usage
            assert usage.cost_usd > whole.cost_usd > 0


@ALL
def test_a_server_that_stands_still_is_left_in_time(tmp_path: Path, dialect: str) -> None:
    for number, fault in enumerate((Hang(), Hang(0.5))):
        turns = [Turn("Here I am."), Turn("word " * 50, fault=fault)]
        with asked(tmp_path / str(number), turns, dialect=dialect) as it:
            it.agent.pace = RealPace()
            it.ask(permission=NONE)  # which takes a while, the first time
            found = it.fault(permission=NONE, timeout_s=1.0)
            assert found.cause == "time"
            assert not found.retryable
            assert found.usage.calls == (1 if number else 0)


@ALL
def test_a_server_that_only_drips_is_left_in_time(tmp_path: Path, dialect: str) -> None:
    """Every piece comes long before a read would time out; all of them would take a minute."""
    with asked(tmp_path, Turn("word " * 500, pieces=500, pace_s=0.12), dialect=dialect) as it:
        it.agent.pace = RealPace()
        assert it.fault(permission=NONE, timeout_s=0.5).cause == "time"


@ALL
def test_answers_in_small_pieces(tmp_path: Path, dialect: str) -> None:
    text = "Schrödinger’s 🐈\n" * 20
    with asked(tmp_path, Turn(text, fault=Shred(3), thinking="ö" * 9), dialect=dialect) as it:
        assert it.ask(permission=NONE).text == text.strip()


@ALL
def test_an_answer_without_end_is_no_answer(tmp_path: Path, dialect: str) -> None:
    with asked(tmp_path, Turn("x", fault=Huge(2**20)), dialect=dialect, retries_max=0) as it:
        assert it.fault(permission=NONE).cause == "unreadable"


def test_a_body_without_end_is_left(tmp_path: Path) -> None:
    from raysearch.agents.api.wire import Wire

    body = b"x" * (3 * 2**20)
    with ModelServer(Turn(fault=Raw(body, content_type="text/event-stream"))) as server, Wire(body_mb_max=1) as wire:
        request = wire.build_request("POST", f"{server.url}/v1/messages", json={"model": "m", "max_tokens": 1} | ASKED)
        response = wire.send(request, stream=True)
        with pytest.raises(Exception, match="more than 1 MB"):
            response.read()


ASKED = {"messages": [{"role": "user", "content": "?"}]}


@ALL
def test_old_results_give_way_when_the_window_fills(tmp_path: Path, dialect: str) -> None:
    noise = ToolCall("run_command", {"command": "seq 1 4000"})

    def script(request: Request) -> Turn:
        return Turn(calls=(noise,)) if request.step < 6 else Turn("Done.")

    with asked(tmp_path, script, dialect=dialect, window_tokens=20_000, output_tokens_max=1000, output_kb=32) as it:
        assert it.ask("Count.").text == "Done."
        lengths = [sum(len(r.text) for m in request.messages for r in m.results) for request in it.server.requests]
        assert max(lengths) < 3 * 20_000
        last = [result.text for message in it.server.requests[-1].messages for result in message.results]
        assert "characters were left out to save room; call run_command again if needed" in last[0]
        assert len(last) == 6
        assert len(last[-1]) > 10_000
        notes = [line for line in it.lines() if line["kind"] == "trimmed"]
        assert notes
        assert sum(note["results"] for note in notes) <= 4


@ALL
def test_a_prompt_that_is_too_long_is_trimmed_and_sent_again(tmp_path: Path, dialect: str) -> None:
    """The window is smaller than is known here; the server's refusal tells."""
    noise = ToolCall("run_command", {"command": "seq 1 2000"})

    def script(request: Request) -> Turn:
        told = sum(len(r.text) for m in request.messages for r in m.results)
        if told > 22_000:
            return Turn(fault=HttpError(400, "prompt is too long: 100 tokens > 99 maximum"))
        return Turn(calls=(noise,)) if request.step < 4 else Turn("Done.")

    with asked(tmp_path, script, dialect=dialect) as it:
        assert it.ask("Count.").text == "Done."
        assert any(line["kind"] == "trimmed" for line in it.lines())


def test_budgets_are_kept(tmp_path: Path) -> None:
    go_on = Turn(calls=(ToolCall("run_command", {"command": "true"}),))
    for number, (allowance, calls, word) in enumerate(
        (
            (Allowance(calls=3), 3, "all 3 calls"),
            (Allowance(tokens=3000), None, "of 3000 tokens are used"),
            (Allowance(cost_usd=0.005), None, "of $0.0050 is spent"),
            (Allowance(tokens=100), 0, "of 100 tokens"),
            (Allowance(cost_usd=0.0), 0, "$0.0000"),
        )
    ):
        with asked(tmp_path / str(number), lambda _: go_on, allowance=allowance) as it:
            found = it.fault()
            assert found.cause == "budget"
            assert word in str(found)
            assert calls is None or found.usage.calls == calls
            assert found.usage.tokens_in + found.usage.tokens_out <= (allowance.tokens or 10**9)
            assert found.usage.cost_usd <= (allowance.cost_usd if allowance.cost_usd is not None else 1)
            assert len(it.server.requests) == found.usage.calls


def test_what_is_left_limits_the_answer(tmp_path: Path) -> None:
    with asked(tmp_path, Turn("Yes."), allowance=Allowance(cost_usd=0.003)) as it:
        it.ask("Well?", permission=NONE)
        most = it.server.requests[0].max_tokens
        assert most is not None
        assert 550 < most <= 600  # 0.003 dollars at 5 a million


def test_without_a_price_there_is_no_budget(tmp_path: Path) -> None:
    with asked(tmp_path, Turn("Yes."), dialect="openai-chat", allowance=Allowance(cost_usd=1)) as it:
        found = it.fault(permission=NONE)
        assert found.cause == "budget"
        assert "no price is known for llama" in str(found)
    with asked(
        tmp_path / "2", Turn("Yes."), dialect="openai-chat", allowance=Allowance(cost_usd=1), no_price=True
    ) as it:
        assert it.ask(permission=NONE).usage.cost_usd == 0
    own = {"llama": {"input": 1000.0, "output": 0.0}}
    with asked(tmp_path / "3", Turn("Yes."), dialect="openai-chat", allowance=Allowance(cost_usd=1), prices=own) as it:
        usage = it.ask("Well?", permission=NONE).usage
        assert usage.cost_usd == pytest.approx(usage.tokens_in / 1000)


def test_a_server_that_counts_nothing_is_estimated(tmp_path: Path) -> None:
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    delta = {"index": 0, "delta": {"role": "assistant", "content": "word " * 30}, "finish_reason": "stop"}
    body = f"data: {json.dumps(chunk | {'choices': [delta]})}\n\ndata: [DONE]\n\n".encode()
    with asked(tmp_path, Turn(fault=Raw(body, content_type="text/event-stream")), dialect="openai-chat") as it:
        usage = it.ask("x" * 300, permission=NONE).usage
        assert (usage.tokens_in, usage.tokens_out, usage.calls) == (100, 50, 1)


def test_a_provider_that_is_down_is_left_alone(tmp_path: Path) -> None:
    turns = iter([Turn(fault=SERVER_ERROR)] * 5 + [Turn(fault=OVERLOADED), Turn("Back.")])
    with asked(tmp_path, lambda _: next(turns), retries_max=1) as it:
        for number in (2, 4):
            assert it.fault(permission=NONE).cause == "failed"
            assert len(it.server.requests) == number
        it.pace.slept.clear()
        found = it.fault(permission=NONE, timeout_s=15)  # the fifth failure opens the breaker
        assert (found.cause, len(it.server.requests)) == ("limited", 5)
        found = it.fault(permission=NONE, timeout_s=15)  # nothing is asked
        assert (found.cause, found.retryable, len(it.server.requests)) == ("limited", True, 5)
        assert it.ask(permission=NONE).text == "Back."  # a trial that fails, a longer rest, one that does not
        assert len(it.server.requests) == 7
        assert 20 <= sum(it.pace.slept) <= 65
        assert any("left alone" in line.get("text", "") for line in it.lines(5))


def test_the_breaker_lets_one_try() -> None:
    breaker, now = Breaker(failures_max=3, rest_s=10, rest_max_s=30), 0.0
    for _ in range(3):
        assert breaker.wait_s(now) == 0
        breaker.failed(now)
    assert breaker.wait_s(4) == 6
    assert breaker.wait_s(10) == 0
    assert breaker.wait_s(10) > 0  # one at a time
    breaker.untried()
    assert breaker.wait_s(10) == 0
    breaker.failed(11)
    assert breaker.wait_s(11) == 20  # twice as long
    for now, rest in ((100.0, 30), (200.0, 30)):  # and no longer than that
        assert breaker.wait_s(now) == 0
        breaker.failed(now)
        assert breaker.wait_s(now) == rest
    assert breaker.wait_s(1000) == 0
    breaker.succeeded()
    assert [breaker.wait_s(1000), breaker.wait_s(1000)] == [0, 0]
    breaker.failed(1000)
    assert breaker.wait_s(1000) == 0


def test_waits_grow_and_spread() -> None:
    retries, rng = Retries(first_s=1, longest_s=8), random.Random(0)
    for failures, most in ((1, 2), (2, 4), (3, 8), (9, 8), (999, 8)):
        waits = [retries.wait_s(failures, None, rng) for _ in range(200)]
        assert 0 <= min(waits) < most * 0.1
        assert most * 0.9 < max(waits) <= most
    assert all(30 <= retries.wait_s(1, 30.0, rng) <= 31 for _ in range(50))


def test_a_wait_that_is_too_long_is_not_begun(tmp_path: Path) -> None:
    with asked(tmp_path, Turn(fault=HttpError(429, retry_after_s=900))) as it:
        found = it.fault(permission=NONE, timeout_s=60)
        assert (found.cause, found.retryable) == ("limited", True)
        assert it.pace.slept == []


def test_keys_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-ant-planted-0123456789abcdef"
    monkeypatch.setenv("MY_SECRET_KEY", key)
    told = HttpError(401, f"the key {key} is not known")
    turns = iter([Turn(f"It is {key}."), Turn(fault=told)])
    with asked(tmp_path, lambda _: next(turns), key_from="MY_SECRET_KEY") as it:
        it.ask(f"Here: {key}", permission=NONE)
        assert it.server.requests[0].key == key_digest(key)
        found = it.fault(permission=NONE)
        assert key not in str(found)
        assert "[redacted]" in str(found)
        assert all(key not in path.read_text() for path in it.workspace.artifacts.iterdir())


def test_a_key_goes_to_its_own_provider_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, "sk-planted-0123456789")
    for dialect in DIALECTS:
        with asked(tmp_path / dialect, Turn("Yes."), dialect=dialect) as it:
            it.ask(permission=NONE)
            assert it.server.requests[0].key == key_digest("none")


def test_without_a_key_or_an_sdk_an_agent_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAYSEARCH_ENV_FILE", str(tmp_path / "env"))
    (tmp_path / "env").write_text("")
    workspace = FolderWorkspace.make(tmp_path / "it", {"answer.py": "VALUE = 3\n"})
    for model, wanted in (("claude-haiku-4-5", "ANTHROPIC_API_KEY"), ("gemini-2.5-pro", "GEMINI_API_KEY or GOOGLE_A")):
        with pytest.raises(AgentFault, match=f"no key for {model}: set {wanted}") as caught:
            ToolLoop(model).ask(workspace, Call("judge", "?"))
        assert caught.value.cause == "unavailable"
    monkeypatch.setitem(__import__("sys").modules, "anthropic", None)
    with pytest.raises(AgentFault, match=r"pip install 'raysearch\[agents\]'") as caught:
        ToolLoop("claude-haiku-4-5", base_url="http://127.0.0.1:1").ask(workspace, Call("judge", "?"))
    assert caught.value.cause == "unavailable"


@pytest.mark.parametrize(
    ("model", "options", "provider"),
    [
        ("claude-opus-5", {}, "anthropic"),
        ("gpt-6-luna", {}, "openai"),
        ("o3-mini", {}, "openai"),
        ("gemini-3.8-flash", {}, "gemini"),
        ("llama", {"base_url": "http://h/v1"}, "openai-chat"),
        ("gpt-oss-20b", {"base_url": "http://h/v1"}, "openai-chat"),
        ("claude-opus-5", {"base_url": "http://h"}, "anthropic"),
        ("claude-opus-5", {"provider": "vertex"}, "vertex"),
        ("mine", {"provider": "openai"}, "openai"),
    ],
)
def test_whose_model_it_is(model: str, options: dict[str, str], provider: str) -> None:
    assert address(model, **options).provider == provider


@pytest.mark.parametrize(
    ("model", "options", "word"),
    [
        ("", {}, "needs a model"),
        ("llama", {}, "say provider .anthropic, openai"),
        ("claude-x", {"provider": "antropic"}, "Did you mean 'anthropic'"),
        ("claude-x", {"base_url": "localhost:8000"}, "must begin with http"),
        ("gpt-6", {"provider": "vertex"}, "Vertex AI"),
        ("claude-x", {"window_tokens": -1}, "window_tokens"),
        ("claude-x", {"turns_max": 0}, "turns_max"),
        ("claude-x", {"output_tokens_max": 0}, "output_tokens_max"),
        ("claude-x", {"retries_max": -1}, "retries_max"),
        ("claude-x", {"command_timeout_s": float("nan")}, "command_timeout_s"),
        ("claude-x", {"output_kb": 0.0}, "output_kb"),
    ],
)
def test_options_that_cannot_be(model: str, options: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        ToolLoop(model, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "gemini-2.5-pro"])
def test_vertex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setenv("VERTEX_TOKEN", "ya29.planted-0123456789")
    edit = ToolCall("write_file", {"path": "answer.py", "content": "VALUE = 42\n"})
    workspace = FolderWorkspace.make(tmp_path, {"answer.py": "VALUE = 3\n"})
    options = {"provider": "vertex", "project": "mine", "region": "europe-west1", "key_from": "VERTEX_TOKEN"}
    with (
        ModelServer(Conversation([Turn(calls=(edit,)), Turn("Done.")])) as server,
        ToolLoop(model, base_url=server.url, **options) as agent,  # type: ignore[arg-type]
    ):
        assert agent.ask(workspace, Call("implementer", "Improve it.")).text == "Done."
        assert (workspace.path / "answer.py").read_text() == "VALUE = 42\n"
        path = server.requests[0].path
        assert "/projects/mine/locations/europe-west1/publishers/" in path
        assert path.partition("?")[0].endswith(("streamRawPredict", "streamGenerateContent"))
        assert server.requests[0].key == key_digest("ya29.planted-0123456789")


def test_vertex_without_a_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUD_ML_REGION", raising=False)
    monkeypatch.setenv("VERTEX_TOKEN", "ya29.planted-0123456789")
    with pytest.raises(AgentFault, match="region") as caught:
        connect(address("claude-haiku-4-5", "vertex", key_from="VERTEX_TOKEN"))
    assert caught.value.cause == "unavailable"


def test_a_server_that_knows_no_schema_is_asked_without(tmp_path: Path) -> None:
    def script(request: Request) -> Turn:
        refused = HttpError(400, "response_format is not supported")
        return Turn('{"passed": true}', fault=refused if request.schema else None)

    with asked(tmp_path, script, dialect="openai-chat") as it:
        assert it.ask(schema=Opinion, permission=NONE).value == Opinion(passed=True)
        assert "JSON schema" in it.server.requests[0].system
        assert len(it.server.requests) == 2


def test_a_transcript_is_kept_whatever_happens(tmp_path: Path) -> None:
    class Stopped(BaseException):
        pass

    class Stops(Still):
        def sleep(self, seconds: float) -> None:
            raise Stopped

    with asked(tmp_path, Turn(fault=SERVER_ERROR)) as it:
        it.agent.pace = Stops()
        with pytest.raises(Stopped):
            it.ask("A question.", permission=NONE)
        assert [line["kind"] for line in it.lines()] == ["call", "asked", "asked", "failure", "ended"]
        assert it.lines()[-1]["how"] == "broke off"
