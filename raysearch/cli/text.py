"""Plain text for people: tables and the two pages of ``show``."""

from __future__ import annotations

import time
from collections.abc import Sequence

from raysearch.facts import AttemptClosed, AttemptOpened, Compared, Entry, JobFailed, Judged, Measured, Mutated
from raysearch.sinks.lines import (
    budget,
    contest,
    duration,
    frontier_cells,
    name_of,
    number,
    objective,
    one_line,
    unit_of,
    verdict,
)
from raysearch.types import Brief, Candidate, Inspiration, Objective, Outcome, Verdict
from raysearch.views import Projection, counts, gain, mutators, per_dollar, primary_of

LABEL = 11
CASES_MAX = 10


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = (), indent: int = 2) -> str:
    """Rows as aligned columns two spaces apart; columns in ``right`` are flush right; nothing trails."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((" " * indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def frontier(objectives: Sequence[Objective], members: Sequence[Candidate]) -> str:
    """The frontier, best on the primary objective first."""
    if not members:
        return "  no candidate yet"
    rows = frontier_cells(objectives, members)
    return table(rows, right=range(len(rows[0]) - 3))


def line(label: str, text: str) -> str:
    return f"{label:<{LABEL}}{text}".rstrip()


def over(run: Projection) -> list[str]:
    """The best beside the seed and the baselines, measured in turns."""
    best, lines = run.skyline.best, [f"{name} was refused: {why}" for name, why in run.beside.refused.items()]
    if best is None or best.id in run.beside.names:
        return lines and ["", *lines]
    met = list(run.beside.of(best))
    lines[:0] = [f"{name_of(best.id)} over {name}: {contest(held)}" for name, held in met]
    if not met:
        lines[:0] = [f"{name_of(best.id)} was not measured in turns with the seed: `raysearch export` does it anew"]
    return ["", *lines]


def run_page(run: Projection, where: str, standing: str, rows_max: int = 20) -> str:
    """All of a run on one page."""
    start = run.started
    if start is None:
        return line("run", f"{where}: nothing has happened yet")
    ends = ", ".join(f"{run.counts[outcome]} {outcome}" for outcome in Outcome)
    members = run.skyline.top(rows_max)
    more = f", the first {rows_max}" if len(run.skyline) > rows_max else ""
    parts = [
        line("run", f"{start.run}  ({where})"),
        line("target", f"{start.target}, {', '.join(map(objective, start.objectives))}; seed {start.seed}"),
        line("began", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.began_at_s))),
        line("state", standing),
        line("attempts", f"{run.attempts}: {ends}; {len(run.traces)} under way"),
        *_board(run),
        *_missed(run),
        line("spent", f"{duration(run.run_s)}, {_money(run.cost_usd)}; budget {budget(run.limits)}"),
        "",
        f"frontier: {len(run.skyline)}{more}",
        frontier(start.objectives, members),
        *over(run),
    ]
    if run.mutators:
        parts += ["", "mutators", _mutators(run)]
    if run.spending.by:
        parts += ["", "models", _models(run)]
    if run.recent:
        parts += ["", "closed last", _recent(run)]
    return "\n".join(parts)


def _missed(run: Projection) -> list[str]:
    """What many at once cost: children of parents that were not the newest."""
    found = run.staleness
    if not found.most:
        return []
    told = f"a child missed {found.mean:.1f} candidates that came while it was made, {found.most} at most"
    return [line("staleness", told)]


def _board(run: Projection) -> list[str]:
    counted = counts(run.board, run.over)
    there = {status.replace("_", " "): count for status, count in counted.items() if count}
    return [line("issues", ", ".join(f"{count} {status}" for status, count in there.items()))] if there else []


def _mutators(run: Projection) -> str:
    keys = ("mutator", "attempts", *(outcome.value for outcome in Outcome), "frontier", "cost_usd")
    rows = [[key.removesuffix("_usd") for key in keys]]
    rows += [[*(one_line(str(row[key]), 40) for key in keys[:-1]), _money(row["cost_usd"])] for row in mutators(run)]
    if run.cost_usd > 0:
        rows[0].append("gain per $")
        for cells, row in zip(rows[1:], mutators(run), strict=True):
            rate = row["gain_per_usd"]
            cells.append(number(rate) if isinstance(rate, float) else "")
    return table(rows, right=range(1, len(rows[0])))


def _money(usd: object) -> str:
    """Dollars and cents, and what is less than a dime a little closer."""
    return f"${usd:.4f}" if isinstance(usd, float) and 0 < usd < 0.1 else f"${usd:.2f}"


def _models(run: Projection) -> str:
    """What was spent by role, plug-in and model, and what the whole of it brought."""
    heads = ("role", "by", "model", "calls", "tokens in", "cached", "out", "cost")
    keys = ("calls", "tokens_in", "tokens_cached", "tokens_out")
    rows = [list(heads)]
    for row in run.spending.rows():
        names = [one_line(str(row[key]), 40) or "?" for key in ("role", "plugin", "model")]
        rows.append([*names, *(f"{row[key]:,}" for key in keys), _money(row["cost_usd"])])
    lines = [table(rows, right=range(3, len(heads)))]
    axis = primary_of(run.started.objectives) if run.started else None
    rate = per_dollar(gain(run), run.cost_usd)
    if axis is not None and rate is not None:
        better = f"{axis.name} {number(gain(run))} {unit_of(axis.unit)}".rstrip()
        lines.append(f"  brought: {better} better for {_money(run.cost_usd)}, {number(rate)} per dollar")
    return "\n".join(lines)


def _recent(run: Projection, count: int = 5) -> str:
    rows = []
    for row in list(run.recent)[-count:]:
        measured = row["metrics"]
        said = one_line(str(row["reason"]), 120)
        if isinstance(measured, dict):
            said = ", ".join(f"{name} {number(value)}" for name, value in measured.items() if value is not None)
        rows.append(["seed" if row["attempt"] == 0 else f"#{row['attempt']}", str(row["outcome"]), said])
    return table(rows, right=(0,))


def attempt_page(trace: Sequence[Entry], changes: str) -> str:
    """All of one attempt: what was asked, what came of it. ``changes`` is the diff's summary."""
    facts = [entry.fact for entry in trace]
    opened = facts[0]
    if not isinstance(opened, AttemptOpened):
        return ""
    proposal, end = opened.proposal, facts[-1]
    outcome = end.outcome if isinstance(end, AttemptClosed) else "under way"
    took = duration(trace[-1].run_s - trace[0].run_s)
    parts = [line("attempt", f"{name_of(opened.attempt)} {outcome}, {took}")]
    if isinstance(end, AttemptClosed) and end.reason:
        parts.append(line("reason", one_line(end.reason, 2000)))
    parents = ", ".join(map(name_of, proposal.parents)) or ("none: from the target's start" if opened.attempt else "")
    parts.append(line("parents", parents))
    if proposal.repair is not None:
        parts.append(line("repairs", name_of(proposal.repair)))
    if opened.attempt:
        parts.append(line("mutator", f"{proposal.mutator}  {proposal.lineage}"))
        parts += _brief(proposal.brief)
    for fact in facts:
        parts += _work(fact)
    if changes:
        parts += ["", "changes", changes]
    return "\n".join(part for part in parts if part)


