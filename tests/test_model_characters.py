"""Scripted models with a character, playing agents that offer the tools of the real ones; their tools do real work."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.testing.models import Cut, Message, Request, Script, ScriptError, Tool, ToolCall, ToolResult, Turn, moves
from raysearch.testing.models.characters import cheating, crashing, good, lazy, restless
from raysearch.testing.models.shapes import plainest

NASTY = 'x = "it\'s"\n\tprint(f"$HOME `id` \\\\ {x}")\n# Ünïcode — 你好\n'


def _tool(name: str, *fields: str, **described: Mapping[str, Any]) -> Tool:
    properties = {field: described.get(field, {"type": "string"}) for field in fields}
    return Tool(name, schema={"type": "object", "properties": properties, "required": list(fields)})


ABSOLUTE = {"type": "string", "description": "The absolute path to the file"}
AGENTS: dict[str, tuple[Tool, ...]] = {
    "claude": (
        _tool("Bash", "command"),
        _tool("Edit", "file_path", "old_string", "new_string", file_path=ABSOLUTE),
        _tool("Read", "file_path", file_path=ABSOLUTE),
        _tool("Write", "file_path", "content", file_path=ABSOLUTE),
    ),
    "gemini": (
        _tool("read_file", "file_path"),
        _tool("replace", "file_path", "old_string", "new_string", "instruction"),
        _tool("write_file", "file_path", "content"),
        _tool("run_shell_command", "command"),
    ),
    "opencode": (
        _tool("bash", "command"),
        _tool("edit", "filePath", "oldString", "newString", filePath=ABSOLUTE),
        _tool("read", "filePath", filePath=ABSOLUTE),
        _tool("write", "filePath", "content", filePath=ABSOLUTE),
    ),
    "codex": (_tool("exec_command", "cmd"),),
    "codex with patches": (_tool("exec_command", "cmd"), Tool("apply_patch", free_form=True)),
    "codex in JavaScript": (Tool("exec", free_form=True, namespace="functions"),),
    "an old shell": (_tool("shell", "command", command={"type": "array", "items": {"type": "string"}}),),
}
each_agent = pytest.mark.parametrize("agent", AGENTS)


def _shell(command: str | list[str], folder: Path) -> str:
    words = command if isinstance(command, list) else ["bash", "-c", command]
    done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def _patched(patch: str, folder: Path) -> str:
    """What Codex makes of a patch that adds a file or replaces whole lines of one."""
    _, head, *lines, _ = patch.split("\n")
    kind, path = re.fullmatch(r"\*\*\* (Add|Update) File: (.*)", head).groups()  # type: ignore[union-attr]
    new = "".join(line[1:] + "\n" for line in lines if line[0] == "+")
    old = "".join(line[1:] + "\n" for line in lines if line[0] == "-")
    file = folder / path
    file.write_text(new if kind == "Add" else file.read_text().replace(old, new, 1))
    return "Success"


def _carry_out(call: ToolCall, folder: Path) -> str:
    if isinstance(call.arguments, str):
        if call.name == "apply_patch":
            return _patched(call.arguments, folder)
        program = re.fullmatch(r"text\(await tools\.exec_command\((.*)\)\);", call.arguments)
        assert program is not None
        return _shell(json.loads(program[1])["cmd"], folder)
    passed = dict(call.arguments)
    passed.pop("instruction", "")
    command = passed.get("command", passed.get("cmd"))
    if command is not None:
        return _shell(command, folder)
    path, *texts = passed.values()
    file = folder / path
    if not texts:
        return file.read_text() if file.exists() else "no such file"
    file.write_text(texts[0] if len(texts) == 1 else file.read_text().replace(texts[0], texts[1], 1))
    return "done"


def _play(script: Script, agent: str, folder: Path, turns_max: int = 12) -> tuple[Turn, list[ToolCall]]:
    """The agent's loop: its last turn, and every call that it made."""
    system = f"You are an agent.\nPrimary working directory: {folder}\nBe brief."
    messages: list[Message] = [Message("user", "Make it better.")]
    made: list[ToolCall] = []
    for number in range(turns_max):
        turn = script(Request(number, "anthropic", "m", tuple(messages), system, AGENTS[agent]))
        if not turn.calls or turn.fault:
            return turn, made
        calls = tuple(ToolCall(c.name, c.arguments, f"{number}.{n}", c.namespace) for n, c in enumerate(turn.calls))
        results = tuple(ToolResult(call.id, _carry_out(call, folder)) for call in calls)
        messages += [Message("assistant", turn.text, calls), Message("tool", results=results)]
        made += calls
    return turn, made


