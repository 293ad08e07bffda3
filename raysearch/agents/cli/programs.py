"""Where an agent's program is installed, and what of this machine it needs to see."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MODULES = "node_modules"


@dataclass(frozen=True, slots=True)
class Program:
    """An installed program: the words that start it, and files and folders that must be there for it."""

    words: tuple[str, ...]
    needs: tuple[Path, ...]


def find(name: str, package: tuple[str, str] | None = None) -> Program | None:
    """The program of that name or path: on the PATH, or else in an installed Python package.

    ``package`` is that package and the program's path in it. None if it is nowhere.
    """
    found = shutil.which(str(Path(name).expanduser()) if "/" in name else name)
    place = Path(found) if found else _packaged(package)
    return None if place is None else installed(place)


def installed(place: Path) -> Program:
    """The program in the file ``place``, which may be a link to it."""
    real = place.resolve()
    head = _first_line(real)
    if not head.startswith(b"#!"):
        return Program((str(real),), (_home_of(real),))
    words = head[2:].decode("utf-8", "replace").split()
    if words[:1] == ["/usr/bin/env"]:
        words = [word for word in words[1:] if not word.startswith("-")]
    engine = _engine(words[0]) if words else None
    if engine is None:
        return Program((str(real),), (_home_of(real),))
    return Program((str(engine), str(real)), (_home_of(real), engine))


def paths_in(words: Sequence[str]) -> tuple[Path, ...]:
    """Files and folders that a command names by their absolute paths, and the program that it starts."""
    named = [Path(word) for word in words if word.startswith("/") and "\0" not in word]
    first = shutil.which(words[0]) if words else None
    return tuple(dict.fromkeys(place for place in (*([Path(first)] if first else []), *named) if place.exists()))


def _home_of(real: Path) -> Path:
    """What came with the file: all of ``node_modules``, its Python package, or nothing else."""
    outermost = next((place for place in reversed(real.parents) if place.name == MODULES), None)
    if outermost is not None:
        return outermost
    packages = next((place for place in real.parents if place.name in {"site-packages", "dist-packages"}), None)
    return packages / real.relative_to(packages).parts[0] if packages else real


def _engine(name: str) -> Path | None:
    """What runs a script: the first of that name on the PATH that is no script itself (a version manager's is one)."""
    folders = [""] if "/" in name else os.get_exec_path()
    found = [Path(place) for folder in folders if (place := shutil.which(name, path=folder or None))]
    real = [place.resolve() for place in found]
    return next((place for place in real if not _first_line(place).startswith(b"#!")), real[0] if real else None)


def _packaged(package: tuple[str, str] | None) -> Path | None:
    if package is None:
        return None
    module, inside = package
    spec = importlib.util.find_spec(module)
    folders = (spec.submodule_search_locations if spec else None) or []
    return next((Path(folder) / inside for folder in folders if (Path(folder) / inside).is_file()), None)


def _first_line(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.readline(256)
    except OSError:
        return b""
