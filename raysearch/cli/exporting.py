"""A candidate as a folder of its own, with the evidence for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec

from raysearch.cli.opened import OpenedRun
from raysearch.errors import RunError
from raysearch.sinks.lines import number, objective, one_line
from raysearch.types import SEED, AttemptId, Stage
from raysearch.views import SCHEMA, Row, attempt

Population = dict[int, dict[str, Any]]


def export_candidate(opened: OpenedRun, name: str, into: Path) -> Row:
    """Write candidate ``name`` to the new or empty folder ``into``; return its number, commit and metrics.

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
        _write(opened, chosen, known, evidence, into)
    except BaseException:
        if made:
            shutil.rmtree(into, ignore_errors=True)
        raise
    return {key: known[chosen][key] for key in ("id", "commit", "metrics")}


def _write(opened: OpenedRun, chosen: AttemptId, known: Population, evidence: Row, into: Path) -> None:
    repository, start = opened.repository(), opened.projection.started
    into.mkdir(parents=True, exist_ok=True)
    commit = repository.commit_of(chosen)
    repository.checkout(commit, into / "program")
    (into / "evidence.json").write_bytes(msgspec.json.format(msgspec.json.encode(evidence)) + b"\n")
    if start is not None:
        patch = repository.diff(start.origin, commit)
        (into / "from-start.diff").write_text(patch, encoding="utf-8", errors="surrogateescape")
    (into / "README.md").write_text(_readme(opened, known[chosen], len(_ancestors(chosen, known))), encoding="utf-8")


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
            "",
            f"In the run's repository, `{opened.folder.name}/workspace`, it is commit `{row['commit']}`,",
            f"tag `{row['id']}`.",
            "",
        ]
    )
