"""Who else was there: what is read, what is made of it, and real processes that get in the way."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.devices import Contention, Core, Inventory, Lease, Thresholds, counters, inventory, leased
from raysearch.devices.contention import SLICE_S, Sample
from raysearch.devices.inventory import cores, parse_cpus
from raysearch.devices.leases import on_cpus
from raysearch.devices.provenance import provenance
from raysearch.errors import Invariant, Refused, Void
from raysearch.sandbox import Held, Mount, open_sandbox
from raysearch.target import SandboxLimits

linux = pytest.mark.skipif(sys.platform != "linux", reason="processors are watched on Linux")

SEEN = Contention(window_s=10.0, cpus=(3,), busy_s=10.0, own_s=10.0, sensed=("processors",))


# What is made of it.


def test_a_measurement_alone_on_its_core_holds() -> None:
    assert (SEEN.verdict, SEEN.reasons, SEEN.foreign_s, SEEN.strayed_s) == ("ok", (), 0.0, 0.0)
    SEEN.require()


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ({"own_s": 9.5}, "others used 0.50 s of the leased cores in 10.00 s; 0.30 s are tolerated"),
        ({"own_s": 9.5, "strangers": ("cc1 (process 7): 0.50 s",)}, "cc1 (process 7): 0.50 s"),
        ({"own_s": 9.5, "steal_s": 0.4}, "0.40 s of it outside of this virtual machine"),
        ({"own_s": 0.0, "busy_s": 0.31}, "others used 0.31 s"),
        ({"throttlings": 1}, "slowed for heat 1 times"),
        ({"quota_s": 0.2}, "stopped for 0.20 s by its quota"),
    ],
)
def test_what_makes_it_void(seen: dict[str, object], reason: str) -> None:
    contention = replace(SEEN, **seen)  # type: ignore[arg-type]
    assert contention.verdict == "void"
    with pytest.raises(Void) as caught:
        contention.require()
    assert reason in str(caught.value)
    assert caught.value.retryable


@pytest.mark.parametrize(
    "seen",
    [
        {"own_s": 9.75},
        {"own_s": 9.5, "kernel_s": 0.3},
        {"own_s": 9.5, "thresholds": Thresholds(foreign_share=0.1)},
        {"throttlings": 5, "thresholds": Thresholds(throttlings=5)},
        {"own_s": 0.0, "thresholds": Thresholds(foreign_share=math.inf)},
        {"window_s": 0.02, "busy_s": 0.03, "own_s": 0.01},
        {"quota_s": 0.0, "throttlings": 0, "load": 9.0, "pressure_s": 3.0},
        {"own_s": 11.0, "irq_s": 1.0},
    ],
)
def test_what_is_tolerated(seen: dict[str, object]) -> None:
    assert replace(SEEN, **seen).verdict == "ok"  # type: ignore[arg-type]


def test_a_program_that_leaves_its_cores_is_refused() -> None:
    """Two processors' work on one: no contention, but not what was asked for either."""
    contention = replace(SEEN, own_s=19.0)
    assert contention.verdict == "strayed"
    with pytest.raises(Refused, match=r"9\.00 s of processor time on other cores than those it was given \(3\)"):
        contention.require()
    assert replace(SEEN, own_s=19.0, cpus=(), sensed=()).verdict == "ok"  # no affinity, nothing to leave


def test_others_do_not_make_up_for_what_the_program_did_elsewhere() -> None:
    """It was away for half of the time, and somebody else had its core: the sums are as if nothing had happened."""
    contention = replace(SEEN, astray_s=5.0)
    assert contention.verdict == "void"
    assert (contention.foreign_s, contention.strayed_s) == (5.0, 5.0)


def samples(foreign: Sequence[float], step_s: float = 0.1) -> tuple[Sample, ...]:
    """As of a busy core of which others have these shares, step by step."""
    found, busy_s, own_s = [Sample(0.0, 0.0, 0.0)], 0.0, 0.0
    for number, share in enumerate(foreign, 1):
        busy_s += step_s
        own_s += (1 - share) * step_s
        found.append(Sample(number * step_s, busy_s, own_s))
    return tuple(found)


def test_a_burst_is_not_averaged_away() -> None:
    """Half a second of a minute is one part in 120, and half of a second."""
    steps = [0.0] * 300 + [0.5] * 10 + [0.0] * 290
    contention = Contention(60.0, (0,), busy_s=60.0, own_s=59.5, samples=samples(steps), sensed=("processors",))
    assert contention.burst_share == pytest.approx(0.5)
    assert [reason.startswith("for a while others used 50%") for reason in contention.reasons] == [True]


