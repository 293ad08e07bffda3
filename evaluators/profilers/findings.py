"""From costs in seconds to findings that read the same whatever the tool."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from evaluators.results import clean
from raysearch.profile import Bound, Finding, Profile

TOP = 20
"""Findings that are kept, beside those that the focus names."""
SHARE_MIN = 0.001
COMPONENT_BYTES_MAX = 200
EVIDENCE_BYTES_MAX = 600
_WORD = re.compile(r"[A-Za-z0-9_.:\-/]{3,}")

_KINDS: tuple[tuple[Bound, re.Pattern[str]], ...] = (
    ("latency", re.compile(r"nanosleep|\bsleep\b|\.sleep\(|usleep|hrtimer", re.I)),
    ("synchronization", re.compile(
        r"futex|mutex|sem_(timed)?wait|semaphore|cond_(timed)?wait|cvwait|rwlock|barrier|\.acquire\(|\.join\(|\.wait\("
        r"|\bqueue\b|\.result\(|synchroni[sz]e|workq_kernreturn|pipe_read|pipe_wait|do_wait|wait4|waitpid|communicate"
        r"|ulock|psynch", re.I)),
    ("network", re.compile(
        r"nccl|gloo|mpi_|all_?reduce|all_?gather|\brecv|\bsend(to|msg|all)?\b|\baccept\b|\bconnect\b|epoll|\bpoll\b|ppoll"
        r"|kevent|\bselect\b|sock|tcp_|unix_stream|mach_msg|urlopen|http", re.I)),
    ("io", re.compile(
        r"\bread(v|line|lines|_text|_bytes)?\b|\bwrite(v|lines|_text|_bytes)?\b|pread|pwrite|fsync|fdatasync|\bopen(at)?\b"
        r"|io_schedule|folio_wait|wait_on_page|submit_bio|blk_|ext4|xfs|getdents", re.I)),
)  # fmt: skip
"""What the name of a function, of a kernel's wait or of a source line says about a wait, first match first."""


@dataclass(frozen=True, slots=True)
class Cost:
    """So many seconds of one component, of its own (what it calls is counted there)."""

    component: str
    seconds: float
    bound: Bound = "unknown"
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a parser made of a tool's output."""

    costs: tuple[Cost, ...]
    whole_s: float
    """Seconds of which the costs are shares: those of the profiled run, or all processor time where that is more."""
    summary: str = ""
    conditions: dict[str, str] = field(default_factory=dict)


def waits_for(text: str) -> Bound:
    """What a component that has no processor waits for, by a name or a line of source; ``unknown`` if that says not."""
    return next((bound for bound, pattern in _KINDS if pattern.search(text)), "unknown")


def combined(costs: Iterable[Cost]) -> list[Cost]:
    """One cost for each component and bound, largest first; evidence and name are those of the largest part."""
    found: dict[tuple[str, str], Cost] = {}
    for cost in sorted(costs, key=lambda cost: -cost.seconds):
        before = found.get((cost.component, cost.bound))
        found[cost.component, cost.bound] = (
            replace(before, seconds=before.seconds + cost.seconds) if before is not None else cost
        )
    return sorted(found.values(), key=lambda cost: (-cost.seconds, cost.component))


def findings(reading: Reading, focus: str = "", top: int = TOP) -> tuple[Finding, ...]:
    """The ``top`` largest costs, and all that ``focus`` names, as shares of the whole, largest first.

    Costs that are no finite time above zero are left out; shares are from 0 to 1 and together at most 1.
    """
    costs = [cost for cost in combined(reading.costs) if math.isfinite(cost.seconds) and cost.seconds > 0]
    whole = max(reading.whole_s, math.fsum(cost.seconds for cost in costs))
    if not math.isfinite(whole) or whole <= 0:
        return ()
    kept = [
        cost
        for place, cost in enumerate(costs)
        if cost.seconds / whole >= SHARE_MIN and (place < top or in_focus(cost, focus))
    ]
    return tuple(
        Finding(
            clean(cost.component, COMPONENT_BYTES_MAX) or "unnamed",
            min(1.0, cost.seconds / whole),
            cost.bound,
            clean(cost.evidence, EVIDENCE_BYTES_MAX),
        )
        for cost in kept
    )


def in_focus(cost: Cost | Finding, focus: str) -> bool:
    """Whether a word of ``focus`` (three letters or more) is in the component's name or evidence."""
    words = [word.lower() for word in _WORD.findall(focus)]
    text = f"{cost.component} {cost.evidence}".lower()
    return any(word in text for word in words)


def summed_up(profile: Profile, focus: str) -> str:
    """A sentence or two: what the largest is, and what was found of the focus."""
    if not profile.findings:
        return "Nothing took a share worth naming."
    first = profile.findings[0]
    said = [f"{first.component} takes {first.share:.0%} ({first.bound})."]
    if focus.strip():
        hit = [finding for finding in profile.findings if in_focus(finding, focus)]
        asked = clean(focus.strip(), 120)
        said.append(
            f"Of {asked!r}: {'; '.join(f'{f.component} {f.share:.1%} ({f.bound})' for f in hit[:5])}."
            if hit
            else f"Nothing of {asked!r} takes {SHARE_MIN:.1%} or more."
        )
    return " ".join(said)


def percent(part: float, whole: float) -> str:
    """``part`` of ``whole`` for people; ``?`` where there is no whole."""
    return f"{part / whole:.0%}" if whole > 0 else "?"


def most(counts: dict[str, float], number: int = 3) -> Sequence[str]:
    """The keys with the largest values, largest first."""
    return sorted(counts, key=lambda key: (-counts[key], key))[:number]
