"""The same name and the same folder of runs mean the same run: a command given again goes on with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from raysearch.config.layers import Configuration, configure
from raysearch.config.settings import Settings
from raysearch.config.targets import load_target
from raysearch.errors import ConfigError, RunError
from raysearch.run.folder import RunFolder
from raysearch.run.job import in_job, portable
from raysearch.target import Target

CHANGEABLE = (
    "limits",
    "roles",
    "devices",
    "run.lanes",
    "run.pool",
    "run.address",
    "run.sandbox",
    "run.push_to",
    "model_server",
)
"""What may differ from one session of a run to the next; the rest is part of what makes the run the run that it is."""
_PLACES = ("run.exp_name", "run.runs_dir", "run.resume_named")
"""Where a run is found, not what it is."""
_TARGET = ("run.target", "run.ref", "run.acc_checker", "run.bench")
"""A target is known by its content, wherever it lies."""
SHOWN_MAX = 5


def earlier(configuration: Configuration, target: Target) -> tuple[RunFolder, Configuration] | None:
    """The newest run of the configuration's name that is the same search, and the configuration to go on with.

    None if there is no run of that name, or none is asked for (``run.resume_named``). Raises RunError, naming what
    differs, if there are runs of that name but all are other searches.
    """
    run = configuration.settings.run
    if run.resume_named and not run.exp_name:
        raise ConfigError(
            f"{configuration.origin('run', 'resume_named')} resume_named: which run? Give --exp-name as well"
        )
    if not (run.exp_name and (in_job() if run.resume_named is None else run.resume_named)):
        return None
    first: tuple[RunFolder, list[str]] | None = None
    for folder in _called(run.exp_name, Path(run.runs_dir)):
        before = configure(folder.config).settings
        if before.run.exp_name != run.exp_name:
            continue
        found = [*differences(before, configuration.settings), *_other_target(load_target(folder.target), target)]
        if not found:
            return folder, _with_seed(configuration, before.run.seed)
        first = first or (folder, found)
    if first is None:
        return None
    folder, found = first
    more = f"; and {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else ""
    raise RunError(
        f"the run called {run.exp_name!r} in {run.runs_dir} ({folder.name}) is another search than this one:"
        f" {'; '.join(found[:SHOWN_MAX])}{more}. Give another --exp-name, or say --no-resume-named to start one more of"
        " that name"
    )


def differences(before: Settings, now: Settings) -> list[str]:
    """What makes ``now`` another search than ``before``, targets left aside: ``key: value there, value here``."""
    old, new = _values(before), _values(now)
    if now.run.seed is None:  # any will do
        old.pop("run.seed", None)
        new.pop("run.seed", None)
    return [
        f"{key}: {_shown(old, key)} there, {_shown(new, key)} here"
        for key in [*new, *(key for key in old if key not in new)]
        if old.get(key) != new.get(key)
    ]


def _called(name: str, runs_dir: Path) -> list[RunFolder]:
    """Folders of runs that may have been given ``name``, newest first."""
    pattern = re.compile(rf"\d{{8}}-\d{{6}}-{re.escape(name.strip('-'))}(-\d+)?")
    found = [path.parent for path in runs_dir.glob("*/run.toml") if pattern.fullmatch(path.parent.name)]
    return [RunFolder(path.resolve()) for path in sorted(found, reverse=True)]


def _values(settings: Settings) -> dict[str, Any]:
    found = {}
    for section, values in settings.tables().items():
        for key, value in values.items():
            path = ".".join((*section, key))
            if not path.startswith(CHANGEABLE) and path not in (*_PLACES, *_TARGET):
                found[path] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    """Lists and tuples alike; paths into a job's working folder as seen from there."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return portable(value) if isinstance(value, str) else value


def _shown(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "nothing"


def _other_target(before: Target, now: Target) -> Iterator[str]:
    if before.digest == now.digest:
        return
    parts = {
        "name": before.name == now.name,
        "OBJECTIVE.md": before.objective == now.objective,
        "objectives": before.objectives == now.objectives,
        "checker": before.checker.digest == now.checker.digest,
        "benchmark": before.benchmark.digest == now.benchmark.digest,
    }
    changed = [name for name, same in parts.items() if not same] or ["seed program, rules or resources"]
    yield f"the target: its {', '.join(changed)} changed"


def _with_seed(configuration: Configuration, seed: int | None) -> Configuration:
    run = configuration.settings.run.model_copy(update={"seed": seed})
    return replace(configuration, settings=configuration.settings.model_copy(update={"run": run}))
