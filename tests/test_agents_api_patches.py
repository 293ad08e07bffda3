"""Patches: what a model may write, what is taken for it, and what is refused rather than guessed."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from api_agents import NONE, READ, Opinion, asked
from hypothesis import given, settings
from hypothesis import strategies as st

from mutators.coding import CodingAgent
from raysearch.agents.api import applying, patches, rewriting
from raysearch.agents.api.applying import Applied
from raysearch.agents.api.placing import Sheet
from raysearch.target import may_change
from raysearch.testing.models import ModelServer, Request, Turn
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import Brief

FILE = "def f(x):\n    y = x + 1\n    return y\n\n\ndef g(x):\n    y = x + 2\n    return y\n"


def run(text: str, files: Mapping[str, str], editable: tuple[str, ...] = ("*.py", "src/*.py")) -> Applied:
    return applying.apply(patches.parse(text, files), files, lambda path: may_change(path, editable))


def block(path: str, old: str, new: str) -> str:
    return f"{path}\n<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n"


OLD, NEW = "    y = x + 1\n", "    y = x + 10\n"
AFTER = FILE.replace(OLD, NEW)
FORMS = {
    "plain": block("a.py", OLD, NEW),
    "fenced, path above": "Faster:\n\na.py\n```python\n" + block("", OLD, NEW).lstrip() + "```\n",
    "path in the fence": "```python a.py\n" + block("", OLD, NEW).lstrip() + "```\n",
    "path after a colon": "```python:a.py\n" + block("", OLD, NEW).lstrip() + "```\n",
    "heading": "### File: `a.py`\n\n" + block("", OLD, NEW).lstrip(),
    "bold": "**a.py**\n" + block("", OLD, NEW).lstrip(),
    "path in the marker": "<<<<<<< SEARCH a.py\n" + OLD + "=======\n" + NEW + ">>>>>>> REPLACE\n",
    "no path, one file": block("", OLD, NEW).lstrip(),
    "white space at line ends": block("a.py", "    y = x + 1   \n", NEW),
    "empty lines around": block("a.py", "\n" + OLD + "\n\n", NEW),
    "without the indentation": block("a.py", "y = x + 1\n", "y = x + 10\n"),
    "indented deeper": block(
        "a.py", "            y = x + 1\n            return y\n\n", "            y = x + 10\n            return y\n\n"
    ),
    "a part of a line": block("a.py", "x + 1\n", "x + 10\n"),
    "line ends of Windows": block("a.py", OLD, NEW).replace("\n", "\r\n"),
    "longer markers": block("a.py", OLD, NEW).replace("=======", "=========").replace("<<<<<<<", "<<<<<<<<"),
    "a diff": "--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@\n def f(x):\n-    y = x + 1\n+    y = x + 10\n     return y\n",
    "a diff of git's": "diff --git a/a.py b/a.py\nindex 12ab..34cd 100644\n--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@ x\n"
    " def f(x):\n-    y = x + 1\n+    y = x + 10\n     return y\n",
    "a diff in a fence": "```diff\n--- a.py\n+++ a.py\n@@ -2 +2 @@\n-    y = x + 1\n+    y = x + 10\n```\nAll.\n",
    "a diff with wrong numbers": "--- a.py\n+++ a.py\n@@ -40,9 +41,2 @@\n def f(x):\n-    y = x + 1\n+    y = x + 10\n",
    "a diff without numbers": "--- a.py\n+++ a.py\n@@ ... @@\n def f(x):\n-    y = x + 1\n+    y = x + 10\n",
    "a diff without names": "@@ -1,3 +1,3 @@\n def f(x):\n-    y = x + 1\n+    y = x + 10\n     return y\n",
    "a diff with an empty line for context": "--- a.py\n+++ a.py\n@@ -1,6 +1,6 @@\n def f(x):\n"
    "-    y = x + 1\n+    y = x + 10\n     return y\n\n\n def g(x):\n",
    "a diff whose context drifted": "--- a.py\n+++ a.py\n@@ -1,4 +1,4 @@\n # header\n def f(x):\n-    y = x + 1\n"
    "+    y = x + 10\n     return x\n",
    "a diff with other indentation": "--- a.py\n+++ a.py\n@@ -1,3 +1,3 @@\n-  y = x + 1\n+  y = x + 10\n   return y\n"
    " \n \n",
    "a path too long": block("candidate/a.py", OLD, NEW),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_many_ways_to_say_one_change(text: str) -> None:
    assert run(text, {"a.py": FILE}) == Applied({"a.py": AFTER})


def test_prose_is_what_is_left() -> None:
    found = patches.parse("I add ten.\n\na.py\n```python\n" + block("", OLD, NEW).lstrip() + "```\n\nSUMMARY: ten\n")
    assert found.prose == "I add ten.\n\nSUMMARY: ten"


REFUSED = {
    "two places": (block("a.py", "    return y\n", "    return 0\n"), "fits 2 places equally well (lines 3, 8)"),
    "two parts of lines": (block("a.py", "return\n", "yield\n"), "stands in the file 2 times"),
    "part of a word": (block("a.py", "de\n", "x\n"), "does not stand"),
    "nowhere": (block("a.py", "    y = x * 1\n    return y\n", ""), "There is, from line 2: "),
    "no file of that name": (block("b.py", OLD, NEW), "there is no such file"),
    "not to be changed": (block("b.txt", OLD, NEW), "b.txt may not change"),
    "outside": (block("../a.py", "", NEW), "../a.py may not change"),
    "absolute": (block("/tmp/a.py", "", NEW), "may not change"),
    "open": ("a.py\n<<<<<<< SEARCH\nx\n=======\ny\n", "without its >>>>>>> REPLACE"),
    "without a middle": ("a.py\n<<<<<<< SEARCH\nx\n>>>>>>> REPLACE\n", "without its ======="),
    "empty SEARCH": (block("a.py", "", NEW), "SEARCH is empty, but the file is not"),
    "a hunk in two places": ("--- a.py\n+++ a.py\n@@ -90,1 +90,1 @@\n-    return y\n+    return 0\n", "fits 2 places"),
    "a hunk that drifted to two places": (
        "--- a.py\n+++ a.py\n@@ -50,3 +50,3 @@\n # no\n-    return y\n+    return 0\n # such\n",
        "fits 2 places",
    ),
    "a hunk without context": ("--- a.py\n+++ a.py\n@@ @@\n+x = 1\n", "cannot be placed"),
    "a hunk that fits nowhere": ("--- a.py\n+++ a.py\n@@ -1,2 +1,1 @@\n-no\n-such\n+x\n", "a hunk fits nowhere"),
    "a file made twice": ("--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+x\n", "it is there already"),
    "a diff of another file": ("--- a/b.py\n+++ b/b.py\n@@ -1,2 +1,2 @@\n x\n-y\n+z\n", "there is no file b.py"),
}


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_clear_is_refused(text: str, why: str) -> None:
    applied = run(text, {"a.py": FILE})
    assert applied.changed == {}
    assert len(applied.problems) == 1
    assert why in applied.problems[0]


def test_several_files_at_once() -> None:
    files = {"a.py": FILE, "src/b.py": "B = 1\n", "src/c.py": "C = 1\n", "empty.py": ""}
    text = (
        block("a.py", OLD, NEW)
        + block("", "    y = x + 2\n", "    y = x + 20\n").lstrip()  # of the same file
        + block("new.py", "", "N = 1\n")
        + block("empty.py", "", "E = 1\n")
        + "diff --git a/src/b.py b/src/b.py\ndeleted file mode 100644\n"
        + "--- a/src/b.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-B = 1\n"
        + "diff --git a/src/c.py b/src/d.py\nsimilarity index 100%\nrename from src/c.py\nrename to src/d.py\n"
        + "--- /dev/null\n+++ b/src/e.py\n@@ -0,0 +1,2 @@\n+E = 1\n+F = 2\n\\ No newline at end of file\n"
    )
    assert run(text, files) == Applied(
        {
            "a.py": AFTER.replace("x + 2", "x + 20"),
            "new.py": "N = 1\n",
            "empty.py": "E = 1\n",
            "src/b.py": None,
            "src/c.py": None,
            "src/d.py": "C = 1\n",
            "src/e.py": "E = 1\nF = 2",
        }
    )


def test_text_with_dividers() -> None:
    before = "Title\n=======\n\nbody\n"
    applied = run(block("a.py", "Title\n=======\n", "Name\n=======\n"), {"a.py": before})
    assert applied == Applied({"a.py": "Name\n=======\n\nbody\n"})


def test_line_ends_are_kept() -> None:
    windows = FILE.replace("\n", "\r\n")
    assert run(block("a.py", OLD, NEW), {"a.py": windows}).changed == {"a.py": AFTER.replace("\n", "\r\n")}
    assert run(block("a.py", OLD, NEW), {"a.py": FILE.rstrip("\n")}).changed == {"a.py": AFTER.rstrip("\n")}


LINE = st.text(st.characters(blacklist_characters="\n", blacklist_categories=("Cs",)), max_size=6)
SOME = st.sampled_from(
    ["", " ", "x", "- x", "+ x", "-- x", "++ x", "@@ -1 +1 @@", "```", "=======", "    y", "}", "\\ x"]
)
LINES = st.lists(st.one_of(SOME, LINE), max_size=12)


@settings(max_examples=400, deadline=None)
@given(LINES, LINES, st.integers(0, 4), st.booleans())
def test_any_unified_diff_applies(old: list[str], new: list[str], context: int, fenced: bool) -> None:
    """Diffs as difflib makes them, whatever the lines hold and however often they repeat."""
    before, after = Sheet(old).text, Sheet(new).text
    old, new = Sheet.of(before).lines, Sheet.of(after).lines
    diff = "\n".join(difflib.unified_diff(old, new, "a/a.py", "b/a.py", n=context, lineterm=""))
    if before == after or Sheet.of(before).crlf or Sheet.of(after).crlf:
        return
    text = f"```diff\n{diff}\n```\n" if fenced else diff + "\n"
    applied = run(text, {"a.py": before})
    assert applied.problems == []
    assert applied.changed == {"a.py": after}


CODE = st.lists(
    st.sampled_from([f"line {number}" for number in range(30)] + ["}", "", "    x"]), min_size=1, max_size=25
)


@settings(max_examples=300, deadline=None)
@given(CODE, st.data())
def test_a_block_is_placed_where_it_stands_or_not_at_all(lines: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(lines) - 1))
    end = data.draw(st.integers(start + 1, len(lines)))
    piece, text = lines[start:end], "\n".join(lines) + "\n"
    if not any(line.strip() for line in piece):
        return
    applied = run(block("a.py", "\n".join(piece) + "\n", "new\n"), {"a.py": text})
    places = [at for at in range(len(lines) - len(piece) + 1) if lines[at : at + len(piece)] == piece]
    if len(places) == 1:
        assert applied == Applied({"a.py": "\n".join([*lines[:start], "new", *lines[end:]]) + "\n"})
    else:
        assert applied.changed == {}
        assert f"fits {len(places)} places equally well" in applied.problems[0]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300), st.sampled_from(["{}", block("{}", "", "x\n"), block("{}", "V = 1\n", "x\n")]))
def test_nothing_else_is_ever_touched(path: str, form: str) -> None:
    files = {"a.py": "V = 1\n"}
    for text in (form.format(path), f"--- a/{path}\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n", path):
        applied = run(text, files)
        for name in applied.changed:
            assert may_change(name, ("*.py", "src/*.py"))
            assert not name.startswith("/")
            assert ".." not in name.split("/")
        found = rewriting.parse(f"{path}\n```\nx\n```\n", files)
        assert isinstance(found.texts, dict)


def test_large_texts_take_no_time() -> None:
    """Each would take minutes if anything in it were quadratic."""
    big = "".join(f"    value = {number % 7}\n" for number in range(60_000))
    for text in (
        block("a.py", "    value = 1\n    value = 9\n", "x\n"),
        "<" * 300_000,
        "<<<<<<< SEARCH\n" * 3_000,
        "@@ -1 +1 @@\n" * 5_000,
        "--- a\n+++ b\n" * 5_000,
        "a.py\n```\n" * 5_000,
        "# ... " + "(" * 100_000,
    ):
        assert isinstance(run(text, {"a.py": big}), Applied)
        assert rewriting.parse(text, {"a.py": big}).texts.keys() <= {"a.py"}


WHOLE = {
    "path above": "a.py\n```python\nA = 2\n```\n",
    "heading": "## `a.py`\n\n```\nA = 2\n```\n",
    "in the fence": "```python a.py\nA = 2\n```\n",
    "tildes": "a.py\n~~~\nA = 2\n~~~\n",
    "alone": "So:\n\n```python\nA = 2\n```\n",
    "with an example before it": "Run it:\n\n```sh\npython a.py\n```\n\na.py\n```python\nA = 2\n```\n",
}


@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE.keys())
def test_whole_files(text: str) -> None:
    found = rewriting.parse(text, {"a.py": "A = 1\n"})
    assert (found.texts, found.problems) == ({"a.py": "A = 2\n"}, [])


def test_whole_files_that_are_not_whole() -> None:
    files = {"a.py": "A = 1\n", "b.py": "# ... rest of the code ...\n"}
    for text, why in (
        ("a.py\n```\nA = 2\n", "is not closed"),
        ("a.py\n```\nA = 2\n```\na.py\n```\nA = 3\n```\n", "two blocks of a.py"),
        ("a.py\n```\nA = 2\n# ... rest of the code unchanged ...\n```\n", "leaves something out"),
        ("a.py\n```\n// ... existing code ...\n```\n", "leaves something out"),
    ):
        found = rewriting.parse(text, files)
        assert why in found.problems[0]
    kept = rewriting.parse("b.py\n```\n# ... rest of the code ...\nB = 1\n```\n", files)
    assert kept.problems == []
    nested = rewriting.parse("a.py\n````\nA = '''\n```\n'''\n````\n", files)
    assert nested.texts == {"a.py": "A = '''\n```\n'''\n"}


PATCH = block("answer.py", "VALUE = 3\n", "VALUE = 41\n")
GOOD: Mapping[str, str] = {"diff": f"Nearer.\n\n{PATCH}", "rewrite": "Nearer.\n\nanswer.py\n```\nVALUE = 41\n```\n"}


@pytest.mark.parametrize("kind", GOOD)
def test_one_call_one_change(tmp_path: Path, kind: str) -> None:
    with asked(tmp_path, [Turn(GOOD[kind])], kind) as it:
        reply = it.ask("Improve it.", system="You improve programs.")
        assert it.file() == "VALUE = 41\n"
        assert reply.text == "Nearer."
        request = it.server.requests[0]
        assert "answer.py\n```\nVALUE = 3\n```" in request.prompt
        assert "There are other files, too, which are not shown: notes.txt" in request.prompt
        assert request.system.startswith("You improve programs.")
        assert request.tools == ()


BAD: Mapping[str, Callable[[str], str]] = {
    "nothing": lambda _: "I would not change a thing.",
    "a place that is not there": lambda text: text.replace("VALUE = 3", "VALUE = 5").replace(
        "```\n", "```\n# ... rest of the code ...\n", 1
    ),
    "another file": lambda text: text.replace("answer.py", "notes.txt"),
    "an outside file": lambda text: text.replace("answer.py", "../answer.py"),
}


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_one_repair_turn(tmp_path: Path, kind: str, bad: Callable[[str], str]) -> None:
    wrong = bad(GOOD[kind])
    with asked(tmp_path, [Turn(wrong), Turn(GOOD[kind]), Turn(wrong), Turn(wrong)], kind) as it:
        assert it.ask().text == "Nearer."
        assert it.file() == "VALUE = 41\n"
        assert "Nothing was changed. Give all of your answer again" in it.server.requests[1].prompt
        (it.workspace.path / "answer.py").write_text("VALUE = 3\n")
        found = it.fault()
        assert found.cause == "unreadable"
        assert found.usage.calls == 2
        assert it.file() == "VALUE = 3\n"
        assert it.file("notes.txt") == "fixed\n"
        assert not (tmp_path / "answer.py").exists()


@pytest.mark.parametrize("kind", GOOD)
def test_a_patch_with_a_reply_of_a_form(tmp_path: Path, kind: str) -> None:
    both = GOOD[kind] + '\n```json\n{"passed": true}\n```\n'
    with asked(tmp_path, [Turn(GOOD[kind]), Turn(both)], kind) as it:
        assert it.ask(schema=Opinion).value == Opinion(passed=True)
        assert "of the JSON object" in it.server.requests[1].prompt
        assert it.file() == "VALUE = 41\n"


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("permission", [READ, NONE])
def test_without_leave_nothing_is_changed(tmp_path: Path, kind: str, permission: str) -> None:
    with asked(tmp_path, [Turn(GOOD[kind]), Turn('{"passed": true}')], kind) as it:
        assert "VALUE = 41" in it.ask(permission=permission).text
        assert it.ask(permission=permission, schema=Opinion).value == Opinion(passed=True)
        assert it.file() == "VALUE = 3\n"
        assert ("VALUE = 3" in it.server.requests[0].prompt) == (permission == READ)
        assert it.server.requests[1].schema is not None


def test_a_program_that_is_too_large_to_show(tmp_path: Path) -> None:
    with asked(tmp_path, [], "diff", files={"answer.py": "# long\n" * 1000}, program_kb_max=4.0) as it:
        found = it.fault()
        assert "more than program_kb_max = 4" in str(found)
        assert it.lines()[-1]["kind"] == "ended"


def test_an_answer_that_was_cut_off_is_asked_for_again(tmp_path: Path) -> None:
    with asked(tmp_path, [Turn(GOOD["diff"], stop="length"), Turn(GOOD["diff"])], "diff") as it:
        it.ask()
        assert "cut off" in it.server.requests[1].prompt


def test_skills_are_shown_whole(tmp_path: Path) -> None:
    skill = tmp_path / "profiling"
    skill.mkdir()
    (skill / "SKILL.md").write_text("Use perf.\n")
    with asked(tmp_path / "it", [Turn(GOOD["diff"])], "diff") as it:
        it.ask(skills=(skill,))
        assert "Skill profiling:\nUse perf." in it.server.requests[0].system


def test_a_program_without_files_is_begun(tmp_path: Path) -> None:
    def script(request: Request) -> Turn:
        assert "(There is none yet.)" in request.prompt
        return Turn(block("answer.py", "", "VALUE = 1\n"))

    with asked(tmp_path, script, "diff", files={"readme.txt": "x\n"}) as it:
        it.ask()
        assert it.file() == "VALUE = 1\n"


@pytest.mark.parametrize("kind", GOOD)
def test_as_a_mutator(tmp_path: Path, kind: str) -> None:
    """By its name, as a run asks for it."""
    workspace = FolderWorkspace.make(tmp_path, {"answer.py": "VALUE = 3\n"})
    with ModelServer(Turn(GOOD[kind] + "\nSUMMARY: nearer to 42\nMEMORY: none\n")) as server:
        options = {"base_url": server.url}
        with CodingAgent(agent=kind, agent_options=options, model="claude-haiku-4-5") as mutator:
            mutation = mutator.mutate(workspace, Brief(task="Get nearer."), random.Random(0))
    assert mutation.summary == "nearer to 42"
    assert mutation.usage.cost_usd > 0
    assert (workspace.path / "answer.py").read_text() == "VALUE = 41\n"
