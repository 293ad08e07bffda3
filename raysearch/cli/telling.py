"""``brief``: what an attempt was told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raysearch.cli import completing
from raysearch.cli.suggest import Command, as_json, runs_dir

if TYPE_CHECKING:
    from raysearch.cli.opened import OpenedRun
    from raysearch.facts import AttemptOpened
    from raysearch.types import AttemptId, Commit, Inspiration


@click.command("brief", cls=Command)
@click.argument("run", required=False, shell_complete=completing.runs_and_attempts)
@click.argument("attempt", metavar="N", required=False, shell_complete=completing.attempts)
@runs_dir
@as_json
def brief(run: str | None, attempt: str | None, runs_dir: str, as_json: bool) -> None:
    """Exactly what attempt N of RUN was told, word for word.

    That is the prompt as it was kept, where a coding agent was asked, and otherwise what the journal and the repository
    hold. RUN is a folder, its name or a unique part of it; the latest run if left out. N is a number or "best".
    """
    from raysearch.cli.opened import OpenedRun
    from raysearch.cli.reading import print_json
    from raysearch.facts import AttemptOpened

    if attempt is None:
        run, attempt = None, run
    if attempt is None:
        raise click.UsageError("brief takes [RUN] N: the number of an attempt, or best")
    opened = OpenedRun.find(run, runs_dir)
    fact = opened.trace(opened.number(attempt))[0].fact
    assert isinstance(fact, AttemptOpened)
    if as_json:
        print_json(_object(opened, fact))
    else:
        for line in _page(opened, fact):
            click.echo(line)


def objective_of(opened: OpenedRun) -> str:
    """The target's own text, as the run has kept it. Raises RunError."""
    from raysearch.config.folders import OBJECTIVE
    from raysearch.config.toml import read_text
    from raysearch.errors import RunError

    return read_text(opened.folder.target / OBJECTIVE, RunError)


def start_of(opened: OpenedRun, fact: AttemptOpened) -> Commit:
    """The commit whose files the mutator found. Raises RepositoryError."""
    proposal, start = fact.proposal, opened.projection.started
    if proposal.repair is not None:
        return opened.repository().commit_of(proposal.repair)
    if proposal.parents:
        return opened.repository().commit_of(proposal.parents[0])
    return start.origin if start else opened.repository().commit_of("origin")


def prompts_of(opened: OpenedRun, attempt: AttemptId) -> list[tuple[str, str, str]]:
    """What agents were told to make the attempt, one item a try: the job's name, the system prompt, the prompt."""
    from raysearch.agents.asking import PROMPT, SYSTEM

    found = []
    for folder in sorted((opened.folder.attempts / str(attempt)).glob("mutate-*"), key=_by_try):
        if (folder / PROMPT).is_file():
            system, prompt = (
                (folder / name).read_bytes().decode(errors="replace") if (folder / name).is_file() else ""
                for name in (SYSTEM, PROMPT)
            )
            found.append((folder.name, system, prompt))
    return found


def _by_try(folder: Path) -> tuple[int, str]:
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0, folder.name


def _diff(opened: OpenedRun, fact: AttemptOpened, other: Inspiration) -> str:
    return opened.repository().diff(start_of(opened, fact), other.commit)


def _object(opened: OpenedRun, fact: AttemptOpened) -> dict[str, object]:
    proposal = fact.proposal
    told = proposal.brief
    return {
        "run": opened.folder.name,
        "attempt": fact.attempt,
        "mutator": proposal.mutator if fact.attempt else None,
        "lineage": proposal.lineage,
        "parents": list(proposal.parents),
        "repair": proposal.repair,
        "start": start_of(opened, fact),
        "objective": objective_of(opened),
        "task": told.task,
        "feedback": told.feedback,
        "lessons": list(told.lessons),
        "memory": told.memory,
        "messages": list(told.messages),
        "scores": [{"id": one.id, "scores": dict(one.scores), "summary": one.summary} for one in told.parents],
        "frontier": [{"id": one.id, "scores": dict(one.scores)} for one in told.frontier],
        "profile": told.profile,
        "inspirations": [
            {
                "id": other.id,
                "commit": other.commit,
                "scores": dict(other.scores),
                "summary": other.summary,
                "diff": _diff(opened, fact, other),
            }
            for other in told.inspirations
        ],
        "prompts": [
            {"job": job, "system": system, "prompt": prompt} for job, system, prompt in prompts_of(opened, fact.attempt)
        ],
    }


def _page(opened: OpenedRun, fact: AttemptOpened) -> Iterator[str]:
    from raysearch.cli.patches import coloured
    from raysearch.cli.text import line, standing
    from raysearch.sinks.lines import name_of

    proposal = fact.proposal
    told = proposal.brief
    if not fact.attempt:
        yield f"the seed of {opened.folder.name} is the target's own program: nobody was told anything"
        return
    yield line("attempt", f"{name_of(fact.attempt)} of {opened.folder.name}")
    yield line("mutator", f"{proposal.mutator}  {proposal.lineage}")
    found = f"the files of {name_of(proposal.parents[0])}" if proposal.parents else "the target's first program"
    if proposal.repair is not None:
        found = f"the files of {name_of(proposal.repair)}, which was refused, to be mended"
    yield line("start", f"{found}, commit {start_of(opened, fact)[:12]}")
    if len(proposal.parents) > 1:
        yield line("merges", " and ".join(map(name_of, proposal.parents)))
    prompts = prompts_of(opened, fact.attempt)
    for job, system, prompt in prompts:
        yield from _section(f"{job}: system prompt", system)
        yield from _section(f"{job}: prompt", prompt)
    if prompts:
        return
    yield from _section("the goal (OBJECTIVE.md)", objective_of(opened))
    yield from _section("the task", told.task)
    for said in told.messages:
        yield from _section("a person says", said)
    yield from _section("why the program that it starts from was refused", told.feedback)
    for parent in told.parents:
        yield from _section(f"parent {standing(parent)}", parent.summary or " ")
    yield from _section("what a profiler found about the parent", told.profile)
    yield from _section("the frontier, a few of its members", "\n".join(map(standing, told.frontier)))
    for other in told.inspirations:
        yield from _section(f"inspiration {standing(other)}", other.summary or " ")
        yield from coloured(_diff(opened, fact, other).rstrip("\n") or "(the same files)")
    for index, lesson in enumerate(told.lessons, start=1):
        yield from _section(f"lesson {index} of {len(told.lessons)}", lesson)
    yield from _section("what the lineage wished to remember", told.memory)


def _section(heading: str, body: str) -> Iterator[str]:
    """Texts as they are, but for what would move the cursor of whoever looks."""
    if body:
        yield ""
        yield click.style(f"── {heading}", bold=True)
        yield from (_printable(line) for line in body.strip().splitlines())


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else "�" for c in line)
