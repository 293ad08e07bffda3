"""Which commits of a lineage carry its gain: each measured beside its parent, and the last program without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pygit2

from raysearch.errors import Fault
from raysearch.repository import Repository
from raysearch.run.remeasure import Remeasured
from raysearch.sinks.lines import name_of, one_line
from raysearch.types import AttemptId, Commit, Comparison, Contest, Standing, Tree

Carries = Literal["carries", "none", "costs", "unsettled", "unknown"]
"""Whether a commit is worth its place: it does; there is no gain worth claiming; the program is better without it; as
many pairs as there were do not tell; it was not measured."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A program measured in turns with another one, or why it was not."""

    contest: Contest | None = None
    why: str = ""
    """Why there is no contest; empty if there is one."""

    @property
    def carries(self) -> Carries:
        """What the contest says of the program that challenged."""
        if self.contest is None:
            return "unknown"
        found = {standing(comparison) for comparison in self.contest.comparisons}
        if "better" in found:
            return "carries"
        if "unsettled" in found:
            return "unsettled"
        return "costs" if "worse" in found else "none"


def standing(found: Comparison) -> Standing:
    """The verdict; ``worse`` also where a contest had ended for want of a gain, and the interval has losses alone."""
    return "worse" if found.verdict == "no_worthwhile_gain" and (found.high or 0.0) < 0 else found.verdict


@dataclass(frozen=True, slots=True)
class Link:
    """A commit of the lineage, and what it was made from."""

    id: AttemptId
    commit: Commit
    parent: AttemptId | None
    """None: the target's seed program, or an empty folder."""
    base: Commit
    """The parent's."""
    mutator: str = ""
    summary: str = ""
    merged: tuple[AttemptId, ...] = ()
    """Other parents: what came from them is part of this commit's change."""


@dataclass(frozen=True, slots=True)
class Ablated:
    """What one commit is worth."""

    link: Link
    step: Beside
    """Its program beside its parent's."""
    left_out: Beside
    """The last program beside itself without this commit."""

    @property
    def carries(self) -> Carries:
        """By the last program where the commit comes out of it alone, else by the step that it was."""
        return self.left_out.carries if self.left_out.contest is not None else self.step.carries


def beside(place: Remeasured, own: Commit, rival: Commit) -> Beside:
    """``own`` measured in turns with ``rival``."""
    try:
        return Beside(place.contest(own, rival))
    except Fault as fault:
        return Beside(why=one_line(str(fault)))


def ablated(place: Remeasured, links: Sequence[Link], seeded: bool) -> tuple[Ablated, ...]:
    """What each of ``links``, oldest first, is worth; the last is the program that is asked about.

    ``seeded``: whether the first one was made from a program.
    """
    found = []
    last = links[-1] if links else None
    for number, link in enumerate(links, start=1):
        where = f"{name_of(link.id)}, {number} of {len(links)}"
        place.told(f"measuring {where}, beside what it was made from")
        step = _step(place, link, seeded)
        assert last is not None
        if link is last:
            found.append(Ablated(link, step, step))
            break
        place.told(f"measuring the last program without {where}")
        found.append(Ablated(link, step, _left_out(place, link, last, seeded)))
    return tuple(found)


def _step(place: Remeasured, link: Link, seeded: bool) -> Beside:
    if link.parent is None and not seeded:
        return Beside(why="the first program: there is none before it")
    if place.repository.tree_of(link.commit) == place.repository.tree_of(link.base):
        return Beside(why="it changes nothing")
    return beside(place, link.commit, link.base)


def _left_out(place: Remeasured, link: Link, last: Link, seeded: bool) -> Beside:
    if link.parent is None and not seeded:
        return Beside(why="the first program: all others were made from it")
    tree = without(place.repository, last.commit, link.commit, link.base)
    if tree is None:
        return Beside(why="does not come out alone: later commits change the same lines")
    if tree == place.repository.tree_of(last.commit):
        return Beside(why="nothing of it is left in the last program")
    commit = place.repository.commit(tree, (last.commit,), f"without {link.id}\n", 0.0)
    try:
        refusal = place.refused(commit)
    except Fault as fault:
        return Beside(why=one_line(str(fault)))
    if refusal:
        return Beside(why=f"does not come out alone: without it the accuracy checker says no: {one_line(refusal, 300)}")
    return beside(place, last.commit, commit)


def without(repository: Repository, program: Commit, change: Commit, base: Commit) -> Tree | None:
    """The tree of ``program`` without what ``change`` changed in ``base``, as ``git revert`` finds it by merging.

    None where other changes are in the way.
    """
    git = pygit2.Repository(str(repository.path))
    changed, whole, before = (git[pygit2.Oid(hex=commit)].peel(pygit2.Tree) for commit in (change, program, base))
    index = git.merge_trees(changed, whole, before)
    if index.conflicts is not None:
        return None
    return Tree(str(index.write_tree(git)))
