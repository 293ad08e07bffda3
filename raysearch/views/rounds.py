"""Rounds of a search that works in them: what was to be done, what was tried, and whether that bore the task out.

A pure fold over facts. Whatever belongs to round 5 has the lineage ``round-5``; round 0 is the program that the search
starts from. What a planner forecast and how it turned out are kept apart: only the framework's own measurements resolve
a task, and only against the program that the child was made from.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum

from raysearch.consultation import TRIAGE, Decision, Reply, Task
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    Compared,
    ConsultationOpened,
    Consulted,
    Fact,
    RunEnded,
    RunStarted,
    SessionOpened,
    Unanswered,
)
from raysearch.profile import Profile
from raysearch.types import (
    SEED,
    AttemptId,
    Candidate,
    CandidateId,
    Comparison,
    Confirmation,
    Contest,
    Measurement,
    Objective,
    Outcome,
)

_LABEL = re.compile(r"(?:[^/]*/)?round-(0|[1-9]\d{0,8})")
"""Several loops that share a run put their names before it."""
USUAL = Confirmation()
REASON_CHARS, SAID_CHARS = 300, 4_000
"""Of a refusal, as it is remembered; as a page of its own tells it."""


class Resolution(StrEnum):
    """How a round turned out: whether its task was borne out, by the framework's measurements alone; or why there is no
    word on that.
    """

    PROVEN = "PROVEN"
    """Better than the causal parent, beyond the noise and by as much as was asked for."""
    DISPROVEN = "DISPROVEN"
    """Worse than the causal parent, beyond the noise."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """Within the noise, or not comparable."""
    UNMEASURED = "UNMEASURED"
    """Nothing came of it that could be measured."""
    UNPLANNED = "UNPLANNED"
    """Nobody set a task, so nothing was forecast that could be borne out, whatever was measured."""
    FAILED = "FAILED"
    """Its attempts broke for reasons that are not the program's: that says nothing about its task."""


def label(number: int) -> str:
    """The lineage of what belongs to a round."""
    return f"round-{number}"


def one_line(text: str, chars: int) -> str:
    """``text`` on one line, without what is not printable, cut after ``chars``."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * chars]).split())
    return line if len(line) <= chars else line[: chars - 1] + "…"


def number_of(lineage: str) -> int | None:
    """The round that a lineage names; None if it names none."""
    found = _LABEL.fullmatch(lineage)
    return None if found is None else int(found[1])


@dataclass(slots=True)
class Try:
    """One attempt of a round."""

    attempt: AttemptId
    repair: AttemptId | None = None
    outcome: Outcome | None = None
    """None: under way."""
    reason: str = ""
    """The beginning, on one line."""
    said: str = ""
    """More of it, as it was written."""
    contest: Contest | None = None
    """With the program that it was made from."""


@dataclass(slots=True)
class Round:
    """What is known of one round."""

    number: int
    base: CandidateId | None = None
    """The causal parent: what its attempts were made from. None: nothing, or no attempt yet."""
    asked: list[str] = field(default_factory=list)
    """Roles, in the order in which they were asked."""
    questions: list[int] = field(default_factory=list)
    """The numbers of these consultations."""
    unanswered: dict[str, str] = field(default_factory=dict)
    """Roles that gave no reply, and why."""
    decision: Decision | None = None
    tasks: list[Task] = field(default_factory=list)
    """What the planner said; the last counts."""
    tries: list[Try] = field(default_factory=list)
    child: Candidate | None = None
    """Admitted."""
    kept: bool = False
    """Whether work went on from the child."""

    @property
    def task(self) -> Task | None:
        return self.tasks[-1] if self.tasks else None

    @property
    def refusals(self) -> list[Try]:
        return [one for one in self.tries if one.outcome is Outcome.REJECTED]

    @property
    def failures(self) -> list[Try]:
        """What broke for reasons that are not the program's."""
        return [one for one in self.tries if one.outcome is Outcome.FAILED]

    @property
    def broken(self) -> bool:
        """Whether a failure was the last of it."""
        return self.child is None and bool(self.tries) and self.tries[-1].outcome is Outcome.FAILED


@dataclass(frozen=True, slots=True)
class Finding:
    """A child beside its causal parent in one metric."""

    resolution: Resolution
    metric: str
    unit: str = ""
    before: float | None = None
    after: float | None = None
    gain: float | None = None
    """As a share of the parent's value, positive where the child is better; None where that says nothing."""
    why: str = ""
    """Where the figures do not say it all."""


