"""The agent with tools, over real SDKs and loopback, in every dialect."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_agents import DIALECTS, NONE, READ, Opinion, asked

from raysearch.testing.models import Conversation, Request, Tokens, ToolCall, Turn

EDIT = ToolCall("edit_file", {"path": "answer.py", "old": "VALUE = 3", "new": "VALUE = 41"})
ALL = pytest.mark.parametrize("dialect", DIALECTS)


@ALL
def test_edits_a_file_with_calls_in_parallel(tmp_path: Path, dialect: str) -> None:
    look = (ToolCall("read_file", {"path": "answer.py"}), ToolCall("run_command", {"command": "cat notes.txt; exit 3"}))
    turns = [Turn(thinking="Let me see.", calls=look), Turn("Now.", calls=(EDIT,)), Turn("VALUE is nearer to 42.")]
    with asked(tmp_path, Conversation(turns), dialect=dialect) as it:
        reply = it.ask(system="You improve programs.")
        assert it.file() == "VALUE = 41\n"
        assert reply.text == "VALUE is nearer to 42."
        second, third = it.server.requests[1:]
        assert second.results[0].text == "VALUE = 3\n"
        assert "[exit status 3" in second.results[1].text
        assert "fixed" in second.results[1].text
        assert [result.text for result in third.results] == ["replaced in answer.py, line 1"]
        assert second.system.startswith("You improve programs.")
        assert second.stream
        assert [line["kind"] for line in it.lines()] == [
            *("call", "asked", "asked", "turn", "tool", "tool", "turn", "tool", "turn", "ended")
        ]


@ALL
def test_what_tools_cannot_do_is_told_the_model(tmp_path: Path, dialect: str) -> None:
    calls = (
        ToolCall("edit_file", {"path": "answer.py", "old": "VALUE = 4", "new": "x"}),
        ToolCall("write_file", {"path": "notes.txt", "content": "mine"}),
        ToolCall("write_file", {"path": "../out.py", "content": "mine"}),
        ToolCall("fly", {}),
        ToolCall("read_file", {"path": 3}),
    )
    broken = () if dialect == "gemini" else (ToolCall("read_file", '{"path": "answ'),)
    with asked(tmp_path, Conversation([Turn(calls=calls + broken), Turn("I give up.")]), dialect=dialect) as it:
        assert it.ask().text == "I give up."
        told = [result.text.removeprefix("error: ") for result in it.server.requests[1].results]
        assert told[0].startswith("old does not stand in answer.py; the nearest to its first line is line 1: VALUE = 3")
        assert told[1] == "notes.txt may not change; only *.py may"
        assert "without .." in told[2]
        assert told[3].startswith("there is no tool 'fly'; there are: edit_file, read_file")
        assert told[4] == "path must be text"
        assert [each.startswith("the arguments are no JSON object") for each in told[5:]] == [True] * len(broken)
        assert it.file() == "VALUE = 3\n"


@ALL
@pytest.mark.parametrize("permission", [READ, NONE])
def test_a_reply_of_a_form_is_asked_for_and_read(tmp_path: Path, dialect: str, permission: str) -> None:
    def script(request: Request) -> Turn:
        if request.tool("answer"):
            return Turn("Well.", calls=(ToolCall("answer", {"passed": False, "reasons": ["slow"]}),))
        return Turn('{"passed": false, "reasons": ["slow"]}')

    with asked(tmp_path, script, dialect=dialect) as it:
        reply = it.ask(schema=Opinion, permission=permission)
        assert reply.value == Opinion(passed=False, reasons=["slow"])
        request = it.server.requests[0]
        names = {tool.name for tool in request.tools}
        assert names & {"edit_file", "write_file"} == set()
        assert (request.schema is None) == ("answer" in names)
        assert bool(names - {"answer"}) == (permission == READ)


@ALL
def test_a_reply_of_the_wrong_form_costs_a_repair_turn(tmp_path: Path, dialect: str) -> None:
    texts = ["I think it is fine.", 'Here: {"passed": "perhaps"}']
    with asked(tmp_path, [Turn(texts[0]), Turn('```json\n{"passed": true}\n```')], dialect=dialect) as it:
        assert it.ask(schema=Opinion, permission=NONE).value == Opinion(passed=True)
        assert "could not be read: it is no JSON" in it.server.requests[1].prompt
    with asked(tmp_path / "again", [Turn(text) for text in texts], dialect=dialect) as it:
        fault = it.fault(schema=Opinion, permission=NONE)
        assert fault.cause == "unreadable"
        assert "passed: Input should be a valid boolean" in str(fault)
        assert fault.usage.calls == 2
        assert fault.usage.cost_usd > 0 or dialect == "openai-chat"


def test_the_answer_tool_is_mended_once(tmp_path: Path) -> None:
    wrong, right = ToolCall("answer", {"passed": []}), ToolCall("answer", {"passed": True})
    with asked(tmp_path, [Turn(calls=(wrong,)), Turn(calls=(EDIT, right))], dialect="gemini") as it:
        assert it.ask(schema=Opinion).value == Opinion(passed=True)
        assert it.file() == "VALUE = 41\n"  # what was called for beside the answer was done
        assert "call answer again" in it.server.requests[1].results[0].text
    with asked(tmp_path / "again", [Turn(calls=(wrong,)), Turn(calls=(right, right))], dialect="gemini") as it:
        assert it.fault(schema=Opinion).cause == "unreadable"


def test_sessions_go_on(tmp_path: Path) -> None:
    turns = [Turn(calls=(ToolCall("answer", {"passed": True}),)), Turn("As I said."), Turn("Who?")]
    with asked(tmp_path, turns, dialect="openai-chat") as it:
        first = it.ask("Judge it.", schema=Opinion)
        second = it.ask("And why?", session=first.session)
        assert second.session == first.session
        assert [m.role for m in it.server.requests[1].messages] == ["user", "assistant", "tool", "user"]
        assert [m.text for m in it.server.requests[1].messages][-1] == "And why?"
        assert it.ask("And?", session="gone").text == "Who?"
        assert any("gone is not known here" in line.get("text", "") for line in it.lines(3))


def test_turns_end(tmp_path: Path) -> None:
    def script(request: Request) -> Turn:
        choice = request.body["tool_choice"]["type"]
        return Turn("Enough.") if choice == "none" else Turn(calls=(ToolCall("run_command", {"command": "true"}),))

    with asked(tmp_path, script, turns_max=3) as it:
        assert it.ask().text == "Enough."
        assert len(it.server.requests) == 4
        assert "That was the last turn with tools" in it.server.requests[3].messages[-1].text
    stubborn = Turn(calls=(ToolCall("run_command", {"command": "true"}),))
    with asked(tmp_path / "again", lambda _: stubborn, turns_max=2) as it:
        fault = it.fault()
        assert "goes on calling tools" in str(fault)
        assert not fault.retryable
        assert fault.usage.turns == 3


def test_an_answer_that_is_cut_off_goes_on(tmp_path: Path) -> None:
    with asked(tmp_path, [Turn("And so", stop="length"), Turn("Done.")]) as it:
        assert it.ask().text == "Done."
        assert "cut off" in it.server.requests[1].prompt


def test_commands_that_leave_what_must_not_be_there_are_noted(tmp_path: Path) -> None:
    call = ToolCall("run_command", {"command": "touch made.o; rm notes.txt; echo $TARGET; cat $REFERENCE/answer.py"})
    with asked(tmp_path, [Turn(calls=(call,)), Turn("Done.")]) as it:
        it.ask()
        told = it.server.requests[1].results[0].text
        assert str(it.workspace.target.root) in told
        assert "VALUE = 0" in told
        assert "[note: new: made.o; gone: notes.txt; only *.py may change]" in told


def test_reference_target_and_skills_can_be_read(tmp_path: Path) -> None:
    skill = tmp_path / "skills" / "profiling"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: profiling\ndescription: How to find what is slow\n---\nUse perf.\n")
    calls = (
        ToolCall("read_file", {"path": "@reference/answer.py"}),
        ToolCall("read_file", {"path": "@target"}),
        ToolCall("read_file", {"path": "@skills/profiling/SKILL.md", "first_line": 5, "lines": 1}),
        ToolCall("read_file", {"path": "@target/../../etc/passwd"}),
        ToolCall("read_file", {"path": "@skills/other/x"}),
        ToolCall("read_file", {"path": "."}),
        ToolCall("search", {"pattern": "VALUE = \\d", "where": "@reference"}),
        ToolCall("search", {"pattern": "VALUE|fixed", "glob": "*.py"}),
        ToolCall("search", {"pattern": "(", "glob": "*.py"}),
        ToolCall("search", {"pattern": "nowhere"}),
    )
    with asked(tmp_path / "it", [Turn(calls=calls), Turn("Done.")]) as it:
        it.ask(skills=(skill,), permission=READ)
        assert "- profiling: How to find what is slow" in it.server.requests[0].system
        told = [result.text for result in it.server.requests[1].results]
        assert told[0] == "VALUE = 0\n"
        assert "benchmark/" in told[1]
        assert told[2] == "[lines 5 to 5 of 6]\nUse perf."
        assert "must not hold .." in told[3]
        assert told[4] == "there is no skill 'other'"
        assert told[5] == "answer.py\nnotes.txt"
        assert told[6] == "@reference/answer.py:1: VALUE = 0\n"
        assert told[7] == "answer.py:1: VALUE = 3\n"
        assert "no regular expression" in told[8]
        assert told[9] == "no match\n"


def test_links_pipes_and_placeholders(tmp_path: Path) -> None:
    """What a command plants in the program leads no tool out of it, and holds none up."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    plant = f"ln -s {secret} out.py; mkfifo pipe.py; ln -s / root; ln -s answer.py in.py; echo '{{target}}' > braces.py"
    calls = (
        ToolCall("read_file", {"path": "out.py"}),
        ToolCall("write_file", {"path": "out.py", "content": "overwritten"}),
        ToolCall("read_file", {"path": "pipe.py"}),
        ToolCall("write_file", {"path": "pipe.py", "content": "x"}),
        ToolCall("read_file", {"path": "root/etc/hostname"}),
        ToolCall("write_file", {"path": f"root{tmp_path}/new.py", "content": "x"}),
        ToolCall("write_file", {"path": "in.py", "content": "VALUE = 5\n"}),
        ToolCall("read_file", {"path": "braces.py"}),
        ToolCall("search", {"pattern": "secret"}),
        ToolCall("write_file", {"path": ".git/config", "content": "x"}),
        ToolCall("write_file", {"path": "a\0b.py", "content": "x"}),
        ToolCall("write_file", {"path": "x" * 300 + ".py", "content": "x"}),
    )
    with asked(
        tmp_path / "it", [Turn(calls=(ToolCall("run_command", {"command": plant}), *calls)), Turn("Done.")]
    ) as it:
        it.ask()
        told = [result.text for result in it.server.requests[1].results][1:]
        assert "leads out" in told[0]
        assert "leads out" in told[1]
        assert secret.read_text() == "secret"
        assert "no regular file" in told[2]
        assert "no file" in told[3]
        assert "leads out" in told[4]
        assert "leads out" in told[5]
        assert not (tmp_path / "new.py").exists()
        assert it.file() == "VALUE = 5\n"
        assert told[7] == "{target}\n"
        assert told[8] == "no match\n"
        assert told[9] == ".git/config is no part of the program"
        assert "cannot be" in told[11]


