"""What may still be spent, with what is under way set aside: lanes in parallel do not each spend the last dollar.

A candidate that is under way is expected to cost what candidates have cost so far (the mean), and that much is
reserved for it until it is settled; another is opened only where its own expected cost fits beside all reservations.
Each job is granted an allowance when it is handed out, and all grants together never exceed what is left. So a cap is
passed by no more than jobs in flight spend beyond their allowances: by nothing, where agents keep to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raysearch.state import Attempt, State
from raysearch.types import SEED, Allowance, Limits, Usage


def tokens_of(usage: Usage) -> int:
    """Input (cached too) and output."""
    return usage.tokens_in + usage.tokens_out


@dataclass(frozen=True, slots=True)
class Axis:
    """One thing that is counted."""

    name: str
    spent: Callable[[Usage], float]
    cap: Callable[[Limits], float | None]
    each: Callable[[Limits], float | None]
    """Cap of one candidate."""
    granted: Callable[[Allowance], float | None]
    said: Callable[[float], str]


AXES = (
    Axis(
        "cost",
        lambda u: u.cost_usd,
        lambda x: x.cost_usd,
        lambda x: x.candidate_usd,
        lambda a: a.cost_usd,
        lambda v: f"${v:g}",
    ),
    Axis(
        "token",
        tokens_of,
        lambda x: x.tokens,
        lambda x: x.candidate_tokens,
        lambda a: a.tokens,
        lambda v: f"{v:,.0f} tokens",
    ),
    Axis(
        "call",
        lambda u: u.calls,
        lambda x: x.calls,
        lambda x: x.candidate_calls,
        lambda a: a.calls,
        lambda v: f"{v:g} calls",
    ),
)


def exhausted(state: State) -> str:
    """The budget that is spent, in words; empty if there is none.

    A budget counts as spent, too, once nothing is under way and what is left is less than a candidate costs.
    """
    for axis in AXES:
        cap, spent = axis.cap(state.limits), axis.spent(state.spent)
        if cap is None:
            continue
        if spent >= cap:
            return f"{axis.name} budget of {axis.said(cap)}"
        if not state.busy and state.attempts_total and spent + _expected(state, axis) > cap * (1 + 1e-9):
            return (
                f"{axis.name} budget of {axis.said(cap)}: {axis.said(round(spent, 6))} spent, and a candidate costs"
                f" {axis.said(round(_expected(state, axis), 6))}"
            )
    if state.limits.gpu_s is not None and state.gpu_s >= state.limits.gpu_s:
        return f"GPU budget of {state.limits.gpu_s / 3600:g} hours"
    return ""


def room(state: State) -> int | None:
    """How many more candidates may be opened now; None where no budget says."""
    least: int | None = None
    for axis in AXES:
        cap = axis.cap(state.limits)
        each = 0.0 if cap is None else _expected(state, axis)
        if cap is None or each <= 0:
            continue
        reserved = sum(max(0.0, each - axis.spent(attempt.spent)) for attempt in state.open.values())
        fits = max(0, int((cap - axis.spent(state.spent) - reserved) / each + 1e-9))
        least = fits if least is None else min(least, fits)
    if least == 0 and not state.busy and not state.attempts_total:
        return 1  # nothing is known yet of what one costs
    return least


def allowance(state: State, attempt: Attempt | None, granted: Sequence[Allowance]) -> Allowance:
    """What the next job of an open attempt, or of a consultation, may spend; ``granted`` is what those under way may.

    What is left is shared out evenly among the lanes that are or may soon be in use, so that all grants together never
    exceed it.
    """
    free = room(state)
    more = state.limits.open_max - state.busy
    idle = state.busy - len(granted) + (more if free is None else min(more, free))
    values: list[float | None] = []
    for axis in AXES:
        cap, each = axis.cap(state.limits), axis.each(state.limits)
        bounds = []
        if each is not None:
            bounds.append(each - (0.0 if attempt is None else axis.spent(attempt.spent)))
        if cap is not None:
            taken = sum(axis.granted(other) or 0.0 for other in granted)
            bounds.append((cap - axis.spent(state.spent) - taken) / max(1, idle))
        values.append(max(0.0, min(bounds)) if bounds else None)
    cost_usd, tokens, calls = values
    return Allowance(cost_usd, None if tokens is None else int(tokens), None if calls is None else int(calls))


def _expected(state: State, axis: Axis) -> float:
    """What a candidate is taken to cost: the mean of those that are closed; before there are any, its cap, or 0."""
    each = axis.each(state.limits)
    closed = axis.spent(state.spent) - sum(axis.spent(attempt.spent) for attempt in state.open.values())
    count = state.attempts_total - sum(1 for number in state.open if number != SEED)
    if count <= 0:
        return each or 0.0
    return closed / count if each is None else min(closed / count, each)