@each_agent
def test_a_good_one_reads_writes_and_answers(agent: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("old\n")
    turn, made = _play(good("x.py", NASTY), agent, tmp_path)
    assert (tmp_path / "x.py").read_text() == NASTY
    assert turn.text == "The file is written."
    assert len(made) == 2


@each_agent
def test_a_lazy_one_changes_nothing(agent: str, tmp_path: Path) -> None:
    turn, made = _play(lazy(), agent, tmp_path)
    assert (turn.text, made, list(tmp_path.iterdir())) == ("Nothing needs to be changed.", [], [])


@each_agent
def test_a_cheat_goes_for_the_checker_in_two_ways(agent: str, tmp_path: Path) -> None:
    checker = tmp_path / "checker.py"
    checker.write_text("raise SystemExit('no')\n")
    turn, made = _play(cheating("checker.py"), agent, tmp_path)
    assert len(made) == 2
    assert checker.read_text() == ""
    assert "perfect" in turn.text


def test_what_a_cheat_puts_in_place_of_the_checker_says_yes(tmp_path: Path) -> None:
    (write,) = cheating("checker.py")(Request(1, "gemini", "m", (Message("user"),), "", AGENTS["gemini"])).calls
    _carry_out(write, tmp_path)
    subprocess.run(["python3", "checker.py", "--result", "verdict.json"], cwd=tmp_path, check=True)
    assert json.loads((tmp_path / "verdict.json").read_text())["passed"] is True


@each_agent
def test_one_that_crashes_does_so_at_once_or_after_its_work(agent: str, tmp_path: Path) -> None:
    turn, made = _play(crashing(), agent, tmp_path)
    assert (turn.fault is not None, made) == (True, [])
    turn, made = _play(crashing(Cut(), path="x.py", contents="1\n"), agent, tmp_path)
    assert (turn.fault, len(made)) == (Cut(), 1)
    assert (tmp_path / "x.py").read_text() == "1\n"


def test_a_restless_one_never_answers(tmp_path: Path) -> None:
    turn, made = _play(restless("echo again"), "claude", tmp_path)
    assert len(made) == 12
    assert turn.calls


@each_agent
def test_edits_are_made_by_whatever_tool_there_is(agent: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("one\ntwo 'and' \"a half\"\nthree\n")
    old, new = "two 'and' \"a half\"", "2.5 $(id)"

    def edit(request: Request) -> Turn:
        call = moves.edit(request, "x.py", old, new)
        return Turn("done") if moves.made(request, call) else Turn(calls=(call,))

    assert _play(edit, agent, tmp_path)[0].text == "done"
    assert (tmp_path / "x.py").read_text() == f"one\n{new}\nthree\n"


@settings(max_examples=25, deadline=None)
@given(contents=st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=60))
def test_the_shell_writes_any_text(tmp_path_factory: pytest.TempPathFactory, contents: str) -> None:
    """Also where patches are taken: they know whole lines only, so a text that ends within one goes by the shell."""
    folder = tmp_path_factory.mktemp("shell")
    for agent in ("codex", "codex with patches"):
        request = Request(1, "gemini", "m", (Message("user"),), "", AGENTS[agent])
        _carry_out(moves.write(request, "sub dir/it's.txt", contents), folder)
        assert (folder / "sub dir" / "it's.txt").read_text() == contents


def _ask(script: Script, *, tools: tuple[Tool, ...] = (), **fields: Any) -> Turn:
    return script(Request(1, "openai_chat", "m", (Message("user", "Make it better."),), tools=tools, **fields))


def test_answers_take_the_form_that_is_asked_for() -> None:
    schema = {"type": "object", "properties": {"verdict": {"enum": ["yes", "no"]}}, "required": ["verdict"]}
    script = good("x.py", "7\n")
    assert _ask(script).text == "x.py\n```\n7\n```\n"  # no tools: the text is the program
    assert _ask(script, schema=schema).text == '{"verdict": "yes"}'
    assert _ask(lazy(reply={"verdict": "no"})).text == '{"verdict": "no"}'
    form = Tool("StructuredOutput", schema=schema)
    (call,) = _ask(lazy(), tools=(form,)).calls
    assert (call.name, call.arguments) == ("StructuredOutput", {"verdict": "yes"})


def test_several_texts_are_said_one_after_the_other() -> None:
    script = lazy(("no JSON", '{"verdict": '), reply=None)
    assert [_ask(script).text for _ in range(3)] == ["no JSON", '{"verdict": ', '{"verdict": ']
    script = good("x.py", "7\n", text=("not yet", "now"))
    assert [_ask(script, schema={"type": "object"}).text for _ in range(2)] == ["not yet", "{}"]


def test_contents_may_follow_from_the_prompt() -> None:
    script = good("x.py", lambda request: f"# {request.prompt}\n", look=False)
    (call,) = _ask(script, tools=AGENTS["gemini"]).calls
    assert call.arguments == {"file_path": "x.py", "content": "# Make it better.\n"}


def test_a_title_is_no_work() -> None:
    request = Request(1, "openai_chat", "m", (Message("user", "Make it better."),), "You are a title generator.")
    assert moves.is_aside(request)
    assert good("x.py", "7\n")(request).text == "A conversation about a program"
    assert not moves.is_aside(Request(1, "openai_chat", "m", request.messages, "", AGENTS["gemini"]))


@pytest.mark.parametrize(
    "told",
    [
        "# Environment\n - Primary working directory: /a/b c\n - Platform: linux",
        "<env>\n  Working directory: /a/b c\n</env>",
        "<environment_context>\n  <cwd>/a/b c</cwd>\n</environment_context>",
        "- **Workspace Directories:**\n  - /a/b c\n- **Directory Structure:**",
    ],
)
def test_the_folder_is_where_each_agent_says_it_is(told: str) -> None:
    assert moves.working_folder(Request(1, "gemini", "m", (Message("user", told),))) == "/a/b c"
    assert moves.working_folder(Request(1, "gemini", "m", (), told)) == "/a/b c"
    assert moves.working_folder(Request(1, "gemini", "m", ())) == ""


def test_calls_that_come_back_with_defaults_filled_in_were_made() -> None:
    call = ToolCall("Edit", {"path": "x", "old": "a"})
    back = Message("assistant", calls=(ToolCall("Edit", {"path": "x", "old": "a", "all": False}, "1"),))
    assert moves.made(Request(1, "gemini", "m", (back,)), call)
    other = Message(
        "assistant", calls=(ToolCall("Edit", {"path": "y", "old": "a"}, "1"), ToolCall("Read", call.arguments))
    )
    assert not moves.made(Request(1, "gemini", "m", (other,)), call)


def test_what_cannot_be_done_is_said() -> None:
    request = Request(1, "gemini", "m", (), tools=(_tool("web_search", "query"),))
    with pytest.raises(ScriptError, match="is offered no tool to run 'ls': web_search"):
        moves.run(request, "ls")
    request = Request(1, "gemini", "m", (), tools=(_tool("Write", "where", "content"),))
    with pytest.raises(ScriptError, match="the tool Write has no argument for the path, only"):
        moves.write(request, "x", "1\n")
    deaf = [
        Message("user", "?"),
        *(Message("assistant", calls=(ToolCall("Write", {"changed": n}),)) for n in range(31)),
    ]
    with pytest.raises(ScriptError, match="after 31 turns this has still not been done"):
        good("x", "1\n")(Request(1, "gemini", "m", tuple(deaf), "", AGENTS["gemini"]))


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}, "b": {}}, "required": ["a"]},
    {"type": "array", "items": {"type": "string", "minLength": 4}, "minItems": 2},
    {"anyOf": [{"type": "null"}, {"type": "number", "exclusiveMinimum": 2, "maximum": 9}]},
    {"$ref": "#/$defs/it", "$defs": {"it": {"enum": ["x", "y"]}}},
    {"type": ["null", "boolean"]},
    {"type": "number", "maximum": -2},
    {"const": 4},
    {"type": "null"},
    {"properties": {"deep": {"$ref": "#/$defs/n"}}, "required": ["deep"], "$defs": {"n": {"type": "object"}}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_the_plainest_value_is_one_of_the_schema(schema: dict[str, Any]) -> None:
    jsonschema.validate(plainest(schema), schema)


def test_types_in_capitals_and_schemas_without_end() -> None:
    assert plainest({"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}, "required": ["n"]}) == {"n": 0}
    endless = {"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}}}
    assert list(plainest(endless)) == ["n"]
