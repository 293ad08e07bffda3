"""``run`` and ``resume``: verbs that drive a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from raysearch.cli import completing, exits
from raysearch.cli.options import configuration_of, overrides_of, run_flags, session_flags
from raysearch.cli.reading import print_json
from raysearch.cli.sections import SectionedCommand
from raysearch.cli.suggest import RUNS_DIR, Command, as_json, runs_dir
from raysearch.run import job

if TYPE_CHECKING:
    from collections.abc import Callable

    from raysearch.cli.stopping import Stopper
    from raysearch.cli.watching import Watch
    from raysearch.config.layers import Configuration


@click.command("run", cls=SectionedCommand)
@click.argument("target", required=False, type=click.Path())
@run_flags
@session_flags
@click.option("--runs-dir", type=click.Path(), help=f"Where runs are kept.  [default: {RUNS_DIR}]")
@click.option("--resume", "again", is_flag=False, flag_value="latest", metavar="[RUN]", help="Like the verb resume.")
@click.option("--show-config", is_flag=True, help="Print the configuration and the origin of each value, and stop.")
@as_json
def run(
    target: str | None, config: str | None, again: str | None, show_config: bool, as_json: bool, **flags: object
) -> int:
    """Search for better programs for TARGET.

    TARGET is a folder with OBJECTIVE.md, reference/, accuracy_checker/ and benchmark/; or name the parts with --ref,
    --acc-checker and --bench. Ctrl-C once stops in order, twice at once; `raysearch resume` goes on.
    """
    if again is not None:
        if target is not None or config is not None:
            raise click.UsageError("--resume goes on with a run as it was started: it takes no TARGET and no --config")
        return _resumed(again, flags, as_json)
    configuration = configuration_of(target, config, flags)
    if show_config:
        return _show(configuration, as_json)
    from raysearch.agents.credentials import located
    from raysearch.run.start import start

    settings = configuration.settings.run
    if configuration.origin("run", "runs_dir") == job.ORIGIN:
        _say(f"keeping runs in {settings.runs_dir}, since a job's own folder does not last (--runs-dir)")
    words = "starting"
    if settings.pool == "ray":
        words = f"{'starting' if settings.address == 'local' else 'connecting to'} Ray, which takes some seconds"
    with located(Path(config).parent if config else None):
        return _driven(words, lambda watch, stopper: start(configuration, watch, stopper, _say), as_json)


@click.command("resume", cls=Command)
@click.argument("run", required=False, shell_complete=completing.runs)
@session_flags
@runs_dir
@as_json
def resume(run: str | None, as_json: bool, **flags: object) -> int:
    """Go on with RUN where its journal ends: a folder, its name or a unique part of it; the latest run if left out.

    Flags raise or lower the limits for this session; everything else stays as the run was started.
    """
    return _resumed(run, flags, as_json)


def _resumed(reference: str | None, flags: dict[str, object], as_json: bool) -> int:
    from raysearch.agents.credentials import located
    from raysearch.run.folder import RunFolder
    from raysearch.run.start import resume

    where = flags.pop("runs_dir", None)
    folder = RunFolder.find(reference, Path(str(where or job.runs_dir())))
    overrides = overrides_of(flags)
    with located(None):
        return _driven(
            f"going on with {folder.name}",
            lambda watch, stopper: resume(folder, overrides, watch, stopper, _say),
            as_json,
        )


def _driven(words: str, drive: Callable[[Watch, Stopper], object], as_json: bool) -> int:
    """Drive a run, then say what came of it; the exit status."""
    from raysearch.cli.opened import resume_hint
    from raysearch.cli.stopping import Stopper
    from raysearch.cli.watching import Watch

    _say(words)
    with Stopper() as stopper:
        watch = Watch(lambda: stopper.notice)
        try:
            drive(watch, stopper)
        except BaseException as error:
            if watch.folder is not None:
                error.add_note(f"run {watch.folder.name} at seq {watch.projection.seq}")
                error.add_note(f"Go on with: {resume_hint(watch.folder)}")
            raise
        _conclude(watch, as_json)
    if stopper.status and not watch.projection.ended:
        return stopper.status
    return 0 if len(watch.projection.skyline) else exits.EMPTY


def _say(text: str) -> None:
    click.echo(f"raysearch: {text}", err=True)


def _conclude(watch: Watch, as_json: bool) -> None:
    from raysearch.cli import text
    from raysearch.cli.opened import OpenedRun
    from raysearch.views import summary

    if watch.folder is None:
        return
    opened = OpenedRun(watch.folder, watch.projection)
    if as_json:
        _say(opened.standing())
        print_json({**summary(watch.projection), "path": str(watch.folder.path)})
    else:
        click.echo(text.run_page(watch.projection, str(watch.folder.path), opened.standing()))


def _show(configuration: Configuration, as_json: bool) -> int:
    from raysearch.config.layers import effective_configuration

    if not as_json:
        click.echo(effective_configuration(configuration), nl=False)
        return 0
    print_json(
        {
            ".".join(section): {
                key: {"value": value, "origin": configuration.origin(*section, key)} for key, value in values.items()
            }
            for section, values in configuration.settings.tables().items()
        }
    )
    return 0
