"""Coding agents among a run's mutators and judges: what stands for them, and what must be known before they spend."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from raysearch.agents.asking import Hired, chosen, employed
from raysearch.agents.credentials import secrets
from raysearch.agents.prices import Prices, require_price
from raysearch.config.choices import Choice, name_of
from raysearch.config.layers import Configuration
from raysearch.config.prices import read_prices
from raysearch.config.settings import MutatorTable, Settings
from raysearch.errors import ConfigError
from raysearch.plugins import Kind, PluginSpec, available, check, load
from raysearch.run.serving import asks_server, on_server

CODING = "coding"
"""The mutator that asks an agent."""
NO_PROGRAM = {"api": "agent", "deepagents": "deepagents"}
"""The agent that a value of ``agents.backend`` other than ``cli`` means."""
FLAGS = {"model": "--model", "effort": "--effort"}
_ODD = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
NOTHING = MutatorTable.model_validate({})


def written_out(configuration: Configuration) -> Configuration:
    """The configuration with every coding agent that stands for a mutator as a section of that mutator.

    ``claude`` among the mutators becomes ``[mutator.claude] use = "coding", agent = "claude"``; ``[agents] backend``
    and ``provider`` add such a one; one with several ``models`` is one for each. ``[agents] model`` and ``effort`` go
    to those that have none of their own. Raises ConfigError if there is nobody whom they could be for.
    """
    settings, origins = configuration.settings, dict(configuration.origins)
    entries = list(settings.run.mutators)
    called = _called(settings)
    if called and called not in map(name_of, entries):
        at = configuration.origin("agents", "backend" if settings.agents.backend else "provider")
        entries = [called] if configuration.origin("run", "mutators") == "default" else [*entries, called]
        origins["run", "mutators"] = at
    tables = dict(settings.mutator)
    agents, others = available("agents"), available("mutators")
    for entry in entries:
        name = name_of(entry)
        table = tables.get(name, NOTHING)
        if entry in agents and entry not in others and not table.use:
            tables[name] = MutatorTable.model_validate({"agent": entry, **table.options, "use": CODING})
            origins["mutator", name, "use"] = origins.get(("run", "mutators"), "default")
            origins.setdefault(("mutator", name, "agent"), origins["mutator", name, "use"])
    coding = [name_of(entry) for entry in entries if CODING in {entry, tables.get(name_of(entry), NOTHING).use}]
    for key, flag in FLAGS.items():
        value = getattr(settings.agents, key)
        if value and not coding:
            raise ConfigError(
                f"{configuration.origin('agents', key)}: {flag} {value} is for coding agents, and none is among the"
                " mutators: name one, as in --mutator claude or --agent-backend api"
            )
        for name in coding if value else ():
            table = tables.get(name, NOTHING)
            if key not in table.options and not (key == "model" and ("models" in table.options or on_server(table))):
                tables[name] = MutatorTable.model_validate({"use": table.use, **table.options, key: value})
                origins["mutator", name, key] = configuration.origin("agents", key)
    for name in coding:
        entries = _by_model(name, entries, tables, origins)
    if tables == settings.mutator and entries == list(settings.run.mutators):
        return configuration
    run = settings.run.model_copy(update={"mutators": tuple(entries)})
    written = settings.model_copy(update={"run": run, "mutator": tables})
    return replace(configuration, settings=written, origins=origins)


def _by_model(
    name: str, entries: Sequence[str], tables: dict[str, MutatorTable], origins: dict[tuple[str | int, ...], str]
) -> list[str]:
    """With a coding mutator of several ``models`` as one mutator for each, so that each earns credit of its own.

    ``tables`` and ``origins`` are written on. Raises ConfigError.
    """
    table = tables.get(name, NOTHING)
    models = table.options.get("models")
    if models is None:
        return list(entries)
    at = origins.get(("mutator", name, "models"), "default")
    if not isinstance(models, list | tuple) or not models or not all(isinstance(each, str) and each for each in models):
        raise ConfigError(f"{at}: models must be a list of models' names, not {models!r}")
    if "model" in table.options:
        raise ConfigError(f"{at}: mutator {name!r} has `model` and `models`: leave one out")
    named = {f"{name}-{_ODD.sub('-', model)}": model for model in models}
    if len(named) < len(models) or any(each in tables or each in entries for each in named):
        raise ConfigError(f"{at}: models would give two mutators one name: {', '.join(sorted(named))}")
    del tables[name]
    rest = {key: value for key, value in table.options.items() if key != "models"}
    for each, model in named.items():
        tables[each] = MutatorTable.model_validate({"use": table.use or CODING, **rest, "model": model})
        for key in ("use", *rest):
            origins["mutator", each, key] = origins.get(("mutator", name, key), at)
        origins["mutator", each, "model"] = at
    return [new for entry in entries for new in (named if name_of(entry) == name else [entry])]


def _called(settings: Settings) -> str:
    """The agent that ``[agents]`` names; empty if none."""
    agents = settings.agents
    if agents.backend in NO_PROGRAM:
        return NO_PROGRAM[agents.backend]
    return (agents.provider or "claude") if agents.backend or agents.provider else ""


def told(plugin: type, settings: Settings, judges: Sequence[str]) -> dict[str, object]:
    """What the run tells a mutator or judge with an agent, as options. Raises ConfigError for a file of prices."""
    taken = inspect.signature(plugin).parameters
    if "agent" not in taken:
        return {}
    rows = {name: row.model_dump(exclude_none=True) for name, row in prices(settings).items()}
    said: dict[str, object] = {"judges": tuple(judges), "prices": rows, "no_price": settings.agents.no_price}
    kind = {"modality": settings.run.modality, "backend": settings.run.backend}
    said |= {name: value for name, value in kind.items() if value}
    return {name: value for name, value in said.items() if name in taken}


def prices(settings: Settings) -> Prices:
    """The user's own prices: those of the file, and over them those of the configuration. Raises ConfigError."""
    file = read_prices(Path(settings.agents.prices)) if settings.agents.prices else {}
    return {**file, **settings.prices}


