"""Roofline, PyTorch, and every door that profilers have: plug-ins, the kit for authors, agents."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from failing import failing
from profiled import World, needs_bubblewrap, needs_linux

from evaluators.profilers.auto import Auto
from evaluators.profilers.instruments import Instruments
from evaluators.profilers.known import ABOUT, ADVICE, PROFILERS, explained
from evaluators.profilers.linux import Linux
from evaluators.profilers.mcp import server
from evaluators.profilers.nsys import Nsys
from evaluators.profilers.perf import Perf
from evaluators.profilers.pyspy import PySpy
from evaluators.profilers.pytorch import Torch
from evaluators.profilers.roofline import Peaks, Roofline, headroom, rates
from evaluators.profilers.sample import Sample
from evaluators.results import MetricsResult
from raysearch import plugins
from raysearch.errors import EvaluatorFault
from raysearch.profile import Finding, Profile
from raysearch.protocols import Completed, Guest, Profiler, Workspace
from raysearch.testing.conformance import ProfilerConformance
from raysearch.testing.workspace import FolderWorkspace, write_files

# -- roofline -------------------------------------------------------------------------------------------------


def test_roofline_with_given_peaks(tmp_path: Path) -> None:
    profile = World(tmp_path, "none").profile(Roofline(peak_flop_per_s=12e9, peak_bytes_per_s=50e9))
    shares = {finding.component: round(finding.share, 3) for finding in profile.findings}
    assert shares == {"(headroom)": 0.75, "floating-point arithmetic": 0.25}
    assert "4 times faster" in profile.summary
    assert profile.conditions["peaks"] == "given"


@pytest.mark.slow
@needs_bubblewrap
def test_roofline_measures_the_peaks_in_the_sandbox(tmp_path: Path) -> None:
    profile = World(tmp_path, "bubblewrap").profile(Roofline(probe_s=0.1))
    assert profile.conditions["peaks"].startswith("measured on")
    assert {finding.component for finding in profile.findings} == {"(headroom)", "floating-point arithmetic"}


def test_the_roof_is_the_lower_one() -> None:
    reading = headroom(1e9, 40e9, Peaks(100e9, 50e9, "given"), took_s=2.0)
    memory, room = reading.costs
    assert (memory.bound, memory.seconds, room.seconds) == ("memory", pytest.approx(1.6), pytest.approx(0.4))
    assert "1.0% of the peak" in memory.evidence
    assert "0.025 FLOP a byte" in memory.evidence
    above = headroom(300e9, 0.0, Peaks(100e9, 50e9, "given"), took_s=2.0)
    assert (above.costs[1].seconds, "above its peak" in above.summary) == (0.0, True)
    with pytest.raises(EvaluatorFault, match="not above 0"):
        headroom(1.0, 1.0, Peaks(0.0, 1.0, "given"), took_s=1.0)


def test_rates_are_told_by_their_units() -> None:
    def result(*metrics: tuple[str, str, float]) -> MetricsResult:
        listed = [{"name": n, "unit": unit, "samples": [value], "direction": "max"} for n, unit, value in metrics]
        return MetricsResult.model_validate({"schema": "raysearch.metrics/1", "metrics": listed})

    assert rates(result(("a", "GFLOP/s", 2.0), ("b", "MB/s", 3.0))) == {"FLOP/s": 2e9, "B/s": 3e6}
    with pytest.raises(EvaluatorFault, match=r"no rate in FLOP/s or B/s; its metrics: time \(s\)"):
        rates(result(("time", "s", 2.0)))


# -- PyTorch --------------------------------------------------------------------------------------------------

FAKE_TORCH = """
    import contextlib, json, time

    class cuda:
        is_available = staticmethod(lambda: False)

    class profiler:
        class ProfilerActivity:
            CPU = CUDA = 1

        class profile:
            def __init__(self, activities): self.events = EVENTS
            def start(self): pass
            def stop(self): pass
            def export_chrome_trace(self, path):
                json.dump({"traceEvents": self.events}, open(path, "w"))

        @staticmethod
        @contextlib.contextmanager
        def record_function(name):
            began = time.perf_counter()
            yield
            EVENTS.append({"ph": "X", "cat": "user_annotation", "name": name, "pid": 1, "tid": 1, "ts": began * 1e6,
                           "dur": (time.perf_counter() - began) * 1e6})

    EVENTS = []
    import sys
    sys.modules["torch.profiler"] = profiler
    __path__ = []
