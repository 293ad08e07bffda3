"""`check`: sound targets are ready, and each kind of unsound one is named for what is wrong with it."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from called import Call, call
from hypothesis import given
from hypothesis import strategies as st
from toys import BENCHMARK, CHECKER, make_target

from raysearch import seeds
from raysearch.config.targets import load_target
from raysearch.run.breakage import broken, editable_files
from raysearch.run.check import CheckReport, check_target, percent
from raysearch.run.findings import Finding, Standing
from raysearch.run.noise import Noise, median_interval, noise_of, smallest_gain
from raysearch.types import Measurement, Objective

__all__ = ["call"]


SOUND = CHECKER.replace(
    'text = (pathlib.Path(a.candidate) / "x.txt").read_text()',
    'file = pathlib.Path(a.candidate) / "x.txt"\ntext = file.read_text() if file.exists() else "nothing"',
)
"""Unlike the toy's own checker, which breaks where there is no file."""
YES = """
import argparse, json, pathlib
p = argparse.ArgumentParser()
for name in ("candidate", "reference", "seed", "result"):
    p.add_argument("--" + name)
a = p.parse_args()
pathlib.Path(a.result).write_text(json.dumps({"schema": "raysearch.verdict/1", "passed": True}))
"""


def toy(folder: Path, **parts: str) -> Path:
    """A sound target, but for ``parts``."""
    benchmark = parts.pop("benchmark", None)
    make_target(folder, **{"checker": SOUND, **parts})  # type: ignore[arg-type]
    if benchmark is not None:
        (folder / "benchmark" / "benchmark.py").write_text(benchmark)
    return folder


def checked(folder: Path, repeats: int = 2, sandbox: str = "none") -> CheckReport:
    """Without a sandbox where it does not matter, which is quicker."""
    return check_target(load_target(folder), repeats=repeats, sandbox=sandbox)


def by_name(report: CheckReport) -> Mapping[str, Finding]:
    return {finding.name: finding for finding in report.findings}


def standings(report: CheckReport) -> dict[str, str]:
    return {finding.name: finding.standing.value for finding in report.findings}


# -- a sound target ---------------------------------------------------------------------------------------------


def test_a_sound_target_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir(mode=0o755)
    report = check_target(load_target(toy(tmp_path / "toy")), repeats=2, told=told.append)
    assert report.ready
    assert report.conclusion == "ready"
    assert standings(report) == {
        "seed": "ok",
        "reference": "ok",
        "verdicts": "ok",
        "empty program": "ok",
        "garbage": "ok",
        "half of x.txt": "ok",
        "benchmark": "ok",
        "noise of near": "ok",
        "noise of small": "ok",
        "left behind": "ok",
        "writes": "ok",
        "network": "ok",
    }
    assert [noise.same for noise in report.noise] == [True, True]
    assert [noise.gain for noise in report.noise] == [0.0, 0.0]
    assert report.judge_s is not None
    assert report.benchmark_s is not None
    assert "measuring, 2 of 2" in told
    assert list((tmp_path / "temporary").iterdir()) == [], "nothing is left behind"


def test_the_reference_is_tried_only_if_it_is_a_program(tmp_path: Path) -> None:
    other = toy(tmp_path / "other")
    (other / "reference" / "x.txt").rename(other / "reference" / "data.txt")
    untried = by_name(checked(other, 1))["reference"]
    assert (untried.standing, "other names" in untried.told) == (Standing.NOTE, True)
    (other / "target.toml").write_text("[check]\nreference = true\n")
    wrong = by_name(checked(other, 1))["reference"]
    assert (wrong.standing, "the checker says no" in wrong.told) == (Standing.FAIL, True)
    like = toy(tmp_path / "like", target_toml="[check]\nreference = false\n")
    assert "target.toml says" in by_name(checked(like, 1))["reference"].told


def test_without_a_seed_only_an_empty_folder_can_be_tried(tmp_path: Path) -> None:
    folder = make_target(tmp_path / "toy", seed=None, checker=SOUND)
    report = checked(folder, 1)
    assert report.ready
    assert standings(report) == {
        "seed": "note",
        "reference": "note",
        "empty program": "ok",
        "benchmark": "warn",
        "left behind": "ok",
        "writes": "warn",
        "network": "warn",
    }


