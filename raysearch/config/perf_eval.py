"""``[[perf_eval.load_levels]]``: under which loads a program is looked at, beside what its benchmark measures."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from raysearch.config.values import Count, Finite, Seconds, Table
from raysearch.loads import LADDER, LoadLevel

LEVELS_MAX = 100


class LoadLevelTable(Table):
    """One step of the ladder. Its keys are those that ``agent.toml`` has."""

    rate: Annotated[Finite, Field(gt=0, le=1e9)]
    """Requests that arrive in a second."""
    duration: Seconds = 20.0
    """For how many seconds."""
    max_tokens: Count = 128
    """Of each answer."""

    def level(self) -> LoadLevel:
        return LoadLevel(self.rate, self.duration, self.max_tokens)


class PerfEvalTable(Table):
    """``[perf_eval]``: what a performance evaluator is asked to look at."""

    load_levels: Annotated[tuple[LoadLevelTable, ...], Field(strict=False, min_length=1, max_length=LEVELS_MAX)] = (
        tuple(
            LoadLevelTable(rate=level.rate_per_s, duration=level.duration_s, max_tokens=level.max_tokens)
            for level in LADDER
        )
    )

    def levels(self) -> tuple[LoadLevel, ...]:
        """In the order of the file."""
        return tuple(table.level() for table in self.load_levels)
