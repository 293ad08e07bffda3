"""A configuration from its layers: defaults, a TOML file, ``--set``, flags; each value keeps its origin."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from raysearch.config.agent_file import is_agent_file, translated
from raysearch.config.choices import contradictions
from raysearch.config.problems import sentences, together
from raysearch.config.settings import Settings
from raysearch.config.toml import DEPTH_MAX, Keys, at_home, has_long_key, read, shown, written, written_key
from raysearch.errors import ConfigError

FLAGS: Mapping[str, str] = {
    "--ref": "run.ref",
    "--acc-checker": "run.acc_checker",
    "--bench": "run.bench",
    "--objective": "run.objectives",
    "--constraint": "run.constraints",
    "--modality": "run.modality",
    "--backend": "run.backend",
    "--outer-loop": "run.outer_loop",
    "--mutator": "run.mutators",
    "--seed": "run.seed",
    "--lanes": "run.lanes",
    "--pool": "run.pool",
    "--address": "run.address",
    "--sandbox": "run.sandbox",
    "--exp-name": "run.exp_name",
    "--runs-dir": "run.runs_dir",
    "--resume-named": "run.resume_named",
    "--push-to": "run.push_to",
    "--max-candidates": "limits.max_candidates",
    "--max-rounds": "limits.max_rounds",
    "--max-generations": "limits.max_generations",
    "--children-per-generation": "limits.children_per_generation",
    "--budget-time": "limits.budget_time_s",
    "--max-retries-per-round": "policy.max_retries_per_round",
    "--judge-every": "policy.judge_every",
    "--official-eval-every": "policy.official_eval_every",
    "--inner-loop": "policy.inner_loop",
    "--no-skills": "policy.skills",
    "--max-attempts-per-issue": "policy.max_attempts_per_issue",
    "--max-issues-per-perf-eval": "policy.max_issues_per_perf_eval",
    "--frontier-bias": "policy.frontier_bias",
    "--selection-temperature": "policy.temperature",
    "--k-top-inspirations": "policy.k_top",
    "--k-random-inspirations": "policy.k_random",
    "--bootstrap-max-attempts": "policy.bootstrap_max_attempts",
    "--agent-backend": "agents.backend",
    "--cli-provider": "agents.provider",
    "--model": "agents.model",
    "--effort": "agents.effort",
    "--no-price": "agents.no_price",
}
"""Command-line flags that stand for a key of the configuration."""
_DENIALS = ("--no-skills",)
"""Flags that say no to their key."""
_PATHS = ("target", "ref", "acc_checker", "bench", "runs_dir")
_REFERENCES = ("use", "agent")


@dataclass(frozen=True, slots=True)
class Override:
    """A value that goes over the file's, and the flag that gave it."""

    keys: tuple[str, ...]
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings in force, and where each value that is not a default came from (by its keys)."""

    settings: Settings
    origins: Mapping[Keys, str] = field(default_factory=dict)

    def origin(self, *keys: str) -> str:
        """``default``, ``file.toml:12``, ``--set`` or the flag that gave the value at ``keys``."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.origins:
                return self.origins[keys[:length]]
        inside = (origin for found, origin in self.origins.items() if found[: len(keys)] == keys)
        return next(inside, "default")

    def option_origins(self, *section: str) -> dict[str, str]:
        """Origin of each option of a plug-in's section, for the loader's messages."""
        names = {found[len(section)]: None for found in self.origins if found[: len(section)] == section != found}
        return {str(name): self.origin(*section, str(name)) for name in names}


def set_override(text: str) -> Override:
    """The override of ``--set a.b=value``: a TOML value, or a bare word as text. Raises ConfigError."""
    path, equals, value = text.partition("=")
    keys = tuple(part.strip() for part in path.split("."))
    if not equals or not all(keys) or len(keys) > DEPTH_MAX:
        raise ConfigError(f"--set {text!r}: write --set section.key=value, as in --set limits.max_candidates=40")
    return Override(keys, _value(value.strip()), "--set")


