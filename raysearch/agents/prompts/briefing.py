"""From a workspace and a brief to the values that prompts are rendered from."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from raysearch.consultation import Level
from raysearch.protocols import Workspace
from raysearch.target import EvaluatorCommand, Target
from raysearch.types import Brief, Inspiration, Objective

DIFF_CHARS = 8_000
"""Of one inspiration."""
DIFFS_CHARS = 24_000
"""Of all of them together."""
TEXT_CHARS = 6_000
"""Of a reason, a lesson, a memory."""
CHECKER = "the target's accuracy checker"


@dataclass(frozen=True, slots=True)
class Axis:
    """An objective as prompts name it."""

    name: str
    unit: str
    goal: str
    primary: bool


@dataclass(frozen=True, slots=True)
class Other:
    """An inspiration as prompts show it."""

    id: int
    scores: str
    summary: str
    diff: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A parent as prompts show it: a line for each objective, and one for all other metrics."""

    id: int
    summary: str
    scores: list[str]
    others: str


@dataclass(frozen=True, slots=True)
class Row:
    """A program in the table of trade-offs: a value for each objective."""

    id: int
    parent: bool
    values: list[str]


@dataclass(frozen=True, slots=True)
class Trial:
    """A command that the agent may call for itself."""

    name: str
    command: str


def goal(target: Target) -> dict[str, object]:
    """The values that every role is told: the target's own text, and what is measured."""
    return {
        "objective": target.objective.strip(),
        "objectives": [Axis(o.name, _unit(o), o.goal, o.primary) for o in target.objectives],
    }


def told(workspace: Workspace, brief: Brief, judges: Sequence[str] = ("accuracy",)) -> dict[str, object]:
    """The values of the prompt of an implementer. ``judges`` are the names of those that the attempt must pass."""
    target = workspace.target
    return {
        **goal(target),
        "gates": gates(judges),
        "editable": list(target.editable),
        "trials": trials(target),
        "task": brief.task.strip(),
        "blank": not any(workspace.path.iterdir()),
        "feedback": capped(brief.feedback, TEXT_CHARS),
        "lessons": [capped(lesson, TEXT_CHARS) for lesson in brief.lessons],
        "memory": capped(brief.memory, TEXT_CHARS),
        "parents": [standing(target.objectives, parent) for parent in brief.parents],
        "profile": capped(brief.profile, TEXT_CHARS),
        "frontier": table(target.objectives, brief),
        "messages": [capped(message, TEXT_CHARS) for message in brief.messages],
        "inspirations": others(workspace, brief.inspirations),
        "tradeoffs": [] if brief.frontier else tradeoffs(target.objectives, brief.inspirations),
    }


def consulted(workspace: Workspace, brief: Brief) -> dict[str, object]:
    """The values of the prompt of whoever is asked about a program; ``brief.task`` is the question."""
    target = workspace.target
    return {
        **goal(target),
        "question": capped(brief.task, 4 * TEXT_CHARS),
        "lessons": [capped(lesson, TEXT_CHARS) for lesson in brief.lessons],
        "memory": capped(brief.memory, 4 * TEXT_CHARS),
        "parents": [standing(target.objectives, parent) for parent in brief.parents],
        "profile": capped(brief.profile, TEXT_CHARS),
        "frontier": table(target.objectives, brief),
        "messages": [capped(message, TEXT_CHARS) for message in brief.messages],
    }


def rows(levels: Sequence[Level]) -> list[str]:
    """What was measured under each load, a line for each metric."""
    return [
        f"{level.name}: {m.name} {m.value:.6g} {m.unit} (median of {len(m.samples)}, {m.goal} is better)"
        for level in levels
        for m in level.measurements
    ]


def standing(objectives: Sequence[Objective], parent: Inspiration) -> Standing:
    """What was measured of a parent, the objectives first, each with its direction."""
    lines = []
    for o in objectives:
        value = f"{parent.scores[o.name]:.6g} {_unit(o)}".rstrip() if o.name in parent.scores else "not measured"
        lines.append(f"{o.name}: {value} ({_better(o)})")
    axes = {o.name for o in objectives}
    rest = [f"{one_line(name, 60)} {value:.6g}" for name, value in parent.scores.items() if name not in axes]
    return Standing(int(parent.id), one_line(parent.summary), lines, ", ".join(rest))


