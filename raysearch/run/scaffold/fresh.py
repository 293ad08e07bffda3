"""A small honest target that is sound as it is."""

from __future__ import annotations

from pathlib import Path

from raysearch.config.targets import load_target
from raysearch.run.scaffold.files import fill, new_folder
from raysearch.target import Target


def scaffold(folder: Path) -> Target:
    """Write the example target to the new folder ``folder``, named after it. Raises TargetError."""
    with new_folder(folder.absolute()) as made:
        fill("new", made, {"name": made.name})
        return load_target(made)
