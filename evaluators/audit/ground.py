"""What rules need to know of a target: the names of its evaluators' files, modules and libraries."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from raysearch.config.folders import BENCHMARK, CHECKER
from raysearch.target import Target

FILES_MAX = 2_000
ALWAYS = frozenset({"builtins", "json", "math", "os", "pathlib", "random", "statistics", "subprocess", "sys", "time"})
"""Modules that an evaluator relies on, whatever its source says."""
COMMON = frozenset({"benchmark", "checker", "check", "bench", "reference", "candidate", "seed", "target", "hidden"})
"""Words that programs use in other senses: as names of files they count only where a path is meant."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A target, as rules see it."""

    folders: frozenset[str] = frozenset({BENCHMARK, CHECKER, "reference"})
    """Names of folders that are the evaluator's."""
    files: frozenset[str] = frozenset()
    """Names of files in them."""
    modules: frozenset[str] = frozenset()
    """Names of Python modules in them."""
    imports: frozenset[str] = ALWAYS
    """First parts of the names of the modules that they import."""
    network: bool = False
    forbid_imports: frozenset[str] = frozenset()
    forbid_names: frozenset[str] = frozenset()

    def protects(self, module: str) -> bool:
        """Whether the evaluator relies on a module of this name as it is."""
        first = module.partition(".")[0]
        return first in self.imports or first in self.modules or first in sys.stdlib_module_names


def ground_of(target: Target) -> Ground:
    """What rules need to know of ``target``."""
    places = {target.checker.folder, target.benchmark.folder}
    scripts = [path for place in sorted(places) for path in _files(place)]
    folders = {place.name for place in places} | {target.reference.name, CHECKER, BENCHMARK}
    modules = {path.stem for path in scripts if path.suffix == ".py"}
    imported = {name for path in scripts if path.suffix == ".py" for name in _imports(path)}
    return Ground(
        folders=frozenset(folders),
        files=frozenset(path.name for path in scripts),
        modules=frozenset(modules - {"__init__", "__main__"}),
        imports=ALWAYS | frozenset(imported - modules),
        network=target.limits.network,
        forbid_imports=frozenset(target.audit.forbid_imports),
        forbid_names=frozenset(target.audit.forbid_names),
    )


def _files(place: Path) -> Iterator[Path]:
    found: Iterable[Path] = [place] if place.is_file() else place.rglob("*")
    for number, path in enumerate(found):
        if number >= FILES_MAX:
            return
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _imports(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
