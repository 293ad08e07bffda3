"""What raysearch itself costs: searches whose mutator and evaluators do nothing, timed from outside.

    python benchmarks/overhead.py                      all of it, 10 to 15 minutes
    python benchmarks/overhead.py rates flat --count 300
    python benchmarks/overhead.py flat --count 100000  half an hour and more

``rates``       candidates a second and processor time each: inline and Ray, 1, 2 and 8 lanes, sandbox cold and warm
``flat``        one long run: the first candidates beside the last
``efficiency``  8 benchmark workers whose every measurement takes 0.5 s: the share of their time in which they measure,
                in contests as well, with mutators that take no time and with such that take 1 s
``hostile``     ``rates`` again for programs that call os._exit, crash or hang for 0.3 s and are ended

Every search is the production one, started by the command line as a user would, on programs of one small file, with a
checker and a benchmark that read it and answer: two sandboxed processes, one commit and six synced journal lines a
candidate. Processor time is that of all processes of the search, Ray's own included, counted by a control group and
divided by candidates, in the steady part: between a fifth of them and all of them. The floor is what the two
sandboxed processes cost when nothing but them is run, in the same minute.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from raysearch.facts import AttemptClosed, AttemptOpened, Compared, Measured
from raysearch.ledger import read_journal
from raysearch.process import clean_environment
from raysearch.sandbox import Mount, Sandbox, cgroups, open_sandbox, warmed
from raysearch.target import SandboxLimits
from raysearch.types import SEED

SOURCE = Path(__file__).resolve().parents[1]
POLL_S = 0.05
STEADY_FROM = 0.2
"""Share of the candidates after which a search counts as under way."""

EVALUATOR = """
import json, os, sys, time
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open(words["--candidate"] + "/x.txt") as file:
    text = file.read().split()
{body}
with open(words["--result"], "w") as file:
    json.dump(result, file)
"""
CHECK = """
if text[0] == "exit":
    os._exit(3)
if text[0] == "crash":
    import ctypes
    ctypes.string_at(0)
if text[0] == "hang":
    time.sleep(60)
result = {"schema": "raysearch.verdict/1", "passed": True}
"""
MEASURE = """
time.sleep(%g)
result = {"schema": "raysearch.metrics/1", "metrics": [
    {"name": "x", "unit": "1", "direction": "max", "samples": [float(text[1])]}]}
