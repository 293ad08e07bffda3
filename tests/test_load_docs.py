"""The example of docs/serving-benchmarks.md, as it stands there: a target's benchmark, run as raysearch runs one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from evaluators.results import read_metrics
from raysearch.process import clean_environment
from raysearch.sandbox import Mount, open_sandbox
from raysearch.target import SandboxLimits

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "serving-benchmarks.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", DOC, re.DOTALL)
BENCHMARK, SERVER, SHOUT = (text for kind, text in BLOCKS if kind == "python")
SHORTER = {
    "Window(warm_up_s=3, measure_s=30)": "Window(warm_up_s=0.2, measure_s=1.5)",
    "tokens=32": "tokens=8",
    "streamed=True,": "streamed=True, punctuality=Punctuality(late_ms=60_000, busy_max=1e3),",
}
"""The example but for its length, and for what a busy machine does to it."""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The candidate and the benchmark, readable by all."""
    text = BENCHMARK
    for long, short in SHORTER.items():
        assert long in text
        text = text.replace(long, short)
    files = {"benchmark/benchmark.py": text, "candidate/server.py": SERVER, "reference/nothing": "", "scratch/": None}
    for name, content in files.items():
        path = tmp_path / name
        folder = path if content is None else path.parent
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        if content is not None:
            path.write_text(content, "utf-8")
            path.chmod(0o644)
    tmp_path.chmod(0o755)
    return tmp_path


def arguments(folder: str, scratch: str) -> list[str]:
    return [
        sys.executable,
        "benchmark.py",
        *("--candidate", f"{folder}/candidate", "--reference", f"{folder}/reference"),
        *("--seed", "12345", "--result", f"{scratch}/result.json"),
    ]


def check(result: Path) -> None:
    found = read_metrics(result)
    assert found.refused == ""
    metrics = {metric.name: metric for metric in found.metrics}
    for objective in tomllib.loads(DOC_OBJECTIVES)["objective"]:
        metric = metrics[objective["name"]]
        assert (metric.unit, metric.direction) == (objective["unit"], objective["direction"])
        assert metric.samples[0] > 0
    right, of = found.conditions["canaries"].removesuffix(" right").split(" of ")
    assert right == of
    assert found.conditions["tokens"] == "recounted from text: count_tokens"


DOC_OBJECTIVES = next(text for kind, text in BLOCKS if kind == "toml")


def test_the_example_is_as_short_as_promised() -> None:
    lines = [line for line in BENCHMARK.splitlines() if line.strip()]
    assert len(lines) <= 20


def test_the_example_by_hand(target: Path) -> None:
    done = subprocess.run(
        arguments(str(target), str(target / "scratch")),
        cwd=target / "benchmark",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    check(target / "scratch" / "result.json")


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_the_example_in_the_sandbox(target: Path) -> None:
    """As another user, without a network but the sandbox's own loopback device, with nothing left behind."""
    sandbox = open_sandbox("bubblewrap")
    program, scratch = Mount(target, "/target"), Mount(target / "scratch", "/scratch")
    library = [Mount(ROOT / name, f"/library/{name}") for name in ("raysearch", "evaluators")]
    done = sandbox.run(
        arguments("/target", "/scratch"),
        cwd=Mount(target / "benchmark", "/target/benchmark"),
        readable=[program, *library],
        writable=[scratch],
        env=clean_environment({"PYTHONPATH": "/library", "PYTHONDONTWRITEBYTECODE": "1"}),
        limits=SandboxLimits(),
        timeout_s=60.0,
    )
    assert (done.status, done.stderr, done.ended_by, done.leftovers) == (0, "", "", ())
    check(target / "scratch" / "result.json")


def test_a_crash_is_refused_with_its_last_words(target: Path) -> None:
    (target / "candidate" / "server.py").write_text("raise SystemExit('no weights here')", "utf-8")
    done = subprocess.run(
        arguments(str(target), str(target / "scratch")),
        cwd=target / "benchmark",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0
    assert read_metrics(target / "scratch" / "result.json").refused.endswith("no weights here")


def test_the_protocol_of_the_example_is_one() -> None:
    from evaluators import load

    names: dict[str, object] = {name: getattr(load, name) for name in load.__all__}
    exec(SHOUT, names)
    shout = names["Shout"]()  # type: ignore[operator]
    post = shout.encode(load.Request(1, "hello", 3))
    assert (post.path, post.body, post.framing) == ("/shout", b"3 hello", load.Lines)
    assert shout.decode(b".") == load.Piece(last=True)


def test_every_name_in_the_document_exists() -> None:
    from evaluators import load

    called = set(re.findall(r"`([A-Z]\w+)\(", DOC)) - {"OpenLoop"}
    assert called
    assert [name for name in called if not hasattr(load, name)] == []
    for name in ("punctuality", "wrong_length_max", "failed_max", "streamed", "repeats", "tolerance", "percentiles"):
        assert name in load.Scenario.__dataclass_fields__