def test_what_is_hidden_of_a_target_is_not_shown_by_a_sandbox_that_cannot_hide(tmp_path: Path) -> None:
    with asked(tmp_path, [Turn(calls=(ToolCall("run_command", {"command": "true"}),))]) as it:
        (it.workspace.target.root / "hidden").mkdir()
        with pytest.raises(Exception, match="needs a sandbox") as caught:
            it.ask()
        assert caught.value.usage.calls == 1  # type: ignore[attr-defined]
        assert it.lines()[-1]["kind"] == "ended"


@ALL
def test_usage_is_summed(tmp_path: Path, dialect: str) -> None:
    counts = [Tokens(prompt=1000, cached=0, written=800, output=50), Tokens(prompt=1100, cached=800, output=20)]
    turns = [Turn(calls=(EDIT,), tokens=counts[0]), Turn("Done.", tokens=counts[1])]
    with asked(tmp_path, Conversation(turns), dialect=dialect) as it:
        usage = it.ask().usage
        assert (usage.tokens_in, usage.tokens_cached, usage.tokens_out) == (2100, 800, 70)
        assert (usage.calls, usage.turns, usage.model) == (2, 2, DIALECTS[dialect]["model"])
        if dialect == "anthropic":  # per million: 1 in, 0.1 cached, 1.25 written, 5 out
            spent = (200 + 300) * 1 + 800 * 0.1 + 800 * 1.25 + 70 * 5
            assert usage.cost_usd == pytest.approx(spent / 1e6)


