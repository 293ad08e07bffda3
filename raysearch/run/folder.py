"""The run folder: ``<runs-dir>/<timestamp>-<name>/``."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from raysearch.errors import RunError, nearest
from raysearch.ledger import JOURNAL


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run keeps what it knows. The journal is the truth; everything else is written from it."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def identity(self) -> str:
        """Names the run on the whole machine, where two runs folders may hold runs of one name and second.

        Processes, scratch folders and workers carry it, and are swept by it.
        """
        return f"{self.name}-{blake2b(os.fsencode(self.path.resolve()), digest_size=4).hexdigest()}"

    @property
    def journal(self) -> Path:
        return self.path / JOURNAL

    @property
    def workspace(self) -> Path:
        """The git repository: every attempt under its tag, the best candidate checked out."""
        return self.path / "workspace"

    @property
    def target(self) -> Path:
        """The target as it was when the run started, read-only."""
        return self.path / "target"

    @property
    def reference(self) -> Path:
        return self.path / "reference"

    @property
    def config(self) -> Path:
        return self.path / "run.toml"

    @property
    def attempts(self) -> Path:
        return self.path / "attempts"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @classmethod
    def create(cls, runs_dir: Path, name: str) -> RunFolder:
        """A new folder, named by the time and ``name``. Raises RunError."""
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-') or 'run'}"
        for number in range(1, 1000):
            folder = cls(Path(os.path.realpath(runs_dir / (stem if number == 1 else f"{stem}-{number}"))))
            try:
                folder.path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise RunError(f"{folder.path} cannot be made: {error.strerror}. Choose another --runs-dir") from error
            folder.attempts.mkdir()
            folder.logs.mkdir()
            return folder
        raise RunError(f"{runs_dir} already holds a thousand runs named {stem}")

    @classmethod
    def find(cls, reference: str | None, runs_dir: Path) -> RunFolder:
        """The run that ``reference`` means: a path, a folder's name or a unique part of one, or the newest.

        Raises RunError with the nearest name.
        """
        if reference and reference != "latest" and (Path(reference) / JOURNAL).is_file():
            return cls(Path(reference).resolve())
        runs = sorted(path.parent for path in runs_dir.glob(f"*/{JOURNAL}"))
        if not runs:
            raise RunError(f"no runs in {runs_dir}/. Start one with `raysearch run TARGET`, or name --runs-dir")
        if reference in {None, "", "latest"}:
            return cls(max(runs, key=lambda path: (path / JOURNAL).stat().st_mtime).resolve())
        matching = [path for path in runs if str(reference) in path.name]
        exact = [path for path in matching if path.name == reference]
        if len(exact or matching) == 1:
            return cls((exact or matching)[0].resolve())
        if matching:
            raise RunError(f"{reference!r} could be {', '.join(path.name for path in matching[:5])}. Say more of it")
        raise RunError(f"no run {reference!r} in {runs_dir}/.{nearest(str(reference), [p.name for p in runs])}")


def sweep_scratch(run: str) -> None:
    """Remove what workers of ``run`` (an identity) left in the temporary folder. The caller drives the run."""
    for folder in Path(tempfile.gettempdir()).glob(f"raysearch-{run}-*"):
        shutil.rmtree(folder, ignore_errors=True)
