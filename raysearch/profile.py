"""Where the time of a program goes, as every profiler says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Bound = Literal["compute", "memory", "io", "network", "latency", "synchronization", "overhead", "unknown"]
"""What holds a component back. ``latency``: dependent steps; ``overhead``: launches, interpreters, copies."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Where time goes: one component of a program, and what its share (0 to 1 of the profiled time) rests on."""

    component: str
    share: float
    bound: Bound = "unknown"
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a profiler found, the largest share first. Explains; never scores."""

    tool: str
    findings: tuple[Finding, ...] = ()
    total_s: float = 0.0
    """Wall clock of the profiled run."""
    slowdown: float | None = None
    """Profiled over plain wall clock (from about 1): the observer's own effect; None where it was not measured."""
    summary: str = ""
    conditions: Mapping[str, str] = field(default_factory=dict)
