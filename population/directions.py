"""Where to look when a line is stuck: what is asked of somebody who looks at all of it, and what children are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from raysearch.consultation import Reply
from raysearch.types import AttemptId, Candidate, CandidateId, Objective

DIRECTION_CHARS, LESSON_CHARS = 700, 400
"""Lengths at which they are cut."""
LESSONS_MAX = 6
"""Of one reply, the first ones."""
TRIED_MAX, REASON_CHARS = 12, 250
"""Attempts that are told of, the latest ones; and the length of what each says."""
VAIN_MAX = 4
"""Directions that came to nothing, the latest ones."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt that improved nothing."""

    attempt: AttemptId
    parents: tuple[CandidateId, ...]
    refusal: str | None
    """Why it was refused; None: it was admitted."""


@dataclass(slots=True)
class Course:
    """Of one line: what came to nothing since its latest improvement, and the direction that is taken now.

    A question is due at every plateau: once the line has gone without an improvement for as many attempts as make one,
    again after as many more, and when it begins anew.
    """

    direction: str = ""
    lessons: tuple[str, ...] = ()
    vain: tuple[str, ...] = ()
    """Directions taken before, since the latest improvement."""
    tried: tuple[Tried, ...] = ()
    asked: int = 0
    """The latest plateau for which somebody was asked; -1: the line begins anew, and nobody was asked yet."""

    def due(self, plateaus: int) -> bool:
        """Whether to ask, after so many plateaus since the latest improvement, or the new beginning."""
        return plateaus > self.asked

    def closed(self, tried: Tried) -> None:
        """An attempt improved nothing."""
        self.tried = (*self.tried, tried)[-TRIED_MAX:]

    def improved(self) -> None:
        """That was it: all is as at the beginning."""
        self.direction, self.lessons, self.vain, self.tried = "", (), (), ()
        self.asked = 0

    def restarted(self) -> None:
        """The line begins anew."""
        self._given_up()
        self.asked = -1

    def heard(self, reply: Reply) -> None:
        """A new direction takes the place of the one before; a reply without any leaves that as it is."""
        direction = _cut(reply.text, DIRECTION_CHARS)
        if direction and direction != self.direction:
            self._given_up()
            self.direction = direction
        lessons = dict.fromkeys(_cut(lesson, LESSON_CHARS) for lesson in reply.lessons)
        self.lessons = tuple(filter(None, lessons))[:LESSONS_MAX] or self.lessons

    def _given_up(self) -> None:
        if self.direction:
            self.vain = (*(old for old in self.vain if old != self.direction), self.direction)[-VAIN_MAX:]
        self.direction, self.lessons = "", ()

    # -- in words -----------------------------------------------------------------------------------------

    def task(self) -> str:
        """What the next child is to do; empty: nothing special."""
        if not self.direction:
            return ""
        return (
            "Make the program better by one change. What was tried of late improved nothing. Somebody who has looked at"
            f" all of it says where else to look:\n\n{self.direction}"
        )

    def memory(self) -> str:
        """What the latest attempts teach."""
        lines = [f"- {lesson}" for lesson in self.lessons]
        return "\n".join(["What the latest attempts teach:", *lines]) if lines else ""

    def question(self, label: str, stale: int, head: CandidateId) -> str:
        """What is asked about the line ``label``, whose best is ``head``."""
        begins = (
            f"{label}, one of this search's lines, was stuck, and begins anew from {_named(head)}."
            if self.asked < 0
            else f"Nothing has improved on {label}, one of this search's lines, in {stale} attempts; its best is"
            f" {_named(head)}."
        )
        parts = [
            f"{begins} The notes have the latest attempts there: what do they teach whoever makes the next ones? And"
            " which one direction that was not tried should those take?"
        ]
        if self.direction:
            parts.append(f"The direction that they take now has come to nothing so far:\n- {self.direction}")
        if self.vain:
            parts.append("\n".join(["Directions taken before that, in vain:", *(f"- {one}" for one in self.vain)]))
        return "\n\n".join(parts)

    def notes(self, candidates: Mapping[CandidateId, Candidate], objectives: Sequence[Objective]) -> str:
        """The latest attempts, a line each, oldest first."""
        return "\n".join(_told(one, candidates, objectives) for one in self.tried)


def _told(one: Tried, candidates: Mapping[CandidateId, Candidate], objectives: Sequence[Objective]) -> str:
    parents = " and ".join(_named(parent) for parent in one.parents) or "nothing"
    head = f"- attempt {one.attempt}, from {parents}"
    if one.refusal is not None:
        return f"{head}: refused: {one.refusal}"
    made = candidates[one.attempt]
    base = candidates[one.parents[0]].scores if one.parents else {}
    figures = ", ".join(_figures(made.scores, base, objectives))
    summary = _line(made.summary, REASON_CHARS)
    return f"{head}: {figures}" + (f"; it says of itself: {summary}" if summary else "")


def _figures(new: Mapping[str, float], old: Mapping[str, float], objectives: Sequence[Objective]) -> Iterator[str]:
    for axis in (axis for axis in objectives if axis.name in new):
        unit = "" if axis.unit in ("", "1") else f" {axis.unit}"
        before = f"{old[axis.name]:.6g} -> " if axis.name in old else ""
        better = "more" if axis.goal == "max" else "less"
        yield f"{axis.name} {before}{new[axis.name]:.6g}{unit} ({better} is better)"


def tried(attempt: AttemptId, parents: Sequence[CandidateId], refusal: str | None) -> Tried:
    """An attempt that improved nothing, with what is remembered of why it was refused."""
    return Tried(attempt, tuple(parents), None if refusal is None else _line(refusal, REASON_CHARS))


def _named(number: CandidateId) -> str:
    return f"candidate {number}" if number else "the seed"


def _line(text: str, chars: int) -> str:
    return _cut(" ".join(text[: 4 * chars].split()), chars)


def _cut(text: str, chars: int) -> str:
    text = text.strip()
    return text if len(text) <= chars else text[: chars - 1] + "…"
