"""The nouns. All are immutable; units are the last word of a name."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NewType

AttemptId = NewType("AttemptId", int)
"""Counts from 1; the target's seed program is 0. An admitted attempt's candidate keeps its number."""
CandidateId = AttemptId
Commit = NewType("Commit", str)
"""A git commit's name, 40 hexadecimal digits."""
Tree = NewType("Tree", str)
"""A git tree's name: equal trees are equal programs."""
Goal = Literal["max", "min"]

SEED = AttemptId(0)


class Stage(StrEnum):
    """What kind of work a job is; also the role of the workers that may do it."""

    MUTATE = "mutate"
    JUDGE = "judge"
    BENCHMARK = "benchmark"


class Outcome(StrEnum):
    ADMITTED = "admitted"
    """Every gate said yes and every benchmark measured it: a candidate."""
    REJECTED = "rejected"
    """A gate said no: the program's own doing."""
    FAILED = "failed"
    """A plug-in or the infrastructure broke: says nothing about the program."""
    ABANDONED = "abandoned"
    """The budget ran out while it was under way."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One axis of the search.

    ``noise`` is the relative spread (0 to 1) below which two values count as equal to a reader;
    ``primary`` marks the one axis by which a single best candidate is named.
    """

    name: str
    goal: Goal = "max"
    unit: str = ""
    noise: float = 0.0
    primary: bool = False
    deterministic: bool = False
    """Two runs of one program give equal values: checked on the seed program, and on no other."""

    @property
    def sign(self) -> float:
        """+1 where more is better, -1 where less is."""
        return 1.0 if self.goal == "max" else -1.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a benchmark says about one objective or side metric: samples, never one number."""

    name: str
    samples: tuple[float, ...]
    unit: str = ""
    goal: Goal = "max"
    conditions: Mapping[str, str] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """Median of the samples; finite if they are."""
        if len(self.samples) == 1:
            return self.samples[0]
        median = statistics.median(self.samples)
        if math.isinf(median):  # the sum of the two in the middle is too large for a float; their halves' is not
            return statistics.median(sample / 2 for sample in self.samples) * 2
        return median


@dataclass(frozen=True, slots=True)
class Inspiration:
    """Another candidate that a mutator may look at; ``workspace.show`` and ``workspace.diff`` read its files."""

    id: CandidateId
    commit: Commit
    scores: Mapping[str, float] = field(default_factory=dict)
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Brief:
    """All that a mutator is told beside the target's own objective (``workspace.target.objective``)."""

    task: str = ""
    feedback: str = ""
    """Why the attempt that is being repaired was refused."""
    inspirations: tuple[Inspiration, ...] = ()
    lessons: tuple[str, ...] = ()
    """Why other children of the same parent were refused, newest last."""
    memory: str = ""
    """What the previous mutation of this lineage wished to remember."""
    parents: tuple[Inspiration, ...] = ()
    """What the program comes from: scores (the objectives and a few more) and summary. No commit is named here:
    ``workspace.parents`` are theirs, in this order."""
    frontier: tuple[Inspiration, ...] = ()
    """The trade-offs: a few members of the frontier, far from each other, best on the primary objective first, without
    those in ``parents``. The objectives' scores alone, neither commit nor summary."""
    profile: str = ""
    """What a profiler found about the parent."""
    messages: tuple[str, ...] = ()
    """What people have told the run's agents, newest last."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One child that a policy wants made.

    No parent: from the target's seed, or from an empty folder without one. Two parents: a merge, whose
    workspace starts at the first. ``repair`` starts from the commit of an attempt that was not admitted;
    the parents stay the causal ones.
    """

    parents: tuple[CandidateId, ...] = ()
    mutator: str = "default"
    brief: Brief = Brief()
    repair: AttemptId | None = None
    lineage: str = ""
    """A label of the policy's own, such as an island; equal labels share a worker where possible."""
    issue: int | None = None
    """Of the board: what it is about."""
    baseline: str = ""
    """The kernel's own: the program is that baseline of the target, and no mutator is asked."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a mutation, or a judge's word, cost. A mutator that failed spent it too.

    ``tokens_in`` is all input, of which ``tokens_cached`` came from the provider's cache.
    """

    cost_usd: float = 0.0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    calls: int = 0
    model: str = ""
    turns: int = 0
    """How often the model was heard, tool calls included."""
    session: str = ""
    """The agent's own name of the conversation."""

    def __add__(self, other: Usage) -> Usage:
        """Both together; names are the later ones."""
        return Usage(
            self.cost_usd + other.cost_usd,
            self.tokens_in + other.tokens_in,
            self.tokens_cached + other.tokens_cached,
            self.tokens_out + other.tokens_out,
            self.calls + other.calls,
            other.model or self.model,
            self.turns + other.turns,
            other.session or self.session,
        )


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one job may spend on models; ``None`` is no limit."""

    cost_usd: float | None = None
    tokens: int | None = None
    """Input (cached too) and output together."""
    calls: int | None = None


UNLIMITED = Allowance()


@dataclass(frozen=True, slots=True)
class Mutation:
    """A mutator's own account of what it did; the files speak for themselves."""

    summary: str = ""
    memory: str = ""
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Change:
    """A mutation that the kernel has committed."""

    commit: Commit
    tree: Tree
    mutation: Mutation = Mutation()
    refusal: str = ""
    """Why the guard says no: paths changed that must not, a program too large. Empty: it says yes."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test of a judge."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Yes or no, with reasons: ``feedback`` is written for whoever makes the next attempt."""

    passed: bool
    feedback: str = ""
    cases: tuple[Case, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)
    usage: Usage | None = None
    """What it cost, where a model judged."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A baseline, as it stands in the repository."""

    name: str
    commit: Commit
    tree: Tree


