"""Instruments of macOS (``xctrace``): the Time Profiler's samples of a command and all that it starts.

Not run where this was written, for want of a Mac: exports are parsed as other machines made them.
"""

from __future__ import annotations

import io
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from evaluators.profilers.findings import Cost, Reading
from evaluators.profilers.running import ToolProfiler, Wrapped, executable
from evaluators.profilers.stacks import Leaves
from evaluators.results import clean
from raysearch.errors import EvaluatorFault
from raysearch.profile import Bound

CAPTURE, TRACE = "time-profile.xml", "instruments.trace"
TABLE = '/trace-toc/run[@number="1"]/data/table[@schema="time-profile"]'
SAMPLE_NS = 1_000_000
STACKS = ("tagged-backtrace", "backtrace", "stack")


class Instruments(ToolProfiler):
    """Xcode's Time Profiler, from the command line."""

    name = "instruments"
    needs = "Xcode's tools"

    def available(self) -> str:
        if sys.platform != "darwin":
            return f"instruments: this is {sys.platform}, not macOS; on Linux there is `linux`"
        return "" if executable("xctrace") or executable("xcrun") else "xctrace is not installed: it comes with Xcode"

    def probe(self) -> tuple[str, ...]:
        return ("xcrun", "xctrace", "version")

    def wrap(self, words: Sequence[str]) -> Wrapped:
        record = ("xcrun", "xctrace", "record", "--template", "Time Profiler", "--no-prompt")
        command = (*record, "--output", f"{{scratch}}/{TRACE}", "--target-stdout", "-", "--launch", "--", *words)
        export = ("xcrun", "xctrace", "export", "--input", f"{{scratch}}/{TRACE}", "--xpath", TABLE)
        return Wrapped(command, (CAPTURE,), ((*export, "--output", f"{{scratch}}/{CAPTURE}"),))

    def read(self, captures: Sequence[bytes], took_s: float) -> Reading:
        return read_export(captures[0], took_s)


def read_export(content: bytes, took_s: float) -> Reading:
    """Findings from the table ``time-profile`` that ``xctrace export`` wrote. Raises EvaluatorFault.

    An element is written once, with an ``id``, and afterwards by ``ref``; stacks are innermost first. Rows of threads
    that were not running are left out, as are rows without a stack.
    """
    if b"<!" in content[:4096].replace(b"<!--", b""):
        raise EvaluatorFault(f"{CAPTURE} declares a document type, which xctrace does not")
    known: dict[str, ET.Element] = {}
    leaves, nameless = Leaves(), 0
    try:
        for _, element in ET.iterparse(io.BytesIO(content)):
            if identity := element.get("id"):
                known[identity] = element
            if element.tag == "row":
                nameless += not _row(element, known, leaves)
    except ET.ParseError as error:
        raise EvaluatorFault(f"{CAPTURE} is no XML, or cut short: {clean(str(error), 120)}") from None
    if not leaves.own:
        raise EvaluatorFault(f"{CAPTURE} holds no sample with a stack ({nameless} rows without)")
    busy_s = leaves.sum / 1e9
    costs = leaves.costs(1e-9, _bound)
    if (rest_s := took_s - busy_s) > 0:
        costs.append(Cost("(waiting)", rest_s, "latency", "no thread had a processor"))
    summary = f"{busy_s:.4g} s of processors in samples, {nameless} rows without a stack."
    return Reading(tuple(costs), max(took_s, busy_s), summary)


def _row(row: ET.Element, known: dict[str, ET.Element], leaves: Leaves) -> bool:
    """Whether the row counted."""
    cells = [_resolved(cell, known) for cell in row]
    state = next((cell for cell in cells if cell.tag == "thread-state"), None)
    stack = next((cell for cell in cells if cell.tag in STACKS), None)
    if stack is None or (state is not None and (state.get("fmt") or state.text) != "Running"):
        return False
    weight = next((cell for cell in cells if cell.tag == "weight"), None)
    inner = next((_resolved(child, known) for child in stack if child.tag == "backtrace"), stack)
    frames = [_resolved(frame, known) for frame in inner if frame.tag == "frame"]
    names = [_component(frame, known) for frame in reversed(frames)]
    leaves.add(names, float((weight.text if weight is not None else None) or SAMPLE_NS))
    return bool(names)


def _resolved(element: ET.Element, known: dict[str, ET.Element]) -> ET.Element:
    reference = element.get("ref")
    if reference is None:
        return element
    if reference not in known:
        raise EvaluatorFault(f"{CAPTURE} refers to element {clean(reference, 20)!r}, which is nowhere before")
    return known[reference]


def _component(frame: ET.Element, known: dict[str, ET.Element]) -> str:
    binary = frame.find("binary")
    image = _resolved(binary, known).get("name") if binary is not None else None
    name = frame.get("name") or frame.get("addr") or "unnamed"
    return f"{name} ({image})" if image else name


def _bound(name: str) -> Bound:
    if "libsystem_kernel" in name:
        return "overhead"
    return "memory" if "libsystem_platform" in name or "memmove" in name or "memset" in name else "compute"
