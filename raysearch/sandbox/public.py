"""What of a target whoever writes programs may read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from raysearch.target import Target

HIDDEN = "hidden"
"""A file or folder of this name, anywhere in a target, is shown to no mutator and no agent."""
PUBLIC_FILES = ("OBJECTIVE.md", "objectives.toml")


def hides_something(target: Target) -> bool:
    """Whether there is a part that only evaluators may see."""
    return any(HIDDEN in (*folders, *files) for _, folders, files in os.walk(target.root))


def public_parts(target: Target) -> list[Path]:
    """Files and folders of a target that agents may read: all that it is judged by, without what is hidden."""
    parts = [*(target.root / name for name in PUBLIC_FILES), target.reference]
    parts += [target.checker.folder, target.benchmark.folder, *([target.seed] if target.seed else [])]
    below = {part for part in parts if part.exists() and part != target.root and part.is_relative_to(target.root)}
    return [place for part in sorted(below) if not _hides(part, target.root) for place in _shown(part)]


def _hides(part: Path, root: Path) -> bool:
    return HIDDEN in part.relative_to(root).parts


def _shown(place: Path) -> Iterator[Path]:
    """``place``, or as much of it as is not hidden."""
    if (
        place.is_symlink()
        or not place.is_dir()
        or not any(HIDDEN in (*dirs, *files) for _, dirs, files in os.walk(place))
    ):
        yield place
        return
    for child in sorted(place.iterdir()):
        if child.name != HIDDEN:
            yield from _shown(child)
