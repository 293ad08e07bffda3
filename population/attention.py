"""Which part of a program deserves attention: the one whose time can be shortened most, until it has had its chance.

Told what profilers found and what became of attempts; it adds up as told, so that a replay knows the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from raysearch.profile import Finding, Profile

HEADROOM: Mapping[str, float] = {
    "compute": 0.5,
    "memory": 0.75,
    "io": 1.0,
    "network": 1.0,
    "latency": 1.0,
    "synchronization": 1.0,
    "overhead": 1.0,
    "unknown": 0.75,
}
"""Share of a component's time that work on it may win, before anybody has tried: computing has to be done in the end,
waiting and overhead do not. Rules of thumb that order components of similar shares; attempts tell the truth."""
NAME_CHARS = 120
FROZEN = "<frozen "
"""In the names of functions that are built into the interpreter: its start, and imports."""
_PLACE = re.compile(r":\d+\b")
"""A line number: it moves when lines above it do, and the component is the same."""


@dataclass(slots=True)
class Attention:
    """Stays on one component until a plateau, then goes to the next; to none when all are small or given up."""

    patience: int
    """Attempts at a component without a gain after which it has reached a plateau."""
    share_min: float
    """Share of the time (0 to 1) below which a component is left alone."""
    comeback: float
    """A component that was given up is taken up again once its share has grown by this factor (1 or more)."""
    headroom: Mapping[str, float] = field(default_factory=lambda: dict(HEADROOM))
    """By bound; see `HEADROOM`."""
    focus: Finding | None = None
    """Where the attention is."""
    profile: Profile | None = None
    """The latest."""
    _stale: dict[str, int] = field(default_factory=dict)
    """Attempts at a component since its last gain."""
    _given_up: dict[str, float] = field(default_factory=dict)
    """Shares at which components were given up."""

    def seen(self, profile: Profile) -> None:
        """A program was profiled anew: the attention stays where it is if that is still worth it."""
        self.profile = profile
        before = "" if self.focus is None else component(self.focus)
        self.focus = next((found for found in self._open() if component(found) == before), None) or self._next()

    def closed(self, aim: str, gained: bool) -> None:
        """An attempt at the component called ``aim`` came to its end."""
        if gained:
            self._stale[aim] = 0
            self._given_up.pop(aim, None)
            if self.focus is None:
                self.focus = self._next()
            return
        self._stale[aim] = self._stale.get(aim, 0) + 1
        if self.focus is None or component(self.focus) != aim or self._stale[aim] < self.patience:
            return
        self._given_up[aim] = self.focus.share
        self.focus = self._next()

    def _next(self) -> Finding | None:
        """The open component with the largest share times headroom; of equals the profiler's first."""
        found = max(self._open(), key=lambda one: one.share * self.headroom.get(one.bound, 1.0), default=None)
        if found is not None:
            self._given_up.pop(component(found), None)
            self._stale[component(found)] = 0
        return found

    def _open(self) -> list[Finding]:
        """What is large enough, and not given up at about that share.

        What a tool puts in brackets is no component, and how Python imports modules is nobody's to change.
        """
        found = () if self.profile is None else self.profile.findings
        return [
            one
            for one in found
            if one.share >= self.share_min
            and not one.component.startswith("(")
            and FROZEN not in one.component
            and one.share > self.comeback * self._given_up.get(component(one), 0.0)
        ]


def component(finding: Finding) -> str:
    """What a component is called from one profile to the next, in `NAME_CHARS` at most."""
    return " ".join(_PLACE.sub("", finding.component).split())[:NAME_CHARS]


def task(finding: Finding) -> str:
    """What whoever makes a child is asked to do about a component."""
    bound = "" if finding.bound == "unknown" else f", bound by {finding.bound}"
    evidence = f" ({finding.evidence})" if finding.evidence else ""
    return (
        f"{finding.component} takes {finding.share:.0%} of the time{bound}{evidence}. Make it take less, and leave the"
        " rest of the program alone."
    )


def told(profile: Profile, about: int, lines_max: int) -> str:
    """A profile for a brief, ``lines_max`` components at most; ``about`` is the candidate whose profile it is."""
    shown = [
        f"{finding.share:6.1%}  {finding.component}"
        + ("" if finding.bound == "unknown" else f", bound by {finding.bound}")
        + (f": {finding.evidence}" if finding.evidence else "")
        for finding in profile.findings[:lines_max]
    ]
    return "\n".join([f"Of candidate {about}, by {profile.tool}. {profile.summary}".rstrip(), *shown])
