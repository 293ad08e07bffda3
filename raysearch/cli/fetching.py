"""``fetch``: a run brought here."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raysearch.cli.suggest import RUNS_DIR, Command, as_json
from raysearch.run import job

if TYPE_CHECKING:
    from raysearch.run.folder import RunFolder

JOB_S = 900.0
"""For the job that prints a run, its start included."""


@click.command("fetch", cls=Command)
@click.argument("source")
@click.argument("dest", required=False, type=click.Path(file_okay=False))
@click.option("--run", "name", help="Which run, where a repository has several: its name or a unique part of it.")
@click.option("--from-job", "address", metavar="ADDRESS", help="Ray's job server, such as http://head:8265.")
@click.option("--runs-dir", type=click.Path(), help="With --from-job: where runs are kept there.")
@click.option("--as-bundle", is_flag=True, hidden=True, help="Print the run SOURCE, for a fetch --from-job.")
@as_json
def fetch(
    source: str,
    dest: str | None,
    name: str | None,
    address: str | None,
    runs_dir: str | None,
    as_bundle: bool,
    as_json: bool,
) -> None:
    """Bring a run here, into DEST/<its name>, or bring that up to date: to look at, to export from, to resume.

    SOURCE is the git repository that the run was pushed to (--push-to), URL or path, or another run folder. With
    --from-job it is a run on the head node of a Ray cluster: its folder there, its name or a unique part of it, or
    "latest"; a small job prints it into its log. DEST is a folder of runs, exp_env if left out.
    """
    from raysearch.run.fetch import fetch as fetch_from_git
    from raysearch.run.fetch import fetch_folder, printed
    from raysearch.run.folder import RunFolder

    if as_bundle:
        for line in printed(RunFolder.find(source, Path(runs_dir or job.runs_dir()))):
            click.echo(line)
        return
    if runs_dir is not None and address is None:
        raise click.UsageError("--runs-dir says where runs are kept on a cluster: it goes with --from-job")
    into = Path(dest or job.runs_dir())
    if address is not None:
        folder = _from_job(address, source, runs_dir, into)
    elif (Path(source) / "journal.jsonl").is_file():
        folder = fetch_folder(RunFolder(Path(source).resolve()), into)
    else:
        folder = fetch_from_git(source, into, name)
    _show(folder, as_json)


def _from_job(address: str, run: str, runs_dir: str | None, into: Path) -> RunFolder:
    from raysearch.pools.ray import job_output
    from raysearch.run.fetch import fetch as fetch_from_git
    from raysearch.run.fetch import from_printed

    if not address.startswith(("http://", "https://")):
        raise click.UsageError(f"--from-job {address}: name Ray's job server, as in http://head:8265")
    words = ["python", "-m", "raysearch", "fetch", "--as-bundle", run]
    words += ["--runs-dir", runs_dir] if runs_dir else []
    click.echo(f"raysearch: asking {address}, which takes some seconds", err=True)
    bundle = from_printed(job_output(address, shlex.join(words), JOB_S))
    with tempfile.TemporaryDirectory(prefix="raysearch-fetch-") as temporary:
        file = Path(temporary) / "bundle"
        file.write_bytes(bundle)
        return fetch_from_git(str(file), into)


def _show(folder: RunFolder, as_json: bool) -> None:
    """Write what is written from the journal, as a driver would; then the run in brief."""
    from raysearch import views
    from raysearch.cli.opened import OpenedRun
    from raysearch.cli.reading import print_json
    from raysearch.cli.text import run_page
    from raysearch.cli.watching import documents
    from raysearch.ledger import read_journal
    from raysearch.sinks.files import AttemptFiles, BestBranch, ViewFiles

    opened = OpenedRun.find(str(folder.path), RUNS_DIR)
    run = opened.projection
    files = AttemptFiles(folder.attempts, views.attempt)
    for entry in read_journal(folder.journal):
        files.told(entry)
    ViewFiles(folder.path, lambda: documents(run)).close()
    BestBranch(folder.workspace, lambda: run.skyline.best).close()
    if as_json:
        print_json({**views.summary(run), "path": str(folder.path)})
    else:
        click.echo(run_page(run, str(folder.path), opened.standing()))