def standing(other: Inspiration) -> str:
    """``#12: speed 3.1, size 40``."""
    scores = ", ".join(f"{one_line(name, 40)} {number(value)}" for name, value in other.scores.items())
    return f"{name_of(other.id)}: {scores}" if scores else name_of(other.id)


def _brief(brief: Brief) -> list[str]:
    inspired = ", ".join(name_of(other.id) for other in brief.inspirations)
    known = [
        ("task", one_line(brief.task, 1000)),
        ("feedback", one_line(brief.feedback, 1000)),
        ("scores", "; ".join(map(standing, brief.parents))),
        ("frontier", "; ".join(map(standing, brief.frontier))),
        ("profile", one_line(brief.profile, 500)),
        ("inspired by", inspired),
        ("memory", one_line(brief.memory, 500)),
        *(("lesson", one_line(lesson, 500)) for lesson in brief.lessons),
    ]
    return [line(label, text) for label, text in known if text]


def _work(fact: object) -> list[str]:
    match fact:
        case Mutated(_, change):
            usage = change.mutation.usage
            cost = f"; {_money(usage.cost_usd)}, {usage.tokens_in} + {usage.tokens_out} tokens" if usage.calls else ""
            said = f"refused: {change.refusal}" if change.refusal else change.mutation.summary
            return [line("commit", f"{change.commit}  {one_line(said)}{cost}")]
        case Judged(_, judge, said):
            return [line(judge, one_line(verdict(said), 2000)), *_cases(said)]
        case Compared(_, rival, _, held):
            return [line("beside", f"{name_of(rival)}: {contest(held)}")]
        case Measured(_, benchmark, measurements):
            rows = [["", "value", "unit", "goal", "samples", "least", "most"]]
            rows += [
                [m.name, number(m.value, 9), unit_of(m.unit), m.goal, str(len(m.samples)), *_range(m.samples)]
                for m in measurements
            ]
            return [line(benchmark, ""), table(rows, right=(1, 4, 5, 6))]
        case JobFailed(_, stage, plugin, fault, message):
            return [line("fault", f"{stage} {plugin}: {fault}: {one_line(message, 1000)}")]
        case _:
            return []


def _range(samples: Sequence[float]) -> tuple[str, str]:
    return number(min(samples), 9), number(max(samples), 9)


def _cases(said: Verdict) -> list[str]:
    failed = [case for case in said.cases if not case.passed]
    lines = [f"  failed: {one_line(case.name, 80)}: {one_line(case.detail, 300)}" for case in failed[:CASES_MAX]]
    if len(failed) > CASES_MAX:
        lines.append(f"  and {len(failed) - CASES_MAX} more")
    return lines
