"""``agent.toml``: who works and how hard, in the sections that other tools of this kind know, as a configuration.

Every value keeps the line on which it stands, so that ``--show-config`` and messages name it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from raysearch.config.perf_eval import PerfEvalTable
from raysearch.config.problems import sentences, together
from raysearch.config.settings import Settings
from raysearch.config.toml import Document, Keys
from raysearch.config.values import Seconds, Table
from raysearch.errors import ConfigError, nearest

NAME = "agent.toml"
_THEIRS = frozenset({"model", "thinking", "providers", "backend", "agent"})
_OURS = frozenset(Settings.model_fields) - {"perf_eval"}
_PROVIDERS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "google-genai": "gemini",
    "openai": "openai",
    "openai-compatible": "openai-chat",
    "vertex-ai": "vertex",
}
"""Their names of providers, and those of the agents here."""
_KEYS_OF: Mapping[str, tuple[str, ...]] = {
    "openai-compatible": ("base_url", "api_key"),
    "vertex-ai": ("json", "project", "region"),
}
_MODELS_OF: Mapping[str, str] = {"claude": r"claude-", "codex": r"(gpt-|codex-|o\d)", "gemini": r"gemini-"}
"""How the names of models begin that a program can be asked for."""
_NO_KEYS = frozenset({"", "none", "empty", "dummy", "placeholder", "not-needed"})
"""What people write where a server wants no key."""
_LEVELS = ((0, "minimal"), (4_096, "low"), (16_384, "medium"))
"""Most tokens of thinking for each level; above the last: high."""
MUTATE_S, SLACK = 3600.0, 1.2
"""Time for a mutation where nothing is said, and how much longer than a call it must be."""


class ModelTable(Table):
    name: Annotated[str, Field(min_length=1)]
    provider: Literal["anthropic", "google-genai", "openai", "openai-compatible", "vertex-ai"] | None = None


class ThinkingTable(Table):
    level: Literal["minimal", "low", "medium", "high"] | None = None
    budget: Annotated[int, Field(ge=-1, le=1_000_000_000)] | None = None

    @model_validator(mode="after")
    def _one(self) -> ThinkingTable:
        if (self.level is None) == (self.budget is None):
            raise ValueError("should have `level` or `budget`, one of them")
        return self


class ProviderTable(Table):
    base_url: str = ""
    api_key: str = ""
    json_: Annotated[str, Field(alias="json")] = ""
    project: str = ""
    region: str = ""


class BackendTable(Table):
    name: Literal["cpu", "cuda", "metal", "rocm"]


class AgentTable(Table):
    backend: Literal["cli", "deepagents"] = "cli"
    cli_provider: Literal["claude", "codex", "gemini", "opencode"] | None = None
    cli_model: str = ""
    cli_timeout: Seconds | None = None


class AgentFile(Table):
    """``agent.toml``. Every section may be absent."""

    model: ModelTable | None = None
    thinking: ThinkingTable | None = None
    providers: dict[str, ProviderTable] = Field(default_factory=dict)
    backend: BackendTable | None = None
    agent: AgentTable = AgentTable()
    perf_eval: PerfEvalTable | None = None


def is_agent_file(document: Document) -> bool:
    """Whether it is one, by its sections, or else by its name."""
    sections = set(document.data)
    return bool(document.path.name == NAME or sections & _THEIRS) and not sections & _OURS


def beside(root: Path, folder: Path) -> Path | None:
    """The ``agent.toml`` in a target's folder ``root``, or else in ``folder``."""
    return next((place / NAME for place in (root, folder) if (place / NAME).is_file()), None)


def translated(document: Document) -> tuple[dict[str, Any], dict[Keys, str]]:
    """The configuration that an ``agent.toml`` means, and the place of each of its values.

    Raises ConfigError, naming every problem with its place.
    """
    try:
        file = AgentFile.model_validate(document.data)
    except ValidationError as error:
        raise ConfigError(together("the configuration", sentences(error, AgentFile, document.where))) from None
    problems = [f"{document.where(keys)}: {problem}" for keys, problem in _problems(file)]
    if problems:
        raise ConfigError(together("the configuration", problems))
    data: dict[str, Any] = {}
    places: dict[Keys, str] = {}
    for keys, value, source in _meaning(file):
        table = data
        for key in keys[:-1]:
            table = table.setdefault(key, {})
        table[keys[-1]] = value
        places[keys] = document.where(source)
    return data, places


