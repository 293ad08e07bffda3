"""What models were asked, by whom, and what it brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from raysearch.facts import Compared, JobFailed, Judged, Measured, Mutated
from raysearch.jobs import CONFIRMATION
from raysearch.types import Objective, Stage, Usage
from raysearch.views.rows import Row, usage_of


@dataclass(slots=True)
class Spending:
    """Usage by role (``mutate``, ``judge``, ``benchmark``), plug-in and model, in the order of first use."""

    by: dict[tuple[str, str, str], Usage] = field(default_factory=dict)

    def told(self, fact: Mutated | Judged | Measured | Compared | JobFailed, mutator: str) -> Usage:
        """Count what a fact cost, whatever came of it; ``mutator`` is its attempt's."""
        usage = usage_of(fact)
        if used(usage):
            role, plugin = whose(fact, mutator)
            key = role, plugin, usage.model
            self.by[key] = self.by.get(key, Usage()) + usage
        return usage

    def asked(self, role: str, usage: Usage) -> None:
        """Count what a consultation cost."""
        key = role, role, usage.model
        self.by[key] = self.by.get(key, Usage()) + usage

    def rows(self) -> list[Row]:
        """One row for each role, plug-in and model."""
        return [
            {
                "role": role,
                "plugin": plugin,
                "model": model,
                "calls": usage.calls,
                "turns": usage.turns,
                "tokens_in": usage.tokens_in,
                "tokens_cached": usage.tokens_cached,
                "tokens_out": usage.tokens_out,
                "cost_usd": usage.cost_usd,
            }
            for (role, plugin, model), usage in self.by.items()
        ]


def primary_of(objectives: tuple[Objective, ...]) -> Objective | None:
    """The objective by which gains are counted."""
    return next((o for o in objectives if o.primary), objectives[0] if objectives else None)


def improvement(axis: Objective, before: Mapping[str, float] | None, now: Mapping[str, float]) -> float:
    """By how much ``now`` beats ``before`` in ``axis``, in its unit; zero if it does not, or there was nothing."""
    if before is None or axis.name not in before or axis.name not in now:
        return 0.0
    return max(0.0, axis.sign * (now[axis.name] - before[axis.name]))


def per_dollar(gain: float, cost_usd: float) -> float | None:
    """None where nothing was paid."""
    return gain / cost_usd if cost_usd > 0 else None


def used(usage: Usage) -> bool:
    """Whether a model was asked at all."""
    return bool(usage.cost_usd or usage.tokens_in or usage.tokens_out or usage.calls)


def whose(fact: Mutated | Judged | Measured | Compared | JobFailed, mutator: str) -> tuple[str, str]:
    """The role and the plug-in that did the work of ``fact``; ``mutator`` is its attempt's."""
    match fact:
        case Mutated():
            return Stage.MUTATE.value, mutator
        case Judged(_, judge):
            return Stage.JUDGE.value, judge
        case Measured(_, benchmark):
            return Stage.BENCHMARK.value, benchmark
        case Compared():
            return Stage.BENCHMARK.value, CONFIRMATION
        case JobFailed(_, stage, plugin):
            return stage.value, plugin
