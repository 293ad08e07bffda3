"""Commands, options and choices that answer a misspelt name with the nearest valid one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from raysearch.errors import nearest
from raysearch.run import job

RUNS_DIR = job.RUNS_DIR
"""Where runs are kept unless told otherwise."""


class Choice(click.Choice[str]):
    """One of a few names."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:  # noqa: ARG002 - click's
        hint = nearest(str(value), self.choices)
        return f"{value!r} is none of {', '.join(self.choices)}.{hint if 'Did you mean' in hint else ''}"


class Group(click.Group):
    """A group whose unknown commands are answered with the nearest known one; help keeps their order."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise click.UsageError(f"no command {name!r}.{nearest(name, self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)


class Command(click.Command):
    """A command whose unknown options are answered with the nearest known one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            known = [name for param in self.get_params(ctx) for name in param.opts if name.startswith("--")]
            message = f"no option {error.option_name!r}.{nearest(error.option_name, known)}"
            raise click.UsageError(message, ctx) from None


def runs_dir(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option that says where runs are kept."""
    option = click.option(
        "--runs-dir",
        default=job.runs_dir,
        show_default=RUNS_DIR,
        type=click.Path(file_okay=False),
        help="Where runs are kept.",
    )
    return option(command)


def as_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option that asks for one JSON object."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")(command)