# -- what is wrong is named -------------------------------------------------------------------------------------


def test_a_checker_that_says_yes_to_everything(tmp_path: Path) -> None:
    report = checked(toy(tmp_path / "toy", checker=YES), 1)
    found = by_name(report)
    assert found["half of x.txt"].standing is Standing.WARN, "half of a file may be all that matters"
    assert report.conclusion == "not ready: empty program: passes (and garbage)"


def test_a_checker_that_breaks_on_a_bad_program(tmp_path: Path) -> None:
    report = checked(toy(tmp_path / "toy", checker=CHECKER), 1)
    empty = by_name(report)["empty program"]
    assert empty.standing is Standing.FAIL
    assert "broke instead of saying no" in empty.told
    assert "FileNotFoundError" in empty.told
    assert report.conclusion.startswith("not ready: empty program: the checker broke")


def test_a_checker_that_believes_an_exit_status(tmp_path: Path) -> None:
    """The program shares it: one that ends at once looks like one that is right."""
    folder = tmp_path / "toy"
    make_target(folder, checker=YES.replace("a = p", "import subprocess, sys\na = p").replace("True}", "done}"))
    checker = folder / "accuracy_checker" / "checker.py"
    run = (
        "done = subprocess.run([sys.executable, a.candidate + '/main.py'], stderr=subprocess.DEVNULL).returncode == 0\n"
    )
    checker.write_text(checker.read_text().replace("pathlib.Path(a.result)", f"{run}pathlib.Path(a.result)"))
    for place in ("seed", "reference"):
        (folder / place / "x.txt").unlink()
        (folder / place / "main.py").write_text("assert 1 + 1 == 2\nassert 2 + 2 == 4\nprint('fine')\n")
    (folder / "target.toml").write_text('[candidate]\neditable = ["main.py"]\n')
    (folder / "benchmark" / "benchmark.py").write_text(
        BENCHMARK.replace("x = float", "x = 1.0\n_ = str").replace("x.txt", "main.py")
    )
    found = standings(checked(folder, 1))
    assert found["ends at once, status 0"] == "fail"
    assert found["garbage"] == "warn", "refused, if without a word"
    assert found["benchmark"] == "ok"


def test_a_no_without_a_reason(tmp_path: Path) -> None:
    silent = SOUND.replace('"feedback": feedback', '"feedback": ""')
    report = checked(toy(tmp_path / "toy", checker=silent), 1)
    assert report.ready
    assert by_name(report)["garbage"].told == "refused, but no reason is given"
    assert report.conclusion == "ready, with 5 warnings", "two of them for want of a sandbox"


def test_a_seed_that_does_not_pass(tmp_path: Path) -> None:
    report = checked(toy(tmp_path / "toy", seed="-4"), 1)
    found = by_name(report)
    assert found["seed"].told == "the checker says no: -4.0 is below zero"
    assert found["benchmark"].standing is Standing.OK, "the reference can be measured"
    assert not report.ready


def test_where_nothing_passes_refusals_say_nothing(tmp_path: Path) -> None:
    no = YES.replace("True", "False, 'feedback': 'never'")
    found = by_name(checked(toy(tmp_path / "toy", checker=no), 1))
    assert found["garbage"].standing is Standing.NOTE
    assert (found["benchmark"].standing, found["benchmark"].told[:9]) == (Standing.FAIL, "not tried")


