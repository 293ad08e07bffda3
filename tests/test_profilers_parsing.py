"""What tools wrote, read as findings; and what they never write, refused in one sentence."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.profilers import instruments, linux, nsys, nsys_spans, perf, pyspy, pytorch, sample, stacks
from evaluators.profilers.findings import Cost, Reading, findings, waits_for
from evaluators.profilers.kernels import covered, kernel_bound
from evaluators.profilers.running import ToolProfiler
from raysearch.errors import EvaluatorFault
from raysearch.profile import Finding

DATA = Path(__file__).parent / "data" / "profiles"
NSYS = tuple(f"nsys.{report}.csv" for report in nsys.REPORTS)
NO_SPANS = b'{"span_s": 0, "busy_s": {}}'


def capture(name: str) -> bytes:
    return (DATA / name).read_bytes()


def found(reading: Reading, focus: str = "") -> dict[str, Finding]:
    return {finding.component: finding for finding in findings(reading, focus)}


def near(share: float, wanted: float, within: float = 0.01) -> bool:
    return abs(share - wanted) < within


# -- real captures ------------------------------------------------------------------------------------------


def test_linux_tells_work_from_waits() -> None:
    reading = linux.read_observed(capture("linux.observed.json"))
    by_name = found(reading)
    assert by_name["hot (program.py)"].bound == "compute"
    assert by_name["hot (program.py)"].share > 2 * by_name["cool (program.py)"].share > 0.2
    rest = by_name["rest (program.py), waiting"]
    assert (rest.bound, near(rest.share, 0.38, 0.05)) == ("latency", True)
    assert "`time.sleep(0.3)`" in rest.evidence
    assert math.isclose(sum(finding.share for finding in by_name.values()), 1, abs_tol=0.02), (
        "but for the sampler itself"
    )


def test_py_spy_in_either_format() -> None:
    reading = pyspy.read_folded(capture("py-spy.folded"), 0.01, took_s=0.8)
    by_name = found(reading)
    assert "called by" in by_name["hot (program.py)"].evidence
    assert by_name["hot (program.py)"].share > by_name["cool (program.py)"].share
    assert by_name["(waiting, start and end)"].bound == "latency"
    leaves, longest_s = stacks.speedscope(capture("py-spy.speedscope.json"), "x")
    hot, cool = (leaves.own[f"{name} (/run/job/w/program/program.py)"] for name in ("hot", "cool"))
    assert hot > cool > 0
    assert 0.3 < longest_s < leaves.sum + 0.2
    assert not [name for name in leaves.own if name.startswith("process")]


def test_perf_names_functions_of_compiled_code() -> None:
    by_name = found(perf.read_script(capture("perf.script"), 1 / 199, took_s=0.6))
    assert max(by_name.values(), key=lambda f: f.share).component == "spin (spin)"
    assert "called by main (spin)" in by_name["spin (spin)"].evidence
    copies = [finding for name, finding in by_name.items() if "memmove" in name or "memcpy" in name]
    assert [finding.bound for finding in copies] == ["memory"]
    assert by_name["(waiting)"].share > 0.1


def test_pytorch_on_a_processor() -> None:
    reading = pytorch.read_trace(capture("torch.cpu.json"))
    first, *others = findings(reading)
    assert (first.component, first.bound) == ("aten::addmm", "compute")
    assert near(first.share, 15.306 / 21.5, 0.02), "PyTorch's own table says 71.18 %"
    assert {"aten::_softmax", "forward"} <= {finding.component for finding in others}


def test_pytorch_on_a_gpu() -> None:
    """One kernel of 45 us in a step of 413 ms, as the library's authors cut it out of a trace."""
    by_name = found(pytorch.read_trace(capture("torch.gpu.json")))
    idle = by_name["(GPU idle)"]
    assert near(idle.share, 1 - 45 / 413451, 1e-6)
    assert "ProfilerStep#552" in idle.evidence
    (kernel,) = pytorch.read_trace(capture("torch.gpu.json")).costs[:1]
    assert (kernel.component.startswith("void cutlass"), kernel.bound) == (True, "latency")
    assert math.isclose(kernel.seconds, 45e-6, rel_tol=1e-3)
    assert "0.59 blocks an SM" in kernel.evidence


