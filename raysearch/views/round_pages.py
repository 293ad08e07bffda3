"""``rounds/<n>.md``: all of one round, for people and agents to read, and where its transcripts lie."""

from __future__ import annotations

from collections.abc import Iterator

from raysearch.consultation import Task
from raysearch.views.round_texts import came_of, figures, title_of
from raysearch.views.rounds import SAID_CHARS, Book, Round, Try

Pages = dict[int, str]


def pages(book: Book, since: int = 1) -> Pages:
    """By number, each round from ``since`` on as a page of Markdown; round 0, the start, has none."""
    return {n: "\n".join(_page(book, book.rounds[n])) + "\n" for n in sorted(book.rounds) if n >= max(1, since)}


def _page(book: Book, round_: Round) -> Iterator[str]:
    found = book.resolved(round_)
    yield f"# Round {round_.number}: {title_of(round_)} ({came_of(book, round_, found)})"
    yield from _asked(round_)
    if round_.task is not None:
        yield from ("", "## The task", *_task(round_.task))
    yield from ("", "## Attempts", "")
    if round_.tries:
        yield f"From {_named(round_.base)}."
    else:
        yield "None yet."
    for one in round_.tries:
        yield from _tried(one, round_)
    if round_.child is None and not book.over(round_):
        return
    yield from ("", "## Measured", "")
    if round_.child is None:
        yield "Nothing: no program passed every gate."
    else:
        yield f"Candidate {round_.child.id} beside {_named(round_.base)}:"
        yield ""
        yield from (f"- {figures(book.beside(round_, axis.name)) or axis.name}" for axis in book.objectives)
    yield from ("", "## Resolution", "")
    said = figures(found)
    yield f"{found.resolution.value}" + (f": {said}" if said else "")
    if round_.child is not None:
        yield ""
        yield "Work goes on from it." if round_.kept else "It was not gone on from."


def _asked(round_: Round) -> Iterator[str]:
    if not round_.asked:
        return
    yield from ("", "## Who was asked", "")
    for role, number in zip(round_.asked, round_.questions, strict=True):
        yield f"- {role}: `consultations/{number}-{role}-*`"
    if round_.decision is not None:
        yield "- triage: a profile was wanted" if round_.decision.profile else "- triage: no profile was wanted"
        yield from _quoted(f"focus: {round_.decision.focus}" if round_.decision.focus.strip() else "")
        yield from _quoted(round_.decision.why)
    for role, why in round_.unanswered.items():
        yield f"- {role}: no reply"
        yield from _quoted(why)


def _task(task: Task) -> Iterator[str]:
    yield ""
    yield from _lines(task.change)
    named = (
        ("Hypothesis", task.hypothesis),
        ("Forecast", task.forecast),
        ("What shows that it takes effect", task.activation_evidence),
        ("Falsifier", task.falsifier),
        ("Metric", task.metric),
        ("Smallest gain that counts", f"{100 * task.minimum_gain:.3g} %" if task.minimum_gain else ""),
        ("What must hold", "\n".join(task.pass_criteria)),
        ("What must stay", "\n".join(task.invariants)),
        ("Skills", "\n".join(task.skills)),
        ("Goes back to round", "" if task.revert_to_round is None else str(task.revert_to_round)),
    )
    for name, text in named:
        if text.strip():
            yield ""
            yield f"{name}:"
            yield from _quoted(text)


def _tried(one: Try, round_: Round) -> Iterator[str]:
    mended = f", mending {one.repair}" if one.repair is not None else ""
    yield ""
    came = one.outcome.value if one.outcome else "under way"
    yield f"- Attempt {one.attempt}{mended}: {came}, `attempts/{one.attempt}/`"
    yield from _quoted(one.said)
    if round_.child is not None and round_.child.id == one.attempt:
        yield from _quoted(round_.child.summary)


def _named(base: int | None) -> str:
    return "nothing" if base is None else f"candidate {base}" if base else "the seed"


def _quoted(text: str) -> Iterator[str]:
    yield from (f"  > {line}".rstrip() for line in _lines(text))


def _lines(text: str) -> Iterator[str]:
    """Without what moves a cursor: agents wrote them."""
    for line in text.strip()[: 5 * SAID_CHARS].splitlines():
        yield "".join(c if c.isprintable() or c == "\t" else "�" for c in line).rstrip()
