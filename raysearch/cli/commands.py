"""The group of all commands."""

from __future__ import annotations

import click

from raysearch.cli.checking import check
from raysearch.cli.examining import doctor
from raysearch.cli.fetching import fetch
from raysearch.cli.issues import issues
from raysearch.cli.reading import diff, export, frontier, show
from raysearch.cli.rehearsing import rehearse
from raysearch.cli.replaying import replay
from raysearch.cli.running import resume, run
from raysearch.cli.scaffolding import init
from raysearch.cli.shells import completion
from raysearch.cli.steering import budget, pause, steer, stop, unpause
from raysearch.cli.suggest import Group
from raysearch.cli.telling import brief


@click.group("raysearch", cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="raysearch", prog_name="raysearch")
def root() -> None:
    """Evolutionary search over programs: every candidate a git commit, every number measured."""


_STEERING = (pause, unpause, steer, budget, stop, issues)
_READING = (show, frontier, diff, brief, replay, export)
for command in (init, check, rehearse, run, resume, *_STEERING, *_READING, fetch, doctor, completion):
    root.add_command(command)