def test_pytorch_looks_at_what_is_marked() -> None:
    trace = json.loads(capture("torch.gpu.json"))
    mark = {"ph": "X", "cat": "user_annotation", "name": pytorch.MARK, "pid": 1, "tid": 1, "ts": 1666149715428500}
    trace["traceEvents"].append({**mark, "dur": 90})
    by_name = found(pytorch.read_trace(json.dumps(trace).encode()))
    assert near(by_name["(GPU idle)"].share, 0.5)


def test_nsight_systems() -> None:
    spans = b'{"span_s": 0.9, "busy_s": {"0": 0.225}}'
    kernels = nsys.read_report(capture(NSYS[0]), "kernels")
    calls = nsys.read_report(capture(NSYS[2]), "calls")
    by_name = found(nsys.read_reports(kernels, [], calls, json.loads(spans), 3.0))
    attention = by_name["flash_attention_prefill_f16"]
    assert (attention.bound, near(attention.share, 0.099385786 / 0.9, 1e-4)) == ("compute", True)
    assert by_name["dequant_q4_k_f16"].bound == "memory"
    idle = by_name["(GPU idle)"]
    assert near(idle.share, 0.675 / 0.9, 1e-3)
    assert "cuMemcpyHtoD_v2" in idle.evidence


def test_nsight_systems_through_the_profiler() -> None:
    reading = nsys.Nsys().read([*map(capture, NSYS), NO_SPANS], took_s=4.0)
    assert reading.costs[0].component == "flash_attention_prefill_f16"
    copies = next(cost for cost in reading.costs if cost.component == "[CUDA memcpy Host-to-Device]")
    assert (copies.bound, math.isclose(copies.seconds, 2.472025475)) == ("memory", True)


def test_nsight_systems_without_data_and_in_older_words() -> None:
    assert nsys.read_report(b"SKIPPED: x.sqlite does not contain CUDA kernel data.\n", "kernels") == []
    old = b'Time(%),Total Time (ns),Instances,Average,Minimum,Maximum,Name\n100.0,50,1,50.0,50,50,"f(int, int)"\n'
    (row,) = nsys.read_report(old, "kernels")
    assert (row["Name"], row["TotalTime(ns)"]) == ("f(int, int)", "50")
    with pytest.raises(EvaluatorFault, match="no work on a GPU"):
        nsys.read_reports([], [], [], {"span_s": 1.0, "busy_s": {}}, 1.0)


def test_the_busy_time_of_a_gpu_counts_overlaps_once(tmp_path: Path) -> None:
    """Tables as NVIDIA's schema names them (docs.nvidia.com/nsight-systems, SQLite Export Schema Reference)."""
    path = tmp_path / "nsys.sqlite"
    with sqlite3.connect(path) as database:
        for table in nsys_spans.ON_GPU[:2]:
            database.execute(f'CREATE TABLE {table} (start INT NOT NULL, "end" INT NOT NULL, deviceId INT NOT NULL)')
        database.execute(f'CREATE TABLE {nsys_spans.ON_HOST} (start INT NOT NULL, "end" INT NOT NULL)')
        kernels = [(1_000, 3_000, 0), (2_000, 4_000, 0), (0, 1_000, 1)]
        database.executemany(f"INSERT INTO {nsys_spans.ON_GPU[0]} VALUES (?, ?, ?)", kernels)
        database.execute(f"INSERT INTO {nsys_spans.ON_GPU[1]} VALUES (3500, 5000, 0)")
        database.execute(f"INSERT INTO {nsys_spans.ON_HOST} VALUES (0, 10000)")
    told = nsys_spans.spans(path)
    assert told["span_s"] == pytest.approx(10e-6)
    assert told["busy_s"] == {"0": pytest.approx(4e-6), "1": pytest.approx(1e-6)}


