"""Help in sections: flags that belong together below a heading of their own, a loop's last."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import click

from raysearch.cli.suggest import Command

SECTIONS = {
    "The target": "ref acc_checker bench objective constraint modality backend",
    "The search": "outer_loop mutator seed lanes max_candidates budget_time",
    "Coding agents": "agent_backend cli_provider model effort no_price",
    "Where it works": "pool address sandbox",
    "What is assumed": "like mutate_s judge_s benchmark_s mutate_usd admitted spread",
    "The run": "exp_name runs_dir again resume_named push_to config sets show_config",
}
LAST = "The run"
"""The section of what is named in none: --json, --help."""
LOOP = "--outer-loop"


class SectionedCommand(Command):
    """A command that drives a search: its help has the flags of all loops, and those of the loop that is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[LOOP] = named_loop(args)  # --help is dealt with before any other flag
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from raysearch.run.loops import LOOP_FLAGS

        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        records = {option.name: option.get_help_record(ctx) for option in options}
        loops = {option.name for option in options if set(option.opts) & set(LOOP_FLAGS)}
        rest = [name for name in records if name not in loops and not any(name in s.split() for s in SECTIONS.values())]
        for title, names in SECTIONS.items():
            listed = [*names.split(), *(rest if title == LAST else ())]
            rows = [row for name in listed if (row := records.get(name)) is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        loop = ctx.meta.get(LOOP, "")
        if loop:
            _of_loop(loop, self.get_params(ctx), ctx, formatter)
        else:
            _of_all(ctx, formatter)


def named_loop(args: Sequence[str]) -> str:
    """What ``--outer-loop`` says last in ``args``; empty if nothing."""
    found = ""
    for index, word in enumerate(args):
        if word == LOOP and index + 1 < len(args):
            found = args[index + 1]
        elif word.startswith(f"{LOOP}="):
            found = word.partition("=")[2]
    return found


def _of_all(ctx: click.Context, formatter: click.HelpFormatter) -> None:
    from raysearch.plugins import available

    with formatter.section("Flags of a loop"):
        formatter.write_text(f"Each loop ({', '.join(sorted(available('policies')))}) has flags of its own:")
        formatter.write_text(f"{ctx.command_path} {LOOP} KIND --help")


def _of_loop(loop: str, params: Sequence[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Its flags, then options that have none. Raises PluginError if there is no such loop."""
    from raysearch.plugins import find
    from raysearch.run.loops import GENERATIONS, belongs, options_of

    found = find("policies", loop)
    by_flag = {name: param for param in params for name in param.opts}
    options = options_of(found)
    rows = [row for flag in GENERATIONS if belongs(flag, found) if (row := by_flag[flag].get_help_record(ctx))]
    known = {flag for row in rows for flag in row[0].split()[:1]}
    for option in options:
        record = by_flag[option.flag].get_help_record(ctx) if option.flag in by_flag else None
        if record is not None and option.flag not in known:
            switch = record[0].startswith("--no-")  # the option's default is to be on
            rows.append((record[0], record[1] if switch else f"{record[1]}{_default(option.default)}"))
    name = loop.rpartition(":")[2]
    with formatter.section(f"The loop {name}"):
        if rows:
            formatter.write_dl(rows)
        else:
            formatter.write_text("It has no flags of its own.")
    rest = [option for option in options if not option.flag]
    more = [(option.name, f"{_sentence(option.told)}{_default(option.default)}") for option in rest]
    if more:
        with formatter.section(f"Options of {name} without a flag (--set policy.NAME=VALUE)"):
            formatter.write_dl(more)


def _sentence(text: str) -> str:
    text = text.replace("`", "")
    return text[:1].upper() + text[1:] if text else ""


def _default(value: object) -> str:
    """``  [default: 3]``; nothing where None stands for no answer, or for one that depends."""
    if value is None or (isinstance(value, str) and not value):
        return ""
    if value is inspect.Parameter.empty:
        return "  [required]"
    if isinstance(value, bool):
        return f"  [default: {'true' if value else 'false'}]"
    if isinstance(value, int | float | str):
        return f"  [default: {value}]"
    if isinstance(value, list | tuple) and value and all(isinstance(item, int | float | str) for item in value):
        return f"  [default: {', '.join(map(str, value))}]"
    return ""
