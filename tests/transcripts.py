"""A journal as a text: who was asked in which order, what each was told, and what each did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raysearch.board import Filing
from raysearch.facts import (
    AttemptClosed,
    AttemptOpened,
    ConsultationOpened,
    Consulted,
    Entry,
    Fact,
    Filed,
    JobFailed,
    Judged,
    Measured,
    Mutated,
    RunEnded,
    Steered,
    Unanswered,
)
from raysearch.types import Brief


def transcript(entries: Sequence[Entry]) -> str:
    """A paragraph for each fact, with all that was told."""
    return "".join(f"{line}\n" for entry in entries for line in _lines(entry.fact))


def _lines(fact: Fact) -> Iterator[str]:
    match fact:
        case AttemptOpened(number, proposal):
            parents = ", ".join(map(str, proposal.parents)) or "nothing"
            repairing = f", repairing {proposal.repair}" if proposal.repair is not None else ""
            about = f"issue {proposal.issue}" if proposal.issue is not None else proposal.lineage
            yield f"attempt {number}: {proposal.mutator} from {parents}{repairing}{about and ', '}{about}"
            yield from _told(proposal.brief)
        case Mutated(number, change):
            yield f"attempt {number}: changed: {change.mutation.summary}"
        case Judged(number, judge, verdict):
            said = f", {verdict.feedback}" if verdict.feedback else ""
            yield f"attempt {number}: {judge}: {'yes' if verdict.passed else 'no'}{said}"
        case Measured(number, benchmark, measurements):
            yield f"attempt {number}: {benchmark}: {', '.join(f'{m.name} {m.value:g}' for m in measurements)}"
        case JobFailed():
            yield f"attempt {fact.attempt}: {fact.plugin} broke: {fact.message}"
        case AttemptClosed(number, outcome, reason):
            yield f"attempt {number}: {outcome}{reason and ': '}{reason}"
        case ConsultationOpened(number, question):
            lineage = f", {question.lineage}" if question.lineage else ""
            yield f"consultation {number}: {question.role} about {question.about}{lineage}"
            yield from _told(question.brief)
        case Consulted(number, reply):
            yield f"consultation {number}: {reply.text}"
            yield from (f"    {lesson}" for lesson in reply.lessons)
            yield from _filed(*fact.filings)
        case Unanswered(number, reason):
            yield f"consultation {number}: no answer: {reason}"
        case Filed(filing):
            yield from _filed(filing)
        case Steered(command) if command.filing is not None:
            yield from _filed(command.filing)
        case RunEnded(reason):
            yield f"the end: {reason}"
        case _:
            pass


def _told(brief: Brief) -> Iterator[str]:
    parts = {
        "task": brief.task,
        "feedback": brief.feedback,
        "lessons": "\n".join(brief.lessons),
        "memory": brief.memory,
        "parents": "\n".join(f"{p.id}: {dict(p.scores)} {p.summary}" for p in brief.parents),
        "inspirations": "\n".join(f"{p.id}: {dict(p.scores)} {p.summary}" for p in brief.inspirations),
        "frontier": "\n".join(f"{p.id}: {dict(p.scores)}" for p in brief.frontier),
    }
    for name, text in parts.items():
        if text:
            yield f"    {name}"
            yield from (f"        {line}".rstrip() for line in text.splitlines())


def _filed(*filings: Filing) -> Iterator[str]:
    for filing in filings:
        what = filing.issue or f"{filing.kind}, priority {filing.priority}: {filing.title}"
        outcome = f" ({filing.outcome})" if filing.outcome else ""
        text = f": {filing.text}" if filing.text else ""
        evidence = f" [{filing.evidence}]" if filing.evidence else ""
        yield f"{filing.author}: {filing.action} {what}{outcome}{text}{evidence}"
