"""Facts as plain dictionaries, one per attempt or candidate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from raysearch.errors import Invariant
from raysearch.facts import AttemptClosed, AttemptOpened, Compared, Entry, JobFailed, Judged, Measured, Mutated
from raysearch.types import AttemptId, Candidate, Measurement, Objective, Usage

SCHEMA = 1
"""Of every document and row. Keys may be added; anything else needs a new number."""
REASON_MAX = 1000
"""Characters of a reason in ``rounds.json``; ``attempt.json`` has all of it."""
Row = dict[str, object]


def objective_row(objective: Objective) -> Row:
    return {
        "name": objective.name,
        "goal": objective.goal,
        "unit": objective.unit,
        "noise": objective.noise,
        "primary": objective.primary,
        "deterministic": objective.deterministic,
    }


def candidate_row(candidate: Candidate) -> Row:
    """Number, commit and the median of each metric."""
    return {"id": candidate.id, "commit": candidate.commit, "metrics": _metrics(candidate.measurements)}


def population_row(candidate: Candidate, closed: Entry) -> Row:
    return {
        **candidate_row(candidate),
        "tree": candidate.tree,
        "parents": list(candidate.parents),
        "mutator": candidate.mutator,
        "lineage": candidate.lineage,
        "summary": candidate.summary,
        "confirmed": candidate.confirmed,
        "admitted_at_s": closed.at_s,
        "admitted_run_s": closed.run_s,
    }


def round_row(trace: Sequence[Entry]) -> Row:
    """One attempt in a line, from all its entries."""
    proposal, closed = opened(trace).proposal, trace[-1]
    work = [e.fact for e in trace if isinstance(e.fact, Mutated | Judged | Measured | Compared | JobFailed)]
    change = next((f.change for f in work if isinstance(f, Mutated)), None)
    measured = [m for f in work if isinstance(f, Measured) for m in f.measurements]
    end = closed.fact if isinstance(closed.fact, AttemptClosed) else None
    return {
        "attempt": opened(trace).attempt,
        "outcome": end.outcome.value if end else None,
        "reason": end.reason[:REASON_MAX] if end else "",
        "parents": list(proposal.parents),
        "repair": proposal.repair,
        "mutator": proposal.mutator,
        "lineage": proposal.lineage,
        "commit": change.commit if change else None,
        "metrics": _metrics(measured) if measured else None,
        "faults": sum(isinstance(f, JobFailed) for f in work),
        "opened_at_s": trace[0].at_s,
        "closed_at_s": closed.at_s,
        "took_s": round(closed.run_s - trace[0].run_s, 3),
        "work_s": round(sum(f.took_s for f in work), 3),
        "cost_usd": sum(usage_of(f).cost_usd for f in work),
    }


def milestone_row(row: Row, trace: Sequence[Entry]) -> Row:
    """A `round_row` with what its mutator said it did."""
    change = next((e.fact.change for e in trace if isinstance(e.fact, Mutated)), None)
    return {**row, "summary": change.mutation.summary if change else ""}


def usage_row(entry: Entry, attempt: AttemptId | None, role: str, plugin: str, usage: Usage, took_s: float) -> Row:
    """A line of ``usage.jsonl``: what one job asked of models."""
    row: Row = {"seq": entry.seq, "at_s": entry.at_s, "attempt": attempt, "role": role, "plugin": plugin}
    return row | {
        "model": usage.model,
        "session": usage.session,
        "calls": usage.calls,
        "turns": usage.turns,
        "tokens_in": usage.tokens_in,
        "tokens_cached": usage.tokens_cached,
        "tokens_out": usage.tokens_out,
        "cost_usd": usage.cost_usd,
        "took_s": took_s,
    }


def attempt(trace: Sequence[Entry]) -> Row:
    """``attempt.json``: all that is known of one attempt, from its entries (`entries_of`)."""
    proposal = opened(trace).proposal
    facts = [e.fact for e in trace]
    change = next((f.change for f in facts if isinstance(f, Mutated)), None)
    end = facts[-1]
    return {
        "schema": SCHEMA,
        **round_row(trace),
        "reason": end.reason if isinstance(end, AttemptClosed) else "",
        "tree": change.tree if change else None,
        "summary": change.mutation.summary if change else "",
        "memory": change.mutation.memory if change else "",
        "refusal": change.refusal if change else "",
        "usage": plain(change.mutation.usage) if change else None,
        "brief": plain(proposal.brief),
        "verdicts": [_verdict_row(f) for f in facts if isinstance(f, Judged)],
        "measurements": [_measurement_row(f, m) for f in facts if isinstance(f, Measured) for m in f.measurements],
        "contests": [plain(f) for f in facts if isinstance(f, Compared)],
        "failures": [plain(f) for f in facts if isinstance(f, JobFailed)],
    }


def entries_of(entries: Iterable[Entry], number: AttemptId) -> list[Entry]:
    """The entries of one attempt; empty if it was never opened."""
    kinds = AttemptOpened | Mutated | Judged | Measured | Compared | JobFailed | AttemptClosed
    return [e for e in entries if isinstance(e.fact, kinds) and e.fact.attempt == number]


def open_row(trace: Sequence[Entry]) -> Row:
    proposal = opened(trace).proposal
    return {
        "attempt": opened(trace).attempt,
        "parents": list(proposal.parents),
        "mutator": proposal.mutator,
        "lineage": proposal.lineage,
        "opened_at_s": trace[0].at_s,
    }


def _verdict_row(fact: Judged) -> Row:
    verdict = fact.verdict
    return {
        "judge": fact.judge,
        "passed": verdict.passed,
        "feedback": verdict.feedback,
        "cases": plain(verdict.cases),
        "conditions": dict(verdict.conditions),
        "usage": plain(verdict.usage) if verdict.usage is not None else None,
        "reused_from": fact.reused_from,
        "worker": fact.worker,
        "took_s": fact.took_s,
    }


def _measurement_row(fact: Measured, measurement: Measurement) -> Row:
    return {
        "benchmark": fact.benchmark,
        "name": measurement.name,
        "value": _finite(measurement.value),
        "unit": measurement.unit,
        "goal": measurement.goal,
        "samples": [_finite(sample) for sample in measurement.samples],
        "conditions": dict(measurement.conditions),
        "reused_from": fact.reused_from,
        "worker": fact.worker,
        "took_s": fact.took_s,
    }


def _metrics(measurements: Iterable[Measurement]) -> dict[str, float | None]:
    return {m.name: _finite(m.value) for m in measurements}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def usage_of(fact: Mutated | Judged | Measured | Compared | JobFailed) -> Usage:
    """What models cost for it; a verdict that was reused was paid for before."""
    match fact:
        case Mutated():
            return fact.change.mutation.usage
        case Judged():
            return Usage() if fact.verdict.usage is None or fact.reused_from is not None else fact.verdict.usage
        case JobFailed():
            return fact.usage
        case Measured() | Compared():
            return Usage()


def opened(trace: Sequence[Entry]) -> AttemptOpened:
    fact = trace[0].fact
    if not isinstance(fact, AttemptOpened):
        raise Invariant("an attempt begins by being opened")
    return fact


def plain(value: object) -> object:
    """Dataclasses as dictionaries, tuples as lists, through the journal's own encoding."""
    return msgspec.json.decode(msgspec.json.encode(value))