def examine(configuration: Configuration, choice: Choice, plugin: type, offers: Mapping[str, object]) -> None:
    """Check a mutator or judge that has an agent: that takes its options, and the price of its model is known.

    Both are built once, here, so that what their constructors refuse is known before a run begins. ``offers`` are
    those of `told`. Raises PluginError or ConfigError.
    """
    if "agent" not in inspect.signature(plugin).parameters:
        return
    for which, given in employed(choice.options):
        _require_price(configuration, choice, which, given)
    origins = configuration.option_origins(*choice.section)
    load(cast(Kind, choice.kind), choice.reference, {**offers, **choice.options}, origins=origins)


def require_at_hand(plugins: Iterable[PluginSpec], sandbox: str, here: bool) -> None:
    """Raise ConfigError where an agent lacks its program, its package or its key; ``sandbox`` is the one in use.

    Where workers are not ``here``, on this machine, nobody knows what they have.
    """
    problems = []
    for spec in plugins if here else ():
        for which, given in employed(spec.options):
            hired = Hired(given["agent"], given.get("agent_options"), given.get("model", ""), given.get("effort", ""))
            if reason := hired.lacking(sandbox):
                problems.append(f"{spec.kind.removesuffix('s')} {spec.name!r}{which}: {reason}")
    if problems:
        raise ConfigError("\n".join(problems))


def _require_price(configuration: Configuration, choice: Choice, which: str, given: Mapping[str, Any]) -> None:
    """``given``: what is said of one of the agents of a choice, and ``which`` of them it is, as `employed` has it."""
    where = f"{choice.kind.removesuffix('s')} {choice.name!r}{which}"
    options = chosen(given.get("agent_options"), given.get("model", ""), given.get("effort", ""))
    origins = configuration.option_origins(*choice.section, "agent_options")
    origins |= {key: configuration.origin(*choice.section, key) for key in FLAGS if key in options and key in given}
    if which:  # the table of a panel, of which there is one place
        origins = dict.fromkeys(options, configuration.origin(*choice.section, "panel"))
    agent = check("agents", str(given["agent"]), options, offers={"prices": {}, "no_price": False}, origins=origins)
    if asks_server(agent, options, configuration.settings, where):  # its own electricity, unless a price is given
        return
    if configuration.settings.agents.no_price or getattr(agent, "reports_cost", False):
        return
    parameter = inspect.signature(agent).parameters.get("model")
    if parameter is None:  # it asks no model
        return
    model = options.get("model") or parameter.default
    if not model or not isinstance(model, str):
        raise ConfigError(
            f"{where}: no model is named for the agent {given['agent']!r}, so nobody could say what it costs: give"
            " --model NAME (or `model` in its section), or say --no-price"
        )
    require_price(model, prices(configuration.settings), where)


def require_no_secret(configuration: Configuration) -> None:
    """A configuration is kept with the run: raise ConfigError if a credential stands in it."""
    hidden = secrets()
    for section, values in configuration.settings.tables().items():
        for path, text in _texts(section, values):
            if any(secret in text for secret in hidden):
                at = configuration.origin(*section, *path[len(section) :])
                raise ConfigError(
                    f"{at}: {'.'.join(path)} holds a credential, and a configuration is kept with its run: leave it in"
                    " the environment or in .env, where it is found by its name"
                )


def _texts(above: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield above, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts((*above, str(key)), item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(above, item)
