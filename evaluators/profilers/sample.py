"""``sample`` of macOS: stacks of one process, native code and waits included.

Not run where this was written, for want of a Mac: reports are parsed as other machines made them. It looks at the
process that the command itself becomes; what that starts is not seen (`evaluators.profilers.instruments` sees it all).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from evaluators.profilers.findings import Cost, Reading, waits_for
from evaluators.profilers.reading import text_of
from evaluators.profilers.running import ToolProfiler, Wrapped, executable
from evaluators.profilers.stacks import Leaves
from evaluators.results import clean
from raysearch.errors import EvaluatorFault

CAPTURE = "sample.txt"
LONGEST_S = 3600
DEPTH_MAX = 1000
_NODE = re.compile(r"^(?P<indent>[ +!:|]*)(?P<count>\d+) (?P<name>\S.*)$")
_EVERY = re.compile(r"every (\d+) (milli|micro)second")
_THREAD = re.compile(r"^Thread_\S+")
_PLACE = re.compile(r"^(?P<symbol>.*?)  \(in (?P<image>[^)]*)\)")
IDLE = re.compile(
    r"workq_kernreturn|psynch_cvwait|mach_msg|semaphore_wait|semwait_signal|kevent|ulock_wait|__select|poll_nocancel"
    r"|^read |^recv|accept |wait4|nanosleep|__write_nocancel|^write "
)
"""Innermost functions of threads that have no processor."""


class Sample(ToolProfiler):
    """macOS's ``sample``, a millisecond between two looks."""

    name = "sample"
    needs = "looking into another process"

    def available(self) -> str:
        if sys.platform != "darwin":
            return f"sample: this is {sys.platform}, not macOS; on Linux there is `linux`"
        return "" if executable("sample") else "sample is not installed: it comes with macOS, in /usr/bin"

    def wrap(self, words: Sequence[str]) -> Wrapped:
        script = (
            'out="$0"; "$@" & pid=$!; '
            f'sample "$pid" {LONGEST_S} 1 -mayDie -file "$out" >/dev/null 2>&1 & '
            'sampler=$!; wait "$pid"; status=$?; wait "$sampler"; exit "$status"'
        )
        return Wrapped(("sh", "-c", script, f"{{scratch}}/{CAPTURE}", *words), (CAPTURE,))

    def read(self, captures: Sequence[bytes], took_s: float) -> Reading:  # noqa: ARG002
        return read_sample(captures[0])


@dataclass(slots=True)
class _Node:
    indent: int
    count: int
    name: str
    children: list[_Node] = field(default_factory=list)


def read_sample(content: bytes) -> Reading:
    """Findings from a report of ``sample``. Raises EvaluatorFault.

    Samples of threads with a processor go to their innermost functions; where the first thread waits, to what it waits
    in, as far as no other thread ran.
    """
    text = text_of(content, CAPTURE)
    graph = text.partition("Call graph:")[2].partition("Total number in stack")[0]
    threads = list(_threads(graph))
    if not threads:
        raise EvaluatorFault(f"{CAPTURE} holds no call graph: did the process end before it was sampled?")
    every = _EVERY.search(text)
    sample_s = (int(every[1]) / {"milli": 1e3, "micro": 1e6}[every[2]]) if every else 1e-3
    busy, idle = Leaves(), Leaves()
    for place, thread in enumerate(threads):
        for stack, own in _leaves(thread, []):
            if not IDLE.search(stack[-1]):
                busy.add(stack, own)
            elif place == 0:
                idle.add(stack, own)
    whole = max([busy.sum, *(thread.count for thread in threads)])
    costs = busy.costs(
        sample_s, lambda name: "memory" if re.search(r"mem(cpy|move|set)|bzero|madvise", name) else "compute"
    )
    left = max(0.0, whole - busy.sum) / idle.sum if idle.sum else 0.0
    costs += [
        Cost(f"{cost.component}, waiting", cost.seconds, cost.bound, cost.evidence)
        for cost in idle.costs(sample_s * min(1.0, left), waits_for)
    ]
    summary = f"{len(threads)} threads, {whole:.0f} samples."
    return Reading(tuple(costs), whole * sample_s, summary, {"samples": f"{whole:.0f}", "threads": str(len(threads))})


def _threads(graph: str) -> Iterator[_Node]:
    """The trees of the call graph, one a thread; children stand further right than their parents."""
    above: list[_Node] = []
    for line in graph.splitlines():
        match = _NODE.match(line)
        if not match:
            continue
        node = _Node(len(match["indent"]), int(match["count"]), _component(match["name"]))
        if _THREAD.match(node.name):
            if above:
                yield above[0]
            above = [node]
            continue
        while len(above) > 1 and above[-1].indent >= node.indent:
            above.pop()
        if len(above) > DEPTH_MAX:
            raise EvaluatorFault(f"{CAPTURE}: a stack is deeper than {DEPTH_MAX} frames")
        if not above:
            raise EvaluatorFault(f"{CAPTURE}: the call graph does not begin with a thread: {clean(line, 80)!r}")
        above[-1].children.append(node)
        above.append(node)
    if above:
        yield above[0]


def _leaves(node: _Node, outer: list[str]) -> Iterator[tuple[list[str], float]]:
    """Every stack with the samples that ended in it; without recursion, for stacks may be deep."""
    work = [(node, outer)]
    while work:
        at, above = work.pop()
        stack = [*above, at.name] if at is not node else above
        own = at.count - sum(child.count for child in at.children)
        if own > 0:
            yield stack or [at.name], float(own)
        work += [(child, stack) for child in at.children]


def _component(text: str) -> str:
    place = _PLACE.match(text)
    return f"{place['symbol']} ({place['image']})" if place else text.strip()
