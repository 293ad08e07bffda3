"""What the plain loop tells those who work for it. Nothing here knows what kind of program it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from population.policies.backlog import FAILED, ME, cut
from raysearch.board import Action, Board, Comment, Filing, Issue, Kind
from raysearch.consultation import Level
from raysearch.loads import LoadLevel
from raysearch.types import CandidateId, Measurement, Objective

BODY_CHARS, EVIDENCE_CHARS = 8_000, 4_000
"""Of an issue, as whoever works on it is told it."""
COMMENTS_SHOWN, COMMENT_CHARS = 10, 700
"""The latest ones."""
REPORT_CHARS = 2_000
"""Of the previous evaluation, as the next one is told it."""
SETTLED_SHOWN = 12
METRICS_SHOWN = 8
"""Of one load."""
_SILENT = frozenset({Action.CLAIM, Action.PRIORITISE})
"""What says nothing of the matter."""
_WANTED: Mapping[Kind, str] = {
    Kind.BUG: "It is a bug: something is wrong. Mend the cause, and change nothing else.",
    Kind.FEATURE: "It is a feature: something is missing. Add all of it, and keep right what was right.",
    Kind.PERF: "It is about performance: make that better and no other measure worse, and keep right what was right.",
}


def first_issue(target: str, objectives: Sequence[Objective], standing: Mapping[str, float], refusal: str) -> Filing:
    """The feature with which an empty board begins.

    ``standing``: what the program that there is scored; ``refusal``: why it was refused, if it was.
    """
    measures = "; ".join(f"{axis.name}{_unit(axis.unit)}, {_wanted(axis)} is better" for axis in objectives)
    text = (
        f"Read the objective of {target} and make the program do all that it asks for. What is right already stays;"
        f" what is missing is added. It is measured by: {measures}."
    )
    evidence = ""
    if standing:
        evidence = f"The program as it is passed every gate: {_scores(standing, objectives)}."
    elif refusal:
        evidence = f"The program as it is was refused: {cut(refusal, COMMENT_CHARS)}"
    title = "Do all that the objective asks for"
    return Filing(Action.CREATE, ME, kind=Kind.FEATURE, title=title, text=text, evidence=evidence)


def next_gain(
    axis: Objective, objectives: Sequence[Objective], head: CandidateId, standing: Mapping[str, float]
) -> Filing:
    """What the loop files for itself where there is nobody to evaluate the program: to better one measure."""
    text = f"Find out what {axis.name} depends on, and make it better: {_wanted(axis)} is better."
    evidence = f"Candidate {head}: {_scores(standing, objectives)}."
    title = f"Better {axis.name} than candidate {head}"
    return Filing(Action.CREATE, ME, kind=Kind.PERF, title=title, text=text, evidence=evidence)


def work_on(issue: Issue) -> str:
    """The task of whoever works on ``issue``. What came of earlier attempts is told elsewhere in the brief."""
    parts = [
        f"Work on issue {issue.number}, and on nothing else.",
        _WANTED[issue.kind],
        f"## {issue.title}",
        cut(issue.body, BODY_CHARS),
    ]
    if issue.evidence.strip():
        parts.append(f"## Evidence\n\n{cut(issue.evidence, EVIDENCE_CHARS)}")
    said = [_said(comment) for comment in issue.comments if _tells(comment)]
    if said:
        parts.append("## What was said of it since\n\n" + "\n".join(said[-COMMENTS_SHOWN:]))
    if issue.author.role != ME.role:
        parts.append(f"Filed by {issue.author}.")
    return "\n\n".join(part for part in parts if part)


def evaluate(head: CandidateId, loads: Sequence[LoadLevel], issues_max: int, settled: str, previous: str) -> str:
    """What a performance evaluator is asked about ``head``."""
    ladder = "\n".join(
        f"- {load.rate_per_s:g} a second for {load.duration_s:g} s, each answer cut off at length {load.max_tokens}"
        for load in loads
    )
    most = "1 issue" if issues_max == 1 else f"{issues_max} issues"
    parts = [
        f"Candidate {head} is the program as it stands, and no issue is open. How does it perform, from light load to"
        " heavy, and where does it stop keeping up? Say how each measure changes from one load to the next, and since"
        " the previous evaluation.",
        f"The loads:\n\n{ladder}",
        f"## Since the previous evaluation\n\n{settled}" if settled else "",
        f"## The previous evaluation\n\n{previous}" if previous else "",
        f"For what should be done next, file {most} at most, each with the figures that show it, the most urgent with"
        " the highest priority; what goes beyond that is closed unread, lowest priority first. File nothing that stands"
        " on the board already. If nothing is worth the work, file nothing: the search is then over.",
    ]
    return "\n\n".join(part for part in parts if part)


def settled(board: Board, numbers: Iterable[int]) -> str:
    """What became of these issues, a line each, the latest ones."""
    issues = [board.issues[number] for number in numbers if number in board.issues]
    rows = [f"- {issue.kind} {issue.number} is {issue.status}: {issue.title}" for issue in issues]
    return "\n".join(rows[-SETTLED_SHOWN:])


def report(head: CandidateId, text: str, levels: Iterable[Level]) -> str:
    """What an evaluation said, for the next one."""
    rows = [f"- {level.name}: {_measured(level.measurements)}" for level in levels]
    return cut("\n".join([f"Of candidate {head}.", *rows, cut(text, REPORT_CHARS)]), 2 * REPORT_CHARS)


def no_gain(attempt: int, new: Mapping[str, float], old: Mapping[str, float], objectives: Sequence[Objective]) -> str:
    """Why a program that passed every gate is not gone on from."""
    parts = [f"{o.name} {new[o.name]:g} against {old[o.name]:g}{_unit(o.unit)}" for o in objectives]
    return f"attempt {attempt} passed every gate, but is worse: {', '.join(parts)}"


def _tells(comment: Comment) -> bool:
    if comment.author == ME and (comment.action is Action.RELEASE or comment.evidence.startswith(FAILED)):
        return False
    return bool(comment.text.strip()) and comment.action not in _SILENT


def _said(comment: Comment) -> str:
    shown = f" ({cut(comment.evidence, COMMENT_CHARS)})" if comment.evidence.strip() else ""
    return f"- {comment.author}: {cut(comment.text, COMMENT_CHARS)}{shown}"


def _measured(measurements: Sequence[Measurement]) -> str:
    return ", ".join(f"{m.name} {m.value:g}{_unit(m.unit)}" for m in measurements[:METRICS_SHOWN])


def _scores(standing: Mapping[str, float], objectives: Sequence[Objective]) -> str:
    return ", ".join(f"{o.name} {standing[o.name]:g}{_unit(o.unit)}" for o in objectives if o.name in standing)


def _wanted(axis: Objective) -> str:
    return "more" if axis.goal == "max" else "less"


def _unit(unit: str) -> str:
    return f" {unit}" if unit not in ("", "1") else ""
