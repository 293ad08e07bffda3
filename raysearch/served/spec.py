"""What a model server is, as data."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"
VLLM = (
    *("python", "-m", "vllm.entrypoints.openai.api_server"),
    *("--model", "{model}", "--served-model-name", "{name}"),
    *("--host", "{host}", "--port", "{port}"),
)
"""vLLM's own server. Its short form, ``vllm serve``, is not there in every build."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A model and what serves it: ``replicas`` processes, each with these resources to itself; or a ``url``.

    In words of ``command`` and ``args`` (which follow it) ``{model}``, ``{name}`` (of the model: for a folder its
    last part), ``{host}``, ``{port}`` and ``{gpus}`` are filled in. A first word ``python`` is the interpreter that
    raysearch runs under. ``env`` goes over the environment of the process that starts it, from which variables named
    like a credential are left out, but those of ``pass_env``. ``restarts_max`` is how often a replica that has
    served is started again before it has served for ten minutes on end.
    """

    name: str
    model: str = ""
    """A folder, or a name on a hub. With a ``url``: which of its models; empty, its first."""
    url: str = ""
    """Of a server that somebody else keeps running; nothing is started then."""
    replicas: int = 1
    gpus: int = 0
    """Of each replica, all on one node: the size of tensor parallelism."""
    cpus: float = 1.0
    memory_mb: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    """Empty: `VLLM`."""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    ready_timeout_s: float = 900.0
    restarts_max: int = 5
    drain_s: float = 30.0

    @property
    def processes(self) -> int:
        """How many are started."""
        return 0 if self.url else self.replicas

    @property
    def names_host(self) -> bool:
        """Whether the command says at which address it is to listen."""
        return bool(self.url) or not self.command or any("{host}" in word for word in (*self.command, *self.args))

    @property
    def model_name(self) -> str:
        """What the default command calls the model."""
        is_path = self.model.startswith(("/", ".", "~"))
        return os.path.basename(self.model.rstrip("/")) if is_path else self.model  # noqa: PTH119 - not of this machine

    def words(self, host: str, port: int) -> list[str]:
        """The command line of a replica that listens at ``host`` and ``port``."""
        command: Sequence[str] = self.command
        if not command:
            command = [*VLLM, *(["--tensor-parallel-size", "{gpus}"] if self.gpus else [])]
        values = {"model": self.model, "name": self.model_name, "host": host, "port": port, "gpus": self.gpus}
        words = [_filled(word, values) for word in (*command, *self.args)]
        return [sys.executable, *words[1:]] if words[0] == "python" else words

    def demand(self) -> dict[str, float]:
        """What a replica asks for, in Ray's own names; zeros left out."""
        asked = {"CPU": self.cpus, "GPU": float(self.gpus), "memory": self.memory_mb * 1e6, **self.resources}
        return {name: amount for name, amount in asked.items() if amount > 0}


def _filled(word: str, values: Mapping[str, object]) -> str:
    """Other braces stay: they are JSON more often than not."""
    for name, value in values.items():
        word = word.replace("{" + name + "}", str(value))
    return word
