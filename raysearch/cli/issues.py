"""``issues``: the issue board of a run, to read and to write on while it is driven."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raysearch.cli import completing
from raysearch.cli.options import together
from raysearch.cli.steering import person, tell, text_of, waiting_flags
from raysearch.cli.suggest import Choice, Command, Group, as_json, runs_dir

if TYPE_CHECKING:
    from raysearch.run.folder import RunFolder

KINDS = ("bug", "feature", "perf")
STATUSES = ("open", "in_progress", "done", "blocked", "closed")
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The run that was named, and where runs are kept."""

    run: str
    runs_dir: str

    @property
    def folder(self) -> RunFolder:
        """Raises RunError."""
        from raysearch.run.folder import RunFolder

        return RunFolder.find(self.run, Path(self.runs_dir))

    def board(self) -> Row:
        """What ``issues.json`` holds, as of now: from the journal itself. Raises RunError and LedgerError."""
        import msgspec

        from raysearch.board.board import Board
        from raysearch.facts import RunEnded, SessionOpened
        from raysearch.helm import Helm, heard
        from raysearch.ledger import read_journal
        from raysearch.views.issues import issues

        folder, helm, board, ended = self.folder, Helm(), Board(), ""
        for entry in read_journal(folder.journal):
            heard(entry, helm, board)
            match entry.fact:
                case RunEnded(reason):
                    ended = reason
                case SessionOpened():
                    ended = ""
                case _:
                    pass
        return msgspec.json.decode(b"".join(issues(board, folder.name, ended)), type=dict[str, Any])