def test_sample_of_macos() -> None:
    by_name = found(sample.read_sample(capture("sample.txt")))
    zeroes = by_name["_platform_bzero$VARIANT$Haswel (libsystem_platform.dylib)"]
    assert (zeroes.bound, near(zeroes.share, 3227 / 3668, 1e-4)) == ("memory", True)
    assert near(by_name["madvise (libsystem_kernel.dylib)"].share, 438 / 3668, 1e-4)
    (wait,) = found(sample.read_sample(capture("sample.waiting.txt"))).values()
    assert (wait.component, wait.bound, wait.share) == ("read (libsystem_kernel.dylib), waiting", "io", 1.0)
    assert "P_from_C_read" in wait.evidence


def test_instruments_of_macos() -> None:
    reading = instruments.read_export(capture("instruments.time-profile.xml"), took_s=0.008)
    by_name = found(reading)
    assert near(by_name["memcpy (libsystem_platform.dylib)"].share, 2 / 8)
    assert by_name["memcpy (libsystem_platform.dylib)"].bound == "memory"
    assert "called by parse() (App)" in by_name["memcpy (libsystem_platform.dylib)"].evidence
    assert by_name["main (App)"].bound == "compute"
    assert by_name["mach_msg2_trap (libsystem_kernel.dylib)"].bound == "overhead"
    assert near(by_name["(waiting)"].share, 4 / 8)


# -- what no tool writes ------------------------------------------------------------------------------------

READERS: dict[str, tuple[Callable[[], ToolProfiler], Sequence[str]]] = {
    "linux": (linux.Linux, ["linux.observed.json"]),
    "py-spy": (pyspy.PySpy, ["py-spy.folded"]),
    "perf": (perf.Perf, ["perf.script"]),
    "torch": (pytorch.Torch, ["torch.cpu.json"]),
    "nsys": (nsys.Nsys, NSYS),
    "sample": (sample.Sample, ["sample.txt"]),
    "instruments": (instruments.Instruments, ["instruments.time-profile.xml"]),
}
ODD = {
    "nothing": b"",
    "blanks": b" \n\n  ",
    "zeros": b"\0" * 5000,
    "no UTF-8": bytes(range(128, 256)) * 50,
    "another format": b"hello world\nthis is prose, not a profile\n" * 40,
    "an empty object": b"{}",
    "a list": b"[1, 2]",
    "deep": b"[" * 100_000,
    "a document type": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>',
    "wrong numbers": b'{"wall_s": 1e999, "user_s": -1, "system_s": "x", "traceEvents": [{"ph": "X", "dur": "long"}]}',
}


