"""``init``: a new target folder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from raysearch.cli.suggest import Command, as_json

if TYPE_CHECKING:
    from pathlib import Path

    from raysearch.run.scaffold import Project
    from raysearch.target import Target
    from raysearch.types import Objective

HERE = "raysearch"
"""Folder that ``--here`` makes where no name is given."""
NOISE = 0.05
"""What an objective declares until somebody has measured it."""


@click.command("init", cls=Command)
@click.argument("name", required=False, type=click.Path())
@click.option("--here", is_flag=True, help="A target around the git project in the working directory.")
@click.option(
    "--editable", metavar="GLOB", multiple=True, help="With --here: what may change, as in 'src/**'. Repeatable."
)
@click.option("--test-command", metavar="CMD", help="With --here: a program passes if this ends with status 0.")
@click.option("--test-expect", metavar="REGEX", help="With --here: and if its output holds this.")
@click.option("--bench-command", metavar="CMD", help="With --here: what is measured.")
@click.option("--bench-json", metavar="FILE", help="With --here: the JSON file in which it leaves its numbers.")
@click.option(
    "--objective",
    metavar="NAME:max|min",
    multiple=True,
    help="With --here: a number on the last line of the benchmark's output, or in its JSON; else its time counts.",
)
@as_json
def init(name: str | None, here: bool, as_json: bool, **project: object) -> None:
    """Make a target folder called NAME that passes `raysearch check` as it is, to put your own program into.

    With --here, make one (called raysearch unless NAME is given) around the git project in the working directory: its
    tracked files are the seed program, its own tests judge, its own benchmark measures.
    """
    from pathlib import Path

    from raysearch.cli.reading import print_json

    given = [flag for flag, value in project.items() if value]
    if here:
        target, notes = _around_project(Path(name or HERE), project)
    elif given:
        raise click.UsageError(f"--{given[0].replace('_', '-')} goes with --here, which this is not")
    elif name is None:
        raise click.UsageError("a NAME for the folder is needed, or --here inside a git project")
    else:
        from raysearch.run.scaffold import scaffold

        target, notes = scaffold(Path(name)), []
    if as_json:
        files = sorted(path.relative_to(target.root).as_posix() for path in target.root.rglob("*") if path.is_file())
        print_json({"target": target.name, "path": str(target.root), "files": files, "notes": notes})
        return
    click.echo(_page(target, notes))


def _around_project(folder: Path, given: dict[str, object]) -> tuple[Target, list[str]]:
    """The target, and what a person should know of it."""
    from pathlib import Path

    from raysearch.run.scaffold.project import read_head, scaffold_project

    head = read_head(Path.cwd())
    needed = ("editable", "test_command", "bench_command")
    missing = [f"--{flag.replace('_', '-')}" for flag in needed if not given[flag]]
    if missing:
        example = "--editable 'src/**' --test-command 'python -m pytest -q' --bench-command 'python bench.py'"
        raise click.UsageError(f"--here also needs {', '.join(missing)}, as in:  {example}")
    target = scaffold_project(folder, _project(given), head)
    notes = [f"{name}: a submodule, left out of the seed" for name in head.left_out]
    if head.changed:
        more = f" and {len(head.changed) - 3} more" if len(head.changed) > 3 else ""
        names = ", ".join(head.changed[:3])
        notes.append(f"the seed is commit {head.commit}; what is not committed is not in it: {names}{more}")
    return target, notes


def _project(given: dict[str, object]) -> Project:
    from raysearch.run.scaffold.project import TIME, Project

    def text(flag: str) -> str:
        value = given[flag]
        return value if isinstance(value, str) else ""

    def texts(flag: str) -> tuple[str, ...]:
        value = given[flag]
        return tuple(map(str, value)) if isinstance(value, tuple) else ()

    objectives, expect = _objectives(texts("objective")), given["test_expect"]
    if text("bench_json") and not objectives:
        raise click.UsageError("--bench-json needs --objective NAME:max|min: which of its numbers counts?")
    metric = text("bench_json") or ("last-line" if objectives else "time")
    return Project(
        editable=texts("editable"),
        test=text("test_command"),
        bench=text("bench_command"),
        metric=metric,
        objectives=objectives or TIME,
        expect=None if expect is None else str(expect),
    )


def _objectives(flags: tuple[str, ...]) -> tuple[Objective, ...]:
    from raysearch.config.target_file import objectives_from_flags
    from raysearch.errors import TargetError

    problems: list[str] = []
    found = objectives_from_flags(flags, (), problems)
    if problems:
        raise TargetError("\n".join(problems))
    return tuple(replace(axis, noise=NOISE) for axis in found)


def _page(target: Target, notes: list[str]) -> str:
    from raysearch.config.toml import shown

    where = shown(target.root)
    return "\n".join(
        [
            f"{where}/ is a target: {where}/README.md says what to put where.",
            *(f"note: {note}" for note in notes),
            f"next:  raysearch check {where}",
            f"then:  raysearch run {where} --max-candidates 20",
        ]
    )
