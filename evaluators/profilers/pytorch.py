"""The PyTorch profiler: operators, GPU kernels and the gaps between them.

Works in every sandbox in which the benchmark's own Python has PyTorch. Tried with PyTorch 2.13 on processors; what it
writes about GPUs is read as other machines wrote it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluators.profilers.findings import TOP, Cost, Reading, most, percent
from evaluators.profilers.kernels import covered, kernel_bound
from evaluators.profilers.reading import json_of
from evaluators.profilers.running import Place, ToolProfiler, Wrapped, benchmark_words, environment
from evaluators.profilers.torch_trace import MARK, TRACE
from evaluators.results import clean
from raysearch.errors import EvaluatorFault
from raysearch.profile import Bound
from raysearch.sandbox import describe

CAPTURE = "torch.trace.json"
ON_GPU = ("kernel", "gpu_memcpy", "gpu_memset")
ON_CPU = ("cpu_op", "user_annotation", "cuda_runtime", "cuda_driver", "python_function")
IMPORT_S = 300.0
SCRIPT = Path(__file__).with_name("torch_trace.py")


class Torch(ToolProfiler):
    """PyTorch's own profiler around the benchmark's script.

    A benchmark that is not a Python script, or whose work is done in a process that it starts, must mark what it
    measures (`evaluators.profilers.torch_trace.traced`). Option ``scope``: ``script`` runs the whole script under the
    profiler, ``marked`` leaves that to the script; and those of every profiler.
    """

    name = "torch"
    needs = "PyTorch in the benchmark's own Python"

    def __init__(self, scope: str = "script", top: int = TOP, plain_runs: int = 1) -> None:
        super().__init__(top, plain_runs)
        if scope not in ("script", "marked"):
            raise ValueError("scope is `script` or `marked`")
        self.scope = scope

    def available(self) -> str:
        return ""  # the benchmark's Python may be another than ours: `obstacle` asks it

    def obstacle(self, place: Place) -> str:
        first = benchmark_words(place)[0]
        if "python" not in Path(first).name:
            return (
                ""
                if self.scope == "marked"
                else f"torch: {first} is no Python; mark what it measures, scope = 'marked'"
            )
        words = [first, "-c", "import torch.profiler"]
        done = place.run(words, timeout_s=IMPORT_S, cwd="{scratch}", env=environment(place))
        if done.status == 0:
            return ""
        last = clean(done.stderr.strip()).rpartition("\n")[2] or describe(done)
        return f"torch: the benchmark's Python has no PyTorch ({last}): install it there, as in `pip install torch`"

    def wrap(self, words: Sequence[str]) -> Wrapped:
        if self.scope == "script" and len(words) > 1 and words[1].endswith(".py"):
            words = [words[0], str(SCRIPT), *words[1:]]
        return Wrapped(("env", f"{TRACE}={{scratch}}/{CAPTURE}", *words), (CAPTURE,))

    def read(self, captures: Sequence[bytes], took_s: float) -> Reading:  # noqa: ARG002
        return read_trace(captures[0])


class _Event:
    __slots__ = ("args", "begin", "category", "end", "name", "place")

    def __init__(self, found: Mapping[str, Any], zero_us: float) -> None:
        self.category, self.name = str(found.get("cat", "")).lower(), str(found["name"])
        self.begin = (float(found["ts"]) - zero_us) / 1e6
        self.end = self.begin + max(0.0, float(found["dur"])) / 1e6
        self.place = (str(found.get("pid")), str(found.get("tid")))
        self.args: Mapping[str, Any] = found.get("args") or {}


def read_trace(content: bytes) -> Reading:
    """Findings from a chrome trace of ``torch.profiler``. Raises EvaluatorFault.

    With a GPU: kernels and copies as shares of its time, and its idle time; else operators, without what they call.
    Where the benchmark marked what it measures, that alone.
    """
    found = json_of(content, CAPTURE)
    told = [event for event in found["traceEvents"] if event.get("ph") == "X" and "dur" in event]
    zero_us = min((float(event["ts"]) for event in told), default=0.0)  # microseconds since 1970 leave few digits
    events = [_Event(event, zero_us) for event in told]
    events = [event for event in events if event.category in (*ON_GPU, *ON_CPU)]
    if marks := [event for event in events if event.name == MARK]:
        begin, end = min(m.begin for m in marks), max(m.end for m in marks)
        events = [e for e in events if e.end > begin and e.begin < end and e.name != MARK]
    if not events:
        raise EvaluatorFault(
            f"{CAPTURE} holds no operator and no kernel: did the benchmark do its work in another process?"
        )
    begin = min(m.begin for m in marks) if marks else min(event.begin for event in events)
    end = max(m.end for m in marks) if marks else max(event.end for event in events)
    own = _own_times([event for event in events if event.category in ON_CPU])
    gpu = [event for event in events if event.category in ON_GPU]
    costs, whole_s = _of_gpu(gpu, own, end - begin) if gpu else _of_cpu(own, events, end - begin)
    summary = f"{end - begin:.4g} s traced, {len(events)} events{', GPU' if gpu else ''}."
    return Reading(
        tuple(costs), whole_s, summary, {"traced": "what the benchmark marked" if marks else "the whole script"}
    )


def _own_times(events: Sequence[_Event]) -> dict[tuple[str, str], tuple[float, int]]:
    """(category, name) to seconds without what lies inside, and how many."""
    threads: dict[tuple[str, str], list[_Event]] = defaultdict(list)
    for event in events:
        threads[event.place].append(event)
    own: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0])
    for inside in threads.values():
        stack: list[_Event] = []
        for event in sorted(inside, key=lambda event: (event.begin, -event.end)):
            while stack and stack[-1].end <= event.begin:
                stack.pop()
            key = (event.category, event.name)
            own[key][0] += event.end - event.begin
            own[key][1] += 1
            if stack:
                above = stack[-1]
                own[above.category, above.name][0] -= min(event.end, above.end) - event.begin
            stack.append(event)
    return {key: (max(0.0, seconds), int(count)) for key, (seconds, count) in own.items()}


def _of_cpu(
    own: Mapping[tuple[str, str], tuple[float, int]], events: Sequence[_Event], span_s: float
) -> tuple[list[Cost], float]:
    costs = []
    for (category, name), (seconds, count) in own.items():
        bound: Bound = "overhead" if category in ("user_annotation", "python_function") else kernel_bound(name)
        what = "operator" if category == "cpu_op" else "Python between operators"
        costs.append(
            Cost(name, seconds, bound, f"{what}, {count} calls, {seconds / count * 1e6:.0f} us each of its own")
        )
    busy_s = covered((event.begin, event.end) for event in events)
    if (rest_s := span_s - busy_s) > 0:
        costs.append(Cost("(outside of operators)", rest_s, "overhead", "Python, data loading, waiting"))
    return costs, max(span_s, sum(cost.seconds for cost in costs))


def _of_gpu(
    gpu: Sequence[_Event], own: Mapping[tuple[str, str], tuple[float, int]], span_s: float
) -> tuple[list[Cost], float]:
    devices: dict[str, list[_Event]] = defaultdict(list)
    for event in gpu:
        devices[str(event.args.get("device", event.place[0]))].append(event)
    costs, busy_s = [], 0.0
    for events in devices.values():
        busy = covered((event.begin, event.end) for event in events)
        summed = sum(event.end - event.begin for event in events)
        busy_s += busy / len(devices)
        scale = busy / summed / len(devices) if summed else 0.0  # streams overlap
        names: dict[str, list[_Event]] = defaultdict(list)
        for event in events:
            names[event.name].append(event)
        costs += [_kernel(name, same, scale) for name, same in names.items()]
    if (idle_s := span_s - busy_s) > 0:
        host = {f"{name} ({count}x)": seconds for (_, name), (seconds, count) in own.items()}
        said = ", ".join(f"{name} {percent(host[name], span_s)}" for name in most(host, 4))
        costs.append(Cost("(GPU idle)", idle_s, "overhead", f"meanwhile on the host: {said}" if said else ""))
    return costs, span_s


def _kernel(name: str, same: Sequence[_Event], scale: float) -> Cost:
    seconds = sum(event.end - event.begin for event in same)
    said = f"{len(same)} times, {seconds / len(same) * 1e6:.1f} us each"
    fills = [float(event.args["blocks per SM"]) for event in same if event.args.get("blocks per SM") is not None]
    bound = kernel_bound(name)
    if fills and sum(fills) / len(fills) < 1:
        bound, said = "latency", f"{said}; {sum(fills) / len(fills):.2f} blocks an SM: too small to fill the GPU"
    occupancy = [float(e.args["est. achieved occupancy %"]) for e in same if e.args.get("est. achieved occupancy %")]
    if occupancy:
        said += f"; occupancy about {sum(occupancy) / len(occupancy):.0f} %"
    return Cost(name, seconds * scale, bound, said)
