"""py-spy: stacks of Python programs, read from outside by a sampler that the program does not feel.

It reads the program's memory (process_vm_readv), which the sandboxes refuse: it works for programs that are trusted,
with ``--sandbox none``. Tried there with py-spy 0.4.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from evaluators.profilers.findings import TOP, Cost, Reading, waits_for
from evaluators.profilers.running import ToolProfiler, Wrapped, executable
from evaluators.profilers.stacks import folded
from raysearch.profile import Bound

CAPTURE = "py-spy.folded"


class PySpy(ToolProfiler):
    """py-spy on the command and all Python below it. Options: ``rate`` (looks a second, to 1000), and those of all."""

    name = "py-spy"
    needs = "reading the memory of another process"

    def __init__(self, rate: int = 100, top: int = TOP, plain_runs: int = 1) -> None:
        super().__init__(top, plain_runs)
        if not 1 <= rate <= 1000:
            raise ValueError("rate is from 1 to 1000")
        self.rate = rate

    def available(self) -> str:
        return "" if executable("py-spy") else "py-spy is not installed: `pip install py-spy`"

    def probe(self) -> tuple[str, ...]:
        idle = "import time; time.sleep(0.4)"
        return self._record("probe.folded", 50, (sys.executable, "-I", "-S", "-c", idle))

    def wrap(self, words: Sequence[str]) -> Wrapped:
        return Wrapped(self._record(CAPTURE, self.rate, words), (CAPTURE,))

    def _record(self, name: str, rate: int, words: Sequence[str]) -> tuple[str, ...]:
        options = ["--format", "raw", "--output", f"{{scratch}}/{name}", "--rate", str(rate), "--subprocesses"]
        return (executable("py-spy"), "record", *options, "--", *words)

    def read(self, captures: Sequence[bytes], took_s: float) -> Reading:
        return read_folded(captures[0], 1 / self.rate, took_s)


def read_folded(content: bytes, sample_s: float, took_s: float) -> Reading:
    """Findings from folded stacks of threads that were active, a sample every ``sample_s`` seconds in ``took_s``.

    Raises EvaluatorFault.
    """
    leaves = folded(content, CAPTURE)
    active_s = leaves.sum * sample_s
    costs = leaves.costs(sample_s, _bound)
    if (rest_s := took_s - active_s) > 0:
        costs.append(Cost("(waiting, start and end)", rest_s, "latency", "no thread was active"))
    conditions = {"samples": f"{leaves.sum:.0f}", "samples a second": f"{1 / sample_s:g}"}
    return Reading(tuple(costs), max(took_s, active_s), f"{leaves.sum:.0f} samples.", conditions)


def _bound(name: str) -> Bound:
    waits = waits_for(name.partition(" (")[0])
    return "compute" if waits == "unknown" else waits