def read(tool: str, captures: Sequence[bytes]) -> Reading:
    """As `ToolProfiler.examine` reads them: an EvaluatorFault, or an error that it makes one of."""
    profiler = READERS[tool][0]()
    try:
        return profiler.read([*captures, *([NO_SPANS] if tool == "nsys" else [])], 1.0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise EvaluatorFault(str(error)) from error


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("tool", READERS)
def test_what_no_tool_writes_is_a_fault(tool: str, odd: str) -> None:
    captures = [capture(name) for name in READERS[tool][1]]
    with pytest.raises(EvaluatorFault) as fault:
        read(tool, [ODD[odd], *captures[1:]])
    assert str(fault.value)
    assert "\x00" not in str(fault.value)


@pytest.mark.parametrize("tool", READERS)
def test_a_capture_cut_anywhere_is_read_or_refused(tool: str) -> None:
    names = READERS[tool][1]
    whole = capture(names[0])
    others = [capture(name) for name in names[1:]]
    for cut in range(0, len(whole), max(1, len(whole) // 60)):
        try:
            shares = [finding.share for finding in findings(read(tool, [whole[:cut], *others]))]
        except EvaluatorFault:
            continue
        assert sum(shares) <= 1.0001
        assert all(0 < share <= 1 for share in shares)


@pytest.mark.parametrize("tool", ["py-spy", "perf", "sample"])
def test_names_that_are_no_text_are_kept_readable(tool: str) -> None:
    (name,) = READERS[tool][1]
    content = (
        capture(name)
        .replace(b"hot", b"\xff\xfe\x1b[31mh")
        .replace(b"spin", b"\xff\x1b[31ms")
        .replace(b"calloc", b"\xffc")
    )
    for finding in findings(read(tool, [content])):
        assert "\x1b" not in finding.component + finding.evidence
        finding.component.encode()


def test_a_deep_stack_is_a_fault_not_a_crash() -> None:
    deep = "Call graph:\n    5 Thread_1\n" + "".join(f"{' ' * (6 + depth)}5 f{depth}\n" for depth in range(5000))
    with pytest.raises(EvaluatorFault, match="deeper than"):
        sample.read_sample(deep.encode())
    folded = ";".join(f"f{n}" for n in range(20_000))
    assert pyspy.read_folded(f"{folded} 3\n".encode(), 0.01, 1.0).costs[0].component == "f19999"


def test_frames_that_are_nowhere_are_a_fault() -> None:
    report = json.loads(capture("linux.observed.json"))
    report["processes"][0]["stacks"][0][1] = [10_000]
    with pytest.raises(EvaluatorFault, match="not in its list"):
        linux.read_observed(json.dumps(report).encode())
    scope = json.loads(capture("py-spy.speedscope.json"))
    scope["profiles"][0]["samples"][0] = [99_999]
    with pytest.raises(EvaluatorFault, match="not in its list"):
        stacks.speedscope(json.dumps(scope).encode(), "x")
    text = capture("instruments.time-profile.xml").replace(b'ref="106"', b'ref="999"')
    with pytest.raises(EvaluatorFault, match="nowhere before"):
        instruments.read_export(text, 1.0)


# -- the terms that all share -------------------------------------------------------------------------------

costs = st.lists(
    st.builds(Cost, st.sampled_from(["f", "g", "h", "\x1b[0mi\n"]), st.floats(), st.sampled_from(["io", "compute"])),
    max_size=12,
)


@given(costs, st.floats(), st.text(max_size=20))
def test_shares_are_shares(listed: list[Cost], whole_s: float, focus: str) -> None:
    told = findings(Reading(tuple(listed), whole_s), focus)
    assert sum(finding.share for finding in told) <= 1 + 1e-9
    assert [f.share for f in told] == sorted((f.share for f in told), reverse=True)
    assert all(0 < finding.share <= 1 and "\x1b" not in finding.component for finding in told)


def test_a_focus_brings_what_is_small() -> None:
    listed = (*(Cost(f"f{n:02}", 1.0) for n in range(30)), Cost("tokenizer (text.py)", 0.5))
    assert "tokenizer (text.py)" not in {f.component for f in findings(Reading(listed, 31.0))}
    assert "tokenizer (text.py)" in {f.component for f in findings(Reading(listed, 31.0), "the Tokenizer, please")}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted), max_size=8))
def test_the_union_of_spans(spans: list[list[int]]) -> None:
    cells = {cell for begin, end in spans for cell in range(begin, end)}
    assert covered((float(begin), float(end)) for begin, end in spans) == len(cells)


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", "network"),
        ("void at::native::vectorized_elementwise_kernel<4>", "memory"),
        ("ampere_bf16_s16816gemm_bf16_128x64", "compute"),
        ("cudaLaunchKernel", "overhead"),
        ("cudaStreamSynchronize", "synchronization"),
        ("my_secret_sauce", "unknown"),
    ],
)
def test_what_a_kernel_is_bound_by(name: str, bound: str) -> None:
    assert kernel_bound(name) == bound


@pytest.mark.parametrize(
    ("wait", "bound"),
    [
        ("hrtimer_nanosleep", "latency"),
        ("futex_do_wait", "synchronization"),
        ("lock.acquire()", "synchronization"),
        ("ep_poll", "unknown"),
        ("do_epoll_wait", "network"),
        ("folio_wait_bit_common", "io"),
        ("total += i * i", "unknown"),
    ],
)
def test_what_a_wait_is_for(wait: str, bound: str) -> None:
    assert waits_for(wait) == bound
