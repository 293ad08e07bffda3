"""Profile-guided: work on the component that takes the most time, until it gives no more; then on the next."""

from __future__ import annotations

import random
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, get_args

from population.attention import HEADROOM, Attention, component, task, told
from population.frontier import Vector, improves, primary, vector
from population.policies.breeder import Breeder
from population.policies.options import check_number, check_values, check_whole
from raysearch.consultation import PROFILER, Consultation
from raysearch.errors import ConfigError, nearest
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    ConsultationOpened,
    Consulted,
    Fact,
    RunStarted,
    SessionOpened,
    Unanswered,
)
from raysearch.profile import Bound
from raysearch.protocols import Ask, View
from raysearch.types import AttemptId, Brief, Candidate, CandidateId, Outcome, Proposal

PROFILING = "profiling"
"""Lineage of its questions."""
LINES_MAX = 12
"""Components that a brief shows."""
UNANSWERED_MAX = 3
"""Questions in a row without an answer after which no more are asked in this session."""


@dataclass(kw_only=True, eq=False)
class ProfileGuided(Breeder):
    """A profiler says where the time of the head goes; children are asked to shorten one component, and only that.

    The component is the one with the largest share times headroom. Attention stays on it until so many attempts at it,
    begun since the latest gain of the head beyond the noise, have closed without another, then goes to the next. After
    a gain the new head is profiled, while the other lanes go on with what is known. A component that was given up comes
    back when its share has grown. A proposal's lineage names its component.

    The head moves to a child that is better on the primary objective, or equal there and nowhere worse, if it may
    stand on the frontier. Mutators that ask no model work as anywhere; what is asked of them they do not read.

    Options
        patience: attempts at a component, admitted or refused, without a gain after which it is given up.
        share_min: share of the time below which a component is left alone.
        comeback: a component is taken up again once its share is so many times what it was given up at; 1 or more.
        headroom: by what bounds a component (compute, memory, io, network, latency, synchronization, overhead,
            unknown): share of its time that work on it may win. Replaces the built-in number.
        beam: children come from so many of the best, the head among them.
        repairs: how often in a row a refused try is repaired.
        unfocused: whether children are asked for without a focus when no component is left, or nobody says where the
            time goes; otherwise the run is done then.
    """

    name: ClassVar[str] = "profile-guided"

    patience: int = 4
    share_min: float = 0.1
    comeback: float = 1.25
    headroom: dict[str, float] = field(default_factory=dict)
    beam: int = 1
    repairs: int = 1
    unfocused: bool = True

    _attention: Attention = field(init=False, repr=False)
    _noise: tuple[float, ...] = field(init=False, repr=False, default=())
    _head: CandidateId | None = field(init=False, repr=False, default=None)
    _standing: Vector = field(init=False, repr=False, default=())
    """Vector of the head."""
    _anchor: float = field(init=False, repr=False, default=0.0)
    """The primary objective's value, more being better, at the latest gain beyond the noise."""
    _gains: int = field(init=False, repr=False, default=0)
    """How many there were."""
    _births: dict[AttemptId, int] = field(init=False, repr=False, default_factory=dict)
    """Attempts under way, with the gains that were behind them when they were opened."""
    _leaders: list[tuple[float, CandidateId]] = field(init=False, repr=False, default_factory=list)
    """The best on the primary objective, minus its value first."""
    _broken: dict[AttemptId, tuple[Proposal, str, int]] = field(init=False, repr=False, default_factory=dict)
    """Refused attempts to be repaired: how they were asked for, why refused, and the repairs that they are in a row."""
    _repairing: dict[AttemptId, int] = field(init=False, repr=False, default_factory=dict)
    """Repairs under way: which in a row each is."""
    _asking: dict[int, CandidateId] = field(init=False, repr=False, default_factory=dict)
    """Questions under way, and whom they are about."""
    _about: CandidateId | None = field(init=False, repr=False, default=None)
    """Whose profile is the latest."""
    _due: bool = field(init=False, repr=False, default=True)
    """Whether the head should be profiled."""
    _unanswered: int = field(init=False, repr=False, default=0)
    """Questions in a row that came to nothing."""
    _why: str = field(init=False, repr=False, default="")
    """Why the latest did."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self.name, "patience", self.patience, 1)
        check_number(self.name, "share_min", self.share_min, 0.0, 1.0)
        check_number(self.name, "comeback", self.comeback, 1.0)
        check_whole(self.name, "beam", self.beam, 1)
        check_whole(self.name, "repairs", self.repairs, 0)
        check_values(self.name, "headroom", self.headroom)
        for bound, share in self.headroom.items():
            if bound not in get_args(Bound):
                raise ConfigError(
                    f"policy {self.name}: headroom: nothing is bound by {bound!r}.{nearest(bound, get_args(Bound))}"
                )
            check_number(self.name, f"headroom.{bound}", share, 0.0, 1.0)
        self._attention = Attention(self.patience, self.share_min, self.comeback, {**HEADROOM, **self.headroom})

    # -- Policy -------------------------------------------------------------------------------------------

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Ask]:
        if slots < 1 or self._stopped():
            return []
        question = self._question(view)
        if question is None:
            return self._bred(view, slots, rng)
        # Before the first profile the other lanes wait for it; later they go on with the one that there is.
        return [question, *(self._bred(view, slots - 1, rng) if self._about is not None else ())]

    def tell(self, fact: Fact) -> None:
        match fact:
            case RunStarted():
                floor = 0.0 if fact.plan.confirmation is None else fact.plan.confirmation.min_effect
                self._noise = tuple(o.noise if o.deterministic else max(o.noise, floor) for o in fact.objectives)
            case AttemptOpened(attempt, proposal):
                self._births[attempt] = self._gains
                if proposal.repair in self._broken:
                    self._repairing[attempt] = self._broken.pop(proposal.repair)[2] + 1
            case ConsultationOpened(number, question) if question.lineage == PROFILING:
                self._asking[number], self._due = question.about, False
            case Consulted(number, reply) if number in self._asking:
                about = self._asking.pop(number)
                if reply.profile is None or not reply.profile.findings:
                    self._nothing(reply.text or "nothing was found")
                else:
                    self._attention.seen(reply.profile)
                    self._about, self._unanswered = about, 0
                    self._forget_others()
            case Unanswered(number, reason) if number in self._asking:
                del self._asking[number]
                self._nothing(reason)
            case SessionOpened():
                self._due, self._unanswered = self._due or self._unanswered > 0, 0
            case _:
                pass
        super().tell(fact)

    def meet(self, candidate: Candidate) -> None:
        super().meet(candidate)
        point = vector(candidate, self._objectives)
        if point is not None:
            self._stands(candidate, point)

    def over(self, view: View | None = None) -> str:
        if reason := super().over(view):
            return reason
        if self.unfocused or self._founder is None or self._asking or view is None or self._question(view) is not None:
            return ""
        if self._about is not None:
            if self._attention.focus is not None:
                return ""
            return f"no component that takes {self.share_min:.0%} of the time or more is left to be worked on"
        if self._why:
            return f"nobody says where the time goes: {self._why}"
        return "nobody can be asked where the time goes: this run has no profiler"

    # -- what is asked for --------------------------------------------------------------------------------

    def _question(self, view: View) -> Consultation | None:
        """Where does the time of the head go? None: that is known, or being asked, or nobody can say."""
        if self._head is None or not self._due or self._asking or self._unanswered >= UNANSWERED_MAX:
            return None
        if PROFILER not in (step.plugin for step in view.plan.consultants):
            return None
        focus = "" if self._attention.focus is None else self._attention.focus.component
        brief = Brief(task=focus, parents=self._parents_of(view, (self._head,)))
        return Consultation(PROFILER, self._head, brief, PROFILING)

    @property
    def _aim(self) -> str:
        """Lineage of the next attempts: the component that has the attention."""
        return "" if self._attention.focus is None else component(self._attention.focus)

    def _labels(self, _view: View, slots: int, /) -> list[str]:
        waiting = self._about is None and bool(self._asking)
        focused = self._attention.focus is not None
        wanted = self._founder is None or focused or (self.unfocused and not waiting)
        return [self._aim] * slots if wanted else []

    def _bred(self, view: View, slots: int, rng: random.Random) -> list[Proposal]:
        aim = self._aim
        mended = [self._mended(view, attempt) for attempt, (was, _, _) in self._broken.items() if was.lineage == aim]
        return mended[:slots] + super()._bred(view, max(0, slots - len(mended)), rng)

    def _mended(self, view: View, attempt: AttemptId) -> Proposal:
        """A refused attempt once more, from where it got to."""
        was, reason, _ = self._broken[attempt]
        return Proposal(was.parents, was.mutator, self._brief(view, was.parents, reason), attempt, was.lineage)

    def _child(self, view: View, label: str, rng: random.Random, /) -> Proposal:
        others = [number for _, number in self._leaders if number != self._head][: self.beam - 1]
        chosen = rng.choice([self._head, *others]) if others else self._head
        parents = () if chosen is None else (chosen,)
        return Proposal(parents, self._mutator(rng), self._brief(view, parents), lineage=label)

    def _brief(self, view: View, parents: tuple[CandidateId, ...], feedback: str = "") -> Brief:
        focus, profile, about = self._attention.focus, self._attention.profile, self._about
        return Brief(
            task="" if focus is None else task(focus),
            feedback=feedback,
            lessons=self._lessons_of(parents[0] if parents else None, without=feedback),
            parents=self._parents_of(view, parents),
            frontier=self._beside(parents),
            profile="" if profile is None or about is None else told(profile, about, LINES_MAX),
        )

    # -- what came of it ----------------------------------------------------------------------------------

    def _nothing(self, reason: str) -> None:
        """A question came to nothing: it is asked again when the head has changed."""
        self._unanswered += 1
        self._why = reason

    def _closed(self, fact: AttemptClosed, proposal: Proposal, point: Vector | None, /) -> None:
        super()._closed(fact, proposal, point)
        in_row, latest = self._repairing.pop(fact.attempt, 0), self._births.pop(fact.attempt, -1) == self._gains
        gained = fact.candidate is not None and point is not None and self._stands(fact.candidate, point)
        if fact.outcome not in (Outcome.ADMITTED, Outcome.REJECTED) or not proposal.parents:
            return
        if fact.attempt in self._committed and fact.outcome is Outcome.REJECTED and in_row < self.repairs:
            self._broken[fact.attempt] = (proposal, fact.reason, in_row)
        if proposal.lineage and (latest or gained):  # what began before the latest gain says nothing of the new head
            self._attention.closed(proposal.lineage, gained)
        self._forget_others()

    def _stands(self, candidate: Candidate, point: Vector) -> bool:
        """Take a candidate in; whether it is a new head, and ahead of the latest gain beyond the noise."""
        axis = primary(self._objectives)
        if candidate.confirmed or self._head is None:
            insort(self._leaders, (-point[axis], candidate.id))
            del self._leaders[self.beam :]
        if self._head is None:
            self._head, self._standing, self._anchor = candidate.id, point, point[axis]
            return False
        if not candidate.confirmed or not improves(point, self._standing, axis):
            return False
        self._head, self._standing = candidate.id, point
        if point[axis] - self._anchor <= self._noise[axis] * abs(self._anchor):
            return False
        self._anchor, self._due = point[axis], True
        self._gains += 1
        return True

    def _forget_others(self) -> None:
        """What was refused is repaired only while the attention is on what it was about."""
        for attempt in [attempt for attempt, (was, _, _) in self._broken.items() if was.lineage != self._aim]:
            del self._broken[attempt]
