"""What people and programs hand in, drawn from seeds: accepted, or refused with one clear error, or a recorded fault.

Never a traceback, never a hang, nothing lost. Each case is a function of its kind and number; `fuzz.py` draws them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest
from fuzz import cases, misspelt, toml
from fuzz_calls import CONFIGURATION, RUN, commanded, configured, ground
from fuzz_results import OBJECTIVES, Left, left, scene
from fuzz_run import odd_target, oddities
from fuzz_targets import DOCUMENTS, sound, spoilt
from journals import Journal

from evaluators.command import CommandBenchmark, CommandJudge
from raysearch import views
from raysearch.cli import main
from raysearch.cli import text as pages
from raysearch.cli.watching import documents
from raysearch.codec import decode, encode
from raysearch.config.layers import configure
from raysearch.config.targets import load_target, snapshot_target
from raysearch.engine import as_fact
from raysearch.errors import ConfigError, Fault, Refused, TargetError, UserError
from raysearch.facts import AttemptClosed, JobFailed
from raysearch.jobs import Job
from raysearch.ledger import read_journal
from raysearch.protocols import Answer
from raysearch.run.breakage import editable_files
from raysearch.run.folder import RunFolder
from raysearch.run.search import create
from raysearch.testing import rehearsal
from raysearch.testing.audit import audit
from raysearch.types import Brief, Candidate, Commit, Outcome, Stage, Tree, Verdict

CASE_S = 60.0
"""Far more than any case takes: one that does not end is told by its name."""
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Hung(BaseException):
    """A case has gone on for `CASE_S`."""


@contextlib.contextmanager
def ends() -> Iterator[None]:
    """Raise Hung in what is done inside if it goes on for too long."""

    def hung(_number: int, _frame: FrameType | None) -> None:
        raise Hung(f"after {CASE_S:g} s")

    before = signal.signal(signal.SIGALRM, hung)
    left_s, every_s = signal.setitimer(signal.ITIMER_REAL, CASE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left_s, every_s)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str

    @property
    def wrong(self) -> str:
        """What no way of ending may look like; empty if all is well."""
        lines = self.err.split("\n")
        if self.err.startswith("Usage: raysearch [OPTIONS] COMMAND [ARGS]...\n\n"):
            return ""  # nothing was asked, so help is given
        errors = [line for line in lines if line.startswith(("raysearch: ", "Error: "))]
        if "Traceback" in self.err + self.out or "internal error" in self.err:
            return "a bug of ours"
        if self.status not in {0, 1, 2}:
            return f"status {self.status}"
        if self.status == 2 and (not errors or len(errors[-1]) < 20):
            return "no error"
        if self.status == 2 and errors[-1].startswith("Error: ") and len(errors) > 1:
            return "two errors"
        if len(lines) > 70 or max(map(len, lines)) > 1500 or (self.status == 2 and CONTROLS.search(self.err)):
            return "not a clear error"
        return ""


def called(words: Sequence[str], env: Mapping[str, str]) -> Ended:
    """The command line in this process, its output as strictly encoded as that of a terminal."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace", write_through=True)
    with pytest.MonkeyPatch.context() as patch, ends():
        for name, value in env.items():
            patch.setenv(name, value)
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as caught,
        ):
            main(words)
    assert isinstance(caught.value.code, int)
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return Ended(caught.value.code, *texts)


