"""What the policy earns: every policy that comes with raysearch, with the same hands and the same budget.

python benchmarks/policies.py                            # all that is missing; then the tables and the picture
python benchmarks/policies.py --example circle-packing --policy chain --seeds 3
python benchmarks/policies.py --report                   # the tables and the picture of what there is

Three targets, ten seeds. Every policy gets the same two mutators, which need no model, each as likely; `loops` is a
portfolio of policies, and the last row has what `raysearch run` does by itself, all mutators chosen by credit. The
budget is a number of candidates. As in `equal_budget.py`, runs of one seed have the same inputs, and a finished run is
one line of ``--results`` that is not repeated. Contests and what is run against cheating are off: they cost every
policy the same, and the first objectives of these targets are deterministic.

Each policy runs once more with a model as its third hand. The model is played (`model.py`): it is good, lazy, wrong or
gone by lot, and has a price, so that these runs have equal budgets in dollars, questions included.

One attempt is under way at a time. What many at once cost a search is in `numeric.py --lanes`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from equal_budget import (
    EXAMPLES,
    STRETCH,
    Method,
    ahead,
    cell,
    compare,
    groups,
    interval,
    lightened,
    parser,
    read,
)
from records import Record, Run

from raysearch.config.layers import Override, configure
from raysearch.plugins import known_names
from raysearch.protocols import Sink
from raysearch.run.start import start

TARGETS = ("circle-packing", "online-bin-packing", "cache-eviction")
HANDS = ("tune", "genetic")
EVENLY: Mapping[str, Any] = {"policy.portfolio": "uniform"}
GENERATIONS: Mapping[str, Any] = {**EVENLY, "policy.generational": True, "policy.children_per_generation": 4}
ALONE: Mapping[str, Any] = {
    **EVENLY,
    "policy.max_rounds": 1000,
    "policy.when_idle": "improve",
    "consultant.performance_evaluator.on": False,
}
"""For a loop that would ask a model what to do next."""
LOOPS: Mapping[str, Any] = {**EVENLY, "policy.loops": ["evolve", "chain", "profile-guided"]}
SINGLE: Mapping[str, Method] = {
    "best-of-n": Method(HANDS, "best-of-n", EVENLY),
    "chain": Method(HANDS, "chain", EVENLY),
    "plain": Method(HANDS, "plain", ALONE),
    "agent": Method(HANDS, "agent", {**EVENLY, "policy.inner_loop": "single-agent", "policy.max_rounds": 1000}),
    "generations": Method(HANDS, "evolve", GENERATIONS),
    "evolve": Method(HANDS, "evolve", EVENLY),
    "profile-guided": Method(HANDS, "profile-guided", EVENLY),
    "loops": Method(HANDS, "portfolio", LOOPS),
    "portfolio": Method(("auto",)),
}
MODEL, CALL_USD = "model", 0.05
WITH_MODEL = " with a model"
"""Behind the name of a policy: its runs at equal dollars."""


def priced(method: Method) -> Method:
    """``method`` with a played model among its hands."""
    use = {"mutator.model.use": f"{Path(__file__).with_name('model.py')}:Model", "mutator.model.usd": CALL_USD}
    return Method((*method.mutators, MODEL), method.policy, {**method.settings, **use})


POLICIES: Mapping[str, Method] = {
    **SINGLE,
    **{f"{name}{WITH_MODEL}": priced(method) for name, method in SINGLE.items()},
}
FLOOR = "best-of-n"
LEGEND = """\
- `best-of-n`: always a child of the seed. `chain`: always a child of the newest candidate.
- `plain`, `agent`: one lineage, which moves on when a child is better.
- `generations`: `evolve`, four children at a time from the population as it stood. `evolve`: steady-state.
- `profile-guided`: one line, which keeps to the component that takes most of the time. Profiles are not counted.
- `loops`: `evolve`, `chain` and `profile-guided` over one population, chosen by credit.
- `portfolio`: `evolve` with all mutators that suit the target, chosen by credit: what `raysearch run` does."""


def dollars_of(candidates: int) -> float:
    """The budget of runs with a model: a third of the candidates may be its own."""
    return CALL_USD * max(1, candidates // 3)


def search(example: str, policy: str, number: int, candidates: int) -> Run:
    """Do one run, and keep nothing of it on the disk."""
    record, chosen = Record(), POLICIES[policy]
    with tempfile.TemporaryDirectory(prefix="policies-") as name:
        values = {
            "run.target": str(lightened(example, Path(name))),
            "run.runs_dir": str(Path(name) / "runs"),
            "run.pool": "inline",
            "run.seed": number,
            "run.outer_loop": chosen.policy,
            "run.mutators": list(chosen.mutators),
            "limits.max_candidates": candidates,
            "confirm.on": False,
            "audit.traced": False,
            "audit.holdout": False,
            **chosen.settings,
        }
        if policy.endswith(WITH_MODEL):
            values |= {"limits.budget_usd": dollars_of(candidates), "limits.max_candidates": STRETCH * candidates}
        overrides = [Override(tuple(key.split(".")), value, "benchmark") for key, value in values.items()]

        def sink(_: object) -> Sink:
            return record

        start(configure(None, overrides, known=known_names()), sink, lambda: "")
    if not record.seed:
        sys.exit(f"{example}: the seed program was not measured; `raysearch check examples/{example}` says why")
    return Run(example, policy, number, candidates, record.objectives, record.seed, tuple(record.rows))


def missing(results: Path, chosen: argparse.Namespace) -> Iterator[tuple[str, str, int, int]]:
    """Runs still to be done, a seed for all policies after the other. Reads anew before each: others may be at work."""
    for number in range(chosen.seeds):
        for example in chosen.example or TARGETS:
            candidates = chosen.candidates or EXAMPLES[example].candidates
            for policy in chosen.policy or POLICIES:
                key = (example, policy, number, candidates)
                if key not in {(r.example, r.method, r.number, r.candidates) for r in read(results)}:
                    yield key


def table(runs: Sequence[Run]) -> str:
    """Of the runs of one target with one budget, in Markdown: medians, each with the 95 % interval of the median."""
    axis, candidates = runs[0].objectives[0], runs[0].candidates
    unit = f" ({axis.unit})" if axis.unit not in ("", "1") else ""
    found = {policy: [run for run in runs if run.method == policy] for policy in POLICIES}
    gains = {name: {run.number: run.gain(run.at_candidates()) for run in mine} for name, mine in found.items()}
    lines = [
        f"| policy | {axis.name}{unit}, {axis.goal} | gain | ahead of {FLOOR}"
        f" | with a model, for ${dollars_of(candidates):.2f}: gain | candidates |",
        "|---|---|---|---|---|---|",
    ]
    for policy, mine in found.items():
        bought = found.get(f"{policy}{WITH_MODEL}", [])
        if mine and policy in SINGLE:
            cells = [
                policy,
                cell([run.best(run.at_candidates()) for run in mine]),
                cell(list(gains[policy].values())),
                "" if policy == FLOOR else ahead(gains[policy], gains[FLOOR]),
                cell([run.gain(run.rows) for run in bought]) if bought else "",
                f"{np.median([len(run.rows) for run in bought]):g}" if bought else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def report(runs: Sequence[Run]) -> str:
    parts = []
    for example, candidates, group in groups(runs):
        lighter = EXAMPLES[example].lighter
        how = f", evaluators with `{lighter}`" if lighter else ""
        seeds = len({run.number for run in group})
        seed = np.median([run.seed[0] for run in group])
        title = f"### {example}: {candidates} candidates, {seeds} seeds, the seed program at {seed:.4g}{how}"
        parts.append(f"{title}\n\n{table(group)}")
    return "\n\n".join(parts)


def draw(runs: Sequence[Run], picture: Path) -> None:
    """Median gain by candidates, and at the right the intervals of the last medians; one panel a target."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = groups(runs)
    figure, axes = pyplot.subplots(1, len(shown), figsize=(5.5 * len(shown), 4.6), squeeze=False, layout="constrained")
    for panel, (example, candidates, group) in zip(axes.flat, shown, strict=True):
        made = np.arange(candidates + 1)
        for place, policy in enumerate(SINGLE):
            mine = [run for run in group if run.method == policy]
            curves = np.array([[run.gain(run.rows[:count]) for count in made] for run in mine])
            if not len(curves):
                continue
            middle = np.median(curves, axis=0)
            low, high = interval(curves[:, -1])
            style = "--" if policy in ("best-of-n", "chain") else "-"
            panel.plot(made, middle, style, color=f"C{place}", label=policy, drawstyle="steps-post")
            aside, reach = made[-1] * (1.03 + 0.025 * place), [[max(middle[-1] - low, 0)], [max(high - middle[-1], 0)]]
            panel.errorbar(aside, middle[-1], reach, fmt="o", markersize=4, capsize=3, color=f"C{place}")
        panel.set(title=example, xlabel="candidates", ylabel="gain (the seed: 1)")
        panel.grid(alpha=0.3)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3 * len(shown))
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def main() -> int:
    chosen = parser(__doc__, "policy", POLICIES, "policies", "three").parse_args()
    return compare(chosen, missing, search, lambda runs: f"{report(runs)}\n\n{LEGEND}", draw)


if __name__ == "__main__":
    sys.exit(main())
