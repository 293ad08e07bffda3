"""Profilers at work: in real sandboxes, on programs whose hot spot is known, through every door that they have."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from failing import failing

from evaluators.profilers import running
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
from evaluators.profilers.running import OBSERVED, ToolProfiler, Wrapped
from evaluators.profilers.sample import Sample
from evaluators.results import MetricsResult
from raysearch import plugins
from raysearch.config.targets import load_target
from raysearch.errors import EvaluatorFault, Refused, Void
from raysearch.protocols import Completed, Guest, Profiler, Workspace
from raysearch.sandbox import open_sandbox, rulesets
from raysearch.testing.conformance import ProfilerConformance
from raysearch.testing.workspace import FolderWorkspace, write_files
from raysearch.types import Finding, Profile
from raysearch.workspace import Checkout

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="what Linux tells")
needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
needs_landlock = pytest.mark.skipif(rulesets.abi() < rulesets.SCOPED, reason="this kernel's Landlock is too old")
SANDBOXES = [pytest.param("bubblewrap", marks=needs_bubblewrap), pytest.param("landlock", marks=needs_landlock), "none"]

BENCHMARK = """
    import argparse, json, pathlib, sys
    parser = argparse.ArgumentParser()
    for name in ("candidate", "reference", "seed", "result"):
        parser.add_argument("--" + name, required=True)
    given = parser.parse_args()
    sys.path.insert(0, given.candidate)
    import program
    program.main()
    metrics = [{"name": "time", "samples": [1.0], "unit": "s", "direction": "min"},
               {"name": "rate", "samples": [3.0, 2.0, 9.0], "unit": "GFLOP/s", "direction": "max"}]
    pathlib.Path(given.result).write_text(json.dumps({"schema": "raysearch.metrics/1", "metrics": metrics}))
"""
PROGRAM = """
    import time

    def crunch(seconds):
        until, total = time.process_time() + seconds, 0
        while time.process_time() < until:
            for i in range(2000):
                total += i * i
        return total

    def tidy(seconds):
        crunch_end = time.process_time() + seconds
        while time.process_time() < crunch_end:
            sum(range(3000))

    def nap():
        time.sleep(0.2)

    def main():
        crunch(0.3)
        tidy(0.1)
        nap()
