"""What a program is worth beside the one that its run began with, beside baselines, and which commits carry it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from raysearch.errors import Fault, UserError
from raysearch.facts import RunStarted
from raysearch.run import baselines
from raysearch.run.ablation import Ablated, Beside, Link, ablated, beside
from raysearch.run.folder import RunFolder
from raysearch.run.remeasure import Extent, Remeasured, remeasured
from raysearch.sinks.lines import one_line
from raysearch.types import Commit

SEED_PROGRAM = "seed"


@dataclass(frozen=True, slots=True)
class Against:
    """The program measured in turns with one that it is compared with."""

    name: str
    """`SEED_PROGRAM`, or a baseline's."""
    stands_for: str
    """What that is, in words."""
    beside: Beside


@dataclass(frozen=True, slots=True)
class Gains:
    """What was measured of a program on this machine."""

    why_not: str = ""
    """Why nothing was measured; empty if something was."""
    refused: str = ""
    """Why the accuracy checker says no to the program now; empty if it says yes, or was not asked."""
    seed: int = 0
    """Of the inputs."""
    extent: Extent = Extent()
    measured_at_s: float = 0.0
    """When it began, in seconds since 1970."""
    against: tuple[Against, ...] = ()
    ablated: tuple[Ablated, ...] | None = None
    """Oldest first; None where that was not asked for."""
    conditions: dict[str, str] = field(default_factory=dict)


def measured(
    folder: RunFolder,
    links: Sequence[Link],
    program: Commit,
    start: RunStarted,
    *,
    ablate: bool,
    seed: int,
    extent: Extent,
    told: Callable[[str], None] = lambda _: None,
) -> Gains:
    """``program``, the last of ``links``, beside the seed and baselines, and, if ``ablate``, what each link is worth.

    The run, which began with ``start``, is only read. Says why where nothing can be measured.
    """
    began_s = time.time()
    try:
        with remeasured(folder, start, seed, extent, told) as place:
            told("judging the program")
            refusal = place.refused(program)
            if refusal:
                why = "the accuracy checker says no to it on this machine, with inputs drawn afresh"
                return Gains(why, one_line(refusal, 1000), seed, extent, began_s)
            against = _against(place, program, start.origin, start.seeded)
            parts = ablated(place, links, start.seeded) if ablate else None
            conditions = {"sandbox": place.sandbox, "target_digest": place.target.digest}
            return Gains("", "", seed, extent, began_s, against, parts, conditions)
    except (UserError, Fault) as error:
        return Gains(one_line(str(error), 1000), "", seed, extent, began_s)


def _against(place: Remeasured, program: Commit, origin: Commit, seeded: bool) -> tuple[Against, ...]:
    place.told("measuring it beside the seed program")
    found = [Against(SEED_PROGRAM, "the program that the run started from", _origin(place, program, origin, seeded))]
    commits = baselines.committed(place.repository, place.target)
    for baseline in place.target.baselines:
        place.told(f"measuring it beside the baseline {baseline.name}")
        found.append(Against(baseline.name, baseline.why, _baseline(place, program, commits[baseline.name])))
    return tuple(found)


def _origin(place: Remeasured, program: Commit, origin: Commit, seeded: bool) -> Beside:
    if not seeded:
        return Beside(why="the target has no seed program")
    if place.repository.tree_of(program) == place.repository.tree_of(origin):
        return Beside(why="it is the seed program")
    return beside(place, program, origin)


def _baseline(place: Remeasured, program: Commit, baseline: Commit) -> Beside:
    """Baselines pass the same gate first."""
    if place.repository.tree_of(program) == place.repository.tree_of(baseline):
        return Beside(why="it is the same program")
    try:
        refusal = place.refused(baseline)
    except Fault as fault:
        return Beside(why=one_line(str(fault)))
    if refusal:
        return Beside(why=f"the accuracy checker says no to the baseline: {one_line(refusal, 300)}")
    return beside(place, program, baseline)
