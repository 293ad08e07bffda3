"""Rounds, roadmap and profile as text: for ``progress.md``, ``roadmap.md`` and the briefs of agents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raysearch.consultation import PLANNER
from raysearch.profile import Profile
from raysearch.types import Outcome
from raysearch.views.rounds import REASON_CHARS, Book, Finding, Round, one_line

TITLE_CHARS = 120
FINDINGS_MAX = 12
"""Components of a profile."""
ROADMAP_SHARE = 0.4
"""Of a memory's characters that the roadmap takes at most; notes take a quarter, and rounds what is left."""


def progress(book: Book) -> str:
    """Every round, as Markdown below a heading of the second level; empty where there are none."""
    blocks = ["\n".join(_full(book, book.rounds[number])) for number in sorted(book.rounds) if number]
    return "\n\n".join(["## Rounds", *blocks]) + "\n" if blocks else ""


def roadmap(book: Book) -> str:
    """The roadmap as the planner left it; empty where nobody wrote one."""
    return f"# Roadmap\n\n{book.roadmap}\n" if book.roadmap else ""


def remembered(book: Book, noted: str = "", *, current: int = 0, chars: int) -> str:
    """What whoever works next, in the round ``current``, should know: roadmap, the latest rounds, oldest first, notes.

    Of what does not fit into ``chars`` the oldest rounds and the ends of the other two are left out.
    """
    notes, plan = _cut(noted.strip(), chars // 4), _cut(book.roadmap, int(chars * ROADMAP_SHARE))
    left = chars - len(notes) - len(plan) - 120  # headings
    shown: list[str] = []
    numbers = [number for number in sorted(book.rounds) if number and book.rounds[number].tries]
    while numbers:
        line = _brief(book, book.rounds[numbers[-1]], current)
        left -= len(line) + 1
        if left < 0:
            shown.append(f"({len(numbers)} earlier rounds are left out)")
            break
        shown.append(line)
        numbers.pop()
    parts = [("Roadmap", plan), ("Rounds so far", "\n".join(shown[::-1])), ("Noted by the latest attempt", notes)]
    return "\n\n".join(f"## {title}\n{text}" for title, text in parts if text)


def profiled(profile: Profile, said: str = "") -> str:
    """A profile in lines, the largest share first."""
    head = f"{profile.tool}: {said.strip() or profile.summary.strip()}".rstrip(": ")
    lines = [head]
    if profile.slowdown is not None:
        lines.append(f"The profiler itself made it {profile.slowdown:.3g} times as slow.")
    for finding in profile.findings[:FINDINGS_MAX]:
        bound = "" if finding.bound == "unknown" else f", held back by {finding.bound}"
        evidence = f": {one_line(finding.evidence, REASON_CHARS)}" if finding.evidence.strip() else ""
        lines.append(f"- {100 * finding.share:.1f} % {one_line(finding.component, TITLE_CHARS)}{bound}{evidence}")
    return "\n".join(lines)


def figures(finding: Finding) -> str:
    """``speed 2 -> 3 1/s (+50 %: better)``; where there are none, why."""
    unit = "" if finding.unit in ("", "1") else f" {finding.unit}"
    if finding.after is None:
        return finding.why
    if finding.before is None:
        return f"{finding.metric} {finding.after:.6g}{unit}; {finding.why}".rstrip("; ")
    said = []
    if finding.gain:
        said.append(f"{100 * abs(finding.gain):.3g} % {'better' if finding.gain > 0 else 'worse'}")
    if finding.why:
        said.append(finding.why)
    more = f" ({'; '.join(said)})" if said else ""
    return f"{finding.metric} {finding.before:.6g} -> {finding.after:.6g}{unit}{more}"


def title_of(round_: Round) -> str:
    """What the round was about, in a line."""
    if round_.task is not None:
        return one_line(round_.task.title, TITLE_CHARS)
    return "the planner did not answer" if PLANNER in round_.unanswered else "no task was planned"


def came_of(book: Book, round_: Round, found: Finding, current: int = 0) -> str:
    """The resolution, or that there is none yet."""
    return found.resolution.value if book.over(round_, current) else "under way"


def _brief(book: Book, round_: Round, current: int) -> str:
    """A round in a line."""
    found = book.resolved(round_)
    words = [f"- {round_.number}. {title_of(round_)}: {came_of(book, round_, found, current)}"]
    if round_.child is not None:
        words.append(f"{figures(found)}, {'kept' if round_.kept else 'not kept'} (candidate {round_.child.id})")
    elif found.why:
        words.append(found.why)
    if round_.refusals and round_.child is None:
        words.append(f"{len(round_.refusals)} refused, the last: {one_line(round_.refusals[-1].reason, REASON_CHARS)}")
    if round_.task is not None and round_.task.revert_to_round is not None:
        words.append(f"went back to round {round_.task.revert_to_round}")
    return ". ".join(words)


def _full(book: Book, round_: Round) -> Iterator[str]:
    found = book.resolved(round_)
    yield f"### Round {round_.number}: {title_of(round_)} ({came_of(book, round_, found)})"
    yield ""
    if round_.decision is not None:
        focus = f", with a focus on {one_line(round_.decision.focus, TITLE_CHARS)}" if round_.decision.focus else ""
        asked = f"a profile was wanted{focus}" if round_.decision.profile else "no profile was wanted"
        why = one_line(round_.decision.why, REASON_CHARS)
        yield f"- Before it {asked}" + (f": {why}" if why else "")
    yield from (f"- The {role} gave no reply: {one_line(why, REASON_CHARS)}" for role, why in round_.unanswered.items())
    back = None if round_.task is None else round_.task.revert_to_round
    if round_.tries:
        start = "nothing" if round_.base is None else "the seed" if not round_.base else f"candidate {round_.base}"
        yield f"- From {start}" + ("" if back is None else f"; the planner asked to go back to round {back}")
    if round_.task is not None:
        named = (
            ("Hypothesis", round_.task.hypothesis),
            ("Forecast", round_.task.forecast),
            ("Falsifier", round_.task.falsifier),
        )
        yield from (f"- {name}: {one_line(text, REASON_CHARS)}" for name, text in named if text.strip())
    lost = [one for one in round_.tries if one.outcome in (Outcome.FAILED, Outcome.ABANDONED)]
    for one in round_.tries:
        if one in lost[:-1]:
            continue
        mended = f", mending {one.repair}" if one.repair is not None else ""
        reason = f": {one_line(one.reason, REASON_CHARS)}" if one.reason.strip() else ""
        others = f", like {len(lost) - 1} before it" if one in lost and len(lost) > 1 else ""
        yield f"- Attempt {one.attempt}{mended}: {one.outcome.value if one.outcome else 'under way'}{others}{reason}"
    if book.over(round_) or round_.child is not None:
        said = "" if round_.child is None else figures(found)
        kept = "" if round_.child is None else "; work goes on from it" if round_.kept else "; it was not gone on from"
        yield f"- Measured: {said or 'nothing'}{kept}"


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: max(0, chars - 1)] + "…" if chars > 1 else ""


def listed(words: Sequence[object]) -> str:
    """``1, 2 and 3``."""
    shown = [str(word) for word in words]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]])) if shown else ""