"""


class World:
    """A target whose benchmark runs ``program.main()``, and a program for it, in a sandbox of a kind."""

    def __init__(self, root: Path, kind: str, program: str = PROGRAM, benchmark: str = BENCHMARK) -> None:
        root.chmod(0o755)
        objective = '[[objective]]\nname = "time"\ndirection = "min"\nunit = "s"\nprimary = true\n'
        rules = '[checker]\ncommand = ["python", "accuracy_checker/check.py"]\n'
        rules += '[benchmark]\ncommand = ["python", "benchmark/bench.py"]\ntimeout_s = 60\n'
        files = {
            "benchmark/bench.py": dedent(benchmark),
            "accuracy_checker/check.py": "",
            "OBJECTIVE.md": "Be quick.\n",
        }
        files |= {"objectives.toml": objective, "target.toml": rules, "README.md": "A toy.\n"}
        files |= {"reference/program.py": dedent(PROGRAM)}
        target = load_target(write_files(root / "target", files))
        folder = FolderWorkspace.make(root / "job", {"program.py": dedent(program)}, target, 7)
        self.workspace: Workspace = folder
        if kind != "none":
            sandbox = open_sandbox(kind)
            self.workspace = Checkout(
                folder.path, folder.commit, folder.scratch, target, folder.repository, sandbox, 7, kept=root / "kept"
            )

    def profile(self, profiler: Profiler, focus: str = "") -> Profile:
        return profiler.profile(self.workspace, focus, random.Random(1))


def by_name(profile: Profile) -> Mapping[str, Finding]:
    return {finding.component: finding for finding in profile.findings}


# -- a known hot spot, in real sandboxes ----------------------------------------------------------------------


@needs_linux
@pytest.mark.parametrize("kind", SANDBOXES)
def test_linux_finds_the_hot_spot(kind: str, tmp_path: Path) -> None:
    """0.3 s of crunching, 0.1 s of tidying up, a nap of 0.2 s: the shares follow, on a busy machine too."""
    world = World(tmp_path, kind)
    profile = world.profile(Linux(sample_ms=2), "tidy")
    told = by_name(profile)
    crunch, tidy, nap = (
        told[name] for name in ("crunch (program.py)", "tidy (program.py)", "nap (program.py), waiting")
    )
    assert crunch == next(finding for finding in profile.findings if finding.bound == "compute")
    assert (crunch.bound, tidy.bound, nap.bound) == ("compute", "compute", "latency")
    assert crunch.share > 1.5 * tidy.share > 0.01
    assert nap.share == max(finding.share for finding in profile.findings if finding.bound == "latency")
    assert "called by main (program.py)" in crunch.evidence
    assert "`time.sleep(0.2)`" in nap.evidence
    assert sum(finding.share for finding in profile.findings) <= 1
    assert profile.total_s > 0.6
    assert profile.slowdown is not None
    assert profile.slowdown > 0
    assert "Of 'tidy': tidy" in profile.summary
    kept = json.loads((world.workspace.artifacts / f"profile-linux-{OBSERVED}").read_text())
    assert kept["wall_s"] == profile.total_s
    if kind == "landlock":
        assert "threads are not seen here" in profile.summary


@needs_linux
def test_linux_sees_threads_processes_and_programs_that_are_no_python(tmp_path: Path) -> None:
    program = """
        import subprocess, sys, threading, time

        def guarded(lock):
            with lock:
                time.sleep(0.25)

        def main():
            burn = "import time\\ndef child():\\n total = 0\\n for i in range(6_000_000): total += i\\nchild()"
            children = [subprocess.Popen([sys.executable, "-c", burn])]
            children.append(subprocess.Popen(["sh", "-c", "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done"]))
            lock = threading.Lock()
            lock.acquire()
            threading.Timer(0.2, lock.release).start()
            guarded(lock)
            for child in children:
                child.wait()
    """
    profile = World(tmp_path, "none", program).profile(Linux())
    told = by_name(profile)
    assert told["child (<string>)"].bound == "compute"
    assert told["child (<string>)"].share > 0.03
    assert told["process sh"].share > 0.005
    assert "in the program" in told["process sh"].evidence
    assert profile.conditions["Python processes"] == "2"


@needs_linux
def test_forks_that_leave_without_goodbye_are_seen(tmp_path: Path) -> None:
    program = """
        import os, time

        def forked():
            while time.process_time() < 0.35: pass

        def main():
            child = os.fork()
            if not child:
                forked()
                os._exit(0)
            os.waitpid(child, 0)
    """
    told = by_name(World(tmp_path, "none", program).profile(Linux(sample_ms=2)))
    assert told["forked (program.py)"].share == max(f.share for f in told.values() if f.bound != "latency")


@needs_linux
def test_the_program_finds_what_it_would_find_without(tmp_path: Path) -> None:
    """Its module path, its threads, a ``sitecustomize`` of the installation's own, its exit status."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("import builtins; builtins.OWN = 1\n")
    code = (
        "import sys, threading; print([p for p in sys.path if 'hook' in p], threading.active_count(), OWN); sys.exit(7)"
    )
    words = ["--report", "r.json", "--stacks", "stacks", "--poll-ms", "10", "--", sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(tmp_path / "own"), "PATH": os.environ["PATH"]}
    script = [sys.executable, "-I", "-S", str(running.OBSERVE)]
    done = subprocess.run([*script, *words], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("[] 1 1\n", "", 7)
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["status"], len(report["processes"])) == (7, 1)
    killed = subprocess.run([*script, "--report", "k.json", "--", "sh", "-c", "kill -9 $$"], cwd=tmp_path, check=False)
    assert (killed.returncode, json.loads((tmp_path / "k.json").read_text())["status"]) == (-9, -9)
    absent = subprocess.run(
        [*script, "--report", "a.json", "--", "/no/such"], cwd=tmp_path, check=False, capture_output=True
    )
    assert (absent.returncode, b"No such file" in absent.stderr) == (127, True)


@pytest.mark.skipif(not running.executable("py-spy"), reason="py-spy is not installed")
def test_py_spy_where_it_may(tmp_path: Path) -> None:
    world = World(tmp_path, "none")
    tool = PySpy()
    if reason := tool.obstacle(world.workspace):
        assert "reading the memory of another process" in reason
        return
    told = by_name(world.profile(tool))
    assert told["crunch (program.py)"].share > told["tidy (program.py)"].share > 0
    assert (world.workspace.artifacts / "profile-py-spy-py-spy.folded").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not running.executable("perf"), reason="perf is not installed")
def test_perf_where_it_may(tmp_path: Path) -> None:
    world = World(tmp_path, "none")
    tool = Perf()
    if reason := tool.obstacle(world.workspace):
        assert "perf_event_open" in reason
        return
    profile = world.profile(tool)
    assert any("python" in finding.component.lower() or "Py" in finding.component for finding in profile.findings)
    assert by_name(profile)["(waiting)"].share > 0.1


@needs_bubblewrap
@pytest.mark.parametrize(("tool", "asks"), [(PySpy(), "memory of another process"), (Perf(), "perf_event_open")])
def test_what_the_sandbox_forbids_is_found_out_and_said(tool: ToolProfiler, asks: str, tmp_path: Path) -> None:
    if tool.available():
        assert "install" in tool.available()
        return
    world = World(tmp_path, "bubblewrap")
    reason = tool.obstacle(world.workspace)
    assert asks in reason
    assert "`linux`" in reason
    with pytest.raises(EvaluatorFault, match="does not work in this sandbox"):
        world.profile(tool)