def test_the_cache_is_told_where_to_begin(tmp_path: Path) -> None:
    with asked(tmp_path, Conversation([Turn(calls=(EDIT,)), Turn("Done.")])) as it:
        it.ask(system="Rules.")
        first, second = (request.body for request in it.server.requests)
        assert first["system"] == second["system"]
        assert first["tools"] == second["tools"]
        assert second["system"][-1]["cache_control"] == {"type": "ephemeral"}
        marked = [message["content"][-1].get("cache_control") for message in second["messages"]]
        assert marked == [{"type": "ephemeral"}, None, {"type": "ephemeral"}]
        assert second["messages"][0]["content"] == first["messages"][0]["content"]


def test_thoughts_are_handed_back_as_they_came(tmp_path: Path) -> None:
    """The scripted server refuses a thought whose signature is not its own."""
    with asked(tmp_path, Conversation([Turn(thinking="Hm.", calls=(EDIT,)), Turn("Done.")])) as it:
        it.ask()
        assert it.server.requests[1].messages[1].thinking == "Hm."


def test_tools_that_run_are_ended_in_time(tmp_path: Path) -> None:
    with asked(
        tmp_path, [Turn(calls=(ToolCall("run_command", {"command": "sleep 60", "timeout_s": 1}),)), Turn("Ok.")]
    ) as it:
        it.ask()
        assert "ended by the limit on time of 1 s" in it.server.requests[1].results[0].text
