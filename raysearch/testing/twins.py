"""Twins: one seed must give the same facts under every pool."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Compared,
    Consulted,
    Entry,
    Fact,
    JobFailed,
    Judged,
    Measured,
    Mutated,
    SessionOpened,
)
from raysearch.types import Commit

ANY = Commit("")


def essence(fact: Fact) -> Fact:
    """``fact`` without what two equal runs may differ in.

    Those are the worker, how long it took, the driver's host and process, and the names of commits, in which the
    time of opening takes part. Trees stay: they are the programs.
    """
    match fact:
        case SessionOpened():
            return replace(fact, host="", pid=0, version="")
        case AttemptOpened(proposal=proposal):
            shown = tuple(replace(other, commit=ANY) for other in proposal.brief.inspirations)
            return replace(fact, proposal=replace(proposal, brief=replace(proposal.brief, inspirations=shown)))
        case Mutated():
            return replace(fact, change=replace(fact.change, commit=ANY), worker="", took_s=0.0)
        case Judged() | Measured() | Compared() | JobFailed() | Consulted():
            return replace(fact, worker="", took_s=0.0)
        case AttemptClosed(candidate=candidate) if candidate is not None:
            return replace(fact, candidate=replace(candidate, commit=ANY))
        case _:
            return fact


def essences(entries: Iterable[Entry]) -> list[Fact]:
    """The essence of every fact of a journal, in order."""
    return [essence(entry.fact) for entry in entries]
