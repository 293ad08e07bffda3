"""Files of a new target: templates with names filled in, in a folder that was not there before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from raysearch.config.target_file import NAME
from raysearch.config.toml import shown
from raysearch.errors import TargetError

TEMPLATES = Path(__file__).with_name("templates")
SUFFIX = ".txt"
"""Of templates that are Python, so that no tool takes them for part of raysearch."""


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """``folder``, made; gone again if anything fails within. Raises TargetError if it holds something already."""
    if not NAME.fullmatch(folder.name):
        raise TargetError(f"{folder.name!r} names no target: use letters, digits, '_', '-' and '.', 64 at most.")
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise TargetError(f"{shown(folder)}: there is something already: choose another name, or move it away.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise TargetError(f"{shown(folder)}: cannot be written: {error.strerror or error}.") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def fill(kind: str, folder: Path, words: Mapping[str, str]) -> list[Path]:
    """Write the templates of ``kind`` into ``folder``, ``{{word}}`` replaced; what was written, sorted."""
    written = []
    for template in sorted(path for path in (TEMPLATES / kind).rglob("*") if path.is_file()):
        name = template.relative_to(TEMPLATES / kind).as_posix().removesuffix(SUFFIX)
        text = template.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(f"{{{{{word}}}}}", value)
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        written.append(place)
    return written
