"""Who an agent can be: a role is a prompt, a permission and a form of reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from raysearch.agents.interface import Permission

Line = Annotated[str, Field(max_length=4_000)]


class ReplyForm(BaseModel):
    """What a model answered; unknown keys are dropped."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Quote(ReplyForm):
    """Text that stands in a file of the program."""

    file: str = Field(description="path of the file, relative to the program's folder")
    quote: str = Field(description="one whole line or more, copied exactly", max_length=20_000)


class Review(ReplyForm):
    """A judge's reply."""

    passed: bool
    reasons: Annotated[tuple[Line, ...], Field(max_length=50)] = ()
    evidence: Annotated[tuple[Quote, ...], Field(max_length=50)] = ()


class Suspicion(ReplyForm):
    """One way in which a program may cheat, with what would prove it."""

    what: Line = Field(description="what it does, and what that makes worthless")
    evidence: Annotated[tuple[Quote, ...], Field(max_length=20)] = ()
    sure: bool = Field(default=False, description="true only where no honest reading of the quoted lines is left")
    checker_seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        default=None, description="a --seed of the accuracy checker with which it would refuse the program, if known"
    )


class Attack(ReplyForm):
    """A red team's reply; empty where it found nothing."""

    suspicions: Annotated[tuple[Suspicion, ...], Field(max_length=50)]


class TriageForm(ReplyForm):
    """Whether to profile before the next task is planned."""

    profile: bool
    focus: Line = ""
    why: Line = ""


class TaskForm(ReplyForm):
    """A planner's reply: see `raysearch.consultation.Task`."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    change: Annotated[str, Field(min_length=1, max_length=20_000)]
    hypothesis: Line = ""
    activation_evidence: Line = ""
    falsifier: Line = ""
    forecast: Line = ""
    metric: Line = ""
    minimum_gain: Annotated[float, Field(ge=0, le=1000)] = 0.0
    pass_criteria: Annotated[tuple[Line, ...], Field(max_length=30)] = ()
    invariants: Annotated[tuple[Line, ...], Field(max_length=30)] = ()
    skills: Annotated[tuple[Line, ...], Field(max_length=30)] = ()
    revert_to_round: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    roadmap: Annotated[str, Field(max_length=20_000)] | None = None


class Issue(ReplyForm):
    """For the board of issues."""

    kind: Literal["bug", "feature", "perf"]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    body: Line = ""
    evidence: Line = ""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0


class Assessment(ReplyForm):
    """A performance evaluator's reply."""

    explanation: Line
    suspicious: Line = ""
    next: Line = ""
    issues: Annotated[tuple[Issue, ...], Field(max_length=20)] = ()


class Lessons(ReplyForm):
    """A lessons writer's reply."""

    lessons: Annotated[tuple[Line, ...], Field(max_length=100)]
    direction: Line = ""


@dataclass(frozen=True, slots=True)
class Role:
    """What an agent may do in a role, and what its reply must be; None: text."""

    permission: Permission
    reply: type[ReplyForm] | None = None


ROLES: Mapping[str, Role] = {
    "implementer": Role(Permission.EDIT),
    "judge": Role(Permission.READ, Review),
    "red_team": Role(Permission.READ, Attack),
    "triage": Role(Permission.NONE, TriageForm),
    "planner": Role(Permission.READ, TaskForm),
    "performance_evaluator": Role(Permission.READ, Assessment),
    "lessons_writer": Role(Permission.NONE, Lessons),
}