@given(st.lists(st.floats(0.0, 1.0), max_size=60))
def test_bursts_are_what_brute_force_finds(shares: list[float]) -> None:
    found = samples(shares)
    contention = Contention(len(shares) * 0.1, (0,), samples=found)
    stretches = [
        ((b.busy_s - a.busy_s) - (b.own_s - a.own_s)) / (b.at_s - a.at_s)
        for number, b in enumerate(found)
        for a in [c for c in found[:number] if b.at_s - c.at_s >= SLICE_S][-1:]
    ]
    assert contention.burst_share == pytest.approx(max(stretches, default=0.0), abs=1e-9)


@given(st.floats(0.001, 1e4), st.integers(1, 64), st.floats(0.0, 64.0), st.floats(0.0, 64.0), st.floats(0.0, 10.0))
def test_more_of_others_never_mends_a_measurement(
    window_s: float, many: int, busy: float, own: float, more: float
) -> None:
    seen = Contention(window_s, tuple(range(many)), busy_s=busy * window_s, own_s=own * window_s)
    worse = replace(seen, busy_s=seen.busy_s + more)
    assert not (seen.reasons and not worse.reasons)
    assert seen.foreign_s * seen.strayed_s == 0.0  # nothing was seen elsewhere


def test_a_clock_that_falls_makes_it_void() -> None:
    steps = [Sample(n / 10, n / 10, n / 10, 3000.0 if n < 10 else 2000.0) for n in range(21)]
    assert "the clock fell from 3000 to 2000 MHz" in replace(SEEN, samples=tuple(steps)).reasons
    idle = [replace(sample, busy_s=0.0, own_s=0.0) for sample in steps]  # an idle core may be as slow as it likes
    assert replace(SEEN, samples=tuple(idle)).verdict == "ok"


def test_conditions_are_short_texts() -> None:
    told = replace(SEEN, own_s=9.9, load=1.234, steal_s=0.01).conditions()
    assert told == {
        "sensed": "processors",
        "foreign_cpu_s": "0.10 of 10.00",
        "load": "1.23",
        "steal_s": "0.01",
    }
    assert Contention(1.0).conditions() == {"sensed": "nothing"}


# What is read.


def test_processors_are_read_from_proc_stat(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(
        "cpu  9 9 9 9 9 9 9 9 9 9\n"
        "cpu0 100 0 100 1000 100 10 10 50 0 0\n"
        "cpu1 1 1 1 700 1 1 1 1 0 0\n"
        "cpu10 900 900 900 900 900 900 900 900 900 900\n"
        "intr 1 2 3\ncpu11 is no processor here\n"
    )
    tick = counters.TICKS_PER_S
    found = counters.read([0, 1], tmp_path)
    assert found is not None
    assert found.cpus == 2
    assert (found.idle_s * tick, found.irq_s * tick, found.steal_s * tick) == pytest.approx((1801, 22, 51))
    later = replace(found, at_s=found.at_s + 3.0, idle_s=found.idle_s + 2.0, irq_s=found.irq_s + 0.5)
    assert later.busy_since(found) == pytest.approx(3.5)
    assert counters.read([5], tmp_path) is None
    assert counters.read([0], tmp_path / "none") is None


def test_processes_are_told_apart(tmp_path: Path) -> None:
    def write(pid: int, name: str, flags: int, ticks: int, started: int, cpu: int) -> None:
        (tmp_path / str(pid)).mkdir(exist_ok=True)
        fields = [0] * 50
        fields[counters.FLAGS], fields[counters.UTIME], fields[counters.STARTED] = flags, ticks, started
        fields[counters.PROCESSOR] = cpu
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S " + " ".join(map(str, fields[1:])))

    write(7, "a) (b", 0, 100, 5, 1)
    write(8, "kworker/1:0", counters.KERNEL_THREAD, 100, 5, 1)
    write(9, "elsewhere", 0, 100, 5, 0)
    write(10, "old", 0, 500, 5, 1)
    (tmp_path / "11").mkdir()
    before = counters.running(tmp_path)
    assert sorted(before) == [7, 8, 9, 10]
    write(7, "a) (b", 0, 150, 5, 1)
    write(8, "kworker/1:0", counters.KERNEL_THREAD, 110, 5, 1)
    write(9, "elsewhere", 0, 900, 5, 0)
    write(10, "new, of the same number", 0, 300, 6, 1)
    found = counters.spent_between(before, counters.running(tmp_path), frozenset({1}))
    tick = counters.TICKS_PER_S
    assert [(process.name, round(spent_s * tick), process.kernel) for process, spent_s in found] == [
        ("new, of the same number", 300, False),
        ("a) (b", 50, False),
        ("kworker/1:0", 10, True),
    ]


def test_heat_clocks_pressure_load_and_quota(tmp_path: Path) -> None:
    for cpu, throttled, khz in ((0, 2, 3_000_000), (1, 3, 1_000_000)):
        for folder, name, value in (
            ("thermal_throttle", "core_throttle_count", throttled),
            ("thermal_throttle", "package_throttle_count", 1),
            ("cpufreq", "scaling_cur_freq", khz),
            ("cpufreq", "scaling_governor", "performance"),
            ("cpufreq", "cpuinfo_max_freq", 4_000_000),
        ):
            place = tmp_path / f"cpu{cpu}" / folder
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(f"{value}\n")
    assert counters.throttlings([0, 1], tmp_path) == 7
    assert counters.throttlings([2], tmp_path) is None
    assert counters.mhz([0, 1, 2], tmp_path) == pytest.approx(2000.0)
    assert counters.mhz([2], tmp_path) is None
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "cpu").write_text("some avg10=0.04 avg60=0.10 avg300=0.20 total=2500000\nfull total=1\n")
    (tmp_path / "loadavg").write_text("0.19 0.14 0.37 1/92 22575\n")
    assert counters.pressure_s(tmp_path) == pytest.approx(2.5)
    assert counters.pressure_s(tmp_path / "none") is None
    assert counters.load(tmp_path) == pytest.approx(0.19)
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Example 9000\n")
    told = provenance(cores([0], tmp_path), tmp_path, tmp_path / "cpuinfo")
    assert told["cpu"] == "Example 9000"
    assert (told["governor"], told["mhz_max"], told["cores"]) == ("performance", "4000", "0 (cpu 0)")


