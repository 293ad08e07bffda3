"""The auditor's own book of what people told the run: it shares nothing with the helm's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from raysearch.facts import SessionOpened, Steered
from raysearch.types import Limits

_WHOLE = frozenset({"open_max", "attempts_max", "tokens", "calls", "candidate_tokens", "candidate_calls"})
_REQUIRED = frozenset({"open_max", "drain_s"})
_BROKEN = frozenset({"run_s", "cost_usd", "gpu_s", "candidate_usd", "drain_s"})


@dataclass(slots=True)
class Orders:
    """Limits in force, whether the run is paused, and the commands that were carried out."""

    limits: Limits = Limits()
    paused: bool = False
    over_from_s: float = math.inf
    """The run's time from which the limit on time has been reached without a break."""
    _given: Limits | None = None
    _seen: set[str] = field(default_factory=set)

    def session(self, fact: SessionOpened, run_s: float) -> None:
        """A session's limits hold where they are new; a pause is over."""
        for name in Limits.__dataclass_fields__:
            value = getattr(fact.limits, name)
            if self._given is None or value != getattr(self._given, name):
                self.limits = replace(self.limits, **{name: value})
        self._given, self.paused = fact.limits, False
        self.over_from_s = math.inf if self.limits.run_s is None else max(self.limits.run_s, run_s)

    def read(self, fact: Steered, run_s: float) -> str:
        """Take a command in; what is wrong with it, or nothing."""
        command = fact.command
        if command.id in self._seen:
            return f"command {command.id!r} is carried out twice"
        self._seen.add(command.id)
        if command.kind in {"pause", "unpause"} and len(command.text) <= 20_000:
            self.paused = command.kind == "pause"
        if command.kind == "budget" and command.limits and all(_sound(*pair) for pair in command.limits.items()):
            changed = {
                name: int(value) if value is not None and name in _WHOLE else value
                for name, value in command.limits.items()
            }
            self.limits = replace(self.limits, **changed)  # type: ignore[arg-type] # each is sound
            self._over(run_s)
        return ""

    def _over(self, run_s: float) -> None:
        limit_s = math.inf if self.limits.run_s is None else self.limits.run_s
        if limit_s > run_s:
            self.over_from_s = limit_s
        else:
            self.over_from_s = min(self.over_from_s, run_s)


def _sound(name: str, value: float | None) -> bool:
    if name not in _WHOLE | _BROKEN or (value is None and name in _REQUIRED):
        return False
    whole = name in _WHOLE
    return value is None or (0 <= value <= 1e15 and not (whole and value % 1) and (name != "open_max" or value > 0))
