"""The example of docs/model-accuracy.md, as it stands there, run as raysearch runs a checker; and its figures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binom

from evaluators import accuracy
from evaluators.accuracy import TOLERANCES, Tolerance, samples_needed
from evaluators.accuracy.power import share_power
from evaluators.results import VerdictResult, read_verdict
from raysearch.process import clean_environment
from raysearch.sandbox import Mount, open_sandbox
from raysearch.target import SandboxLimits

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "model-accuracy.md").read_text("utf-8")
slow = pytest.mark.slow
CHECKER, REFERENCE, SEED = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    files = {"accuracy_checker/checker.py": CHECKER, "reference/model.py": REFERENCE, "candidate/model.py": SEED}
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(mode=0o755)
        path.write_text(content, "utf-8")
        path.chmod(0o644)
    (tmp_path / "scratch").mkdir(mode=0o777)
    tmp_path.chmod(0o755)
    return tmp_path


def arguments(folder: str, scratch: str) -> list[str]:
    return [
        *(sys.executable, "checker.py", "--candidate", f"{folder}/candidate", "--reference", f"{folder}/reference"),
        *("--seed", "12345", "--result", f"{scratch}/result.json"),
    ]


def verdict_on(target: Path, *changes: tuple[str, str]) -> VerdictResult:
    """The example's verdict on the example's program, changed; its checker runs in this process, which is quicker."""
    text = SEED
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (target / "candidate" / "model.py").write_text(text, "utf-8")
    result = target / "scratch" / "result.json"
    call = accuracy.Call(target / "candidate", target / "reference", 12345, result)
    names: dict[str, Any] = {}
    path = list(sys.path)
    try:
        exec(CHECKER.replace("\nrun_checker(check)\n", "\n"), names)
        try:
            found = accuracy.verdict(names["check"](call))
        except accuracy.BadAnswer as no:
            found = {"schema": "raysearch.verdict/1", "passed": False, "feedback": str(no)}
    finally:
        sys.path[:] = path
        sys.modules.pop("model", None)
    accuracy.write_verdict(result, found)
    return read_verdict(result)


def failed(found: VerdictResult) -> list[str]:
    assert found.passed == all(case.passed for case in found.cases)
    return [case.name for case in found.cases if not case.passed]


def test_the_example_by_hand(target: Path) -> None:
    done = subprocess.run(
        arguments(str(target), str(target / "scratch")),
        cwd=target / "accuracy_checker",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = read_verdict(target / "scratch" / "result.json")
    assert found.passed, found.feedback
    assert [case.name for case in found.cases] == ["logits", "greedy audit", "sampling"]
    assert all("sees " in case.detail for case in found.cases)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        pytest.param("np.tanh(state @ mix + embed[token])", "np.tanh(embed[token])", "logits", id="no state"),
        pytest.param(
            "rows.append(row.tolist())",
            "rows.append((row if len(rows) < 32 else row[::-1]).tolist())",
            "logits",
            id="garbage after 32",
        ),
        pytest.param('asked["tokens"]', 'asked["tokens"] // 2', "greedy audit", id="half", marks=slow),
        pytest.param("wrote.append(int(row.argmax()))", "wrote.append(7)", "greedy audit", id="constant", marks=slow),
        pytest.param('/ asked["temperature"]', "/ 1.0", "sampling", id="temperature", marks=slow),
        pytest.param('< asked["top_p"]', "< 1", "sampling", id="truncation"),
        pytest.param(
            "json.dump(answer,",
            'answer["sampled"] = [s[:1] * len(s) for s in answer["sampled"]]; json.dump(answer,',
            "sampling",
            id="one sample",
            marks=slow,
        ),
    ],
)
def test_the_example_refuses_what_is_wrong(target: Path, old: str, new: str, named: str) -> None:
    found = verdict_on(target, (old, new))
    assert named in failed(found)
    assert found.feedback.startswith(f"{failed(found)[0]}: ")


def test_the_example_refuses_what_is_no_answer(target: Path) -> None:
    crash = verdict_on(target, ("asked = json.load(sys.stdin)", "raise SystemExit('no weights here')"))
    assert (crash.passed, crash.feedback) == (False, "the program ended with status 1: no weights here")
    short = verdict_on(target, ('answer["logits"].append(rows)', 'answer["logits"].append(rows[:32])'))
    assert short.feedback == "prompt 3 has logits of shape (32, 50): (40, 50) was asked for"
    lost = verdict_on(target, ("json.dump(answer, sys.stdout)", "json.dump(answer['logits'], sys.stdout)"))
    assert lost.feedback == "the program's answer is no JSON object with the key 'logits'"
    spoilt = verdict_on(target, ("rows.append(row.tolist())", "rows.append((row * float('nan')).tolist())"))
    assert spoilt.feedback.startswith("prompt 1 holds NaN")


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_the_example_in_the_sandbox(target: Path) -> None:
    library = [Mount(ROOT / name, f"/library/{name}") for name in ("raysearch", "evaluators")]
    done = open_sandbox("bubblewrap").run(
        arguments("/target", "/scratch"),
        cwd=Mount(target / "accuracy_checker", "/target/accuracy_checker"),
        readable=[Mount(target, "/target"), *library],
        writable=[Mount(target / "scratch", "/scratch")],
        env=clean_environment({"PYTHONPATH": "/library", "PYTHONDONTWRITEBYTECODE": "1"}),
        limits=SandboxLimits(),
        timeout_s=60.0,
    )
    assert (done.status, done.stderr, done.ended_by, done.leftovers) == (0, "", "", ())
    assert read_verdict(target / "scratch" / "result.json").passed


def test_the_example_is_short() -> None:
    assert len([line for line in CHECKER.splitlines() if line.strip()]) <= 22


def test_every_name_in_the_document_exists() -> None:
    called = set(
        re.findall(r"`((?:check|ask|run|write)_\w+|verdict|holm|align\w*|samples_needed|detectable|[A-Z]\w+)`", DOC)
    )
    assert len(called) > 15
    assert [name for name in called if not hasattr(accuracy, name)] == []
    assert [name for name in accuracy.__all__ if name.startswith("check_") and name not in called] == []


def test_the_samples_in_the_table() -> None:
    rows = re.findall(r"^\| (0\.\d\d) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", DOC, re.MULTILINE)
    assert len(rows) == 3
    for effect, *told in rows:
        found = [
            samples_needed(float(effect), 0.001, 0.9, cells=cells, prompts=prompts)
            for cells, prompts in ((2, 1), (20, 1), (20, 20), (None, 1))
        ]
        assert [f"{number:,}" for number in found] == told


def test_the_shares_in_the_text() -> None:
    power = share_power(1000, 0.92, "")
    assert power
    assert round(power.effect, 3) == 0.092
    assert binom.sf(80, 1000, 0.05) < 1e-4
    assert round(binom.sf(8, 100, 0.05), 2) == 0.06


def test_the_tolerances_in_the_table() -> None:
    for name, bits, factor in (("fp64", 53, 16), ("fp32", 24, 16), ("fp16", 11, 1), ("tf32", 11, 1), ("bf16", 8, 1)):
        u = factor * 2.0**-bits
        assert TOLERANCES[name] == Tolerance(2 * u, 8 * u, 2 * u)
    assert set(
        re.findall(r"`(\w+)`", DOC[DOC.index("| tolerance | u") : DOC.index("They are for one product")])
    ) == set(TOLERANCES)
