"""``pause``, ``unpause``, ``steer``, ``stop`` and ``budget``: what a person tells a run while it is driven.

Commands go into the run's inbox, and its driver answers; nothing of the run is written here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raysearch.cli import completing
from raysearch.cli.options import Duration, together
from raysearch.cli.suggest import Command, as_json, runs_dir

if TYPE_CHECKING:
    from raysearch.run.folder import RunFolder
    from raysearch.steering import Command as Told
    from raysearch.steering import Receipt

ANSWER_S = 20.0
"""How long a driver is given to answer; between two steps it looks into its inbox."""
LIFTED = "none"

waiting_flags = together(
    click.option("--no-wait", is_flag=True, help="Leave it in the inbox, for the next driver if there is none now."),
    click.option("--timeout", "timeout_s", type=Duration(), default=ANSWER_S, help="How long to wait.  [default: 20s]"),
)
"""Of every command to a driver."""


class Limit(click.ParamType):  # type: ignore[type-arg] # generic only from click 8.4 on
    """A number from 0 on, a duration, or ``none`` for no limit."""

    def __init__(self, kind: str) -> None:
        self.name = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value).strip().lower() == LIFTED:
            return LIFTED
        if self.name == "duration":
            return Duration().convert(value, param, ctx)
        try:
            return int(value) if self.name == "number" else float(value)
        except ValueError:
            kind = "a whole number" if self.name == "number" else "a number"
            self.fail(f"{value!r} is not {kind}, nor {LIFTED}, which is no limit.", param, ctx)


def _told(*options: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Callable[..., Callable[..., Any]]:
    """What all of these commands take: the run first, and how to wait."""
    run: Callable[[Callable[..., Any]], Callable[..., Any]] = click.argument("run", shell_complete=completing.runs)
    return together(run, *options, waiting_flags, runs_dir, as_json)


@click.command("pause", cls=Command)
@_told(click.option("--reason", default="", help="Why, for the record."))
def pause(run: str, reason: str, **how: Any) -> None:
    """Let RUN hand out no more jobs; those under way go on. RUN is a folder, its name or a part of it, or "latest"."""
    from raysearch.steering import Command, Steer

    tell(run, Command(Steer.PAUSE, text=reason), how)


@click.command("unpause", cls=Command)
@_told()
def unpause(run: str, **how: Any) -> None:
    """Let a paused RUN go on."""
    from raysearch.steering import Command, Steer

    tell(run, Command(Steer.UNPAUSE), how)


@click.command("steer", cls=Command)
@_told(
    click.argument("message"),
    click.option("--role", default="", help="For agents of this role alone: implementer, judge, planner, ..."),
    click.option("--lineage", default="", help="For this lineage (such as an island) alone."),
)
def steer(run: str, message: str, role: str, lineage: str, **how: Any) -> None:
    """Tell the agents of RUN something: MESSAGE stands in the briefs that they get from now on.

    "-" reads the message from standard input.
    """
    from raysearch.steering import Command, Steer

    if role:
        _check_role(role)
    tell(run, Command(Steer.MESSAGE, text=text_of(message), role=role, lineage=lineage), how)


@click.command("stop", cls=Command)
@_told(click.option("--reason", default="", help="Why, for the record."))
def stop(run: str, reason: str, **how: Any) -> None:
    """Let the driver of RUN let go in order, as Ctrl-C once does; `raysearch resume` goes on."""
    from raysearch.steering import Command, Steer

    tell(run, Command(Steer.STOP, text=reason), how)


_BUDGET: Mapping[str, tuple[str, str, str]] = {
    "--max-candidates": ("attempts_max", "number", "Candidates to try, the seed not counted."),
    "--budget-time": ("run_s", "duration", "Time to search, over all sessions: 180, 15m, 1h30m."),
    "--budget-usd": ("cost_usd", "amount", "Money for models."),
    "--budget-tokens": ("tokens", "number", "Tokens of models, input and output."),
    "--budget-calls": ("calls", "number", "Calls of models."),
    "--budget-gpu-time": ("gpu_s", "duration", "Time of GPUs that jobs hold."),
    "--candidate-usd": ("candidate_usd", "amount", "Money for one candidate."),
    "--candidate-tokens": ("candidate_tokens", "number", "Tokens for one candidate."),
    "--candidate-calls": ("candidate_calls", "number", "Calls of models for one candidate."),
    "--lanes": ("open_max", "number", "Candidates under way at once."),
}
"""Flags, the limits that they change, and what they take."""


@click.command("budget", cls=Command)
@_told(
    *(click.option(flag, field, type=Limit(kind), help=told) for flag, (field, kind, told) in _BUDGET.items()),
)
def budget(run: str, **flags: Any) -> None:
    """Change what RUN may spend, from now on. "none" lifts a limit.

    All amounts count from the beginning of the run, not from now: raise --budget-usd from 10 to 15 for 5 dollars more.
    """
    from raysearch.steering import Command, Steer, fault

    given = {field: flags.pop(field) for field, _, _ in _BUDGET.values()}
    limits = {name: None if value == LIFTED else value for name, value in given.items() if value is not None}
    if not limits:
        raise click.UsageError(f"budget needs at least one of {', '.join(_BUDGET)}")
    command = Command(Steer.BUDGET, limits=limits)
    if why := fault(command):
        for flag, (field, _, _) in _BUDGET.items():
            why = re.sub(rf"\b{field}\b", flag, why)
        raise click.UsageError(why)
    tell(run, command, flags)


def tell(run: str, command: Told, how: Mapping[str, Any]) -> Receipt | None:
    """Send ``command`` to the driver of ``run``, and print its answer; None if none is waited for.

    ``how``: what `waiting_flags`, ``--runs-dir`` and ``--json`` say. Raises RunError, also where the driver refuses.
    """
    from dataclasses import replace

    from raysearch.cli.reading import print_json
    from raysearch.errors import RunError
    from raysearch.inbox import send, wait
    from raysearch.run.folder import RunFolder

    folder = RunFolder.find(run, Path(how["runs_dir"]))
    name = send(folder.path, replace(command, sender=_sender()))
    head = {"run": folder.name, "id": name}
    if how["no_wait"]:
        if how["as_json"]:
            print_json({**head, "ok": None})
        else:
            click.echo(f"left in the inbox of {folder.name}, as {name}")
        return None
    became = wait(folder.path, name, how["timeout_s"], lambda: driven(folder))
    if not became.ok:
        raise RunError(f"{folder.name}: {became.text}")
    if how["as_json"]:
        print_json({**head, "ok": True, "text": became.text, "issue": became.issue, "seq": became.seq})
    else:
        click.echo(f"{folder.name}: {became.text or 'done'}")
    return became


def _check_role(role: str) -> None:
    from raysearch.agents.roles import ROLES
    from raysearch.errors import nearest

    if role not in ROLES:
        raise click.UsageError(f"no role {role!r}.{nearest(role, ROLES)}")


def driven(folder: RunFolder) -> bool:
    """Whether a driver is at work on the run; one on another host counts as alive."""
    import os
    import socket

    from raysearch.ledger import RunLock

    owner = RunLock.owner(folder.path)
    if owner is None or owner.host != socket.gethostname():
        return owner is not None
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def text_of(words: str) -> str:
    """A text that was typed, or that ``-`` says to read from standard input."""
    return sys.stdin.buffer.read().decode("utf-8", "replace") if words == "-" else words


def person() -> str:
    """Who types, as far as the machine knows."""
    import getpass

    try:
        return getpass.getuser()[:100]
    except (KeyError, OSError):  # no such user, as in many a container
        return ""


def _sender() -> str:
    import socket

    return f"{person()}@{socket.gethostname()}"[:200]
