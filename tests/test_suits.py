"""Whether a policy's options go with the objectives is known before anything is spent."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import make_target

from raysearch.cli import main

ODD = """
class Odd:
    def ask(self, view, slots, rng): return []
    def tell(self, fact): ...
    def best(self, view): return []
    def suits(self, objectives): return 1 // (len(objectives) - {count})
"""
COMMON = ("--mutator", "tune", "--pool", "inline", "--seed", "1", "--set", "run.sandbox=none")


def said(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command says that ends with status 2."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capfd.readouterr()
    assert ended.value.code == 2, out + err
    assert "Traceback" not in err
    return err


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return str(make_target(tmp_path / "toy"))


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        (("--outer-loop", "evolve", "--set", "policy.stop_at={ nera = 1 }"), "evolve"),
        (("--outer-loop", "plain", "--set", "policy.stop_at={ nera = 1 }"), "plain"),
        (("--outer-loop", "portfolio", "--set", "policy.stop_at={ nera = 1 }"), "portfolio"),
        (("--outer-loop", "portfolio", "--set", "policy.loop.evolve.stop_at={ nera = 1 }"), "evolve"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "rehearse"])
def test_a_value_that_is_wanted_of_no_objective(
    verb: str, options: tuple[str, ...], policy: str, target: str, capfd: pytest.CaptureFixture[str]
) -> None:
    told = said(capfd, verb, target, *COMMON, *options)
    assert f"policy {policy}: stop_at: no objective is called 'nera'. Did you mean 'near'?" in told
    assert not list(Path("exp_env").rglob("*toy*")), "nothing is left of it"


def test_a_policy_of_ones_own_that_breaks_over_it(target: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("odd.py").write_text(ODD.format(count=2))
    told = said(capfd, "run", target, *COMMON, "--outer-loop", "odd.py:Odd")
    assert "policy Odd: suits(): ZeroDivisionError" in told
