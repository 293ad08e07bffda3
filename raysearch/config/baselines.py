"""A target's baselines: programs that every report compares with, declared as ``[[baselines]]`` in target.toml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from raysearch.config.digests import Part, files, size_bytes
from raysearch.config.folders import BASELINES, absent
from raysearch.config.target_file import TargetFile
from raysearch.config.toml import shown
from raysearch.errors import TargetError
from raysearch.target import Baseline, Target


def baselines_of(root: Path, file: TargetFile, problems: list[str]) -> tuple[Baseline, ...]:
    """Those that ``file`` declares for the target in ``root``; what is wrong with them is added to ``problems``."""
    found = []
    for table in file.baselines:
        folder = root / table.path
        if absent(folder, f"the program of baseline {table.name!r}", problems, folder=True):
            continue
        try:
            size_mb = size_bytes(Part(folder)) / 1e6
            if not files(Part(folder)):
                problems.append(f"{shown(folder)}: empty: baseline {table.name!r} must be a program like the seed.")
        except TargetError as problem:
            problems.append(str(problem))
            continue
        if size_mb > file.candidate.program_mb_max:
            problems.append(
                f"{shown(folder)}: {size_mb:.3g} MB, more than a program may have: "
                f"raise [candidate] program_mb_max ({file.candidate.program_mb_max:g}) in target.toml, or slim it."
            )
        found.append(Baseline(table.name, folder, table.why))
    return tuple(found)


def parts_of(target: Target) -> dict[str, Part]:
    """Their files, by the folder that a copy of the target keeps them in, in the order in which they are declared."""
    return {f"{BASELINES}/{baseline.name}": Part(baseline.folder) for baseline in target.baselines}


def table_of(baseline: Baseline) -> Mapping[str, object]:
    """What target.toml of a copy says of one."""
    why = {"why": baseline.why} if baseline.why else {}
    return {"name": baseline.name, "path": f"{BASELINES}/{baseline.name}", **why}
