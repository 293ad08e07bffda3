"""The judge that reads a program for signs of cheating: it runs nothing, so it costs next to nothing."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evaluators.audit.ground import ground_of
from evaluators.audit.signs import RULES, Sign, refusal
from evaluators.audit.static import Reader, read_tree
from evaluators.results import clean
from raysearch.errors import EvaluatorFault, nearest
from raysearch.protocols import Workspace
from raysearch.target import Target
from raysearch.types import Brief, Case, Verdict

CASES_MAX = 50


class Audit:
    """Holds a program's files against the rules. What the target's seed does already is allowed.

    A sign that weighs "refuse" is a no; others are kept as cases that passed, for whoever reviews. ``allow`` names
    rules that are left out, beside those that the target's ``[audit]`` names.
    """

    def __init__(self, *, allow: Sequence[str] = ()) -> None:
        self.allow = tuple(allow)
        self._known: _Known | None = None

    def judge(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Verdict:  # noqa: ARG002
        known = self._of(workspace.target)
        return verdict_on(known.reader.signs(read_tree(workspace.path)), "by its files")

    def _of(self, target: Target) -> _Known:
        if self._known is None or self._known.digest != target.digest:
            seed = read_tree(target.seed) if target.seed else {}
            self._known = _Known(target.digest, Reader(seed, ground_of(target), allowed(target, self.allow)))
        return self._known


@dataclass(frozen=True, slots=True)
class _Known:
    """What is the same for every program of a target."""

    digest: str
    reader: Reader


def allowed(target: Target, more: Iterable[str] = ()) -> tuple[str, ...]:
    """Rules that are switched off. Raises EvaluatorFault for one that there is not."""
    names = (*target.audit.allow, *more)
    for name in names:
        if name not in RULES:
            raise EvaluatorFault(f"the audit has no rule {name!r}, which [audit] allow names.{nearest(name, RULES)}")
    return names


def verdict_on(signs: Sequence[Sign], how: str) -> Verdict:
    """The judge's word: no, where one of the signs is a refusal."""
    cases = tuple(Case(sign.rule, sign.severity != "refuse", clean(str(sign), 500)) for sign in signs[:CASES_MAX])
    suspicious = sum(sign.severity != "refuse" for sign in signs)
    conditions = {"suspicious": str(suspicious)} if suspicious else {}
    said = refusal(signs, how)
    return Verdict(not said, clean(said), cases, conditions)
