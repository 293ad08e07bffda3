"""``check``: is a target sound?"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import click

from raysearch.cli import exits
from raysearch.cli.options import SANDBOXES, overrides_of, part_flags
from raysearch.cli.suggest import Choice, Command, as_json

if TYPE_CHECKING:
    from raysearch.run.check import CheckReport
    from raysearch.run.noise import Noise


@click.command("check", cls=Command)
@click.argument("target", required=False, type=click.Path())
@part_flags
@click.option("--sandbox", type=Choice(SANDBOXES), default="auto", help="As a run would have it.")
@click.option(
    "--repeats", type=click.IntRange(1, 1000), default=7, show_default=True, help="Evaluations for the noise."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of hidden inputs.")
@as_json
def check(target: str | None, sandbox: str, repeats: int, seed: int, as_json: bool, **flags: object) -> int:
    """Is TARGET sound? Tries everything that a run relies on.

    The reference (where it is a program) and the seed must pass, an empty and several broken programs must be refused,
    the benchmark must answer. How far its answers differ is measured, and the smallest gain that it can tell is named.
    What a program could write or reach is tried out. Exit status 1 if the target is not ready.
    """
    from raysearch.cli.findings import Doing
    from raysearch.cli.reading import print_json
    from raysearch.config.layers import configure, target_override
    from raysearch.run.check import check_target
    from raysearch.run.start import target_of

    overrides = overrides_of(flags)
    if target is not None:
        overrides.append(target_override(target))
    target_ = target_of(configure(None, overrides).settings)
    with _tidy(), Doing() as doing:
        report = check_target(target_, sandbox=sandbox, repeats=repeats, seed=seed, told=doing)
    if as_json:
        print_json(_object(report))
    else:
        click.echo(_page(report))
    return 0 if report.ready else exits.EMPTY


@contextmanager
def _tidy() -> Iterator[None]:
    """Ended from outside, it leaves nothing behind, as with Ctrl-C."""

    heard: list[int] = []

    def leave(number: int, _: FrameType | None) -> None:
        heard.append(number)
        raise KeyboardInterrupt  # which no evaluator's own exit can be mistaken for

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(128 + (heard or [signal.SIGINT])[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _page(report: CheckReport) -> str:
    from raysearch.cli import findings, text

    parts = [
        text.line("target", f"{report.target.name}  ({report.target.root})"),
        text.line("sandbox", report.sandbox),
        "",
        findings.page(report.findings),
    ]
    if report.noise:
        count = len(report.noise[0].values)
        parts += ["", f"what the benchmark can tell, from {count} evaluations of one program", _noise(report.noise)]
    if report.beside:
        parts += ["", "programs beside each other, one evaluation each", _beside(report)]
    if report.judge_s is not None and report.benchmark_s is not None:
        parts += ["", f"an evaluation takes {report.judge_s:.2f} s to judge and {report.benchmark_s:.2f} s to measure"]
    return "\n".join([*parts, "", report.conclusion])


def _noise(noise: tuple[Noise, ...]) -> str:
    """Spreads and gains are standard deviations and differences, relative to the median."""
    from raysearch.cli.text import table
    from raysearch.sinks.lines import number, objective

    rows = [["", "median", "with 95 %", "spread", "of samples", "declared", "smallest gain"]]
    for one in noise:
        interval = one.interval
        rows.append(
            [
                objective(one.objective),
                number(one.value, 5),
                f"{number(interval.low, 5)} to {number(interval.high, 5)}" if interval.coverage >= 0.95 else "",
                _share(one, one.spread),
                _share(one, one.spread_within) if one.samples > 1 else "",
                _share(one, one.objective.noise),
                _share(one, one.gain) if one.gain is not None else "unknown",
            ]
        )
    told = "The smallest gain is what one evaluation must be better than another to be better with 95 % confidence."
    return f"{table(rows, right=range(1, 7))}\n  {told}"


def _beside(report: CheckReport) -> str:
    """A row for each program; no gain is claimed, for that takes pairs."""
    from raysearch.cli.text import table
    from raysearch.sinks.lines import number, objective

    rows = [["", *(objective(o) for o in report.target.objectives)]]
    rows += [[one.name, *(number(value, 5) for value in one.values)] for one in report.beside]
    return table(rows, right=range(1, len(rows[0])))


def _share(noise: Noise, amount: float) -> str:
    from raysearch.run.check import percent
    from raysearch.sinks.lines import number

    return percent(amount) if noise.relative else number(amount, 3)


def _object(report: CheckReport) -> dict[str, object]:
    from raysearch.cli import findings

    return {
        "target": report.target.name,
        "path": str(report.target.root),
        "sandbox": report.sandbox,
        "ready": report.ready,
        "conclusion": report.conclusion,
        "findings": findings.rows(report.findings),
        "noise": [
            {
                "name": one.objective.name,
                "values": list(one.values),
                "value": one.value,
                "low": one.interval.low,
                "high": one.interval.high,
                "coverage": one.interval.coverage,
                "samples": one.samples,
                "relative": one.relative,
                "spread": one.spread,
                "spread_within": one.spread_within,
                "declared": one.objective.noise,
                "smallest_gain": one.gain,
            }
            for one in report.noise
        ],
        "beside": [
            {"name": one.name, "values": dict(zip((o.name for o in report.target.objectives), one.values, strict=True))}
            for one in report.beside
        ],
        "judge_s": report.judge_s,
        "benchmark_s": report.benchmark_s,
    }
