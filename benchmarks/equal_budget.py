"""What the search earns: every way to search, on the four examples, with equal budgets.

python benchmarks/equal_budget.py                          # all that is missing; then the table and the picture
python benchmarks/equal_budget.py --example matmul-kernel --method tune --seeds 3
python benchmarks/equal_budget.py --report                 # the table and the picture of what there is

The production engine, in this process, one attempt after the other, each confined as ever. Runs of one seed have the
same inputs, whatever the method. Each finished run is one line of ``--results``; one that is there is not repeated, so
that the script goes on where it stopped, and may run several times at once on different examples.

A budget is a number of candidates, or the evaluators' work that as many whole evaluations take: two runs each, the
checker's and the benchmark's. A candidate that the checker refuses costs one of them; one that the run has met before
costs none. So runs go on until both are used up (or they have made three times as many candidates), and are compared
at either.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from records import Record, Run

from raysearch.config.layers import Override, configure
from raysearch.plugins import known_names
from raysearch.protocols import Sink
from raysearch.run.start import start

ROOT = Path(__file__).resolve().parents[1]
STRETCH = 3
"""So many times the candidates of the budget end a run that evaluates hardly any of them."""
RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Example:
    candidates: int
    """Budget, where none is asked for: less where an evaluation takes seconds."""
    lighter: str = ""
    """Arguments of both evaluators, for cheaper evaluations."""


EXAMPLES: Mapping[str, Example] = {
    "circle-packing": Example(40),
    "online-bin-packing": Example(20),
    "cache-eviction": Example(30, "--requests 10000 --draws 1"),
    "matmul-kernel": Example(15),
}


@dataclass(frozen=True, slots=True)
class Method:
    mutators: tuple[str, ...]
    policy: str = "evolve"
    settings: Mapping[str, Any] = field(default_factory=dict)


ADRIFT = {"frontier_bias": 0.0, "temperature": 1e9, "survivors": 0, "k_top": 0, "portfolio": "uniform"}
METHODS: Mapping[str, Method] = {
    "random": Method(("tune",), "best-of-n", {"mutator.tune.fresh": 1.0}),
    "unguided": Method(("auto",), settings={f"policy.{option}": value for option, value in ADRIFT.items()}),
    "best-of-n": Method(("auto",), "best-of-n", {"policy.portfolio": "uniform"}),
    "tune": Method(("tune",)),
    "genetic": Method(("genetic",)),
    "merge": Method(("genetic", "merge")),
    "portfolio": Method(("auto",)),
}
LEGEND = """\
- `random`: every tunable of the seed gets a random value, all values as likely. No memory.
- `unguided`: the mutators of the portfolio, each as likely, at parents that are drawn evenly from all there are.
- `best-of-n`: the mutators of the portfolio, each as likely, always at the seed.
- `tune`, `genetic`: `evolve` with that mutator. `merge`: `evolve` with `genetic` and `merge`, which needs somebody to
  make what it merges.
- `portfolio`: `evolve` with all of them, chosen by credit: what `raysearch run` does by itself."""


def search(example: str, method: str, number: int, candidates: int) -> Run:
    """Do one run, and keep nothing of it on the disk."""
    record, chosen = Record(), METHODS[method]
    with tempfile.TemporaryDirectory(prefix="equal-budget-") as name:
        target = lightened(example, Path(name))
        values = {
            "run.target": str(target),
            "run.runs_dir": str(Path(name) / "runs"),
            "run.pool": "inline",
            "run.seed": number,
            "run.outer_loop": chosen.policy,
            "run.mutators": list(chosen.mutators),
            "limits.max_candidates": STRETCH * candidates,
            **chosen.settings,
        }
        overrides = [Override(tuple(key.split(".")), value, "benchmark") for key, value in values.items()]

        def used_up() -> str:
            return "budget used up" if min(len(record.rows), record.work // 2) >= candidates else ""

        def sink(_: object) -> Sink:
            return record

        start(configure(None, overrides, known=known_names()), sink, used_up)
    if not record.seed:
        sys.exit(f"{example}: the seed program was not measured; `raysearch check examples/{example}` says why")
    return Run(example, method, number, candidates, record.objectives, record.seed, tuple(record.rows))


def lightened(example: str, folder: Path) -> Path:
    """The example's folder; with cheaper evaluators a copy of it in ``folder``."""
    source, lighter = ROOT / "examples" / example, EXAMPLES[example].lighter
    if not lighter:
        return source
    copy = Path(shutil.copytree(source, folder / example))
    text, words = (copy / "target.toml").read_text(), "".join(f', "{word}"' for word in lighter.split())
    for part, script in (("checker", "accuracy_checker/checker.py"), ("benchmark", "benchmark/benchmark.py")):
        text = text.replace(f"[{part}]\n", f'[{part}]\ncommand = ["python", "{script}"{words}]\n', 1)
    (copy / "target.toml").write_text(text)
    return copy


