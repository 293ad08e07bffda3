"""The files of a run folder that tell its story: progress.md, logs/usage.jsonl, a log for each round of a model's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cli_runs import MadeRun
from journals import Journal, commit_of

from raysearch import views
from raysearch.cli.chronicle import progress
from raysearch.cli.watching import Watch, documents
from raysearch.facts import AttemptClosed, Entry, JobFailed, Judged, Mutated
from raysearch.sinks.files import link
from raysearch.sinks.roundlog import RoundLogs
from raysearch.types import (
    AttemptId,
    Brief,
    Case,
    Change,
    Mutation,
    Outcome,
    Proposal,
    Stage,
    Tree,
    Usage,
    Verdict,
)

ASKED = Usage(0.25, 900, 100, 90, 2, "model-1", 7, "conversation")
STAMP = "20261127-120000"


def journal() -> Journal:
    """The seed (which the journal has a model make), one that is refused, one of no model, one whose agent broke."""
    j = Journal()
    j.begin()
    first = j.open(
        proposal=Proposal((AttemptId(0),), "claude", Brief("try\nthreads", lessons=("no globals",), memory="so far"))
    )
    j.add(Mutated(first, Change(commit_of(1), Tree("1" * 40), Mutation("threads\x1b[2J", "a memory", ASKED))))
    said = Verdict(
        False, "replies differ\nin two", (Case("order", False, "wrong"),), usage=Usage(0.5, 10, 0, 5, 1, "m2")
    )
    j.add(Judged(first, "reviewer", said))
    j.close(first, Outcome.REJECTED, "reviewer: replies differ")
    second = j.open(proposal=Proposal((AttemptId(0),), "tune"))
    j.add(Mutated(second, Change(commit_of(2), Tree("2" * 40), Mutation("x = 3"))))
    j.close(second, Outcome.REJECTED, "known already")
    third = j.open(proposal=Proposal((AttemptId(0),), "claude", repair=first))
    j.add(JobFailed(third, Stage.MUTATE, "claude", "AgentFault", "no answer", True, replace(ASKED, calls=1)))
    j.add(JobFailed(third, Stage.MUTATE, "claude", "AgentFault", "no answer", False))
    j.close(third, Outcome.FAILED, "claude: no answer")
    return j


def told(logs: RoundLogs, entries: list[Entry]) -> None:
    for entry in entries:
        logs.told(entry)


def test_a_round_that_asked_a_model_has_a_log(tmp_path: Path) -> None:
    kept = tmp_path / "attempts" / "1" / "mutate-claude-1"
    kept.mkdir(parents=True)
    (kept / "prompt.md").write_text("do it")
    told(RoundLogs(tmp_path / "logs", tmp_path / "attempts"), journal().entries)
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [
        f"run-{STAMP}-round000.log",
        f"run-{STAMP}-round001.log",
        f"run-{STAMP}-round003.log",
    ]
    text = (tmp_path / "logs" / f"run-{STAMP}-round001.log").read_text()
    for words in (
        "#1 opened: claude; from seed",
        "    task:\n        try\n        threads\n",
        "    lesson 1:\n        no globals\n",
        "    summary:\n        threads�[2J\n",
        "    usage:\n        model-1: 2 calls, 7 turns, 900 tokens in (100 cached), 90 out, $0.2500\n",
        "    feedback:\n        replies differ\n        in two\n",
        "    failed:\n        order: wrong\n",
        "#1 rejected: reviewer: replies differ",
        "files:\n    attempts/1/mutate-claude-1/prompt.md\n",
    ):
        assert words in text, words
    assert "\x1b" not in text


def test_logs_of_rounds_are_caught_up_and_never_written_twice(tmp_path: Path) -> None:
    entries = journal().entries
    cut = next(e.seq for e in entries if isinstance(e.fact, AttemptClosed) and e.fact.attempt == 1)
    told(RoundLogs(tmp_path, tmp_path), entries[: cut - 1])
    assert [path.name for path in tmp_path.iterdir()] == [f"run-{STAMP}-round000.log"]
    told(RoundLogs(tmp_path, tmp_path), entries)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    told(RoundLogs(tmp_path, tmp_path), entries)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert len(before) == 3


def test_what_models_were_asked_is_a_line_a_job() -> None:
    run = views.fold(journal().entries)
    rows = [json.loads(line) for line in b"".join(views.usage(run)).splitlines()]
    found = [(r["attempt"], r["role"], r["plugin"], r["model"], r["calls"], r["cost_usd"]) for r in rows]
    asked = [row for row in found if row[0]]
    assert asked == [
        (1, "mutate", "claude", "model-1", 2, 0.25),
        (1, "judge", "reviewer", "m2", 1, 0.5),
        (3, "mutate", "claude", "model-1", 1, 0.25),
    ]
    assert sum(row[-1] for row in found) == pytest.approx(run.cost_usd)
    assert rows[-1]["session"] == "conversation"


def test_progress_tells_where_the_run_stands_and_how_it_got_there() -> None:
    text = b"".join(progress(views.fold(journal().entries))).decode()
    for words in (
        "# Progress of 20261127-120000-circles",
        "3 attempts: 0 admitted, 2 rejected, 1 failed, 0 abandoned.",
        "## The frontier\n\n|  | sum_radii ↑ | latency ↓ ms | by | from | commit |\n|---|",
        "- seed: sum_radii 0.96, latency 20 ms",
        "- #2 (tune, from seed) rejected: known already",
        "- #1 (claude, from seed) rejected: reviewer: replies differ",
        "- #3 (claude, from seed, mending #1) failed: claude: no answer",
    ):
        assert words in text, words
    assert text.index("- seed: ") < text.index("- #2 (tune")  # how it came about, before what closed last


def test_progress_of_a_run_that_has_not_begun_is_a_heading() -> None:
    assert b"".join(progress(views.Projection())) == b"# Progress\n"


def test_milestones_are_the_latest_ones() -> None:
    run = views.Projection()
    j = Journal()
    j.begin()
    for _ in range(250):
        attempt = j.open()
        j.admit(attempt, (1.0 + attempt, 20.0))
    for entry in j.entries:
        run.told(entry)
    assert [row["attempt"] for row in run.milestones] == list(range(51, 251))


def test_a_run_folder_has_all_of_them_and_logs_lead_to_them(tmp_path: Path) -> None:
    made = MadeRun(tmp_path / "exp_env").begin()
    made.admit((1.5, 18.0))
    watch = Watch(lambda: "")
    watch(made.folder).close()
    names = {name for name in documents(watch.projection) if "/" not in name}
    assert {"state.json", "rounds.json", "population.json", "progress.md"} <= names
    for name in names:
        assert (made.path / "logs" / name).read_bytes() == (made.path / name).read_bytes()
    assert (made.path / "logs" / "usage.jsonl").read_text().count("\n") == 2
    assert (made.path / "logs" / f"run-{STAMP}-round001.log").is_file()
    assert watch.complaints == []


def test_links_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    link(tmp_path, ["a", "b"])
    link(tmp_path, ["a", "b"])
    assert (tmp_path / "a").read_text() == "mine"
    assert (tmp_path / "b").is_symlink()
