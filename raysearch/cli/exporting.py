"""A candidate as a folder of its own, with the evidence for it, and what it is worth when it is measured once more."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from raysearch.cli.opened import OpenedRun
from raysearch.errors import RunError
from raysearch.run.ablation import Link
from raysearch.run.gains import Gains, measured
from raysearch.run.remeasure import Extent
from raysearch.run.telling_gains import document, page, picture, said
from raysearch.sinks.lines import number, objective, one_line
from raysearch.types import SEED, AttemptId, Commit, Stage
from raysearch.views import SCHEMA, Row, attempt

Population = dict[int, dict[str, Any]]
PICTURE = "gains.svg"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be measured of an exported candidate."""

    measure: bool = True
    ablate: bool = False
    seed: int = 0
    """Of the inputs."""
    extent: Extent = Extent()


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported: number, commit and metrics; and what was measured of it."""

    row: Row
    gains: Gains
    told: str
    """The gains in a few lines."""

    @property
    def document(self) -> Row:
        return {**self.row, "gains": document(self.gains)}


def export_candidate(
    opened: OpenedRun, name: str, into: Path, wish: Wish = Wish(), told: Callable[[str], None] = lambda _: None
) -> Exported:
    """Write candidate ``name`` to the new or empty folder ``into``; ``told`` hears what is about to be measured.

    Raises RunError if there is no such candidate, or ``into`` holds something.
    """
    run = opened.projection
    known: Population = {row["id"]: row for row in map(msgspec.json.decode, run.population_rows)}
    if name == "best" and run.skyline.best is None:
        raise RunError(f"{opened.folder.name} has no candidate yet")
    chosen = opened.number(name)
    if chosen not in known:
        raise RunError(f"attempt {chosen} of {opened.folder.name} is no candidate: see raysearch show {chosen}")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise RunError(f"{into} holds something already: name a new folder")
    evidence = _evidence(opened, chosen, known)
    made = not into.exists()
    try:
        into.mkdir(parents=True, exist_ok=True)  # whether that can be is known before minutes of measuring
        gains = _gains(opened, chosen, known, wish, told)
        _write(opened, chosen, known, evidence, gains, into)
    except BaseException:
        if made:
            shutil.rmtree(into, ignore_errors=True)
        raise
    row = {key: known[chosen][key] for key in ("id", "commit", "metrics")}
    return Exported(row, gains, said(gains, run.started.objectives if run.started else ()))


def _gains(opened: OpenedRun, chosen: AttemptId, known: Population, wish: Wish, told: Callable[[str], None]) -> Gains:
    start = opened.projection.started
    if not wish.measure or start is None:
        return Gains("--no-measure was given" if start is not None else "the run has not begun", seed=wish.seed)
    links = lineage(chosen, known, start.origin)
    return measured(
        opened.folder,
        links,
        Commit(known[chosen]["commit"]),
        start,
        ablate=wish.ablate,
        seed=wish.seed,
        extent=wish.extent,
        told=told,
    )


def lineage(chosen: AttemptId, known: Population, origin: Commit) -> tuple[Link, ...]:
    """The commits that lead from the seed program to ``chosen`` by first parents, oldest first, the seed left out."""
    links: list[Link] = []
    number: AttemptId | None = chosen
    while number is not None and number != SEED:
        row = known[number]
        first, *others = row["parents"] or [None]
        base = origin if first is None or first == SEED else Commit(known[first]["commit"])
        merged = tuple(map(AttemptId, others))
        links.append(Link(number, Commit(row["commit"]), first, base, row["mutator"], row["summary"], merged))
        number = first
    return tuple(reversed(links))


def _write(opened: OpenedRun, chosen: AttemptId, known: Population, evidence: Row, gains: Gains, into: Path) -> None:
    repository, start = opened.repository(), opened.projection.started
    commit = repository.commit_of(chosen)
    repository.checkout(commit, into / "program")
    for name, content in (("evidence.json", evidence), ("gains.json", document(gains))):
        (into / name).write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    primary = next((axis.name for axis in (start.objectives if start else ()) if axis.primary), "")
    drawn = picture(gains, primary)
    if drawn:
        (into / PICTURE).write_text(drawn, encoding="utf-8")
    if start is not None:
        patch = repository.diff(start.origin, commit)
        (into / "from-start.diff").write_text(patch, encoding="utf-8", errors="surrogateescape")
        commits = len(lineage(chosen, known, start.origin))
        again = f"raysearch export {opened.folder.name} DEST --candidate {chosen}"
        report = page(gains, again, commits, PICTURE if drawn else "")
    else:
        report = ""
    readme = f"{_readme(opened, known[chosen], len(_ancestors(chosen, known)))}\n{report}"
    (into / "README.md").write_text(readme, encoding="utf-8")


def _evidence(opened: OpenedRun, chosen: AttemptId, known: Population) -> Row:
    run, start = opened.projection, opened.projection.started
    steps = start.plan.steps if start else ()
    return {
        "schema": SCHEMA,
        "run": opened.folder.name,
        "target": start.target if start else "",
        "target_digest": start.target_digest if start else "",
        "seed": start.seed if start else None,
        "environment": start.plan.environment if start else "",
        "judges": {step.plugin: step.digest for step in steps if step.stage is Stage.JUDGE},
        "benchmarks": {step.plugin: step.digest for step in steps if step.stage is Stage.BENCHMARK},
        "on_frontier": chosen in run.skyline,
        "candidate": attempt(opened.trace(chosen)),
        "lineage": [known[number] for number in _ancestors(chosen, known)],
    }


def _ancestors(chosen: AttemptId, known: Population) -> list[int]:
    """All that ``chosen`` descends from, nearest first, itself not counted."""
    found: list[int] = []
    waiting = list(known[chosen]["parents"])
    while waiting:
        number = waiting.pop(0)
        if number not in found:
            found.append(number)
            waiting += known[number]["parents"]
    return found


def _readme(opened: OpenedRun, row: dict[str, Any], ancestors: int) -> str:
    start = opened.projection.started
    axes = {axis.name: axis for axis in (start.objectives if start else ())}
    lines = []
    for name, value in row["metrics"].items():
        axis = axes.get(name)
        lines.append(f"| {objective(axis) if axis else name} | {'' if value is None else number(value, 9)} |")
    which = "the seed program" if row["id"] == SEED else f"candidate {row['id']}"
    told = f"\n{one_line(row['summary'])}\n" if row["summary"] else ""
    return "\n".join(
        [
            f"# {start.target if start else 'Program'}: {which} of run {opened.folder.name}",
            told,
            "| measured | median |",
            "|---|---|",
            *lines,
            "",
            "- `program/`: its files.",
            "- `evidence.json`: every verdict and measurement with its samples and conditions, the digests of target",
            f"  and evaluators, and its {ancestors} ancestors.",
            "- `from-start.diff`: what changed since the program that the run started from.",
            "- `gains.json`: what was measured once more for this report, with every number of it.",
            "",
            f"In the run's repository, `{opened.folder.name}/workspace`, it is commit `{row['commit']}`,",
            f"tag `{row['id']}`.",
            "",
        ]
    )
