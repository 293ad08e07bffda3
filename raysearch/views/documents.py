"""The documents that a projection is written to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from raysearch.types import SEED, Candidate
from raysearch.views.issues import counts
from raysearch.views.projection import SEED_NAME, Projection
from raysearch.views.rows import SCHEMA, Row, candidate_row, objective_row, open_row, plain
from raysearch.views.spending import per_dollar


def summary(run: Projection, best: Candidate | None = None) -> Row:
    """``state.json``. ``best`` overrides the frontier's first candidate, for policies that name another."""
    start = run.started
    best = best or run.skyline.best
    return {
        "schema": SCHEMA,
        "run": start.run if start else "",
        "target": start.target if start else "",
        "target_digest": start.target_digest if start else "",
        "seed": start.seed if start else None,
        "status": _status(run),
        "stopped_by": run.stopped_by,
        "session": run.session,
        "seq": run.seq,
        "began_at_s": run.began_at_s,
        "updated_at_s": run.at_s,
        "elapsed_s": round(run.run_s, 3),
        "cost_usd": run.cost_usd,
        "attempts": run.attempts,
        **{outcome.value: count for outcome, count in run.counts.items()},
        "open": [open_row(trace) for trace in run.traces.values()],
        "limits": plain(run.limits),
        "issues": counts(run.board, run.over),
        "objectives": [objective_row(o) for o in (start.objectives if start else ())],
        "frontier": [candidate_row(c) for c in run.skyline.members],
        "best": candidate_row(best) if best else None,
        "over": run.beside.rows(best) if best else [],
        "baselines_refused": dict(run.beside.refused),
        "mutators": mutators(run),
        "gain": gain(run),
        "gain_per_usd": per_dollar(gain(run), run.cost_usd),
        "spending": run.spending.rows(),
        "staleness": {
            "children": run.staleness.children,
            "mean": round(run.staleness.mean, 3),
            "p95": run.staleness.quantile(0.95),
            "most": run.staleness.most,
        },
    }


def _status(run: Projection) -> str:
    if run.ended:
        return "ended"
    return "stopped" if run.stopped_by else "paused" if run.paused else "open"


def mutators(run: Projection) -> list[Row]:
    """One row a mutator: attempts by outcome, members of the frontier, cost, gain; the seed under `SEED_NAME`."""
    kept: dict[str, int] = {}
    for candidate in run.skyline.members:
        name = SEED_NAME if candidate.id == SEED else candidate.mutator
        kept[name] = kept.get(name, 0) + 1
    return [
        {
            "mutator": name,
            "attempts": sum(tally.outcomes.values()),
            **{outcome.value: count for outcome, count in tally.outcomes.items()},
            "frontier": kept.get(name, 0),
            "cost_usd": tally.cost_usd,
            "gain": tally.gain,
            "gain_per_usd": per_dollar(tally.gain, tally.cost_usd),
        }
        for name, tally in run.mutators.items()
    ]


def gain(run: Projection) -> float:
    """By how much the best value of the primary objective has moved since the first candidate, in its unit."""
    return sum(tally.gain for tally in run.mutators.values())


def population(run: Projection) -> Iterator[bytes]:
    """``population.json`` in pieces: every admitted candidate, and which of them are the frontier."""
    head = {
        **_head(run),
        "objectives": [objective_row(o) for o in (run.started.objectives if run.started else ())],
        "frontier": [c.id for c in run.skyline.members],
    }
    yield from _document(head, "candidates", run.population_rows)


def rounds(run: Projection) -> Iterator[bytes]:
    """``rounds.json`` in pieces: every closed attempt, in the order of closing."""
    yield from _document(_head(run), "rounds", run.round_rows)


def usage(run: Projection) -> Iterator[bytes]:
    """``logs/usage.jsonl`` in pieces: a line for each job that asked a model."""
    for row in run.usage_rows:
        yield row + b"\n"


def _head(run: Projection) -> Row:
    return {"schema": SCHEMA, "run": run.started.run if run.started else "", "seq": run.seq}


def _document(head: Mapping[str, object], name: str, rows: Sequence[bytes]) -> Iterator[bytes]:
    yield msgspec.json.encode(head)[:-1] + b',"' + name.encode() + b'":[\n'
    yield b",\n".join(rows)
    yield b"\n]}\n"
