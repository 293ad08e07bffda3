"""The role of the performance evaluator: how a program stands under load, and what is wrong with it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from evaluators.command import measured
from evaluators.consultants.asked import Asked
from raysearch.agents.asking import Employer
from raysearch.agents.prompts.briefing import rows
from raysearch.agents.roles import Assessment, Issue
from raysearch.board.types import TEXT_MAX, TITLE_MAX, Action, Author, Filing, Kind
from raysearch.consultation import PERFORMANCE_EVALUATOR, Level, Reply
from raysearch.kinds import Backend, Modality
from raysearch.loads import LADDER, LoadLevel
from raysearch.protocols import Workspace
from raysearch.types import Brief

RATE, DURATION, TOKENS = "RAYSEARCH_LOAD_RATE_PER_S", "RAYSEARCH_LOAD_DURATION_S", "RAYSEARCH_LOAD_MAX_TOKENS"
"""Variables in which a benchmark is told the load, where the target says that it heeds them."""


class _Assessing(Asked):
    role = PERFORMANCE_EVALUATOR


class PerformanceEvaluator(Employer):
    """Runs the target's benchmark, under each load where the target heeds loads; an agent may say what to make of it.

    Options
        load_levels: the loads; what the run itself says, where nothing is said here.
        agent: who explains and files issues; empty: nobody does.
        agent_options, model, effort, call_timeout_s, backend, modality, prices, no_price: as of the other consultants.
    """

    def __init__(
        self,
        *,
        load_levels: Sequence[LoadLevel] = LADDER,
        agent: str = "",
        agent_options: Mapping[str, object] | None = None,
        model: str = "",
        effort: str = "",
        call_timeout_s: float = 900.0,
        backend: Backend = "",
        modality: Modality = "generic",
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        no_price: bool = False,
    ) -> None:
        self._levels = tuple(load_levels)
        self._asked = None
        if agent:
            self._asked = _Assessing(
                agent=agent,
                agent_options=agent_options,
                model=model,
                effort=effort,
                call_timeout_s=call_timeout_s,
                backend=backend,
                modality=modality,
                prices=prices,
                no_price=no_price,
            )
        self.employed = self._asked or nullcontext()

    def consult(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Reply:  # noqa: ARG002 - a seed draws
        """Raises Refused where the program cannot be measured."""
        if workspace.target.benchmark.heeds_load:
            levels = tuple(Level(name(load), measured(workspace, variables(load))) for load in self._levels)
        else:
            levels = (Level("benchmark", measured(workspace)),)
        if self._asked is None:
            return Reply(levels=levels)
        said, reply = self._asked.ask(workspace, brief, Assessment, measured=rows(levels))
        suspicious = said.suspicious and f"Suspicious: {said.suspicious}"
        text = "\n".join(filter(None, [said.explanation, suspicious, said.next]))
        return Reply(text, levels=levels, filings=tuple(map(filing, said.issues)), usage=reply.usage)


def name(load: LoadLevel) -> str:
    """``4 requests/s for 20 s``."""
    return f"{load.rate_per_s:g} requests/s for {load.duration_s:g} s"


def variables(load: LoadLevel) -> dict[str, str]:
    """What a benchmark is told of a load."""
    return {RATE: f"{load.rate_per_s:g}", DURATION: f"{load.duration_s:g}", TOKENS: str(load.max_tokens)}


def filing(issue: Issue) -> Filing:
    """An issue of an assessment, for the board."""
    return Filing(
        Action.CREATE,
        Author(PERFORMANCE_EVALUATOR),
        kind=Kind(issue.kind),
        title=issue.title[:TITLE_MAX],
        text=issue.body[:TEXT_MAX],
        evidence=issue.evidence[:TEXT_MAX],
        priority=issue.priority,
    )