class _Board(Group):
    """Commands come behind the run's name; options right behind it are those of ``list``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        place = 0
        while place < len(args) and args[place].startswith("-"):
            place += 2 if args[place] == "--runs-dir" else 1
        behind = args[place + 1 :]
        if behind and behind[0].startswith("-") and behind[0] not in ctx.help_option_names:
            args = [*args[: place + 1], "list", *behind]
        return super().parse_args(ctx, args)


@click.group("issues", cls=_Board, invoke_without_command=True, subcommand_metavar="[COMMAND]")
@click.argument("run", shell_complete=completing.runs)
@runs_dir
@as_json
@click.pass_context
def issues(context: click.Context, /, run: str, runs_dir: str, as_json: bool) -> None:
    """The issue board of RUN: list its issues, or say what to do with them.

    RUN is a folder, its name or a unique part of it, or "latest". What is filed goes to the run's driver, which
    answers. Without a command: list.
    """
    context.obj = Chosen(run, runs_dir)
    if context.invoked_subcommand is None:
        context.invoke(listed, as_json=as_json)


def _of_run(command: Callable[..., None]) -> Callable[..., None]:
    """A command gets the run that was chosen; where runs are kept may be said behind it, too."""

    def chosen_for(chosen: Chosen, /, elsewhere: str | None = None, **given: Any) -> None:
        command(chosen if elsewhere is None else Chosen(chosen.run, elsewhere), **given)

    where = click.option("--runs-dir", "elsewhere", type=click.Path(file_okay=False), help="Where runs are kept.")
    return functools.update_wrapper(where(as_json(click.pass_obj(chosen_for))), command)


_filing = together(waiting_flags, _of_run)


@issues.command("list", cls=Command)
@click.option("--kind", type=Choice(KINDS), help="Issues of this kind alone.")
@click.option("--status", type=Choice(STATUSES), help="Issues in this state alone.")
@_of_run
def listed(chosen: Chosen, kind: str | None = None, status: str | None = None, as_json: bool = False) -> None:
    """List issues: those to work on next first, then the others, oldest first."""
    from raysearch.cli import text
    from raysearch.cli.reading import print_json
    from raysearch.sinks.lines import one_line

    board = chosen.board()
    place = {number: place for place, number in enumerate(board["queue"])}
    found = [row for row in board["issues"] if kind in {None, row["kind"]} and status in {None, row["status"]}]
    found.sort(key=lambda row: (place.get(row["number"], len(place)), row["number"]))
    if as_json:
        print_json({"run": board["run"], "seq": board["seq"], "issues": found})
        return
    if not found:
        click.echo("no such issue" if board["issues"] else "no issue yet")
        return
    heads = ["", "kind", "status", "priority", "attempts", "title"]
    rows = [
        [
            f"#{row['number']}",
            row["kind"],
            row["status"],
            str(row["priority"] or ""),
            str(row["attempts"] or ""),
            one_line(row["title"], 100),
        ]
        for row in found
    ]
    click.echo(text.table([heads, *rows], right=(0, 3, 4), indent=0))


@issues.command("show", cls=Command)
@click.argument("number", type=click.IntRange(min=1))
@_of_run
def show(chosen: Chosen, number: int, as_json: bool) -> None:
    """All of issue NUMBER: its text, its evidence, and what was said and done."""
    from raysearch.cli.reading import print_json
    from raysearch.errors import RunError

    board = chosen.board()
    row = next((row for row in board["issues"] if row["number"] == number), None)
    if row is None:
        last = len(board["issues"])
        there = f"it has 1 to {last}" if last else "it has none yet"
        raise RunError(f"{chosen.folder.name} has no issue {number}; {there}")
    if as_json:
        print_json(row)
        return
    for line in _page(row):
        click.echo(line)


def _page(row: Row) -> list[str]:
    from raysearch.cli.text import line
    from raysearch.sinks.lines import one_line

    held = f", in the hands of {row['holder']}" if row["holder"] else ""
    lines = [
        line("issue", f"#{row['number']} {one_line(row['title'], 200)}"),
        line("kind", f"{row['kind']}, priority {row['priority']}"),
        line("status", f"{row['status']}{held}; {row['attempts']} attempts"),
        line("filed by", f"{one_line(row['author'], 200)}, entry {row['created_seq']}"),
    ]
    lines += [line("note", one_line(row["note"], 300))] if row["note"] else []
    lines += ["", *_plain(row["body"])] if row["body"] else []
    lines += ["", "evidence", *_plain(row["evidence"])] if row["evidence"] else []
    for said in row["comments"]:
        lines += ["", f"{said['action']} by {one_line(said['author'], 200)}, entry {said['seq']}"]
        lines += _plain(said["text"]) + _plain(said["evidence"])
    return lines


def _plain(text: str) -> list[str]:
    """Lines that move no cursor: agents wrote them."""
    return [
        "  "
        + "".join(c if c.isprintable() else " " if c == "\t" else c.encode("unicode_escape").decode() for c in each)
        for each in text.splitlines()
    ]


@issues.command("new", cls=Command)
@click.argument("title")
@click.option("--kind", type=Choice(KINDS), default="feature", show_default=True)
@click.option("--body", default="", help='All that whoever works on it must know; "-" reads it from standard input.')
@click.option("--evidence", default="", help="What was measured or seen.")
@click.option("--priority", type=int, default=0, show_default=True, help="More is earlier.")
@_filing
def new(chosen: Chosen, title: str, kind: str, body: str, evidence: str, priority: int, **how: Any) -> None:
    """File an issue."""
    fields = {"title": title, "text": text_of(body), "evidence": evidence, "priority": priority}
    _file(chosen, "create", 0, how, kind=kind, **fields)


@issues.command("comment", cls=Command)
@click.argument("number", type=click.IntRange(min=1))
@click.argument("text")
@_filing
def comment(chosen: Chosen, number: int, text: str, **how: Any) -> None:
    """Add TEXT to issue NUMBER; "-" reads it from standard input."""
    _file(chosen, "comment", number, how, text=text_of(text))


@issues.command("priority", cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("number", type=click.IntRange(min=1))
@click.argument("priority", type=int)
@_filing
def priority(chosen: Chosen, number: int, priority: int, **how: Any) -> None:
    """Let issue NUMBER come before others of its kind with a smaller PRIORITY (-1000 to 1000; 0 is usual)."""
    _file(chosen, "prioritise", number, how, priority=priority)


@issues.command("close", cls=Command)
@click.argument("number", type=click.IntRange(min=1))
@click.option("--done", is_flag=True, help="What it asks for is there; otherwise it is not wanted any more.")
@click.option("--reason", default="", help="Why, for whoever reads it later.")
@_filing
def close(chosen: Chosen, number: int, done: bool, reason: str, **how: Any) -> None:
    """Close issue NUMBER."""
    _file(chosen, "close", number, how, text=reason, outcome="done" if done else "")


@issues.command("reopen", cls=Command)
@click.argument("number", type=click.IntRange(min=1))
@click.option("--reason", default="", help="Why, for whoever reads it later.")
@_filing
def reopen(chosen: Chosen, number: int, reason: str, **how: Any) -> None:
    """Open issue NUMBER again, with all its attempts before it."""
    _file(chosen, "reopen", number, how, text=reason)


def _file(chosen: Chosen, action: str, number: int, how: Mapping[str, Any], **fields: Any) -> None:
    from raysearch.board import Action, Author, Filing, Kind
    from raysearch.steering import Command, Steer

    kind = Kind(fields.pop("kind", Kind.FEATURE))
    filing = Filing(Action(action), Author("person", person()), number, kind=kind, **fields)
    tell(chosen.run, Command(Steer.FILING, filing=filing), {**how, "runs_dir": chosen.runs_dir})