"""
MUTATOR = '''
import time

from raysearch import Brief, Mutation


class Count:
    """Writes a number that no earlier candidate had, after `seconds`; every `bad_every`-th program misbehaves."""

    def __init__(self, seconds: float = 0.0, bad: str = "", bad_every: int = 2) -> None:
        self.seconds, self.bad, self.bad_every = seconds, bad, bad_every

    def mutate(self, workspace, brief: Brief, rng) -> Mutation:
        time.sleep(self.seconds)
        word = self.bad if self.bad and rng.randrange(self.bad_every) == 0 else "good"
        (workspace.path / "x.txt").write_text(f"{word} {rng.random()}")
        return Mutation("counted")
'''


def write_target(folder: Path, *, measure_s: float = 0.0, warm: bool = True) -> Path:
    """A target of one file, whose checker and benchmark only read it."""
    files = {
        "OBJECTIVE.md": "A larger number.\n",
        "objectives.toml": '[[objective]]\nname = "x"\ndirection = "max"\nunit = "1"\n',
        "target.toml": '[checker]\ntimeout_s = 0.3\n[candidate]\neditable = ["x.txt"]\n'
        + ('[warm]\nimports = ["json"]\n' if warm else ""),
        "accuracy_checker/run.py": EVALUATOR.replace("{body}", CHECK),
        "benchmark/run.py": EVALUATOR.replace("{body}", MEASURE % measure_s),
        "reference/x.txt": "good 0",
        "seed/x.txt": "good 0",
        "mutator.py": MUTATOR,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@dataclass(frozen=True, slots=True)
class Group:
    """A control group that counts the processor time of what is started in it; a stand-in where there is none."""

    folder: Path | None

    def used_s(self) -> float:
        if self.folder is None:
            return float("nan")
        return int((self.folder / "cpuacct.usage").read_text()) / 1e9

    def enter(self) -> None:
        """Called in the new process, before it becomes another program."""
        if self.folder is not None:
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))


@contextmanager
def group() -> Iterator[Group]:
    home = cgroups.find()
    account = None if home is None else home.folders.get("cpuacct")
    if account is None or not (account / "cpuacct.usage").exists():
        yield Group(None)
        return
    folder = account / f"{cgroups.PREFIX}overhead-{os.getpid()}"
    folder.mkdir()
    try:
        yield Group(folder)
    finally:
        cgroups.Group({"": folder}, SandboxLimits()).remove()


@dataclass(slots=True)
class Searched:
    """A search as seen from outside."""

    began_s: float
    """Wall clock when the command was given."""
    ended_s: float
    opened_s: list[float]
    closed_s: list[float]
    """Wall clock of each candidate's end, the seed's not among them, in order."""
    samples: list[tuple[float, float]] = field(default_factory=list)
    """Wall clock and processor time used up to then, by and by."""
    measured: list[tuple[float, int]] = field(default_factory=list)
    """Wall clock at which something measured was known, and how many runs of the benchmark that had taken."""

    def cpu_at_s(self, at_s: float) -> float:
        """Processor time used up to a moment, interpolated."""
        before = max((s for s in self.samples if s[0] <= at_s), default=self.samples[0])
        after = min((s for s in self.samples if s[0] >= at_s), default=self.samples[-1])
        share = (at_s - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 0.0
        return before[1] + share * (after[1] - before[1])

    def between(self, first: int, last: int) -> tuple[float, float]:
        """Candidates a second, and processor seconds each, from the end of one candidate to that of another."""
        since_s, until_s = self.closed_s[first], self.closed_s[last]
        count = last - first
        return count / (until_s - since_s), (self.cpu_at_s(until_s) - self.cpu_at_s(since_s)) / count

    def steady(self) -> tuple[float, float]:
        return self.between(int(len(self.closed_s) * STEADY_FROM), len(self.closed_s) - 1)


def search(
    target: Path,
    runs: Path,
    count: int,
    *words: str,
    config: str = "",
    mutator: Mapping[str, float | str] | None = None,
) -> Searched:
    """Run one search of ``count`` candidates to its end; ``mutator``: options of the target's own."""
    settings = runs / "settings.toml"
    runs.mkdir(exist_ok=True)
    options = "".join(f"{name} = {value!r}\n" for name, value in (mutator or {}).items())
    settings.write_text(f"{config}[mutator.count]\nuse = '{target}/mutator.py:Count'\n{options}")
    command = [
        *(sys.executable, "-m", "raysearch", "run", str(target), "--mutator", "count"),
        *("--config", str(settings), "--runs-dir", str(runs), "--max-candidates", str(count), "--seed", "1", *words),
    ]
    with group() as counted:
        samples, done = [(time.time(), counted.used_s())], threading.Event()

        def watch() -> None:
            while not done.wait(POLL_S):
                samples.append((time.time(), counted.used_s()))

        watcher = threading.Thread(target=watch)
        watcher.start()
        began_s = time.time()
        try:
            ended = subprocess.run(
                command, preexec_fn=counted.enter, cwd=runs, capture_output=True, text=True, check=False
            )
        finally:
            done.set()
            watcher.join()
        ended_s = time.time()
    if ended.returncode:
        sys.exit(f"{' '.join(command)}\nended with {ended.returncode}: {ended.stderr[-2000:]}{ended.stdout[-2000:]}")
    return read(runs, began_s, ended_s, samples)


def read(runs: Path, began_s: float, ended_s: float, samples: list[tuple[float, float]]) -> Searched:
    """What the newest run's journal says; the run is removed."""
    folder = max(path.parent for path in runs.glob("*/journal.jsonl"))
    found = Searched(began_s, ended_s, [], [], samples)
    for entry in read_journal(folder / "journal.jsonl"):
        match entry.fact:
            case AttemptOpened(attempt) if attempt != SEED:
                found.opened_s.append(entry.at_s)
            case AttemptClosed(attempt) if attempt != SEED:
                found.closed_s.append(entry.at_s)
            case Measured(attempt) if attempt != SEED:
                found.measured.append((entry.at_s, 1))
            case Compared(contest=contest) if contest.measurements and contest.rival_measurements:
                sides = (contest.measurements, contest.rival_measurements)
                found.measured.append((entry.at_s, sum(len(side[0].samples) for side in sides)))
    shutil.rmtree(folder)
    return found


def floor(folder: Path, warm: bool, count: int) -> tuple[float, float]:
    """Pairs a second, and processor seconds a pair, of the two sandboxed processes alone."""
    program, scratch, target = folder / "program", folder / "scratch", write_target(folder / "target")
    scratch.mkdir()
    shutil.copytree(target / "seed", program)

    def evaluate(sandbox: Sandbox) -> None:
        place, inside = Mount(scratch, "/scratch"), Mount(program, "/candidate")
        for script in ("accuracy_checker/run.py", "benchmark/run.py"):
            below = Mount(target, "/target")
            words = ["--candidate", sandbox.inside(inside), "--result", f"{sandbox.inside(place)}/result.json"]
            done = sandbox.run(
                [sys.executable, f"{sandbox.inside(below)}/{script}", *words],
                cwd=inside,
                readable=[below, inside],
                writable=[place],
                env=clean_environment({}),
                limits=SandboxLimits(),
                timeout_s=60.0,
            )
            if done.status:
                sys.exit(f"the floor's evaluator failed: {done}")

    with group() as counted:
        ready, told = os.pipe()
        child = os.fork()
        if child == 0:
            counted.enter()
            sandbox = open_sandbox("auto")
            if warm:
                with warmed(sandbox, ["json"], readable=[target], writable=[folder]) as kept:
                    _timed(lambda: evaluate(kept), counted, count, told)
            else:
                _timed(lambda: evaluate(sandbox), counted, count, told)
            os._exit(0)
        os.close(told)
        with os.fdopen(ready) as pipe:
            rate, cpu_s = map(float, pipe.read().split())
        os.waitpid(child, 0)
    return rate, cpu_s


