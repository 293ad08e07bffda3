"""``completion``: the script that makes a shell ask what can be typed next."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from raysearch.cli.reading import print_json
from raysearch.cli.suggest import Choice, Command, as_json

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=Command)
@click.argument("shell", type=Choice(SHELLS))
@as_json
@click.pass_context
def completion(ctx: click.Context, shell: str, as_json: bool) -> None:
    """Print a script that makes SHELL complete what is typed after `raysearch`.

    \b
    bash:  raysearch completion bash > ~/.local/share/bash-completion/completions/raysearch
    zsh:   raysearch completion zsh > ~/.zfunc/_raysearch        (with ~/.zfunc in fpath)
    fish:  raysearch completion fish > ~/.config/fish/completions/raysearch.fish
    """
    found = get_completion_class(shell)
    if found is None:  # click knows the three
        raise click.UsageError(f"no completion for {shell}")
    script = found(ctx.find_root().command, {}, "raysearch", "_RAYSEARCH_COMPLETE").source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
