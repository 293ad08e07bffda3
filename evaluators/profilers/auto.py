"""The profiler that tells most about a target, of those that work on this machine and in this sandbox."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from evaluators.profilers.instruments import Instruments
from evaluators.profilers.linux import Linux
from evaluators.profilers.nsys import Nsys
from evaluators.profilers.perf import Perf
from evaluators.profilers.pyspy import PySpy
from evaluators.profilers.pytorch import Torch
from evaluators.profilers.running import Place, ToolProfiler, benchmark_words
from evaluators.profilers.sample import Sample
from raysearch.errors import EvaluatorFault
from raysearch.profile import Profile
from raysearch.protocols import Workspace

NATIVE = {".c", ".cc", ".cpp", ".cu", ".cxx", ".f90", ".go", ".h", ".hpp", ".m", ".rs", ".swift", ".zig"}
FILES_MAX = 2000
FILE_BYTES_MAX = 200_000


class Auto:
    """Tries what suits the target in order: a GPU's tool, a language's, a machine's. Options: those of all."""

    name = "auto"

    def __init__(self, top: int = 20, plain_runs: int = 1) -> None:
        self.top, self.plain_runs = top, plain_runs
        Linux(top=top, plain_runs=plain_runs)  # refuses options that are out of range

    def available(self) -> str:
        reasons = [tool.available() for tool in (Linux(), Instruments(), Sample())]
        return "" if "" in reasons else "; ".join(reasons)

    def obstacle(self, place: Place) -> str:
        reasons = [tool.obstacle(place) for tool in self.choices(place)]
        return "" if "" in reasons else "; ".join(reasons)

    def profile(self, workspace: Workspace, focus: str, rng: random.Random) -> Profile:  # noqa: ARG002
        return self.examine(workspace, focus)

    def examine(self, place: Place, focus: str = "") -> Profile:
        """Raises Refused where the program cannot be run, EvaluatorFault where no tool can look at it."""
        passed_over = []
        for tool in self.choices(place):
            if reason := tool.obstacle(place):
                passed_over.append(f"{tool.name}: {reason.removeprefix(f'{tool.name}: ')}")
                continue
            try:
                found = tool.examine(place, focus)
            except EvaluatorFault as fault:
                passed_over.append(f"{tool.name}: {fault}")
                continue
            told = " | ".join(reason.partition("\n")[0][:200] for reason in passed_over)
            return replace(found, conditions={**found.conditions, **({"passed over": told} if told else {})})
        raise EvaluatorFault("no profiler works here:\n" + "\n".join(passed_over))

    def choices(self, place: Place) -> Iterator[ToolProfiler]:
        """What could tell something about this target, the most telling first."""
        kinds: list[type[ToolProfiler]] = [Nsys] if Path("/dev/nvidiactl").exists() else []
        kinds += [Torch] if _uses_torch(place) else []
        if _mainly_native(place.path):
            kinds += [Instruments, Perf]
        elif "python" in Path(benchmark_words(place)[0]).name:
            kinds += [PySpy]
        kinds += [kind for kind in (Linux, Perf, Instruments, Sample) if kind not in kinds]
        for kind in kinds:
            yield kind(top=self.top, plain_runs=self.plain_runs)


def _uses_torch(place: Place) -> bool:
    """Whether the program or the benchmark imports PyTorch."""
    texts = (_start(path) for root in (place.path, place.target.benchmark.folder) for path in _files(root, {".py"}))
    return any(b"import torch" in text or b"from torch" in text for text in texts)


def _mainly_native(root: Path) -> bool:
    """Whether more of the program's text is in compiled languages than in Python."""
    sizes: Counter[bool] = Counter()
    for path in _files(root, {*NATIVE, ".py"}):
        sizes[path.suffix in NATIVE] += path.stat().st_size
    return sizes[True] > sizes[False]


def _files(root: Path, suffixes: set[str]) -> Iterator[Path]:
    found = (path for path in root.rglob("*") if path.suffix in suffixes and path.is_file() and not path.is_symlink())
    for _, path in zip(range(FILES_MAX), found, strict=False):
        yield path


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(FILE_BYTES_MAX)
