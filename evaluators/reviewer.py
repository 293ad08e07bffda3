"""A judge that is a model: it reads what makes the program differ, and may say no with evidence."""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

from raysearch.agents.asking import Hired
from raysearch.agents.interface import Call
from raysearch.agents.prompts import Backend, Interface, Modality, render
from raysearch.agents.prompts.briefing import capped, gates, goal, one_line
from raysearch.agents.roles import ROLES, Quote, Review
from raysearch.errors import EvaluatorFault
from raysearch.protocols import Workspace
from raysearch.target import Target, may_change
from raysearch.types import Brief, Case, Usage, Verdict

ROLE = "judge"
CHANGE_CHARS = 60_000
"""Of the difference that is shown; an agent with tools can read the rest."""
FILE_BYTES = 1_000_000
"""Larger files are named, not shown."""
REMARK = "a no without evidence that stands in the files, which counts as a yes"
QUOTE_CHARS_MIN = 8
"""What is shorter stands in any file."""


class Reviewer:
    """Asks a model whether the program is honest; its yes adds nothing to what other judges say.

    A no counts only with a quotation that stands in the program's files; one without is a yes with a remark. Judges
    come one after the other and the first no ends an attempt, so what the accuracy checker refuses is never shown to a
    model.

    Options
        agent, agent_options, model, effort: as of the mutator `coding`.
        call_timeout_s: for the whole of one review.
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
        call_timeout_s: float = 900.0,
        backend: Backend = "",
        modality: Modality = "generic",
        interface: Interface = "",
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        no_price: bool = False,
    ) -> None:
        if not 1 <= call_timeout_s <= 1e6:
            raise ValueError(f"call_timeout_s must be from 1 to 1,000,000 seconds, not {call_timeout_s:g}")
        self._hired = Hired(agent, agent_options, model, effort, prices, no_price)
        self._kind = {"backend": backend, "modality": modality, "interface": interface}
        self._timeout_s = call_timeout_s

    def __enter__(self) -> Reviewer:
        self._hired.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hired.__exit__(kind, error, trace)

    def judge(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Verdict:  # noqa: ARG002 - models draw
        """Raises AgentFault where there is no usable reply."""
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
        reply = self._hired.ask(workspace, prompt, call)
        if reply.value is None:
            raise EvaluatorFault("the agent answered a review without its verdict", reply.usage)
        return verdict(reply.value, workspace, reply.usage)


def verdict(review: Review, workspace: Workspace, usage: Usage) -> Verdict:
    """What a review amounts to, once its evidence was looked up in the program's files."""
    cases = tuple(
        Case(one_line(item.file, 200) or "?", False, one_line(item.quote))
        for item in review.evidence
        if stands(item, workspace)
    )
    reasons = "\n".join(capped(reason, 2000) for reason in review.reasons if reason.strip())
    if review.passed:
        return Verdict(True, reasons, usage=usage)
    if not cases:
        return Verdict(True, f"{REMARK}: {reasons or 'no reason was given'}", usage=usage)
    quoted = "\n".join(f"{case.name}: {case.detail}" for case in cases)
    return Verdict(False, f"{reasons or 'no reason was given'}\nEvidence:\n{quoted}", cases, usage=usage)


def stands(item: Quote, workspace: Workspace) -> bool:
    """Whether the quotation is in a file of the program, be it the one named or not; white space is not looked at."""
    wanted = _squeezed(item.quote)
    if len(wanted) < QUOTE_CHARS_MIN:
        return False
    return any(wanted in _squeezed(text) for _, text in _texts(workspace.path))


def difference(workspace: Workspace) -> tuple[str, str]:
    """What the program is compared with, in words, and a unified diff from there."""
    seed = workspace.target.seed
    old = dict(_texts(seed, workspace.target)) if seed is not None else {}
    new = dict(_texts(workspace.path, workspace.target))
    patches = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            ends = (f"a/{name}" if name in old else "/dev/null", f"b/{name}" if name in new else "/dev/null")
            lines = difflib.unified_diff(_lines(old.get(name)), _lines(new.get(name)), *ends, lineterm="")
            patches.append("\n".join(lines))
    before = "the target's seed program" if seed is not None else "an empty folder"
    return before, capped("\n".join(patches), CHANGE_CHARS)


def _texts(folder: Path, target: Target | None = None) -> Iterator[tuple[str, str]]:
    """The texts of a program by path; with a target only what may change. Binary and large files are only named."""
    for place in sorted(folder.rglob("*")):
        name = place.relative_to(folder).as_posix()
        if place.is_symlink() or not place.is_file() or (target and not may_change(name, target.editable)):
            continue
        size = place.stat().st_size
        content = place.read_bytes()
        named = f"({size} bytes that are not shown, {blake2b(content, digest_size=8).hexdigest()})"
        yield name, named if b"\0" in content or size > FILE_BYTES else content.decode(errors="replace")


def _lines(text: str | None) -> Sequence[str]:
    return [] if text is None else text.splitlines()


def _squeezed(text: str) -> str:
    return " ".join(text.split())
