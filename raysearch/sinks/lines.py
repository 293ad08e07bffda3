"""Facts in words, one line each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import assert_never

from raysearch.board.types import Action, Filing
from raysearch.consultation import Reply
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Compared,
    ConsultationOpened,
    Consulted,
    Fact,
    Filed,
    JobFailed,
    Judged,
    Measured,
    Mutated,
    RunEnded,
    RunStarted,
    SessionClosed,
    SessionOpened,
    Steered,
    Unanswered,
)
from raysearch.steering import Command
from raysearch.types import SEED, AttemptId, Candidate, Comparison, Contest, Limits, Measurement, Objective, Verdict

METRICS_MAX = 6
"""Columns of metrics beside each other, objectives first."""


def one_line(text: str, length_max: int = 500) -> str:
    """``text`` without line breaks, control or escape characters, cut to a length.

    Programs under test write parts of what is shown; they must not move the cursor of whoever looks.
    """
    start = text[: 4 * length_max]
    clean = start if start.isprintable() else "".join(c if c.isprintable() else " " for c in start)
    words = " ".join(clean.split())
    return words if len(words) <= length_max else words[: length_max - 1] + "…"


def number(value: float, digits: int = 7) -> str:
    """A value to so many significant digits: ``2.635983``, ``1.204e-07``, ``117``."""
    return f"{value:.0f}" if abs(value) < 1e9 and value == int(value) else f"{value:.{digits}g}"


def aligned(values: Sequence[float], noise: float = 0.0) -> list[str]:
    """Values to be read below each other: equally many decimals, and no digits that are ``noise`` (relative)."""
    digits = 8 if noise <= 0.0 else min(max(math.ceil(-math.log10(noise)) + 2, 3), 8)
    size = max(map(abs, values), default=0.0)
    if not 1e-3 <= size < 1e9:
        return [number(value, digits) for value in values]
    shown = [number(float(f"{value:.{digits}g}"), 12) for value in values]
    decimals = max((len(text.partition(".")[2]) for text in shown if "e" not in text), default=0)
    decimals = min(decimals, max(digits - 1 - math.floor(math.log10(size)), 0))
    return [f"{value:.{decimals}f}" for value in values]


def duration(seconds: float) -> str:
    """``0:07``, ``12:34``, ``3:02:01``, ``2 d 01:00:00``."""
    minutes, second = divmod(int(max(seconds, 0.0)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def name_of(attempt: AttemptId) -> str:
    return "seed" if attempt == SEED else f"#{attempt}"


def origin(parents: Iterable[AttemptId]) -> str:
    """``from #12 and #7``; empty without parents."""
    names = [name_of(parent) for parent in parents]
    return f"from {' and '.join(names)}" if names else ""


def unit_of(text: str) -> str:
    """A unit as it is shown: that of pure numbers, ``1``, is not."""
    return "" if text == "1" else one_line(text, 24)


def metrics(measurements: Iterable[Measurement]) -> str:
    """``sum_radii 2.63, latency 12.1 ms``."""
    return ", ".join(f"{m.name} {number(m.value)} {unit_of(m.unit)}".rstrip() for m in measurements)


def frontier_cells(objectives: Sequence[Objective], candidates: Sequence[Candidate]) -> list[list[str]]:
    """The frontier as text, headings first: number, metrics, mutator, parents, commit (the last three columns)."""
    names = _shown_metrics(objectives, candidates)
    noise = {axis.name: axis.noise for axis in objectives}
    columns = [_values(name, candidates, noise.get(name, 0.0)) for name, _ in names]
    rows = [["", *(heading for _, heading in names), "by", "from", "commit"]]
    for index, candidate in enumerate(candidates):
        values = [column[index] for column in columns]
        parents = " ".join(name_of(parent) for parent in candidate.parents)
        how = one_line(candidate.mutator, 24) if candidate.id else ""
        rows.append([name_of(candidate.id), *values, how, parents, candidate.commit[:10]])
    return rows


def _shown_metrics(objectives: Sequence[Objective], candidates: Sequence[Candidate]) -> list[tuple[str, str]]:
    """Name and heading of the metrics to show: objectives with their direction and unit, then others."""
    first = sorted(objectives, key=lambda axis: not axis.primary)
    units = {m.name: unit_of(m.unit) for c in candidates for m in c.measurements}
    arrow = {"max": "↑", "min": "↓"}
    names = [
        (axis.name, f"{axis.name} {arrow[axis.goal]} {unit_of(axis.unit) or units.get(axis.name, '')}".rstrip())
        for axis in first
    ]
    known = {axis.name for axis in objectives}
    others = {m.name: unit_of(m.unit) for c in candidates for m in c.measurements if m.name not in known}
    return [*names, *((name, f"{name} {unit}".rstrip()) for name, unit in others.items())][:METRICS_MAX]


def _values(name: str, candidates: Sequence[Candidate], noise: float) -> list[str]:
    """One metric of each candidate, as text; empty where it has none."""
    measured = [next((m.value for m in c.measurements if m.name == name), None) for c in candidates]
    shown = iter(aligned([value for value in measured if value is not None], noise))
    return ["" if value is None else next(shown) for value in measured]


def objective(axis: Objective) -> str:
    """``latency (min, ms)``."""
    return f"{axis.name} ({', '.join(part for part in (axis.goal, unit_of(axis.unit)) if part)})"


def budget(limits: Limits) -> str:
    """The limits that end a run, in words."""
    parts = []
    if limits.attempts_max is not None:
        parts.append(f"{limits.attempts_max} candidates")
    if limits.run_s is not None:
        parts.append(duration(limits.run_s))
    if limits.cost_usd is not None:
        parts.append(f"${limits.cost_usd:g}")
    return ", ".join(parts) or "no limit"


