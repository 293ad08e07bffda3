"""Stacks of samples, in the formats that profilers share: folded lines, and speedscope's JSON."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluators.profilers.findings import Cost, most, percent
from evaluators.profilers.reading import json_of, text_of
from evaluators.results import clean
from raysearch.errors import EvaluatorFault
from raysearch.profile import Bound

LINES_MAX = 1_000_000
_PY_SPY_FRAME = re.compile(r"^(?P<name>.*) \((?P<file>.+?)(?::(?P<line>\d+))?\)$")
_PROCESS = re.compile(r"^process \d+:|^\"\"$")
"""py-spy's own outermost frame."""
NO_STACK = "(no stack)"
_SECONDS = {"nanoseconds": 1e-9, "microseconds": 1e-6, "milliseconds": 1e-3, "seconds": 1.0}


@dataclass(slots=True)
class Leaves:
    """Weights by innermost frame, with who called it and on which lines."""

    own: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    total: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    callers: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))
    lines: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))

    def add(self, stack: Sequence[str], weight: float, line: str = "") -> None:
        """``stack``: names, outermost first."""
        if not stack or not math.isfinite(weight) or weight <= 0:
            return
        leaf = stack[-1]
        self.own[leaf] += weight
        for name in set(stack):
            self.total[name] += weight
        caller = next((name for name in reversed(stack[:-1]) if name != leaf and not name.startswith("[unknown]")), "")
        if caller:
            self.callers[leaf][caller] += weight
        if line:
            self.lines[leaf][line] += weight

    @property
    def sum(self) -> float:
        return math.fsum(self.own.values())

    def costs(self, seconds: float, bound: Callable[[str], Bound]) -> list[Cost]:
        """A cost for each innermost frame; a weight of one is ``seconds``."""
        return [Cost(name, weight * seconds, bound(name), self.evidence(name)) for name, weight in self.own.items()]

    def evidence(self, name: str) -> str:
        """With its callees, its lines and its callers."""
        own, said = self.own[name], []
        if self.total[name] > own * 1.02:
            said.append(f"{percent(self.total[name], self.sum)} with what it calls")
        if lines := self.lines.get(name):
            said.append("; ".join(f"line {line}: {percent(lines[line], own)}" for line in most(lines)))
        if callers := self.callers.get(name):
            said.append("called by " + ", ".join(f"{who} ({percent(callers[who], own)})" for who in most(callers)))
        return "; ".join(said)


def folded(content: bytes, what: str) -> Leaves:
    """``outermost;...;innermost COUNT`` lines, as flame graphs are drawn from. Raises EvaluatorFault.

    Frames of py-spy end in ``(file:line)``: the line becomes evidence, so that a function is one component.
    """
    leaves, bad = Leaves(), 0
    lines = text_of(content, what).splitlines()
    for line in lines[:LINES_MAX]:
        stack, _, count = line.rstrip().rpartition(" ")
        if not stack or not count.isdigit() or len(count) > 15:
            bad += bool(line.strip())
            continue
        frames = [frame for frame in stack.split(";") if frame and not _PROCESS.match(frame)] or [NO_STACK]
        names = [_named(frame) for frame in frames]
        place = _PY_SPY_FRAME.match(frames[-1]) if frames else None
        leaves.add(names, float(count), place["line"] or "" if place else "")
    if bad > len(lines) // 10 or (bad and not leaves.own):
        raise EvaluatorFault(f"{what}: {bad} of {len(lines)} lines are no folded stacks (`a;b;c 12`)")
    return leaves


def _named(frame: str) -> str:
    place = _PY_SPY_FRAME.match(frame)
    return f"{place['name']} ({place['file']})" if place else frame


def speedscope(content: bytes, what: str) -> tuple[Leaves, float]:
    """All sampled profiles of a speedscope file, and the longest one's seconds. Raises EvaluatorFault.

    Weights are seconds; where the file counts samples alone (``unit`` none), so does this.
    """
    found = json_of(content, what)
    if "speedscope" not in str(found.get("$schema", "")):
        raise EvaluatorFault(f"{what} is no speedscope file: its $schema is {clean(repr(found.get('$schema')), 60)}")
    frames = found["shared"]["frames"]
    names = [_frame_name(frame) for frame in frames]
    leaves, longest = Leaves(), 0.0
    for profile in found["profiles"]:
        if profile.get("type") != "sampled":
            continue
        scale = _SECONDS.get(profile.get("unit", ""), 1.0)
        longest = max(longest, (float(profile["endValue"]) - float(profile["startValue"])) * scale)
        for stack, weight in zip(profile["samples"], profile["weights"], strict=True):
            if any(not isinstance(index, int) or not 0 <= index < len(names) for index in stack):
                raise EvaluatorFault(f"{what} names a frame that is not in its list of {len(names)}")
            line = str(frames[stack[-1]].get("line") or "") if stack else ""
            kept = [names[index] for index in stack if not _PROCESS.match(names[index])]
            leaves.add(kept or [NO_STACK], float(weight) * scale, line)
    return leaves, longest


def _frame_name(frame: Mapping[str, Any]) -> str:
    name, file = str(frame["name"]), frame.get("file")
    return f"{name} ({file})" if file else name


def shortened(path: str, roots: Sequence[str] = ()) -> str:
    """A path as people name it: relative to the program, the target or an installation's packages."""
    for root in roots:
        if root and path.startswith(f"{root}/"):
            return path[len(root) + 1 :]
    for mark in ("/site-packages/", "/dist-packages/"):
        if mark in path:
            return path.rpartition(mark)[2]
    parts = re.split(r"/lib/python3\.\d+/", path)
    return parts[-1] if len(parts) > 1 else path