def _problems(file: AgentFile) -> Iterator[tuple[Keys, str]]:
    for name, table in file.providers.items():
        if name not in _PROVIDERS:
            yield ("providers", name), f"no provider is called {name!r}.{nearest(name, _PROVIDERS)}"
            continue
        allowed = _KEYS_OF.get(name, ())
        for key in table.model_dump(by_alias=True, exclude_unset=True):
            if key not in allowed:
                hint = nearest(key, allowed) if allowed else " Its key is found in the environment or in .env."
                yield ("providers", name, key), f"unknown key {key!r} in [providers.{name}].{hint}"
        if table.api_key.lower() not in _NO_KEYS:
            yield (
                ("providers", name, "api_key"),
                "a configuration is kept with its run, so no key may stand in it: put it into .env under a name of its"
                " own, and give that name: --set mutator.deepagents.agent_options.key_from=NAME",
            )
        if table.json_:
            yield (
                ("providers", name, "json"),
                "the file of Google's credentials is found by its usual variable: leave `json` out, and set"
                f" GOOGLE_APPLICATION_CREDENTIALS={table.json_}",
            )


def _meaning(file: AgentFile) -> Iterator[tuple[tuple[str, ...], Any, Keys]]:
    """Keys of a configuration with their values, and the keys that said so."""
    agent, called = file.agent, _called(file.agent)
    yield ("agents", "backend"), agent.backend, ("agent", "backend")
    if agent.backend == "cli" and agent.cli_provider:
        yield ("agents", "provider"), agent.cli_provider, ("agent", "cli_provider")
    if agent.cli_timeout is not None:
        yield ("mutator", called, "timeout_s"), agent.cli_timeout, ("agent", "cli_timeout")
        if agent.cli_timeout * SLACK > MUTATE_S:
            yield ("limits", "mutate_timeout_s"), agent.cli_timeout * SLACK, ("agent", "cli_timeout")
    yield from _model(file, called)
    if file.thinking is not None and (effort := _effort(file.thinking)):
        key = "level" if file.thinking.level else "budget"
        yield ("agents", "effort"), effort, ("thinking", key)
    if file.backend is not None:
        yield ("run", "backend"), file.backend.name, ("backend", "name")
    if file.perf_eval is not None:
        levels = [table.model_dump() for table in file.perf_eval.load_levels]
        yield ("perf_eval", "load_levels"), levels, ("perf_eval", "load_levels")


def _model(file: AgentFile, called: str) -> Iterator[tuple[tuple[str, ...], Any, Keys]]:
    """A program of one provider is not asked for another's model: it keeps its own, unless ``cli_model`` says which."""
    if file.agent.backend == "cli":
        fits = _MODELS_OF.get(called)
        if file.agent.cli_model:
            yield ("agents", "model"), file.agent.cli_model, ("agent", "cli_model")
        elif file.model is not None and fits and re.match(fits, file.model.name):
            yield ("agents", "model"), file.model.name, ("model", "name")
        return
    said: str | None = file.model.provider if file.model is not None else None
    if file.model is not None:
        yield ("agents", "model"), file.model.name, ("model", "name")
    if said is not None:
        yield ("mutator", called, "agent_options", "provider"), _PROVIDERS[said], ("model", "provider")
    chosen = said or (next(iter(file.providers)) if len(file.providers) == 1 else "")
    table = file.providers.get(chosen, ProviderTable())
    for key in ("base_url", "project", "region"):
        if value := getattr(table, key):
            yield ("mutator", called, "agent_options", key), value, ("providers", chosen, key)


def _called(agent: AgentTable) -> str:
    """The mutator that asks it."""
    return (agent.cli_provider or "claude") if agent.backend == "cli" else agent.backend


def _effort(thinking: ThinkingTable) -> str:
    if thinking.level is not None:
        return thinking.level
    if thinking.budget is None or thinking.budget < 0:  # as the model likes
        return ""
    return next((level for most, level in _LEVELS if thinking.budget <= most), "high")
