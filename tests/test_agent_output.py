"""What coding agents' programs print, and what it means: outputs recorded from the real ones, and broken ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.agents.cli.claude import Claude
from raysearch.agents.cli.codex import Codex
from raysearch.agents.cli.gemini import Gemini
from raysearch.agents.cli.opencode import OpenCode
from raysearch.agents.cli.output import cause_of, events, plain
from raysearch.agents.cli.runner import CliAgent
from raysearch.agents.cli.turns import Heard
from raysearch.protocols import Completed
from raysearch.types import Usage

DATA = Path(__file__).with_name("data") / "agents"
LOCAL = "http://127.0.0.1:1"
AGENTS: dict[str, Callable[[], CliAgent]] = {
    "claude": lambda: Claude(base_url=LOCAL),
    "codex": lambda: Codex(base_url=LOCAL),
    "gemini": lambda: Gemini(base_url=LOCAL),
    "opencode": lambda: OpenCode("scripted", base_url=LOCAL),
}
RECORDED = sorted(path.stem for path in DATA.glob("*.jsonl"))
ONCE = (1000, 400, 50, 1)
"""What the scripted model bills for an answer: tokens in, cached, out; and one turn."""


def heard(name: str, stdout: str, home: Path, stderr: str = "", ended_by: str = "") -> Heard:
    return AGENTS[name]().hear(Completed(0, stdout, stderr, 1.0, ended_by), home)


def recorded(label: str, home: Path) -> Heard:
    name, _, ending = label.partition("-")
    text = (DATA / f"{label}.jsonl").read_text(encoding="utf-8")
    return heard(name, text, home, ended_by="time" if ending == "cut" else "")


def billed(usage: Usage) -> tuple[int, int, int, int]:
    return usage.tokens_in, usage.tokens_cached, usage.tokens_out, usage.turns


def times(number: int) -> tuple[int, int, int, int]:
    tokens_in, cached, out, turns = ONCE
    return tokens_in * number, cached * number, out * number, turns * number


@pytest.mark.parametrize("name", AGENTS)
def test_a_reply_and_what_it_cost(name: str, tmp_path: Path) -> None:
    lay(name, tmp_path)
    found = recorded(f"{name}-edit", tmp_path)
    assert (found.text, found.failure) == ("The file is written.", "")
    assert found.session
    assert billed(found.usage) == times(3)


@pytest.mark.parametrize("name", AGENTS)
def test_a_reply_in_its_form(name: str, tmp_path: Path) -> None:
    found = recorded(f"{name}-review", tmp_path)
    assert found.failure == ""
    said = found.value if found.value is not None else json.loads(found.text)
    assert said == {"passed": True, "reasons": ["fine"]}
    assert (found.value is not None) is (name == "claude")
    assert billed(found.usage) == ONCE


def test_what_a_program_reports_of_cost() -> None:
    assert recorded("claude-edit", DATA).usage.cost_usd == pytest.approx(0.013725)
    assert recorded("claude-edit", DATA).usage.model == "claude-opus-4-8"


@pytest.mark.parametrize("name", AGENTS)
def test_a_resumed_conversation_costs_only_what_was_added(name: str, tmp_path: Path) -> None:
    """Where the program tells the whole conversation's total, the runner takes off what was there before."""
    found = recorded(f"{name}-resumed", tmp_path)
    lines = list(events((DATA / f"{name}-resumed.jsonl").read_text()))
    assert lines
    assert found.text == "second"
    whole = 2 if AGENTS[name]().totals_of_session else 1
    assert billed(found.usage)[:3] == times(whole)[:3]
    if name == "claude":
        assert found.usage.cost_usd == pytest.approx(0.004575)  # its total_cost_usd says twice that
        assert lines[-1]["total_cost_usd"] == pytest.approx(0.00915)


CAUSES = {
    "denied": "unavailable",
    "limited": "limited",
    "refused": "refused",
    "length": "failed",
    "failed": "failed",
    "turns": "budget",
}
NO_SUCH_SIGN = {"gemini-length"}
"""It does not tell that an answer was cut short."""


@pytest.mark.parametrize("label", [label for label in RECORDED if label.partition("-")[2] in CAUSES])
def test_failures_and_their_causes(label: str, tmp_path: Path) -> None:
    found = recorded(label, tmp_path)
    if label in NO_SUCH_SIGN:
        assert found.failure == ""
        return
    assert found.failure
    assert found.cause == CAUSES[label.partition("-")[2]]


@pytest.mark.parametrize("name", AGENTS)
def test_what_is_cut_short_is_no_reply(name: str, tmp_path: Path) -> None:
    found = recorded(f"{name}-cut", tmp_path)
    assert found.failure
    assert found.session


def test_what_a_turn_cost_that_was_cut_short(tmp_path: Path) -> None:
    assert recorded("claude-cut", tmp_path).usage.tokens_in == 1000
    assert recorded("claude-cut", tmp_path).usage.tokens_out > 0
    for name in ("codex", "gemini"):
        lay(name, tmp_path)
        said = (DATA / f"{name}-edit.jsonl").read_text().splitlines()
        found = heard(name, "\n".join(said[:-1]), tmp_path, ended_by="time")
        assert found.failure
        assert billed(found.usage) == times(3)


