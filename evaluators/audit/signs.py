"""Signs of cheating: what a rule finds, where, and how much it weighs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["refuse", "suspicious"]

EVIDENCE_CHARS = 160
SHOWN_MAX = 8


@dataclass(frozen=True, slots=True, order=True)
class Sign:
    """One sign. ``refuse``: no honest program needs it. ``suspicious``: kept for whoever reviews, and no refusal."""

    rule: str
    path: str
    """Relative to the program's folder; where nothing of it is to blame, what was run."""
    line: int
    """From 1; 0 where a line says nothing."""
    what: str
    """What was used, in the rule's own terms. What the seed uses too is allowed, wherever it stands."""
    evidence: str = ""
    """The source itself, or what was seen when it ran."""
    severity: Severity = "refuse"

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        shown = f": {self.evidence}" if self.evidence and self.evidence != self.what else ""
        return f"{self.rule}: {place}: {self.what}{shown}"


RULES: Mapping[str, str] = {
    "evaluator-files": "reads the checker, the benchmark, the reference or other parts of the target",
    "evaluator-modules": "imports or looks up what belongs to the evaluator",
    "evaluator-process": "looks at the process that evaluates it: its arguments, memory or files",
    "frames": "walks its callers' frames or the interpreter's objects, where inputs and answers of the evaluator lie",
    "clock": "tampers with clocks",
    "patching": "replaces parts of Python or of libraries that the evaluator relies on",
    "shadowing": "has modules or functions by the names of those that the evaluator uses",
    "startup-files": "has files that Python or a test runner loads by itself",
    "test-mode": "asks whether it is being tested",
    "environment": "changes or reads what surrounds it",
    "result-files": "names the files or the format in which the evaluator reports",
    "hidden-code": "runs code that cannot be read in its source",
    "false-equality": "returns objects that claim to equal, or to exceed, anything",
    "deferred-work": "returns what does its work only when it is looked at, or by a thread that never ends",
    "canned-answers": "recognises inputs and answers from a table",
    "data-blobs": "holds more data than code would need",
    "network": "uses the network",
    "background": "goes on working when it has returned, or before it is called",
    "sleeping": "waits",
    "native-calls": "calls into the operating system or native libraries by itself",
    "searching": "looks through folders that are not its own",
    "forbidden": "uses what the target forbids",
    "unreadable": "cannot be read",
    "trace": "interferes with the trace",
}
"""Every rule, and what it says of a program."""


def clipped(text: str, chars_max: int = EVIDENCE_CHARS) -> str:
    """One line of at most ``chars_max`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


def beyond(signs: Iterable[Sign], base: Iterable[Sign], allowed: Iterable[str]) -> list[Sign]:
    """The signs that ``base``, those of the seed, does not show and no allowed rule covers; refusals first."""
    known = {(sign.rule, sign.what) for sign in base}
    skipped = set(allowed)
    kept = {sign for sign in signs if sign.rule not in skipped and (sign.rule, sign.what) not in known}
    return sorted(kept, key=lambda sign: (sign.severity != "refuse", sign))


def refusal(signs: Sequence[Sign], where: str) -> str:
    """Feedback for whoever makes the next attempt; empty if nothing among ``signs`` is a refusal."""
    bad = [sign for sign in signs if sign.severity == "refuse"]
    if not bad:
        return ""
    lines = [f"Refused as a cheat ({where}). The program"]
    for rule in dict.fromkeys(sign.rule for sign in bad):
        lines.append(f"- {RULES[rule]} (rule {rule}):")
        mine = [sign for sign in bad if sign.rule == rule]
        lines += [f"    {_place(sign)}" for sign in mine[:SHOWN_MAX]]
        lines += [f"    and {len(mine) - SHOWN_MAX} more"] if len(mine) > SHOWN_MAX else []
    lines.append(
        "Make the program better at its task, by what its inputs are alone; remove the above. The seed program shows "
        "what is allowed."
    )
    return "\n".join(lines)


def _place(sign: Sign) -> str:
    place = f"{sign.path}:{sign.line}" if sign.line else sign.path
    shown = f"  `{sign.evidence}`" if sign.evidence and sign.evidence != sign.what else ""
    return f"{place}: {sign.what}{shown}"
