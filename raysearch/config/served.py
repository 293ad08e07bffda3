"""``[model_server.NAME]``: a model of one's own, and what serves it."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from raysearch.config.values import Amount, Count, Patience, Seconds, Table, Texts

_OF_A_PROCESS = ("replicas", "gpus", "cpus", "memory_mb", "resources", "command", "args", "env", "pass_env")


class ModelServerTable(Table):
    """A server that a run starts and ends, or one at ``url`` that it finds running. Paths are absolute once read."""

    model: str = ""
    """A folder (``./``, ``../``, ``~/`` or ``/`` first), or a name on a hub."""
    url: str = ""
    """Of a server that is running already."""
    replicas: Annotated[int, Field(ge=1, le=1024)] = 1
    gpus: Annotated[int, Field(ge=0, le=1024)] = 0
    """Of each replica, on one node: the size of tensor parallelism."""
    cpus: Amount = 1.0
    memory_mb: Count | None = None
    resources: dict[str, Amount] = Field(default_factory=dict)
    """Custom Ray resources of each replica."""
    command: Texts = ()
    """What serves it; vLLM's OpenAI server if not given."""
    args: Texts = ()
    """More words for the command."""
    env: dict[str, str] = Field(default_factory=dict)
    pass_env: Texts = ()
    """Variables that it gets although they are named like a credential."""
    ready_timeout_s: Seconds = 900.0
    restarts_max: Annotated[int, Field(ge=0, le=1000)] = 5
    drain_s: Patience = 30.0

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.url and not re.match(r"https?://[^/\s]+", self.url):
            raise ValueError("`url` should begin with http:// or https:// and a host")
        if re.match(r"[a-z+]+://[^/@]*:[^/@]*@", self.url):
            raise ValueError("`url` should hold no password, which would be kept with the run")
        given = [key for key in _OF_A_PROCESS if key in self.model_fields_set and getattr(self, key) != _default(key)]
        if self.url and given:
            raise ValueError(f"`url` is of a server that somebody else runs, so `{given[0]}` has no meaning beside it")
        if self.command and not any("{port}" in word for word in (*self.command, *self.args)):
            raise ValueError("`command` should have {port} in it, which a free one is put in the place of")
        if not self.url and not self.model:
            raise ValueError("should have a `model` to serve, or the `url` of a server that is running")
        return self


def _default(key: str) -> object:
    return ModelServerTable.model_fields[key].get_default(call_default_factory=True)