def all_well(told: Iterator[str]) -> None:
    """No case says what is wrong with it."""
    found = list(told)
    assert not found, "\n\n".join(found[:20])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory. Rehearsals are short, and the list of installed packages is read once."""
    (tmp_path / "temporary").mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(rehearsal, "ATTEMPTS_MAX", 50)
    monkeypatch.setattr(rehearsal, "REHEARSED_MAX", 200)
    monkeypatch.setattr(importlib.metadata, "entry_points", functools.cache(importlib.metadata.entry_points))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def blocks(count: int, size: int, whole: int) -> pytest.MarkDecorator:
    """So many blocks of cases at once, and a large one for patient people."""
    many = [pytest.param(index * size, size, id=f"{index * size}") for index in range(count)]
    return pytest.mark.parametrize(
        ("first", "size"),
        [*many, pytest.param(count * size, whole, id="more", marks=[pytest.mark.slow, pytest.mark.fuzz])],
    )


# -- configurations and command lines ---------------------------------------------------------------------------


@blocks(3, 40, 2000)
@pytest.mark.timeout(1200)
def test_a_configuration_is_fine_or_one_error(place: Path, first: int, size: int) -> None:
    """What a rehearsal refuses, a run refuses too, before it leaves anything."""
    ground(place)
    before = set(place.glob("*/*/journal.jsonl"))

    def told() -> Iterator[str]:
        for number, rng in enumerate(cases("configurations", first, size), first):
            line = configured(rng, place)
            ended = called(line.words, line.env)
            wrong = ended.wrong or ("status 1" if ended.status == 1 else "")
            if not wrong and ended.status == 2 and number % 4 == 0 and "pool" not in ended.err:
                run = called(("run", "toy", "--config", "run.toml", "--pool", "inline"), {})
                if run.status != 2 or set(place.glob("*/*/journal.jsonl")) != before:
                    wrong = f"rehearse refuses it, run ends with {run.status}: {run.err[-500:]}"
            if wrong:
                yield f"configuration {number}: {wrong}\n  {line}\n  {ended.status}: {ended.err[-1500:]}"

    all_well(told())


@blocks(4, 50, 4000)
@pytest.mark.timeout(1200)
def test_a_command_line_is_fine_or_one_error(place: Path, first: int, size: int) -> None:
    ground(place)
    journal = RunFolder(place / "runs" / RUN).journal
    before = journal.read_bytes()

    def told() -> Iterator[str]:
        for number, rng in enumerate(cases("command lines", first, size), first):
            line = commanded(rng)
            ended = called(line.words, line.env)
            no = ended.status == 1 and line.words[0] not in {"check", "doctor"}
            wrong = ended.wrong or ("status 1" if no else "")
            if wrong:
                yield f"command line {number}: {wrong}\n  {line}\n  {ended.status}: {ended.err[-1500:]}"

    all_well(told())
    assert journal.read_bytes() == before


def closed_keys(data: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The way to every key whose name is not for its writer to choose."""
    for key, value in data.items():
        if above not in {("mutator",), ("judge",), ("benchmark",), ("policy",), ("environment",), ("prices",)} and not (
            {"genetic", "mine", "twice", "one", "resources"} & set(above)
        ):
            yield (*above, key)
        if isinstance(value, dict):
            yield from closed_keys(value, (*above, key))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from closed_keys(value[0], (*above, key))


def names(key: str, message: str) -> bool:
    """Whether the message offers ``key``."""
    return re.search(rf"Did you mean '{key}'|Known: .*\b{key}\b", message) is not None


def respelt(data: Mapping[str, Any], keys: Sequence[str], rng: random.Random) -> dict[str, Any]:
    """A copy with the last of ``keys`` misspelt."""
    copy = json.loads(json.dumps(data))
    holder = copy
    for key in keys[:-1]:
        holder = holder[key][0] if isinstance(holder[key], list) else holder[key]
    holder[misspelt(rng, keys[-1])] = holder.pop(keys[-1])
    return dict(copy)


@pytest.mark.parametrize("keys", list(closed_keys(CONFIGURATION)), ids=".".join)
def test_a_misspelt_key_is_answered_with_the_right_one(place: Path, keys: tuple[str, ...]) -> None:
    file = place / "run.toml"
    for rng in cases(".".join(keys), 0, 3):
        file.write_text(toml(respelt(CONFIGURATION, keys, rng)))
        with pytest.raises(ConfigError) as caught:
            configure(file)
        assert "run.toml:" in str(caught.value)
        assert names(keys[-1], str(caught.value)), caught.value


# -- targets ----------------------------------------------------------------------------------------------------


