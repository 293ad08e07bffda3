"""Whole runs on leased devices: real drivers, real sandboxes, and what else goes on on the machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from drivers import Driver
from toys import make_target

from raysearch.devices import Core, Inventory, Request, inventory, leased
from raysearch.devices.locks import Locks
from raysearch.facts import AttemptClosed, JobFailed, Judged, Measured
from raysearch.process import strays
from raysearch.types import SEED, Outcome

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="cores are leased and watched on Linux"),
]

TIMED = """
import argparse, json, os, pathlib, time
p = argparse.ArgumentParser()
for name in ("candidate", "reference", "seed", "result"):
    p.add_argument("--" + name)
a = p.parse_args()
began_s = time.monotonic()
while time.monotonic() - began_s < {seconds}:
    pass
ended_s = time.monotonic()
x = float((pathlib.Path(a.candidate) / "x.txt").read_text())
cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
pathlib.Path(a.result).write_text(json.dumps({{"schema": "raysearch.metrics/1",
    "conditions": {{"interval": f"{{began_s}} {{ended_s}}", "affinity": cores}},
    "metrics": [{{"name": "near", "unit": "1", "direction": "max", "samples": [-abs(x - 10)]}}]}}))
"""
CHECKER = """
import json, os, pathlib, sys
pathlib.Path(sys.argv[sys.argv.index("--result") + 1]).write_text(json.dumps({
    "schema": "raysearch.verdict/1", "passed": True,
    "conditions": {"affinity": ",".join(map(str, sorted(os.sched_getaffinity(0))))}}))
"""
OBJECTIVE = '[[objective]]\nname = "near"\ndirection = "max"\nunit = "1"\nprimary = true\n'
ASKS = '[candidate]\neditable = ["x.txt"]\n[audit]\ntraced = false\n[resources.benchmark]\ncpus = {cpus}\n'
FEW = ("--pool", "inline", "--set", "confirm.on=false", "--set", "audit.holdout=false", "--set", "audit.static=false")
PATIENCE_S = 500.0
"""On a busy machine it may take a while until nobody disturbs."""


def target(folder: Path, seconds: float, cpus: float = 1) -> Path:
    asks = ASKS.format(cpus=cpus)
    made = make_target(folder, benchmark=TIMED.format(seconds=seconds), target_toml=asks, checker=CHECKER)
    (made / "objectives.toml").write_text(OBJECTIVE)
    return made


def last_cpu() -> int:
    """A logical processor of the core that is leased first."""
    return inventory().cores[-1].cpus[0]


def measured(driver: Driver) -> list[Measured]:
    return [entry.fact for entry in driver.entries() if isinstance(entry.fact, Measured)]


def faults(driver: Driver) -> list[JobFailed]:
    return [entry.fact for entry in driver.entries() if isinstance(entry.fact, JobFailed)]


def intervals(driver: Driver) -> list[tuple[float, float]]:
    told = [fact.measurements[0].conditions["interval"].split() for fact in measured(driver)]
    return [(float(began), float(ended)) for began, ended in told]


def go_first() -> None:
    """Go before all that runs at ordinary priority, where one may: what else the machine does decides no test then."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


