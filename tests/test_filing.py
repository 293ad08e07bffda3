"""What agents file while they do their jobs reaches the journal with their answers, whatever becomes of the jobs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from called import Call as CommandLine
from called import call  # noqa: F401 # a fixture
from filing_agents import FILE
from hypothesis import given
from hypothesis import strategies as st
from toys import make_target

from raysearch.agents.interface import AgentFault, Call, Permission
from raysearch.agents.issues import offered
from raysearch.board import Action, Author, Board, Filing, Kind, Snapshot
from raysearch.config.targets import load_target, snapshot_target
from raysearch.consultation import Reply
from raysearch.facts import AttemptOpened, Entry, JobFailed, Judged, Mutated, SessionClosed, Steered
from raysearch.filing import batch_of, desk_of, filed, laid_out
from raysearch.jobs import Job
from raysearch.ledger import JOURNAL, read_journal
from raysearch.plugins import PluginSpec
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.run.search import create
from raysearch.state import State
from raysearch.steering import Steer
from raysearch.testing.audit import audit
from raysearch.types import AttemptId, Change, Commit, Stage
from raysearch.worker import Worker, WorkerSpec

CODING = {"agent": f"{FILE}:Asks"}


def a_board() -> Snapshot:
    board = Board()
    board.apply(Filing(Action.CREATE, Author("person"), kind=Kind.PERF, title="too slow"), 1)
    return board.snapshot()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    folder = RunFolder.create(tmp_path / "runs", "toy")
    target = snapshot_target(load_target(make_target(tmp_path / "toy")), folder.target)
    create(folder, target)
    breaking = {**CODING, "agent_options": {"breaks": True}}
    plugins = {
        (Stage.MUTATE, "good"): PluginSpec("mutators", "good", "coding", CODING),
        (Stage.MUTATE, "bad"): PluginSpec("mutators", "bad", "coding", breaking),
        (Stage.JUDGE, "reviewer"): PluginSpec("judges", "reviewer", "reviewer", {**CODING, "panel": 2}),
    }
    made = Worker(WorkerSpec(folder.identity, 7, folder.workspace, target, plugins, "bubblewrap"))
    yield made
    made.close()


def a_job(worker: Worker, plugin: str, stage: Stage = Stage.MUTATE, **more: Any) -> Job:
    base = Repository(worker.spec.repository).commit_of("origin")
    return Job(AttemptId(3), stage, plugin, base, (base,), opened_at_s=1e9, board=a_board(), **more)


def shown(filings: tuple[Filing, ...]) -> list[tuple[str, str, str, bool]]:
    return [(str(f.author), f.action.value, f.title or f.text, bool(f.refused)) for f in filings]


def test_what_an_agent_files_comes_back_with_its_answer(worker: Worker) -> None:
    answer = worker.perform(a_job(worker, "good"))
    assert isinstance(answer.result, Change)
    assert shown(answer.filings) == [("implementer (attempt 3)", "comment", "I am on it", False)]
    assert {f.batch for f in answer.filings} == {"attempt 3: mutate good, try 1"}
    again = worker.perform(a_job(worker, "good", try_number=1))
    assert len(again.filings) == 1, "each job has an outbox of its own"
    assert worker.perform(replace(a_job(worker, "good"), board=None)).filings == ()


def test_a_panel_shares_the_rights_of_its_judge(worker: Worker) -> None:
    answer = worker.perform(a_job(worker, "reviewer", Stage.JUDGE))
    assert shown(answer.filings) == [("judge (attempt 3)", "create", "a judge wonders", False)]


def test_what_was_filed_before_it_broke_is_not_lost(worker: Worker) -> None:
    answer = worker.perform(a_job(worker, "bad"))
    assert isinstance(answer.result, AgentFault)
    assert [text for _, _, text, _ in shown(answer.filings)] == ["I am on it"]


def test_a_reply_files_too_within_the_same_rights(tmp_path: Path) -> None:
    bug = Filing(Action.CREATE, Author("person"), kind=Kind.BUG, title="it leaks", name="a")
    job = Job(AttemptId(3), Stage.BENCHMARK, "performance_evaluator", Commit("c"), consultation=4, board=a_board())
    laid_out(job, tmp_path)
    result, filings = filed(job, Reply("hm", filings=(bug,) * 30), tmp_path)
    assert result == Reply("hm"), "what it filed is told once"
    assert [(str(f.author), f.refused) for f in filings] == [("performance_evaluator (consultation 4)", "")] * 30, (
        "how many are kept is the loop's matter"
    )
    planner = replace(job, plugin="planner")
    _, filings = filed(planner, Reply("hm", filings=(bug,) * 6), tmp_path)
    assert [bool(f.refused) for f in filings] == [number == 5 for number in range(6)]
    triage = replace(job, plugin="triage", board=None)
    assert desk_of(triage, tmp_path) is None
    _, (refused,) = filed(triage, Reply("hm", filings=(bug,)), tmp_path)
    assert "may read the board" in refused.refused


jobs = st.builds(
    Job,
    st.integers(0, 99).map(AttemptId),
    st.sampled_from(Stage),
    st.text(min_size=1, max_size=200),
    st.just(Commit("c")),
    try_number=st.integers(0, 3),
    consultation=st.none() | st.integers(1, 9),
)


@given(jobs, jobs)
def test_no_two_jobs_file_in_batches_of_one_name(one: Job, other: Job) -> None:
    def names(job: Job) -> set[str]:
        return {batch_of(job), f"{batch_of(job)} reply"}

    whose = [(j.consultation or ("attempt", j.attempt), j.stage, j.plugin, j.try_number) for j in (one, other)]
    assert (whose[0] == whose[1]) == bool(names(one) & names(other))
    assert all(len(name) <= 100 for name in names(one))


def test_who_answers_from_the_prompt_alone_is_offered_nothing(tmp_path: Path) -> None:
    job = Job(AttemptId(3), Stage.MUTATE, "coding", Commit("c"), board=a_board())
    laid_out(job, tmp_path)
    desk, call_ = desk_of(job, tmp_path), Call("implementer", "go on", "You are good.")
    with offered(desk, call_) as told:
        assert [server.name for server in told.servers] == ["issues"]
        assert told.system.startswith("You are good.\n\nThere is a board")
    for other, place in ((call_, None), (replace(call_, permission=Permission.NONE), desk)):
        with offered(place, other) as told:
            assert told is other


# -- whole runs ---------------------------------------------------------------------------------------------


def state_of(entries: list[Entry]) -> State:
    state = State()
    for entry in entries:
        state.apply(entry)
    return state


def test_a_run_keeps_what_its_agents_file(call: CommandLine) -> None:  # noqa: F811
    make_target(Path("target"))
    words = ["--pool", "inline", "--outer-loop", "chain", "--seed", "1", "--max-candidates", "1", "--json"]
    sets = ["mutator.mine.use=coding", f"mutator.mine.agent={FILE}:Asks", f"judge.reviewer.agent={FILE}:Asks"]
    sets += ["issues.agents=true", "confirm.on=false"]
    found = call("run", "target", "--mutator", "mine", *words, *(w for s in sets for w in ("--set", s))).object
    entries = list(read_journal(Path(found["path"]) / JOURNAL))
    kinds = [
        (type(e.fact).__name__, len(e.fact.filings))
        for e in entries
        if isinstance(e.fact, Mutated | Judged | JobFailed) and e.fact.filings
    ]
    assert kinds == [("Judged", 1), ("Mutated", 1), ("Judged", 1)]
    assert audit(entries, slack_s=60) == []
    document = json.loads((Path(found["path"]) / "issues.json").read_text())
    assert document["counts"]["open"] == found["issues"]["open"] == 2
    assert [row["author"] for row in document["issues"]] == [f"judge (attempt {n})" for n in range(2)]
    assert [c["text"] for c in document["issues"][0]["comments"]] == ["I am on it"]
    assert call("issues", "latest", "--json").object["issues"] == document["issues"]
    prompts = call("brief", "1", "--json").object["prompts"]
    assert "There is a board of issues" in prompts[0]["system"]


RAYSEARCH = (sys.executable, "-m", "raysearch")
LIMIT_S = 120.0


def started(words: list[str], runs: Path) -> subprocess.Popen[str]:
    command = [*RAYSEARCH, *words, "--runs-dir", str(runs), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(runs: Path, lines: int, driver: subprocess.Popen[str]) -> Path:
    end_s = time.monotonic() + LIMIT_S
    while True:
        journal = next(iter(runs.glob(f"*/{JOURNAL}")), None)
        if journal is not None and journal.read_bytes().count(b"\n") >= lines:
            return journal
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < end_s
        time.sleep(0.02)


def said(runs: Path, *words: str) -> dict[str, Any]:
    command = [*RAYSEARCH, *words, "--runs-dir", str(runs), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_people_steer_a_run_from_other_terminals(tmp_path: Path) -> None:
    runs, target = tmp_path / "runs", make_target(tmp_path / "toy")
    words = ["run", str(target), "--mutator", f"{FILE}:Slow", "--pool", "inline", "--outer-loop", "chain"]
    driver = started([*words, "--max-candidates", "1000"], runs)
    until(runs, 8, driver)
    assert said(runs, "issues", "latest", "new", "too slow", "--kind", "perf")["issue"] == 1
    said(runs, "issues", "latest", "comment", "1", "on both machines")
    said(runs, "issues", "latest", "priority", "1", "5")
    said(runs, "steer", "latest", "smaller steps", "--role", "implementer")
    paused = said(runs, "pause", "latest")["seq"]
    seen = [said(runs, "show", "latest")["status"], said(runs, "show", "latest")["attempts"]]
    assert seen[0] == "paused"
    time.sleep(1.0)
    unpaused = said(runs, "unpause", "latest")["seq"]
    stopped = said(runs, "stop", "latest", "--reason", "the machine is needed")["seq"]
    out, err = driver.communicate(timeout=LIMIT_S)
    entries = list(read_journal(next(iter(runs.glob(f"*/{JOURNAL}")))))
    assert (driver.returncode, entries[-1].fact) == (0, SessionClosed("the machine is needed")), (out, err)
    assert not [e for e in entries if isinstance(e.fact, AttemptOpened) and paused < e.seq < unpaused]
    assert said(runs, "issues", "latest")["issues"][0]["priority"] == 5
    done = subprocess.run(
        [*RAYSEARCH, "resume", "--max-candidates", str(seen[1] + 2), "--runs-dir", str(runs), "--json"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    entries = list(read_journal(next(iter(runs.glob(f"*/{JOURNAL}")))))
    assert audit(entries, slack_s=60) == []
    briefs = [(e.seq, e.fact.proposal.brief.messages) for e in entries if isinstance(e.fact, AttemptOpened)]
    assert {messages for seq, messages in briefs if seq > stopped} == {("smaller steps",)}
    last = state_of(entries).attempts_total
    told = said(runs, "brief", "latest", str(last))
    assert told["messages"] == ["smaller steps"]
    kinds = [e.fact.command.kind for e in entries if isinstance(e.fact, Steered)]
    assert kinds == [*[Steer.FILING] * 3, Steer.MESSAGE, Steer.PAUSE, Steer.UNPAUSE, Steer.STOP]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(240)
def test_agents_that_file_at_once_lose_nothing(tmp_path: Path, ray_address: str) -> None:
    """Four lanes; every mutator and every judge has a `raysearch-issue-mcp` process of its own; a person files too."""
    runs, target, attempts = tmp_path / "runs", make_target(tmp_path / "toy"), 10
    words = [
        "run",
        str(target),
        "--mutator",
        f"{FILE}:StepsAndFiles",
        "--address",
        ray_address,
        "--outer-loop",
        "chain",
    ]
    words += ["--seed", "3", "--lanes", "4", "--max-candidates", str(attempts)]
    words += ["--set", f"judge.doubts.use={FILE}:Doubts", "--set", "issues.agents=true"]
    driver = started(words, runs)
    until(runs, 2, driver)
    filing = threading.Thread(target=said, args=(runs, "issues", "latest", "new", "by hand"))
    filing.start()
    filing.join()
    out, err = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, (out, err)
    entries = list(read_journal(next(iter(runs.glob(f"*/{JOURNAL}")))))
    assert audit(entries, slack_s=60) == []
    board = state_of(entries).board
    claimed = [
        (e.fact.filings, int(re.findall(r"filed (\d+)", text)[0]))
        for e in entries
        for text in ([e.fact.change.mutation.summary] if isinstance(e.fact, Mutated) and e.fact.attempt else [])
        + ([e.fact.verdict.feedback] if isinstance(e.fact, Judged) and e.fact.judge == "doubts" else [])
        if isinstance(e.fact, Mutated | Judged)
    ]
    assert len(claimed) == 2 * attempts + 1
    assert all(len(filings) == count for filings, count in claimed), "as many as each was told that it had filed"
    comments = [c for issue in board.issues.values() for c in issue.comments]
    assert len(board.issues) + len(comments) == 1 + sum(count for _, count in claimed)
    assert not board.refusals
    titles = [issue.title for issue in board.issues.values()]
    assert sorted(titles) == sorted(["by hand", *(f"judge (attempt {n}) is odd" for n in range(attempts + 1))])
