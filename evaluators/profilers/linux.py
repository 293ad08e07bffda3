"""What Linux itself tells: processor time, waits and faults of every thread, and the stacks of Python processes.

Needs no tool and no right: ``/proc`` is read and stacks are sampled by the command's own side of the sandbox
(`evaluators.profilers.observe`). Where even ``/proc`` is not to be seen (the sandbox ``landlock``), wait4 and the
stacks remain.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evaluators.profilers.findings import TOP, Cost, Reading, percent, waits_for
from evaluators.profilers.reading import json_of, number
from evaluators.profilers.running import OBSERVED, ToolProfiler, Wrapped
from evaluators.profilers.stacks import Leaves, shortened
from evaluators.results import clean
from raysearch.errors import EvaluatorFault
from raysearch.profile import Bound

KERNEL_HEAVY = 0.4
"""Share of processor time in the kernel from which a component counts as overhead (or memory, where it faults)."""
ENOUGH_S = 0.05
"""Processor time of a process, which is counted in hundredths of a second, from which its kernel's share is taken."""
FAULTS_HEAVY_S = 20_000
"""Page faults in a second of processor time from which they are why."""


class Linux(ToolProfiler):
    """Processor time, waits, faults and Python stacks; works wherever Linux does.

    Options: ``sample_ms`` (between two looks at the stacks; 1 to 1000), and those of every profiler.
    """

    name = "linux"

    def __init__(self, sample_ms: float = 5.0, top: int = TOP, plain_runs: int = 1) -> None:
        super().__init__(top, plain_runs)
        if not 1 <= sample_ms <= 1000:
            raise ValueError("sample_ms is from 1 to 1000")
        self.sample_ms = sample_ms

    def available(self) -> str:
        return "" if sys.platform == "linux" else f"linux: this is {sys.platform}; on macOS there is `sample`"

    def wrap(self, words: Sequence[str]) -> Wrapped:
        env = {"RAYSEARCH_STACKS_MS": f"{self.sample_ms:g}"}
        return Wrapped(tuple(words), (OBSERVED,), env=env, stacks=True, poll_ms=max(10.0, self.sample_ms))

    def read(self, captures: Sequence[bytes], took_s: float) -> Reading:  # noqa: ARG002
        return read_observed(captures[0])


def read_observed(content: bytes) -> Reading:
    """Findings from what `evaluators.profilers.observe` reported. Raises EvaluatorFault.

    The whole is the wall clock, or all processor time where several processors made that more. Processor time goes to
    the Python function that was innermost, or to the thread of a process that is not Python's; the rest of the wall
    clock, when nothing had a processor, to what was waited in, in proportion.
    """
    found = json_of(content, OBSERVED)
    wall_s, user_s, system_s = (number(found, key) for key in ("wall_s", "user_s", "system_s"))
    cpu_s = user_s + system_s
    kernel = _heavy(found, cpu_s, system_s)
    seen = _listed(found, "threads")
    stacks = _Stacks(found, _heavy_processes(seen, kernel))
    threads = [thread for thread in seen if thread.get("pid") not in stacks.pids]
    costs = stacks.running()
    costs += [_native(thread, kernel) for thread in threads]
    sampled_s = sum(cost.seconds for cost in costs)
    if (rest_s := cpu_s - stacks.samplers_s - sampled_s) > 0:
        where = "interpreters that start and end, and what lived too short to be seen" if stacks.pids else "not seen"
        costs.append(Cost(f"({where})", rest_s, "overhead", f"{percent(rest_s, cpu_s)} of all processor time"))
    waits = stacks.waiting() or [wait for thread in threads for wait in _native_waits(thread)]
    idle_s, waited_s = max(0.0, wall_s - cpu_s), sum(cost.seconds for cost in waits)
    if waited_s > 0:
        costs += [Cost(w.component, w.seconds * idle_s / waited_s, w.bound, w.evidence) for w in waits]
    return Reading(
        tuple(costs), max(wall_s, cpu_s), _summary(found, wall_s, cpu_s, system_s), _conditions(found, stacks)
    )


