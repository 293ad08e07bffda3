"""What was measured of an exported program, as Markdown, as plain data and as a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from raysearch.run.ablation import Ablated, Beside, standing
from raysearch.run.gains import SEED_PROGRAM, Gains
from raysearch.sinks.lines import name_of, number, one_line, unit_of
from raysearch.types import Comparison, Objective
from raysearch.views.rows import SCHEMA, Row, plain

_SAYS = {
    "better": "better",
    "worse": "worse",
    "no_worthwhile_gain": "no gain worth claiming",
    "unsettled": "not settled",
}
_CARRIES = {
    "carries": "carries gain",
    "none": "no gain worth claiming",
    "costs": "costs: better without it",
    "unsettled": "not settled",
    "unknown": "not measured",
}


def document(gains: Gains) -> Row:
    """``gains.json``."""
    return {
        "schema": SCHEMA,
        "measured": not gains.why_not,
        "why_not": gains.why_not,
        "refused": gains.refused,
        "inputs_seed": gains.seed,
        "measured_at_s": gains.measured_at_s,
        "pairs_max": gains.extent.pairs_max,
        "time_s": gains.extent.time_s,
        "level": gains.extent.level,
        "conditions": dict(gains.conditions),
        "against": [{"name": a.name, "stands_for": a.stands_for, **_beside(a.beside)} for a in gains.against],
        "ablation": None if gains.ablated is None else [_ablated(each) for each in gains.ablated],
    }


def _beside(found: Beside) -> Row:
    return {"why_not": found.why, "contest": None if found.contest is None else plain(found.contest)}


def _ablated(found: Ablated) -> Row:
    link = found.link
    head = {"id": link.id, "commit": link.commit, "parent": link.parent, "merged": list(link.merged)}
    more = {"mutator": link.mutator, "summary": link.summary, "carries": found.carries}
    return {**head, **more, "step": _beside(found.step), "left_out": _beside(found.left_out)}


def page(gains: Gains, again: str, commits: int, picture: str = "") -> str:
    """The sections of the report. ``again`` is the command that would measure, ``picture`` a file beside it."""
    lines = ["## Measured beside others", ""]
    if gains.why_not:
        because = f" {_cell(gains.refused)}" if gains.refused else ""
        lines += [f"**Not measured here:** {_cell(gains.why_not)}.{because}", "", f"To measure it: `{again}`", ""]
        return "\n".join(lines)
    lines += [
        "Measured for this report on this machine, in turns: the order of each is drawn, and inputs are drawn afresh",
        "(seed "
        + f"{gains.seed}). Gains are those of the program in `program/`: 1.5 × is one and a half times as good.",
        "Intervals hold with 95 %, each for itself, whenever its pairs ended; `gains.json` has every number.",
        "",
        "| beside | objective | gain | interval | pairs | says |",
        "|---|---|---|---|---|---|",
    ]
    for one in gains.against:
        name = "the seed program" if one.name == SEED_PROGRAM else f"baseline {one.name}"
        named = name if one.name == SEED_PROGRAM or not one.stands_for else f"{name} ({_cell(one.stands_for)})"
        lines += [f"| {named} | {cells} |" for cells in _rows(one.beside)]
    if picture:
        lines += ["", f"![gains]({picture})"]
    lines += ["", "## Which commits carry the gain", ""]
    if gains.ablated is None:
        many = f"its {commits} commits carry" if commits > 1 else "its one commit carries"
        return "\n".join([*lines, f"Not measured. Whether {many} it, say: `{again} --ablate`", ""])
    return "\n".join([*lines, *_ablation(gains.ablated), ""])


def conclusion(ablation: Sequence[Ablated]) -> str:
    """Which commits carry the gain, in one sentence."""
    parts = []
    for carries, words in _CARRIES.items():
        names = [name_of(each.link.id) for each in ablation if each.carries == carries]
        if names:
            parts.append(f"{words}: {', '.join(names)}")
    return "; ".join(parts) or "there are no commits"


def _ablation(ablation: Sequence[Ablated]) -> Iterator[str]:
    yield f"**{conclusion(ablation).capitalize()}.**"
    yield ""
    yield "*Step* is the program of the commit beside the one that it was made from. *In the end* is the program in"
    yield "`program/` beside itself without that commit, where it comes out of it alone; that decides what is said."
    yield ""
    yield "| commit | what it says of itself | measured | objective | gain | interval | pairs | says |"
    yield "|---|---|---|---|---|---|---|---|"
    for each in ablation:
        link = each.link
        merged = f" (merges {', '.join(map(name_of, link.merged))})" if link.merged else ""
        head = f"{name_of(link.id)} `{link.commit[:10]}`{merged} | {_cell(link.summary or link.mutator)}"
        for what, beside in (("step", each.step), ("in the end", each.left_out)):
            if what == "in the end" and beside is each.step:
                yield f"| {head} | in the end | | as its step: it is the last | | | |"
                continue
            for cells in _rows(beside):
                yield f"| {head} | {what} | {cells} |"


def _rows(beside: Beside) -> Iterator[str]:
    if beside.contest is None:
        yield f"| {_cell(beside.why)} | | |"
        return
    for found in beside.contest.comparisons:
        low, high = shown(found, found.low, "-∞"), shown(found, found.high, "∞")
        name = f"{found.metric} ({found.goal})"
        yield f"{name} | {shown(found, found.effect, '?')} | {low} to {high} | {found.pairs} | {_SAYS[standing(found)]}"


def shown(found: Comparison, value: float | None, bound: str) -> str:
    """A gain as people say it: ``1.51 ×`` of something, ``+0.02 %`` where that would be 1, or ``+0.3 ms``."""
    if value is None:
        return "0 ×" if found.relative and bound.startswith("-") else bound
    if found.relative and 0 < abs(value) < 0.001:
        return f"{'+' * (value > 0)}{number(100 * value, 2)} %"
    if found.relative:
        return f"{number(1 + value, 4)} ×"
    return f"{'+' * (value > 0)}{number(value, 4)} {unit_of(found.unit)}".rstrip()


def said(gains: Gains, objectives: Sequence[Objective]) -> str:
    """One line for whoever exports."""
    if gains.why_not:
        return f"not measured here: {gains.why_not}" + (f": {gains.refused}" if gains.refused else "")
    first = next((o.name for o in objectives if o.primary), "")
    parts = []
    for one in gains.against:
        name = "the seed program" if one.name == SEED_PROGRAM else f"baseline {one.name}"
        found = _of(one.beside, first)
        if found is None:
            parts.append(f"beside {name}: {one.beside.why}")
        else:
            interval = f"{shown(found, found.low, '-∞')} to {shown(found, found.high, '∞')}"
            effect = shown(found, found.effect, "?")
            parts.append(f"beside {name}: {found.metric} {effect}, {interval}, {_pairs(found)}")
    if gains.ablated is not None:
        parts.append(conclusion(gains.ablated))
    return "\n".join(parts)


def _of(beside: Beside, metric: str) -> Comparison | None:
    found = beside.contest.comparisons if beside.contest is not None else ()
    return next((one for one in found if one.metric == metric), found[0] if found else None)


def _pairs(found: Comparison) -> str:
    return f"{found.pairs} pair{'s' * (found.pairs != 1)}"


def _cell(text: str) -> str:
    """Text that cannot leave its cell, nor its line."""
    return one_line(text, 300).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


@dataclass(frozen=True, slots=True)
class _Mark:
    label: str
    found: Comparison
    filled: bool


WIDTH, LEFT, RIGHT, ROW = 760, 250, 150, 26
"""Pixels: of the picture, of its labels, of its values, and of a row."""


def picture(gains: Gains, metric: str) -> str:
    """Gains in one objective with their intervals, as an SVG; empty where there are none."""
    marks = list(_marks(gains, metric))
    marks = [mark for mark in marks if mark.found.relative == marks[0].found.relative]
    if not marks:
        return ""
    relative = marks[0].found.relative
    ends = [0.0]
    for mark in marks:
        values = (mark.found.low, mark.found.effect, mark.found.high)
        ends += [place for value in values if (place := _place(value, relative)) is not None]
    low, high = min(ends), max(ends)
    margin = 0.05 * (high - low) or 0.1
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    height = ROW * (len(marks) + 2)
    title = escape(f"gain in {metric}, with 95 % intervals; the line is no gain" + (", log scale" * relative))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="sans-serif" font-size="12">',
        f"<title>{title}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="18" font-weight="bold">{title}</text>',
        f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{ROW}" y2="{height - ROW / 2:.0f}" stroke="#999999"/>',
    ]
    for index, mark in enumerate(marks):
        lines += _row(mark, index, x, (low, high))
    return "\n".join([*lines, "</svg>", ""])


def _marks(gains: Gains, metric: str) -> Iterator[_Mark]:
    found = []
    for one in gains.against:
        name = "beside the seed program" if one.name == SEED_PROGRAM else f"beside {one.name}"
        found.append((name, one.beside, True))
    for each in gains.ablated or ():
        found.append((f"{name_of(each.link.id)}: step", each.step, False))
        if each.left_out is not each.step:
            found.append((f"{name_of(each.link.id)}: in the end", each.left_out, True))
    for label, beside, filled in found:
        comparisons = beside.contest.comparisons if beside.contest is not None else ()
        for comparison in comparisons:
            if comparison.metric == metric and comparison.effect is not None:
                yield _Mark(label, comparison, filled)


def _row(mark: _Mark, index: int, x: Callable[[float], float], span: tuple[float, float]) -> Iterator[str]:
    found, y = mark.found, ROW * (index + 1.5)
    places = [_place(value, found.relative) for value in (found.low, found.effect, found.high)]
    low, middle, high = (
        end if place is None else place for place, end in zip(places, (span[0], 0.0, span[1]), strict=True)
    )
    colour = {"better": "#0072b2", "worse": "#d55e00"}.get(standing(found), "#555555")
    value = f"{shown(found, found.effect, '?')} ({_pairs(found)})"
    fill = colour if mark.filled else "#ffffff"
    yield f'<text x="8" y="{y + 4:.1f}">{escape(one_line(mark.label, 36))}</text>'
    yield f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
    yield f'<circle cx="{x(middle):.1f}" cy="{y}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
    yield f'<text x="{WIDTH - RIGHT + 10}" y="{y + 4:.1f}">{escape(value)}</text>'


def _place(value: float | None, relative: bool) -> float | None:
    """Where a gain lies: by its logarithm where it is a ratio less one; nowhere without bound."""
    if value is None or (relative and value <= -1):
        return None
    return math.log1p(value) if relative else value