def flag_override(flag: str, value: Any) -> Override:
    """The override of a flag of `FLAGS`."""
    if flag in _DENIALS:
        value = not value
    return Override(tuple(FLAGS[flag].split(".")), list(value) if isinstance(value, tuple) else value, flag)


def target_override(target: str) -> Override:
    """The override of the command line's ``TARGET``."""
    return Override(("run", "target"), target, "TARGET")


def _value(text: str) -> Any:
    if has_long_key(text):
        return text
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return text
    return found["value"] if list(found) == ["value"] else text


def configure(
    file: Path | None = None,
    overrides: Sequence[Override] = (),
    *,
    known: Mapping[str, Collection[str]] | None = None,
    folder: Path | None = None,
    defaults: Sequence[Override] = (),
) -> Configuration:
    """The configuration of ``file`` with ``overrides`` over it, the last winning, and ``defaults`` under it.

    Paths in the file are relative to the file's folder, all others to ``folder`` (the working directory). ``known``
    has the names of installed plug-ins by kind, for names that are misspelt. Raises ConfigError, naming every
    problem with its place.
    """
    folder = folder or Path.cwd()
    layers = _Layers({}, {}, {})
    layers.add(_anchored({"run": {"runs_dir": Settings().run.runs_dir}}, folder), {(): "default"})
    layers.origins.clear()
    for default in defaults:
        layers.put(default, folder)
    if file is not None:
        document = read(file, ConfigError)
        data, places = document.data, {keys: document.where(keys) for keys in document.lines}
        if is_agent_file(document):
            data, places = translated(document)
        layers.add(_anchored(data, file.absolute().parent), {(): shown(file), **places})
    for override in overrides:
        layers.put(override, folder)
    try:
        settings = Settings.model_validate(layers.data)
    except ValidationError as error:
        raise ConfigError(together("the configuration", sentences(error, Settings, layers.place))) from None
    wrong = [*_unwritable(layers.data), *contradictions(settings, known or {})]
    problems = [f"{layers.place(keys)}: {problem}" for keys, problem in wrong]
    if problems:
        raise ConfigError(together("the configuration", problems))
    return Configuration(settings, layers.origins)


@dataclass(slots=True)
class _Layers:
    """Values merged so far; where each table and value was last written; the origin of each value."""

    data: dict[str, Any]
    places: dict[Keys, str]
    origins: dict[Keys, str]

    def add(self, data: Mapping[str, Any], places: Mapping[Keys, str]) -> None:
        """Put a layer over the others; ``places`` has the place of each of its keys, and of () for all others."""
        for keys, value in _leaves(data, ()):
            table = self.data
            for depth, key in enumerate(keys[:-1], start=1):
                table = table.setdefault(key, {})
                self.places.setdefault(keys[:depth], _nearest_place(places, keys[:depth]))
                if not isinstance(table, dict):
                    where = self.place(keys[:1]) if depth == 1 else _nearest_place(places, keys)
                    raise ConfigError(f"{where}: {'.'.join(keys[:depth])} is not a table.")
            if isinstance(value, dict):  # an empty table adds nothing to what it holds
                table.setdefault(keys[-1], {})
                self.places.setdefault(keys, _nearest_place(places, keys))
            else:
                if isinstance(table.get(keys[-1]), dict):  # a table gives way, with all that was in it
                    for old in [old for old in self.origins if old[: len(keys)] == keys]:
                        del self.origins[old]
                table[keys[-1]] = value
                self.places[keys] = self.origins[keys] = _nearest_place(places, keys)

    def put(self, override: Override, folder: Path) -> None:
        """Put one value over the others; its paths are relative to ``folder``."""
        value: Any = override.value
        for key in reversed(override.keys):
            value = {key: value}
        self.add(_anchored(value, folder), {(): override.origin})

    def place(self, keys: Keys) -> str:
        return _nearest_place({(): "the configuration", **self.places}, keys)


