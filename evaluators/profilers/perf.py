"""perf of Linux: samples of native code, the kernel's share of it and who called.

It asks for perf_event_open, which the sandboxes refuse, and which Linux grants a plain user where
``kernel.perf_event_paranoid`` is at most 2: it works for programs that are trusted, with ``--sandbox none``. Tried
there with perf 6.1, on the clock of the processor (event ``cpu-clock``), which virtual machines have too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from evaluators.profilers.findings import TOP, Cost, Reading, percent, waits_for
from evaluators.profilers.reading import text_of
from evaluators.profilers.running import ToolProfiler, Wrapped, executable
from evaluators.profilers.stacks import Leaves
from raysearch.errors import EvaluatorFault
from raysearch.profile import Bound

CAPTURE, DATA = "perf.script", "perf.data"
FIELDS = "comm,pid,tid,time,event,ip,sym,dso"
_HEADER = re.compile(r"^(?P<comm>\S.*?)\s+(?P<pid>-?\d+)(?:/(?P<tid>-?\d+))?\s.*?(?P<time>\d+\.\d+):\s+(?P<rest>.*)$")
_FRAME = re.compile(r"^\s+[0-9a-f]+ (?P<symbol>.*?) \((?P<dso>.*)\)$")
_OFFSET = re.compile(r"\+0x[0-9a-f]+$")
_COPIES = re.compile(r"memcpy|memmove|memset|clear_page|copy_(user|page)|page_fault|_?alloc_pages|rep_movs", re.I)


class Perf(ToolProfiler):
    """perf record on the command and all below it. Options: ``rate`` (samples a second), and those of all."""

    name = "perf"
    needs = "perf_event_open"

    def __init__(self, rate: int = 499, top: int = TOP, plain_runs: int = 1) -> None:
        super().__init__(top, plain_runs)
        if not 1 <= rate <= 10_000:
            raise ValueError("rate is from 1 to 10000")
        self.rate = rate

    def available(self) -> str:
        if sys.platform != "linux":
            return f"perf: this is {sys.platform}; on macOS there is `sample`"
        return (
            ""
            if executable("perf")
            else "perf is not installed: `apt install linux-perf` (Debian), `linux-tools-generic` (Ubuntu)"
        )

    def probe(self) -> tuple[str, ...]:
        return self._record("probe.data", ("true",))

    def wrap(self, words: Sequence[str]) -> Wrapped:
        script = f'exec "$0" script -i "$1" -F {FIELDS} > "$2"'
        convert = ("sh", "-c", script, executable("perf"), f"{{scratch}}/{DATA}", f"{{scratch}}/{CAPTURE}")
        return Wrapped(self._record(DATA, words), (CAPTURE,), (convert,), raw=(DATA,))

    def _record(self, name: str, words: Sequence[str]) -> tuple[str, ...]:
        options = ["-e", "cpu-clock", "-F", str(self.rate), "-g", "-q", "-o", f"{{scratch}}/{name}"]
        return (executable("perf"), "record", *options, "--", *words)

    def read(self, captures: Sequence[bytes], took_s: float) -> Reading:
        return read_script(captures[0], 1 / self.rate, took_s)


def read_script(content: bytes, sample_s: float, took_s: float) -> Reading:
    """Findings from what ``perf script`` prints, a sample every ``sample_s`` seconds in ``took_s``.

    A sample is a line about the thread, then a line a frame, innermost first, then an empty line. Raises
    EvaluatorFault.
    """
    leaves, in_kernel, bad = Leaves(), 0, 0
    frames: list[tuple[str, str]] | None = None
    lines = text_of(content, CAPTURE).splitlines()
    for line in [*lines, ""]:
        if not line.strip():
            if frames:
                leaves.add([_component(*frame) for frame in reversed(frames)], 1.0)
                in_kernel += _is_kernel(frames[0][1])
            frames = None
        elif frame := _FRAME.match(line):
            if frames is None:
                bad += 1
            else:
                frames.append((frame["symbol"], frame["dso"]))
        elif _HEADER.match(line):
            frames = []
        elif not line.startswith("#"):
            bad += 1
    if bad > len(lines) // 10 or not leaves.own:
        raise EvaluatorFault(
            f"{CAPTURE}: {bad} of {len(lines)} lines are none of perf script's, {leaves.sum:.0f} samples found"
        )
    active_s = leaves.sum * sample_s
    costs = leaves.costs(sample_s, _bound)
    if (rest_s := took_s - active_s) > 0:
        costs.append(Cost("(waiting)", rest_s, "latency", "no thread had a processor"))
    summary = f"{leaves.sum:.0f} samples, {percent(in_kernel, leaves.sum)} of them in the kernel."
    return Reading(tuple(costs), max(took_s, active_s), summary, {"samples": f"{leaves.sum:.0f}"})


def _component(symbol: str, dso: str) -> str:
    name = _OFFSET.sub("", symbol)
    return f"{name} ({dso.rpartition('/')[2] or dso})"


def _is_kernel(dso: str) -> bool:
    return dso.startswith("[kernel") or dso.endswith(".ko") or dso == "[guest.kernel.kallsyms]"


def _bound(component: str) -> Bound:
    name, _, dso = component.rpartition(" (")
    if _COPIES.search(name):
        return "memory"
    if dso.startswith("[kernel"):
        waits = waits_for(name)
        return "overhead" if waits == "unknown" else waits
    return "compute"