@pytest.mark.slow
@needs_linux
@needs_bubblewrap
def test_auto_takes_what_works_and_says_what_does_not(tmp_path: Path) -> None:
    profile = World(tmp_path, "bubblewrap").profile(Auto(), "crunch")
    assert profile.tool == "linux"
    assert "crunch (program.py)" in by_name(profile)
    assert "py-spy: " in profile.conditions["passed over"]


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"program.py": "import torch\n"}, ["torch", "py-spy", "linux"]),
        ({"kernel.c": "int main(){}" * 20, "program.py": "x = 1\n"}, ["instruments", "perf", "linux"]),
        ({"program.py": "x = 1\n"}, ["py-spy", "linux", "perf"]),
    ],
)
def test_auto_looks_at_what_the_target_is(files: Mapping[str, str], wanted: Sequence[str], tmp_path: Path) -> None:
    place = World(tmp_path, "none").workspace
    for name in ("program.py",):
        (place.path / name).unlink()
    write_files(place.path, files)
    names = [tool.name for tool in Auto().choices(place) if tool.name != "nsys"]
    assert names[:3] == wanted
    assert len(set(names)) == len(names)


# -- what goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "error", "said"),
    [
        ("def main(): raise SystemExit(3)", EvaluatorFault, "exit status 3"),
        ("def main(): raise SystemExit(75)", Void, "void"),
        ("import os\ndef main(): os.kill(os.getpid(), 9)", EvaluatorFault, "SIGKILL"),
        ("]]]", EvaluatorFault, "SyntaxError"),
    ],
)
def test_a_program_that_cannot_be_run(program: str, error: type[Exception], said: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=said):
        World(tmp_path, "none", program).profile(Linux())


def test_a_program_that_its_benchmark_refuses(tmp_path: Path) -> None:
    said = {"schema": "raysearch.metrics/1", "refused": "too large"}
    refusing = f"import json, sys; json.dump({said}, open(sys.argv[-1], 'w'))"
    with pytest.raises(Refused, match="too large"):
        World(tmp_path, "none", benchmark=refusing).profile(Linux())


def test_a_program_that_takes_too_long(tmp_path: Path) -> None:
    world = World(tmp_path, "none", "import time\ndef main(): time.sleep(60)")
    target = world.workspace.target
    hasty = replace(target, benchmark=replace(target.benchmark, timeout_s=0.5))
    assert isinstance(world.workspace, FolderWorkspace)
    with pytest.raises(Refused, match="nothing to profile"):
        Linux().profile(replace(world.workspace, target=hasty), "", random.Random(1))


class Forger(ToolProfiler):
    """A tool whose captures are what the test says, as a hostile program could leave them."""

    name = "forger"

    def __init__(self, make: str, broken: type[Exception] | None = None) -> None:
        super().__init__(plain_runs=0)
        self.make, self.broken = make, broken

    def available(self) -> str:
        return ""

    def wrap(self, words: Sequence[str]) -> Wrapped:
        return Wrapped(("sh", "-c", self.make, "{scratch}/capture"), ("capture",))

    def read(self, captures: Sequence[bytes], took_s: float) -> Any:
        if self.broken:
            raise self.broken("inside")
        raise EvaluatorFault(f"read {len(captures[0])} bytes")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ("true", "wrote no capture"),
        ('ln -s /etc/passwd "$0"', "cannot be read"),
        ('mkfifo "$0"', "not a regular file"),
        ('mkdir "$0"', "not a regular file"),
        ('truncate -s 80M "$0"', "larger than"),
        ('printf "\\377\\376" > "$0"', "read 2 bytes"),
        ("exit 4", "under forger: .*exit status 4"),
    ],
)
def test_captures_that_a_program_could_forge(make: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluatorFault, match=said):
        World(tmp_path, "none").profile(Forger(make))


@pytest.mark.parametrize("broken", [ValueError, KeyError, RecursionError, AttributeError])
def test_a_parser_that_stumbles_is_a_fault(broken: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(EvaluatorFault, match="its output is not what it writes"):
        World(tmp_path, "none").profile(Forger('echo x > "$0"', broken))


@needs_linux
def test_a_program_that_forges_its_own_stacks_breaks_nothing_but_its_profile(tmp_path: Path) -> None:
    """It may write where samplers write. What it says there is read strictly, and scores nothing in any case."""
    program = """
        import json, os, pathlib
        def main():
            folder = pathlib.Path(os.environ.get("RAYSEARCH_STACKS", "."))
            said = {"pid": 1, "sampler_s": 0, "looks": 1, "frames": [["/dev/zero", "\\x1b[31m" + "f" * 5000]]}
            said["stacks"] = [[1, [0], 1e9, 0, 1]]
            (folder / "stacks-1.json").write_text(json.dumps(said))
            (folder / "stacks-2.json").write_text("{")
            (folder / "stacks-3.json").symlink_to("/dev/zero")
    """
    profile = World(tmp_path, "none", program).profile(Linux(plain_runs=0))
    assert sum(finding.share for finding in profile.findings) <= 1.0001
    assert all(len(finding.component) < 300 and "\x1b" not in finding.component for finding in profile.findings)
    assert profile.slowdown is None


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
