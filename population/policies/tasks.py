"""What the agent loop asks of those that it consults, and what it tells whoever does a planned task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raysearch.consultation import Decision, Task
from raysearch.types import CandidateId, Objective
from raysearch.views.round_texts import figures, listed, title_of
from raysearch.views.rounds import Book, Round

TRIED_MAX = 6
"""Rounds without a gain that a plateau note lists."""
ROUNDS_MAX = 50
"""Rounds to go back to that are listed, the latest ones."""


def told(task: Task, number: int, skills: bool = True) -> str:
    """A planned task with all its parts, as whoever does it is told it; ``skills``: those recommended, too."""
    parts = [f"Round {number}: {task.title.strip()}", task.change.strip()]
    named = (
        ("Why it should help", task.hypothesis),
        ("What shows that it takes effect at all", task.activation_evidence),
        ("What would show that the hypothesis is wrong", task.falsifier),
        ("Expected, which is a forecast and no threshold", task.forecast),
        ("What should move", task.metric),
        ("The smallest gain that counts", f"{100 * task.minimum_gain:.3g} %" if task.minimum_gain else ""),
    )
    parts += [f"{name}: {text.strip()}" for name, text in named if text.strip()]
    lists = (
        ("What must hold of the result", task.pass_criteria),
        ("What must stay as it is", task.invariants),
        ("Skills to look at first", task.skills if skills else ()),
    )
    parts += ["\n".join([f"{name}:", *(f"- {line.strip()}" for line in lines)]) for name, lines in lists if lines]
    return "\n\n".join(parts)


def triage(book: Book, head: CandidateId, when: str) -> str:
    """The question whether to profile."""
    if book.profile is None:
        known = "Nothing was profiled so far."
    elif book.profiled == head:
        known = "This program was profiled already: that profile is below."
    else:
        known = f"What was profiled last is {_named(book.profiled)}, an earlier program."
    return (
        f"{when} is about to be planned, for {_named(head)}. Is a profile of it worth its price before that, and what"
        f" should it show more of? {known}"
    )


def plan(book: Book, head: CandidateId, when: str, number: int, plateau_after: int, complaint: str) -> str:
    """The question what to do next. ``complaint``: why the task that was planned just now cannot be done."""
    where = _grounds(book, number)
    parts = [
        f"Plan {when[0].lower()}{when[1:]}: one task that a single change of {_named(head)} can do and that its"
        " measurements can show to be wrong. What was forecast before, and what came of it, stands in the notes.",
        f"Work goes on from {_named(head)} unless you name an earlier round to go back to. Rounds that left a program:"
        f" {where}.",
    ]
    if head and all(round_.child is None or round_.child.id != head for round_ in book.rounds.values()):
        parts.append(
            f"Another loop of this run has found {_named(head)}, which is ahead of where the rounds had come to. What"
            " they changed need not be in it."
        )
    if complaint:
        parts.append(f"The task that you planned just now cannot be done: {complaint}. Plan it anew.")
    if note := plateau(book, plateau_after, number):
        parts.append(note)
    return "\n\n".join(parts)


def plateau(book: Book, after: int, number: int) -> str:
    """What to say to the planner of round ``number`` once so many in a row gained nothing; empty before, and for 0."""
    rounds = book.without_gain(number)
    if not after or len(rounds) < after:
        return ""
    lines = [f"The last {len(rounds)} rounds gained nothing beyond the noise in any objective:"]
    lines += [f"- {_best(book, axis)}" for axis in book.objectives]
    lines.append("Tried since:")
    lines += [f"- round {one.number}, {_tried(book, one)}" for one in rounds[-TRIED_MAX:]]
    lines.append("More of the same is unlikely to help: name what limits the program now, and try something else.")
    return "\n".join(lines)


def focus(decision: Decision | None) -> str:
    """What a profiler is asked: the words that it should show more of."""
    return "" if decision is None else decision.focus.strip()


def unreachable(book: Book, task: Task | None, number: int) -> str:
    """Why round ``number`` cannot go on from where ``task`` wants it to; empty if it can."""
    wanted = None if task is None else task.revert_to_round
    if wanted is None or (wanted < number and book.program(wanted) is not None):
        return ""
    if wanted >= number:
        why = f"round {wanted} is still to come" if wanted > number else f"round {wanted} is this one"
    else:
        why = f"round {wanted} left no program that passed every gate"
    return f"revert_to_round {wanted}: {why}. There are {_grounds(book, number)}"


def _grounds(book: Book, number: int) -> str:
    """Rounds to go back to, in words."""
    found = [one for one in sorted(book.rounds) if one < number and book.program(one) is not None]
    left_out = "the earliest, " if len(found) > ROUNDS_MAX else ""
    shown: Sequence[str] = ["0 (the seed)" if one == 0 else str(one) for one in found[-ROUNDS_MAX:]]
    return left_out + (listed(shown) or "none")


def _best(book: Book, axis: Objective) -> str:
    """The best value of an objective so far, and whence it is."""
    unit = "" if axis.unit in ("", "1") else f" {axis.unit}"
    wanted = "more" if axis.goal == "max" else "less"
    measured = [
        (axis.sign * child.scores[axis.name], -number)
        for number, round_ in book.rounds.items()
        if (child := round_.child) is not None and axis.name in child.scores
    ]
    if not measured:
        return f"{axis.name} ({wanted} is better): not measured yet"
    value, since = max(measured)
    whence = "of the seed" if since == 0 else f"since round {-since}"
    return f"{axis.name} ({wanted} is better): {axis.sign * value:.6g}{unit} at best, {whence}"


def _tried(book: Book, round_: Round) -> str:
    said = "; ".join(_figures(book, round_))
    return f"{title_of(round_)}: {book.resolved(round_).resolution.value}" + (f", {said}" if said else "")


def _figures(book: Book, round_: Round) -> Iterator[str]:
    found = book.resolved(round_)
    if text := figures(found):
        yield text
    if round_.child is None and round_.refusals:
        yield f"refused {len(round_.refusals)} times"


def _named(candidate: CandidateId | None) -> str:
    return "the seed" if not candidate else f"candidate {candidate}"