def table(objectives: Sequence[Objective], brief: Brief) -> list[Row]:
    """The parents and then the frontier, in the objectives' order; nothing without a frontier."""
    shown = [(other, True) for other in brief.parents] + [(other, False) for other in brief.frontier]
    return [
        Row(
            int(other.id), parent, [f"{other.scores[o.name]:.6g}" if o.name in other.scores else "" for o in objectives]
        )
        for other, parent in (shown if brief.frontier else ())
    ]


def gates(judges: Iterable[str]) -> list[str]:
    """Who says yes or no, in words."""
    return [CHECKER if name == "accuracy" else f"the judge {name!r}" for name in judges]


def trials(target: Target) -> list[Trial]:
    """The target's own commands, as an agent can call them in its sandbox."""
    return [
        Trial("accuracy checker", _command(target, target.checker)),
        Trial("benchmark", _command(target, target.benchmark)),
    ]


def others(workspace: Workspace, inspirations: Sequence[Inspiration]) -> list[Other]:
    """Other candidates with what sets them apart from the program, the diffs cut to a readable size."""
    found, left = [], DIFFS_CHARS
    for other in inspirations:
        diff = capped(workspace.diff(workspace.commit, other.commit), max(200, min(DIFF_CHARS, left)))
        left -= len(diff)
        scores = ", ".join(scored(workspace.target.objectives, other.scores))
        found.append(Other(int(other.id), scores, one_line(other.summary), diff))
    return found


def scored(objectives: Sequence[Objective], scores: Mapping[str, float]) -> list[str]:
    """``name value unit`` of each objective that was measured."""
    return [f"{o.name} {scores[o.name]:.6g} {_unit(o)}".rstrip() for o in objectives if o.name in scores]


def tradeoffs(objectives: Sequence[Objective], inspirations: Sequence[Inspiration]) -> list[str]:
    """Of several candidates the best in each of several objectives, and what that one has of the others."""
    lines = []
    for objective in objectives if len(objectives) > 1 and len(inspirations) > 1 else ():
        measured = [other for other in inspirations if objective.name in other.scores]
        if not measured:
            continue
        best = max(measured, key=lambda other: (objective.sign * other.scores[objective.name], -other.id))
        rest = scored([o for o in objectives if o is not objective], best.scores)
        value = scored([objective], best.scores)[0]
        lines.append(f"best in {objective.name} is program {best.id}: {value}; it has {', '.join(rest)}")
    return lines


def capped(text: str, chars: int) -> str:
    """``text``, stripped; of one that is longer than ``chars`` the first whole lines, and how many more there are."""
    text = text.strip("\n")
    if len(text) <= chars:
        return text
    lines = text.split("\n")
    kept, size = 0, 0
    while kept < len(lines) and size + len(lines[kept]) + 1 <= chars:
        size += len(lines[kept]) + 1
        kept += 1
    head = lines[:kept] or [lines[0][:chars]]
    return "\n".join([*head, f"… ({len(lines) - len(head)} more lines)"])


def one_line(text: str, chars: int = 300) -> str:
    """``text`` on one line, without what is not printable, cut after ``chars``."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= chars else line[: chars - 1] + "…"


def _better(objective: Objective) -> str:
    return "more is better" if objective.goal == "max" else "less is better"


def _unit(objective: Objective) -> str:
    return "" if objective.unit == "1" else objective.unit


def _command(target: Target, evaluator: EvaluatorCommand) -> str:
    folder = "$RAYSEARCH_TARGET"
    if evaluator.folder.is_relative_to(target.root):
        folder += f"/{evaluator.folder.relative_to(target.root).as_posix()}".removesuffix("/.")
    words = " ".join(map(_word, evaluator.command))
    arguments = '--candidate "$RAYSEARCH_CANDIDATE" --reference "$RAYSEARCH_REFERENCE" --seed 1 --result FILE'
    return f'cd "{folder}" && {words} {arguments}'


def _word(word: str) -> str:
    inside = "{target}" in word
    return f'"{word.replace("{target}", "$RAYSEARCH_TARGET")}"' if inside else shlex.quote(word)