"""


@pytest.mark.parametrize("scope", ["script", "marked"])
def test_torch_wraps_the_script_or_what_it_marks(scope: str, tmp_path: Path) -> None:
    """A stand-in has PyTorch's interface here; what the real one writes is in the captures."""
    program = """
        import torch
        from evaluators.profilers.torch_trace import traced
        def main():
            with torch.profiler.record_function("warm-up"): pass
            for step in ("one", "two"):
                with traced(), torch.profiler.record_function(step):
                    sum(range(100_000))
    """
    world = World(tmp_path, "none", program)
    write_files(world.workspace.target.benchmark.folder, {"torch.py": dedent(FAKE_TORCH)})
    (tmp_path / "torch_home").mkdir()
    shutil.copy(world.workspace.target.benchmark.folder / "torch.py", tmp_path / "torch_home" / "torch.py")
    target = replace(world.workspace.target, environment={"PYTHONPATH": str(tmp_path / "torch_home")})
    assert isinstance(world.workspace, FolderWorkspace)
    profile = Torch(scope=scope).profile(replace(world.workspace, target=target), "", random.Random(1))
    assert profile.conditions["traced"] == "what the benchmark marked"
    named = {finding.component for finding in profile.findings}
    assert "one" in named
    assert "warm-up" not in named


def test_torch_where_there_is_none_says_so(tmp_path: Path) -> None:
    if "has no PyTorch" not in (reason := Torch().obstacle(World(tmp_path, "none").workspace)):
        assert reason == ""
        return
    assert "pip install torch" in reason


# -- every door -----------------------------------------------------------------------------------------------


class TestLinux(ProfilerConformance):
    def make(self) -> Profiler:
        return Linux()


@pytest.mark.slow
class TestAuto(ProfilerConformance):
    def make(self) -> Profiler:
        return Auto(plain_runs=0)


def test_the_kit_finds_mistakes(tmp_path: Path) -> None:
    class Boastful:
        def profile(self, workspace: Workspace, focus: str, rng: random.Random) -> Profile:
            (workspace.path / "left.txt").write_text("x")
            if "no such" in focus or "VALUE" not in (workspace.path / "answer.py").read_text():
                raise ValueError("what?")
            return Profile("mine", (Finding("a", 0.4), Finding("", 0.9, "magic")), 1.0)  # type: ignore[arg-type]

    class Kit(ProfilerConformance):
        def make(self) -> Profiler:
            return Boastful()

    wrong = failing(Kit(), tmp_path)
    assert wrong == {name for name in dir(Kit) if name.startswith("test_")}
    with pytest.raises(NotImplementedError, match=r"def make\(self\): return Mine\(\)"):
        ProfilerConformance().make()


def test_all_are_plug_ins_and_say_whether_they_work() -> None:
    assert set(plugins.available("profilers")) == set(PROFILERS) == set(ABOUT)
    for name, make in PROFILERS.items():
        assert plugins.find("profilers", name) is make
        assert make().available() == "" or name.replace("auto", "") in make().available()
    assert "macOS" in Sample().available() or sys.platform == "darwin"
    assert "macOS" in Instruments().available() or sys.platform == "darwin"
    assert "nsys" in (Nsys().available() or "nsys")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Linux(sample_ms=0),
        lambda: PySpy(rate=0),
        lambda: Perf(rate=-1),
        lambda: Torch(scope="all"),
        lambda: Auto(top=0),
    ],
)
def test_options_out_of_range_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"from|is `script`"):
        wrong()


def test_a_finding_is_explained() -> None:
    profile = Profile("linux", (Finding("hot", 0.5, "memory", "line 3"),), 4.0, 1.5)
    said = explained(profile, profile.findings[0])
    assert "50.0% of the profiled time, 2 s of 4 s" in said
    assert ADVICE["memory"] in said
    assert "at most 2 times as fast" in said
    assert "1.50 times as long" in said


# -- for agents -----------------------------------------------------------------------------------------------

CLIENT = """
    import json, subprocess, sys
    started = subprocess.Popen(json.loads(sys.argv[1]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    def ask(number, method, params):
        started.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\\n")
        started.stdin.flush()
        while True:
            said = json.loads(started.stdout.readline())
            if said.get("id") == number:
                return said["result"]
    client = {"name": "test", "version": "1"}
    told = [ask(0, "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client})]
    started.stdin.write(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}) + "\\n")
    told.append(ask(1, "tools/list", {}))
    for number, (name, arguments) in enumerate(json.loads(sys.argv[2]), 2):
        told.append(ask(number, "tools/call", {"name": name, "arguments": arguments}))
    started.stdin.close()
    started.wait(20)
    print(json.dumps(told))
"""


