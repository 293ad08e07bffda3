"""Which plug-ins a configuration chooses, and whether its names and references make sense together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from raysearch.config.settings import EvaluatorTable, MutatorTable, Settings
from raysearch.config.toml import Keys
from raysearch.errors import nearest
from raysearch.jobs import SHORT

_GROUP = {"mutator": "mutators", "judge": "judges", "benchmark": "benchmarks"}
FIRST, LAST = ("audit",), ("traced", "holdout")
"""Gates against cheating: before a program is run at all, and at the end, if it would stand on the frontier."""
AUTO = "auto"
"""In the place of mutators: those that need no model and suit the target."""
_OWN = {"judge": "accuracy", "benchmark": "benchmark"}
"""The evaluators that run the target's own commands; they come first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A plug-in to load: ``kind`` is a group of entry points, ``timeout_s`` of an extra judge or benchmark."""

    kind: str
    name: str
    reference: str
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None
    section: tuple[str, ...] = ()
    """Where its options are written."""


def policy(settings: Settings) -> Choice:
    reference = settings.run.outer_loop
    return Choice("policies", name_of(reference), reference, settings.policy, section=("policy",))


def mutators(settings: Settings) -> tuple[Choice, ...]:
    """In the order of ``run.mutators``."""
    return tuple(_chosen("mutator", entry, settings.mutator) for entry in settings.run.mutators)


def judges(settings: Settings) -> tuple[Choice, ...]:
    """The target's accuracy checker, then the extra ones in the order of their sections."""
    return tuple(choice for choice in _evaluators("judge", settings.judge) if choice.name not in FIRST + LAST)


def first_gates(settings: Settings) -> tuple[Choice, ...]:
    """Of the gates `FIRST` those that are on."""
    return tuple(_chosen("judge", name, settings.judge) for name in FIRST if settings.audit.static)


def last_gates(settings: Settings) -> tuple[Choice, ...]:
    """Of the gates `LAST` those that are on."""
    on = dict(zip(LAST, (settings.audit.traced, settings.audit.holdout), strict=True))
    return tuple(_chosen("judge", name, settings.judge) for name in LAST if on[name])


def benchmarks(settings: Settings) -> tuple[Choice, ...]:
    """The target's benchmark, then the extra ones in the order of their sections."""
    return _evaluators("benchmark", settings.benchmark)


def name_of(entry: str) -> str:
    """What a run calls a plug-in: its name, or its class's where it is given by reference."""
    return entry.rpartition(":")[2]


def _evaluators(kind: str, tables: Mapping[str, EvaluatorTable]) -> tuple[Choice, ...]:
    own = _OWN[kind]
    return tuple(_chosen(kind, name, tables) for name in [own, *(name for name in tables if name != own)])


def _chosen(kind: str, entry: str, tables: Mapping[str, MutatorTable]) -> Choice:
    name = name_of(entry)
    table = tables.get(name)
    if table is None:
        return Choice(_GROUP[kind], name, entry, section=(kind, name))
    timeout_s = table.timeout_s if isinstance(table, EvaluatorTable) and name != _OWN.get(kind) else None
    return Choice(_GROUP[kind], name, table.use or entry, table.options, timeout_s, (kind, name))


def contradictions(settings: Settings, known: Mapping[str, Collection[str]]) -> Iterator[tuple[Keys, str]]:
    """What is wrong although each value alone is fine: the key, and a sentence.

    ``known`` has the names of installed plug-ins by kind; a kind that it lacks is not checked.
    """
    run = settings.run
    parts = {"ref": run.ref, "acc_checker": run.acc_checker, "bench": run.bench}
    given = [name for name, value in parts.items() if value]
    if run.target and given:
        yield ("run", given[0]), f"`target` is given already: give either it or {', '.join(parts)}."
    elif given and len(given) < len(parts):
        absent = ", ".join(name for name, value in parts.items() if not value)
        yield ("run", given[0]), f"{absent} must be given too: {', '.join(parts)} belong together."
    yield from _unknown(("run", "outer_loop"), "policies", run.outer_loop, known)
    agents = settings.agents
    if agents.provider and agents.backend not in {"", "cli"}:
        yield (
            ("agents", "provider"),
            f"it chooses among the programs of the backend 'cli'; {agents.backend!r} has none.",
        )
    names: list[str] = []
    for entry in run.mutators:
        if entry != AUTO:  # a coding agent's name means the mutator that asks it
            writers = [*settings.mutator, *known.get("agents", ())]
            yield from _unknown(("run", "mutators"), "mutators", entry, known, writers)
        if name_of(entry) in names:
            hint = "give one of them a name of its own, with [mutator.NAME] use = …"
            yield ("run", "mutators"), f"two mutators are called {name_of(entry)!r}: {hint}"
        names.append(name_of(entry))
    if SHORT in settings.benchmark:
        yield ("benchmark", SHORT), 'it is the target\'s own, made so: [benchmark] short = ["--option"] in target.toml.'
    for kind, group in _GROUP.items():
        for name, table in getattr(settings, kind).items():
            if not table.use and not (kind == "mutator" and name in names):
                others = [*names, *known.get("agents", ())] if kind == "mutator" else []
                yield from _unknown((kind, name), group, name, known, others)


def _unknown(
    keys: Keys, group: str, name: str, known: Mapping[str, Collection[str]], named: Collection[str] = ()
) -> Iterator[tuple[Keys, str]]:
    if ":" in name or group not in known or name in known[group] or name in named:
        return
    one = {"policies": "policy", "mutators": "mutator", "judges": "judge", "benchmarks": "benchmark"}[group]
    where = "as `use` in its section, " if keys[0] == one else ""
    own = f" Your own: {where}package.module:Class or path/to/file.py:Class."
    yield keys, f"no {one} is called {name!r}.{nearest(name, [*known[group], *named])}{own}"
