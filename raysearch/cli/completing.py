"""What a shell can complete: verbs and flags by click itself; runs, attempts, settings and plug-ins by this."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from raysearch.cli.suggest import RUNS_DIR

ATTEMPTS_MAX = 2000
"""Numbers offered: the latest ones."""

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _items(names: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name, help=told or None) for name, told in names if name.startswith(incomplete)]


def _quietly(names: Callable[[click.Context], Iterator[tuple[str, str]]]) -> Completer:
    """A completion that offers nothing where it cannot know; a shell is no place for messages."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
        with suppress(Exception):
            return _items(names(ctx), incomplete)
        return []

    return complete


def _runs_dir(ctx: click.Context) -> Path:
    return Path(str(ctx.params.get("runs_dir") or RUNS_DIR))


def _runs(ctx: click.Context) -> Iterator[tuple[str, str]]:
    from raysearch.ledger import JOURNAL

    journals = sorted(_runs_dir(ctx).glob(f"*/{JOURNAL}"), reverse=True)
    yield from ((journal.parent.name, "") for journal in journals)
    if journals:
        yield "latest", "the newest run"


def _attempts(ctx: click.Context, reference: str | None) -> Iterator[tuple[str, str]]:
    from raysearch.run.folder import RunFolder

    folder = RunFolder.find(reference, _runs_dir(ctx))
    yield from (("best", "the best candidate"), ("seed", "the first program"))
    numbers = sorted((int(path.name) for path in folder.attempts.iterdir() if path.name.isdecimal()), reverse=True)
    yield from ((str(number), "") for number in numbers[:ATTEMPTS_MAX])


def _run_or_attempts(ctx: click.Context) -> Iterator[tuple[str, str]]:
    """A lone number means an attempt of the latest run."""
    yield from _runs(ctx)
    yield from _attempts(ctx, None)


def _attempts_of_run(ctx: click.Context) -> Iterator[tuple[str, str]]:
    run = ctx.params.get("run")
    yield from _attempts(ctx, str(run) if run else None)


def _attempts_among_names(ctx: click.Context) -> Iterator[tuple[str, str]]:
    """For ``diff``: two attempts, with or without a run before them."""
    given = ctx.params.get("names") or ()
    names = [str(name) for name in given] if isinstance(given, tuple | list) else []
    first = names[0] if names else ""
    bare = first.removeprefix("#")
    of_latest = not first or first in {"best", "seed"} or (bare.isdecimal() and len(bare) < len("20260101"))
    if not first:
        yield from _runs(ctx)
    yield from _attempts(ctx, None if of_latest else first)


def _settings(ctx: click.Context) -> Iterator[tuple[str, str]]:
    """``section.key=`` for everything that --set can set, options of the chosen plug-ins included."""
    from raysearch.config.choices import AUTO
    from raysearch.config.settings import AgentsTable, IssuesTable, LimitsTable, RoleTable, RunTable
    from raysearch.run.automatic import MERGE, MODEL_FREE

    tables: dict[str, Any] = {"run": RunTable, "limits": LimitsTable, "agents": AgentsTable, "issues": IssuesTable}
    tables |= {f"roles.{role}": RoleTable for role in ("mutate", "judge", "benchmark")}
    for section, table in tables.items():
        yield from ((f"{section}.{key}=", "") for key in table.model_fields)
    policy = str(ctx.params.get("outer_loop") or RunTable().outer_loop)
    yield from _options("policy", "policies", policy)
    chosen = ctx.params.get("mutator")
    for name in chosen if isinstance(chosen, tuple | list) and chosen else RunTable().mutators:
        for meant in (*MODEL_FREE, MERGE) if name == AUTO else (str(name),):
            yield from _options(f"mutator.{meant.rpartition(':')[2]}", "mutators", meant)


def _options(section: str, kind: Any, reference: str) -> Iterator[tuple[str, str]]:
    import inspect

    from raysearch.plugins import find

    with suppress(Exception):
        parameters = inspect.signature(find(kind, reference)).parameters.values()
        yield from ((f"{section}.{p.name}=", "") for p in parameters if p.kind is not p.VAR_KEYWORD)


def _plugins(*kinds: Any) -> Callable[[click.Context], Iterator[tuple[str, str]]]:
    def names(_: click.Context) -> Iterator[tuple[str, str]]:
        from raysearch.plugins import available

        for kind in kinds:
            yield from sorted(available(kind).items())

    return names


runs = _quietly(_runs)
runs_and_attempts = _quietly(_run_or_attempts)
attempts = _quietly(_attempts_of_run)
attempts_of_diff = _quietly(_attempts_among_names)
settings = _quietly(_settings)
policies = _quietly(_plugins("policies"))
mutators = _quietly(_plugins("mutators", "agents"))
