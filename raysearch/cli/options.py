"""The flags of ``run`` and ``resume``, and the configuration that they make."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raysearch.cli import completing
from raysearch.cli.suggest import Choice
from raysearch.errors import UserError
from raysearch.kinds import BACKENDS as DEVICES
from raysearch.kinds import MODALITIES

if TYPE_CHECKING:
    from raysearch.config.layers import Configuration, Override

BACKENDS = ("cli", "api", "deepagents")
PROVIDERS = ("claude", "codex", "gemini", "opencode")
SANDBOXES = ("auto", "bubblewrap", "landlock", "none")
INNER_LOOPS = ("multi-agent", "single-agent")
NO_DOCKER = (
    "--docker: programs are not put into containers one by one: a sandbox confines them where raysearch itself runs"
    " (--sandbox). For an image's libraries, start raysearch within it: docker run --rm -it --gpus all"
    ' -v "$PWD":/src -w /src IMAGE raysearch run … (docs/configuration.md#containers)'
)
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
SECONDS_MAX = 1e9


class Duration(click.ParamType):  # type: ignore[type-arg] # generic only from click 8.4 on
    """Seconds, or amounts with units: ``180``, ``90s``, ``15m``, ``1h30m``, ``2d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().lower()
        try:
            seconds = float(text)
        except ValueError:
            parts = _PART.findall(text)
            whole = parts and "".join(number + unit for number, unit in parts) == text
            seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts) if whole else math.nan
        if not 0 <= seconds <= SECONDS_MAX:
            self.fail(f"{value!r} is no duration: give seconds, or as in 90s, 15m, 1h30m, 2d.", param, ctx)
        return seconds


