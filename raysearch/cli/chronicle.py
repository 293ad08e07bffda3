"""``progress.md``: where a run stands and how it got there, for people and agents to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raysearch.sinks.lines import duration, frontier_cells, name_of, number, objective, one_line, unit_of
from raysearch.types import AttemptId, Objective, Outcome
from raysearch.views import Projection, Row, round_texts

FRONTIER_MAX = 20
TEXT_CHARS = 300
"""Of a summary or a reason."""


def progress(run: Projection) -> Iterator[bytes]:
    """``progress.md`` in pieces: the frontier, the attempts that entered it (the latest 200), those closed last, and
    every round of a search that works in rounds.
    """
    for line in _lines(run):
        yield f"{line}\n".encode()


def roadmap(run: Projection) -> Iterator[bytes]:
    """``roadmap.md`` as the planner left it; nothing where there is none."""
    if told := round_texts.roadmap(run.book):
        yield told.encode()


def _lines(run: Projection) -> Iterator[str]:
    start = run.started
    if start is None:
        yield "# Progress"
        return
    yield f"# Progress of {start.run}"
    yield ""
    yield f"Target {start.target}: {', '.join(map(objective, start.objectives))}."
    counts = ", ".join(f"{run.counts[outcome]} {outcome}" for outcome in Outcome)
    state = f"ended: {run.stopped_by}" if run.ended else run.stopped_by or ("paused" if run.paused else "under way")
    yield f"{run.attempts} attempts: {counts}. {duration(run.run_s)}, ${run.cost_usd:.2f}. {one_line(state)}."
    yield ""
    yield "## The frontier"
    yield ""
    members = run.skyline.top(FRONTIER_MAX)
    yield from _table(frontier_cells(start.objectives, members)) if members else ["Nobody yet."]
    if len(run.skyline) > FRONTIER_MAX:
        yield f"\n… and {len(run.skyline) - FRONTIER_MAX} more"
    if run.milestones:
        yield from ("", "## How it came about", "")
        yield from (_milestone(row, start.objectives) for row in run.milestones)
    if run.recent:
        yield from ("", "## Closed last", "")
        yield from (_closed(row, start.objectives) for row in run.recent)
    if told := round_texts.progress(run.book):
        yield f"\n{told.rstrip()}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Of Markdown."""
    for index, row in enumerate(rows):
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
        if not index:
            yield "|" + "---|" * len(row)


def _milestone(row: Row, objectives: Sequence[Objective]) -> str:
    said = _cut(row["summary"])
    return f"- {_who(row)}: {_scores(row, objectives)}" + (f". {said}" if said else "")


def _closed(row: Row, objectives: Sequence[Objective]) -> str:
    reason = _cut(row["reason"])
    said = f": {reason}" if reason else f": {_scores(row, objectives)}" if row["metrics"] else ""
    return f"- {_who(row)} {row['outcome']}{said}"


def _who(row: Row) -> str:
    """``#12 (claude, from #9)``."""
    attempt = row["attempt"]
    if not isinstance(attempt, int) or not attempt:
        return "seed"
    parents = row["parents"]
    names = [name_of(AttemptId(parent)) for parent in parents] if isinstance(parents, list) else []
    repaired = [f"mending #{row['repair']}"] if row["repair"] is not None else []
    how = [one_line(str(row["mutator"]), 40), *([f"from {' and '.join(names)}"] if names else []), *repaired]
    return f"#{attempt} ({', '.join(how)})"


def _scores(row: Row, objectives: Sequence[Objective]) -> str:
    found = row["metrics"]
    measured = found if isinstance(found, dict) else {}
    shown = [(axis, measured.get(axis.name)) for axis in objectives]
    words = [f"{axis.name} {number(value)} {unit_of(axis.unit)}".rstrip() for axis, value in shown if value is not None]
    return ", ".join(words) or "not measured"


def _cut(text: object) -> str:
    return one_line(str(text), TEXT_CHARS)