Standing = Literal["better", "worse", "no_worthwhile_gain", "unsettled"]
"""What pairs say of a candidate beside another, at the confidence asked for."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What interleaved pairs say about one objective. No number is infinite; None is "without bound"."""

    metric: str
    goal: Goal
    unit: str
    """The objective's own; `effect`, `low` and `high` are in it unless ``relative``."""
    relative: bool
    """Whether gains are ratios less one (0.03 is 3 % better) rather than differences."""
    effect: float | None
    """The gain, positive where the candidate is better."""
    low: float | None
    high: float | None
    confidence: float
    """That the gain is between `low` and `high`, at whatever time the pairs stopped (0 to 1)."""
    pairs: int
    evidence: float
    """That it is better: an e-value, 1 being none."""
    verdict: Standing


@dataclass(frozen=True, slots=True)
class Challenge:
    """A benchmark's job to measure two programs in turns, on one device, until it is settled which is better."""

    rival: CandidateId
    commit: Commit
    """The rival's."""
    level: float
    """Chance (0 to 1) that an equal program is called better."""
    pairs_max: int
    time_s: float
    """No pair is begun after so many seconds."""
    reference: bool = False
    """It says how far the search has come, and decides about no place: the rival is the seed or a baseline."""


@dataclass(frozen=True, slots=True)
class Contest:
    """How a challenge ended."""

    verdict: Standing
    comparisons: tuple[Comparison, ...] = ()
    """One for each objective."""
    measurements: tuple[Measurement, ...] = ()
    """Of the challenger, a sample a run: fresh ones, for which it was not chosen."""
    pairs: int = 0
    """Half the runs, rounded up."""
    rival_measurements: tuple[Measurement, ...] = ()
    """Of the rival, at the same time: what is now believed of it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An admitted program."""

    id: CandidateId
    commit: Commit
    tree: Tree
    parents: tuple[CandidateId, ...]
    measurements: tuple[Measurement, ...]
    mutator: str = ""
    summary: str = ""
    lineage: str = ""
    confirmed: bool = True
    """Whether it may stand on a frontier: what it seems to be better at was settled, in pairs, against those that it
    seems to beat."""

    @property
    def scores(self) -> dict[str, float]:
        """The median of each metric, by name."""
        return {m.name: m.value for m in self.measurements}


@dataclass(frozen=True, slots=True)
class Step:
    """One gate or benchmark that every attempt goes through.

    ``digest`` names the evaluator's content: results are reused only where tree, digest and the plan's
    environment agree.
    """

    stage: Stage
    plugin: str
    timeout_s: float = 3600.0
    digest: str = ""
    hopeless: float | None = None
    """Of a short benchmark: a program behind a member of the frontier by so much in every objective, as a share of the
    larger value (above 0, below 1), is not worth the steps that follow. Its numbers count for nothing else."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How a place on the frontier is earned: in interleaved pairs against a member, on one device."""

    min_effect: float = 0.02
    """Smallest gain worth claiming, as a share of the value (0 or more); an objective's noise, if that is more."""
    alpha: float = 0.05
    """``e-lond``: share of all places that may be false; ``fixed``: chance that an equal program gets one."""
    control: Literal["e-lond", "fixed"] = "e-lond"
    pairs_max: int = 500
    time_s: float = 600.0
    """For the pairs of one contest."""
    rivals_max: int = 3
    """Members that a candidate meets at most."""
    margin: float = 2.0
    """A candidate whose primary objective seems worse by so many standard deviations (0 or more) meets nobody."""
    doubt: float = 0.25
    """Once it has won a contest, a lead over another member beyond this share of its value needs no pairs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What every attempt goes through, in order: judges first, cheapest first, then benchmarks."""

    steps: tuple[Step, ...]
    mutate_timeout_s: float = 3600.0
    retries_max: int = 2
    environment: str = ""
    """Digest of what the evaluations run under: interpreter, platform, declared environment."""
    confirmation: Confirmation | None = None
    """None: medians decide who is on the frontier."""
    final: tuple[Step, ...] = ()
    """Gates for those only that would stand on the frontier, after every contest."""
    consultants: tuple[Step, ...] = ()
    """Whom a policy may ask: a step's plug-in is the role, its stage that of the workers that answer."""
    board: bool = False
    """Whether agents see the board of issues, and may file."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run stops. ``None`` is no limit."""

    open_max: int = 1
    """Attempts under way at once (lanes)."""
    attempts_max: int | None = None
    """Attempts ever opened, the seed not counted."""
    run_s: float | None = None
    """Seconds of driving, summed over sessions."""
    cost_usd: float | None = None
    drain_s: float = 60.0
    """Once a limit is reached, how long attempts under way may still take before they are abandoned."""
    failed_in_row_max: int = 25
    """So many failures in a row, none the program's own doing, end the run."""
    silence_s: float = 86_400.0
    """A pool that answers nothing for so long is broken."""
    tokens: int | None = None
    """Of models, input (cached too) and output."""
    calls: int | None = None
    """Of models."""
    gpu_s: float | None = None
    """Seconds of GPUs that jobs held."""
    candidate_usd: float | None = None
    """For one candidate, its judges included; likewise the next two."""
    candidate_tokens: int | None = None
    candidate_calls: int | None = None
    known_in_row_max: int = 1000
    """So many attempts in a row whose program was known already end the run: there is nothing new to be had."""
