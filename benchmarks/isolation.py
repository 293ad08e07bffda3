"""What isolation costs: one small checker, run in every way there is, the ways taking turns.

    python benchmarks/isolation.py [--count 30]

The checker imports numpy, adds up a few numbers and writes its result. ``subprocess`` is the floor: the same command,
started by Python and not confined at all. Processor time is that of every process involved, on both sides, counted by
a control group; the kernel's own work after an evaluation (taking namespaces apart) is not in it. Medians and
quartiles, in milliseconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from raysearch.errors import ConfigError
from raysearch.process import clean_environment
from raysearch.sandbox import Mount, Sandbox, cgroups, open_sandbox, warmed
from raysearch.target import SandboxLimits

CHECKER = """
import json, sys
import numpy
total = float(numpy.arange(1000.0).sum())
with open(sys.argv[1], "w") as file:
    json.dump({"passed": total == 499500.0}, file)
"""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
SETTLE_S = 0.02
"""After each evaluation, so that what ends a little later is still counted to it."""

Way = Callable[[], None]


@contextmanager
def counted() -> Iterator[Callable[[], float] | None]:
    """Processor time, in seconds, of this process and all that it starts from now on; None where nothing counts it."""
    home = cgroups.find()
    account = None if home is None else home.folders.get("cpuacct")
    if account is None or not (account / "cpuacct.usage").exists():
        yield None
        return
    group = account / f"{cgroups.PREFIX}isolation-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield lambda: int((group / "cpuacct.usage").read_text()) / 1e9
    finally:
        (account / "cgroup.procs").write_text(str(os.getpid()))
        cgroups.Group({"": group}, SandboxLimits()).remove()


def sandboxed(sandbox: Sandbox, candidate: Path, scratch: Path) -> Way:
    program, place = Mount(candidate, "/candidate"), Mount(scratch, "/scratch")
    command = [sys.executable, "checker.py", f"{sandbox.inside(place)}/result.json"]

    def evaluate() -> None:
        done = sandbox.run(
            command,
            cwd=program,
            readable=[program],
            writable=[place],
            env=clean_environment(ONE_THREAD),
            limits=SandboxLimits(),
            timeout_s=60.0,
        )
        if done.status or done.ended_by:
            sys.exit(f"the checker failed: {done}")

    return evaluate


def floor(candidate: Path, scratch: Path) -> Way:
    command = [sys.executable, "checker.py", str(scratch / "result.json")]
    env = clean_environment(ONE_THREAD)
    return lambda: subprocess.run(command, cwd=candidate, env=env, check=True, capture_output=True) and None


def ways(stack: ExitStack, folder: Path) -> Mapping[str, Way]:
    candidate, scratch = folder / "candidate", folder / "scratch"
    candidate.mkdir()
    scratch.mkdir()
    (candidate / "checker.py").write_text(CHECKER)
    found: dict[str, Way] = {"subprocess": floor(candidate, scratch)}
    for kind in ("none", "landlock", "bubblewrap"):
        try:
            sandbox = open_sandbox(kind)
        except ConfigError as error:
            print(f"{kind}: not here: {error}", file=sys.stderr)
            continue
        found[f"{kind}, cold"] = sandboxed(sandbox, candidate, scratch)
        if kind != "none":
            warm = stack.enter_context(warmed(sandbox, ["numpy"], readable=[], writable=[folder]))
            found[f"{kind}, warm"] = sandboxed(warm, candidate, scratch)
    return found


def quartiles(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle * 1e3:8.1f}  ({low * 1e3:6.1f} to {high * 1e3:6.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30, help="evaluations of each way (default %(default)s)")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as name, counted() as usage_s, ExitStack() as stack:
        found = ways(stack, Path(name))
        for evaluate in found.values():
            evaluate()  # zygotes are started by the first
        wall_s: dict[str, list[float]] = {way: [] for way in found}
        cpu_s: dict[str, list[float]] = {way: [] for way in found}
        for _ in range(count):
            for way, evaluate in found.items():
                time.sleep(SETTLE_S)
                before_s, began_s = usage_s() if usage_s else 0.0, time.perf_counter()
                evaluate()
                wall_s[way].append(time.perf_counter() - began_s)
                time.sleep(SETTLE_S)
                cpu_s[way].append((usage_s() if usage_s else 0.0) - before_s)
    print(f"{count} evaluations each, ms: median (quartiles)\n{'':18}{'CPU':>8}{'':20}{'wall':>8}")
    for way in found:
        cpu = quartiles(cpu_s[way]) if usage_s else f"{'unknown':>8}{'':20}"
        print(f"{way:18}{cpu}{quartiles(wall_s[way])}")


if __name__ == "__main__":
    main()