def test_a_seed_that_passes_with_some_inputs_only(tmp_path: Path) -> None:
    unlucky = seeds.number(1, "evaluation", "accuracy")
    moody = SOUND.replace("value >= 0, ", f"int(a.seed) != {unlucky}, ").replace('"" if value', '"unlucky" if value')
    found = by_name(checked(toy(tmp_path / "toy", checker=moody), 1))["seed"]
    assert found.told == "though it passes with 1 other hidden seed, the checker says no: unlucky"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("-abs(x - 10)", "float('nan')"), "it broke"),
        (('"direction": "max"', '"direction": "min"'), "declares 'max'"),
        (('"name": "near"', '"name": "far"'), "'near' is missing"),
        (('"metrics": [', '"refused": "not today", "metrics": [][:0] and ['), "refuses a program that passes"),
    ],
)
def test_a_benchmark_that_does_not_answer(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    report = checked(toy(tmp_path / "toy", benchmark=dedent(BENCHMARK).replace(*change)), 1)
    found = by_name(report)["benchmark"]
    assert found.standing is Standing.FAIL
    assert words in found.told
    assert not report.noise


def test_files_that_nothing_checks(tmp_path: Path) -> None:
    folder = toy(tmp_path / "toy", target_toml='[candidate]\neditable = ["*.txt", "notes/**"]\n')
    (folder / "seed" / "notes").mkdir()
    (folder / "seed" / "notes" / "long.md").write_text("a note\n" * 50)
    found = standings(checked(folder, 1))
    assert found["garbage in notes/long.md"] == "warn"
    assert found["garbage in x.txt"] == "ok"
    assert found["garbage"] == "ok"


def test_verdicts_that_differ(tmp_path: Path) -> None:
    moody = SOUND.replace('"" if value', 'str(__import__("os").urandom(4)) if value')
    assert standings(checked(toy(tmp_path / "toy", checker=moody), 1))["verdicts"] == "warn"


# -- noise ------------------------------------------------------------------------------------------------------


def test_noise_is_measured_and_compared_with_what_is_declared(tmp_path: Path) -> None:
    noisy = dedent(BENCHMARK).replace("[-abs(x - 10)]", "[100 + __import__('random').gauss(0, 5) for _ in range(3)]")
    folder = toy(tmp_path / "toy", benchmark=noisy)
    report = checked(folder, 4)
    noise = report.noise[0]
    assert (noise.samples, len(noise.values), noise.same) == (3, 4, False)
    assert noise.understated
    assert by_name(report)["noise of near"].standing is Standing.WARN
    assert "declare noise = 0.0" in by_name(report)["noise of near"].mend
    assert noise.gain is not None
    assert noise.gain > noise.spread
    objectives = folder / "objectives.toml"
    objectives.write_text(objectives.read_text().replace('name = "near"', 'name = "near"\nnoise = 0.5'))
    assert by_name(checked(folder, 4))["noise of near"].standing is Standing.OK


def test_one_evaluation_says_nothing_of_noise(tmp_path: Path) -> None:
    report = checked(toy(tmp_path / "toy"), 1)
    assert by_name(report)["noise of near"].standing is Standing.NOTE
    assert report.noise[0].gain is None


def test_intervals_of_the_median_are_the_tables_of_the_binomial() -> None:
    assert median_interval([3.0, 1.0, 2.0, 7.0, 6.0, 5.0, 4.0]).coverage == pytest.approx(1 - 2 / 2**7)
    twenty = median_interval(list(range(20)))
    assert (twenty.low, twenty.high) == (5, 14)  # Conover (1999), table A3: the 6th and the 15th of 20
    assert twenty.coverage == pytest.approx(0.9586, abs=1e-4)
    assert median_interval([1.0, 2.0, 3.0]).coverage == pytest.approx(0.75), "short of 95 %, and says so"


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_intervals_hold_the_median(values: list[float]) -> None:
    interval = median_interval(values)
    assert interval.low <= statistics.median(values) <= interval.high
    assert 0.0 <= interval.coverage < 1.0
    if len(values) >= 6:
        assert interval.coverage >= 0.95


def test_the_smallest_gain_is_rarely_reached_by_luck() -> None:
    """Of two evaluations of one program, the second is better by so much in about one of twenty pairs."""
    rng, lucky, trials = random.Random(7), 0, 4000
    for _ in range(trials):
        gain = smallest_gain([rng.gauss(100, 3) for _ in range(7)])
        assert gain is not None
        lucky += rng.gauss(100, 3) - rng.gauss(100, 3) > gain
    assert lucky / trials == pytest.approx(0.05, abs=0.012)


def test_noise_about_zero_is_absolute() -> None:
    axis = Objective("x", "max", "m")
    noise = noise_of(axis, [(Measurement("x", (value,)),) for value in (-1.0, 0.0, 1.0)])
    assert (noise.relative, noise.spread, noise.understated) == (False, 1.0, False)
    shifted = replace(noise, values=(-11.0, -10.0, -9.0))
    assert (shifted.relative, shifted.spread) == (True, 0.1)
    assert isinstance(shifted, Noise)
    assert [percent(share) for share in (0.0123, 0.5, 1.5, 0.0)] == ["1.2 %", "50 %", "150 %", "0 %"]


# -- what gets out ----------------------------------------------------------------------------------------------


def test_without_a_sandbox_nothing_is_contained_and_check_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    report = checked(toy(tmp_path / "toy"), 1, sandbox="none")
    found = by_name(report)
    assert report.ready, "it was asked for aloud"
    assert (found["writes"].standing, found["network"].standing) == (Standing.WARN, Standing.WARN)
    assert "the working folder" in found["writes"].told
    assert not list((tmp_path / "here").iterdir()), "what the probe wrote is removed again"


def test_a_target_that_allows_the_network_is_told(tmp_path: Path) -> None:
    report = checked(toy(tmp_path / "toy", target_toml="[limits]\nnetwork = true\n"), 1, sandbox="auto")
    assert by_name(report)["network"].standing is Standing.NOTE
    assert by_name(report)["writes"].standing is Standing.OK


def test_evaluators_that_are_kept_warm_are_not_left_behind(tmp_path: Path) -> None:
    report = checked(toy(tmp_path / "toy", target_toml='[warm]\nimports = ["json"]\n'), 1, sandbox="auto")
    assert report.ready
    assert by_name(report)["left behind"].standing is Standing.OK


def test_only_what_may_change_is_broken(tmp_path: Path) -> None:
    for name, text in {"a.py": "x = 1\n" * 9, "lib/b.py": "y = 2\n", "c.c": "int main() { return 0; }\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    files = editable_files(tmp_path, ["a.py", "lib/**", "*.c"])
    assert files == ["a.py", "c.c", "lib/b.py"], "the largest first"
    made = {ruin.name: ruin for ruin in broken(tmp_path, files)}
    assert list(made) == [
        "empty program",
        "garbage",
        "ends at once, status 0",
        "half of a.py",
        "garbage in a.py",
        "garbage in c.c",
        "garbage in lib/b.py",
    ]
    quits = made["ends at once, status 0"].changes
    assert quits["c.c"] is not None
    assert quits["c.c"].endswith(b"return 0; }\n"), "C must still build"
    assert len(made["half of a.py"].changes["a.py"] or b"") == 26


# -- the verb ---------------------------------------------------------------------------------------------------


def test_the_verb_prints_a_table_and_a_plain_last_line(call: Call, tmp_path: Path) -> None:
    toy(tmp_path / "toy")
    ran = call("check", "toy", "--repeats", "2")
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("target     toy")
    assert lines[-1] == "ready"
    assert any("smallest gain" in line for line in lines)
    assert "raysearch: judging the seed, 1 of 3" in ran.err


def test_the_verb_fails_with_status_1_and_says_why_as_json(call: Call, tmp_path: Path) -> None:
    toy(tmp_path / "toy", checker=YES)
    parts = ("--ref", "toy/reference", "--acc-checker", "toy/accuracy_checker", "--bench", "toy/benchmark")
    ran = call("check", *parts, "--repeats", "1", "--json")
    assert ran.status == 1
    assert ran.object["ready"] is False
    assert ran.object["conclusion"].startswith("not ready: empty program")
    assert {row["standing"] for row in ran.object["findings"]} >= {"ok", "fail"}
    assert ran.object["noise"][0]["smallest_gain"] is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_from_outside_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "raysearch", "check", str(toy(tmp_path / "toy")), "--repeats", "1000"]
    env = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    assert process.stderr is not None
    for line in process.stderr:
        if "measuring, 2 of 1000" in line:
            break
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number, told
    assert "Traceback" not in told
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no target: give TARGET"),
        (("nowhere",), "no such target folder"),
        (("toy", "--repeats", "0"), "0 is not in the range"),
        (("toy", "--sandbox", "bubblewarp"), "Did you mean 'bubblewrap'?"),
        (("toy", "--objective", "near:up"), "NAME:max or NAME:min"),
        (("toy", "--ref", "x"), "`target` is given already"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(
    call: Call, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    toy(tmp_path / "toy")
    ran = call("check", *arguments)
    assert (ran.status, words in ran.told) == (2, True), ran.told
