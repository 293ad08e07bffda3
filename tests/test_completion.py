"""Shell completion, by click's own protocol: what is typed so far goes in, what may follow comes out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from called import Call, call
from cli_runs import MadeRun
from click.shell_completion import ShellComplete

from raysearch.cli.commands import root

__all__ = ["call"]


@pytest.fixture(autouse=True)
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeRun:
    """Two runs in exp_env of the working directory."""
    monkeypatch.chdir(tmp_path)
    other = MadeRun(tmp_path / "exp_env", "20261126-100000-caches").begin()
    run = MadeRun(tmp_path / "exp_env").begin()
    for made in (other, run):
        for number in range(1, 13):
            (made.path / "attempts" / str(number)).mkdir(parents=True)
    os.utime(other.folder.journal, (1, 1))
    return run


def completed(*words: str) -> list[str]:
    """What may follow ``words``, the last of which is not complete."""
    complete = ShellComplete(root, {}, "raysearch", "_RAYSEARCH_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


RUNS = ["20261127-120000-circles", "20261126-100000-caches", "latest"]


STEERING = ["pause", "unpause", "steer", "budget", "stop", "issues"]


@pytest.mark.parametrize("verb", ["resume", *STEERING, "frontier", "replay", "export"])
def test_runs(verb: str) -> None:
    assert completed(verb, "") == RUNS
    assert completed(verb, "20261126") == RUNS[1:2]


def test_runs_of_another_folder() -> None:
    assert completed("resume", "--runs-dir", "nowhere", "") == []
    Path("exp_env").rename("elsewhere")
    assert completed("resume", "") == []
    assert completed("resume", "--runs-dir", "elsewhere", "") == RUNS


@pytest.mark.parametrize("verb", ["show", "brief"])
def test_attempts(verb: str) -> None:
    numbers = [str(number) for number in range(12, 0, -1)]
    assert completed(verb, "") == [*RUNS, "best", "seed", *numbers]
    assert completed(verb, "1") == ["12", "11", "10", "1"], "of the latest run"
    assert completed(verb, "caches", "") == ["best", "seed", *numbers]
    assert completed(verb, "caches", "s") == ["seed"]
    assert completed(verb, "no such run", "") == []


def test_attempts_of_diff_and_export() -> None:
    assert completed("diff", "2026") == RUNS[:2]
    assert completed("diff", "seed", "b") == ["best"]
    assert completed("diff", "circles", "3", "1") == ["12", "11", "10", "1"]
    assert completed("export", "caches", "into", "--candidate", "s") == ["seed"]


def test_settings_are_those_of_the_chosen_plug_ins_too() -> None:
    assert "run.lanes=" in completed("run", "--set", "run.")
    assert "limits.budget_time_s=" in completed("run", "--set", "limits.b")
    assert completed("run", "--set", "roles.benchmark.g") == ["roles.benchmark.gpus="]
    assert "policy.islands=" in completed("run", "--set", "policy.")
    plain = completed("run", "--outer-loop", "plain", "--set", "policy.")
    assert "policy.islands=" not in plain
    assert "policy.max_attempts_per_issue=" in plain
    assert "mutator.tune.eta=" in completed("run", "--mutator", "tune", "--set", "mutator.")
    assert completed("run", "--outer-loop", "no such policy", "--set", "policy.") == []


@pytest.mark.parametrize("verb", ["run", "rehearse"])
def test_installed_plug_ins(verb: str) -> None:
    assert {"evolve", "plain", "best-of-n"} <= set(completed(verb, "--outer-loop", ""))
    assert completed(verb, "--outer-loop", "ev") == ["evolve"]
    assert "tune" in completed(verb, "--mutator", "t")


def test_verbs_flags_and_choices() -> None:
    assert completed("re") == ["rehearse", "resume", "replay"]
    assert completed("run", "--poo") == ["--pool"]
    assert completed("run", "--pool", "") == ["ray", "inline"]
    assert completed("completion", "") == ["bash", "zsh", "fish"]
    assert completed("rehearse", "--like", "2026112") == RUNS[:2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_ask_by_the_protocol(call: Call, shell: str) -> None:
    ran = call("completion", shell)
    assert ran.status == 0
    assert f"_RAYSEARCH_COMPLETE={shell}_complete" in ran.out
    assert call("completion", shell, "--json").object["script"].strip() == ran.out.strip()


def test_a_shell_that_is_unknown(call: Call) -> None:
    ran = call("completion", "fsh")
    assert (ran.status, "Did you mean 'fish'?" in ran.told) == (2, True)


@pytest.mark.parametrize(
    ("shell", "typed", "current", "answer"),
    [
        ("bash", "raysearch show 20261126", "2", "plain,20261126-100000-caches"),
        ("zsh", "raysearch run --pool i", "3", "inline"),
        ("fish", "raysearch resume la", "la", "latest"),
    ],
)
def test_a_real_process_answers(shell: str, typed: str, current: str, answer: str) -> None:
    variables = {"_RAYSEARCH_COMPLETE": f"{shell}_complete", "COMP_WORDS": typed, "COMP_CWORD": current}
    script = Path(sys.executable).with_name("raysearch")
    done = subprocess.run([str(script)], env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert any(answer in line for line in done.stdout.splitlines())
