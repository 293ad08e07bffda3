"""A target around an existing git project: its tracked files are the seed, its own commands judge and measure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pygit2
from pygit2.enums import FileMode

from raysearch.config.target_file import NAME
from raysearch.config.targets import load_target
from raysearch.config.toml import shown, written
from raysearch.errors import TargetError
from raysearch.run.scaffold.files import fill, new_folder
from raysearch.target import Target, may_change
from raysearch.types import Objective

EXPECTED = {
    "pytest": r"\d+ passed",
    "unittest": r"^OK",
    "cargo": r"test result: ok",
    "go test": r"^ok\s",
    "ctest": r"100% tests passed",
}
"""What test runners print when tests have run and passed, beside their exit status."""
TIME = (Objective("time_s", "min", "s", 0.05, primary=True),)
"""The axis where nothing else is said: how long the benchmark takes."""
LFS = b"version https://git-lfs.github.com/spec/"
SOURCES = (".py", ".c", ".cc", ".cpp", ".rs", ".go", ".js", ".ts", ".java")
SIZE_MB_MIN = 16.0


@dataclass(frozen=True, slots=True)
class Project:
    """What the wrapper scripts are told.

    ``metric`` is ``time``, ``last-line``, or the path of a JSON file that the benchmark writes.
    ``expect`` is a pattern that the tests' output must hold; None: known for well-known runners, else nothing.
    """

    editable: Sequence[str]
    test: str
    bench: str
    metric: str = "time"
    objectives: Sequence[Objective] = TIME
    expect: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The files of a project's last commit, as far as they lie below the folder that was asked about."""

    root: Path
    below: PurePosixPath
    commit: str
    files: dict[str, tuple[bytes, FileMode]]
    left_out: tuple[str, ...]
    """Submodules: their files belong to other repositories."""
    changed: tuple[str, ...]
    """Tracked files whose content on disk is not the commit's."""


def read_head(folder: Path) -> Head:
    """Raises TargetError where there is no git project, or no commit, or what cannot be in a program."""
    found = pygit2.discover_repository(str(folder))
    if found is None:
        raise TargetError(f"{shown(folder)}: no git project here: `git init`, commit, and come again.")
    git = pygit2.Repository(found)
    if git.workdir is None:
        raise TargetError(f"{shown(Path(found))}: a bare repository has no files: go to a clone of it.")
    if git.head_is_unborn:
        raise TargetError(f"{shown(Path(git.workdir))}: nothing is committed yet: commit, and come again.")
    root = Path(git.workdir).resolve()
    below = PurePosixPath(folder.resolve().relative_to(root).as_posix())
    commit = git.head.peel(pygit2.Commit)
    files: dict[str, tuple[bytes, FileMode]] = {}
    left_out: list[str] = []
    tree = commit.tree if below == PurePosixPath(".") else _subtree(commit.tree, below)
    for name, oid, mode in _walk(tree, ""):
        if mode == FileMode.COMMIT:
            left_out.append(name)
            continue
        blob = git[oid]
        data = blob.data if isinstance(blob, pygit2.Blob) else b""
        if data.startswith(LFS):
            raise TargetError(
                f"{name}: kept in Git LFS, so its content is not in the repository: choose another folder of the"
                " project, or copy a seed by hand."
            )
        files[name] = data, mode
    if not files:
        raise TargetError(f"{shown(folder)}: no tracked file here: commit the program first.")
    clean = {pygit2.GIT_STATUS_CURRENT, pygit2.GIT_STATUS_WT_NEW, pygit2.GIT_STATUS_IGNORED}
    prefix = "" if below == PurePosixPath(".") else f"{below}/"
    changed = [n.removeprefix(prefix) for n, s in git.status().items() if s not in clean and n.startswith(prefix)]
    return Head(root, below, str(commit.id)[:12], files, tuple(left_out), tuple(sorted(changed)))


def _subtree(tree: pygit2.Tree, below: PurePosixPath) -> pygit2.Tree:
    try:
        found = tree / str(below)
    except KeyError:
        raise TargetError(f"{below}: no tracked file below this folder: commit the program first.") from None
    if not isinstance(found, pygit2.Tree):
        raise TargetError(f"{below}: a submodule: go to its own clone.")
    return found


