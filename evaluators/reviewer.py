"""A judge that is a model, or a panel of them: it reads what makes the program differ, and may say no with evidence."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from evaluators.evidence import Sources, case, difference, quoted
from evaluators.panel import Ballot, Panel, Rule
from raysearch.agents.asking import Employer
from raysearch.agents.interface import Call
from raysearch.agents.prompts import render
from raysearch.agents.prompts.briefing import capped, gates, goal
from raysearch.agents.roles import ROLES, Review
from raysearch.kinds import Backend, Interface, Modality
from raysearch.protocols import Workspace
from raysearch.types import Brief, Case, Verdict

ROLE = "judge"
REMARK = "a no without evidence that stands in the program's own lines, which counts as a yes"
REASON_CHARS = 2_000
FEEDBACK_CHARS = 8_000
"""Of all reasons together."""
CASES_MAX = 50


class Reviewer(Employer):
    """Asks one model or several whether the program is honest; their yes adds nothing to what other judges say.

    A no counts only with a quotation that stands in the program's files and not in the target's seed; one without is a
    yes with a remark. Judges come one after the other and the first no ends an attempt, so what the accuracy checker
    refuses is never shown to a model.

    Options
        agent, agent_options, model, effort: as of the mutator `coding`.
        panel: how many draws there are, or a table for each member (`evaluators.panel.Panel`).
        rule: ``any`` (one no with evidence is enough) or ``majority``.
        call_timeout_s: for the whole of one member's review.
        backend, modality, interface: what kind of program it is; each adds a paragraph to the prompt.
        prices, no_price: what the run itself says about what models cost.
    """

    def __init__(
        self,
        *,
        agent: str,
        agent_options: Mapping[str, object] | None = None,
        model: str = "",
        effort: str = "",
        panel: int | Sequence[Mapping[str, object]] = 1,
        rule: Rule = "any",
        call_timeout_s: float = 900.0,
        backend: Backend = "",
        modality: Modality = "generic",
        interface: Interface = "",
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        no_price: bool = False,
    ) -> None:
        if not 1 <= call_timeout_s <= 1e6:
            raise ValueError(f"call_timeout_s must be from 1 to 1,000,000 seconds, not {call_timeout_s:g}")
        self._panel = Panel(agent, agent_options, model, effort, prices, no_price, panel, rule)
        self.employed = self._panel
        self._kind = {"backend": backend, "modality": modality, "interface": interface}
        self._timeout_s = call_timeout_s

    def judge(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Verdict:  # noqa: ARG002 - models draw
        """Raises AgentFault where there is no usable reply that would decide."""
        before, change = difference(workspace)
        values = {**goal(workspace.target), "gates": gates(["accuracy"]), "before": before, "change": change}
        prompt = render(ROLE, values, **self._kind)
        call = Call(
            role=ROLE,
            prompt=prompt.text,
            system=prompt.system,
            permission=ROLES[ROLE].permission,
            schema=Review,
            timeout_s=self._timeout_s,
        )
        sources = Sources.of(workspace)
        ballot = self._panel.ask(workspace, prompt, call, lambda review: proved(review, sources))
        return verdict(ballot, sources, self._panel.rule)


def proved(review: Review, sources: Sources) -> bool:
    """Whether it is a no with evidence."""
    return not review.passed and bool(quoted(review.evidence, sources))


def verdict(ballot: Ballot[Review], sources: Sources, rule: Rule) -> Verdict:
    """What the reviews amount to, once their evidence was looked up in the program's files."""
    told: list[str] = []
    cases: list[Case] = []
    for said in ballot.words:
        reasons = _reasons(said.reply)
        found = tuple(case(item, passed=not ballot.refused) for item in quoted(said.reply.evidence, sources))
        if said.proved:
            cases += found
            listed = "\n".join(f"{each.name}: {each.detail}" for each in found)
            told.append(f"{reasons or 'no reason was given'}\nEvidence:\n{listed}")
        elif not ballot.refused:
            told.append(reasons if said.reply.passed else f"{REMARK}: {reasons or 'no reason was given'}")
    unique = tuple(dict.fromkeys(cases))[:CASES_MAX]
    feedback = capped("\n".join(dict.fromkeys(filter(None, told))), FEEDBACK_CHARS)
    return Verdict(not ballot.refused, feedback, unique, ballot.told(rule), ballot.usage)


def _reasons(review: Review) -> str:
    return "\n".join(capped(reason, REASON_CHARS) for reason in review.reasons if reason.strip())
