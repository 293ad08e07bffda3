"""The command evaluators on real processes: what is a verdict, what is a score, and what is neither."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluators import results
from evaluators.command import CASES_MAX, CommandBenchmark, CommandJudge
from evaluators.results import FEEDBACK_BYTES_MAX, clean, read_bytes, read_metrics, read_verdict
from raysearch.errors import EvaluatorFault, Refused, Void
from raysearch.protocols import Completed, Workspace
from raysearch.sandbox import Mount, open_sandbox
from raysearch.target import EvaluatorCommand, SandboxLimits, Target
from raysearch.types import Brief, Case, Commit, Measurement, Objective, Verdict

ROOT = Path(__file__).parents[1]
RNG = random.Random(0)
GOOD_METRICS: dict[str, Any] = {
    "schema": "raysearch.metrics/1",
    "metrics": [
        {"name": "score", "samples": [1, 2.5], "unit": "points", "direction": "max"},
        {"name": "cost", "samples": [3.0], "direction": "min", "unit": "s", "conditions": {"cores": 2, "hot": True}},
        {"name": "side", "samples": [0.5], "direction": "max"},
    ],
    "conditions": {"device": "cpu", "cores": 1},
}
GOOD_VERDICT: dict[str, Any] = {"schema": "raysearch.verdict/1", "passed": True}


@dataclass(frozen=True)
class Folders:
    """A workspace whose commands are plain child processes."""

    path: Path
    target: Target
    scratch: Path
    evaluation_seed: int = 42
    pretend: Mapping[str, object] | None = None

    def show(self, commit: Commit, path: str) -> str:
        raise FileNotFoundError(path)

    def diff(self, old: Commit, new: Commit) -> str:
        return ""

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        cwd: str = "{candidate}",
        writable: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        words = {
            "{candidate}": self.path,
            "{reference}": self.target.reference,
            "{target}": self.target.root,
            "{scratch}": self.scratch,
        }

        def filled(word: str) -> str:
            for name, path in words.items():
                word = word.replace(name, str(path))
            return word

        argv = [sys.executable if word == "python" else filled(word) for word in command]
        began = time.monotonic()
        done = subprocess.run(
            argv, cwd=filled(cwd), env={**(env or {}), "PATH": os.environ["PATH"]}, capture_output=True, check=False
        )
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        completed = Completed(done.returncode, out, err, time.monotonic() - began)
        return replace(completed, **(self.pretend or {}))  # type: ignore[arg-type]


@pytest.fixture
def workspace(tmp_path: Path) -> Folders:
    root = tmp_path / "target"
    for name in ("target/reference", "target/accuracy_checker", "target/benchmark", "candidate", "scratch"):
        (tmp_path / name).mkdir(parents=True)
    target = Target(
        name="t",
        root=root,
        objective="",
        objectives=(Objective("score", "max", "points", primary=True), Objective("cost", "min")),
        reference=root / "reference",
        checker=EvaluatorCommand(("python", "check.py", "--extra"), root / "accuracy_checker", 60),
        benchmark=EvaluatorCommand(("python", "bench.py"), root / "benchmark", 70),
        environment={"FLAVOUR": "plain"},
    )
    return Folders(tmp_path / "candidate", target, tmp_path / "scratch")


def checking(workspace: Folders, script: str) -> Folders:
    (workspace.target.checker.folder / "check.py").write_text(script)
    return workspace


def measuring(workspace: Folders, script: str) -> Folders:
    (workspace.target.benchmark.folder / "bench.py").write_text(script)
    return workspace


def writes(result: object) -> str:
    """A script that writes ``result``, as JSON unless it is text already."""
    text = result if isinstance(result, str) else json.dumps(result)
    return (
        "import sys\n"
        "place = sys.argv[sys.argv.index('--result') + 1]\n"
        f"open(place, 'wb').write({text.encode('utf-8', 'surrogatepass')!r})\n"
    )


def judge(workspace: Workspace) -> Verdict:
    return CommandJudge().judge(workspace, Brief(), RNG)


def measure(workspace: Workspace) -> Sequence[Measurement]:
    return CommandBenchmark().measure(workspace, RNG)


def fault(call: object, workspace: Workspace) -> str:
    with pytest.raises(EvaluatorFault) as caught:
        judge(workspace) if call is judge else measure(workspace)
    return str(caught.value)


def test_the_checker_is_called_as_promised(workspace: Folders) -> None:
    script = """\