@dataclass(slots=True)
class Book:
    """Told a run's facts in order; what is of no round passes by."""

    objectives: tuple[Objective, ...] = ()
    confirmation: Confirmation | None = None
    rounds: dict[int, Round] = field(default_factory=dict)
    latest: int = 0
    """The highest number of a round."""
    roadmap: str = ""
    """As the planner left it last."""
    head: CandidateId | None = None
    """The latest program that was kept."""
    programs: dict[CandidateId, Candidate] = field(default_factory=dict)
    """Children of rounds, and what others have found."""
    profile: Profile | None = None
    """The latest one."""
    said: str = ""
    """What the profiler said beside it."""
    profiled: CandidateId | None = None
    """Whose it is."""
    asking: dict[int, tuple[int, str, CandidateId]] = field(default_factory=dict)
    """Consultations under way: round, role, and whom they are about."""
    ended: bool = False
    _open: dict[AttemptId, int] = field(default_factory=dict)

    def told(self, fact: Fact) -> None:
        """Fold one fact in."""
        match fact:
            case RunStarted():
                self.objectives, self.confirmation = fact.objectives, fact.plan.confirmation
            case ConsultationOpened(consultation, question):
                if (number := number_of(question.lineage)) is not None:
                    self._round(number).asked.append(question.role)
                    self._round(number).questions.append(consultation)
                    self.asking[consultation] = number, question.role, question.about
            case Consulted() if fact.consultation in self.asking:
                number, role, about = self.asking.pop(fact.consultation)
                self._heard(self._round(number), role, about, fact.reply)
            case Unanswered() if fact.consultation in self.asking:
                number, role, _ = self.asking.pop(fact.consultation)
                self._round(number).unanswered[role] = fact.reason
            case AttemptOpened():
                self._opened(fact)
            case Compared() if fact.attempt in self._open:
                found = self._round(self._open[fact.attempt])
                if fact.rival == found.base:
                    found.tries[-1].contest = fact.contest
            case AttemptClosed() if fact.attempt in self._open:
                self._closed(self._round(self._open.pop(fact.attempt)), fact)
            case RunEnded() | SessionOpened():
                self.ended = isinstance(fact, RunEnded)
            case _:
                pass

    # -- what it says -------------------------------------------------------------------------------------

    def program(self, number: int) -> Candidate | None:
        """What a round brought; None if it brought nothing that passed every gate."""
        found = self.rounds.get(number)
        return None if found is None else found.child

    def over(self, round_: Round, current: int = 0) -> bool:
        """Whether there will be no more attempts of a round; ``current`` is the one that is under way or to come, where
        that is known to be later than facts say.
        """
        return round_.child is not None or self.ended or round_.number < max(self.latest, current)

    def resolved(self, round_: Round) -> Finding:
        """How a round turned out."""
        task = round_.task
        metric = self._main() if task is None else task.metric.strip() or self._main()
        if round_.broken:
            times, last = len(round_.failures), round_.failures[-1].reason
            many = "1 attempt" if times == 1 else f"{times} attempts"
            return Finding(Resolution.FAILED, metric, why=f"{many} failed, the last: {last}".rstrip(": "))
        if task is not None:
            return self.beside(round_, metric, task.minimum_gain)
        found = self.beside(round_, metric)
        within = found.before is not None and found.resolution is Resolution.INCONCLUSIVE and not found.why
        return replace(found, resolution=Resolution.UNPLANNED, why="within the noise" if within else found.why)

    def gained(self, round_: Round) -> bool:
        """Whether it brought a program that was kept, and is better in some objective beyond the noise."""
        found = (self.beside(round_, axis.name) for axis in self.objectives)
        return round_.kept and any(one.resolution is Resolution.PROVEN for one in found)

    def without_gain(self, current: int = 0) -> list[Round]:
        """The latest rounds that are over, and gained nothing one and all; oldest first. ``current``: see `over`.

        Rounds that failed are passed over: of what was to be done nothing was tried.
        """
        found: list[Round] = []
        for number in sorted(self.rounds, reverse=True):
            round_ = self.rounds[number]
            if number == 0 or (self.over(round_, current) and self.gained(round_)):
                break
            if self.over(round_, current) and not round_.broken:
                found.append(round_)
        return found[::-1]

    def beside(self, round_: Round, metric: str, least: float = 0.0) -> Finding:
        """A round's child beside its causal parent in ``metric``; a gain counts from the share ``least``."""
        child, base = round_.child, None if round_.base is None else self.programs.get(round_.base)
        if child is None:
            return Finding(Resolution.UNMEASURED, metric)
        new, old = _measured(child, metric), None if base is None else _measured(base, metric)
        if new is None:
            return Finding(Resolution.UNMEASURED, metric, why=f"nothing here measures {metric!r}")
        if old is None:
            why = "there was no program before it to compare it with"
            return Finding(Resolution.INCONCLUSIVE, metric, new.unit, None, new.value, None, why)
        goal = next((o.goal for o in self.objectives if o.name == metric), new.goal)
        gain = (new.value - old.value) * (1.0 if goal == "max" else -1.0)
        share = gain / abs(old.value) if old.value and math.isfinite(gain / abs(old.value)) else None
        pairs = _paired(round_, metric)
        if pairs is not None:
            share = pairs.effect if pairs.relative else share
            found, why = _of_pairs(pairs, share, least)
        else:
            found, why = self._of_medians(metric, gain, abs(old.value), least)
            if found is Resolution.PROVEN and not child.confirmed:
                found, why = Resolution.INCONCLUSIVE, "it seems better, but pairs of measurements did not settle it"
        return Finding(found, metric, new.unit, old.value, new.value, share, why)

    # -- inside -------------------------------------------------------------------------------------------

    def _round(self, number: int) -> Round:
        self.latest = max(self.latest, number)
        return self.rounds.setdefault(number, Round(number))

    def _main(self) -> str:
        """The objective that counts where nothing else is said."""
        return next((o.name for o in self.objectives if o.primary), self.objectives[0].name if self.objectives else "")

    def _heard(self, round_: Round, role: str, about: CandidateId, reply: Reply) -> None:
        if role == TRIAGE:
            round_.decision = reply.decision
        if reply.profile is not None:
            self.profile, self.said, self.profiled = reply.profile, reply.text, about
        if reply.task is not None:
            round_.tasks.append(reply.task)
            if reply.task.roadmap is not None:
                self.roadmap = reply.task.roadmap.strip()

    def _opened(self, fact: AttemptOpened) -> None:
        number = 0 if fact.attempt == SEED else number_of(fact.proposal.lineage)
        if number is None:
            return
        round_ = self._round(number)
        round_.base = fact.proposal.parents[0] if fact.proposal.parents else None
        round_.tries.append(Try(fact.attempt, fact.proposal.repair))
        self._open[fact.attempt] = number

    def _closed(self, round_: Round, fact: AttemptClosed) -> None:
        last = next(one for one in round_.tries if one.attempt == fact.attempt)
        last.outcome, last.reason = fact.outcome, one_line(fact.reason, REASON_CHARS)
        last.said = fact.reason.strip()[:SAID_CHARS]
        if fact.candidate is None:
            return
        round_.child = self.programs[fact.attempt] = fact.candidate
        round_.kept = self._improves(round_, fact.candidate)
        if round_.kept:
            self.head = fact.attempt

    def _improves(self, round_: Round, child: Candidate) -> bool:
        """Better than its causal parent on the primary objective, or equal there and nowhere worse.

        Where the two met in pairs, what those say counts; otherwise the medians.
        """
        if any(not math.isfinite(child.scores.get(o.name, math.nan)) for o in self.objectives):
            return False
        base = None if round_.base is None else self.programs.get(round_.base)
        if base is None:
            return self.head is None
        gains: dict[str, float] = {}
        for axis in self.objectives:
            pairs, old = _paired(round_, axis.name), base.scores.get(axis.name)
            if pairs is not None and pairs.effect is not None:
                gains[axis.name] = pairs.effect
            else:
                gains[axis.name] = 0.0 if old is None else axis.sign * (child.scores[axis.name] - old)
        first = gains[self._main()]
        return first > 0 or (first == 0 and all(gain >= 0 for gain in gains.values()))

    def _of_medians(self, metric: str, gain: float, size: float, least: float) -> tuple[Resolution, str]:
        axis = next((o for o in self.objectives if o.name == metric), None)
        worthwhile = (self.confirmation or USUAL).min_effect
        if axis is None:  # nobody has declared its noise
            band = worthwhile
        else:
            band = axis.noise if axis.deterministic or self.confirmation is None else max(axis.noise, worthwhile)
        if gain > band * size and gain >= least * size:
            return Resolution.PROVEN, ""
        if -gain > band * size:
            return Resolution.DISPROVEN, ""
        return Resolution.INCONCLUSIVE, _short(least) if gain > band * size else ""


def _of_pairs(pairs: Comparison, share: float | None, least: float) -> tuple[Resolution, str]:
    if pairs.verdict == "better":
        enough = share is None or share >= least
        return (Resolution.PROVEN, "") if enough else (Resolution.INCONCLUSIVE, _short(least))
    if pairs.verdict == "worse":
        return Resolution.DISPROVEN, ""
    return Resolution.INCONCLUSIVE, "pairs of measurements settled no gain"


def _short(least: float) -> str:
    return f"better, but by less than the {100 * least:.3g} % that were to count"


def _paired(round_: Round, metric: str) -> Comparison | None:
    """What pairs said of the child and its causal parent in ``metric``."""
    child = round_.child
    contest = next((one.contest for one in round_.tries if child is not None and one.attempt == child.id), None)
    return None if contest is None else next((c for c in contest.comparisons if c.metric == metric), None)


def _measured(program: Candidate, metric: str) -> Measurement | None:
    found = next((m for m in program.measurements if m.name == metric), None)
    return found if found is not None and math.isfinite(found.value) else None