def lay(name: str, home: Path) -> None:
    """Put what a program notes of its conversation where it does."""
    session = next(events((DATA / f"{name}-edit.jsonl").read_text()))
    if name == "codex":
        file = home / ".codex/sessions/2026/11/28" / f"rollout-2026-11-28T01-00-00-{session['thread_id']}.jsonl"
    elif name == "gemini":
        file = home / ".gemini/tmp/candidate/chats" / f"session-2026-11-28T01-00-{session['session_id'][:8]}.jsonl"
    else:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text((DATA / f"{name}-edit.noted").read_text())


@pytest.mark.parametrize("name", ["codex", "gemini"])
def test_notes_are_not_read_through_links(name: str, tmp_path: Path) -> None:
    home, secret = tmp_path / "home", tmp_path / "secret"
    lay(name, home)
    (noted,) = home.rglob("*.jsonl")
    noted.rename(secret)
    noted.symlink_to(secret)
    said = (DATA / f"{name}-edit.jsonl").read_text().splitlines()
    assert heard(name, "\n".join(said[:-1]), home, ended_by="time").usage.tokens_in == 0


def test_a_form_that_the_program_could_not_get_is_an_unreadable_reply(tmp_path: Path) -> None:
    found = recorded("claude-formless", tmp_path)
    assert (found.failure, found.value) == ("", None)
    assert "structured output" in found.text


def test_a_conversation_that_is_not_there(tmp_path: Path) -> None:
    result = {"type": "result", "subtype": "error_during_execution", "is_error": True}
    told = json.dumps({**result, "errors": ["No conversation found with session ID: 1"]})
    assert heard("claude", told, tmp_path).lost
    assert heard("codex", "", tmp_path, "Error: thread/resume failed: no rollout found for thread id 1").lost
    assert heard("gemini", "", tmp_path, "Error resuming session: No previous sessions found for this project.").lost
    assert heard("opencode", "", tmp_path, "\x1b[91mError: \x1b[0mSession not found").lost


def test_an_error_that_comes_as_success(tmp_path: Path) -> None:
    """Claude Code's exit status and subtype say success of an API error."""
    result = {"type": "result", "subtype": "success", "is_error": True, "api_error_status": 500, "result": "API Error"}
    found = heard("claude", json.dumps(result), tmp_path)
    assert (found.failure, found.cause) == ("API Error", "failed")


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("label", ["edit", "review"])
def test_no_part_of_an_output_passes_for_the_whole(name: str, label: str, tmp_path: Path) -> None:
    """Whatever line it breaks off at, it is not taken for a reply, nor does it raise."""
    lines = (DATA / f"{name}-{label}.jsonl").read_text().splitlines()
    for number in range(len(lines)):
        broken = [*lines[:number], lines[number][: len(lines[number]) // 2]]
        assert heard(name, "\n".join(broken), tmp_path, ended_by="time").failure


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), junk=st.lists(JSON, min_size=1, max_size=4))
def test_an_output_of_any_shape_is_heard(seed: int, junk: list[object]) -> None:
    """Fields of real outputs replaced by anything: a verdict comes out, with numbers that can be added up."""
    rng = random.Random(seed)
    label = rng.choice(RECORDED)
    lines = [json.loads(line) for line in (DATA / f"{label}.jsonl").read_text().splitlines()]
    for _ in range(rng.randrange(1, 6)):
        lines[rng.randrange(len(lines))] = maimed(rng.choice(lines), rng, junk)
    text = "\n".join(json.dumps(line) for line in lines) + "\n{not json\n[1]\n\x00\n" + '{"a":' * 10_000
    found = heard(label.partition("-")[0], text, DATA)
    assert all(isinstance(number, int) and number >= 0 for number in billed(found.usage))
    assert 0 <= found.usage.cost_usd < 1e16
    found.text.encode()
    json.dumps(found.value)


def maimed(value: object, rng: random.Random, junk: list[object]) -> object:
    """``value`` with one part replaced, or left out."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        rest = {name: item for name, item in value.items() if name != key}
        return rest if rng.random() < 0.2 else {**rest, key: maimed(value[key], rng, junk)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        return [*value[:place], maimed(value[place], rng, junk), *value[place + 1 :]]
    return rng.choice(junk)


@given(st.text())
def test_plain_text_can_go_anywhere(said: str) -> None:
    kept = plain(f"\x1b[31m{said}\x1b]0;title\x07\ud800")
    kept.encode()
    assert "\x1b" not in kept
    assert plain(kept) == kept


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("Credit balance is too low", "unavailable"),
        ("Quota exceeded. Check your plan and billing details.", "unavailable"),
        ("unexpected status 403 Forbidden", "unavailable"),
        ("exceeded retry limit, last status: 429 Too Many Requests", "limited"),
        ("529 overloaded_error: Overloaded", "limited"),
        ("The model response was blocked due to safety settings.", "refused"),
        ("API Error: 500 internal error", "failed"),
        ("line 4010 of 4290", "failed"),
    ],
)
def test_messages_and_their_causes(message: str, cause: str) -> None:
    assert cause_of(message) == cause
