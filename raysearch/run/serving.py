"""A run's model servers, as its configuration has them, and the agents that ask them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import TypeVar

from raysearch.config.settings import MutatorTable, Settings
from raysearch.errors import ConfigError, nearest
from raysearch.plugins import PluginSpec
from raysearch.run.folder import RunFolder
from raysearch.served.addresses import FILE
from raysearch.served.spec import ServerSpec

SERVER, PLACE = "server", "server_file"
"""Options of an agent: the name of a model server, and the file that says where it is, which the run itself gives."""


def servers(settings: Settings) -> tuple[ServerSpec, ...]:
    """The servers that the configuration names."""
    return tuple(
        ServerSpec(
            name=name,
            model=table.model,
            url=table.url,
            replicas=table.replicas,
            gpus=table.gpus,
            cpus=table.cpus,
            memory_mb=table.memory_mb or 0,
            resources=table.resources,
            command=table.command,
            args=table.args,
            env=table.env,
            pass_env=table.pass_env,
            ready_timeout_s=table.ready_timeout_s,
            restarts_max=table.restarts_max,
            drain_s=table.drain_s,
        )
        for name, table in settings.model_server.items()
    )


def asks_server(agent: type, options: Mapping[str, object], settings: Settings, where: str) -> bool:
    """Whether an agent with these options asks a server of the run. Raises ConfigError if there is none of that name.

    ``where`` says who it is.
    """
    if not (taken_by(agent) and options.get(SERVER)):
        return False
    name = str(options[SERVER])
    if name not in settings.model_server:
        known = nearest(name, settings.model_server)
        raise ConfigError(
            f"{where}: no model server is called {name!r}.{known} A section [model_server.{name}] would say what it is."
        )
    return True


def on_server(table: MutatorTable) -> bool:
    """Whether a section's agent asks a model server, which has a model already."""
    options = table.options.get("agent_options")
    return isinstance(options, Mapping) and bool(options.get(SERVER))


def taken_by(agent: type) -> bool:
    """Whether a class of agents can ask a server of the run: its constructor takes both options."""
    return {SERVER, PLACE} <= set(signature(agent).parameters)


Key = TypeVar("Key")


def pointed(plugins: Mapping[Key, PluginSpec], folder: RunFolder) -> dict[Key, PluginSpec]:
    """The same plug-ins, told where to look up the servers that their agents ask."""
    place = str(folder.path / FILE)
    return {key: replace(spec, options=_pointed(spec.options, place)) for key, spec in plugins.items()}


def _pointed(options: Mapping[str, object], place: str) -> dict[str, object]:
    """Options of a plug-in, or of a member of its panel: members are told as well."""
    found, own, panel = dict(options), options.get("agent_options"), options.get("panel")
    if isinstance(own, Mapping) and own.get(SERVER):
        found["agent_options"] = {PLACE: place, **own}
    if isinstance(panel, Sequence) and not isinstance(panel, str):
        found["panel"] = [_pointed(each, place) if isinstance(each, Mapping) else each for each in panel]
    return found
