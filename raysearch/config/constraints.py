"""Rules of a run beside its target's objective, told as part of it: so they reach whoever is told the objective."""

from __future__ import annotations

from collections.abc import Sequence

HEADING = "# Constraints"
INTRODUCTION = "Beside what is said above, every program of this run must keep to this:"


def with_constraints(objective: str, constraints: Sequence[str]) -> str:
    """The objective's text with the constraints at its end; unchanged without any.

    >>> print(with_constraints("Be fast.", ["No threads."]))
    Be fast.
    <BLANKLINE>
    # Constraints
    <BLANKLINE>
    Beside what is said above, every program of this run must keep to this:
    <BLANKLINE>
    - No threads.
    <BLANKLINE>
    """
    if not constraints:
        return objective
    points = ["- " + "\n  ".join(text.strip().splitlines()) for text in constraints]
    return "\n\n".join([objective.rstrip(), HEADING, INTRODUCTION, "\n".join(points)]) + "\n"
