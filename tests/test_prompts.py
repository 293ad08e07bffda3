"""Prompts: what each role is told, that nothing is missing or too much, and that no quotation escapes its fence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import golden
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.agents.prompts import ROLES, PromptError, render
from raysearch.agents.prompts.briefing import (
    DIFF_CHARS,
    DIFFS_CHARS,
    Axis,
    Other,
    Row,
    Standing,
    Trial,
    capped,
    gates,
    one_line,
    told,
    tradeoffs,
)
from raysearch.agents.prompts.rendering import GENERIC, fenced, needs
from raysearch.agents.roles import ROLES as ROLE_FORMS
from raysearch.kinds import BACKENDS, INTERFACES, MODALITIES
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import SEED, AttemptId, Brief, Commit, Inspiration, Objective

TEMPLATES = Path(__file__).parents[1] / "raysearch/agents/prompts/templates"
GOAL: Mapping[str, object] = {
    "objective": "Serve requests as fast as the reference, or faster.",
    "objectives": [Axis("throughput", "req/s", "max", True), Axis("latency", "ms", "min", False)],
}
OTHERS = [
    Other(17, "throughput 120 req/s, latency 9 ms", "one queue a core", "--- a/server.py\n+++ b/server.py\n-old\n+new"),
    Other(23, "throughput 80 req/s, latency 4 ms", "", ""),
]
TRADEOFFS = ["best in throughput is program 17: throughput 120 req/s; it has latency 9 ms"]
PARENTS = [
    Standing(
        12, "threads", ["throughput: 100 req/s (more is better)", "latency: 10 ms (less is better)"], "memory 300"
    ),
    Standing(0, "the target's seed program", ["throughput: not measured (more is better)"], ""),
]
FRONTIER = [Row(12, True, ["100", "10"]), Row(17, False, ["120", "9"]), Row(0, False, ["", "4"])]
ASKED: Mapping[str, object] = {
    **GOAL,
    "question": "What comes next?",
    "lessons": ["accuracy: 3 of 10 replies differ"],
    "memory": "Threads did not help.",
    "parents": PARENTS,
    "profile": "60 % parse()",
    "frontier": FRONTIER,
    "messages": ["leave the parser alone"],
}
FULL: Mapping[str, Mapping[str, object]] = {
    "implementer": {
        **GOAL,
        "gates": gates(["accuracy", "reviewer"]),
        "editable": ["*.py", "lib/**"],
        "trials": [Trial("accuracy checker", "python checker.py --result FILE")],
        "task": "Batch the writes.",
        "blank": False,
        "feedback": "guard: changed config.toml; only *.py, lib/** may change",
        "lessons": ["accuracy: 3 of 10 replies differ", "benchmark: it went over its memory limit of 4096 MB"],
        "memory": "The parser is half of the time.",
        "parents": PARENTS,
        "profile": "60 % parse()\n30 % write()",
        "frontier": FRONTIER,
        "inspirations": OTHERS,
        "tradeoffs": TRADEOFFS,
        "messages": ["leave the parser alone"],
    },
    "judge": {
        **GOAL,
        "gates": gates(["accuracy"]),
        "before": "the target's seed program",
        "change": "--- a/server.py\n+++ b/server.py\n+if request == b'bench': return CACHED",
    },
    "red_team": {
        **GOAL,
        "gates": gates(["accuracy"]),
        "before": "the target's seed program",
        "editable": ["*.py", "lib/**"],
        "rules": ["network: uses the network"],
        "signs": ["sleeping: server.py:12: waits: time.sleep(0)"],
        "change": "--- a/server.py\n+++ b/server.py\n+if request == b'bench': return CACHED",
    },
    **dict.fromkeys(("triage", "planner", "lessons_writer"), ASKED),
    "performance_evaluator": {**ASKED, "measured": ["4 requests/s for 20 s: p95 0.4 s (median of 3, min is better)"]},
}
EMPTY: Mapping[str, object] = {
    **dict.fromkeys(("task", "feedback", "memory", "profile"), ""),
    **{name: [] for name in ("lessons", "parents", "frontier", "inspirations", "tradeoffs", "trials", "messages")},
}
FEWEST: Mapping[str, Mapping[str, object]] = {
    "implementer": {
        **EMPTY,
        "objective": "Be right.",
        "objectives": [Axis("score", "", "max", True)],
        "gates": gates(["accuracy"]),
        "editable": ["**"],
        "blank": True,
    },
    "judge": {**FULL["judge"], "change": ""},
    "red_team": {**FULL["red_team"], "change": "", "rules": [], "signs": []},
}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_told_this(role: str) -> None:
    prompt = render(role, FULL[role], backend="cuda", modality="text_generation", interface="service")
    golden.same(f"prompts/{role}.txt", f"{prompt.system}\n\n--------\n\n{prompt.text}\n")


@pytest.mark.parametrize("role", sorted(FEWEST))
def test_what_there_is_not_is_not_mentioned(role: str) -> None:
    prompt = render(role, FEWEST[role])
    golden.same(f"prompts/{role}-least.txt", f"{prompt.system}\n\n--------\n\n{prompt.text}\n")


@pytest.mark.parametrize(
    ("kind", "names"), [("backend", BACKENDS), ("modality", MODALITIES), ("interface", INTERFACES)]
)
def test_each_kind_of_program_is_described(kind: str, names: tuple[str, ...]) -> None:
    """To those who write, to those who judge and to those who plan."""
    pages = []
    for name in names:
        for role in ("implementer", "judge", "planner") if name != GENERIC else ():
            chosen = {kind: name}
            text = render(role, FULL[role], **chosen).text
            plain = render(role, FULL[role]).text
            added = text.split("# What to know about this kind of program\n\n")[1].split("\n\n# ")[0]
            assert len(text) - len(plain) == len(added) + len("# What to know about this kind of program\n\n\n\n")
            pages.append(f"{name}, {role}\n{added}\n")
    golden.same(f"prompts/{kind}.txt", "\n".join(pages))


@pytest.mark.parametrize("role", ROLES)
def test_of_a_generic_program_nothing_is_said(role: str) -> None:
    assert render(role, FULL[role], modality=GENERIC) == render(role, FULL[role])
    with pytest.raises(PromptError, match="no backend is called 'generic'"):
        render(role, FULL[role], backend=GENERIC)


def test_every_template_is_used() -> None:
    own = {f"{role}.j2" for role in ROLES} | {f"system/{role}.j2" for role in ROLES}
    kinds = {"backends": BACKENDS, "modalities": MODALITIES, "interfaces": INTERFACES}
    for place in TEMPLATES.rglob("*.j2"):
        name = place.relative_to(TEMPLATES).as_posix()
        folder, stem = place.parent.name, place.name.removesuffix(".j2")
        if folder == "fragments":
            others = [TEMPLATES / f"{role}.j2" for role in ROLES] + [TEMPLATES / "fragments/asked.j2"]
            assert any(f'"{name}"' in other.read_text() for other in others), name
        elif folder in kinds:
            first, _, role = stem.partition(".")
            assert first in kinds[folder], name
            assert not role or role in ROLES, name
        else:
            assert name in own, name
    assert set(ROLES) == set(ROLE_FORMS)


@pytest.mark.parametrize("role", ROLES)
def test_a_missing_value_and_one_too_many_are_errors(role: str) -> None:
    for name in sorted(needs(role) - {"ground"}):
        fewer = {key: value for key, value in FULL[role].items() if key != name}
        with pytest.raises(PromptError, match=rf"needs {name}"):
            render(role, fewer)
    with pytest.raises(PromptError, match=r"has no use for 'objectiv'.*'objective'"):
        render(role, {**FULL[role], "objectiv": "x"})


def test_a_value_that_lacks_a_part_is_an_error() -> None:
    bare = SimpleNamespace(name="speed", unit="", goal="max")
    with pytest.raises(PromptError, match="primary"):
        render("planner", {**FULL["planner"], "objectives": [bare, bare]})


def test_names_that_do_not_exist_are_errors() -> None:
    with pytest.raises(PromptError, match="'judge'"):
        render("jugde", {})
    with pytest.raises(PromptError, match="'metal'"):
        render("judge", FULL["judge"], backend="mettal")
    with pytest.raises(PromptError, match="'service'"):
        render("judge", FULL["judge"], interface="servce")


def test_equal_values_give_equal_prompts() -> None:
    assert render("implementer", FULL["implementer"]) == render("implementer", dict(FULL["implementer"]))


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=st.sampled_from("`~a \n\r#{}%"), max_size=60))
def test_no_quotation_leaves_its_fence(text: str) -> None:
    lines = fenced(text).split("\n")
    assert lines[0] == lines[-1]
    assert not any(line.strip().startswith(lines[0]) for line in lines[1:-1])
    assert "\n".join(lines[1:-1]) == text.strip("\n")
    prompt = render("planner", {**FULL["planner"], "profile": f"{{{{ 7 * 7 }}}} {{% x %}} {text}"}).text
    assert "{{ 7 * 7 }} {% x %}" in prompt  # values are no templates


def workspace_of(tmp_path: Path) -> FolderWorkspace:
    return FolderWorkspace.make(tmp_path, {"answer.py": "VALUE = 3\n"})


def test_a_brief_is_told_whole(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path)
    near = workspace.add({"answer.py": "VALUE = 41\n"})
    small = workspace.add({"answer.py": "VALUE=1\n"})
    brief = Brief(
        "Go further.",
        "guard: changed other.txt; only *.py may change",
        (
            Inspiration(AttemptId(7), near, {"score": -1.0, "size": 11.0}, "nearer\x1b[31m\nsecond line"),
            Inspiration(AttemptId(8), small, {"score": -41.0, "size": 8.0}),
            Inspiration(AttemptId(9), workspace.commit),
        ),
        ("accuracy: VALUE is [101]",),
        "tried 3",
    )
    text = render("implementer", told(workspace, brief, ["accuracy", "reviewer"])).text
    for part in (
        "Assign VALUE in answer.py",
        "- score (points): more is better; this one counts most",
        "- size (B): less is better",
        "Go further.",
        "guard: changed other.txt; only *.py may change",
        "accuracy: VALUE is [101]",
        "tried 3",
        "## Program 7: score -1 points, size 11 B",
        "It says of itself: nearer [31m second line",
        "-VALUE = 3\n+VALUE = 41",
        "## Program 9\n\nIts files are the same as yours.",
        "- best in score is program 7: score -1 points; it has size 11 B",
        "- best in size is program 8: size 8 B; it has score -41 points",
        'cd "$RAYSEARCH_TARGET/accuracy_checker" && python check.py --candidate "$RAYSEARCH_CANDIDATE"',
    ):
        assert part in text, part
    assert "\x1b" not in text


NOWHERE = Commit("")


def test_a_program_is_told_where_it_stands(tmp_path: Path) -> None:
    """Its parent's measurements, where the time goes, and what others traded for what: each number once a place."""
    parent = Inspiration(SEED, NOWHERE, {"startup": 0.25, "size": 11.0, "score": -39.0}, "the target's seed program")
    merged = Inspiration(AttemptId(4), NOWHERE, {"score": -2.0}, "nearer\x1b[31m\nsecond line")
    best = Inspiration(AttemptId(7), NOWHERE, {"score": -1.0, "size": 14.0})
    small = Inspiration(AttemptId(8), NOWHERE, {"score": -41.0, "size": 8.0})
    workspace = workspace_of(tmp_path)
    other = Inspiration(AttemptId(7), workspace.commit, {"score": -1.0, "size": 14.0})
    brief = Brief(
        parents=(parent, merged),
        frontier=(best, small),
        profile="60 % parse()",
        inspirations=(other, replace(other, id=8)),
    )
    text = render("implementer", told(workspace, brief)).text
    for part in (
        "# What your program comes from\n\n## The seed program\n\nWhat was measured of it:\n\n"
        "- score: -39 points (more is better)\n- size: 11 B (less is better)\n- beside the objectives: startup 0.25\n",
        "## Program 4\n\nIt says of itself: nearer [31m second line\n\nWhat was measured of it:\n\n"
        "- score: -2 points (more is better)\n- size: not measured (less is better)\n",
        "# Where the program spends its time\n\n```\n60 % parse()\n```",
        "| program | score (points), more is better | size (B), less is better |\n|---|---|---|\n"
        "| seed (yours comes from it) | -39 | 11 |\n| 4 (yours comes from it) | -2 |  |\n"
        "| 7 | -1 | 14 |\n| 8 | -41 | 8 |\n",
    ):
        assert part in text, part
    assert "The trade-offs so far" not in text, "the table says it"
    bare = render("implementer", told(workspace, replace(brief, parents=(), frontier=(), profile=""))).text
    assert "What your program comes from" not in bare
    assert "The best programs so far" not in bare
    assert "Where the program spends" not in bare
    assert "The trade-offs so far" in bare