@contextmanager
def burner(cpu: int) -> Iterator[Callable[[], int]]:
    """Something else on a processor, from when it is called; its process's number."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()\nwhile True: pass"],
        stdin=subprocess.PIPE,
        text=True,
        preexec_fn=go_first,  # noqa: PLW1509
    ) as process:
        os.sched_setaffinity(process.pid, [cpu])

        def burn() -> int:
            assert process.stdin is not None
            print(file=process.stdin, flush=True)
            return process.pid

        try:
            yield burn
        finally:
            process.kill()


@contextmanager
def started(driver: Driver, preexec: Callable[[], None] | None = None) -> Iterator[None]:
    """A driver that does not outlive its test."""
    driver.start(preexec=preexec)
    try:
        yield
    finally:
        assert driver.process is not None
        if driver.process.poll() is None:
            driver.kill().communicate()


def taken(cpu: int) -> bool:
    locks = Locks.open()
    try:
        return locks.taken(f"core-{inventory_core(cpu).number}")
    finally:
        locks.close()


def inventory_core(cpu: int) -> Core:
    return next(core for core in inventory().cores if cpu in core.cpus)


def lone(cpu: int) -> Callable[[], None]:
    """For a driver that has one processor."""
    return lambda: os.sched_setaffinity(0, [cpu])


def test_two_searches_never_measure_on_one_core_at_once(tmp_path: Path) -> None:
    cpu = last_cpu()
    flags = (*FEW, "--max-candidates", "4", "--seed", "1", "--set", "devices.contention=off")
    drivers = [Driver(target(tmp_path / name, 0.15), tmp_path / f"runs-{name}", flags) for name in ("a", "b")]
    with started(drivers[0], lone(cpu)), started(drivers[1], lone(cpu)):
        for driver in drivers:
            driver.finish()
    told = sorted((*interval, number) for number, driver in enumerate(drivers) for interval in intervals(driver))
    pairs = list(pairwise(told))
    assert all(one[1] <= other[0] for one, other in pairs), told
    assert any(one[2] != other[2] for one, other in pairs)
    assert min(len(intervals(driver)) for driver in drivers) > 1
    for fact in (fact for driver in drivers for fact in measured(driver)):
        conditions = fact.measurements[0].conditions
        assert conditions["affinity"] == str(cpu)
        assert conditions["cores"].startswith(str(inventory_core(cpu).number))


@pytest.mark.timeout(PATIENCE_S + 60)
def test_a_burner_in_mid_measurement_voids_it_and_it_is_repeated_when_that_has_gone(tmp_path: Path) -> None:
    cpu = last_cpu()
    patience = ("--set", "devices.quiet_s=1", "--set", "limits.retries_max=100")
    flags = (*FEW, *patience, "--max-candidates", "1", "--seed", "1")
    driver = Driver(target(tmp_path / "toy", 0.5), tmp_path / "runs", flags)
    with started(driver, go_first):
        with burner(cpu) as burn:
            assert driver.wait_for(lambda: taken(cpu))
            time.sleep(0.2)
            pid = burn()

            def found_out() -> bool:
                return driver.journal is not None and f"process {pid})".encode() in driver.journal.read_bytes()

            assert driver.wait_for(found_out)
            assert not measured(driver)
        driver.finish(PATIENCE_S)
    assert {(fault.fault, fault.retry) for fault in faults(driver)} == {("Void", True)}
    assert any(f"process {pid})" in fault.message and fault.attempt == SEED for fault in faults(driver))
    for fact in measured(driver):
        conditions = fact.measurements[0].conditions
        foreign_s, _, window_s = conditions["foreign_cpu_s"].partition(" of ")
        assert float(foreign_s) <= max(0.03, 0.03 * float(window_s)) + 0.005
        assert "contention" not in conditions
    seed = next(e.fact for e in driver.entries() if isinstance(e.fact, AttemptClosed) and e.fact.attempt == SEED)
    assert seed.outcome is Outcome.ADMITTED
    assert seed.candidate is not None
    assert seed.candidate.measurements == measured(driver)[0].measurements


def test_contention_may_only_be_told(tmp_path: Path) -> None:
    cpu = last_cpu()
    flags = (*FEW, "--max-candidates", "1", "--seed", "1", "--set", "devices.contention=warn")
    driver = Driver(target(tmp_path / "toy", 0.5), tmp_path / "runs", flags)
    with burner(cpu) as burn:
        pid = burn()
        with started(driver):
            driver.finish()
    assert not faults(driver)
    assert all(f"process {pid})" in fact.measurements[0].conditions["contention"] for fact in measured(driver))


def test_a_search_that_is_killed_leaves_its_core_at_once(tmp_path: Path) -> None:
    cpu = last_cpu()
    flags = (*FEW, "--max-candidates", "1", "--seed", "1", "--set", "devices.contention=off")
    driver = Driver(target(tmp_path / "toy", 60.0), tmp_path / "runs", flags)
    with started(driver, lone(cpu)):
        assert driver.wait_for(lambda: taken(cpu))
        time.sleep(0.2)
        driver.kill(signal.SIGKILL).wait()
        driver.output()
    identity = driver.folder.name
    with leased(Request(), offered=Inventory((inventory_core(cpu),)), timeout_s=10.0) as lease:
        assert lease.cores
        assert not strays(identity)


@pytest.mark.parametrize("cpus", [0.25, 1])
def test_eight_lanes_flow_on_few_cores(tmp_path: Path, cpus: float) -> None:
    """Less than a core leases nothing; a core that is leased is kept clear of the other lanes' work."""
    flags = ("--lanes", "8", "--max-candidates", "16", "--seed", "1", *FEW[2:], "--set", "devices.contention=warn")
    driver = Driver(target(tmp_path / "toy", 0.2, cpus), tmp_path / "runs", flags)
    with started(driver):
        assert driver.finish()["attempts"] == 16
    assert not faults(driver)
    outcomes = [entry.fact.outcome for entry in driver.entries() if isinstance(entry.fact, AttemptClosed)]
    assert not {Outcome.FAILED, Outcome.ABANDONED} & set(outcomes)
    told = [fact.measurements[0].conditions for fact in measured(driver)]
    assert all(("cores" in conditions) == (cpus == 1) for conditions in told)
    if cpus == 1 and len(inventory().cores) > 1:
        assert {conditions["affinity"] for conditions in told} == {",".join(map(str, inventory().cores[-1].cpus))}
        elsewhere = [e.fact.verdict.conditions["affinity"] for e in driver.entries() if isinstance(e.fact, Judged)]
        assert elsewhere
        assert not {str(cpu) for cpu in inventory().cores[-1].cpus} & {n for t in elsewhere for n in t.split(",")}