@blocks(4, 45, 1500)
@pytest.mark.timeout(1200)
def test_a_target_is_fine_or_one_error(place: Path, first: int, size: int) -> None:
    """One that loads can be copied into a run, whose first commit it makes; the verbs say what loading says."""

    def told() -> Iterator[str]:
        for number, rng in enumerate(cases("targets", first, size), first):
            folder = place / f"{number}" / "toy"
            folder.parent.mkdir()
            what = spoilt(rng, folder)
            error = taken(folder, folder.parent / "run")
            ended = called(("rehearse", f"{number}/toy", "--max-candidates", "2"), {})
            wrong = ended.wrong or ("status 1" if ended.status == 1 else "")
            if not wrong and error and (ended.status != 2 or error[:60] not in ended.err.replace("\\\\", "\\")):
                wrong = f"loading says {error}"
            if not wrong and ended.status == 2 and not error and "tunables" not in ended.err:
                wrong = "it loads"
            if wrong:
                yield f"target {number}: {wrong}\n  {what}\n  {ended.status}: {ended.err[-1500:]}"

    all_well(told())


def taken(folder: Path, run: Path) -> str:
    """Load a target, copy it and commit its seed. Its error, or what should not have come out."""
    try:
        with ends():
            try:
                target = load_target(folder)
            except UserError as error:
                return str(error)
            place = RunFolder(run)
            place.path.mkdir()
            copy = snapshot_target(target, place.target)
            assert copy.digest == target.digest
            create(place, copy)
            if target.seed:
                editable_files(target.seed, target.editable)
    except (Exception, Hung):
        return traceback.format_exc()
    return ""


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_a_misspelt_key_of_a_target_is_answered_with_the_right_one(place: Path, name: str) -> None:
    folder = sound(place / "toy")
    for keys in closed_keys(DOCUMENTS[name]):
        for rng in cases(".".join(keys), 0, 2):
            (folder / name).write_text(toml(respelt(DOCUMENTS[name], keys, rng)))
            with pytest.raises(TargetError) as caught:
                load_target(folder)
            assert f"toy/{name}" in str(caught.value)
            assert names(keys[-1], str(caught.value)), caught.value


# -- what evaluators leave --------------------------------------------------------------------------------------


@blocks(2, 100, 5000)
@pytest.mark.timeout(1200)
def test_what_an_evaluator_leaves_is_an_answer_or_a_fault(place: Path, first: int, size: int) -> None:
    """Either way the journal holds it, and every page and file shows it."""

    def told() -> Iterator[str]:
        for number, rng in enumerate(cases("results", first, size), first):
            ending = left(rng)
            try:
                with ends():
                    wrong = judged(place / f"{number}", ending)
            except (Exception, Hung):
                wrong = traceback.format_exc()[-1500:]
            if wrong:
                yield f"result {number}: {wrong}\n  {ending.stage}: {ending.told}"

    all_well(told())


def judged(folder: Path, ending: Left) -> str:
    """Read what was left as a worker does, write it down, show it. What is wrong, or nothing."""
    workspace, result = scene(folder, ending), None
    try:
        if ending.stage is Stage.JUDGE:
            result = CommandJudge().judge(workspace, Brief(), random.Random(0))
        else:
            result = tuple(CommandBenchmark().measure(workspace, random.Random(0)))
    except Refused as no:
        result = Verdict(False, str(no))
    except Fault as fault:
        result = fault
    journal = Journal(objectives=OBJECTIVES)
    journal.begin()
    attempt = journal.open()
    journal.mutate(attempt)
    name = "accuracy" if ending.stage is Stage.JUDGE else "benchmark"
    fact = as_fact(Answer(Job(attempt, ending.stage, name, Commit("1" * 40)), result))
    journal.add(fact)
    if isinstance(result, tuple):
        candidate = Candidate(attempt, Commit("1" * 40), Tree("1" * 40), (), result)
        journal.add(AttemptClosed(attempt, Outcome.ADMITTED, "", candidate))
    else:
        journal.close(attempt, Outcome.FAILED if isinstance(result, Fault) else Outcome.REJECTED, str(result)[:200])
    if [decode(encode(entry)) for entry in journal.entries] != journal.entries:
        return "the journal reads back as something else"
    shown = everything_shown(journal)
    if CONTROLS.search(shown):
        return "what is shown moves the cursor"
    if isinstance(result, Fault):
        return "" if 20 < len(str(result)) < 5000 and not CONTROLS.search(str(result)) else f"no clear fault: {result}"
    return "an answer that no journal holds" if isinstance(fact, JobFailed) else ""


