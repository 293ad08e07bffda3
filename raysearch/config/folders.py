"""Where the parts of a target lie when nothing says so: the conventions of a target folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from raysearch.config.digests import Part
from raysearch.config.target_file import EvaluatorTable, is_inside
from raysearch.config.toml import shown
from raysearch.errors import TargetError, nearest

OBJECTIVE, REFERENCE, CHECKER, BENCHMARK = "OBJECTIVE.md", "reference", "accuracy_checker", "benchmark"
SEED, RECIPES, BASELINES = "seed", "recipes", "baselines"
FOLDER_OF = {"checker": CHECKER, "benchmark": BENCHMARK}
_SCRIPTS = {"checker": ("checker.py", "check.py", "run.sh"), "benchmark": ("benchmark.py", "bench.py", "run.sh")}


@dataclass(frozen=True, slots=True)
class Evaluator:
    """A checker or benchmark on disk, and the command that starts it from ``folder``."""

    folder: Path
    command: tuple[str, ...]
    timeout_s: float


def absent(path: Path, what: str, problems: list[str], *, folder: bool) -> bool:
    """Whether there is no such file (or folder); the reason goes to ``problems``."""
    if path.is_dir() if folder else path.is_file():
        return False
    try:
        there = sorted(entry.name for entry in path.parent.iterdir() if entry.name != path.name)
    except OSError:
        there = []
    hint = nearest(path.name, there)
    hint = hint if "Did you mean" in hint else ""
    wrong = f"not a {'folder' if folder else 'file'}" if path.exists() else "missing"
    problems.append(f"{shown(path)}: {wrong}: {what}.{hint}")
    return True


def evaluator(role: str, place: Path, table: EvaluatorTable | None, root: Path, problems: list[str]) -> Evaluator:
    """The checker or benchmark at ``place``, a folder or a script, of the target in ``root``."""
    said = table or EvaluatorTable()
    folder = place.parent if place.is_file() else place
    if said.command:
        command = tuple(_from_folder(word, folder, root) for word in said.command)
        _check_command(role, folder, command, problems)
    else:
        command = _start(place, problems) if place.is_file() else _conventional(role, folder, problems)
    return Evaluator(folder, command, said.timeout_s)


def _from_folder(word: str, folder: Path, root: Path) -> str:
    """A command starts in the evaluator's folder; a file's path may be given from the target's folder too."""
    if is_inside(word) and not (folder / word).exists():
        place = root / word
        if place.is_file() and place.is_relative_to(folder):
            inside = place.relative_to(folder).as_posix()
            return inside if "/" in inside or inside.endswith(".py") else f"./{inside}"
    return word


def part_of(folder: Path, command: tuple[str, ...], others: Iterable[Path]) -> Part:
    """The files of an evaluator that ``command`` starts from ``folder``.

    All of its folder; but where that holds other parts of the target too, only the script that the command names.
    Raises TargetError if it names none.
    """
    if not any(other.is_relative_to(folder) for other in others):
        return Part(folder)
    for word in command:
        if is_inside(word) and (folder / word).is_file():
            return Part(folder, Path(word).as_posix())
    raise TargetError(
        f"{shown(folder)}: holds other parts of the target beside the script that {' '.join(command)!r} starts: "
        "put the script into a folder of its own, with all that it needs."
    )


def _conventional(role: str, folder: Path, problems: list[str]) -> tuple[str, ...]:
    for name in _SCRIPTS[role]:
        if (folder / name).is_file():
            return _start(folder / name, problems)
    scripts = sorted(path for path in folder.glob("*.py") if path.is_file())
    if len(scripts) == 1:
        return _start(scripts[0], problems)
    usual = " or ".join(_SCRIPTS[role])
    found = f"several scripts ({', '.join(s.name for s in scripts)})" if scripts else "no script"
    problems.append(
        f"{shown(folder)}: {found}: name one {usual}, "
        f'or write [{role}] command = ["python", "…"] in target.toml beside the folder.'
    )
    return ("python", _SCRIPTS[role][0])


def _start(script: Path, problems: list[str]) -> tuple[str, ...]:
    """The command that starts ``script`` from its folder."""
    if script.suffix == ".py":
        return ("python", script.name)
    if not os.access(script, os.X_OK):
        problems.append(f"{shown(script)}: cannot be executed: chmod +x {shown(script)}")
    return (f"./{script.name}",)


def _check_command(role: str, folder: Path, command: tuple[str, ...], problems: list[str]) -> None:
    """Files of the folder that the command plainly names must be there."""
    first = command[0]
    if "/" in first and not first.startswith(("/", "{")):
        if not (folder / first).is_file() or not os.access(folder / first, os.X_OK):
            problems.append(f"{shown(folder)}: [{role}] command: {first!r} is not an executable file of this folder.")
    elif first == "python" and command[1:] and command[1].endswith(".py"):
        script = command[1]
        if not script.startswith(("/", "{")) and not (folder / script).is_file():
            hint = nearest(script, (path.name for path in folder.glob("*.py") if path.is_file()))
            problems.append(f"{shown(folder)}: [{role}] command: no file {script!r} in this folder.{hint}")
