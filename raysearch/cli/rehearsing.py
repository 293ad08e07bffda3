"""``rehearse``: what would a run be like?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from raysearch.cli import completing
from raysearch.cli.options import Duration, Number, configuration_of, run_flags, session_flags
from raysearch.cli.sections import SectionedCommand
from raysearch.cli.suggest import RUNS_DIR, as_json

if TYPE_CHECKING:
    from raysearch.config.layers import Configuration
    from raysearch.run.rehearsal import Assumptions
    from raysearch.run.search import Search
    from raysearch.target import Target
    from raysearch.testing.rehearsal import Load, Outlook

MUTATE_S, JUDGE_S, BENCHMARK_S, SPREAD = 60.0, 5.0, 30.0, 0.3
"""What is assumed where nothing is known."""


@click.command("rehearse", cls=SectionedCommand)
@click.argument("target", required=False, type=click.Path())
@run_flags
@session_flags
@click.option("--runs-dir", type=click.Path(), help=f"Where runs are kept.  [default: {RUNS_DIR}]")
@click.option("--like", metavar="RUN", shell_complete=completing.runs, help="Durations, costs and odds of that run.")
@click.option("--mutate-s", type=Duration(), help=f"A mutation takes so long.  [default: {MUTATE_S:g}]")
@click.option("--judge-s", type=Duration(), help=f"Each judge takes so long.  [default: {JUDGE_S:g}]")
@click.option("--benchmark-s", type=Duration(), help=f"Each benchmark takes so long.  [default: {BENCHMARK_S:g}]")
@click.option("--mutate-usd", type=Number(0, 1e9), help="A mutation costs so much.  [default: 0]")
@click.option("--admitted", type=Number(0, 1), help="Share of attempts that pass.  [default: 0.5]")
@click.option("--spread", type=Number(0, 3), help=f"Of durations, relative.  [default: {SPREAD}]")
@as_json
def rehearse(
    target: str | None,
    config: str | None,
    like: str | None,
    mutate_s: float | None,
    judge_s: float | None,
    benchmark_s: float | None,
    mutate_usd: float | None,
    admitted: float | None,
    spread: float | None,
    as_json: bool,
    **flags: object,
) -> None:
    """What would `raysearch run` with these flags be like? A simulation: nothing is written, judged, measured or paid.

    The engine, policy and configuration are those of the run; programs, workers and time are imagined. Says how many
    attempts fit into the budgets, which role is the bottleneck, and what it would take and cost at most. Mistakes in
    the configuration come out here, before anything is spent.
    """
    from raysearch.cli.reading import print_json
    from raysearch.run.doctor import placed, seeded
    from raysearch.run.findings import failures
    from raysearch.run.start import resolve, target_of
    from raysearch.testing.rehearsal import rehearse as rehearsed

    configuration = seeded(configuration_of(target, config, flags))
    target_ = target_of(configuration.settings)
    search = resolve(configuration, target_)
    given = {"mutate": mutate_s, "judge": judge_s, "benchmark": benchmark_s}
    assumed = _assumptions(like, configuration.settings.run.runs_dir, given, spread)
    if mutate_usd is not None:
        assumed = replace(assumed, mutate_usd=mutate_usd)
    if admitted is not None:
        assumed = replace(assumed, admitted=admitted)
    outlook = rehearsed(search, target_, assumed)
    widened = _widened(configuration, target_, search, outlook)
    better = (widened[0], rehearsed(widened[1], target_, assumed)) if widened else None
    warnings = [f"{finding.name}: {finding.told}" for finding in failures(placed(search, None))]
    if as_json:
        print_json(_object(search, assumed, outlook, better, warnings))
    else:
        click.echo(_page(search, assumed, outlook, better, warnings))


def _assumptions(like: str | None, runs_dir: str, given: dict[str, float | None], spread: float | None) -> Assumptions:
    """From an earlier run, or from defaults; what is ``given`` goes over either."""
    from pathlib import Path

    from raysearch.ledger import read_journal
    from raysearch.run.folder import RunFolder
    from raysearch.run.rehearsal import Assumptions, learned
    from raysearch.run.rehearsal import Duration as Lasting
    from raysearch.types import Stage

    usual = {Stage.MUTATE: MUTATE_S, Stage.JUDGE: JUDGE_S, Stage.BENCHMARK: BENCHMARK_S}
    assumed = Assumptions({stage: Lasting(seconds, SPREAD) for stage, seconds in usual.items()})
    if like is not None:
        folder = RunFolder.find(like, Path(runs_dir))
        assumed = learned(read_journal(folder.journal), folder.name)
    durations = dict(assumed.durations)
    for stage, lasting in durations.items():
        seconds = given[stage.value]
        fresh = lasting if seconds is None else Lasting(seconds, SPREAD if spread is None else spread)
        durations[stage] = fresh if spread is None else replace(fresh, spread=spread)
    return replace(assumed, durations=durations)


def _widened(
    configuration: Configuration, target: Target, search: Search, outlook: Outlook
) -> tuple[str, Search] | None:
    """The same search with more of what it lacks most, and the name of that."""
    from raysearch.run.start import resolve

    if outlook.shared:
        return None
    full = outlook.bottleneck
    if full is None:  # more lanes bring more workers along, where the configuration does not say how many
        lanes, settings = outlook.lanes * 2, configuration.settings
        run = settings.run.model_copy(update={"lanes": lanes})
        wider = replace(configuration, settings=settings.model_copy(update={"run": run}))
        return f"{lanes} lanes", resolve(wider, target)
    roles = dict(search.roles)
    roles[full.stage] = replace(roles[full.stage], slots=full.slots + 1)
    return f"{full.slots + 1} {full.stage} slots", replace(search, roles=roles)


def _most_usd(search: Search, assumed: Assumptions) -> float | None:
    """What mutations can cost at most, at what one is assumed to cost; None where no limit bounds it.

    A cost budget is looked at before an attempt is opened: those under way are paid all the same.
    """
    limits, each = search.limits, assumed.mutate_usd
    bounds = []
    if limits.attempts_max is not None:
        bounds.append(limits.attempts_max * each * (1 + search.retries_max))
    if limits.cost_usd is not None:
        bounds.append(limits.cost_usd + limits.open_max * each * (1 + search.retries_max))
    return min(bounds) if bounds else (0.0 if not each else None)


def _page(
    search: Search, assumed: Assumptions, outlook: Outlook, better: tuple[str, Outlook] | None, warnings: list[str]
) -> str:
    from raysearch.cli.text import line
    from raysearch.sinks.lines import budget, duration
    from raysearch.types import Outcome

    took = ", ".join(f"{stage} {lasting.median_s:.3g} s" for stage, lasting in assumed.durations.items())
    spreads = ", ".join(sorted({f"{100 * d.spread:.0f} %" for d in assumed.durations.values()}))
    odds = f"{100 * assumed.admitted:.0f} % pass; ${assumed.mutate_usd:.4g} a mutation"
    counts = ", ".join(f"{outlook.counts[o]} {o}" for o in Outcome if outlook.counts.get(o))
    ceiling = _most_usd(search, assumed)
    most = "no limit" if ceiling is None else f"at most about ${ceiling:.2f}"
    limit_s = search.limits.run_s
    time_most = "no limit" if limit_s is None else f"at most about {duration(limit_s + search.limits.drain_s)}"
    parts = [
        "A simulation: no program is written, judged or measured, and nothing is paid. Durations are",
        f"{assumed.origin}; they decide everything below.",
        "",
        line("takes", f"{took}; spread {spreads}"),
        line("odds", odds),
        line("policy", f"{search.policy.name}; {outlook.lanes} lane{'s' if outlook.lanes > 1 else ''}"),
        line("budget", budget(search.limits)),
        "",
        line("attempts", f"{outlook.attempts}: {counts}; {outlook.per_hour:.3g} an hour"),
        line("time", f"{duration(outlook.run_s)}; {time_most}"),
        line("cost", f"${outlook.cost_usd:.2f}; {most}"),
        line("ends", outlook.ended),
        "",
        _loads(outlook),
        "",
        _verdict(outlook, better),
    ]
    return "\n".join([*parts, *(f"warning: {warning}" for warning in warnings)])


def _loads(outlook: Outlook) -> str:
    from raysearch.cli.text import table

    rows = [["role", "slots", "jobs", "busy", "waiting", "wait each"]]
    rows += [
        [
            str(load.stage),
            str(load.slots),
            str(load.jobs),
            f"{100 * load.utilisation:.0f} %",
            f"{load.waiting:.1f}",
            f"{load.wait_s:.1f} s",
        ]
        for load in outlook.loads
    ]
    return table(rows, right=range(1, 6))


def _verdict(outlook: Outlook, better: tuple[str, Outlook] | None) -> str:
    if outlook.shared:
        return "One worker does everything in turn, in the driver's process; --pool ray would work side by side."
    full = outlook.bottleneck
    if full is None:
        said = f"No role is full: the number of lanes ({outlook.lanes}) is what limits."
    else:
        said = f"The bottleneck is {full.stage}: {100 * full.utilisation:.0f} % busy, {full.waiting:.1f} jobs waiting."
    if better is None:
        return said
    return f"{said} With {better[0]}: {better[1].per_hour:.3g} attempts an hour instead of {outlook.per_hour:.3g}."


def _object(
    search: Search, assumed: Assumptions, outlook: Outlook, better: tuple[str, Outlook] | None, warnings: list[str]
) -> dict[str, object]:
    full = outlook.bottleneck
    limit_s = search.limits.run_s
    return {
        "simulation": True,
        "assumed": {
            "origin": assumed.origin,
            "durations": {
                stage.value: {"median_s": lasting.median_s, "spread": lasting.spread}
                for stage, lasting in assumed.durations.items()
            },
            "mutate_usd": assumed.mutate_usd,
            "admitted": assumed.admitted,
            "repeated": assumed.repeated,
            "faults": assumed.faults,
        },
        "policy": search.policy.name,
        "lanes": outlook.lanes,
        "attempts": outlook.attempts,
        **{outcome.value: count for outcome, count in outlook.counts.items()},
        "per_hour": outlook.per_hour,
        "elapsed_s": outlook.run_s,
        "elapsed_most_s": None if limit_s is None else limit_s + search.limits.drain_s,
        "cost_usd": outlook.cost_usd,
        "cost_most_usd": _most_usd(search, assumed),
        "stopped_by": outlook.ended,
        "shared": outlook.shared,
        "roles": [_load_row(load) for load in outlook.loads],
        "bottleneck": full.stage.value if full else None,
        "better": {"with": better[0], "per_hour": better[1].per_hour} if better else None,
        "warnings": warnings,
    }


def _load_row(load: Load) -> dict[str, object]:
    return {
        "role": load.stage.value,
        "slots": load.slots,
        "jobs": load.jobs,
        "utilisation": load.utilisation,
        "waiting": load.waiting,
        "wait_s": load.wait_s,
    }