def test_with_one_objective_a_table_tells_of_something_better() -> None:
    values = {**FULL["implementer"], "objectives": [Axis("speed", "a|b", "max", True)]}
    values |= {"frontier": [Row(3, True, ["1"]), Row(5, False, ["2"])]}
    text = render("implementer", values).text
    table = text.split("# The best programs so far\n\n")[1].split("\n\n# ")[0]
    assert table == (
        "First what yours comes from, then the best that is known:\n\n"
        "| program | speed (a/b), more is better |\n|---|---|\n| 3 (yours comes from it) | 1 |\n| 5 | 2 |"
    )


def test_diffs_are_cut_to_a_readable_size(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path)
    shown = []
    for number in range(1, 9):
        body = "".join(f"VALUE_{number}_{line} = {line}\n" for line in range(2000))
        shown.append(Inspiration(AttemptId(number), workspace.add({"answer.py": body})))
    values = told(workspace, Brief(inspirations=tuple(shown)))
    others = values["inspirations"]
    assert isinstance(others, list)
    sizes = [len(other.diff) for other in others]
    assert max(sizes) <= DIFF_CHARS + 40
    assert sum(sizes) <= DIFFS_CHARS + 8 * 240
    assert all(other.diff.startswith("diff --git") and "more lines)" in other.diff for other in others)


