"""Questions that a policy asks before it goes on, and the typed replies to them.

Whoever answers looks at one program and changes nothing. A reply is a fact of the journal; what a policy makes of it is
told by facts alone, so that a policy stays a pure function of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from raysearch.board.types import Filing
from raysearch.profile import Profile
from raysearch.types import SEED, Brief, CandidateId, Measurement, Usage

TRIAGE = "triage"
"""Is a profile worth its price now, and with what focus?"""
PLANNER = "planner"
"""What is to be done next: one task."""
PROFILER = "profiler"
"""Where does the time of this program go?"""
PERFORMANCE_EVALUATOR = "performance_evaluator"
"""How does it stand under load, and what is wrong with it?"""
LESSONS_WRITER = "lessons_writer"
"""What do the failures teach, and where else could one look?"""


@dataclass(frozen=True, slots=True)
class Consultation:
    """A question to one role about one program."""

    role: str
    about: CandidateId = SEED
    """Whose program is looked at. SEED: the program that the search starts from, even where none was admitted."""
    brief: Brief = Brief()
    """``task``: what is asked; the rest as mutators are told it."""
    lineage: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to profile before the next task is planned."""

    profile: bool
    focus: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One falsifiable task."""

    title: str
    change: str
    """What to do, in the imperative."""
    hypothesis: str = ""
    """Why it should help."""
    activation_evidence: str = ""
    """What shows that the change takes effect at all."""
    falsifier: str = ""
    """What would show that the hypothesis is wrong."""
    forecast: str = ""
    """The gain that is expected, in words."""
    metric: str = ""
    """The objective that should move; empty: the primary one."""
    minimum_gain: float = 0.0
    """Smallest gain that counts as success, as a share of the value (0.03 is 3 %)."""
    pass_criteria: tuple[str, ...] = ()
    invariants: tuple[str, ...] = ()
    """What must stay as it is."""
    skills: tuple[str, ...] = ()
    """Skills that whoever does it should look at."""
    revert_to_round: int | None = None
    """The round from whose program to go on; 0 is the seed. None: from the latest that was kept."""
    roadmap: str | None = None
    """The roadmap as it should stand from now on; None: as it was."""


@dataclass(frozen=True, slots=True)
class Level:
    """What was measured under one load."""

    name: str
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered. Only what belongs to the role is given."""

    text: str = ""
    decision: Decision | None = None
    task: Task | None = None
    profile: Profile | None = None
    lessons: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ()
    filings: tuple[Filing, ...] = ()
    """For the board of issues; the kernel holds them to what the role may file."""
    usage: Usage = Usage()