def _walk(tree: pygit2.Tree, above: str) -> Iterator[tuple[str, pygit2.Oid, FileMode]]:
    for item in tree:
        name = f"{above}{item.name}"
        if isinstance(item, pygit2.Tree):
            yield from _walk(item, f"{name}/")
        else:
            yield name, item.id, FileMode(item.filemode)


def scaffold_project(folder: Path, project: Project, head: Head) -> Target:
    """Write the target to the new folder ``folder``. Raises TargetError, which names every problem."""
    matching = [name for name in head.files if may_change(name, project.editable)]
    if not matching:
        raise TargetError(
            f"--editable {' '.join(project.editable)}: no tracked file matches; there are {_examples(head)}. Patterns"
            " are relative to the working directory, as in 'src/**'"
        )
    with new_folder(folder.absolute()) as made:
        fill("here", made, _words(made, project, head))
        _write_seed(head, made / "seed")
        with (made / "objectives.toml").open("a", encoding="utf-8") as file:
            file.writelines(_objective(objective) for objective in project.objectives)
        return load_target(made)


def _examples(head: Head) -> str:
    names = sorted(
        head.files, key=lambda name: (not name.endswith((".py", ".c", ".cc", ".cpp", ".rs", ".go", ".js")), name)
    )
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _write_seed(head: Head, seed: Path) -> None:
    for name, (data, mode) in head.files.items():
        place = seed / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if mode == FileMode.LINK:
            place.symlink_to(os.fsdecode(data))
        else:
            place.write_bytes(data)
            place.chmod(0o755 if mode == FileMode.BLOB_EXECUTABLE else 0o644)


def _words(folder: Path, project: Project, head: Head) -> dict[str, str]:
    expect = project.expect if project.expect is not None else expected_of(project.test)
    checker = ["python", "checker.py", "--run", project.test, *(["--expect", expect] if expect else [])]
    bench = ["python", "benchmark.py", "--run", project.bench, "--metric", project.metric]
    size_mb = sum(len(data) for data, _ in head.files.values()) / 1e6
    whole = head.below == PurePosixPath(".")
    axes = " and ".join(f"{axis.name} ({axis.goal})" for axis in project.objectives)
    measured = {
        "time": f"times `{project.bench}`",
        "last-line": f"runs `{project.bench}` and reads the last line of its output",
    }.get(project.metric, f"runs `{project.bench}` and reads `{project.metric}`")
    return {
        "name": folder.name,
        "name_toml": written(head.root.name if NAME.fullmatch(head.root.name) else folder.name),
        "path": shown(folder),
        "project": head.root.name if whole else f"{head.root.name}/{head.below}",
        "commit": head.commit,
        "files": str(len(head.files)),
        "below": "" if whole else f" below `{head.below}`",
        "apply": "" if whole else f" --directory={head.below}",
        "wanted": f"Make this program better by what the benchmark measures: {axes}. Keep everything that it does.",
        "editable": ", ".join(f"`{pattern}`" for pattern in project.editable),
        "test": project.test,
        "expected": f" and output that matches `{expect}`" if expect else "",
        "measured": measured,
        "editable_toml": written(list(project.editable)),
        "program_mb_max": f"{max(SIZE_MB_MIN, 2 * size_mb):g}",
        "checker_toml": written(checker),
        "benchmark_toml": written(bench),
    }


def expected_of(test: str) -> str:
    """What a well-known test runner prints at the end of a good run; empty for others."""
    return next((pattern for runner, pattern in EXPECTED.items() if re.search(rf"\b{runner}\b", test)), "")


def _objective(axis: Objective) -> str:
    lines = [f'\n[[objective]]\nname = "{axis.name}"', f'direction = "{axis.goal}"', f"unit = {written(axis.unit)}"]
    lines += [f"noise = {axis.noise:g}", f"primary = {written(axis.primary)}", ""]
    return "\n".join(lines)
