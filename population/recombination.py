"""Two parents for a mutator that reads: what the second one is, and why it was chosen."""

from __future__ import annotations

from collections.abc import Sequence

from raysearch.types import Candidate, Objective


def task(objectives: Sequence[Objective], first: Candidate, second: Candidate) -> str:
    """What the child of two candidates is to become. The workspace starts at ``first``."""
    theirs = _ahead(objectives, second, first)
    ours = _ahead(objectives, first, second)
    lines = [
        f"Combine two programs. The files before you are those of program {first.id}. Program {second.id} is the second"
        " parent: it is shown first among the other programs, with what sets it apart from yours. Neither descends from"
        " the other, so that each has changes that the other never saw.",
        "",
    ]
    if theirs:
        lines.append(f"Program {second.id} is ahead in {theirs}: find what makes it so, and take that over.")
    else:
        lines.append(
            f"Program {second.id} is ahead in nothing that is measured, but went another way: take over what helps."
        )
    if ours:
        lines.append(f"Yours is ahead in {ours}: keep what makes it so.")
    lines.append("Leave one program that works, not two beside each other.")
    return "\n".join(lines)


def _ahead(objectives: Sequence[Objective], one: Candidate, other: Candidate) -> str:
    """In what ``one`` is better, with both values."""
    ours, theirs = one.scores, other.scores
    parts = []
    for o in objectives:
        if o.name in ours and o.name in theirs and o.sign * ours[o.name] > o.sign * theirs[o.name]:
            unit = f" {o.unit}" if o.unit not in ("", "1") else ""
            parts.append(f"{o.name} ({ours[o.name]:.6g}{unit} against {theirs[o.name]:.6g}{unit})")
    return ", ".join(parts)