@settings(deadline=None)
@given(st.text(max_size=300), st.integers(1, 80))
def test_what_is_cut_keeps_whole_lines_and_counts_the_rest(text: str, chars: int) -> None:
    stripped = text.strip("\n")
    found = capped(text, chars)
    if len(stripped) <= chars:
        assert found == stripped
        return
    kept, _, last = found.rpartition("\n")
    left = int(last.removeprefix("… (").partition(" ")[0])
    lines = stripped.split("\n")
    assert len(kept.split("\n")) + left == len(lines)
    assert kept == "\n".join(lines[: len(lines) - left]) or kept == lines[0][:chars]
    assert len(kept) <= chars


@given(st.text(max_size=400))
def test_one_line_is_one_printable_line(text: str) -> None:
    line = one_line(text, 50)
    assert line.isprintable()
    assert len(line) <= 50


def test_there_are_no_trade_offs_in_one_dimension() -> None:
    pair = [Inspiration(AttemptId(n), f"{n:040x}", {"a": n, "b": -n}) for n in (1, 2)]  # type: ignore[arg-type]
    assert tradeoffs([Objective("a")], pair) == []
    assert tradeoffs([Objective("a"), Objective("b", "min")], pair[:1]) == []
    both = tradeoffs([Objective("a", unit="1"), Objective("b", "min")], pair)
    assert both == [
        "best in a is program 2: a 2; it has b -2",
        "best in b is program 2: b -2; it has a 2",
    ]


def test_templates_are_loaded_only_to_be_rendered() -> None:
    script = (
        "import sys, raysearch, mutators.coding, evaluators.reviewer, raysearch.agents.prompts\n"
        "print([m for m in ('jinja2', 'dotenv', 'ray', 'anthropic', 'openai') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
