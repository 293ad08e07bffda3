"""Profilers at work, in real sandboxes, on programs whose hot spot is known and on programs that mean harm."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from profiled import SANDBOXES, World, by_name, needs_bubblewrap, needs_linux

from evaluators.profilers import running
from evaluators.profilers.auto import Auto
from evaluators.profilers.linux import Linux
from evaluators.profilers.perf import Perf
from evaluators.profilers.pyspy import PySpy
from evaluators.profilers.running import OBSERVED, ToolProfiler, Wrapped
from raysearch.errors import EvaluatorFault, Refused, Void
from raysearch.testing.workspace import FolderWorkspace, write_files

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
