"""Who descends from whom."""

from __future__ import annotations

from collections.abc import Mapping

from raysearch.types import Candidate, CandidateId

LINE_MAX = 1000
"""Ancestors that are looked at to find out whether two candidates are kin."""


def related(candidates: Mapping[CandidateId, Candidate], one: CandidateId, other: CandidateId) -> bool:
    """Whether one descends from the other, or has more than `LINE_MAX` ancestors that are younger than it.

    A child's number is above its parents', so that the search ends where the older one was born.
    """
    old, young = min(one, other), max(one, other)
    line, seen = [young], {young}
    while line and len(seen) <= LINE_MAX:
        for parent in candidates[line.pop()].parents:
            if parent == old:
                return True
            if parent > old and parent not in seen:
                seen.add(parent)
                line.append(parent)
    return bool(line)
