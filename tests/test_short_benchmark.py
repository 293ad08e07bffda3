"""The short benchmark: who is spared the whole one, and that it decides nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from called import Call, call  # noqa: F401 # a fixture
from toys import BENCHMARK, make_target

from raysearch.config.targets import load_target, snapshot_target
from raysearch.errors import TargetError
from raysearch.facts import AttemptClosed, Measured
from raysearch.ledger import read_journal
from raysearch.protocols import Workspace
from raysearch.types import Brief, Mutation, Outcome

RULES = """
[benchmark]
short = ["--short", "2.5"]
short_timeout_s = 20
hopeless = 0.6
[candidate]
editable = ["x.txt"]
[audit]
traced = false
"""
SHORTENED = BENCHMARK.replace(
    "a = p.parse_args()",
    "p.add_argument('--short', type=float, default=0)\na = p.parse_args()",
).replace('samples": [x]', 'samples": [x + a.short]')
"""What it says in short is another number, so that a mix-up shows."""
PROGRAMS = ("8", "8.5", "40", "9", "90", "9.5")
"""Behind in both objectives, and by more than six tenths: 40 and 90."""


class Recite:
    """Mutator: the next of the programs."""

    def __init__(self) -> None:
        self.programs = iter(PROGRAMS)

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        (workspace.path / "x.txt").write_text(next(self.programs) + "\n")
        return Mutation("the next")


def made(folder: Path, rules: str = RULES) -> Path:
    return make_target(folder, target_toml=rules, benchmark=SHORTENED)


def test_the_hopeless_are_spared_the_whole_benchmark(tmp_path: Path, call: Call) -> None:  # noqa: F811
    made(tmp_path / "toy")
    words = ("--mutator", f"{__file__}:Recite", "--outer-loop", "chain", "--pool", "inline", "--lanes", "1")
    call("run", "toy", *words, "--max-candidates", "6", "--seed", "1")
    journal = next(tmp_path.rglob("journal.jsonl"))
    facts = [entry.fact for entry in read_journal(journal)]
    closed = {fact.attempt: fact for fact in facts if isinstance(fact, AttemptClosed)}
    rejected = {number: fact.reason for number, fact in closed.items() if fact.outcome is Outcome.REJECTED}
    assert [PROGRAMS[number - 1] for number in rejected] == ["40", "90"]
    assert all(reason.startswith("short: far behind") and "near -" in reason for reason in rejected.values())
    whole = [fact.attempt for fact in facts if isinstance(fact, Measured) and fact.benchmark == "benchmark"]
    short = [fact.attempt for fact in facts if isinstance(fact, Measured) and fact.benchmark == "short"]
    assert set(short) == set(closed)
    assert set(whole) == set(closed) - set(rejected)
    for number, fact in closed.items():
        if fact.candidate is not None:
            assert {m.name: m.value for m in fact.candidate.measurements}["small"] == float(
                PROGRAMS[number - 1] if number else 5
            )


def test_a_copy_keeps_it_and_the_digest_knows_it(tmp_path: Path) -> None:
    target = load_target(made(tmp_path / "toy"))
    short = target.benchmark.short
    assert short is not None
    assert (short.words, short.timeout_s, short.hopeless) == (("--short", "2.5"), 20.0, 0.6)
    taken = snapshot_target(target, tmp_path / "copy")
    assert (taken.benchmark.short, taken.digest) == (short, target.digest)
    (tmp_path / "toy" / "target.toml").write_text(RULES.replace("0.6", "0.7"))
    assert load_target(tmp_path / "toy").digest != target.digest


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('short = ["-s"]\nhopeless = 1.0', "benchmark.hopeless"),
        ('short = ["-s"]\nhopeless = 0', "benchmark.hopeless"),
        ('short = ["-s"]\nshort_timeout_s = -1', "benchmark.short_timeout_s"),
        ("short = 3", "benchmark.short"),
        ("shrot = []", "Did you mean 'short'?"),
        ("hopeless = 0.3", "give its words as well"),
        ("short_timeout_s = 3", "give its words as well"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, wrong: str, told: str) -> None:
    with pytest.raises(TargetError) as caught:
        load_target(made(tmp_path / "toy", f"[benchmark]\n{wrong}\n"))
    assert told in str(caught.value)


def test_a_checker_has_none(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="unknown key 'short' in"):
        load_target(made(tmp_path / "toy", '[checker]\nshort = ["-s"]\n'))


def test_its_name_is_taken(tmp_path: Path, call: Call) -> None:  # noqa: F811
    made(tmp_path / "toy")
    (tmp_path / "run.toml").write_text("[benchmark.short]\ntimeout_s = 3\n")
    called = call("run", "toy", "--config", "run.toml", "--pool", "inline")
    assert called.status == 2
    assert "the target's own" in called.told


def test_check_tries_it(tmp_path: Path, call: Call) -> None:  # noqa: F811
    made(tmp_path / "toy")
    called = call("check", "toy", "--repeats", "1")
    assert "short benchmark" in called.out + called.err


def test_a_rehearsal_takes_it_for_short(tmp_path: Path, call: Call) -> None:  # noqa: F811
    made(tmp_path / "toy", RULES.replace("short_timeout_s = 20", "timeout_s = 100\nshort_timeout_s = 20"))
    words = ("--mutator", f"{__file__}:Recite", "--lanes", "1", "--max-candidates", "5", "--seed", "1", "--json")
    found = call("rehearse", "toy", *words).object
    assert (found["admitted"] + found["rejected"], found["failed"]) == (5, 0)