import json, os, sys
from pathlib import Path
arguments = dict(zip(sys.argv[2::2], sys.argv[3::2]))
feedback = json.dumps([sys.argv[1], arguments, os.getcwd(), os.environ["FLAVOUR"]])
result = {"schema": "raysearch.verdict/1", "passed": False, "feedback": feedback}
Path(arguments["--result"]).write_text(json.dumps(result))
"""
    verdict = judge(checking(workspace, script))
    extra, arguments, cwd, flavour = json.loads(verdict.feedback)
    assert not verdict.passed
    assert (extra, flavour, cwd) == ("--extra", "plain", str(workspace.target.checker.folder))
    assert arguments["--candidate"] == str(workspace.path)
    assert arguments["--reference"] == str(workspace.target.reference)
    assert arguments["--seed"] == "42"
    assert Path(arguments["--result"]).parent == workspace.scratch


def test_a_whole_verdict(workspace: Folders) -> None:
    result = {
        **GOOD_VERDICT,
        "passed": False,
        "feedback": "wrong\nsum",
        "cases": [{"name": "a", "passed": True}, {"name": "b", "passed": False, "detail": "2 != 3"}],
        "conditions": {"tolerance": 0, "exact": True, "python": "3"},
    }
    expected = Verdict(
        False,
        "wrong\nsum",
        (Case("a", True), Case("b", False, "2 != 3")),
        {"tolerance": "0", "exact": "true", "python": "3"},
    )
    assert judge(checking(workspace, writes(result))) == expected
    assert judge(checking(workspace, writes(GOOD_VERDICT))) == Verdict(True)


def test_a_no_without_feedback_gets_it_from_its_cases(workspace: Folders) -> None:
    cases = [{"name": "a", "passed": False, "detail": "2 != 3"}, {"name": "b", "passed": False}]
    verdict = judge(checking(workspace, writes({**GOOD_VERDICT, "passed": False, "cases": cases})))
    assert verdict.feedback == "- a: 2 != 3\n- b"


def test_many_cases_are_cut_and_failed_ones_kept(workspace: Folders) -> None:
    cases = [{"name": str(number), "passed": number < 500} for number in range(510)]
    verdict = judge(checking(workspace, writes({**GOOD_VERDICT, "passed": False, "cases": cases})))
    assert len(verdict.cases) == CASES_MAX
    assert [case.name for case in verdict.cases[:10]] == [str(number) for number in range(500, 510)]
    assert verdict.conditions["cases"] == "100 of 510 kept, failed ones first"


def test_feedback_is_cleaned_and_capped(workspace: Folders) -> None:
    dirty = "\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b(B tab\there\r\nnull\x00\x08 \u202etrick \ud800"
    verdict = judge(checking(workspace, writes({**GOOD_VERDICT, "passed": False, "feedback": dirty})))
    assert verdict.feedback == "red  tab\there\nnull trick ?"
    verdict = judge(checking(workspace, writes({**GOOD_VERDICT, "passed": False, "feedback": "é" * 100_000})))
    assert FEEDBACK_BYTES_MAX - 10 <= len(verdict.feedback.encode()) <= FEEDBACK_BYTES_MAX
    assert "(200000 bytes, the middle left out)" in verdict.feedback


@pytest.mark.parametrize(
    ("ended_by", "expected"),
    [
        ("time", "time limit of 60 s"),
        ("memory", "memory limit of 4096 MB"),
        ("cpu", "processor time limit of 3600 s"),
        ("processes", "limit of 256 processes"),
        ("output", "output limit of 1024 kB"),
        ("files", "limit of 1024 MB of files"),
        ("moonlight", "limit of moonlight"),
    ],
)
@pytest.mark.parametrize("status", [0, 1, -9])
def test_a_limit_is_the_candidates_doing(workspace: Folders, ended_by: str, expected: str, status: int) -> None:
    limited = replace(workspace, pretend={"ended_by": ended_by, "status": status})
    verdict = judge(checking(limited, writes(GOOD_VERDICT)))
    assert not verdict.passed
    assert f"went over its {expected} while it was checked" in verdict.feedback
    with pytest.raises(Refused, match=expected.replace("of 60 s", "of 70 s")):
        measure(measuring(limited, writes(GOOD_METRICS)))


def test_a_process_left_running_is_a_no(workspace: Folders) -> None:
    leaving = replace(workspace, pretend={"leftovers": ("daemon", "sl\x1b[1meep")})
    verdict = judge(checking(leaving, writes(GOOD_VERDICT)))
    assert verdict == Verdict(False, "The program left processes running after it was checked: daemon, sleep.")
    many = replace(workspace, pretend={"leftovers": tuple("abcdefg"), "status": 1, "stderr": "crash"})
    verdict = judge(checking(many, writes(GOOD_VERDICT)))
    assert "a, b, c, d, e and 2 more. (exit status 1)\nIt printed last:\ncrash" in verdict.feedback
    with pytest.raises(Refused, match="left processes running after it was measured: daemon"):
        measure(measuring(leaving, writes(GOOD_METRICS)))


def test_cancelled_says_nothing_about_the_candidate(workspace: Folders) -> None:
    cancelled = replace(workspace, pretend={"ended_by": "cancelled"})
    assert "cancelled" in fault(judge, checking(cancelled, writes(GOOD_VERDICT)))
    assert "cancelled" in fault(measure, measuring(cancelled, writes(GOOD_METRICS)))


def test_whole_metrics(workspace: Folders) -> None:
    assert measure(measuring(workspace, writes(GOOD_METRICS))) == (
        Measurement("score", (1.0, 2.5), "points", "max", {"device": "cpu", "cores": "1"}),
        Measurement("cost", (3.0,), "s", "min", {"device": "cpu", "cores": "2", "hot": "true"}),
        Measurement("side", (0.5,), "", "max", {"device": "cpu", "cores": "1"}),
    )


def test_a_benchmark_may_refuse_a_candidate(workspace: Folders) -> None:
    result = {"schema": "raysearch.metrics/1", "refused": "answers differ from call to call"}
    with pytest.raises(Refused, match="The benchmark refused it: answers differ"):
        measure(measuring(workspace, writes(result)))
    both = {**GOOD_METRICS, "refused": "x"}
    assert "both `refused` and metrics" in fault(measure, measuring(workspace, writes(both)))


def changed(**metric: object) -> dict[str, Any]:
    """GOOD_METRICS with the first metric changed."""
    first = {**GOOD_METRICS["metrics"][0], **metric}
    return {**GOOD_METRICS, "metrics": [first, *GOOD_METRICS["metrics"][1:]]}


def without(name: str) -> dict[str, Any]:
    first = {key: value for key, value in GOOD_METRICS["metrics"][0].items() if key != name}
    return {**GOOD_METRICS, "metrics": [first, *GOOD_METRICS["metrics"][1:]]}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("12", "malformed result"),
        ("null", "malformed result"),
        ("[]", "malformed result"),
        ("[" * 100_000, "not JSON"),
        ("9" * 5000, "not JSON"),
        (b"\xff\xfe".decode("latin-1"), "not JSON"),
        ("\ud800", "not JSON"),
        ('{"schema": "raysearch.metrics/1", "schema": "raysearch.metrics/1"}', "the key 'schema' twice"),
        (json.dumps(changed(samples=[float("nan")])), "the result holds NaN"),
        (json.dumps(changed(samples=[float("inf")])), "the result holds Infinity"),
        (json.dumps(changed(samples=[-float("inf")])), "the result holds -Infinity"),
        (json.dumps(changed()).replace("2.5", "1e999"), "metrics.0.samples.1 should be a finite number, not inf"),
        (json.dumps(changed()).replace("2.5", "1" + "0" * 400), "metrics.0.samples.1"),
        (changed(samples=[]), "metrics.0.samples"),
        (changed(samples=3.5), "metrics.0.samples should be a list, not 3.5"),
        (changed(samples=[True]), "metrics.0.samples.0 should be a number, not True"),
        (changed(samples=["1"]), "metrics.0.samples.0 should be a number, not '1'"),
        (changed(samples=[None]), "metrics.0.samples.0"),
        (changed(samples=[1.0] * 10_001), "metrics.0.samples"),
        (changed(direction="up"), "metrics.0.direction"),
        (changed(direction="min"), "direction 'min'; the target declares 'max'"),
        (changed(unit="s"), "in unit 's'; the target declares 'points'"),
        (changed(unit=3), "metrics.0.unit"),
        (changed(name="other"), "objective 'score' is missing from the result, which holds other, cost, side"),
        (changed(name="a b"), "metrics.0.name"),
        (changed(name="cost"), "metric 'cost' twice"),
        (changed(conditions={"a": [1]}), "metrics.0.conditions.a"),
        (changed(conditions=[]), "metrics.0.conditions"),
        (changed(value=3), "unknown key 'metrics.0.value'"),
        (changed(sample=[3]), "Did you mean 'samples'?"),
        (without("direction"), "'metrics.0.direction' is missing"),
        (without("samples"), "'metrics.0.samples' is missing"),
        ({**GOOD_METRICS, "metrics": []}, "which holds no metric at all"),
        ({**GOOD_METRICS, "schema": "raysearch.metrics/2"}, "schema should be 'raysearch.metrics/1'"),
        ({**GOOD_METRICS, "schema": "raysearch.verdict/1"}, "schema should be 'raysearch.metrics/1'"),
        ({"metrics": GOOD_METRICS["metrics"]}, "'schema' is missing"),
        ({"score": 3}, "unknown key 'score'"),
    ],
)
def test_what_is_no_score(workspace: Folders, result: object, expected: str) -> None:
    message = fault(measure, measuring(workspace, writes(result)))
    assert expected in message
    assert message.startswith("benchmark: ")
    assert len(message) < 1500


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("yes", "not JSON"),
        ({**GOOD_VERDICT, "passed": 1}, "passed should be a boolean, not 1"),
        ({**GOOD_VERDICT, "passed": "yes"}, "passed should be a boolean, not 'yes'"),
        ({"schema": "raysearch.verdict/1"}, "'passed' is missing"),
        ({**GOOD_VERDICT, "pased": True}, "unknown key 'pased'. Did you mean 'passed'?"),
        ({**GOOD_VERDICT, "feedback": ["x"]}, "feedback should be a string"),
        ({**GOOD_VERDICT, "cases": [{"name": "a"}]}, "'cases.0.passed' is missing"),
        ({**GOOD_VERDICT, "cases": [{"name": "a", "passed": False}]}, "case 'a' did not pass"),
        (GOOD_METRICS, "schema should be 'raysearch.verdict/1'"),
    ],
)
def test_what_is_no_verdict(workspace: Folders, result: object, expected: str) -> None:
    assert expected in fault(judge, checking(workspace, writes(result)))


def test_an_exit_status_is_no_verdict(workspace: Folders) -> None:
    script = writes(GOOD_VERDICT) + "print('the end of it', file=sys.stderr)\nsys.exit(3)\n"
    message = fault(judge, checking(workspace, script))
    assert "exit status 3; expected 0" in message
    assert message.endswith("It printed last:\nthe end of it")
    assert "signal 9" in fault(judge, checking(workspace, "import os\nos.kill(os.getpid(), 9)\n"))
    assert "ModuleNotFoundError" in fault(measure, measuring(workspace, "import nothing_of_this_name\n"))


def test_a_result_that_was_not_written_now_does_not_count(workspace: Folders) -> None:
    (workspace.scratch / "result.json").write_text(json.dumps(GOOD_VERDICT))
    assert "was not written" in fault(judge, checking(workspace, "pass"))
    (workspace.scratch / "result.json").mkdir()
    assert "in the way" in fault(judge, checking(workspace, writes(GOOD_VERDICT)))


def test_only_a_plain_file_is_a_result(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(json.dumps(GOOD_VERDICT))
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, expected in {
        "link": "a link",
        "pipe": "no plain file",
        "folder": "no plain file",
        "x": "not written",
    }.items():
        with pytest.raises(EvaluatorFault, match=expected):
            read_bytes(tmp_path / name)
    (tmp_path / "large").write_bytes(b" " * 1_000_001)
    with pytest.raises(EvaluatorFault, match="larger than 1000 kB"):
        read_verdict(tmp_path / "large")
    (tmp_path / "secret").chmod(0o600)
    assert read_verdict(tmp_path / "secret").passed


def test_an_objective_without_a_declared_unit_takes_any(workspace: Folders) -> None:
    assert [m.unit for m in measure(measuring(workspace, writes(GOOD_METRICS)))] == ["points", "s", ""]


def test_the_published_schemas_are_current() -> None:
    for name, text in results.schemas().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, "run: python -m evaluators.results docs"


def test_the_published_schemas_say_what_is_accepted() -> None:
    schemas = {name: json.loads(text) for name, text in results.schemas().items()}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(GOOD_METRICS, schemas["metrics.schema.json"])
    jsonschema.validate(GOOD_VERDICT, schemas["verdict.schema.json"])
    for wrong in (changed(samples=[]), changed(direction="up"), changed(value=3), without("samples")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schemas["metrics.schema.json"])


def test_the_examples_in_the_documentation_are_accepted(tmp_path: Path) -> None:
    text = (ROOT / "docs/results-schema.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in text.split("```json\n")[1:]]
    assert len(blocks) == 3
    for number, block in enumerate(blocks):
        path = tmp_path / str(number)
        path.write_text(block)
        _ = read_verdict(path) if "raysearch.verdict/1" in block else read_metrics(path)


def test_metrics_written_as_the_examples_do_survive_the_trip(tmp_path: Path) -> None:
    (tmp_path / "r").write_text(json.dumps(GOOD_METRICS))
    assert [metric.name for metric in read_metrics(tmp_path / "r").metrics] == ["score", "cost", "side"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
METRIC_KEYS = st.sampled_from(["name", "samples", "unit", "direction", "conditions", "other"])
KEYS = st.sampled_from(["schema", "metrics", "conditions", "refused", "passed", "feedback", "cases", "other"])
MUTATED = st.one_of(
    st.builds(lambda key, value: changed(**{key: value}), METRIC_KEYS, JSON),
    st.builds(lambda key, value: {**GOOD_METRICS, key: value}, KEYS, JSON),
    st.builds(lambda key, value: {**GOOD_VERDICT, key: value}, KEYS, JSON),
    JSON,
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MUTATED.map(json.dumps).map(str.encode) | st.binary(max_size=60))
def test_no_result_makes_anything_but_a_result_or_a_fault(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    for read in (read_verdict, read_metrics):
        try:
            found = read(path)
        except EvaluatorFault as problem:
            str(problem).encode("utf-8")
        else:
            found.model_dump_json().encode("utf-8")


@given(st.text(), st.integers(100, 300))
def test_clean_text_is_short_and_printable(text: str, bytes_max: int) -> None:
    cleaned = clean(text, bytes_max)
    assert len(cleaned.encode("utf-8")) <= bytes_max
    assert not any(ord(char) < 32 and char not in "\n\t" for char in cleaned)


def test_an_evaluator_may_declare_its_work_void(workspace: Folders) -> None:
    script = "import sys\nprint('void: the generator came late', file=sys.stderr)\nsys.exit(75)\n"
    with pytest.raises(Void, match="came late") as caught:
        measure(measuring(workspace, script))
    assert caught.value.retryable
    with pytest.raises(Void):
        judge(checking(workspace, script))


def test_evaluators_can_use_what_comes_with_raysearch(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    done = open_sandbox("bubblewrap").run(
        [sys.executable, "-c", "import evaluators.load, raysearch; print(raysearch.__name__)"],
        cwd=Mount(tmp_path, "/place"),
        readable=[Mount(tmp_path, "/place")],
        env={"PATH": "/usr/bin:/bin"},
        limits=SandboxLimits(),
        timeout_s=30,
    )
    assert done.stdout.strip() == "raysearch", done.stderr
