"""The role of the profiler: a tool records where the time goes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, cast

from raysearch.consultation import Reply
from raysearch.plugins import load
from raysearch.protocols import Profiler, Workspace
from raysearch.types import Brief


class Profiling:
    """Profiles the program; what was asked is its focus.

    Options
        tool: an installed profiler's name, or a reference to a class.
        tool_options: options of that profiler's constructor.
    """

    def __init__(self, *, tool: str = "auto", tool_options: Mapping[str, Any] | None = None) -> None:
        self._profiler = cast(Profiler, load("profilers", tool, tool_options or {}))

    def consult(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Reply:
        """Raises Refused where the program cannot be profiled."""
        found = self._profiler.profile(workspace, brief.task, rng)
        return Reply(found.summary, profile=found)
