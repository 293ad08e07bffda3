"""``auto`` among the mutators: those that need no model, and have something to do on the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from raysearch.config.choices import AUTO, name_of
from raysearch.config.layers import Configuration
from raysearch.errors import ConfigError
from raysearch.plugins import available, find
from raysearch.run.agents import written_out
from raysearch.target import Target

MODEL_FREE = ("tune", "genetic", "recipes")
"""In the order in which they are listed. Each is asked whether the target has anything for it."""
MERGE = "merge"
"""Comes with them, where attempts go different ways: with a second mutator, or a second lane."""


def expanded(configuration: Configuration, target: Target | None) -> tuple[Configuration, str]:
    """The configuration with ``auto`` written out for ``target``, and a line that says so; empty without ``auto``.

    Coding agents are written out as well (`raysearch.run.agents`). Without a target ``auto`` stands for all that are
    installed. Raises ConfigError, with every reason, if nothing is left to search with.
    """
    configuration = written_out(configuration)
    run = configuration.settings.run
    if AUTO not in run.mutators:
        return configuration, ""
    named = [entry for entry in run.mutators if entry != AUTO]
    reasons = {name: _unsuited(name, target) for name in MODEL_FREE}
    known = {name_of(entry) for entry in named}
    found = [name for name, reason in reasons.items() if not reason and name not in known]
    if len(found) + len(named) > 1 or ((found or named) and run.lanes > 1):
        found += [MERGE] if MERGE not in known else []
    mutators = tuple(name for entry in run.mutators for name in (found if entry == AUTO else [entry]))
    if not mutators:
        where = f"the target {target.name}" if target is not None else "any target"
        why = "".join(f"\n  {name}: {reason}" for name, reason in reasons.items())
        raise ConfigError(
            f"no mutator that needs no model can do anything on {where}:{why}\n"
            "Name one with --mutator: an installed one, package.module:Class or path/to/file.py:Class."
        )
    origin = configuration.origin("run", "mutators")
    origins = {**configuration.origins, ("run", "mutators"): AUTO if origin == "default" else f"{origin}, {AUTO}"}
    settings = configuration.settings.model_copy(update={"run": run.model_copy(update={"mutators": mutators})})
    hint = f"; add a coding agent with --mutator {AUTO} --mutator NAME"
    line = f"mutators: {', '.join(found) or 'none'}, which need no model{'' if named else hint}"
    return replace(configuration, settings=settings, origins=origins), line


def _unsuited(name: str, target: Target | None) -> str:
    """Why the mutator called ``name`` has nothing to do on ``target``: what its class's ``unsuited`` says, if any."""
    if name not in available("mutators"):
        return "it is not installed"
    said: Callable[[Target], str] | None = getattr(find("mutators", name), "unsuited", None)
    return "" if said is None or target is None else said(target)