def _nearest_place(places: Mapping[Keys, str], keys: Keys) -> str:
    return next(places[keys[:length]] for length in range(len(keys), -1, -1) if keys[:length] in places)


def _unwritable(data: Mapping[str, Any]) -> Iterator[tuple[Keys, str]]:
    """Texts from the command line, or a path of this machine, that no file of a run could hold."""
    for keys, value in _leaves(data, ()):
        texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
        bad = next((text for text in (*keys, *texts) if not _is_utf8(text)), None)
        if bad is not None:
            yield keys, f"{'.'.join(keys)} holds bytes that are not UTF-8, {bad!a}: rename the file or folder."


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _leaves(data: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in data.items():
        keys = (*above, key)
        if isinstance(value, dict) and value:
            yield from _leaves(value, keys)
        else:
            yield keys, value


def _anchored(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same data with paths made absolute, seen from ``folder``. What is not text is left for validation."""

    def path(value: Any) -> Any:
        return os.path.normpath(folder.absolute() / at_home(value)) if _is_path(value) else value

    def reference(value: Any) -> Any:
        place, colon, name = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        if not (place.endswith(".py") or "/" in place):
            return value
        return f"{path(place)}{colon}{name}"

    found = dict(data)
    run = found.get("run")
    if isinstance(run, dict):
        found["run"] = run = {key: path(value) if key in _PATHS else value for key, value in run.items()}
        if "push_to" in run and not _is_url(run["push_to"]):
            run["push_to"] = path(run["push_to"])
        if "outer_loop" in run:
            run["outer_loop"] = reference(run["outer_loop"])
        if isinstance(run.get("mutators"), list):
            run["mutators"] = [reference(entry) for entry in run["mutators"]]
    agents = found.get("agents")
    if isinstance(agents, dict) and "prices" in agents:
        found["agents"] = {**agents, "prices": path(agents["prices"])}
    for kind in ("mutator", "judge", "benchmark", "consultant"):
        tables = found.get(kind)
        if isinstance(tables, dict):
            found[kind] = {name: _with_references(table, reference, path) for name, table in tables.items()}
    servers = found.get("model_server")
    if isinstance(servers, dict):
        found["model_server"] = {name: _with_folder(table, path) for name, table in servers.items()}
    return found


def _with_folder(table: Any, path: Callable[[Any], Any]) -> Any:
    """A model is a folder where it looks like one; else its name on a hub. Words of a command, too, and no names."""
    if not isinstance(table, dict):
        return table

    def placed(value: Any) -> Any:
        return path(value) if isinstance(value, str) and value.startswith(("./", "../", "~/")) else value

    found = {key: placed(value) if key == "model" else value for key, value in table.items()}
    for key in ("command", "args"):
        if isinstance(found.get(key), list):
            found[key] = [placed(word) for word in found[key]]
    return found


def _with_references(table: Any, reference: Callable[[Any], Any], path: Callable[[Any], Any]) -> Any:
    if not isinstance(table, dict):
        return table
    found = {key: reference(value) if key in _REFERENCES else value for key, value in table.items()}
    if isinstance(found.get("skills"), list):
        found["skills"] = [path(folder) for folder in found["skills"]]
    return found


def _is_url(value: Any) -> bool:
    """Whether git would take it for a URL (``https://…``, ``user@host:path``) and not for a path."""
    return isinstance(value, str) and ":" in value.partition("/")[0]


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value


def effective_configuration(configuration: Configuration) -> str:
    """The configuration in force as TOML, with the origin of each value as a comment.

    `configure` of a file with this text gives equal settings, wherever the file lies.
    """
    blocks = []
    for section, values in configuration.settings.tables().items():
        if not values and len(section) == 1:
            continue
        lines = [f"[{'.'.join(written_key(key) for key in section)}]"]
        for key, value in values.items():
            origin = configuration.origin(*section, key)
            said = f"# {key}: none" if value is None else f"{written_key(key)} = {written(value)}"
            lines.append(f"{said}  # {origin}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"