class Number(click.FloatRange):
    """A number within bounds, which what is not a number is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


Decorated = Callable[..., Any]


def together(*options: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


session_flags = together(
    click.option("--max-candidates", type=int, help="Candidates to try, the seed not counted."),
    click.option("--max-rounds", type=int, help="Rounds until the run is done."),
    click.option("--max-generations", type=int, help="Generations until the run is done."),
    click.option("--children-per-generation", type=int, help="Candidates that make a generation."),
    click.option("--budget-time", type=Duration(), help="Time to search, over all sessions: 180, 15m, 1h30m."),
    click.option("--lanes", type=int, help="Candidates under way at once."),
    click.option("--pool", type=Choice(("ray", "inline")), help="Where jobs run: Ray actors, or this process."),
    click.option("--address", help="Ray cluster, HOST:PORT or auto; local starts one on this machine."),
    click.option(
        "--sandbox",
        type=Choice(SANDBOXES),
        help="How candidates are confined; auto insists on it.",
    ),
    click.option("--push-to", metavar="GIT-URL", help="Git repository that results are pushed to while it runs."),
    click.option(
        "--set",
        "sets",
        metavar="KEY=VALUE",
        multiple=True,
        shell_complete=completing.settings,
        help="Any value of the configuration.",
    ),
)
"""What may differ from one session of a run to the next."""

part_flags = together(
    click.option("--ref", type=click.Path(), help="Reference folder, with OBJECTIVE.md beside it."),
    click.option("--acc-checker", type=click.Path(), help="Accuracy checker: folder or script."),
    click.option("--bench", type=click.Path(), help="Benchmark: folder or script."),
    click.option("--objective", metavar="NAME:max|min", multiple=True, help="Repeatable; the first is primary."),
)
"""A target by its parts."""


def _no_docker(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        raise UserError(NO_DOCKER)


kind_flags = together(
    click.option("--constraint", metavar="TEXT", multiple=True, help="Repeatable: a rule that everybody is told."),
    click.option(
        "--modality",
        metavar="NAME",
        type=Choice(MODALITIES),
        help=f"What kind of program it is, for what agents are told: {', '.join(MODALITIES)}.",
    ),
    click.option("--backend", type=Choice(DEVICES), help="What kind of device it works on, likewise."),
    click.option("--docker", is_flag=True, hidden=True, expose_value=False, is_eager=True, callback=_no_docker),
)
"""What is said of a target beside its parts."""

loop_flags = together(
    click.option("--max-retries-per-round", type=int, help="Tries of a round."),
    click.option("--judge-every", type=int, help="Rounds from one review to the next."),
    click.option("--official-eval-every", type=int, help="Rounds from one measurement to the next."),
    click.option("--inner-loop", type=Choice(INNER_LOOPS), help="One agent for each role, or one for all."),
    click.option("--no-skills", is_flag=True, default=None, help="Recommend no skills."),
    click.option("--max-attempts-per-issue", type=int, help="Tries until an issue counts as blocked."),
    click.option("--max-issues-per-perf-eval", type=int, help="Issues that an evaluation may file."),
    click.option("--selection-temperature", type=float, help="Of the draw of the other parents: lower is greedier."),
    click.option("--k-top-inspirations", type=int, help="Inspirations from the best."),
    click.option("--k-random-inspirations", type=int, help="Inspirations from all."),
    click.option("--bootstrap-max-attempts", type=int, help="Tries until there must be a first candidate."),
)
"""What belongs to one loop or another; `raysearch.run.loops` knows which."""

run_flags = together(
    part_flags,
    kind_flags,
    loop_flags,
    click.option(
        "--outer-loop",
        metavar="KIND",
        shell_complete=completing.policies,
        help="The search policy: a name, package.module:Class or file.py:Class.  [default: evolve]",
    ),
    click.option(
        "--mutator",
        multiple=True,
        shell_complete=completing.mutators,
        help="Repeatable: a mutator's or an agent's name, package.module:Class or file.py:Class.",
    ),
    click.option(
        "--agent-backend",
        type=Choice(BACKENDS),
        help="A coding agent writes: a program, one over an API, or deepagents.",
    ),
    click.option("--cli-provider", type=Choice(PROVIDERS), help="Which program.  [default: claude]"),
    click.option("--model", help="Model of the coding agents."),
    click.option("--effort", help="How hard they think, in the agent's own words."),
    click.option(
        "--no-price", is_flag=True, default=None, help="Use models whose price nobody knows; they count as free."
    ),
    click.option("--frontier-bias", type=float, help="Share of parents drawn from the frontier, 0 to 1."),
    click.option("--seed", type=int, help="Seed of all randomness."),
    click.option("--exp-name", help="Last part of the run folder's name."),
    click.option(
        "--resume-named/--no-resume-named",
        default=None,
        help="Go on with the newest run of this --exp-name in --runs-dir.  [default: in a Ray job]",
    ),
    click.option("--config", type=click.Path(), help="TOML file; flags and --set go over it."),
)
"""What a run keeps for life."""


def overrides_of(flags: Mapping[str, object]) -> list[Override]:
    """The flags that were given, as overrides; ``--set`` comes before the others, which win."""
    from raysearch.config.layers import FLAGS, flag_override, set_override

    sets = flags.get("sets")
    given = [set_override(str(text)) for text in (sets if isinstance(sets, tuple) else ())]
    for flag in FLAGS:
        value = flags.get(flag.removeprefix("--").replace("-", "_"))
        if value is not None and value != ():
            given.append(flag_override(flag, value))
    return given


def _found(target: str | None, flags: Mapping[str, object]) -> str | None:
    """The agent.toml of the target, or of the working folder; none where --mutator says who writes."""
    from raysearch.config.agent_file import beside
    from raysearch.config.toml import at_home, shown

    ref = flags.get("ref")
    root = Path(target) if target else Path(str(ref)).absolute().parent if ref else None
    if root is None or flags.get("mutator"):
        return None
    found = beside(at_home(root), Path.cwd())
    if found is not None:
        click.echo(f"raysearch: agents as {shown(found)} says (--config or --mutator says otherwise)", err=True)
    return str(found) if found is not None else None


def configuration_of(target: str | None, config: str | None, flags: Mapping[str, object]) -> Configuration:
    """Defaults, file, ``--set`` and flags. Raises ConfigError with every problem and its place."""
    from raysearch.config.layers import configure, target_override
    from raysearch.plugins import known_names
    from raysearch.run import job

    overrides = overrides_of(flags)
    if target is not None:
        overrides.append(target_override(target))
    config = config or _found(target, flags)
    return configure(Path(config) if config else None, overrides, known=known_names(), defaults=job.defaults())
