"""What is different inside a Ray job (``ray job submit``).

Ray unpacks the job's working folder into a place that all jobs with the same content share, and that it clears away
when it likes: nothing may be kept there. And a job knows its cluster, which others must be told.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from raysearch.errors import RunError

if TYPE_CHECKING:
    from raysearch.config.layers import Override

RUNS_DIR = "exp_env"
"""Where runs are kept unless told otherwise; below the working folder."""
RUNS_DIR_IN_JOB = "~/raysearch_runs"
ORIGIN = "default in a Ray job"
_PACKAGES = ("runtime_resources", "working_dir_files")
"""Ray's folders, one in the other, of unpacked working folders: ``…/_ray_pkg_<hash>`` each."""


def in_job(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is the driver of a Ray job, or a child of it."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in environment and "RAY_ADDRESS" in environment


def runs_dir(environment: Mapping[str, str] = os.environ) -> str:
    """Where runs are kept if nothing is said."""
    return os.path.expanduser(RUNS_DIR_IN_JOB) if in_job(environment) else RUNS_DIR  # noqa: PTH111 - raises never


def defaults(environment: Mapping[str, str] = os.environ) -> list[Override]:
    """Settings that a job gives other defaults: its own cluster, and a place that lasts."""
    from raysearch.config.layers import Override

    if not in_job(environment):
        return []
    return [
        Override(("run", "address"), "auto", ORIGIN),
        Override(("run", "runs_dir"), runs_dir(environment), ORIGIN),
    ]


def package_of(path: Path) -> Path | None:
    """The unpacked working folder of a job that ``path`` is, or lies in; None elsewhere."""
    for place in (path.absolute(), Path(os.path.realpath(path))):  # Path.resolve raises for a link to itself
        parts = place.parts
        for index in range(len(parts) - len(_PACKAGES)):
            if parts[index : index + len(_PACKAGES)] == _PACKAGES:
                return Path(*parts[: index + len(_PACKAGES) + 1])
    return None


def keep_out(runs_dir: Path) -> None:
    """Refuse to keep runs in a job's working folder. Raises RunError."""
    if package_of(runs_dir) is not None:
        raise RunError(
            f"{runs_dir} lies in the unpacked working folder of a Ray job, which jobs share and Ray clears away: a run"
            f" kept there would be lost. Give --runs-dir a folder that lasts, such as {RUNS_DIR_IN_JOB} (on several"
            " nodes: one that all of them see)"
        )


def portable(text: str) -> str:
    """``text`` without the way to a job's working folder, which is another one whenever any file in it changes."""
    package = package_of(Path(text)) if text.startswith("/") else None
    return text.removeprefix(f"{package}/") if package is not None else text
