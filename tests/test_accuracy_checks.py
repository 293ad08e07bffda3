"""What a check is, how it becomes a verdict, and the frame of a checker script."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.accuracy import (
    BadAnswer,
    Bound,
    Check,
    CheckerError,
    Power,
    ask_program,
    check_tensor,
    holm,
    run_checker,
    verdict,
    write_verdict,
)
from evaluators.accuracy.given import array, number, pairs, reals, tokens
from evaluators.results import read_verdict
from raysearch.errors import Refused, TargetError

right = Check("right", (Bound("error", 0.0, 1.0),), 3, "items", "Good.")
wrong = Check("wrong", (Bound("error", 2.0, 1.0), Bound("share", 0.5, 0.5, least=True)), 3, "items", "Bad at 2.")


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_bound_holds_one_side_and_not_a_number_keeps_none(value: float, limit: float) -> None:
    assert Bound("x", value, limit).kept == (value <= limit)
    assert Bound("x", value, limit, least=True).kept == (value >= limit)
    assert not Bound("x", math.nan, limit).kept
    assert not Bound("x", math.nan, limit, least=True).kept


def test_a_check_is_its_bounds() -> None:
    assert right.passed
    assert not wrong.passed
    assert wrong.statistics == {"error": 2.0, "share": 0.5}
    assert wrong.thresholds == {"error": 1.0, "share": 0.5}
    with pytest.raises(dataclasses.FrozenInstanceError):
        right.items = 4  # type: ignore[misc]


@pytest.mark.parametrize("change", [{"bounds": ()}, {"items": 0}, {"feedback": ""}, {"name": ""}])
def test_a_check_that_looked_at_nothing_is_none(change: dict[str, object]) -> None:
    with pytest.raises(CheckerError, match="looked at nothing"):
        dataclasses.replace(right, **change)  # type: ignore[arg-type]


def test_a_case_names_the_broken_bound_first_and_the_power() -> None:
    seen = dataclasses.replace(wrong, power=Power(0.1, "a distance", 0.9, 0.001), figures={"mean": 7.0})
    assert seen.to_case() == {
        "name": "wrong",
        "passed": False,
        "detail": "error 2 (at most 1); share 0.5 (at least 0.5); mean 7; 3 items; "
        "sees a distance of 0.1 with probability 0.9; a right program fails with 0.001",
    }


def test_a_bound_broken_in_the_last_digit_shows_it() -> None:
    assert str(Bound("error", 0.1 + 1e-9, 0.1)) == "error 0.100000001 (at most 0.1)"


def test_a_verdict_is_read_by_the_contract(tmp_path: Path) -> None:
    write_verdict(tmp_path / "result.json", verdict([right, wrong], {"model": "toy", "layers": 3, "tied": True}))
    found = read_verdict(tmp_path / "result.json")
    assert not found.passed
    assert found.feedback == "wrong: Bad at 2."
    assert [(case.name, case.passed) for case in found.cases] == [("wrong", False), ("right", True)]
    assert found.conditions == {"model": "toy", "layers": "3", "tied": "True"}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    write_verdict(tmp_path / "result.json", verdict([right]))
    assert read_verdict(tmp_path / "result.json").passed


def test_a_thousand_checks_stay_within_the_contract(tmp_path: Path) -> None:
    many = [dataclasses.replace(wrong, name=f"{number} \ud800", feedback="x" * 2000) for number in range(1000)]
    write_verdict(tmp_path / "result.json", verdict([right, *many]))
    found = read_verdict(tmp_path / "result.json")
    assert len(found.cases) == 100
    assert found.conditions["cases"] == "100 of 1001 listed"
    assert "980 more checks failed" in found.feedback


@pytest.mark.parametrize("checks", [[], [right, right], [right, None], [True]])
def test_nothing_is_no_verdict(checks: list[Check]) -> None:
    with pytest.raises(CheckerError):
        verdict(checks)


def run(tmp_path: Path, check: Callable[..., object]) -> int:
    arguments = ["--candidate", str(tmp_path), "--reference", str(tmp_path), "--seed", "7"]
    with pytest.raises(SystemExit) as ended:
        run_checker(check, [*arguments, "--result", str(tmp_path / "result.json")])  # type: ignore[arg-type]
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_frame_writes_yes_no_and_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = tmp_path / "result.json"
    assert run(tmp_path, lambda call: right if call.seed == 7 else wrong) == 0
    assert read_verdict(result).passed
    assert run(tmp_path, lambda call: [right, wrong]) == 0
    assert not read_verdict(result).passed

    def crashes(call: object) -> Check:
        raise Refused("the server died")

    assert run(tmp_path, crashes) == 0
    assert (read_verdict(result).passed, read_verdict(result).feedback) == (False, "the server died")
    result.unlink()

    def author_errs(call: object) -> Check:
        return check_tensor([1.0], [1.0], "bf61")

    assert run(tmp_path, author_errs) == 2
    assert run(tmp_path, lambda call: []) == 2
    assert not result.exists()
    told = capsys.readouterr().err
    assert "tolerance is 'bf61'. Did you mean 'bf16'?" in told
    assert "no verdict without a check" in told


def test_the_program_is_asked_as_a_child(tmp_path: Path) -> None:
    def ask(text: str, question: object = None, timeout_s: float = 30.0) -> object:
        return ask_program([sys.executable, "-c", text], question, cwd=tmp_path, timeout_s=timeout_s)

    echo = "import json, sys; json.dump(json.load(sys.stdin)[::-1], sys.stdout)"
    assert ask(echo, [1, [2.5, "é"]]) == [[2.5, "é"], 1]
    for text, told in (
        ("raise SystemExit('no weights')", "status 1: no weights"),
        ("print('hello')", "is not JSON: it begins with 'hello"),
        ("print('[' * 100000)", "is not JSON"),
        ("", "is not JSON"),
    ):
        with pytest.raises(BadAnswer, match=told):
            ask(text, list(range(100_000)))
    for said in ("print('{}')", "print('[1]')"):
        with pytest.raises(BadAnswer, match="no JSON object with the key 'logits'"):
            ask_program([sys.executable, "-c", said], 1, cwd=tmp_path, keys=["logits"])
    with pytest.raises(BadAnswer, match=r"more than 0\.5 s"):
        ask("import time; time.sleep(60)", timeout_s=0.5)
    with pytest.raises(CheckerError, match="cannot be asked"):
        ask(echo, {1, 2})
    with pytest.raises(CheckerError, match="cannot be asked"):
        ask_program([tmp_path / "none"], 1, cwd=tmp_path)


def test_what_the_program_started_ends_with_it(tmp_path: Path) -> None:
    starts = (
        "import subprocess, sys; lives = 'import time; time.sleep(600)';"
        "print(subprocess.Popen([sys.executable, '-c', lives], stdin=-3, stdout=-3, stderr=-3).pid)"
    )
    child = ask_program([sys.executable, "-c", starts], None, cwd=tmp_path)
    for _ in range(1000):  # killed already; a kernel takes a moment
        if not running(child):
            return
        time.sleep(0.01)
    pytest.fail("it goes on")


def running(pid: object) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_errors_are_of_both_families() -> None:
    for kind, family in ((CheckerError, TargetError), (BadAnswer, Refused)):
        assert issubclass(kind, family)
        assert issubclass(kind, ValueError)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 11, True, "3", None, 10**400, [1]])
def test_settings_are_numbers_in_range(value: object) -> None:
    with pytest.raises(CheckerError, match=r"width is .*: give a number from 0 to 10"):
        number("width", value, 0, 10)
    assert number("width", np.float32(2.5), 0, 10) == 2.5


def test_pairs_name_what_is_missing() -> None:
    assert list(pairs([1], iter([2]), "prompt")) == [("prompt 1", 1, 2)]
    for reference, answers, kind, told in (
        ([], [], CheckerError, "nothing to check: give at least one prompt"),
        ([1, 2], [1], BadAnswer, "prompt 2 was not answered: there are only 1 answers"),
        ([1], [1, 2], BadAnswer, "more answers than there are prompts: 1"),
        ([1], None, BadAnswer, "the answer is NoneType, not a list with one entry per prompt"),
        ([1], {"a": 1}, BadAnswer, "the answer is dict"),
        ([1], "1", BadAnswer, "the answer is str"),
        (None, [1], CheckerError, "the reference is NoneType"),
    ):
        with pytest.raises(kind, match=told):
            list(pairs(reference, answers, "prompt"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "is empty"),
        ([[1, 2], [3]], "no array of numbers"),
        (["1"], "no array of numbers"),
        ([True], "no array of numbers"),
        ([None], "no array of numbers"),
        ([1j], "no array of numbers"),
        ([10**400], "no array of numbers"),
        ([{}], "no array of numbers"),
        ("12", "no array of numbers"),
        ([1.0, math.nan], "holds NaN 1 times, first at 1"),
        ([[1.0]], "has shape"),
        (3.0, "has shape"),
    ],
)
def test_arrays_are_numbers(value: object, told: str) -> None:
    with pytest.raises(BadAnswer, match=f"prompt 1 .*{told}|prompt 1 {told}"):
        reals(value, "prompt 1", BadAnswer, 1)  # type: ignore[arg-type]
    assert array(np.array([1], np.uint8), "it", BadAnswer).dtype == np.uint8


@pytest.mark.parametrize("value", ["ab", None, 3, [1.0], [-1], [True], ["a"], [[1]]])
def test_tokens_are_whole_numbers(value: object) -> None:
    with pytest.raises(BadAnswer):
        tokens(value, "it", BadAnswer)
    assert tokens(np.array([3, 4]), "it", BadAnswer) == [3, 4]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_lies_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    many = len(p_values)
    for p, found in zip(p_values, adjusted, strict=True):
        assert p <= found <= min(1.0, many * p) + 1e-12
    assert min(adjusted) == min(1.0, many * min(p_values))
    order = sorted(range(many), key=lambda index: p_values[index])
    assert [adjusted[index] for index in order] == sorted(adjusted)


def test_holm_by_hand() -> None:
    """Of 0.01, 0.04, 0.03 and 0.005: 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04, which may not be below 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    for bad in ([], [math.nan], [1.1], [-0.1]):
        with pytest.raises(CheckerError):
            holm(bad)


def test_the_package_is_light() -> None:
    script = (
        "import sys, evaluators.accuracy\n"
        "print([m for m in ('ray', 'pydantic', 'jsonschema', 'aiohttp', 'scipy.stats') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