@pytest.mark.parametrize(
    ("own", "file", "text", "seconds"),
    [
        ("0::/a/b\n", "a/b/cpu.stat", "usage_usec 5\nnr_throttled 2\nthrottled_usec 1500000\n", 1.5),
        ("0::/hidden\n", "cpu.stat", "throttled_usec 500000\n", 0.5),
        ("3:cpuset:/\n2:cpu,cpuacct:/job\n0::/\n", "cpu/job/cpu.stat", "throttled_time 2000000000\n", 2.0),
        ("0::/\n", "other", "", None),
    ],
)
def test_quotas_of_both_versions(tmp_path: Path, own: str, file: str, text: str, seconds: float | None) -> None:
    (tmp_path / "own").write_text(own)
    place = tmp_path / "cgroup" / file
    place.parent.mkdir(parents=True)
    place.write_text(text)
    assert counters.quota_s(tmp_path / "cgroup", tmp_path / "own") == seconds


@given(st.sets(st.integers(0, 40)))
def test_lists_of_processors_are_read_as_the_kernel_writes_them(numbers: set[int]) -> None:
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    text = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
    assert parse_cpus(text + "\n") == numbers


@pytest.mark.parametrize("name", ["core_cpus_list", "thread_siblings_list"])
def test_two_threads_are_one_core(tmp_path: Path, name: str) -> None:
    """Four cores of two threads each, of which a cpuset leaves 1, 2, 5 and 7."""
    for cpu in range(8):
        (tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "topology" / name).write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    found = cores([1, 2, 5, 7], tmp_path)
    assert [(core.name, core.cpus, core.siblings) for core in found] == [
        ("core-1", (1, 5), (1, 5)),
        ("core-2", (2,), (2, 6)),
        ("core-3", (7,), (3, 7)),
    ]
    assert [core.cpus for core in cores([1, 2], tmp_path / "no topology")] == [(1,), (2,)]


# Real processes.

BURN = """
import os, sys, time
began, end = time.process_time(), time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    pass
print(time.process_time() - began)
"""


class Bench:
    """A leased core, and a program that keeps it busy."""

    def __init__(self, folder: Path, lease: Lease) -> None:
        self.lease = lease
        self.mount = Mount(folder, "/candidate")
        self.sandbox = Held(open_sandbox("none"), lease.hold)

    def run(self, code: str, *words: str) -> str:
        command = [sys.executable, "-S", "-c", code, *words]
        limits, readable = SandboxLimits(), [self.mount]
        done = self.sandbox.run(command, cwd=self.mount, readable=readable, env={}, limits=limits, timeout_s=60.0)
        assert done.status == 0, done.stderr
        return done.stdout


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with leased(folder=tmp_path / "locks", offered=Inventory(inventory(environ={}).cores)) as lease:
        yield Bench(tmp_path, lease)


@contextmanager
def burner(cpus: Sequence[int], after_s: float) -> Iterator[int]:
    """A process that keeps these processors busy, from then on."""
    with on_cpus(cpus):
        process = subprocess.Popen(["sh", "-c", "read go; while :; do :; done"], stdin=subprocess.PIPE)
    timer = threading.Timer(after_s, process.communicate, [b"go\n"])
    timer.start()
    try:
        yield process.pid
    finally:
        timer.cancel()
        process.kill()
        timer.join()
        process.wait()


