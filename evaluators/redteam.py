"""A judge that is a model, or a panel of them, told to find the cheat; what it claims is checked before it counts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluators.audit.judge import Audit
from evaluators.audit.rerun import Rerun, empty
from evaluators.audit.signs import RULES
from evaluators.command import CommandJudge
from evaluators.evidence import Sources, case, difference, quoted
from evaluators.panel import Ballot, Panel, Rule
from raysearch.agents.asking import Employer
from raysearch.agents.interface import Call
from raysearch.agents.prompts import render
from raysearch.agents.prompts.briefing import capped, gates, goal, one_line
from raysearch.agents.roles import ROLES, Attack, Suspicion
from raysearch.errors import EvaluatorFault
from raysearch.kinds import Backend, Interface, Modality
from raysearch.protocols import Workspace
from raysearch.target import Target
from raysearch.types import Brief, Case, Verdict

ROLE = "red_team"
TRIALS_MAX = 3
"""Seeds of one verdict that the checker is tried with."""
SIGNS_MAX = 30
FEEDBACK_CHARS = 8_000
CASES_MAX = 50


class RedTeam(Employer):
    """Asks one model or several how the program cheats.

    A suspicion refuses the program if the model is sure of it and quotes lines that stand in the program's files and
    not in the target's seed; or if it names a seed with which the accuracy checker does say no to the program, and
    yes to the target's seed program. All others are kept as cases that passed, for people to read, where their
    quotations stand; without, they are dropped. That nothing is found adds nothing to what other judges say.

    Options
        agent, agent_options, model, effort, panel, rule, call_timeout_s, backend, modality, interface, prices,
        no_price: as of the judge `reviewer`.
        trials: how many seeds that the model names the checker is run with (0 to 3).
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
        trials: int = TRIALS_MAX,
        call_timeout_s: float = 900.0,
        backend: Backend = "",
        modality: Modality = "generic",
        interface: Interface = "",
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        no_price: bool = False,
    ) -> None:
        if not 1 <= call_timeout_s <= 1e6:
            raise ValueError(f"call_timeout_s must be from 1 to 1,000,000 seconds, not {call_timeout_s:g}")
        if not 0 <= trials <= TRIALS_MAX:
            raise ValueError(f"trials must be from 0 to {TRIALS_MAX}, not {trials}")
        self._panel = Panel(agent, agent_options, model, effort, prices, no_price, panel, rule)
        self.employed = self._panel
        self._kind = {"backend": backend, "modality": modality, "interface": interface}
        self._timeout_s, self._trials, self._audit = call_timeout_s, trials, Audit()

    def judge(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Verdict:
        """Raises AgentFault where there is no usable reply that would decide."""
        before, change = difference(workspace)
        signs = self._audit.judge(workspace, brief, rng).cases
        values = {
            **goal(workspace.target),
            "gates": gates(["accuracy"]),
            "editable": list(workspace.target.editable),
            "rules": _rules(workspace.target),
            "signs": [one_line(sign.detail) for sign in signs[:SIGNS_MAX]],
            "before": before,
            "change": change,
        }
        prompt = render(ROLE, values, **self._kind)
        call = Call(
            role=ROLE,
            prompt=prompt.text,
            system=prompt.system,
            permission=ROLES[ROLE].permission,
            schema=Attack,
            timeout_s=self._timeout_s,
        )
        trials = Trials(workspace, brief, rng, self._trials)
        sources = Sources.of(workspace)
        ballot = self._panel.ask(
            workspace, prompt, call, lambda attack: any(_proof(each, sources, trials) for each in attack.suspicions)
        )
        return verdict(ballot, sources, trials, self._panel.rule)


@dataclass(slots=True)
class Trials:
    """Seeds with which the target's accuracy checker is said to refuse the program, tried out."""

    workspace: Workspace
    brief: Brief
    rng: random.Random
    left: int
    found: dict[int, str] = field(default_factory=dict)
    """What the checker said, by seed; empty where that proves nothing."""

    def proof(self, seed: int) -> str:
        """Why the checker refuses the program with ``seed``, though not the target's seed program; or nothing."""
        if seed not in self.found:
            if self.left <= 0:
                return ""
            self.left -= 1
            self.found[seed] = self._tried(seed)
        return self.found[seed]

    def _tried(self, seed: int) -> str:
        said = self._checked(seed, "{candidate}")
        if said is None or said.passed:
            return ""
        target = self.workspace.target
        if target.seed is not None:
            known = self._checked(seed, f"{{target}}/{target.seed.relative_to(target.root).as_posix()}")
            if known is None or not known.passed:
                return ""
        return said.feedback or "it gives no reason"

    def _checked(self, seed: int, program: str) -> Verdict | None:
        empty(self.workspace.scratch)
        try:
            return CommandJudge().judge(Rerun(self.workspace, seed, program), self.brief, self.rng)
        except EvaluatorFault:  # a seed that it cannot take, or conditions that it cannot keep: no word on the program
            return None


def _rules(target: Target) -> list[str]:
    """What is forbidden, in words: the audit's rules without those that do not fit the target, and its own."""
    rules = [f"no program {what}" for name, what in RULES.items() if name not in target.audit.allow]
    named = [*target.audit.forbid_imports, *target.audit.forbid_names]
    return [*rules, *([f"the target forbids {', '.join(named)}"] if named else [])]


def _proof(suspicion: Suspicion, sources: Sources, trials: Trials) -> str:
    """What makes of a suspicion a refusal, in words; empty if nothing does."""
    listed = [f"{one_line(item.file, 200)}: {one_line(item.quote)}" for item in quoted(suspicion.evidence, sources)]
    if suspicion.sure and listed:
        return "\n".join(listed)
    if suspicion.checker_seed is None:
        return ""
    said = trials.proof(suspicion.checker_seed)
    return "\n".join(
        [f"with --seed {suspicion.checker_seed} the accuracy checker says no: {said}", *listed] if said else []
    )


def verdict(ballot: Ballot[Attack], sources: Sources, trials: Trials, rule: Rule) -> Verdict:
    """What the suspicions amount to, once each was checked."""
    told: list[str] = []
    cases: list[Case] = []
    dropped = 0
    for suspicion in (each for said in ballot.words for each in said.reply.suspicions):
        what, proof = one_line(suspicion.what, 1000), _proof(suspicion, sources, trials)
        found = quoted(suspicion.evidence, sources)
        refuses = ballot.refused and bool(proof)
        if refuses:
            told.append(f"{what}\nEvidence:\n{capped(proof, 2000)}")
        if proof and suspicion.checker_seed in trials.found and trials.found[suspicion.checker_seed]:
            cases.append(Case(f"checker, seed {suspicion.checker_seed}", not refuses, what))
        cases += [case(item, passed=not refuses, detail=one_line(f"{what}: {item.quote}", 500)) for item in found]
        dropped += not found and not proof
    unique = tuple(dict.fromkeys(sorted(cases, key=lambda each: each.passed)))
    kept = sum(each.passed for each in unique)
    counts = {"suspicious": kept, "dropped": dropped, "trials": len(trials.found)}
    conditions = {**ballot.told(rule), **{name: str(count) for name, count in counts.items() if count}}
    feedback = capped("\n".join(dict.fromkeys(told)), FEEDBACK_CHARS)
    return Verdict(not ballot.refused, feedback, unique[:CASES_MAX], conditions, ballot.usage)