class _Stacks:
    """What the samplers in Python processes counted."""

    def __init__(self, found: Mapping[str, Any], bounds: Mapping[object, Bound]) -> None:
        roots = [str(root) for root in found.get("roots", [])]
        source = {(str(name), line): str(text) for name, line, text in found.get("source", [])}
        self.pids: set[int] = set()
        self.samplers_s = 0.0
        self.looks = 0
        self.busy: dict[Bound, Leaves] = defaultdict(Leaves)
        self.idle = Leaves()
        self.why: dict[str, dict[Bound, float]] = defaultdict(lambda: defaultdict(float))
        for process in _listed(found, "processes"):
            pid = int(number(process, "pid"))
            self.pids.add(pid)
            busy = self.busy[bounds.get(pid, bounds[None])]
            self.samplers_s += number(process, "sampler_s")
            self.looks += int(number(process, "looks"))
            frames = [(str(name), str(function)) for name, function in process["frames"]]
            named = [f"{function} ({shortened(name, roots)})" for name, function in frames]
            for line, indices, on, off, _ in process["stacks"]:
                if any(not isinstance(index, int) or not 0 <= index < len(frames) for index in indices):
                    raise EvaluatorFault(f"{OBSERVED} names a frame that is not in its list of {len(frames)}")
                if not indices:
                    continue
                text = source.get((frames[indices[0]][0], line), "")
                self._add(busy, [named[index] for index in reversed(indices)], line, text, on, off)

    def _add(self, busy: Leaves, stack: list[str], line: int, text: str, on: float, off: float) -> None:
        place = f"{line} `{clean(text, 80)}`" if text else str(line)
        busy.add(stack, on, place)
        self.idle.add(stack, off, place)
        if off > 0:
            bound = waits_for(text)
            self.why[stack[-1]][bound if bound != "unknown" else waits_for(" ".join(stack[-3:]))] += off

    def running(self) -> list[Cost]:
        costs: list[Cost] = []
        for bound, leaves in self.busy.items():
            costs += [replace(cost, bound=bound) for cost in leaves.costs(1.0, waits_for)]
        return costs

    def waiting(self) -> list[Cost]:
        costs = self.idle.costs(1.0, lambda name: max(self.why[name], key=lambda bound: self.why[name][bound]))
        return [Cost(f"{cost.component}, waiting", cost.seconds, cost.bound, cost.evidence) for cost in costs]


def _listed(found: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    items = found.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise EvaluatorFault(f"{OBSERVED}: {key!r} must be a list of objects")
    return items


def _heavy(found: Mapping[str, Any], cpu_s: float, system_s: float) -> Bound:
    """What holds back work that has a processor."""
    if cpu_s <= 0 or system_s / cpu_s < KERNEL_HEAVY:
        return "compute"
    return "memory" if number(found, "minor_faults") / cpu_s > FAULTS_HEAVY_S else "overhead"


def _heavy_processes(threads: Sequence[Mapping[str, Any]], overall: Bound) -> Mapping[object, Bound]:
    """The same for each process of which enough was seen; under None, for all others."""
    used: dict[object, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for thread in threads:
        used[thread.get("pid")][0] += number(thread, "user_s")
        used[thread.get("pid")][1] += number(thread, "system_s")
    bounds: dict[object, Bound] = {None: overall}
    for pid, (user_s, system_s) in used.items():
        if user_s + system_s >= ENOUGH_S:
            bounds[pid] = overall if system_s >= KERNEL_HEAVY * (user_s + system_s) else "compute"
    return bounds


def _native(thread: Mapping[str, Any], kernel: Bound) -> Cost:
    user_s, system_s = number(thread, "user_s"), number(thread, "system_s")
    queued_s = number(thread, "queued_s", 0.0)
    said = f"{user_s:.2f} s in the program, {system_s:.2f} s in the kernel"
    said += f", {queued_s:.2f} s in line for a processor" if queued_s > 0.1 * (user_s + system_s) else ""
    heavy = kernel if system_s > KERNEL_HEAVY * (user_s + system_s) else "compute"
    return Cost(f"process {thread['name']}", user_s + system_s, heavy, said)


def _native_waits(thread: Mapping[str, Any]) -> list[Cost]:
    """Looks at a thread that slept, by the kernel's function that it slept in; waits for children do not count."""
    waits = {str(name): float(count) for name, count in thread.get("waits", {}).items() if "do_wait" not in str(name)}
    if thread.get("pid") != thread.get("tid"):
        return []
    return [
        Cost(
            f"process {thread['name']}, waiting",
            count,
            waits_for(name),
            f"in the kernel's {name}" if name != "0" else "",
        )
        for name, count in waits.items()
    ]


def _summary(found: Mapping[str, Any], wall_s: float, cpu_s: float, system_s: float) -> str:
    switches = number(found, "voluntary"), number(found, "involuntary")
    said = [
        f"{wall_s:.2f} s of wall clock, {cpu_s:.2f} s of processors ({percent(system_s, cpu_s)} in the kernel)",
        f"{switches[0]:.0f} voluntary and {switches[1]:.0f} forced context switches",
        f"{number(found, 'minor_faults'):.0f} page faults, {number(found, 'major_faults'):.0f} of them from disk"
        if number(found, "major_faults")
        else f"{number(found, 'minor_faults'):.0f} page faults",
    ]
    if unreadable := found.get("unreadable"):
        said.append(f"threads are not seen here ({clean(str(unreadable), 80)})")
    return "; ".join(said) + "."


def _conditions(found: Mapping[str, Any], stacks: _Stacks) -> dict[str, str]:
    left_out = int(number(found, "processes_left_out", 0.0))
    return {
        "looks at stacks": str(stacks.looks),
        "Python processes": f"{len(stacks.pids)}{f', {left_out} more left out' if left_out else ''}",
        "looks at /proc": str(int(number(found, "polls"))),
    }
