"""One picture of a run, drawn to fit a terminal of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from raysearch.sinks.lines import duration, frontier_cells, metrics, name_of, number, one_line
from raysearch.sinks.progress import Closed, Lane, Progress
from raysearch.types import AttemptId, Outcome, Stage

STYLE_OF = {
    Outcome.ADMITTED: "green",
    Outcome.REJECTED: "yellow",
    Outcome.FAILED: "red",
    Outcome.ABANDONED: "dim",
}
VERB_OF = {Stage.MUTATE: "mutating", Stage.JUDGE: "judging", Stage.BENCHMARK: "measuring"}

AIRY_FROM = 32
"""Rows from which on there is an empty one above each table."""
WIDE_FROM = 110
"""Columns from which on what closed also shows who made it."""


@dataclass(frozen=True, slots=True)
class Space:
    """Rows for each part of the picture."""

    frontier: int
    lanes: int
    recent: int


def frame(progress: Progress, width: int, height: int, notice: str = "") -> RenderableType:
    """The whole picture, ``height`` rows at most. ``notice`` is what a person must know now."""
    parts: list[RenderableType] = [_title(progress, width), _budgets(progress, width), _counts(progress)]
    if notice:
        parts.append(_line([(notice, "bold yellow")]))
    gap = [Text("")] if height >= AIRY_FROM else []
    space = share(height - 2 - max(len(_bars(progress)), 1) - bool(notice) - 3 * len(gap), progress)
    if space.frontier:
        heading = _heading("frontier", _of(space.frontier, progress.frontier_size))
        parts += [*gap, heading, _frontier(progress, space.frontier)]
    if space.lanes:
        parts += [*gap, _heading("under way", _of(space.lanes, len(progress.lanes))), _lanes(progress, space.lanes)]
    if space.recent:
        parts += [*gap, _heading("closed last", ""), _recent(progress, space.recent, wide=width >= WIDE_FROM)]
    return Group(*parts)


def share(rows: int, progress: Progress) -> Space:
    """Divide ``rows`` among the three tables; each also takes a row of heading, the frontier two.

    Lanes come first, as they are few; then the frontier up to half of the rest; what closed last fills up.
    """
    free = rows - 4
    lanes = min(len(progress.lanes), max(free * 2 // 5, 0))
    free -= lanes
    frontier = min(len(progress.members), max(free // 2, 0))
    free -= frontier
    recent = min(len(progress.recent), max(free, 0))
    frontier = min(len(progress.members), max(frontier + free - recent, 0))
    return Space(frontier, lanes, recent)


def _of(shown: int, total: int) -> str:
    return str(total) if shown >= total else f"{shown} of {total}"


def _heading(name: str, detail: str) -> Text:
    return Text.assemble((name, "bold"), (f" {detail}" if detail else "", "dim"))


def _line(parts: Iterable[str | tuple[str, str]]) -> Text:
    text = Text.assemble(*parts)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _title(progress: Progress, width: int) -> Text:
    start = progress.started
    left = Text.assemble(("raysearch", "bold cyan"), f" {one_line(start.run)}" if start else "")
    facts = [duration(progress.elapsed_s())]
    if progress.per_minute():
        facts.append(f"{number(progress.per_minute(), 3)} a minute")
    remaining = progress.left_s()
    if remaining is not None and not progress.over:
        facts.append(f"about {duration(remaining)} left")
    right = " · ".join(facts)
    left.truncate(max(width - len(right) - 2, 12), overflow="ellipsis")
    left.append(" " * max(width - left.cell_len - len(right), 1))
    left.append(right, style="dim")
    left.no_wrap, left.overflow = True, "ellipsis"
    return left


def _bars(progress: Progress) -> list[tuple[str, float, float, Callable[[float], str]]]:
    """Name, spent, limit and wording of each budget."""
    limits = progress.limits
    bars: list[tuple[str, float, float, Callable[[float], str]]] = []
    if limits.attempts_max is not None:
        bars.append(("candidates", progress.closed, limits.attempts_max, number))
    if limits.run_s is not None:
        bars.append(("time", progress.elapsed_s(), limits.run_s, duration))
    if limits.cost_usd is not None:
        bars.append(("cost", progress.cost_usd, limits.cost_usd, lambda value: f"${value:.2f}"))
    return bars


def _budgets(progress: Progress, width: int) -> RenderableType:
    bars = _bars(progress)
    if not bars:
        return _line([("no budget: until the policy has no more to ask, or Ctrl-C", "dim")])
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=10)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    for name, done, total, shown in bars:
        bar = ProgressBar(total=max(total, 1e-9), completed=min(done, total), width=max(min(width - 36, 80), 8))
        table.add_row(name, bar, f"{shown(done)} / {shown(total)}")
    return table


def _counts(progress: Progress) -> Text:
    parts: list[str | tuple[str, str]] = [f"{progress.closed} closed"]
    for outcome, count in progress.counts.items():
        if count or outcome in {Outcome.ADMITTED, Outcome.REJECTED}:
            parts.append((f"  {count} {outcome}", STYLE_OF[outcome]))
    if progress.faults:
        parts.append((f"  {progress.faults} faults", "red"))
    if progress.cost_usd:
        parts.append(f"  ${progress.cost_usd:.2f}")
    if progress.issues:
        parts.append(f"  {progress.issues} {'issues' if progress.issues > 1 else 'issue'} open")
    if progress.paused:
        parts.append(("  paused", "bold yellow"))
    return _line(parts)


def _table(*columns: str, header: bool) -> Table:
    """A bare table; columns whose name ends in ``>`` are flush right."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=header, header_style="dim", pad_edge=False)
    for column in columns:
        right = column.endswith(">")
        name = Text(column.rstrip(">"))
        table.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    return table


def _add(table: Table, *cells: str | Text) -> None:
    """A row of cells taken literally: programs under test write parts of them."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def _frontier(progress: Progress, rows: int) -> RenderableType:
    start = progress.started
    heading, *cells = frontier_cells(start.objectives if start else (), progress.members[:rows])
    table = _table(">", *(f"{name}>" for name in heading[1:-3]), *heading[-3:], header=True)
    for row in cells:
        _add(table, *row)
    return table


def _lanes(progress: Progress, rows: int) -> RenderableType:
    table = _table(">", "", "", "", ">", header=False)
    now_s = progress.clock()
    for lane in list(progress.lanes.values())[:rows]:
        _add(table, name_of(lane.attempt), *_work(lane), _from(lane.parents), duration(now_s - lane.since_s))
    return table


def _work(lane: Lane) -> tuple[str, str]:
    if lane.stage is None:
        return "waiting", ""
    again = f" (try {lane.try_number + 1})" if lane.try_number else ""
    return VERB_OF[lane.stage], one_line(lane.plugin, 40) + again


def _from(parents: Sequence[AttemptId]) -> str:
    return f"from {' '.join(map(name_of, parents))}" if parents else ""


def _recent(progress: Progress, rows: int, wide: bool) -> RenderableType:
    table = _table(">", "", *(("", "", ">") if wide else ()), "", header=False)
    for closed in reversed(list(progress.recent)[-rows:]):
        mark = Text(f"{closed.outcome}{' *' if closed.entered else ''}", style=STYLE_OF[closed.outcome])
        how = (one_line(closed.mutator, 24), _from(closed.parents), duration(closed.took_s)) if wide else ()
        _add(table, name_of(closed.attempt), mark, *how, _said(closed))
    return table


def _said(closed: Closed) -> str:
    return metrics(closed.measurements) if closed.measurements else one_line(closed.reason, 200)
