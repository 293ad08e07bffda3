"""Nsight Systems: kernels, copies and CUDA calls of a program on NVIDIA's GPUs, whatever its language.

Not run where this was written, for want of a GPU: its command lines follow NVIDIA's manual, its reports are parsed as
other machines made them. `nsys` traces CUDA by a library that it loads into the program, for which no right is needed;
its sampling of processors, which asks for perf_event_open, is off.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluators.profilers.findings import Cost, Reading, percent
from evaluators.profilers.kernels import kernel_bound
from evaluators.profilers.reading import json_of, number, text_of
from evaluators.profilers.running import ToolProfiler, Wrapped, executable
from evaluators.results import clean
from raysearch.errors import EvaluatorFault

REPORTS = ("cuda_gpu_kern_sum", "cuda_gpu_mem_time_sum", "cuda_api_sum")
SPANS = "nsys-spans.json"
SPANS_SCRIPT = Path(__file__).with_name("nsys_spans.py")
CALLS_SHOWN = 4


class Nsys(ToolProfiler):
    """Nsight Systems on the command and all below it."""

    name = "nsys"
    needs = "loading a library into the program, or files below /opt"

    def available(self) -> str:
        if not executable("nsys"):
            return (
                "nsys is not installed: `apt install nsight-systems-cli` from NVIDIA's repository, or the CUDA toolkit"
            )
        return (
            "" if Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists() else "nsys: there is no NVIDIA GPU here"
        )

    def probe(self) -> tuple[str, ...]:
        return self._profile("probe", ("true",))

    def wrap(self, words: Sequence[str]) -> Wrapped:
        write = 'exec "$0" stats --quiet --force-export=true --format csv --report "$2" "$1" > "$3"'
        convert: list[tuple[str, ...]] = [
            ("sh", "-c", write, executable("nsys"), "{scratch}/nsys.nsys-rep", report, f"{{scratch}}/nsys-{report}.csv")
            for report in REPORTS
        ]
        convert.append(("python", "-I", "-S", str(SPANS_SCRIPT), "{scratch}/nsys.sqlite", f"{{scratch}}/{SPANS}"))
        captures = (*(f"nsys-{report}.csv" for report in REPORTS), SPANS)
        return Wrapped(self._profile("nsys", words), captures, tuple(convert), raw=("nsys.nsys-rep",))

    def _profile(self, name: str, words: Sequence[str]) -> tuple[str, ...]:
        options = ["--trace=cuda,nvtx,osrt", "--sample=none", "--cpuctxsw=none", "--force-overwrite=true"]
        return (executable("nsys"), "profile", *options, f"--output={{scratch}}/{name}", *words)

    def read(self, captures: Sequence[bytes], took_s: float) -> Reading:
        tables = [read_report(content, report) for content, report in zip(captures[:-1], REPORTS, strict=True)]
        kernels, copies, calls = tables
        return read_reports(kernels, copies, calls, json_of(captures[-1], SPANS), took_s)


def read_report(content: bytes, what: str) -> list[dict[str, str]]:
    """The rows of one report of ``nsys stats --format csv``, by column; none where the report says that it has no data.

    Versions differ in blanks (``Time(%)``, ``Time (%)``) and in what they print before the table: columns are named
    here without blanks. Raises EvaluatorFault.
    """
    text = text_of(content, what)
    lines = text.splitlines()
    heads = [place for place, line in enumerate(lines) if line.replace(" ", "").startswith(("Time(%),", '"Time(%)",'))]
    if not heads:
        if "SKIPPED" in text or "does not contain" in text:
            return []
        raise EvaluatorFault(f"{what}: there is no table (`Time (%),Total Time (ns),...`) in what nsys printed")
    columns = [column.replace(" ", "") for column in next(csv.reader([lines[heads[0]]]))]
    rows = []
    for cells in csv.reader(lines[heads[0] + 1 :]):
        if len(cells) != len(columns):
            break
        rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def read_reports(
    kernels: Sequence[Mapping[str, str]],
    copies: Sequence[Mapping[str, str]],
    calls: Sequence[Mapping[str, str]],
    spans: Mapping[str, object],
    took_s: float,
) -> Reading:
    """Findings from the rows of the reports and the GPU's busy time. Raises EvaluatorFault.

    Shares are of the time from the first to the last event of CUDA, over all GPUs.
    """
    busy = spans.get("busy_s", {})
    if not isinstance(busy, dict):
        raise EvaluatorFault(f"{SPANS}: busy_s must be an object")
    devices = max(1, len(busy))
    costs = [_cost(row, "Name", devices) for row in kernels] + [_cost(row, "Operation", devices) for row in copies]
    summed_s = sum(cost.seconds for cost in costs)
    busy_s = sum(number(busy, device) for device in busy) / devices or summed_s
    span_s = number(spans, "span_s", 0.0) or took_s
    if not costs:
        raise EvaluatorFault(
            "nsys saw no work on a GPU: does the benchmark use one, and does its own process start it?"
        )
    if summed_s > busy_s:  # streams overlap
        costs = [Cost(c.component, c.seconds * busy_s / summed_s, c.bound, c.evidence) for c in costs]
    if (idle_s := span_s - busy_s) > 0:
        shown = ", ".join(
            f"{_text(row, 'Name')} {percent(_ns(row) / 1e9, span_s)} ({_text(row, 'NumCalls')} calls)"
            for row in calls[:CALLS_SHOWN]
        )
        costs.append(Cost("(GPU idle)", idle_s, "overhead", f"calls of CUDA on the host: {shown}" if shown else ""))
    summary = (
        f"{span_s:.4g} s from the first to the last event of CUDA, the GPU busy for {percent(busy_s, span_s)} of it."
    )
    return Reading(tuple(costs), span_s, summary, {"GPUs": str(devices)})


def _cost(row: Mapping[str, str], column: str, devices: int) -> Cost:
    name = _text(row, column if column in row else "Name")
    times = row.get("Instances") or row.get("Count") or "?"
    average = row.get("Avg(ns)") or row.get("Average(ns)") or row.get("Average") or ""
    return Cost(name, _ns(row) / 1e9 / devices, kernel_bound(name), f"{times} times, {average} ns each")


def _ns(row: Mapping[str, str]) -> float:
    text = row.get("TotalTime(ns)", row.get("TotalTime", ""))
    try:
        found = float(text.replace(",", ""))
    except ValueError:
        raise EvaluatorFault(f"nsys: Total Time is {clean(repr(text), 40)}, no number of nanoseconds") from None
    return number({"Total Time (ns)": found}, "Total Time (ns)")


def _text(row: Mapping[str, str], column: str) -> str:
    try:
        return row[column]
    except KeyError:
        raise EvaluatorFault(f"nsys: the report has no column {column!r}; it has {', '.join(row)}") from None