def verdict(said: Verdict) -> str:
    """``no: circles overlap (3 of 4 cases passed)``."""
    words = "yes" if said.passed else "no"
    if said.feedback:
        words += f": {said.feedback}"
    if said.cases:
        words += f" ({sum(case.passed for case in said.cases)} of {len(said.cases)} cases passed)"
    return words


def contest(held: Contest) -> str:
    """``better: speed +3.1 % [+1.2 %, +5.0 %]; 240 pairs``."""
    gains = "; ".join(filter(None, map(gain, held.comparisons)))
    return f"{held.verdict.replace('_', ' ')}: {gains}; {held.pairs} pair{'s' * (held.pairs != 1)}"


def gain(found: Comparison) -> str:
    """The gain in one objective, with its interval; nothing where there were too few pairs."""
    if found.effect is None:
        return ""

    def shown(value: float | None, bound: str) -> str:
        if value is None:
            return bound
        return f"{100 * value:+.3g} %" if found.relative else f"{value:+.4g} {unit_of(found.unit)}".rstrip()

    return f"{found.metric} {shown(found.effect, '?')} [{shown(found.low, '-∞')}, {shown(found.high, '∞')}]"


def describe(fact: Fact) -> str:
    """``fact`` as one readable line."""
    return one_line(_describe(fact))


def _describe(fact: Fact) -> str:  # noqa: PLR0912 - one case a fact
    match fact:
        case RunStarted():
            axes = ", ".join(map(objective, fact.objectives))
            return f"run {fact.run}: target {fact.target} {fact.target_digest[:12]}, seed {fact.seed}, {axes}"
        case SessionOpened(session, limits, host, pid, version):
            return (
                f"session {session} on {host}, process {pid}, raysearch {version}: "
                f"budget {budget(limits)}; lanes {limits.open_max}"
            )
        case AttemptOpened(attempt, proposal):
            parts = [proposal.mutator, origin(proposal.parents), proposal.lineage]
            if proposal.repair is not None:
                parts.append(f"repairs {name_of(proposal.repair)}")
            parts.append(proposal.brief.task)
            return f"{name_of(attempt)} opened: {'; '.join(part for part in parts if part)}"
        case Mutated(attempt, change):
            tail = f" refused: {change.refusal}" if change.refusal else f" {change.mutation.summary}"
            return f"{name_of(attempt)} mutated: commit {change.commit[:12]}{tail}{_work(fact)}"
        case Judged(attempt, judge, said):
            return f"{name_of(attempt)} {judge} says {verdict(said)}{_work(fact)}"
        case Measured(attempt, benchmark, measurements):
            return f"{name_of(attempt)} {benchmark} measures {metrics(measurements)}{_work(fact)}"
        case Compared(attempt, rival, _, held):
            return f"{name_of(attempt)} beside {name_of(rival)}: {contest(held)}{_work(fact)}"
        case JobFailed(attempt, stage, plugin, fault, message, retry):
            again = "; may be asked again" if retry else ""
            return f"{name_of(attempt)} {stage} {plugin} broke: {fault}: {message}{again}{_work(fact)}"
        case AttemptClosed(attempt, outcome, reason):
            return f"{name_of(attempt)} {outcome}" + (f": {reason}" if reason else "")
        case ConsultationOpened(number, question):
            about = f"about {name_of(question.about)}; {question.brief.task}".rstrip("; ")
            return f"?{number} {question.role} is asked {about}"
        case Consulted(number, said):
            return f"?{number} answered: {reply(said)}{_work(fact)}"
        case Unanswered(number, reason):
            return f"?{number} is not answered: {reason}"
        case Filed(filing):
            return f"board: {filed(filing)}"
        case Steered(command):
            return f"{command.sender or 'somebody'} says {command.kind}: {told(command)}".removesuffix(": ")
        case SessionClosed(reason):
            return f"session closed: {reason}"
        case RunEnded(reason):
            return f"run ended: {reason}"
        case _:
            assert_never(fact)


def reply(said: Reply) -> str:
    """The gist of a reply."""
    parts = []
    if said.decision is not None:
        parts.append(
            f"{'profile' if said.decision.profile else 'no profile'}: {said.decision.focus or said.decision.why}"
        )
    if said.task is not None:
        back = "" if said.task.revert_to_round is None else f" (from round {said.task.revert_to_round})"
        parts.append(f"{said.task.title}{back}")
    if said.profile is not None:
        parts += [f"{100 * found.share:.0f} % {found.component}" for found in said.profile.findings[:3]]
    parts += [f"{level.name}: {metrics(level.measurements)}" for level in said.levels]
    return "; ".join(filter(None, [*parts, *said.lessons, said.text]))


def filed(filing: Filing) -> str:
    """``create bug "first token is late"``, ``claim 7``."""
    if filing.action is Action.CREATE:
        return f"{filing.author.role} creates {filing.kind} {filing.title!r}"
    return f"{filing.author.role}: {filing.action} {filing.issue or filing.name} {filing.text}".rstrip()


def told(command: Command) -> str:
    """What a command is about."""
    if command.filing is not None:
        return filed(command.filing)
    limits = ", ".join(f"{name} {'none' if value is None else value}" for name, value in command.limits.items())
    return limits or command.text


def _work(fact: Mutated | Judged | Measured | Compared | JobFailed | Consulted) -> str:
    if isinstance(fact, Judged | Measured) and fact.reused_from is not None:
        return f" [known from {name_of(fact.reused_from)}]"
    return f" [{fact.took_s:.2f} s{' by ' + fact.worker if fact.worker else ''}]"