def _timed(evaluate: Callable[[], None], counted: Group, count: int, told: int) -> None:
    evaluate()
    began_s, used_s = time.perf_counter(), counted.used_s()
    for _ in range(count):
        evaluate()
    rate = count / (time.perf_counter() - began_s)
    os.write(told, f"{rate} {(counted.used_s() - used_s) / count}".encode())


def lanes(count: int, *, mutators: int | None = None) -> str:
    """Configuration: so many benchmark workers, and as many judges and mutators, or ``mutators``."""
    wide = count if mutators is None else mutators
    total = count if mutators is None else 2 * count + mutators
    roles = {"mutate": wide, "judge": min(count, 4), "benchmark": count}
    lines = [f"[run]\nlanes = {total}\n"]
    lines += [f"[roles.{role}]\nslots = {slots}\ncpus = 0.05\n" for role, slots in roles.items()]
    return "".join(lines).replace("[roles.mutate]\n", f"[roles.mutate]\nthreads = {wide}\n")


def rates(folder: Path, count: int) -> None:
    row = "{:22}{:>14}{:>18}{:>22}"
    print(row.format("", "candidates/s", "CPU s each", "first candidate, s"))
    for warm in (False, True):
        kind = "warm" if warm else "cold"
        target = write_target(folder / kind, warm=warm)
        rate, cpu_s = floor(folder / f"floor-{kind}", warm, count // 4)
        print(row.format(f"floor, {kind}", f"{rate:.1f}", f"{cpu_s:.4f}", ""), flush=True)
        for where, width in (("inline", 1), ("ray", 1), ("ray", 2), ("ray", 8)):
            found = search(target, folder / "runs", count, "--pool", where, config=lanes(width))
            rate, cpu_s = found.steady()
            name = f"{where}, {width} lane{'s' * (width > 1)}, {kind}"
            first = f"{found.closed_s[0] - found.began_s:.2f}"
            print(row.format(name, f"{rate:.1f}", f"{cpu_s:.4f}", first), flush=True)


def flat(folder: Path, count: int) -> None:
    count = max(count, 2000)
    target = write_target(folder / "flat")
    found = search(target, folder / "runs", count, "--pool", "inline")
    size = count // 10
    print(f"one search of {count} candidates, inline, warm, tenth by tenth")
    for part in range(10):
        rate, cpu_s = found.between(part * size, (part + 1) * size - 1)
        print(f"  {part * size + 1:7} to {(part + 1) * size:7}: {rate:6.1f} candidates/s, {cpu_s:.4f} CPU s each")


def efficiency(folder: Path, count: int) -> None:
    width, measure_s = 8, 0.5
    target = write_target(folder / "half-second", measure_s=measure_s)
    print(f"{width} benchmark workers, {measure_s:g} s a measurement: share of their time in which they measure")
    for seconds, mutators in ((0.0, 2), (1.0, 20)):
        config = lanes(width, mutators=mutators)
        found = search(target, folder / "runs", count, "--pool", "ray", config=config, mutator={"seconds": seconds})
        total = len(found.closed_s)

        def used(since_s: float, until_s: float, found: Searched = found) -> float:
            runs = sum(count for at_s, count in found.measured if since_s < at_s <= until_s)
            return runs * measure_s / (width * (until_s - since_s))

        whole = used(found.opened_s[0], found.closed_s[-1])
        steady = used(found.closed_s[int(total * STEADY_FROM)], found.opened_s[-1])
        print(
            f"  mutators of {seconds:g} s, {mutators} of them: {steady:.3f} steady, {whole:.3f} from the first proposal"
            f" to the last answer of {total} candidates; the first after {found.closed_s[0] - found.began_s:.1f} s"
        )


def hostile(folder: Path, count: int) -> None:
    target = write_target(folder / "hostile")
    print("every second program misbehaves (inline, warm)")
    for bad in ("", "exit", "crash", "hang"):
        found = search(target, folder / "runs", count, "--pool", "inline", mutator={"bad": bad})
        rate, cpu_s = found.steady()
        print(f"  {bad or 'none':6} {rate:6.1f} candidates/s, {cpu_s:.4f} CPU s each; {len(found.closed_s)} closed")


PARTS: dict[str, Callable[[Path, int], None]] = {
    "rates": rates,
    "flat": flat,
    "efficiency": efficiency,
    "hostile": hostile,
}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--count", type=int, default=400, help="candidates of each search (default %(default)s)")
    options = parser.parse_args(words)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
            PARTS[part](Path(folder), options.count)
        print()


if __name__ == "__main__":
    main()