@linux
def test_a_burner_that_starts_in_mid_measurement_makes_it_void(bench: Bench) -> None:
    with burner(bench.lease.affinity, 0.4) as pid, bench.lease.watched() as watch:
        bench.run(BURN, "0.8")
    seen = watch.report()
    assert seen.verdict == "void"
    assert any(f"(process {pid})" in stranger for stranger in seen.strangers)
    with pytest.raises(Void, match="others used"):
        seen.require()


@linux
def test_a_burner_is_noticed_beside_what_sleeps(bench: Bench) -> None:
    """A server that waits for requests leaves its core idle, and others take it."""
    with burner(bench.lease.affinity, 0.1), bench.lease.watched() as watch:
        bench.run("import time; time.sleep(0.4); print(0)")
    assert watch.report().verdict == "void"


@linux
def test_quiet_can_be_waited_for(bench: Bench) -> None:
    with burner(bench.lease.affinity, 0.0):
        time.sleep(0.1)
        assert not bench.lease.quiet_within(0.3)
        assert bench.lease.quiet_within(0.0, Thresholds(foreign_share=2.0))


@linux
def test_what_the_measurement_spends_itself_is_known(bench: Bench) -> None:
    """Of processes that end early, that are left behind, and of threads of this process."""
    family = f"""
import os, sys
sys.argv = ["", "0.1"]
for _ in range(3):
    if os.fork() == 0:
        exec({BURN!r})
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""
    with bench.lease.watched() as watch:
        spent = float(bench.run(BURN, "0.2"))
        done = bench.sandbox.run(
            [sys.executable, "-S", "-c", family], cwd=bench.mount, env={}, limits=SandboxLimits(), timeout_s=60.0
        )
        spent += sum(map(float, done.stdout.split()))
        before = os.times()
        with bench.lease.pinned():
            sum(range(3_000_000))
        after = os.times()
    pinned = (after.user + after.system) - (before.user + before.system)
    start_s = 0.5  # Python itself, twice, on a slow machine
    assert spent - 0.02 <= watch.report().own_s <= spent + pinned + start_s
    assert watch.report().own_s >= spent + 0.5 * pinned - 0.02


@linux
def test_a_program_on_other_cores_is_never_scored(bench: Bench) -> None:
    others = os.sched_getaffinity(0) - set(bench.lease.affinity)
    if not others:
        pytest.skip("there is but one core")
    with bench.lease.watched() as watch:
        bench.run(f"import os; os.sched_setaffinity(0, {others})\n{BURN}", "0.4")
    with pytest.raises((Refused, Void)):  # void where somebody else was busy on the core that it left
        watch.report().require()


def test_a_watch_reports_after_its_end(bench: Bench) -> None:
    with bench.lease.watched() as watch, pytest.raises(Invariant):
        watch.report()
    assert watch.report().window_s < 60


DELAYED = f"""
import time
first = time.monotonic()
{BURN}
print(time.monotonic() - first, int(open("/proc/self/schedstat").read().split()[1]) / 1e9)
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not say how long tasks waited")
@pytest.mark.parametrize("disturbed", [False, True])
@pytest.mark.parametrize("seconds", [0.1, 0.3, *(pytest.param(long, marks=pytest.mark.slow) for long in (1.0, 3.0))])
def test_what_others_took_is_what_the_program_waited(tmp_path: Path, seconds: float, disturbed: bool) -> None:
    """On any machine, quiet or not: neither less, nor more but for what others did before it began and after it."""
    cpu = max(os.sched_getaffinity(0))
    alone = Inventory((Core(cpu, (cpu,), (cpu,)),))
    with leased(folder=tmp_path / "locks", offered=alone) as lease, ExitStack() as stack:
        if disturbed:
            stack.enter_context(burner([cpu], seconds / 2))
        with lease.watched() as watch:
            told = Bench(tmp_path, lease).run(DELAYED, str(seconds))
    seen = watch.report()
    _, wall_s, waited_s = map(float, told.split())
    steps_s = 0.03
    assert seen.foreign_s >= waited_s - seen.kernel_s - steps_s
    assert seen.foreign_s <= waited_s + (seen.window_s - wall_s) + seen.steal_s + steps_s


@linux
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.2])
def test_no_burner_goes_unnoticed(bench: Bench, seconds: float) -> None:
    for _ in range(10):
        with burner(bench.lease.affinity, seconds / 2), bench.lease.watched() as watch:
            bench.run(BURN, str(seconds))
        assert watch.report().verdict == "void"