def missing(results: Path, chosen: argparse.Namespace) -> Iterator[tuple[str, str, int, int]]:
    """Runs still to be done, a seed for all methods after the other. Reads anew before each: others may be at work."""
    for number in range(chosen.seeds):
        for example in chosen.example or EXAMPLES:
            candidates = chosen.candidates or EXAMPLES[example].candidates
            for method in chosen.method or METHODS:
                key = (example, method, number, candidates)
                if key not in {(r.example, r.method, r.number, r.candidates) for r in read(results)}:
                    yield key


def read(results: Path) -> list[Run]:
    return [Run.read(line) for line in results.read_text().splitlines()] if results.exists() else []


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    resampled = np.random.default_rng(0).choice(np.array(values), (RESAMPLES, len(values)))
    low, high = np.percentile(np.median(resampled, axis=1), (2.5, 97.5))
    return float(low), float(high)


def cell(values: Sequence[float]) -> str:
    low, high = interval(values)
    return f"{np.median(values):.4g} [{low:.4g}, {high:.4g}]"


def ahead(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
    """How often a method came further than another one with the same seed; draws count half."""
    pairs = [(ours[number], theirs[number]) for number in ours if number in theirs]
    points = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs)
    return f"{points:g} of {len(pairs)}"


def table(runs: Sequence[Run]) -> str:
    """Of the runs of one example with one budget, in Markdown."""
    axis, candidates = runs[0].objectives[0], runs[0].candidates
    primary = f"{axis.name}{f' ({axis.unit})' if axis.unit not in ('', '1') else ''}, {axis.goal}"
    lines = [
        f"| method | {primary} | gain | at equal work | candidates | ahead of random | ahead of best-of-n |",
        "|---|---|---|---|---|---|---|",
    ]
    gains = {}
    for method in METHODS:
        mine = [run for run in runs if run.method == method]
        gains[method] = {run.number: run.gain(run.at_work(2 * candidates)) for run in mine}
    for method in METHODS:
        mine = [run for run in runs if run.method == method]
        if not mine:
            continue
        work = gains[method]
        made = np.median([len(run.at_work(2 * candidates)) for run in mine])
        cells = [
            method,
            cell([run.best(run.at_candidates()) for run in mine]),
            cell([run.gain(run.at_candidates()) for run in mine]),
            cell(list(work.values())),
            f"{made:g}",
            "" if method == "random" else ahead(work, gains["random"]),
            "" if method == "best-of-n" else ahead(work, gains["best-of-n"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def groups(runs: Sequence[Run]) -> list[tuple[str, int, list[Run]]]:
    """Runs by example and budget, in the examples' order."""
    keys = sorted({(list(EXAMPLES).index(run.example), run.example, run.candidates) for run in runs})
    return [(name, n, levelled([r for r in runs if (r.example, r.candidates) == (name, n)])) for _, name, n in keys]


def levelled(runs: Sequence[Run]) -> list[Run]:
    """Runs of one example, those with the same inputs with the same seed program: the median of what it measured.

    Where time is measured that differs from run to run, and every gain is in units of it.
    """
    found = {
        number: tuple(np.median([run.seed for run in runs if run.number == number], axis=0).tolist())
        for number in {run.number for run in runs}
    }
    return [replace(run, seed=found[run.number]) for run in runs]


def report(runs: Sequence[Run]) -> str:
    parts = []
    for example, candidates, group in groups(runs):
        lighter = EXAMPLES[example].lighter
        how = f", evaluators with `{lighter}`" if lighter else ""
        seed = np.median([run.seed[0] for run in group])
        parts.append(f"### {example}: {candidates} candidates, the seed at {seed:.4g}{how}\n\n{table(group)}")
    return "\n\n".join(parts)


def draw(runs: Sequence[Run], picture: Path) -> None:
    """Median gain by evaluator runs, and at the right the intervals of the last medians; one panel an example."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = groups(runs)
    rows = (len(shown) + 1) // 2
    figure, axes = pyplot.subplots(rows, 2, figsize=(12, 4.2 * rows), squeeze=False, layout="constrained")
    for panel, (example, candidates, group) in zip(axes.flat, shown, strict=False):
        work = np.arange(2 * candidates + 1)
        for place, method in enumerate(METHODS):
            mine = [run for run in group if run.method == method]
            if not mine:
                continue
            curves = np.array([curve(run, work) for run in mine])
            middle = np.median(curves, axis=0)
            low, high = interval(curves[:, -1])
            style = ":" if method == "random" else "--" if method in ("unguided", "best-of-n") else "-"
            panel.plot(work, middle, style, color=f"C{place}", label=method, drawstyle="steps-post")
            aside, reach = work[-1] * (1.03 + 0.025 * place), [[max(middle[-1] - low, 0)], [max(high - middle[-1], 0)]]
            panel.errorbar(aside, middle[-1], reach, fmt="o", markersize=4, capsize=3, color=f"C{place}")
        panel.set(title=example, xlabel="evaluator runs (a whole evaluation is two)", ylabel="gain (the seed: 1)")
        panel.grid(alpha=0.3)
    for panel in axes.flat[len(shown) :]:
        panel.set_visible(False)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(METHODS))
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def curve(run: Run, work: Sequence[int]) -> list[float]:
    """Gain when so many evaluator runs are done; a candidate counts from its last one on."""
    gains, known = [], (-1, 0.0)
    for amount in work:
        rows = run.at_work(amount)
        if len(rows) != known[0]:
            known = (len(rows), run.gain(rows))
        gains.append(known[1])
    return gains


def parser(description: str | None, what: str, names: Iterable[str], stem: str, more: str) -> argparse.ArgumentParser:
    """The command line of a comparison of ``names``, of which ``what`` says what they are; ``stem`` names its files."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--example", action="append", choices=list(EXAMPLES), help=f"repeatable; {more} if left out")
    found.add_argument(f"--{what}", action="append", choices=list(names), help="repeatable; all if left out")
    found.add_argument("--seeds", type=int, default=10)
    found.add_argument("--candidates", type=int, help="budget of each run; if left out, the example's own")
    found.add_argument("--results", type=Path, default=ROOT / "exp_env" / f"{stem}.jsonl")
    found.add_argument("--picture", type=Path, default=ROOT / "exp_env" / f"{stem}.png")
    found.add_argument("--report", action="store_true", help="search nothing")
    return found


def compare(
    chosen: argparse.Namespace,
    missing: Callable[[Path, argparse.Namespace], Iterable[tuple[str, str, int, int]]],
    search: Callable[[str, str, int, int], Run],
    shown: Callable[[Sequence[Run]], str],
    draw: Callable[[Sequence[Run], Path], None],
) -> int:
    """Search what is ``missing`` from the results, then print what is ``shown`` of all, and ``draw`` the picture."""
    chosen.results.parent.mkdir(parents=True, exist_ok=True)
    for example, name, number, candidates in () if chosen.report else missing(chosen.results, chosen):
        began_s = time.monotonic()
        run = search(example, name, number, candidates)
        with chosen.results.open("a") as file:
            file.write(run.written() + "\n")
        reached = run.best(run.at_candidates())
        print(f"{example} {name} seed {number}: {reached:.5g}  ({time.monotonic() - began_s:.0f} s)", flush=True)
    runs = read(chosen.results)
    if not runs:
        sys.exit(f"{chosen.results}: no results yet")
    print(f"\n{shown(runs)}")
    draw(runs, chosen.picture)
    print(f"\n{chosen.picture}")
    return 0


def main() -> int:
    chosen = parser(__doc__, "method", METHODS, "equal_budget", "all").parse_args()
    return compare(chosen, missing, search, lambda runs: f"{report(runs)}\n\n{LEGEND}", draw)


if __name__ == "__main__":
    sys.exit(main())
