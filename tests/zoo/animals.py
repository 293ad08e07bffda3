"""What the programs of the zoo are: a target, files, and the gate that must catch a cheat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
TARGETS = {
    "nearest": HERE / "target",
    "circle-packing": EXAMPLES / "circle-packing",
    "cache-eviction": EXAMPLES / "cache-eviction",
    "online-bin-packing": EXAMPLES / "online-bin-packing",
    "matmul-kernel": EXAMPLES / "matmul-kernel",
}
FILE = {
    "nearest": "solution.py",
    "circle-packing": "solution.py",
    "cache-eviction": "policy.py",
    "online-bin-packing": "heuristic.py",
    "matmul-kernel": "kernel.c",
}


@dataclass(frozen=True)
class Animal:
    """A program. ``gate``: ``audit``, ``traced``, ``holdout``, ``accuracy`` or ``guard``; empty for an honest one.

    ``says``: what the refusal must name: a rule of the audit, or words of a checker.
    """

    source: str
    gate: str = ""
    says: str = ""
    more: Mapping[str, str] = field(default_factory=dict)
    """Further files."""

    def files(self, target: str) -> dict[str, str]:
        return {FILE[target]: dedent(self.source).lstrip(), **{k: dedent(v).lstrip() for k, v in self.more.items()}}