def everything_shown(journal: Journal) -> str:
    """Every page, and every file that is written beside the journal."""
    run, trace = views.fold(journal.entries), views.entries_of(journal.entries, journal.attempts)
    for name, rows in documents(run).items():
        whole = b"".join(rows)
        if name.endswith(".json"):
            json.loads(whole)
    msgspec.json.encode(views.attempt(trace))
    return pages.run_page(run, "here", "over") + pages.attempt_page(trace, "")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=[pytest.mark.slow]) for seed in range(1, 9))])
def test_a_whole_run_on_odd_evaluators(place: Path, seed: int) -> None:
    """Whatever they leave, every attempt is closed with its reason, and every verb shows the run."""
    chosen = oddities(cases("runs", seed, 1)[0], 21)
    odd_target(place / "odd", chosen)
    flags = ["--pool", "inline", "--sandbox", "none", "--set", "limits.failed_in_row_max=100"]
    flags += ["--set", "confirm.pairs_max=6"]
    ended = called(["run", "odd", "--mutator", "plays.py:Plays", "--max-candidates", "20", "--json", *flags], {})
    assert (ended.status, ended.wrong) == (0, ""), ended.err
    folder = RunFolder.find(None, place / "exp_env")
    entries = list(read_journal(folder.journal))
    assert audit(entries) == []
    closed = {entry.fact.attempt: entry.fact for entry in entries if isinstance(entry.fact, AttemptClosed)}
    assert sorted(closed) == list(range(21))
    for number, fact in closed.items():
        assert fact.outcome is not Outcome.ABANDONED
        assert bool(fact.reason) == (fact.outcome is not Outcome.ADMITTED)
        if chosen[number].broken:
            assert fact.outcome is not Outcome.ADMITTED, f"{number}: {chosen[number]}"
    told = {entry.fact.attempt: entry.fact.message for entry in entries if isinstance(entry.fact, JobFailed)}
    assert all(len(message) > 20 and not CONTROLS.search(message) for message in told.values())
    failed = {number for number, fact in closed.items() if fact.outcome is Outcome.FAILED}
    assert failed <= set(told)
    numbers = [str(number) for number in closed]
    reading: list[list[str]] = [["show"], ["frontier"], ["replay", "--speed", "max"], ["export", "latest", "best"]]
    reading += [["show", number] for number in numbers] + [["brief", number] for number in numbers[1:4]]
    for words in [*reading, *([*words, "--json"] for words in reading[:3])]:
        seen = called(words, {})
        assert (seen.status, seen.wrong) == (0, ""), f"{words}: {seen.err}"


# -- whole processes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ('raysearch run "$(printf "caf\\351")" --json', 2, "not UTF-8"),
        ("mkdir gone && cd gone && rmdir ../gone && raysearch show", 2, "the working folder cannot be used"),
        ("PYTHONIOENCODING=ascii raysearch doctor toy --pool inline --sandbox none", 1, "looking at this machine"),
        ("raysearch show --runs-dir runs >&- <&-", 0, ""),
        ("raysearch show --runs-dir runs --json > /dev/full", 74, "no space left"),
        ("_RAYSEARCH_COMPLETE=bash_complete raysearch show", 2, "unset it"),
        ("COLUMNS=² LINES=x raysearch replay --speed max --runs-dir runs", 0, ""),
        ("raysearch rehearse toy --config /dev/zero", 2, "/dev/zero: cannot be read: it is no plain file"),
    ],
)
def test_whole_processes(place: Path, script: str, status: int, words: str) -> None:
    ground(place)
    called_so = f'raysearch() {{ "{sys.executable}" -m raysearch "$@"; }}; {script}'
    done = subprocess.run(["sh", "-c", called_so], capture_output=True, cwd=place, timeout=CASE_S, check=False)
    told = done.stderr.decode()
    assert (done.returncode, "Traceback" in told, "internal error" in told) == (status, False, False), told
    assert words in told
