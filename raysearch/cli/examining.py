"""``doctor``: can a run start here?"""

from __future__ import annotations

import click

from raysearch.cli import exits
from raysearch.cli.options import SANDBOXES, configuration_of
from raysearch.cli.suggest import RUNS_DIR, Choice, Command, as_json


@click.command("doctor", cls=Command)
@click.argument("target", required=False, type=click.Path())
@click.option("--config", type=click.Path(), help="TOML file of the run that is meant.")
@click.option("--address", help="Ray cluster to look at, HOST:PORT or auto.")
@click.option("--pool", type=Choice(("ray", "inline")), help="Where its jobs would run.")
@click.option("--sandbox", type=Choice(SANDBOXES), help="How its candidates would be confined.")
@click.option("--set", "sets", metavar="KEY=VALUE", multiple=True, help="Any value of the configuration.")
@click.option("--runs-dir", type=click.Path(), help=f"Where its runs would be kept.  [default: {RUNS_DIR}]")
@click.option("--start-ray", is_flag=True, help="Start a private Ray to see whether that works.")
@as_json
def doctor(target: str | None, config: str | None, start_ray: bool, as_json: bool, **flags: object) -> int:
    """Can a run start here? Looks at this machine, at a cluster, and at what a configuration asks of them.

    Nothing is changed, and nothing is spent. Exit status 1 if a run cannot start, with what to do about it.
    """
    from raysearch.cli import findings
    from raysearch.cli.reading import print_json
    from raysearch.run.doctor import examine
    from raysearch.run.findings import failures

    configuration = configuration_of(target, config, flags)
    with findings.Doing() as doing:
        found = list(examine(configuration, start_ray=start_ray, told=doing))
    wrong = failures(found)
    names = ", ".join(finding.name for finding in wrong)
    conclusion = f"a run cannot start here: {names}" if wrong else "a run can start here"
    if as_json:
        print_json({"ready": not wrong, "conclusion": conclusion, "findings": findings.rows(found)})
    else:
        click.echo(f"{findings.page(found)}\n\n{conclusion}")
    return exits.EMPTY if wrong else 0
