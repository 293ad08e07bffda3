"""``show``, ``frontier``, ``diff`` and ``export``: verbs that read a run."""

from __future__ import annotations

from collections.abc import Mapping

import click

from raysearch.cli import completing
from raysearch.cli.options import SANDBOXES
from raysearch.cli.suggest import Choice, Command, as_json, runs_dir

ATTEMPT_DIGITS_MAX = 7
"""A lone argument of so many digits at most is an attempt of the latest run; longer ones are part of a run's name."""


def print_json(value: Mapping[str, object]) -> None:
    """One object on one line; numbers that are not finite become null."""
    import msgspec

    try:
        click.echo(msgspec.json.encode(value))
    except UnicodeEncodeError:  # a path with bytes that are not UTF-8
        click.echo(msgspec.json.encode(_utf8(value)))


def _utf8(value: object) -> object:
    """The same with such bytes as ``\\udcff``."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_utf8(key): _utf8(item) for key, item in value.items()}
    return [_utf8(item) for item in value] if isinstance(value, list | tuple) else value


def _is_attempt(text: str) -> bool:
    bare = text.removeprefix("#")
    return text in {"seed", "best"} or (bare.isdecimal() and len(bare) <= ATTEMPT_DIGITS_MAX)


@click.command("show", cls=Command)
@click.argument("run", required=False, shell_complete=completing.runs_and_attempts)
@click.argument("attempt", metavar="[N]", required=False, shell_complete=completing.attempts)
@runs_dir
@as_json
def show(run: str | None, attempt: str | None, runs_dir: str, as_json: bool) -> None:
    """A run on one page, or one of its attempts.

    RUN is a folder, its name or a unique part of it; the latest run if left out. N is an attempt's number, "seed"
    or "best"; alone it means an attempt of the latest run.
    """
    from raysearch.cli import patches, text
    from raysearch.cli.opened import OpenedRun
    from raysearch.views import attempt as attempt_view
    from raysearch.views import summary

    if run is not None and attempt is None and _is_attempt(run):
        run, attempt = None, run
    opened = OpenedRun.find(run, runs_dir)
    if attempt is None:
        if as_json:
            print_json({**summary(opened.projection), "path": str(opened.folder.path)})
        else:
            click.echo(text.run_page(opened.projection, str(opened.folder.path), opened.standing()))
        return
    trace = opened.trace(opened.number(attempt))
    change = opened.change(trace)
    files = patches.changes(opened.repository().diff(*change)) if change else []
    if as_json:
        rows = [{"path": f.path, "added": f.added, "deleted": f.deleted} for f in files]
        print_json({"run": opened.folder.name, **attempt_view(trace), "changes": rows})
        return
    lines = text.table([[f.path, f"+{f.added}", f"-{f.deleted}"] for f in files], right=(1, 2)) if files else ""
    click.echo(text.attempt_page(trace, lines))


@click.command("frontier", cls=Command)
@click.argument("run", required=False, shell_complete=completing.runs)
@runs_dir
@as_json
def frontier(run: str | None, runs_dir: str, as_json: bool) -> None:
    """The candidates of RUN that no other one beats on every objective, best first."""
    from raysearch.cli import text
    from raysearch.cli.opened import OpenedRun
    from raysearch.views import candidate_row, objective_row

    opened = OpenedRun.find(run, runs_dir)
    start, members = opened.projection.started, opened.projection.skyline.members
    objectives = start.objectives if start else ()
    if as_json:
        print_json(
            {
                "run": opened.folder.name,
                "objectives": [objective_row(o) for o in objectives],
                "frontier": [candidate_row(c) for c in members],
            }
        )
    else:
        click.echo(text.frontier(objectives, members))


@click.command("diff", cls=Command)
@click.argument("names", metavar="[RUN] A B", nargs=-1, required=True, shell_complete=completing.attempts_of_diff)
@runs_dir
@click.option("--stat", is_flag=True, help="Only files, and lines added and deleted.")
@as_json
def diff(names: tuple[str, ...], runs_dir: str, stat: bool, as_json: bool) -> None:
    """What changed between the programs of attempts A and B (numbers, "seed" or "best")."""
    from raysearch.cli import patches, text
    from raysearch.cli.opened import OpenedRun

    if len(names) not in {2, 3}:
        raise click.UsageError("diff takes [RUN] A B: two attempts, and a run before them unless it is the latest")
    opened = OpenedRun.find(names[0] if len(names) == 3 else None, runs_dir)
    old, new = (opened.number(name) for name in names[-2:])
    repository = opened.repository()
    patch = repository.diff(repository.commit_of(old), repository.commit_of(new))
    files = patches.changes(patch)
    if as_json:
        rows = [{"path": f.path, "added": f.added, "deleted": f.deleted} for f in files]
        print_json({"run": opened.folder.name, "a": old, "b": new, "changes": rows, "patch": patch})
    elif stat:
        cells = [[f.path, f"+{f.added}", f"-{f.deleted}"] for f in files]
        click.echo(text.table(cells, right=(1, 2), indent=0) if cells else "no difference")
    else:
        for line in patches.coloured(patch):
            click.echo(line)


@click.command("export", cls=Command)
@click.argument("run", shell_complete=completing.runs)
@click.argument("dest", type=click.Path())
@click.option(
    "--candidate",
    metavar="N",
    default="best",
    show_default=True,
    shell_complete=completing.attempts,
    help="Which candidate.",
)
@click.option("--ablate", is_flag=True, help="Measure which commits of its lineage carry the gain, too.")
@click.option("--no-measure", is_flag=True, help="Measure nothing; the report says so.")
@click.option(
    "--pairs", type=click.IntRange(2, 500), default=60, show_default=True, help="Pairs of one comparison at most."
)
@click.option(
    "--time-each",
    metavar="SECONDS",
    type=click.FloatRange(1, 86_400),
    default=120,
    show_default=True,
    help="No pair of a comparison is begun after that.",
)
@click.option("--sandbox", type=Choice(SANDBOXES), help="Where it is measured; as in the run, unless that had none.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), help="Of the inputs that it is measured with; drawn if left out."
)
@runs_dir
@as_json
def export(
    run: str,
    dest: str,
    candidate: str,
    ablate: bool,
    no_measure: bool,
    pairs: int,
    time_each: float,
    sandbox: str | None,
    seed: int | None,
    runs_dir: str,
    as_json: bool,
) -> None:
    """Copy the winner of RUN (or candidate N) to DEST, with the evidence for it.

    DEST must not exist, or be empty. It gets program/ (the files), evidence.json (measurements, verdicts, lineage,
    commit, target), from-start.diff and a README.md. The program is judged and measured once more on this machine, in
    turns with the seed program and the target's baselines, with inputs drawn afresh: README.md and gains.json say what
    it is worth, with intervals, gains.svg shows it.
    """
    import secrets
    from pathlib import Path

    from raysearch.cli.exporting import Wish, export_candidate
    from raysearch.cli.findings import Doing
    from raysearch.cli.opened import OpenedRun
    from raysearch.run.remeasure import Extent

    if ablate and no_measure:
        raise click.UsageError("--ablate measures, which --no-measure forbids: leave one out")
    drawn = secrets.randbits(32) if seed is None else seed
    wish = Wish(not no_measure, ablate, drawn, Extent(pairs, time_each, sandbox=sandbox or ""))
    opened = OpenedRun.find(run, runs_dir)
    with Doing() as doing:
        exported = export_candidate(opened, candidate, Path(dest), wish, doing)
    if as_json:
        print_json({"run": opened.folder.name, "path": str(Path(dest).resolve()), **exported.document})
        return
    number, readme = exported.row["id"], Path(dest) / "README.md"
    click.echo(f"candidate {number} of {opened.folder.name} is in {dest}; see {readme}\n{exported.told}")