def asked(done: Completed | subprocess.CompletedProcess[str]) -> tuple[list[str], list[tuple[bool, str]]]:
    """Names of the tools, and what each call said, and whether it went wrong."""
    told = json.loads(done.stdout)
    texts = [(said.get("isError", False), said["content"][0]["text"]) for said in told[2:]]
    return [tool["name"] for tool in told[1]["tools"]], texts


@needs_linux
@needs_bubblewrap
def test_an_agent_gets_profiles_of_its_own_program_in_its_own_sandbox(tmp_path: Path) -> None:
    workspace = World(tmp_path, "bubblewrap").workspace
    serving = server(workspace.target)
    (tmp_path / "home").mkdir()
    calls: list[Any] = [
        ["profile", {"tool": "linux", "focus": "tidy"}],
        ["explain_finding", {}],
    ]
    command = (sys.executable, "-I", "-c", dedent(CLIENT), json.dumps(serving.command), json.dumps(calls))
    done = workspace.host(Guest(command=command, home=tmp_path / "home"), timeout_s=100)
    assert done.status == 0, done.stderr
    tools, ((wrong, profile), (_, more)) = asked(done)
    assert tools == ["list_profilers", "profile", "explain_finding"]
    assert not wrong
    assert "crunch (program.py)" in profile
    assert "Of 'tidy'" in profile
    assert "of a plain run; never scored" in profile
    assert "usually" in more or "Do less" in more or "Let independent" in more


@needs_linux
def test_a_person_starts_the_server_and_mistakes_are_said(tmp_path: Path) -> None:
    workspace = World(tmp_path, "none").workspace
    words = [sys.executable, "-m", "evaluators.profilers.mcp", "--sandbox", "none", "--folder", str(workspace.path)]
    words += ["--target", str(workspace.target.root)]
    calls: list[Any] = [
        ["profile", {"tool": "lnux"}],
        ["profile", {"tool": "linux", "folder": str(tmp_path / "absent")}],
        ["profile", {"tool": "linux", "target": str(tmp_path)}],
        ["profile", {"tool": "sample"}],
        ["explain_finding", {"profile": "p9"}],
    ]
    command = [sys.executable, "-c", dedent(CLIENT), json.dumps(words), json.dumps(calls)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    _, said = asked(done)
    assert all(wrong for wrong, _ in said)
    for (_, text), wanted in zip(
        said, ("Did you mean 'linux'", "no folder", "objective", "macOS", "no profile"), strict=True
    ):
        assert wanted in text


@needs_linux
@needs_bubblewrap
@pytest.mark.slow
def test_the_server_finds_out_what_works(tmp_path: Path) -> None:
    workspace = World(tmp_path, "none").workspace
    words = [sys.executable, "-m", "evaluators.profilers.mcp", "--folder", str(workspace.path)]
    words += ["--target", str(workspace.target.root)]
    command = [sys.executable, "-c", dedent(CLIENT), json.dumps(words), json.dumps([["list_profilers", {}]])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    _, ((wrong, listed),) = asked(done)
    assert not wrong
    lines = {line.partition(":")[0]: line for line in listed.splitlines()}
    assert set(PROFILERS) <= set(lines)
    assert lines["linux"].endswith("Works here.")
    assert "NOT HERE" in lines["perf"]


def test_the_example_of_a_profiler_of_ones_own() -> None:
    """What docs/profilers.md shows, on what strace prints."""
    text = (Path(__file__).parents[1] / "docs" / "profilers.md").read_text()
    code = next(block for block in text.split("```python\n") if "class Strace" in block).partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    strace = names["Strace"]()
    printed = (
        "% time     seconds  usecs/call     calls    errors syscall\n"
        "------ ----------- ----------- --------- --------- ----------------\n"
        " 75.00    0.000300           1       300           read\n"
        " 25.00    0.000100           1       100        20 openat\n"
        "------ ----------- ----------- --------- --------- ----------------\n"
        "100.00    0.000400           1       400        20 total\n"
    )
    reading = strace.read([printed.encode()], 0.001)
    assert [(cost.component, cost.seconds) for cost in reading.costs] == [("read", 0.0003), ("openat", 0.0001)]
    assert strace.wrap(["x"]).command[-1] == "x"
    assert strace.available() in ("", "strace is not installed: `apt install strace`")
